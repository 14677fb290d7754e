//! What is to be done in one lane, and in which order: what revocations touch, new certificates, refresh.
//!
//! A lane is what one key signs of one kind for one issuer: its OCSP responses for one CertID hash, or its CRLs. Each has its own place in the registry's
//! feed and its own failures, so that none ever passes over a change that it has not published, and none waits for another's fault.
//!
//! Holds state, decides by the time it is given, and does nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Timing;
use super::crl::PlannedCrl;
use super::crl_agenda::CrlAgenda;
use super::ocsp::Extent;
use super::schedule::{Phase, SlotTurns};
use crate::pki::{HashAlgorithm, SlotRange, Timestamp};
use crate::registry::{Change, ChangeKind, CrlScope, PackHead};

/// A failed lane is left alone for at most this long, and a failed task for as long.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A task that takes longer is taken to have stalled.
const STALLED: Duration = Duration::from_secs(60);
/// A lane in which so many tasks failed one after the other, and none succeeded, is given up for the present pass.
const HOPELESS: u32 = 8;

/// One thing to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// The responses of a slot.
    Slot(HashAlgorithm, u32, Extent),
    /// A CRL.
    Crl(CrlScope),
}

/// What a lane signs.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) slot_bits: u8,
    /// The CertID hash of its responses; `None` in the lane of the CRLs.
    pub(super) cert_id_hash: Option<HashAlgorithm>,
    /// The scopes of its CRLs; none in a lane of responses.
    pub(super) crl_scopes: Vec<CrlScope>,
    /// Whether revoked CA certificates stand on none of them but the ARL.
    pub(super) has_arl_alone: bool,
    /// Where the issuer's turns begin.
    pub(super) phase: Phase,
    /// When slots are signed.
    pub(super) timing: Timing,
}

/// What is published of the issuer.
#[derive(Debug)]
pub(super) struct Published<'a> {
    pub(super) heads: &'a [PackHead],
    /// When the next CRL of each scope is planned.
    pub(super) crls: &'a [(CrlScope, PlannedCrl)],
    /// Changes up to here are reflected in it.
    pub(super) watermark: u64,
    /// Changes up to here have been forgotten: where that is further, nobody knows what is not reflected in it.
    pub(super) pruned: u64,
    /// Whether all of it is to be looked at, whatever has changed.
    pub(super) distrusted: bool,
}

/// A task that somebody works on: changes that come from now on may not be in what it publishes.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    since: Timestamp,
    revoked: bool,
    new: bool,
}

/// The work ahead in one lane.
#[derive(Debug)]
pub(super) struct Agenda {
    slot_bits: u8,
    hash: Option<HashAlgorithm>,
    phase: Phase,
    timing: Timing,
    /// When each slot is signed anew, by time and by slot.
    by_time: BTreeSet<(Timestamp, u32)>,
    by_slot: BTreeMap<u32, Timestamp>,
    crls: CrlAgenda,
    revoked_slots: BTreeSet<u32>,
    new_slots: BTreeSet<u32>,
    /// The newest change that is reflected in the sets above.
    pub(super) seen: u64,
    /// Whether certificates have come since the slots were last counted; never in the lane of the CRLs, which have none.
    pub(super) may_have_grown: bool,
    /// Whether nothing but what is urgent may be begun until the slots have been divided.
    pub(super) must_grow: bool,
    /// Whether changes were seen that the stored watermark does not cover.
    ahead_of_watermark: bool,
    /// The stored watermark.
    stored: u64,
    failures: u32,
    /// How many of them were those of storing the watermark.
    store_failures: u32,
    retry_at: Timestamp,
    /// Tasks that somebody works on.
    in_flight: BTreeMap<Task, InFlight>,
    /// Tasks that failed, and until when the others go before them.
    postponed: BTreeMap<Task, Timestamp>,
}

impl Agenda {
    /// The work of a lane, from what is published. What was never published is due at once.
    pub(super) fn new(work: Work, published: &Published<'_>) -> Agenda {
        let mut agenda = Agenda {
            slot_bits: work.slot_bits,
            hash: work.cert_id_hash,
            phase: work.phase,
            timing: work.timing,
            by_time: BTreeSet::new(),
            by_slot: BTreeMap::new(),
            crls: CrlAgenda::new(work.crl_scopes, work.has_arl_alone),
            revoked_slots: BTreeSet::new(),
            new_slots: BTreeSet::new(),
            seen: published.watermark.max(published.pruned),
            may_have_grown: work.cert_id_hash.is_some(),
            must_grow: false,
            ahead_of_watermark: false,
            stored: published.watermark,
            failures: 0,
            store_failures: 0,
            retry_at: Timestamp::default(),
            in_flight: BTreeMap::new(),
            postponed: BTreeMap::new(),
        };
        if agenda.hash.is_some() {
            (0..1u32 << agenda.slot_bits).for_each(|slot| agenda.plan(slot, Timestamp::default()));
        }
        published.heads.iter().for_each(|head| agenda.published(head));
        published.crls.iter().for_each(|(scope, planned)| agenda.crls.published(*scope, *planned));
        if published.watermark < published.pruned || published.distrusted {
            agenda.distrust(published.watermark);
        }
        agenda
    }

    /// Anything may have changed since the change `after`: all of it is looked at.
    fn distrust(&mut self, after: u64) {
        if self.hash.is_some() {
            self.new_slots.extend(0..1u32 << self.slot_bits);
            self.may_have_grown = true;
        }
        self.crls.distrust(after);
        self.ahead_of_watermark = true;
    }

    /// Whether it is the lane of the CRLs; otherwise it is one of responses.
    pub(super) fn signs_crls(&self) -> bool {
        self.hash.is_none()
    }

    /// Takes note of a change of this issuer.
    pub(super) fn note(&mut self, change: &Change) {
        match &change.kind {
            ChangeKind::Certificates(hashes) => {
                if self.hash.is_some() {
                    self.new_slots.extend(hashes.iter().map(|h| h.slot(self.slot_bits)));
                    self.may_have_grown = true;
                }
                self.ahead_of_watermark = true;
            }
            ChangeKind::Revocations(revoked) => {
                if self.hash.is_some() {
                    self.revoked_slots.extend(revoked.iter().map(|(hash, _)| hash.slot(self.slot_bits)));
                    self.may_have_grown = true;
                }
                self.crls.note(revoked.iter().map(|(_, place)| *place), change.sequence);
                self.ahead_of_watermark = true;
            }
            ChangeKind::Unreadable => self.distrust(change.sequence.saturating_sub(1)),
            ChangeKind::Issuer | ChangeKind::Packs(..) | ChangeKind::Crl(_) | ChangeKind::Signer => {}
        }
        self.seen = self.seen.max(change.sequence);
    }

    /// What is published and no longer right, because of revocations; at most `limit` of it. It does not wait for a refresh of the same slot, or for new
    /// certificates there, that are in flight: those will find their place taken.
    pub(super) fn urgent(&self, now: Timestamp, limit: usize) -> Vec<Task> {
        let slots = self.revoked_slots.iter().filter_map(|slot| self.slot_task(*slot, Extent::Changed));
        let all = slots.chain(self.crls.urgent(now).map(Task::Crl));
        all.filter(|task| !self.in_flight.contains_key(task) && !self.is_postponed(task, now)).take(limit).collect()
    }

    /// CRLs whose time has come, new certificates, then slots whose time has come; at most `limit` of them.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<Task> {
        let crls = self.crls.due(now).map(Task::Crl);
        let new = self.new_slots.iter().filter(|slot| self.by_slot.get(slot).is_none_or(|due| *due > now));
        let new = new.filter_map(|slot| self.slot_task(*slot, Extent::New));
        let refresh = self.by_time.iter().take_while(|(due, _)| *due <= now).filter_map(|(_, slot)| self.slot_task(*slot, Extent::Turn));
        let free = |task: &Task| !self.is_taken(task) && !self.is_postponed(task, now);
        crls.chain(new).chain(refresh).filter(free).take(limit).collect()
    }

    fn slot_task(&self, slot: u32, extent: Extent) -> Option<Task> {
        self.hash.map(|hash| Task::Slot(hash, slot, extent))
    }

    /// Whether somebody works on the same artefact, or is to do so urgently.
    fn is_taken(&self, task: &Task) -> bool {
        match *task {
            Task::Crl(_) => self.in_flight.contains_key(task),
            Task::Slot(hash, slot, _) => {
                let extents = [Extent::Turn, Extent::Changed, Extent::New];
                self.revoked_slots.contains(&slot) || extents.iter().any(|e| self.in_flight.contains_key(&Task::Slot(hash, slot, *e)))
            }
        }
    }

    fn is_postponed(&self, task: &Task, now: Timestamp) -> bool {
        self.postponed.get(task).is_some_and(|until| is_ahead(*until, now))
    }

    /// Somebody begins to work on a task: everything that was noted so far will be in what it publishes.
    pub(super) fn begin(&mut self, task: Task, now: Timestamp) {
        let (revoked, new) = match task {
            Task::Slot(_, slot, _) => (self.revoked_slots.remove(&slot), self.new_slots.remove(&slot)),
            Task::Crl(scope) => {
                self.crls.begin(scope);
                (false, false)
            }
        };
        self.in_flight.insert(task, InFlight { since: now, revoked, new });
    }

    /// Nobody works on a task any more. Where it is not `done`, everything that it stood for is to be done again.
    pub(super) fn end(&mut self, task: Task, done: bool) {
        let Some(InFlight { revoked, new, .. }) = self.in_flight.remove(&task) else { return };
        match task {
            Task::Slot(..) if done => {}
            Task::Slot(_, slot, _) => {
                self.revoked_slots.extend(revoked.then_some(slot));
                self.new_slots.extend(new.then_some(slot));
            }
            Task::Crl(scope) => self.crls.end(scope, done),
        }
    }

    /// Tasks that somebody works on.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A CRL was published.
    pub(super) fn crl_published(&mut self, scope: CrlScope, planned: PlannedCrl) {
        self.crls.published(scope, planned);
    }

    /// A slot was published for one hash.
    pub(super) fn published(&mut self, head: &PackHead) {
        if self.hash != Some(head.cert_id_hash) || head.slot >> self.slot_bits != 0 {
            return;
        }
        let turns = SlotTurns::new(SlotRange { bits: self.slot_bits, slot: head.slot }, self.phase, self.timing);
        // What was planned may have been planned for another refresh interval, or not be known.
        let planned = if head.refresh_at == Timestamp::default() { turns.next(head.this_update) } else { head.refresh_at };
        self.plan(head.slot, planned.min(turns.latest(head.this_update, head.next_update)));
    }

    /// Up to which change everything is reflected in what is published, where that is further than what is stored. Where `even_if_nothing_came`, also
    /// where the changes since then were none of this lane's.
    pub(super) fn watermark_to_store(&self, even_if_nothing_came: bool) -> Option<u64> {
        let is_wanted = self.ahead_of_watermark || even_if_nothing_came;
        let stands_for_changes = || self.in_flight.values().any(|task| task.revoked || task.new);
        if !is_wanted || !self.revoked_slots.is_empty() || !self.new_slots.is_empty() || stands_for_changes() {
            return None;
        }
        let reflected = self.crls.first_unreflected().map_or(self.seen, |first| first.saturating_sub(1));
        Some(reflected).filter(|reflected| *reflected > self.stored)
    }

    /// The watermark was stored.
    pub(super) fn stored(&mut self, watermark: u64) {
        self.stored = watermark;
        self.ahead_of_watermark = watermark < self.seen;
        self.failures = self.failures.saturating_sub(std::mem::take(&mut self.store_failures));
    }

    /// The watermark could not be stored: it is to be tried again, in a lane that has nothing else to do too.
    pub(super) fn not_stored(&mut self, now: Timestamp) {
        self.ahead_of_watermark = true;
        self.store_failures = self.store_failures.saturating_add(1);
        self.failed(now);
    }

    /// Whether the lane may be worked in: not so for a while after a failure, so that a token that is down is not stormed.
    pub(super) fn may_work(&self, now: Timestamp) -> bool {
        !is_ahead(self.retry_at, now)
    }

    /// Whether so much has failed that the present pass had better end.
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures >= HOPELESS
    }

    /// A task failed at `now`: the others go before it for a while.
    pub(super) fn postpone(&mut self, task: Task, now: Timestamp) {
        self.postponed.retain(|_, until| is_ahead(*until, now));
        self.postponed.insert(task, now.saturating_add(MAX_BACKOFF));
        self.failed(now);
    }

    /// Something failed at `now`.
    pub(super) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.saturating_add(Duration::from_secs(1 << self.failures.min(6)).min(MAX_BACKOFF));
    }

    /// A task succeeded.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.store_failures, self.retry_at) = (0, 0, Timestamp::default());
    }

    /// Whether the last attempt failed, a task still waits for another one, or one does not come to an end.
    pub(super) fn is_failing(&self, now: Timestamp) -> bool {
        let stalled = self.in_flight.values().any(|task| now.since(task.since) > STALLED);
        self.failures > 0 || stalled || self.postponed.values().any(|until| is_ahead(*until, now))
    }

    fn plan(&mut self, slot: u32, due: Timestamp) {
        if let Some(before) = self.by_slot.insert(slot, due) {
            self.by_time.remove(&(before, slot));
        }
        self.by_time.insert((due, slot));
    }
}

/// Whether a time set by a failure is still to come. One that is further ahead than any failure sets it is from before the clock was set back.
fn is_ahead(until: Timestamp, now: Timestamp) -> bool {
    now < until && until.since(now) <= MAX_BACKOFF
}

#[cfg(test)]
mod tests {
    use super::super::schedule;
    use super::*;
    use crate::pki::SlotHash;
    use crate::registry::{CrlPlace, IssuerId};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    const TIMING: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };

    fn work_of(cert_id_hash: Option<HashAlgorithm>, crl_scopes: Vec<CrlScope>) -> Work {
        Work { slot_bits: 1, cert_id_hash, crl_scopes, has_arl_alone: false, phase: Phase::default(), timing: TIMING }
    }

    fn responses() -> Agenda {
        let work = work_of(Some(HashAlgorithm::Sha1), vec![]);
        Agenda::new(work, &Published { heads: &[], crls: &[], watermark: 0, pruned: 0, distrusted: false })
    }

    fn crls() -> Agenda {
        let work = work_of(None, vec![CrlScope::Full, CrlScope::Partition(0)]);
        Agenda::new(work, &Published { heads: &[], crls: &[], watermark: 0, pruned: 0, distrusted: false })
    }

    fn revocation(sequence: u64) -> Change {
        let places = [(SlotHash(u64::MAX), CrlPlace::Partition(0)), (SlotHash(u64::MAX - 1), CrlPlace::Partition(9))];
        Change { sequence, issuer: IssuerId(1), kind: ChangeKind::Revocations(places.to_vec()) }
    }

    fn head(slot: u32, this_update: Timestamp) -> PackHead {
        let next_update = schedule::next_update(this_update, TIMING.validity, Timestamp::MAX);
        let refresh_at = this_update.saturating_add(TIMING.refresh);
        PackHead { cert_id_hash: HashAlgorithm::Sha1, slot, generation: 1, this_update, next_update, refresh_at }
    }

    #[test]
    fn what_was_never_published_is_due_at_once() {
        let now = at(1_000_000);
        let slots = [0, 1].map(|slot| Task::Slot(HashAlgorithm::Sha1, slot, Extent::Turn));
        assert_eq!(responses().due(now, 100), slots);
        assert_eq!(crls().due(now, 100), [Task::Crl(CrlScope::Full), Task::Crl(CrlScope::Partition(0))]);
        assert_eq!(crls().due(now, 1).len(), 1);
    }

    #[test]
    fn t4_s3_4_a_revocation_is_urgent_for_its_slot_its_partition_and_the_full_crl() {
        let (mut responses, mut crls, now) = (responses(), crls(), at(1_000_000));
        responses.note(&revocation(7));
        crls.note(&revocation(7));
        assert_eq!(responses.urgent(now, 9), [Task::Slot(HashAlgorithm::Sha1, 1, Extent::Changed)]);
        assert_eq!(
            crls.urgent(now, 9),
            [Task::Crl(CrlScope::Full), Task::Crl(CrlScope::Partition(0))],
            "partition 9 is not published here"
        );
        for (agenda, tasks, reflected) in [(&mut responses, 1, None), (&mut crls, 2, Some(6))] {
            assert_eq!(agenda.watermark_to_store(false), reflected);
            let urgent = agenda.urgent(now, 9);
            assert_eq!(urgent.len(), tasks);
            urgent.iter().for_each(|task| agenda.begin(*task, now));
            assert!(agenda.urgent(now, 9).is_empty() && agenda.watermark_to_store(false) == reflected, "in flight is not published");
            urgent.iter().for_each(|task| agenda.end(*task, true));
            assert_eq!(agenda.watermark_to_store(false), Some(7));
            agenda.stored(7);
            assert_eq!(agenda.watermark_to_store(true), None);
        }
    }

    #[test]
    fn a_watermark_follows_changes_that_are_no_business_of_the_lane() {
        let mut agenda = crls();
        agenda.seen = 5;
        assert_eq!((agenda.watermark_to_store(false), agenda.watermark_to_store(true)), (None, Some(5)));
    }

    #[test]
    fn a_watermark_that_could_not_be_stored_is_tried_again_and_then_no_failure_any_more() {
        let (mut agenda, now) = (crls(), at(1_000_000));
        agenda.seen = 5;
        agenda.failed(now);
        (0..3).for_each(|_| agenda.not_stored(now));
        assert!(agenda.is_failing(now) && !agenda.may_work(now));
        assert_eq!(agenda.watermark_to_store(false), Some(5), "although nothing came");
        agenda.stored(5);
        assert!(agenda.is_failing(now), "something else failed before");
        agenda.succeeded();
        agenda.not_stored(now);
        agenda.stored(5);
        assert!(!agenda.is_failing(now));
    }

    #[test]
    fn c9_a_lane_that_was_away_for_longer_than_the_feed_is_kept_looks_at_everything_once() {
        let work = work_of(Some(HashAlgorithm::Sha1), vec![]);
        let heads = [0, 1].map(|slot| head(slot, at(1_000_000)));
        let mut agenda = Agenda::new(work, &Published { heads: &heads, crls: &[], watermark: 3, pruned: 4, distrusted: false });
        let slots = [0, 1].map(|slot| Task::Slot(HashAlgorithm::Sha1, slot, Extent::New));
        assert_eq!(agenda.due(at(1_000_001), 9), slots, "what has changed is found by looking at all of them");
        slots.iter().for_each(|task| agenda.begin(*task, at(1_000_001)));
        slots.iter().for_each(|task| agenda.end(*task, true));
        assert_eq!(agenda.watermark_to_store(false), Some(4));

        let work = work_of(None, vec![CrlScope::Full]);
        let mut agenda = Agenda::new(work, &Published { heads: &[], crls: &[], watermark: 3, pruned: 4, distrusted: false });
        assert_eq!(agenda.watermark_to_store(false), None, "nor is a CRL up to date before it is issued");
        let task = Task::Crl(CrlScope::Full);
        agenda.begin(task, at(1_000_001));
        assert_eq!(agenda.watermark_to_store(false), None);
        agenda.end(task, true);
        assert_eq!(agenda.watermark_to_store(false), Some(4));
    }

    #[test]
    fn t4_what_is_revoked_while_its_slot_is_in_flight_is_signed_again_and_at_once() {
        let (mut agenda, now) = (responses(), at(1_000_000));
        let (refresh, urgent) = (Task::Slot(HashAlgorithm::Sha1, 1, Extent::Turn), Task::Slot(HashAlgorithm::Sha1, 1, Extent::Changed));
        agenda.begin(refresh, now);
        assert!(!agenda.due(now, 9).contains(&refresh), "nothing is done twice");
        agenda.note(&revocation(1));
        assert_eq!(agenda.urgent(now, 9), [urgent], "it does not wait for the refresh");
        agenda.begin(urgent, now);
        agenda.note(&revocation(2));
        agenda.end(urgent, true);
        assert_eq!(agenda.urgent(now, 9), [urgent], "the second one may have come too late for the first task");
        agenda.begin(urgent, now);
        agenda.end(urgent, false);
        assert_eq!(agenda.urgent(now, 9), [urgent], "what failed is to be done again");
        agenda.end(refresh, false);
        assert!(!agenda.due(now, 9).contains(&refresh), "the refresh waits for what is urgent");
        assert!(!agenda.is_failing(now) && agenda.watermark_to_store(false).is_none());
    }

    #[test]
    fn t4_a_revocation_does_not_wait_for_new_certificates_of_its_slot() {
        let (mut agenda, now) = (responses(), at(1_800_000_000));
        (0..2).for_each(|slot| agenda.published(&head(slot, now)));
        agenda.note(&Change { sequence: 1, issuer: IssuerId(1), kind: ChangeKind::Certificates(vec![SlotHash(u64::MAX)]) });
        let [new, urgent] = [Extent::New, Extent::Changed].map(|extent| Task::Slot(HashAlgorithm::Sha1, 1, extent));
        assert_eq!(agenda.due(now, 9), [new]);
        agenda.begin(new, now);
        agenda.note(&revocation(2));
        assert_eq!((agenda.urgent(now, 9), agenda.due(now, 9)), (vec![urgent], vec![]));
        agenda.begin(urgent, now);
        agenda.end(urgent, true);
        // The other was forestalled, and is done again.
        agenda.end(new, false);
        assert_eq!((agenda.urgent(now, 9), agenda.due(now, 9)), (vec![], vec![new]));
    }

    #[test]
    fn a_task_that_does_not_end_is_a_failure() {
        let (mut agenda, now) = (crls(), at(1_000_000));
        agenda.begin(Task::Crl(CrlScope::Full), now);
        assert!(!agenda.is_failing(now.saturating_add(STALLED)));
        assert!(agenda.is_failing(now.saturating_add(STALLED * 2)));
    }

    #[test]
    fn a_published_slot_is_due_again_at_its_turn() {
        let (mut agenda, now) = (responses(), at(1_800_000_000));
        (0..2).for_each(|slot| agenda.published(&head(slot, now)));
        assert!(agenda.due(now, 100).is_empty());
        assert_eq!(agenda.due(now.saturating_add(TIMING.refresh), 100).len(), 2);
    }

    #[test]
    fn s1_1_a_failing_lane_is_left_alone_for_a_minute_at_most() {
        let mut agenda = responses();
        (0..20).for_each(|_| agenda.failed(at(100)));
        assert!(!agenda.may_work(at(159)) && agenda.may_work(at(160)) && agenda.is_hopeless());
        assert!(agenda.may_work(at(1)), "a clock set back does not silence it");
        agenda.succeeded();
        assert!(agenda.may_work(at(100)) && !agenda.is_failing(at(100)));
    }

    #[test]
    fn a_task_that_failed_lets_the_others_go_first() {
        let (mut agenda, now) = (crls(), at(1_000_000));
        agenda.note(&revocation(1));
        agenda.postpone(Task::Crl(CrlScope::Full), now);
        agenda.succeeded();
        assert_eq!(agenda.urgent(now, 9), [Task::Crl(CrlScope::Partition(0))]);
        assert!(agenda.due(now, 9).is_empty(), "it is urgent, so it is not merely due");
        assert!(agenda.is_failing(now) && agenda.watermark_to_store(false).is_none());
        assert_eq!(agenda.urgent(now.saturating_add(MAX_BACKOFF), 9).len(), 2);
    }
}
