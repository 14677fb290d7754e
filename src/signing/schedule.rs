//! When something is signed again: pure functions of what is published and of the time.
//!
//! Every slot has a place of its own within the refresh interval, so that the token's load is flat by construction: after a first full signing, one interval
//! later all slots have moved to their places, and a missed interval leaves them there.

use std::time::Duration;

use super::Timing;
use crate::pki::Timestamp;

/// One of `of` things that are refreshed in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its index, below `of`.
    pub index: u32,
    /// How many there are; at least 1.
    pub of: u32,
}

/// nextUpdate of something signed at `this_update`, at most `not_after` (rules T1: the validity is measured inclusively; T3).
pub fn next_update(this_update: Timestamp, validity: Duration, not_after: Timestamp) -> Timestamp {
    this_update.saturating_add(validity.saturating_sub(Duration::from_secs(1))).min(not_after)
}

/// When something signed at `this_update` and valid until `next_update` is signed again: at its turn. Where its validity was cut because the signer's
/// certificate is about to end (rule T3), at half of what was left at the latest, but a minute after signing at the earliest.
pub fn refresh_at(turn: Turn, timing: Timing, this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    let planned = turn_after(turn, timing.refresh, this_update);
    let left = next_update.since(this_update);
    if left + Duration::from_secs(1) >= timing.validity {
        return planned;
    }
    planned.min(this_update.saturating_add((left / 2).max(Duration::from_secs(60))))
}

/// The first instant after `after` that is this one's turn. Turns recur every `refresh`.
fn turn_after(turn: Turn, refresh: Duration, after: Timestamp) -> Timestamp {
    let period = refresh.as_secs().max(1);
    let phase = (u128::from(period) * u128::from(turn.index) / u128::from(turn.of.max(1))) as u64;
    let since_phase = after.unix().saturating_sub(phase);
    let rounds = if after.unix() < phase { 0 } else { since_phase / period + 1 };
    Timestamp::from_unix(phase + rounds * period).unwrap_or(Timestamp::MAX)
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

    /// A month of 1024 slots that were all signed at the same instant: after the first interval every hour has its share.
    #[test]
    fn refresh_is_flat_after_one_interval() {
        let slots = 1024;
        let timing = Timing { validity: 168 * HOUR, refresh: 84 * HOUR };
        let start = at(1_800_000_000);
        let mut per_hour = vec![0u32; 24 * 30];
        for index in 0..slots {
            let turn = Turn { index, of: slots };
            let mut signed = start;
            loop {
                let again = refresh_at(turn, timing, signed, next_update(signed, timing.validity, Timestamp::MAX));
                let hour = (again.since(start).as_secs() / 3600) as usize;
                if hour >= per_hour.len() {
                    break;
                }
                per_hour[hour] += 1;
                signed = again;
            }
        }
        let mean = f64::from(slots) / 84.0;
        let busiest = per_hour.iter().max().copied().unwrap();
        assert!(f64::from(busiest) <= mean.ceil() + 1.0, "{busiest} slots in the busiest hour, {mean} in the mean one");
    }

    proptest! {
        #[test]
        fn s3_6_t1_t2_every_refresh_is_in_time(
            index in 0u32..1 << 20, extra in 0u32..1 << 20, signed in 0u64..10_000_000_000,
            (validity, refresh) in prop_oneof![Just((7 * 24 * HOUR, 84 * HOUR)), Just((8 * HOUR, 4 * HOUR - HOUR / 60)), Just((10 * 24 * HOUR, 96 * HOUR)), Just((16 * HOUR, 8 * HOUR))],
        ) {
            let next = next_update(at(signed), validity, Timestamp::MAX);
            let again = refresh_at(Turn { index, of: index + extra + 1 }, Timing { validity, refresh }, at(signed), next);
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
