//! The worker: follows the registry's feed and the clock, signs what its agenda names, publishes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::IntGauge;
use tracing::{debug, error};

use super::agenda::{Agenda, Published, Task, Work};
use super::metrics::SigningMetrics;
use super::ocsp::{self, SlotJob};
use super::{IssuerSigning, ResponseSigner, SigningError, crl, growth};
use crate::pki::Timestamp;
use crate::registry::{CrlScope, PackHead, Registry, RegistryError};
use crate::token::Key;

/// How long the worker sleeps when nothing is due: the time that a revocation may wait to be seen.
const POLL: Duration = Duration::from_millis(5);
/// Changes read from the feed at once.
const CHANGES_AT_ONCE: usize = 1000;
/// Tasks a thread takes before revocations are looked at again: a revocation waits for one slot to be signed at most.
const TASKS_PER_THREAD: usize = 1;
/// How often a publication that somebody else forestalled is tried again.
const ATTEMPTS: u32 = 5;

/// Signs for a set of issuers, with its own threads.
pub struct Worker {
    registry: Arc<dyn Registry>,
    issuers: Vec<(IssuerSigning, Agenda)>,
    threads: usize,
    metrics: SigningMetrics,
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

impl Worker {
    /// A worker for these issuers. Reads what is published, so that only what is due is signed.
    pub fn new(
        registry: Arc<dyn Registry>,
        issuers: Vec<IssuerSigning>,
        threads: usize,
        metrics: SigningMetrics,
    ) -> Result<Worker, SigningError> {
        let issuers = issuers
            .into_iter()
            .map(|signing| agenda(registry.as_ref(), &signing).map(|agenda| (signing, agenda)))
            .collect::<Result<_, _>>()?;
        Ok(Worker { registry, issuers, threads: threads.max(1), metrics })
    }

    /// Signs until `stopped`, sleeping only while nothing is due. `clock` tells the time.
    pub fn run(&mut self, stopped: &dyn Fn() -> bool, clock: &dyn Fn() -> Timestamp) {
        let _running = RunningMark::new(&self.metrics);
        while !stopped() {
            let report = self.step(clock());
            for failure in &report.failures {
                error!("signing: {failure}");
            }
            if report.responses + report.crls == 0 {
                std::thread::sleep(POLL);
            } else {
                debug!(responses = report.responses, packs = report.packs, crls = report.crls, "signed and published");
            }
        }
    }

    /// Signs everything that is due at `now`, and returns when nothing is left or what is left fails.
    pub fn pass(&mut self, now: Timestamp) -> PassReport {
        let mut total = PassReport::default();
        loop {
            let report = self.step(now);
            let idle = report.packs + report.crls == 0;
            total.responses += report.responses;
            total.packs += report.packs;
            total.crls += report.crls;
            total.failures.extend(report.failures);
            if idle {
                return total;
            }
        }
    }

    /// Reads the feed, does all that is urgent, or else a bounded amount of what is due.
    fn step(&mut self, now: Timestamp) -> PassReport {
        let mut report = PassReport::default();
        if let Err(failure) = self.catch_up() {
            self.metrics.failures.inc();
            report.failures.push(failure.to_string());
            std::thread::sleep(POLL * 100);
            return report;
        }
        let mut tasks = self.collect(now, |agenda| agenda.urgent());
        if tasks.is_empty() {
            let limit = TASKS_PER_THREAD * self.threads;
            tasks = self.collect(now, |agenda| agenda.due(now, limit));
            tasks.truncate(limit.max(1));
        }
        if !tasks.is_empty() {
            let outcomes = self.run_tasks(&tasks, now);
            self.record(outcomes, now, &mut report);
        }
        self.advance_watermarks(&mut report);
        report
    }

    fn collect(&self, now: Timestamp, tasks: impl Fn(&Agenda) -> Vec<Task>) -> Vec<(usize, Task)> {
        let working = self.issuers.iter().enumerate().filter(|(_, (_, agenda))| agenda.may_work(now));
        working.flat_map(|(index, (_, agenda))| tasks(agenda).into_iter().map(move |task| (index, task))).collect()
    }

    /// Takes note of all changes, with slots divided as the certificates that have come require.
    fn catch_up(&mut self) -> Result<(), SigningError> {
        self.read_feed()?;
        while self.grow()? {
            self.read_feed()?;
        }
        Ok(())
    }

    fn read_feed(&mut self) -> Result<(), SigningError> {
        let Some(mut from) = self.issuers.iter().map(|(_, agenda)| agenda.seen).min() else { return Ok(()) };
        while self.registry.last_change()? > from {
            let changes = self.registry.changes_after(from, CHANGES_AT_ONCE)?;
            let Some(last) = changes.last() else { break };
            from = last.sequence;
            for (signing, agenda) in &mut self.issuers {
                let mine = changes.iter().filter(|c| c.issuer == signing.issuer.id && c.sequence > agenda.seen).collect::<Vec<_>>();
                mine.into_iter().for_each(|change| agenda.note(change));
                agenda.seen = agenda.seen.max(from);
            }
        }
        Ok(())
    }

    /// Divides the slots of issuers that have grown; returns whether there were any.
    fn grow(&mut self) -> Result<bool, SigningError> {
        let mut any = false;
        for (signing, agenda) in &mut self.issuers {
            let grown = agenda.may_have_grown && signing.responder.is_some() && growth::grow(self.registry.as_ref(), signing)?;
            agenda.may_have_grown = false;
            if grown {
                // The agenda names slots of the old division: the feed is read again from the last settled place.
                *agenda = self::agenda(self.registry.as_ref(), signing)?;
            }
            any |= grown;
        }
        Ok(any)
    }

    fn run_tasks(&self, tasks: &[(usize, Task)], now: Timestamp) -> Vec<(usize, Task, Result<Done, SigningError>)> {
        let next = AtomicUsize::new(0);
        let take = || {
            let mut outcomes = Vec::new();
            while let Some((index, task)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                outcomes.push((*index, *task, self.run_task(*index, *task, now)));
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

    fn run_task(&self, index: usize, task: Task, now: Timestamp) -> Result<Done, SigningError> {
        let (signing, agenda) = &self.issuers[index];
        let mut attempt = 0;
        loop {
            let outcome = match (task, &signing.responder, &signing.crl_key) {
                (Task::Slot(cert_id_hash, slot, extent), Some(responder), _) => {
                    self.publish_slot(signing, responder, SlotJob { cert_id_hash, slot: agenda.slot(slot), extent }, now)
                }
                (Task::Crl(scope), _, Some(key)) => self.publish_crl(signing, key, scope, now),
                _ => unreachable!("an agenda names only what there is a key for"),
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

    fn record(&mut self, outcomes: Vec<(usize, Task, Result<Done, SigningError>)>, now: Timestamp, report: &mut PassReport) {
        let mut failed = BTreeSet::new();
        let worked: BTreeSet<usize> = outcomes.iter().map(|(index, ..)| *index).collect();
        for (index, task, outcome) in outcomes {
            let (signing, agenda) = &mut self.issuers[index];
            match outcome {
                Ok(Done::Slot { head, responses }) => {
                    agenda.published(&head);
                    report.responses += responses;
                    report.packs += 1;
                }
                Ok(Done::Crl { scope, refresh_at }) => {
                    agenda.crl_published(scope, refresh_at);
                    report.crls += 1;
                }
                Err(failure) => {
                    failed.insert(index);
                    report.failures.push(format!("issuer '{}', {task:?}: {failure}", signing.issuer.name));
                }
            }
        }
        self.metrics.failures.inc_by(report.failures.len() as u64);
        for index in worked {
            let agenda = &mut self.issuers[index].1;
            if failed.contains(&index) { agenda.failed(now) } else { agenda.succeeded() }
        }
        self.metrics.failing_issuers.set(self.issuers.iter().filter(|(_, agenda)| agenda.is_failing()).count() as i64);
    }

    /// Notes how far each issuer's part of the feed is reflected in what is published, so that a restart goes on from there.
    fn advance_watermarks(&mut self, report: &mut PassReport) {
        for (signing, agenda) in &mut self.issuers {
            if !agenda.ahead_of_watermark || !agenda.is_settled() {
                continue;
            }
            match self.registry.set_watermark(&consumer(signing), agenda.seen) {
                Ok(()) => agenda.ahead_of_watermark = false,
                Err(failure) => report.failures.push(failure.to_string()),
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

/// The name under which the worker's place in the feed is stored: one an issuer, since issuers may be signed for by different hosts.
fn consumer(signing: &IssuerSigning) -> String {
    format!("signing/{}", signing.issuer.name)
}

fn agenda(registry: &dyn Registry, signing: &IssuerSigning) -> Result<Agenda, SigningError> {
    let id = signing.issuer.id;
    // The watermark is read first: what changes while the rest is read is then seen twice, never missed.
    let watermark = registry.watermark(&consumer(signing))?;
    let work = Work {
        slot_bits: signing.issuer.slot_bits,
        cert_id_hashes: signing.responder.iter().flat_map(|_| signing.issuer.publication.cert_id_hashes.clone()).collect(),
        crl_scopes: signing.crl_key.iter().flat_map(|_| crl::scopes(signing)).collect(),
        timing: signing.ocsp_timing,
    };
    let published = Published { heads: &registry.pack_heads(id)?, crls: &registry.latest_crls(id)?, watermark };
    Ok(Agenda::new(work, &published))
}
