//! When something is signed again: pure functions of what is published and of the time.
//!
//! Every CRL has a place of its own within its interval, and every slot of OCSP responses has turns of its own, at each of which the oldest of them are signed:
//! the token's load is flat by construction. After a first full signing it takes one interval until that is so, and missed turns are made up for at the next.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::Timing;
use crate::pki::{SlotRange, Timestamp};

/// Where an issuer's turns begin within any period: many issuers, each with few slots or one CRL, do not have theirs at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phase(u64);

impl Phase {
    /// That of an issuer, by its name: the same in every process, and after every restart.
    pub fn of_issuer(name: &str) -> Phase {
        Phase(xxh3_64(name.as_bytes()))
    }
}

/// One of `of` things of an issuer that are refreshed in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its index, below `of`.
    pub index: u32,
    /// How many there are; at least 1.
    pub of: u32,
    /// Where the first of them has its turns.
    pub phase: Phase,
}

/// Turns that all slots together have in a refresh interval, at least: half a dozen a minute where it is half of a week, so that every minute has the same.
const TURNS: u32 = 1 << 15;
/// Turns of one slot in an interval, at most: each may leave a signing in the table of the slot's pack ([`crate::pack::MAX_SIGNINGS`]).
const MAX_PARTS: u32 = 32;

/// When the responses of a slot are signed again: part by part, the oldest first, and none too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTurns {
    turn: Turn,
    parts: u32,
    timing: Timing,
}

impl SlotTurns {
    /// The turns of a slot. The fewer slots there are, the more turns has each.
    pub fn new(slot: SlotRange, phase: Phase, timing: Timing) -> SlotTurns {
        SlotTurns { turn: Turn { index: slot.slot, of: 1 << slot.bits, phase }, parts: (TURNS >> slot.bits).clamp(1, MAX_PARTS), timing }
    }

    /// The first turn after `after`.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        turn_after(self.turn, self.interval(), after)
    }

    /// The turn after `after` at which a response is signed of which so many (`position`) of `responses` are older.
    pub fn next_of(&self, position: usize, responses: usize, after: Timestamp) -> Timestamp {
        let next = self.next(after);
        let first = self.number(next);
        let turns = (0..self.parts - 1).find(|turns| self.shares(first, first + u64::from(*turns), responses) > position);
        next.saturating_add(self.interval() * turns.unwrap_or(self.parts - 1))
    }

    /// How many of the responses with these (thisUpdate, nextUpdate), the oldest first, are signed at the turn at `now`: its share of them, and what cannot
    /// wait until the next turn.
    pub fn wanted(&self, oldest_first: &[(Timestamp, Timestamp)], now: Timestamp) -> usize {
        let (next, turn) = (self.next(now), self.number(now));
        let cannot_wait = oldest_first.iter().rposition(|(this_update, next_update)| self.latest(*this_update, *next_update) < next);
        cannot_wait.map_or(0, |last| last + 1).max(self.shares(turn, turn, oldest_first.len()))
    }

    /// What falls to the turns from `first` to `last`: to as many as there are in a refresh interval, each response once.
    fn shares(&self, first: u64, last: u64, responses: usize) -> usize {
        let before = |turn: u64| u128::from(turn) * responses as u128 / u128::from(self.parts);
        (before(last + 1) - before(first)) as usize
    }

    /// The number of the turn at `time`, or of the last one before it.
    fn number(&self, time: Timestamp) -> u64 {
        let period = self.interval().as_secs();
        time.unix().saturating_sub(phase(self.turn, period)) / period
    }

    /// From one turn to the next: at least a second.
    fn interval(&self) -> Duration {
        Duration::from_secs((self.timing.refresh.as_secs() / u64::from(self.parts)).max(1))
    }

    /// When a response with these times is signed again at the latest.
    pub fn latest(&self, this_update: Timestamp, next_update: Timestamp) -> Timestamp {
        at_the_latest(self.timing, this_update, next_update)
    }
}

/// nextUpdate of something signed at `this_update`, at most `not_after` (rules T1: the validity is measured inclusively; T3).
pub fn next_update(this_update: Timestamp, validity: Duration, not_after: Timestamp) -> Timestamp {
    this_update.saturating_add(validity.saturating_sub(Duration::from_secs(1))).min(not_after)
}

/// When something signed at `this_update` and valid until `next_update` is signed again: at its turn. Where its validity was cut because the signer's
/// certificate is about to end (rule T3), at half of what was left at the latest, but a minute after signing at the earliest.
pub fn refresh_at(turn: Turn, timing: Timing, this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    turn_after(turn, timing.refresh, this_update).min(at_the_latest(timing, this_update, next_update))
}

/// After the refresh interval; where the validity was cut, after half of what was left, but not within the first minute.
fn at_the_latest(timing: Timing, this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    let left = next_update.since(this_update);
    let is_cut = left + Duration::from_secs(1) < timing.validity;
    let half = (left / 2).max(Duration::from_secs(60));
    this_update.saturating_add(if is_cut { half.min(timing.refresh) } else { timing.refresh })
}

/// The first instant after `after` that is this one's turn. Turns recur every `period`.
fn turn_after(turn: Turn, period: Duration, after: Timestamp) -> Timestamp {
    let period = period.as_secs().max(1);
    let phase = phase(turn, period);
    let since_phase = after.unix().saturating_sub(phase);
    let rounds = if after.unix() < phase { 0 } else { since_phase / period + 1 };
    Timestamp::from_unix(phase + rounds * period).unwrap_or(Timestamp::MAX)
}

/// Where the turns of one lie in a period, in seconds.
fn phase(turn: Turn, period: u64) -> u64 {
    let place = (u128::from(period) * u128::from(turn.index) / u128::from(turn.of.max(1))) as u64;
    (place + turn.phase.0 % period) % period
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    #[test]
    fn t1_validity_is_measured_inclusively() {
        let seven_days = 7 * 24 * HOUR;
        assert_eq!(next_update(at(1000), seven_days, Timestamp::MAX).since(at(1000)), seven_days - Duration::from_secs(1));
    }

    #[test]
    fn t3_next_update_never_passes_the_signer() {
        assert_eq!(next_update(at(1000), 7 * 24 * HOUR, at(5000)), at(5000));
    }

    const WEEK: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };

    /// The responses of a slot, all signed at once.
    fn signed(number: usize, timing: Timing, this_update: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        vec![(this_update, next_update(this_update, timing.validity, Timestamp::MAX)); number]
    }

    /// Signs what is wanted at a turn, and tells how much that was.
    fn sign(turns: &SlotTurns, oldest_first: &mut [(Timestamp, Timestamp)], now: Timestamp) -> usize {
        let wanted = turns.wanted(oldest_first, now);
        oldest_first[..wanted].copy_from_slice(&signed(wanted, turns.timing, now));
        oldest_first.rotate_left(wanted);
        wanted
    }

    /// A million certificates in slots of unequal size that were all signed at the same instant: after two intervals every minute has its share.
    #[test]
    fn t2_a_minute_of_steady_refresh_is_like_any_other() {
        let (bits, start) = (10, at(1_800_000_000));
        let from = start.saturating_add(WEEK.refresh * 2);
        let mut minutes = vec![0; (WEEK.refresh.as_secs() / 60) as usize];
        for slot in 0..1 << bits {
            let turns = SlotTurns::new(SlotRange { bits, slot }, Phase::default(), WEEK);
            let mut oldest_first = signed(900 + (slot as usize * 37) % 151, WEEK, start);
            let mut now = turns.next(start);
            while now.since(from) < WEEK.refresh {
                let signatures = sign(&turns, &mut oldest_first, now);
                if now >= from {
                    minutes[(now.since(from).as_secs() / 60) as usize] += signatures;
                }
                now = turns.next(now);
            }
        }
        let (busiest, total) = (minutes.iter().max().copied().unwrap(), minutes.iter().sum::<usize>());
        assert!(5 * busiest * minutes.len() <= 6 * total, "{busiest} signatures in the busiest minute, {total} in all {}", minutes.len());
    }

    /// The daily CRL of each of a thousand CAs without partitions: every hour has its share.
    #[test]
    fn s5_1_many_cas_do_not_have_their_turns_at_the_same_time() {
        let day = Timing { validity: 72 * HOUR, refresh: 24 * HOUR };
        let mut hours = [0; 24];
        for ca in 0..1000 {
            let (now, turn) = (at(1_800_000_000), Turn { index: 0, of: 1, phase: Phase::of_issuer(&format!("ca-{ca}")) });
            let due = refresh_at(turn, day, now, next_update(now, day.validity, Timestamp::MAX));
            hours[(due.since(now).as_secs().min(86_399) / 3600) as usize] += 1;
        }
        assert!(hours.iter().all(|crls| (20..=70).contains(crls)), "{hours:?}");
    }

    #[test]
    fn a_slot_of_many_is_signed_as_a_whole_and_one_of_few_in_parts() {
        let turns = |bits| SlotTurns::new(SlotRange { bits, slot: 0 }, Phase::default(), WEEK);
        assert_eq!([0, 10, 12, 15, 17].map(|bits| turns(bits).parts), [32, 32, 8, 1, 1]);
        assert_eq!(turns(17).shares(5, 5, 763), 763);
        for number in [0, 1, 7, 31, 32, 33, 1000] {
            let shares: Vec<_> = (77..77 + 32).map(|turn| turns(10).shares(turn, turn, number)).collect();
            assert_eq!((shares.iter().sum::<usize>(), shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1), (number, true));
        }
    }

    #[test]
    fn o13_what_is_planned_for_a_response_is_the_turn_at_which_it_is_signed() {
        for number in [1, 5, 500, 977] {
            let turns = SlotTurns::new(SlotRange { bits: 10, slot: 3 }, Phase::default(), WEEK);
            let start = at(1_800_000_000);
            let planned: Vec<_> = (0..number).map(|position| turns.next_of(position, number, start)).collect();
            let (mut now, mut older) = (start, 0);
            while older < number {
                now = turns.next(now);
                let share = turns.shares(turns.number(now), turns.number(now), number);
                assert!(planned[older..(older + share).min(number)].iter().all(|planned| *planned == now), "{number}: from {older}");
                older += share;
            }
        }
    }

    #[test]
    fn after_a_long_rest_what_cannot_wait_is_signed_and_the_rest_has_its_turns() {
        let turns = SlotTurns::new(SlotRange { bits: 10, slot: 7 }, Phase::default(), WEEK);
        let (mut responses, mut now) = (signed(960, WEEK, at(1_800_000_000)), at(1_800_000_000));
        for _ in 0..64 {
            now = turns.next(now);
            assert_eq!(sign(&turns, &mut responses, now), 30);
        }
        // Seven turns are missed, and the eighth comes late.
        now = turns.next(now.saturating_add(turns.interval() * 7)).saturating_add(Duration::from_secs(99));
        assert_eq!(sign(&turns, &mut responses, now), 8 * 30);
        assert_eq!(sign(&turns, &mut responses, turns.next(now)), 30);
        let after_a_month = now.saturating_add(30 * 24 * HOUR);
        assert_eq!(sign(&turns, &mut responses, after_a_month), 960);
    }

    proptest! {
        /// Whatever is issued meanwhile.
        #[test]
        fn s3_6_t1_t2_every_response_of_a_slot_has_its_turn_in_time(
            bits in 0u8..18, slot in 0u32..1 << 17, phase: u64, number in 1usize..1000, begun in 0u64..10_000_000_000,
            issued in proptest::collection::vec(0usize..40, 100),
        ) {
            let turns = SlotTurns::new(SlotRange { bits, slot: slot & ((1 << bits) - 1) }, Phase(phase), WEEK);
            let mut now = at(begun);
            let mut oldest_first = signed(number, WEEK, now);
            for new in issued {
                let next = turns.next(now);
                prop_assert!(now < next && next.since(now) <= turns.interval());
                oldest_first.extend(signed(new, WEEK, now));
                now = next;
                prop_assert!(oldest_first.iter().all(|(this_update, _)| now.since(*this_update) <= WEEK.refresh));
                sign(&turns, &mut oldest_first, now);
            }
        }

        #[test]
        fn s3_6_t1_t2_every_refresh_is_in_time(
            index in 0u32..1 << 20, extra in 0u32..1 << 20, phase: u64, signed in 0u64..10_000_000_000,
            (validity, refresh) in prop_oneof![Just((7 * 24 * HOUR, 84 * HOUR)), Just((8 * HOUR, 4 * HOUR - HOUR / 60)), Just((10 * 24 * HOUR, 96 * HOUR)), Just((16 * HOUR, 8 * HOUR))],
        ) {
            let next = next_update(at(signed), validity, Timestamp::MAX);
            let again = refresh_at(Turn { index, of: index + extra + 1, phase: Phase(phase) }, Timing { validity, refresh }, at(signed), next);
            prop_assert!(again > at(signed));
            let age = again.since(at(signed));
            prop_assert!(age <= refresh && age <= 96 * HOUR);
            if validity < 16 * HOUR {
                prop_assert!(2 * age < validity);
            } else {
                prop_assert!(next.since(again) + Duration::from_secs(1) >= 8 * HOUR);
            }
        }
    }
}
