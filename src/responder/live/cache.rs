//! Answers that may be given again: bounded in number, each until it is due, and only while the packs still say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::DashMap;

use crate::pki::Timestamp;
use crate::pki::ocsp_live::{Question, SignedAnswer};

use super::lane::Answered;

/// What a question is known by: its CertIDs.
pub(super) type Key = Box<[u8]>;

/// Seconds between two looks for answers that are due.
const SWEEP_SECONDS: u64 = 60;
/// Where the cache is full of answers that are not due, one in so many goes.
const EVICT_ONE_IN: usize = 8;

/// Worst-case memory: `limit` times a response with its question, some 2.5 KiB with a responder's certificate.
#[derive(Debug)]
pub(super) struct Answers {
    limit: usize,
    entries: DashMap<Key, Arc<Answered>>,
    swept_at: AtomicU64,
}

impl Answers {
    pub(super) fn new(limit: usize) -> Answers {
        Answers { limit, entries: DashMap::new(), swept_at: AtomicU64::new(0) }
    }

    /// The answer to a question, where it says what is to be said at `now`.
    pub(super) fn get(&self, key: &[u8], question: &Question, now: Timestamp) -> Option<Arc<Answered>> {
        let entry = self.entries.get(key)?;
        let usable = is_usable(&entry.answer, now) && *entry.question == *question;
        usable.then(|| entry.clone())
    }

    /// Keeps an answer. Looks for those that are due from time to time, and makes room where it must.
    pub(super) fn insert(&self, key: Key, answered: Arc<Answered>, now: Timestamp) {
        let swept_at = self.swept_at.load(Relaxed);
        let full = self.entries.len() >= self.limit;
        if full || now.unix().abs_diff(swept_at) >= SWEEP_SECONDS {
            self.swept_at.store(now.unix(), Relaxed);
            self.entries.retain(|_, entry| is_usable(&entry.answer, now));
        }
        if self.entries.len() >= self.limit {
            // Their order is that of a keyed hash, which nobody outside can choose.
            let mut number = 0;
            self.entries.retain(|_, _| {
                number += 1;
                number % EVICT_ONE_IN != 0
            });
        }
        if self.entries.len() < self.limit {
            self.entries.insert(key, answered);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn is_usable(answer: &SignedAnswer, now: Timestamp) -> bool {
    answer.this_update <= now && now < answer.due && now < answer.next_update
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::time;
    use super::*;
    use crate::pki::ocsp_live::{LiveSingle, LiveStatus};
    use crate::pki::{CertificateStatus, Revocation};

    fn question(status: LiveStatus) -> Arc<Question> {
        Arc::new(Question { singles: vec![LiveSingle { cert_id: [1].into(), status }], nonce: None })
    }

    fn answered(status: LiveStatus, due: u64) -> Arc<Answered> {
        let answer =
            SignedAnswer { der: Default::default(), this_update: time(100), next_update: time(1000), due: time(due), tag: [0; 12] };
        Arc::new(Answered { question: question(status), answer })
    }

    const GOOD: LiveStatus = LiveStatus::Issued(CertificateStatus::Good);

    #[test]
    fn an_answer_is_used_from_its_this_update_until_it_is_due() {
        let answers = Answers::new(10);
        answers.insert([1].into(), answered(GOOD, 500), time(100));
        let at = |seconds| answers.get(&[1], &question(GOOD), time(seconds)).is_some();
        assert_eq!([99, 100, 499, 500].map(at), [false, true, true, false]);
        answers.insert([2].into(), answered(GOOD, 5000), time(100));
        assert!(answers.get(&[2], &question(GOOD), time(1000)).is_none(), "O13: never past nextUpdate");
    }

    #[test]
    fn c9_an_answer_with_another_status_than_the_packs_is_not_used() {
        let answers = Answers::new(10);
        answers.insert([1].into(), answered(GOOD, 500), time(100));
        let revoked = LiveStatus::Issued(CertificateStatus::Revoked(Revocation { at: time(50), reason: None }));
        assert!(answers.get(&[1], &question(revoked), time(100)).is_none());
        answers.insert([1].into(), answered(revoked, 500), time(100));
        assert!(answers.get(&[1], &question(revoked), time(100)).is_some());
        assert!(answers.get(&[1], &question(LiveStatus::Unknown), time(100)).is_none());
    }

    #[test]
    fn there_are_never_more_than_the_limit_and_what_is_due_goes_first() {
        let answers = Answers::new(100);
        let key = |n: u64| Key::from(n.to_be_bytes());
        (0..50).for_each(|n| answers.insert(key(n), answered(GOOD, 200), time(100)));
        (50..100).for_each(|n| answers.insert(key(n), answered(GOOD, 900), time(100)));
        answers.insert(key(100), answered(GOOD, 900), time(300));
        assert_eq!(answers.len(), 51);
        (101..10_000).for_each(|n| answers.insert(key(n), answered(GOOD, 900), time(300)));
        assert!((80..=100).contains(&answers.len()));
        answers.insert(key(0), answered(GOOD, 2000), time(900));
        assert_eq!(answers.len(), 1, "a sweep");
    }
}
