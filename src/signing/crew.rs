//! The threads that sign. Each token has a crew of its own, so that a token that is slow, or does not answer at all, holds up nothing that is signed with
//! another one (S1.1). One thread of each crew takes the responses of revoked certificates only: a revocation waits for no refresh, and for no CRL of the
//! one before. What is not urgent is published by one thread for all crews, several packs in a transaction, so that no signing thread waits for the disk.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::agenda::Task;
use super::crl::PlannedCrl;
use super::metrics::SigningMetrics;
use super::news::News;
use super::ocsp::{self, SignedPack, SlotJob};
use super::{Clock, IssuerSigning, SigningError, Stopped, crl};
use crate::pki::SlotRange;
use crate::registry::{CrlRecord, CrlScope, PackHead, Registry, RegistryError};

/// How often a publication that somebody else forestalled is tried again.
const ATTEMPTS: u32 = 5;
/// Octets of packs that are published in one transaction, but for the last of them: a revocation waits for no more.
const OCTETS_AT_ONCE: usize = 512 * 1024;

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

impl Job {
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

/// The jobs of one crew: urgent ones come first.
#[derive(Default)]
pub(super) struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    urgent_crls: VecDeque<Job>,
    other: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Adds a job. Who adds them bounds their number.
    pub(super) fn push(&self, job: Job) {
        let mut jobs = self.lock();
        let queue = match (job.urgent, job.task) {
            (true, Task::Slot(..)) => &mut jobs.urgent,
            (true, Task::Crl(_)) => &mut jobs.urgent_crls,
            (false, _) => &mut jobs.other,
        };
        queue.push_back(job);
        drop(jobs);
        // Not one: it might be the thread that takes few of them.
        self.changed.notify_all();
    }

    /// The next job; `None` when the queue is closed, whatever is left in it.
    fn take(&self, duty: Duty) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if jobs.closed {
                return None;
            }
            let next = match duty {
                Duty::Revocations => jobs.urgent.pop_front(),
                // CRLs first: the other thread never takes one, and after a mass revocation there are responses for hours.
                Duty::Everything => {
                    let Jobs { urgent, urgent_crls, other, .. } = &mut *jobs;
                    [urgent_crls, urgent, other].into_iter().find_map(VecDeque::pop_front)
                }
            };
            match next {
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
    /// Whatever there is, what is urgent first.
    Everything,
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
    pub(super) fn sign(self, queue: &Queue, duty: Duty, packs: &SyncSender<Waiting>, news: &Sender<News>) {
        while let Some(job) = queue.take(duty) {
            let result = match (job.urgent, job.task) {
                (false, Task::Slot(..)) => match self.sign_slot(&job) {
                    // The other end of either channel is there for as long as the queue is open.
                    Ok(signed) => {
                        let _ = packs.send(Waiting { job, signed });
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
                _ => self.publish_at_once(&job),
            };
            let _ = news.send(News::Done(Outcome { job, result }));
        }
    }

    /// The clock is read at each attempt: what somebody else published a moment ago is not from the future.
    fn publish_at_once(self, job: &Job) -> Result<Published, SigningError> {
        let mut attempt = 1;
        loop {
            let published = match job.task {
                Task::Slot(..) => self.sign_slot(job).and_then(|signed| {
                    self.registry.publish_packs(job.signing.issuer.id, job.slot_bits, std::slice::from_ref(&signed.record))?;
                    Ok(self.pack_published(signed.record.head, signed.signatures))
                }),
                Task::Crl(scope) => self.publish_crls(&job.signing, scope),
            };
            match published {
                Err(SigningError::Registry(RegistryError::Stale { .. })) if attempt < ATTEMPTS => attempt += 1,
                published => return published,
            }
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

    fn publish_crls(self, signing: &IssuerSigning, scope: CrlScope) -> Result<Published, SigningError> {
        let Some(key) = &signing.crl_key else { unreachable!("there is a lane of CRLs only where there is a key for them") };
        let issuer = signing.issuer.id;
        let records = crl::issue(self.registry, signing, key.as_ref(), scope, (self.clock)())?;
        self.registry.publish_crls(issuer, &records)?;
        self.metrics.crls.inc_by(records.len() as u64);
        for CrlRecord { head, .. } in &records {
            if let Err(failure) = self.registry.prune_crls(issuer, head.scope, signing.crl_policy.superseded) {
                // They are forgotten after the next CRL.
                warn!(issuer = signing.issuer.name, scope = %head.scope, "superseded CRLs are still there: {failure}");
            }
        }
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
            let place = |w: &Waiting| (w.job.signing.issuer.id, w.job.slot_bits, w.signed.record.head.cert_id_hash);
            together.sort_by_key(place);
            while !together.is_empty() {
                let alike = together.iter().take_while(|w| place(w) == place(&together[0])).count();
                let rest = together.split_off(alike);
                self.publish_alike(together, news);
                together = rest;
            }
        }
    }

    /// Packs of one issuer and hash. Where one of them was forestalled, each is tried by itself.
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
    use super::super::ocsp::Extent;
    use super::super::tests::Bench;
    use super::*;
    use crate::pki::HashAlgorithm;

    #[test]
    fn s4_4_a_crl_does_not_wait_for_the_responses_of_a_mass_revocation() {
        let (queue, signing) = (Queue::default(), Arc::new(Bench::new(365).signing()));
        let slot = |n| Task::Slot(HashAlgorithm::Sha1, n, Extent::Changed);
        let push = |task, urgent| queue.push(Job { lane: 0, task, slot_bits: 8, signing: signing.clone(), urgent });
        let take = |duty| queue.take(duty).unwrap().task;
        push(Task::Crl(CrlScope::Partition(0)), false);
        (0..3).for_each(|n| push(slot(n), true));
        push(Task::Crl(CrlScope::Full), true);
        assert_eq!(take(Duty::Revocations), slot(0));
        assert_eq!(take(Duty::Everything), Task::Crl(CrlScope::Full));
        assert_eq!([take(Duty::Everything), take(Duty::Revocations)], [slot(1), slot(2)]);
        assert_eq!(take(Duty::Everything), Task::Crl(CrlScope::Partition(0)), "what is not urgent is the last");
        queue.close();
        assert!(queue.take(Duty::Revocations).is_none());
    }
}
