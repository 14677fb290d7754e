//! What is to be done for one issuer, and in which order: revocations, CRLs, new certificates, refresh.
//!
//! Holds state, decides by the time it is given, and does nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Timing;
use super::ocsp::Extent;
use super::schedule::{self, Turn};
use crate::pki::{HashAlgorithm, SlotRange, Timestamp};
use crate::registry::{Change, ChangeKind, CrlRecord, CrlScope, PackHead};

/// A failed issuer is left alone for at most this long.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// One thing to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The responses of a slot.
    Slot(HashAlgorithm, u32, Extent),
    /// A CRL.
    Crl(CrlScope),
}

/// What can be signed here for an issuer.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) slot_bits: u8,
    /// None where OCSP responses are signed elsewhere.
    pub(super) cert_id_hashes: BTreeSet<HashAlgorithm>,
    /// None where CRLs are signed elsewhere.
    pub(super) crl_scopes: BTreeSet<CrlScope>,
    /// When slots are signed.
    pub(super) timing: Timing,
}

/// What is published of an issuer.
#[derive(Debug)]
pub(super) struct Published<'a> {
    pub(super) heads: &'a [PackHead],
    pub(super) crls: &'a [CrlRecord],
    /// Changes up to here are reflected in it.
    pub(super) watermark: u64,
}

/// The work ahead for one issuer.
#[derive(Debug)]
pub(super) struct Agenda {
    slot_bits: u8,
    hashes: BTreeSet<HashAlgorithm>,
    timing: Timing,
    /// When each slot is signed anew, by time and by slot.
    by_time: BTreeSet<(Timestamp, HashAlgorithm, u32)>,
    by_slot: BTreeMap<(HashAlgorithm, u32), Timestamp>,
    crls: BTreeMap<CrlScope, Timestamp>,
    revoked_slots: BTreeSet<(HashAlgorithm, u32)>,
    revoked_scopes: BTreeSet<CrlScope>,
    new_slots: BTreeSet<(HashAlgorithm, u32)>,
    /// The newest change that is reflected in the sets above.
    pub(super) seen: u64,
    /// Whether certificates have come since the slots were last counted.
    pub(super) may_have_grown: bool,
    /// Whether changes were seen that the stored watermark does not cover.
    pub(super) ahead_of_watermark: bool,
    failures: u32,
    retry_at: Timestamp,
}

impl Agenda {
    /// Work for the CertID hashes and CRL scopes that can be signed here, from what is published of them. What was never published is due at once.
    pub(super) fn new(work: Work, published: &Published<'_>) -> Agenda {
        let mut agenda = Agenda {
            slot_bits: work.slot_bits,
            hashes: work.cert_id_hashes,
            timing: work.timing,
            by_time: BTreeSet::new(),
            by_slot: BTreeMap::new(),
            crls: work.crl_scopes.into_iter().map(|scope| (scope, Timestamp::default())).collect(),
            revoked_slots: BTreeSet::new(),
            revoked_scopes: BTreeSet::new(),
            new_slots: BTreeSet::new(),
            seen: published.watermark,
            may_have_grown: true,
            ahead_of_watermark: false,
            failures: 0,
            retry_at: Timestamp::default(),
        };
        for hash in agenda.hashes.clone() {
            (0..1u32 << agenda.slot_bits).for_each(|slot| agenda.plan(hash, slot, Timestamp::default()));
        }
        published.heads.iter().for_each(|head| agenda.published(head));
        for crl in published.crls {
            agenda.crls.entry(crl.scope).and_modify(|due| *due = crl.refresh_at);
        }
        agenda
    }

    /// Takes note of a change of this issuer.
    pub(super) fn note(&mut self, change: &Change) {
        match &change.kind {
            ChangeKind::Certificates(hashes) => {
                let slots: BTreeSet<u32> = hashes.iter().map(|h| h.slot(self.slot_bits)).collect();
                self.new_slots.extend(product(&slots, &self.hashes));
                (self.may_have_grown, self.ahead_of_watermark) = (true, true);
            }
            ChangeKind::Revocations(revoked) => {
                let slots: BTreeSet<u32> = revoked.iter().map(|(hash, _)| hash.slot(self.slot_bits)).collect();
                self.revoked_slots.extend(product(&slots, &self.hashes));
                let scopes = revoked.iter().filter_map(|(_, partition)| partition.map(CrlScope::Partition)).chain([CrlScope::Full]);
                // A scope that is not published here has no CRL to issue.
                self.revoked_scopes.extend(scopes.filter(|scope| self.crls.contains_key(scope)));
                (self.may_have_grown, self.ahead_of_watermark) = (true, true);
            }
            ChangeKind::Issuer | ChangeKind::Packs(..) | ChangeKind::Crl(_) | ChangeKind::Signer => {}
        }
        self.seen = self.seen.max(change.sequence);
    }

    /// What is published and no longer right: the responses and CRLs that a revocation touches.
    pub(super) fn urgent(&self) -> Vec<Task> {
        let slots = self.revoked_slots.iter().map(|(hash, slot)| Task::Slot(*hash, *slot, Extent::Changed));
        slots.chain(self.revoked_scopes.iter().map(|scope| Task::Crl(*scope))).collect()
    }

    /// CRLs whose time has come, new certificates, then slots whose time has come; at most `limit` of them.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<Task> {
        let crls = self.crls.iter().filter(|(_, due)| **due <= now).map(|(scope, _)| Task::Crl(*scope));
        let new = self.new_slots.iter().filter(|place| self.by_slot.get(place).is_none_or(|due| *due > now));
        let new = new.map(|(hash, slot)| Task::Slot(*hash, *slot, Extent::Changed));
        let refresh = self.by_time.iter().take_while(|(due, ..)| *due <= now).map(|(_, hash, slot)| Task::Slot(*hash, *slot, Extent::All));
        crls.chain(new).chain(refresh).take(limit).collect()
    }

    /// A CRL was published, with everything that was noted before it was begun.
    pub(super) fn crl_published(&mut self, scope: CrlScope, refresh_at: Timestamp) {
        self.revoked_scopes.remove(&scope);
        self.crls.insert(scope, refresh_at);
    }

    /// A slot was published for one hash, with everything that was noted before it was begun.
    pub(super) fn published(&mut self, head: &PackHead) {
        let (hash, turn) = (head.cert_id_hash, Turn { index: head.slot, of: 1 << self.slot_bits });
        if self.hashes.contains(&hash) && head.slot < turn.of {
            self.plan(hash, head.slot, schedule::refresh_at(turn, self.timing, head.this_update, head.next_update));
            self.revoked_slots.remove(&(hash, head.slot));
            self.new_slots.remove(&(hash, head.slot));
        }
    }

    /// Whether every change seen is reflected in what is published.
    pub(super) fn is_settled(&self) -> bool {
        self.revoked_slots.is_empty() && self.new_slots.is_empty() && self.revoked_scopes.is_empty()
    }

    /// Whether the issuer may be worked on: not so for a while after a failure, so that its fault touches no other issuer (S1.1).
    pub(super) fn may_work(&self, now: Timestamp) -> bool {
        // A clock that was set back far must not silence an issuer for longer than a failure would.
        now >= self.retry_at || self.retry_at.since(now) > MAX_BACKOFF
    }

    /// An attempt failed at `now`.
    pub(super) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.saturating_add(Duration::from_secs(1 << self.failures.min(6)).min(MAX_BACKOFF));
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.retry_at) = (0, Timestamp::default());
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The slot of this number.
    pub(super) fn slot(&self, slot: u32) -> SlotRange {
        SlotRange { bits: self.slot_bits, slot }
    }

    fn plan(&mut self, hash: HashAlgorithm, slot: u32, due: Timestamp) {
        if let Some(before) = self.by_slot.insert((hash, slot), due) {
            self.by_time.remove(&(before, hash, slot));
        }
        self.by_time.insert((due, hash, slot));
    }
}

fn product(slots: &BTreeSet<u32>, hashes: &BTreeSet<HashAlgorithm>) -> Vec<(HashAlgorithm, u32)> {
    slots.iter().flat_map(|slot| hashes.iter().map(|hash| (*hash, *slot))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::SlotHash;
    use crate::registry::IssuerId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    fn agenda() -> Agenda {
        let work = Work {
            slot_bits: 1,
            cert_id_hashes: BTreeSet::from([HashAlgorithm::Sha1]),
            crl_scopes: BTreeSet::from([CrlScope::Full, CrlScope::Partition(0)]),
            timing: Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) },
        };
        Agenda::new(work, &Published { heads: &[], crls: &[], watermark: 0 })
    }

    fn revocation(sequence: u64) -> Change {
        let kind = ChangeKind::Revocations(vec![(SlotHash(u64::MAX), Some(0))]);
        Change { sequence, issuer: IssuerId(1), kind }
    }

    fn head(slot: u32, this_update: Timestamp) -> PackHead {
        let next_update = schedule::next_update(this_update, Duration::from_secs(7 * 86_400), Timestamp::MAX);
        PackHead { cert_id_hash: HashAlgorithm::Sha1, slot, generation: 1, this_update, next_update }
    }

    #[test]
    fn what_was_never_published_is_due_at_once() {
        let tasks = agenda().due(at(1_000_000), 100);
        assert_eq!(tasks.len(), 4);
        assert_eq!(tasks[0], Task::Crl(CrlScope::Full));
        assert!(tasks.contains(&Task::Slot(HashAlgorithm::Sha1, 1, Extent::All)));
    }

    #[test]
    fn t4_s3_4_a_revocation_is_urgent_for_its_slot_its_partition_and_the_full_crl() {
        let mut agenda = agenda();
        agenda.note(&revocation(7));
        let expected = [Task::Slot(HashAlgorithm::Sha1, 1, Extent::Changed), Task::Crl(CrlScope::Full), Task::Crl(CrlScope::Partition(0))];
        assert_eq!(agenda.urgent(), expected);
        assert!(!agenda.is_settled());
        agenda.published(&head(1, at(5)));
        agenda.crl_published(CrlScope::Full, at(5));
        agenda.crl_published(CrlScope::Partition(0), at(5));
        assert!(agenda.is_settled() && agenda.urgent().is_empty());
        assert_eq!(agenda.seen, 7);
    }

    #[test]
    fn a_published_slot_is_due_again_at_its_turn() {
        let mut agenda = agenda();
        let now = at(1_800_000_000);
        (0..2).for_each(|slot| agenda.published(&head(slot, now)));
        agenda.crl_published(CrlScope::Full, now.saturating_add(Duration::from_secs(86_400 * 30)));
        agenda.crl_published(CrlScope::Partition(0), now.saturating_add(Duration::from_secs(86_400 * 30)));
        assert!(agenda.due(now, 100).is_empty());
        assert_eq!(agenda.due(now.saturating_add(Duration::from_secs(84 * 3600)), 100).len(), 2);
    }

    #[test]
    fn s1_1_a_failing_issuer_is_left_alone_for_a_minute_at_most() {
        let mut agenda = agenda();
        (0..20).for_each(|_| agenda.failed(at(100)));
        assert!(!agenda.may_work(at(159)) && agenda.may_work(at(160)));
        assert!(agenda.may_work(at(1)), "a clock set back does not silence it");
        agenda.succeeded();
        assert!(agenda.may_work(at(100)) && !agenda.is_failing());
    }
}
