//! The threads that sign. Each token has a crew of its own, so that a token that is slow, or does not answer at all, holds up nothing that is signed with
//! another one (S1.1). Some threads of each crew take the responses of revoked certificates only: a revocation waits for no refresh, and for no CRL of the
//! one before. No thread that signs responses waits for the disk: others publish them for all crews, what waits together in one transaction. Those of
//! revoked certificates have a thread of their own for that too.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::agenda::Task;
use super::crl::PlannedCrl;
use super::metrics::SigningMetrics;
use super::news::News;
use super::ocsp::{self, SignedPack, SlotJob};
use super::{Clock, IssuerSigning, SigningError, Stopped, crl};
use crate::pki::SlotRange;
use crate::registry::{CrlScope, PackHead, Registry, RegistryError};

/// How often a publication that somebody else forestalled is tried again.
const ATTEMPTS: u32 = 5;
/// Octets of packs that are published in one transaction, but for the last of them: a revocation waits for no more.
const OCTETS_AT_ONCE: usize = 512 * 1024;
/// Threads of a crew that take the responses of revoked certificates only: as many as there are CertID hashes in use. Who has worked for a few milliseconds waits
/// on a busy processor until all others have; who has slept works at once.
pub const REVOCATION_THREADS: usize = 3;

/// Something to sign.
pub(super) struct Job {
    /// The lane that it belongs to.
    pub(super) lane: u64,
    pub(super) task: Task,
    /// How many bits name a slot.
    pub(super) slot_bits: u8,
    pub(super) signing: Arc<IssuerSigning>,
    pub(super) urgent: bool,
}

/// What a job is about: each kind waits in a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The responses of revoked certificates.
    Revoked,
    /// CRLs of revocations.
    Crl,
    /// Whatever is due because of its time, or new.
    Due,
}

impl Kind {
    /// All of them: each is an index.
    pub(super) const ALL: [Kind; 3] = [Kind::Revoked, Kind::Crl, Kind::Due];
}

impl Job {
    /// What it is about.
    pub(super) fn kind(&self) -> Kind {
        match (self.urgent, self.task) {
            (true, Task::Slot(..)) => Kind::Revoked,
            (true, Task::Crl(_)) => Kind::Crl,
            (false, _) => Kind::Due,
        }
    }

    /// The token whose key it is signed with.
    pub(super) fn token(&self) -> &str {
        let key = match self.task {
            Task::Slot(..) => self.signing.responder.as_ref().map(|responder| &responder.key),
            Task::Crl(_) => self.signing.crl_key.as_ref(),
        };
        key.map_or("", |key| key.token())
    }
}

/// What came of a job.
pub(super) struct Outcome {
    pub(super) job: Job,
    pub(super) result: Result<Published, SigningError>,
}

/// What was published.
pub(super) enum Published {
    Pack {
        head: PackHead,
        responses: u64,
    },
    /// One, or a complete one and its delta, each with what is planned next.
    Crls(Vec<(CrlScope, PlannedCrl)>),
}

/// A pack that waits to be published.
pub(super) struct Waiting {
    job: Job,
    signed: SignedPack,
}

/// Where signed packs are given to those who publish them.
#[derive(Clone)]
pub(super) struct Packs {
    /// Those of revoked certificates.
    pub(super) revoked: SyncSender<Waiting>,
    /// All others.
    pub(super) due: SyncSender<Waiting>,
}

/// The jobs of one crew.
#[derive(Default)]
pub(super) struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    /// In the order of [`Kind::ALL`].
    of_kind: [VecDeque<Job>; 3],
    closed: bool,
}

impl Queue {
    /// Adds jobs, which belong together for those who wait for one. Who adds them bounds their number.
    pub(super) fn push(&self, added: impl IntoIterator<Item = Job>) {
        let mut jobs = self.lock();
        added.into_iter().for_each(|job| jobs.of_kind[job.kind() as usize].push_back(job));
        drop(jobs);
        // Not one: it might be a thread that takes few of them.
        self.changed.notify_all();
    }

    /// The next job; `None` when the queue is closed, whatever is left in it.
    fn take(&self, duty: Duty) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if jobs.closed {
                return None;
            }
            match duty.kinds().iter().find_map(|kind| jobs.of_kind[*kind as usize].pop_front()) {
                Some(job) => return Some(job),
                None => jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Sends the crew home.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread of a crew takes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// The responses of certificates that were revoked, and nothing else.
    Revocations,
    /// Whatever there is, and what is due by its time before the responses of revoked certificates: after a mass revocation there are those for hours, and
    /// no CRL, no new certificate and no refresh waits for all of them (rules O16, T1, T5).
    Schedule,
    /// Whatever there is, what is urgent first.
    Everything,
}

impl Duty {
    /// That of a thread of a crew, by its number.
    pub(super) const fn of_thread(number: usize) -> Duty {
        match number.checked_sub(REVOCATION_THREADS) {
            None => Duty::Revocations,
            Some(0) => Duty::Schedule,
            Some(_) => Duty::Everything,
        }
    }

    /// What it takes, in this order. CRLs come first: the other threads never take one, and after a mass revocation there are responses for hours.
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Duty::Revocations => &[Kind::Revoked],
            Duty::Schedule => &[Kind::Crl, Kind::Due, Kind::Revoked],
            Duty::Everything => &[Kind::Crl, Kind::Revoked, Kind::Due],
        }
    }
}

/// What every thread works with.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) registry: &'a dyn Registry,
    pub(super) metrics: &'a SigningMetrics,
    pub(super) clock: Clock<'a>,
    pub(super) stopped: Stopped<'a>,
}

impl Crew<'_> {
    /// Takes jobs until the queue is closed.
    pub(super) fn sign(self, queue: &Queue, duty: Duty, packs: &Packs, news: &Sender<News>) {
        while let Some(job) = queue.take(duty) {
            let packs = if job.kind() == Kind::Revoked { &packs.revoked } else { &packs.due };
            let result = match job.task {
                Task::Slot(..) => match self.sign_slot(&job) {
                    // The other end of either channel is there for as long as the queue is open.
                    Ok(signed) => {
                        let _ = packs.send(Waiting { job, signed });
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
                Task::Crl(scope) => self.publish_crls(&job.signing, scope),
            };
            let _ = news.send(News::Done(Outcome { job, result }));
        }
    }

    fn sign_slot(self, job: &Job) -> Result<SignedPack, SigningError> {
        let (Task::Slot(cert_id_hash, slot, extent), Some(responder)) = (job.task, &job.signing.responder) else {
            unreachable!("there is a lane of responses only where there is a key for them");
        };
        let slot = SlotRange { bits: job.slot_bits, slot };
        let job_of_slot = SlotJob { cert_id_hash, slot, extent };
        ocsp::sign_slot(self.registry, &job.signing, responder, job_of_slot, (self.clock)(), self.stopped)
    }

    /// The clock is read at each attempt: what somebody else published a moment ago is not from the future.
    fn publish_crls(self, signing: &IssuerSigning, scope: CrlScope) -> Result<Published, SigningError> {
        let Some(key) = &signing.crl_key else { unreachable!("there is a lane of CRLs only where there is a key for them") };
        let issuer = signing.issuer.id;
        let publish = || -> Result<_, SigningError> {
            let records = crl::issue(self.registry, signing, key.as_ref(), scope, (self.clock)())?;
            self.registry.publish_crls(issuer, &records, signing.crl_policy.superseded)?;
            Ok(records)
        };
        let mut attempt = 1;
        let records = loop {
            match publish() {
                Err(SigningError::Registry(RegistryError::Stale { .. })) if attempt < ATTEMPTS => attempt += 1,
                published => break published?,
            }
        };
        self.metrics.crls.inc_by(records.len() as u64);
        Ok(Published::Crls(records.iter().map(|record| (record.head.scope, crl::planned(signing, &record.head))).collect()))
    }

    /// Publishes packs until all who sign have gone home, together what waits together.
    pub(super) fn publish(self, packs: &Receiver<Waiting>, news: &Sender<News>) {
        while let Ok(first) = packs.recv() {
            let mut octets = first.signed.record.blob.len();
            let mut together = vec![first];
            while octets < OCTETS_AT_ONCE
                && let Ok(next) = packs.try_recv()
            {
                octets += next.signed.record.blob.len();
                together.push(next);
            }
            self.publish_together(together, news);
        }
    }

    /// Publishes packs, with one commit for each issuer.
    fn publish_together(self, mut packs: Vec<Waiting>, news: &Sender<News>) {
        let place = |w: &Waiting| (w.job.signing.issuer.id, w.job.slot_bits);
        packs.sort_by_key(place);
        while !packs.is_empty() {
            let alike = packs.iter().take_while(|w| place(w) == place(&packs[0])).count();
            let rest = packs.split_off(alike);
            self.publish_alike(packs, news);
            packs = rest;
        }
    }

    /// Packs of one issuer. Where one of them was forestalled, each is tried by itself.
    fn publish_alike(self, waiting: Vec<Waiting>, news: &Sender<News>) {
        let (issuer, slot_bits) = (waiting[0].job.signing.issuer.id, waiting[0].job.slot_bits);
        let (mut jobs, mut records) = (Vec::new(), Vec::new());
        for Waiting { job, signed } in waiting {
            jobs.push((job, signed.signatures));
            records.push(signed.record);
        }
        let together = self.registry.publish_packs(issuer, slot_bits, &records);
        for ((job, signatures), record) in jobs.into_iter().zip(&records) {
            let published = match &together {
                Ok(()) => Ok(()),
                Err(_) => self.registry.publish_packs(issuer, slot_bits, std::slice::from_ref(record)),
            };
            let result = published.map(|()| self.pack_published(record.head, signatures)).map_err(SigningError::from);
            let _ = news.send(News::Done(Outcome { job, result }));
        }
    }

    fn pack_published(self, head: PackHead, responses: u64) -> Published {
        self.metrics.responses.inc_by(responses);
        self.metrics.packs.inc();
        Published::Pack { head, responses }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::ocsp::Extent;
    use super::super::tests::Bench;
    use super::*;
    use crate::pki::HashAlgorithm;

    #[test]
    fn s4_4_a_crl_does_not_wait_for_the_responses_of_a_mass_revocation() {
        let (queue, signing) = (Queue::default(), Arc::new(Bench::new(365).signing()));
        let slot = |n| Task::Slot(HashAlgorithm::Sha1, n, Extent::Changed);
        let push = |task, urgent| queue.push([Job { lane: 0, task, slot_bits: 8, signing: signing.clone(), urgent }]);
        let take = |duty| queue.take(duty).unwrap().task;
        push(Task::Crl(CrlScope::Partition(0)), false);
        (0..3).for_each(|n| push(slot(n), true));
        push(Task::Crl(CrlScope::Full), true);
        assert_eq!(take(Duty::Revocations), slot(0));
        assert_eq!(take(Duty::Everything), Task::Crl(CrlScope::Full));
        assert_eq!([take(Duty::Everything), take(Duty::Revocations)], [slot(1), slot(2)]);
        assert_eq!(take(Duty::Everything), Task::Crl(CrlScope::Partition(0)), "what is not urgent is the last");
        push(slot(3), true);
        push(slot(4), false);
        push(Task::Crl(CrlScope::Full), true);
        let one_of_each = [Duty::of_thread(REVOCATION_THREADS); 3].map(take);
        assert_eq!(one_of_each, [Task::Crl(CrlScope::Full), slot(4), slot(3)], "O16, T5: what is due waits for no mass revocation");
        queue.close();
        assert!(queue.take(Duty::Revocations).is_none());
    }

    #[test]
    fn a_pack_that_was_forestalled_keeps_no_other_from_being_published() {
        let bench = Bench::new(365);
        bench.add(0..10);
        let (signing, metrics, (news, noted)) = (Arc::new(bench.signing()), SigningMetrics::default(), channel());
        let crew = Crew { registry: bench.registry.as_ref(), metrics: &metrics, clock: &|| bench.start, stopped: &|| false };
        let sign = |hash| {
            let job = Job { lane: 0, task: Task::Slot(hash, 0, Extent::Turn), slot_bits: 0, signing: signing.clone(), urgent: true };
            let signed = crew.sign_slot(&job).unwrap();
            Waiting { job, signed }
        };
        let packs = [HashAlgorithm::Sha256, HashAlgorithm::Sha1].map(sign);
        bench.registry.publish_packs(signing.issuer.id, 0, std::slice::from_ref(&packs[0].signed.record)).unwrap();
        crew.publish_together(packs.into(), &news);
        let results: Vec<_> = noted.try_iter().filter_map(News::done).map(|outcome| (outcome.job.task, outcome.result)).collect();
        assert!(matches!(results[0], (Task::Slot(HashAlgorithm::Sha256, ..), Err(SigningError::Registry(RegistryError::Stale { .. })))));
        assert!(matches!(results[1], (Task::Slot(HashAlgorithm::Sha1, ..), Ok(Published::Pack { responses: 10, .. }))));
    }
}
