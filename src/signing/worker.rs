//! The worker: follows the registry's feed and the clock, signs what the agenda of each lane names, publishes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::IntGauge;
use tracing::{debug, error};

use super::agenda::{Agenda, Task};
use super::lane::{self, Lane};
use super::metrics::SigningMetrics;
use super::ocsp::{self, SlotJob};
use super::{IssuerSigning, ResponseSigner, SigningError, crl, growth};
use crate::pki::Timestamp;
use crate::registry::{ChangeKind, CrlScope, IssuerId, PackHead, Registry, RegistryError};
use crate::token::Key;

/// How long the worker sleeps when nothing is due: the time that a revocation may wait to be seen.
const POLL: Duration = Duration::from_millis(5);
/// How long it sleeps when the registry cannot be read.
const REGISTRY_PAUSE: Duration = Duration::from_millis(500);
/// Changes read from the feed at once; one may name 65 536 certificates.
const CHANGES_AT_ONCE: usize = 64;
/// How often a publication that somebody else forestalled is tried again.
const ATTEMPTS: u32 = 5;

/// Tells the time.
pub type Clock<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// Signs for a set of issuers, with its own threads.
pub struct Worker {
    registry: Arc<dyn Registry>,
    issuers: Vec<IssuerSigning>,
    lanes: Vec<Lane>,
    threads: usize,
    metrics: SigningMetrics,
    /// Which lane is asked first: each in turn, so that none waits for another to have nothing to do (S1.1).
    turn: usize,
}

/// What one pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PassReport {
    /// OCSP responses signed.
    pub responses: u64,
    /// Packs published.
    pub packs: u64,
    /// CRLs published.
    pub crls: u64,
    /// What failed, in words. What was published before stays.
    pub failures: Vec<String>,
}

/// What came of one task.
enum Done {
    Slot { head: PackHead, responses: u64 },
    Crl { scope: CrlScope, refresh_at: Timestamp },
}

/// A task of a lane, by its index.
type LaneTask = (usize, Task);

/// How failures are met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// A lane that failed is left alone for a while.
    Background,
    /// Everything is tried once, now.
    OnePass,
}

impl Worker {
    /// A worker for these issuers. Reads what is published, so that only what is due is signed.
    pub fn new(
        registry: Arc<dyn Registry>,
        issuers: Vec<IssuerSigning>,
        threads: usize,
        metrics: SigningMetrics,
    ) -> Result<Worker, SigningError> {
        let mut lanes = Vec::new();
        for (index, signing) in issuers.iter().enumerate() {
            lanes.extend(lane::lanes_of(registry.as_ref(), index, signing)?);
        }
        Ok(Worker { registry, issuers, lanes, threads: threads.max(1), metrics, turn: 0 })
    }

    /// Signs until `stopped`, sleeping only while nothing is due.
    pub fn run(&mut self, stopped: &dyn Fn() -> bool, clock: Clock<'_>) {
        let _running = RunningMark::new(&self.metrics);
        while !stopped() {
            let (report, worked) = self.step(clock, Patience::Background);
            for failure in &report.failures {
                error!("signing: {failure}");
            }
            if !worked {
                std::thread::sleep(if report.failures.is_empty() { POLL } else { REGISTRY_PAUSE });
            } else {
                debug!(responses = report.responses, packs = report.packs, crls = report.crls, "signed and published");
            }
        }
    }

    /// Signs everything that is due, tries what fails once, and returns when nothing else is left.
    pub fn pass(&mut self, clock: Clock<'_>) -> PassReport {
        let mut total = PassReport::default();
        loop {
            let (report, worked) = self.step(clock, Patience::OnePass);
            total.responses += report.responses;
            total.packs += report.packs;
            total.crls += report.crls;
            total.failures.extend(report.failures);
            if !worked {
                return total;
            }
        }
    }

    /// Reads the feed, then gives each thread one task: urgent ones if there are any, otherwise what is due. Says whether there was a task.
    fn step(&mut self, clock: Clock<'_>, patience: Patience) -> (PassReport, bool) {
        let mut report = PassReport::default();
        let now = clock();
        if let Err(failure) = self.catch_up(now, &mut report) {
            report.failures.push(failure.to_string());
        }
        let mut tasks = self.collect(now, patience, Agenda::urgent);
        if tasks.is_empty() {
            tasks = self.collect(now, patience, Agenda::due);
        }
        let outcomes = self.run_tasks(&tasks, clock);
        self.record(outcomes, now, &mut report);
        self.store_watermarks(now, &mut report);
        self.metrics.failures.inc_by(report.failures.len() as u64);
        let failing: BTreeSet<usize> = self.lanes.iter().filter(|lane| lane.agenda.is_failing(now)).map(|lane| lane.issuer).collect();
        self.metrics.failing_issuers.set(failing.len() as i64);
        (report, !tasks.is_empty())
    }

    /// One task a thread: the first of each lane that may be worked in, beginning with another lane each time, then the second of each, and so on.
    fn collect(&mut self, now: Timestamp, patience: Patience, tasks: impl Fn(&Agenda, Timestamp, usize) -> Vec<Task>) -> Vec<LaneTask> {
        self.turn = (self.turn + 1) % self.lanes.len().max(1);
        let order = (self.turn..self.lanes.len()).chain(0..self.turn);
        let may_work = |lane: &Lane| match patience {
            Patience::Background => lane.agenda.may_work(now),
            Patience::OnePass => !lane.agenda.is_hopeless(),
        };
        let limit = self.threads;
        let working: Vec<(usize, Vec<Task>)> = order
            .filter(|index| may_work(&self.lanes[*index]))
            .map(|index| (index, tasks(&self.lanes[index].agenda, now, limit)))
            .collect();
        let round = |nth: usize| working.iter().filter_map(move |(index, tasks)| tasks.get(nth).map(|task| (*index, *task)));
        (0..limit).flat_map(round).take(limit).collect()
    }

    /// Takes note of all changes, with slots divided as the certificates that have come require. What fails for one issuer is reported, and the others go on.
    fn catch_up(&mut self, now: Timestamp, report: &mut PassReport) -> Result<(), SigningError> {
        self.read_feed()?;
        for index in 0..self.issuers.len() {
            let may_have_grown = self.lanes.iter().any(|lane| lane.issuer == index && lane.agenda.may_have_grown);
            if !may_have_grown || self.issuers[index].responder.is_none() {
                continue;
            }
            let grown = growth::grow(self.registry.as_ref(), &mut self.issuers[index]);
            let outcome = match grown {
                Ok(false) => Ok(()),
                Ok(true) => self.rebuild_lanes(index),
                // Somebody else has divided them.
                Err(SigningError::Registry(RegistryError::Stale { .. })) => self.reload_issuer(index),
                Err(failure) => Err(failure),
            };
            let lanes = self.lanes.iter_mut().filter(|lane| lane.issuer == index);
            match outcome {
                Ok(()) => lanes.for_each(|lane| lane.agenda.may_have_grown = false),
                Err(failure) => {
                    lanes.for_each(|lane| lane.agenda.failed(now));
                    report.failures.push(format!("issuer '{}', dividing its slots: {failure}", self.issuers[index].issuer.name));
                }
            }
        }
        // Lanes that were built anew have not read it yet.
        self.read_feed()
    }

    fn read_feed(&mut self) -> Result<(), SigningError> {
        let Some(mut from) = self.lanes.iter().map(|lane| lane.agenda.seen).min() else { return Ok(()) };
        let mut changed: BTreeSet<IssuerId> = BTreeSet::new();
        while self.registry.last_change()? > from {
            let changes = self.registry.changes_after(from, CHANGES_AT_ONCE)?;
            let Some(last) = changes.last() else { break };
            from = last.sequence;
            for lane in &mut self.lanes {
                let issuer = self.issuers[lane.issuer].issuer.id;
                for change in &changes {
                    if change.issuer == issuer && change.sequence > lane.agenda.seen {
                        lane.agenda.note(change);
                    }
                }
                lane.agenda.seen = lane.agenda.seen.max(from);
            }
            changed.extend(changes.iter().filter(|c| c.kind == ChangeKind::Issuer).map(|c| c.issuer));
        }
        let changed: Vec<usize> = (0..self.issuers.len()).filter(|index| changed.contains(&self.issuers[*index].issuer.id)).collect();
        changed.into_iter().try_for_each(|index| self.reload_issuer(index))
    }

    /// Reads an issuer again that another process has changed: its slots may be divided anew.
    fn reload_issuer(&mut self, index: usize) -> Result<(), SigningError> {
        let known = &mut self.issuers[index].issuer;
        let Some(issuer) = self.registry.issuers()?.into_iter().find(|issuer| issuer.id == known.id) else { return Ok(()) };
        if *known == issuer {
            return Ok(());
        }
        *known = issuer;
        self.rebuild_lanes(index)
    }

    /// Begins the lanes of an issuer again from what is published and from their stored places in the feed.
    fn rebuild_lanes(&mut self, index: usize) -> Result<(), SigningError> {
        let lanes = lane::lanes_of(self.registry.as_ref(), index, &self.issuers[index])?;
        self.lanes.retain(|lane| lane.issuer != index);
        self.lanes.extend(lanes);
        Ok(())
    }

    fn run_tasks(&self, tasks: &[LaneTask], clock: Clock<'_>) -> Vec<(LaneTask, Result<Done, SigningError>)> {
        let next = AtomicUsize::new(0);
        let take = || {
            let mut outcomes = Vec::new();
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                outcomes.push((*task, self.run_task(*task, clock)));
            }
            outcomes
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..self.threads.min(tasks.len())).map(|_| scope.spawn(take)).collect();
            let mut outcomes = take();
            for thread in threads {
                match thread.join() {
                    Ok(done) => outcomes.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcomes
        })
    }

    /// The clock is read at each attempt: what somebody else published a moment ago is not from the future.
    fn run_task(&self, (index, task): LaneTask, clock: Clock<'_>) -> Result<Done, SigningError> {
        let lane = &self.lanes[index];
        let signing = &self.issuers[lane.issuer];
        let mut attempt = 0;
        loop {
            let outcome = match (task, &signing.responder, &signing.crl_key) {
                (Task::Slot(cert_id_hash, slot, extent), Some(responder), _) => {
                    let job = SlotJob { cert_id_hash, slot: lane.agenda.slot(slot), extent };
                    self.publish_slot(signing, responder, job, clock())
                }
                (Task::Crl(scope), _, Some(key)) => self.publish_crl(signing, key, scope, clock()),
                _ => unreachable!("there is a lane only for what there is a key for"),
            };
            attempt += 1;
            match outcome {
                Err(SigningError::Registry(RegistryError::Stale { .. })) if attempt < ATTEMPTS => continue,
                outcome => return outcome,
            }
        }
    }

    fn publish_slot(
        &self,
        signing: &IssuerSigning,
        responder: &ResponseSigner,
        job: SlotJob,
        now: Timestamp,
    ) -> Result<Done, SigningError> {
        let signed = ocsp::sign_slot(self.registry.as_ref(), signing, responder, job, now)?;
        let head = signed.record.head;
        self.registry.publish_packs(signing.issuer.id, job.slot.bits, std::slice::from_ref(&signed.record))?;
        self.metrics.responses.inc_by(signed.signatures);
        self.metrics.packs.inc();
        Ok(Done::Slot { head, responses: signed.signatures })
    }

    fn publish_crl(&self, signing: &IssuerSigning, key: &Key, scope: CrlScope, now: Timestamp) -> Result<Done, SigningError> {
        let previous = self.registry.latest_crl(signing.issuer.id, scope)?.map(|c| c.this_update);
        super::not_before(previous, now, || format!("CRL {scope:?} of issuer '{}'", signing.issuer.name))?;
        let record = crl::issue(self.registry.as_ref(), signing, key.as_ref(), scope, previous, now)?;
        self.registry.publish_crl(signing.issuer.id, &record)?;
        self.metrics.crls.inc();
        Ok(Done::Crl { scope, refresh_at: record.refresh_at })
    }

    fn record(&mut self, outcomes: Vec<(LaneTask, Result<Done, SigningError>)>, now: Timestamp, report: &mut PassReport) {
        for ((index, task), outcome) in outcomes {
            let lane = &mut self.lanes[index];
            match outcome {
                Ok(Done::Slot { head, responses }) => {
                    lane.agenda.published(&head);
                    report.responses += responses;
                    report.packs += 1;
                }
                Ok(Done::Crl { scope, refresh_at }) => {
                    lane.agenda.crl_published(scope, refresh_at);
                    report.crls += 1;
                }
                Err(failure) => {
                    lane.agenda.postpone(task, now);
                    let name = &self.issuers[lane.issuer].issuer.name;
                    report.failures.push(format!("issuer '{name}', {task:?}: {failure}"));
                    continue;
                }
            }
            lane.agenda.succeeded();
        }
    }

    /// Notes how far each lane's part of the feed is reflected in what is published, so that a restart goes on from there.
    fn store_watermarks(&mut self, now: Timestamp, report: &mut PassReport) {
        for lane in &mut self.lanes {
            let agenda = &mut lane.agenda;
            if !agenda.ahead_of_watermark || !agenda.is_settled() || !agenda.may_work(now) {
                continue;
            }
            match self.registry.set_watermark(&lane.consumer, agenda.seen) {
                Ok(()) => agenda.ahead_of_watermark = false,
                Err(failure) => {
                    agenda.failed(now);
                    report.failures.push(format!("{}: {failure}", lane.consumer));
                }
            }
        }
    }
}

/// Shows in the metrics that the worker runs, and, should it panic, that it does not any more.
struct RunningMark(IntGauge);

impl RunningMark {
    fn new(metrics: &SigningMetrics) -> RunningMark {
        metrics.running.set(1);
        RunningMark(metrics.running.clone())
    }
}

impl Drop for RunningMark {
    fn drop(&mut self) {
        self.0.set(0);
    }
}
