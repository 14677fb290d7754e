//! The worker: follows the registry's feed and the clock, hands out what the agenda of each lane names, and notes what came of it. [`super::crew`] signs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::Duration;

use tracing::{debug, error};

use super::agenda::{Agenda, Task};
use super::crew::{Crew, Duty, Job, Kind, Outcome, Packs, Published, Queue, REVOCATION_THREADS};
use super::growth::{self, Divisions};
use super::lane::{self, Lane};
use super::metrics::{RunningMark, SigningMetrics};
use super::news::{self, News};
use super::pass_report::PassReport;
use super::watermarks::{self, Clerk};
use super::{IssuerSigning, ResponseSigner, SigningError, housekeeping};
use crate::pki::Timestamp;
use crate::registry::{ChangeKind, IssuerId, Registry, RegistryError};
use crate::token::software;

/// How long the worker waits when nothing happens: it then looks at the feed and the clock.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long it waits when the registry cannot be read.
const REGISTRY_PAUSE: Duration = Duration::from_millis(500);
/// How long an issuer that could not be read is left alone: others do not wait for it.
const READING_PAUSE: Duration = Duration::from_secs(1);
/// Changes read from the feed at once; one may name 65 536 certificates.
const CHANGES_AT_ONCE: usize = 64;
/// Jobs of each kind that may wait, beside those that are signed; and signed packs that may wait to be published.
const JOBS_WAITING: usize = 16;

/// Every lane that an issuer has.
const ALL_LANES: fn(&Agenda) -> bool = |_| true;

/// Tells the time.
pub type Clock<'a> = &'a (dyn Fn() -> Timestamp + Sync);
/// Tells whether the program ends.
pub type Stopped<'a> = &'a (dyn Fn() -> bool + Sync);

/// Signs for a set of issuers, with its own threads.
pub struct Worker {
    registry: Arc<dyn Registry>,
    issuers: Vec<Arc<IssuerSigning>>,
    lanes: Vec<Lane>,
    /// The tokens that keys are on: each has a crew.
    tokens: Vec<String>,
    /// Signing threads of each crew, beside those for what is urgent.
    threads: usize,
    metrics: SigningMetrics,
    /// Which lane is asked first: each in turn, so that none waits for another to have nothing to do (S1.1).
    turn: usize,
    /// Lanes made so far: each has its own number.
    lanes_made: u64,
    /// Issuers that may have changed, and those whose lanes are to be begun again: before that nothing is signed for them.
    unread: BTreeSet<usize>,
    outdated: BTreeSet<usize>,
    /// When one of them could not be read.
    reading_failed: Option<Timestamp>,
    /// How far the feed is read.
    reads_to: u64,
    /// Issuers that the metrics count as failing because of this worker.
    failing: i64,
    divisions: Divisions,
    /// Who signs from now on, and where such news come from.
    updates: Receiver<(IssuerId, ResponseSigner)>,
    updates_from: SignerUpdates,
    /// When it was last noted how far the feed is reflected in what is published.
    watermarks_at: Timestamp,
    /// When the registry is tidied up next.
    housekeeping_at: Timestamp,
}

/// Tells a worker, while it works, who signs OCSP responses from now on: the same key with another certificate.
#[derive(Clone, Debug)]
pub struct SignerUpdates(Sender<(IssuerId, ResponseSigner)>);

impl SignerUpdates {
    /// `responder` signs for the issuer from now on. Nothing comes of it where the worker has ended, or never signed responses for that issuer.
    pub fn replace(&self, issuer: IssuerId, responder: ResponseSigner) {
        let _ = self.0.send((issuer, responder));
    }
}

/// How failures are met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// A lane that failed is left alone for a while.
    Background,
    /// Everything is tried once, now.
    OnePass,
}

/// The crews at work.
struct Crews<'a> {
    /// In the order of the worker's tokens.
    queues: &'a [Queue],
    news: &'a Receiver<News>,
    tell: Sender<News>,
    /// Jobs that each has, by [`Kind`]: those of one kind leave those of another their place.
    busy: Vec<[usize; 3]>,
    clerk: Clerk,
}

impl Worker {
    /// A worker for these issuers, with `threads` signing threads for each token. Reads what is published, so that only what is due is signed.
    pub fn new(
        registry: Arc<dyn Registry>,
        issuers: Vec<IssuerSigning>,
        threads: usize,
        metrics: SigningMetrics,
    ) -> Result<Worker, SigningError> {
        let (updates_from, updates) = channel();
        let tokens: BTreeSet<String> = issuers.iter().flat_map(IssuerSigning::keys).map(|key| key.token().to_owned()).collect();
        let mut worker = Worker {
            registry,
            issuers: issuers.into_iter().map(Arc::new).collect(),
            lanes: Vec::new(),
            tokens: tokens.into_iter().collect(),
            threads: threads.max(1),
            metrics,
            turn: 0,
            lanes_made: 0,
            unread: BTreeSet::new(),
            outdated: BTreeSet::new(),
            reading_failed: None,
            reads_to: u64::MAX,
            failing: 0,
            divisions: Divisions::default(),
            updates,
            updates_from: SignerUpdates(updates_from),
            watermarks_at: Timestamp::default(),
            housekeeping_at: Timestamp::default(),
        };
        (0..worker.issuers.len()).try_for_each(|index| worker.rebuild_lanes(index, ALL_LANES))?;
        Ok(worker)
    }

    /// What it signs for.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerSigning> {
        self.issuers.iter().map(Arc::as_ref)
    }

    /// Where to tell it who signs from now on.
    pub fn updates(&self) -> SignerUpdates {
        self.updates_from.clone()
    }

    /// Signs until `stopped`.
    pub fn run(&mut self, stopped: Stopped<'_>, clock: Clock<'_>) {
        self.reads_to = u64::MAX;
        let _running = RunningMark::new(&self.metrics);
        let registry = Arc::clone(&self.registry);
        self.with_crews(stopped, clock, |worker, crews| {
            let tell = crews.tell.clone();
            std::thread::scope(|scope| {
                // Dropped when the work ends, even if it does so in a panic.
                let (_working, working) = channel();
                scope.spawn(move || news::listen(registry.as_ref(), &working, &tell));
                while !stopped() {
                    let (report, worked) = worker.step(crews, clock, Patience::Background);
                    report.failures.iter().for_each(|failure| error!("signing: {failure}"));
                    if worked {
                        debug!(responses = report.responses, packs = report.packs, crls = report.crls, "signed and published");
                    }
                }
            });
        });
    }

    /// Signs everything that is due, tries what fails once, and returns when nothing else is left. What others change meanwhile is left for the next pass: one that
    /// follows somebody who never rests would not end.
    pub fn pass(&mut self, clock: Clock<'_>) -> PassReport {
        // Where it cannot be read, the feed cannot, and that is told.
        self.reads_to = self.registry.last_change().unwrap_or(u64::MAX);
        self.with_crews(&|| false, clock, |worker, crews| {
            let mut total = PassReport::default();
            loop {
                let (report, worked) = worker.step(crews, clock, Patience::OnePass);
                total.add(report);
                if !worked {
                    return total;
                }
            }
        })
    }

    /// Has the crews at work while `coordinate` runs. What they have not finished by then comes to nothing.
    fn with_crews<R>(&mut self, stopped: Stopped<'_>, clock: Clock<'_>, coordinate: impl FnOnce(&mut Worker, &mut Crews<'_>) -> R) -> R {
        let (registry, metrics) = (Arc::clone(&self.registry), self.metrics.clone());
        let crew = Crew { registry: registry.as_ref(), metrics: &metrics, clock, stopped };
        let queues: Vec<Queue> = self.tokens.iter().map(|_| Queue::default()).collect();
        let ((revoked, waiting_revoked), (due, waiting_due)) = (sync_channel(JOBS_WAITING), sync_channel(JOBS_WAITING));
        let packs = Packs { revoked, due };
        let (tell, news) = channel();
        let ((wanted, to_store), (stored, noted)) = (channel(), channel());
        let result = std::thread::scope(|scope| {
            let _closing = Closing(&queues);
            // Once for all threads, while they read what they are to sign.
            scope.spawn(software::gather_randomness);
            for queue in &queues {
                for thread in 0..REVOCATION_THREADS + self.threads {
                    let (packs, tell) = (packs.clone(), tell.clone());
                    scope.spawn(move || crew.sign(queue, Duty::of_thread(thread), &packs, &tell));
                }
            }
            drop(packs);
            for waiting in [waiting_revoked, waiting_due] {
                let tell = tell.clone();
                scope.spawn(move || crew.publish(&waiting, &tell));
            }
            scope.spawn(move || watermarks::serve(crew.registry, &to_store, &stored));
            let clerk = Clerk::new(wanted, noted);
            let mut crews = Crews { queues: &queues, news: &news, tell, busy: vec![[0; 3]; queues.len()], clerk };
            coordinate(self, &mut crews)
        });
        // What was begun and not told of may be published or not: what is published tells.
        for index in 0..self.issuers.len() {
            if self.lanes.iter().any(|lane| lane.issuer == index && lane.agenda.in_flight() > 0) {
                let _ = self.rebuild_lanes(index, ALL_LANES);
            }
        }
        result
    }

    /// Reads the feed, hands out jobs, waits for something to happen, and takes note of what came of jobs. Says whether there is, or was, a job.
    fn step(&mut self, crews: &mut Crews<'_>, clock: Clock<'_>, patience: Patience) -> (PassReport, bool) {
        let mut report = PassReport::default();
        let now = clock();
        self.take_updates();
        let caught_up = self.catch_up(now, &mut report);
        report.failures.extend(caught_up.as_ref().err().map(ToString::to_string));
        self.hand_out(crews, now, patience);
        let working = crews.busy.iter().any(|busy| busy.iter().sum::<usize>() > 0);
        if working || patience == Patience::Background {
            let patience = if report.failures.is_empty() { PATIENCE } else { REGISTRY_PAUSE };
            let first = crews.news.recv_timeout(patience);
            let news: Vec<News> = first.into_iter().chain(crews.news.try_iter()).collect();
            for outcome in news.into_iter().filter_map(News::done) {
                self.record(outcome, crews, now, &mut report);
            }
        }
        report.failures.extend(watermarks::note(&mut self.lanes, crews.clerk.stored(), now));
        // Not after every revocation. After a restart at most a second's work is done again.
        if patience == Patience::OnePass {
            self.store_watermarks(now, false, &mut report);
        } else if self.watermarks_at != now {
            self.watermarks_at = now;
            crews.clerk.store(&self.lanes, now, false);
        }
        let clerk = (patience == Patience::Background).then_some(&mut crews.clerk);
        self.keep_house(now, working, clerk, &mut report);
        self.metrics.failures.inc_by(report.failures.len() as u64);
        self.count_failing(caught_up.is_ok(), now);
        (report, working)
    }

    /// While the feed cannot be read, nobody knows for whom there is something to sign: then it is all of them.
    fn count_failing(&mut self, has_caught_up: bool, now: Timestamp) {
        let failing = self.lanes.iter().filter(|lane| lane.agenda.is_failing(now)).map(|lane| lane.issuer);
        let failing: BTreeSet<usize> = failing.chain(self.outdated.iter().copied()).collect();
        let failing = if has_caught_up { failing.len() } else { self.issuers.len() } as i64;
        self.metrics.failing_issuers.add(failing - self.failing);
        self.failing = failing;
    }

    /// What is signed already stays as it is until its turn comes.
    fn take_updates(&mut self) {
        for (issuer, responder) in self.updates.try_iter() {
            let signing = self.issuers.iter_mut().find(|signing| signing.issuer.id == issuer && signing.responder.is_some());
            if let Some(signing) = signing {
                Arc::make_mut(signing).responder = Some(responder);
            }
        }
    }

    /// Gives each crew as many jobs as keep it busy: what is urgent, and what is due.
    fn hand_out(&mut self, crews: &mut Crews<'_>, now: Timestamp, patience: Patience) {
        self.turn = (self.turn + 1) % self.lanes.len().max(1);
        for crew in 0..crews.queues.len() {
            let mut jobs = Vec::new();
            for kind in Kind::ALL {
                let limit = (2 * self.threads + JOBS_WAITING).saturating_sub(crews.busy[crew][kind as usize]);
                for (index, task) in self.collect(crew, now, patience, limit, kind) {
                    let lane = &mut self.lanes[index];
                    lane.agenda.begin(task, now);
                    let signing = Arc::clone(&self.issuers[lane.issuer]);
                    let (slot_bits, urgent) = (signing.issuer.slot_bits, kind != Kind::Due);
                    jobs.push(Job { lane: lane.number, task, slot_bits, signing, urgent });
                }
            }
            jobs.iter().for_each(|job| crews.busy[crew][job.kind() as usize] += 1);
            crews.queues[crew].push(jobs);
        }
    }

    /// The first task of each lane that may be worked in, beginning with another lane each time, then the second of each, and so on.
    fn collect(&self, crew: usize, now: Timestamp, patience: Patience, limit: usize, kind: Kind) -> Vec<(usize, Task)> {
        // A CA that has ended has no certificate left that is valid, and nothing to say of any (rule T3).
        let has_ended = |lane: &Lane| self.issuers[lane.issuer].certificate.not_after <= now;
        let may_work = |lane: &Lane| match patience {
            _ if has_ended(lane) || self.unread.contains(&lane.issuer) || self.outdated.contains(&lane.issuer) => false,
            Patience::Background => lane.agenda.may_work(now),
            Patience::OnePass => !lane.agenda.is_hopeless(),
        };
        let named = |agenda: &Agenda| match kind {
            Kind::Due => agenda.due(now, limit),
            // A lane has tasks of one of these kinds.
            Kind::Revoked | Kind::Crl if agenda.signs_crls() == (kind == Kind::Crl) => agenda.urgent(now, limit),
            Kind::Revoked | Kind::Crl => Vec::new(),
        };
        let order = (self.turn..self.lanes.len()).chain(0..self.turn);
        let working: Vec<(usize, Vec<Task>)> = order
            .filter(|index| self.lanes[*index].token == self.tokens[crew])
            .filter(|index| kind != Kind::Due || !self.lanes[*index].agenda.must_grow)
            .filter(|index| limit > 0 && may_work(&self.lanes[*index]))
            .map(|index| (index, named(&self.lanes[index].agenda)))
            .collect();
        let round = |nth: usize| working.iter().filter_map(move |(index, tasks)| tasks.get(nth).map(|task| (*index, *task)));
        (0..limit).flat_map(round).take(limit).collect()
    }

    /// Takes note of all changes, with slots divided as the certificates that have come require. What fails for one issuer is reported, and the others go on.
    fn catch_up(&mut self, now: Timestamp, report: &mut PassReport) -> Result<(), SigningError> {
        self.read_feed()?;
        self.begin_again(now, report);
        let may_have_grown = self.lanes.iter().filter(|lane| lane.agenda.may_have_grown).map(|lane| lane.issuer);
        let may_have_grown: BTreeSet<usize> = may_have_grown.filter(|index| !self.divisions.failed_lately(*index, now)).collect();
        for index in may_have_grown {
            if let Err(failure) = self.grow_where_wanted(index, now) {
                // Slots that are too full can be signed all the same.
                self.divisions.failed(index, now);
                self.lanes.iter_mut().filter(|lane| lane.issuer == index).for_each(|lane| lane.agenda.must_grow = false);
                report.failures.push(format!("issuer '{}', dividing its slots: {failure}", self.issuers[index].issuer.name));
            }
        }
        // Lanes that were built anew have not read it yet.
        self.read_feed()?;
        self.begin_again(now, report);
        Ok(())
    }

    /// Divides the slots of an issuer once nobody works on them, or has for long: until then nothing of them is handed out but what is urgent. CRLs go on.
    fn grow_where_wanted(&mut self, index: usize, now: Timestamp) -> Result<(), SigningError> {
        let wanted = growth::wanted(self.registry.as_ref(), &self.issuers[index])?;
        let lanes = self.lanes.iter_mut().filter(|lane| lane.issuer == index && !lane.agenda.signs_crls());
        let mut in_flight = 0;
        for lane in lanes {
            lane.agenda.must_grow = wanted.is_some();
            lane.agenda.may_have_grown = wanted.is_some();
            in_flight += lane.agenda.in_flight();
        }
        match wanted {
            Some(bits) if self.divisions.is_time(index, in_flight, now) => {
                match growth::grow(self.registry.as_ref(), Arc::make_mut(&mut self.issuers[index]), bits) {
                    Ok(()) => self.rebuild_lanes(index, |agenda| !agenda.signs_crls()),
                    // Somebody else has divided them.
                    Err(SigningError::Registry(RegistryError::Stale { .. })) => self.read_issuer(index),
                    Err(failure) => Err(failure),
                }
            }
            _ => Ok(()),
        }
    }

    fn read_feed(&mut self) -> Result<(), SigningError> {
        let current = self.lanes.iter().filter(|lane| !self.outdated.contains(&lane.issuer));
        let Some(mut from) = current.map(|lane| lane.agenda.seen).min() else { return Ok(()) };
        loop {
            let mut changes = match self.registry.changes_after(from, CHANGES_AT_ONCE) {
                // Somebody else found that they were too many: they may have told of anything.
                Err(RegistryError::FeedPruned { .. }) => {
                    self.outdated.extend(0..self.issuers.len());
                    return Ok(());
                }
                changes => changes?,
            };
            changes.retain(|change| change.sequence <= self.reads_to);
            let Some(last) = changes.last() else { return Ok(()) };
            from = last.sequence;
            for lane in self.lanes.iter_mut().filter(|lane| !self.outdated.contains(&lane.issuer)) {
                let issuer = self.issuers[lane.issuer].issuer.id;
                for change in &changes {
                    if change.issuer == issuer && change.sequence > lane.agenda.seen {
                        lane.agenda.note(change);
                    }
                }
                lane.agenda.seen = lane.agenda.seen.max(from);
            }
            let may_be_other = |kind: &ChangeKind| matches!(kind, ChangeKind::Issuer | ChangeKind::Unreadable);
            let told_of: BTreeSet<IssuerId> = changes.iter().filter(|c| may_be_other(&c.kind)).map(|c| c.issuer).collect();
            self.unread.extend((0..self.issuers.len()).filter(|index| told_of.contains(&self.issuers[*index].issuer.id)));
        }
    }

    /// Reads issuers again that another process may have changed. What fails is tried again, and nothing is signed for it before.
    fn begin_again(&mut self, now: Timestamp, report: &mut PassReport) {
        if self.reading_failed.is_some_and(|at| at <= now && now.since(at) < READING_PAUSE) {
            return;
        }
        self.reading_failed = None;
        for index in self.unread.union(&self.outdated).copied().collect::<Vec<_>>() {
            if let Err(failure) = self.read_issuer(index) {
                self.reading_failed = Some(now);
                report.failures.push(format!("issuer '{}', reading it again: {failure}", self.issuers[index].issuer.name));
            }
        }
    }

    /// Where its slots are divided anew, or anything else is, its lanes are begun again.
    fn read_issuer(&mut self, index: usize) -> Result<(), SigningError> {
        self.unread.insert(index);
        let known = &self.issuers[index].issuer;
        let found = self.registry.issuers()?.into_iter().find(|issuer| issuer.id == known.id);
        if let Some(issuer) = found.filter(|issuer| issuer != known) {
            Arc::make_mut(&mut self.issuers[index]).issuer = issuer;
            self.outdated.insert(index);
        }
        self.unread.remove(&index);
        if self.outdated.contains(&index) { self.rebuild_lanes(index, ALL_LANES) } else { Ok(()) }
    }

    /// Begins lanes of an issuer again from what is published and from their stored places in the feed; all of them where they are outdated.
    fn rebuild_lanes(&mut self, index: usize, is_meant: fn(&Agenda) -> bool) -> Result<(), SigningError> {
        let was_outdated = !self.outdated.insert(index);
        let is_meant = if was_outdated { ALL_LANES } else { is_meant };
        let lanes = lane::lanes_of(self.registry.as_ref(), index, &self.issuers[index], &mut self.lanes_made)?;
        self.lanes.retain(|lane| lane.issuer != index || !is_meant(&lane.agenda));
        self.lanes.extend(lanes.into_iter().filter(|lane| is_meant(&lane.agenda)));
        self.outdated.remove(&index);
        Ok(())
    }

    fn record(&mut self, Outcome { job, result }: Outcome, crews: &mut Crews<'_>, now: Timestamp, report: &mut PassReport) {
        let lane = self.lanes.iter_mut().find(|lane| lane.number == job.lane);
        if let Some(crew) = self.tokens.iter().position(|token| token == job.token()) {
            crews.busy[crew][job.kind() as usize] -= 1;
        }
        // Otherwise its lane was built anew meanwhile, from what is published.
        if let Some(lane) = lane {
            lane.agenda.end(job.task, result.is_ok());
            match &result {
                Ok(Published::Pack { head, .. }) => lane.agenda.published(head),
                Ok(Published::Crls(planned)) => planned.iter().for_each(|(scope, planned)| lane.agenda.crl_published(*scope, *planned)),
                // Somebody else was first: what is left to do is done anew, and with what he has changed.
                Err(failure) if failure.is_forestalled() => {
                    self.reads_to = u64::MAX;
                    self.unread.extend(matches!(failure, SigningError::IssuerChanged(_)).then_some(lane.issuer));
                }
                Err(_) => lane.agenda.postpone(job.task, now),
            }
            if result.is_ok() {
                lane.agenda.succeeded();
            }
        }
        match result {
            Ok(Published::Pack { responses, .. }) => (report.responses, report.packs) = (report.responses + responses, report.packs + 1),
            Ok(Published::Crls(planned)) => report.crls += planned.len() as u64,
            Err(failure) if failure.is_forestalled() => {}
            Err(failure) => {
                let issuer = &job.signing.issuer.name;
                if let SigningError::Gate(refusal) = &failure {
                    self.metrics.alarm(issuer, refusal);
                }
                report.failures.push(format!("issuer '{issuer}', {:?}: {failure}", job.task));
            }
        }
    }

    /// See [`watermarks`]: now, on this thread.
    fn store_watermarks(&mut self, now: Timestamp, even_if_nothing_came: bool, report: &mut PassReport) {
        let wanted = watermarks::collect(&self.lanes, now, even_if_nothing_came);
        report.failures.extend(watermarks::note(&mut self.lanes, watermarks::store(self.registry.as_ref(), wanted), now));
    }

    /// Once an hour, when nobody is at work or all have been for another: forgets what everybody has read of the feed. Without a clerk the places of all lanes
    /// are written down before.
    fn keep_house(&mut self, now: Timestamp, working: bool, clerk: Option<&mut Clerk>, report: &mut PassReport) {
        let patience = if working { housekeeping::INTERVAL } else { Duration::ZERO };
        // A time further ahead than the interval is from before the clock was set back.
        let is_time = now >= self.housekeeping_at.saturating_add(patience) || self.housekeeping_at.since(now) > housekeeping::INTERVAL;
        if !is_time {
            return;
        }
        match clerk {
            None => self.store_watermarks(now, true, report),
            Some(clerk) => {
                if !clerk.store(&self.lanes, now, true) {
                    return;
                }
            }
        }
        self.housekeeping_at = now.saturating_add(housekeeping::INTERVAL);
        match housekeeping::prune_feed(self.registry.as_ref(), housekeeping::KEPT) {
            Ok(true) => self.housekeeping_at = now,
            Ok(false) => {}
            Err(failure) => report.failures.push(format!("housekeeping: {failure}")),
        }
    }
}

/// Sends the crews home, whatever happens.
struct Closing<'a>(&'a [Queue]);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Queue::close);
    }
}
