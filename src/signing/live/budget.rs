//! How many answers may be signed in a second: a token bucket, without a lock. Reads no clock.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// A bucket that is full at first, holds what is allowed in one second, and fills evenly.
#[derive(Debug)]
pub struct Budget {
    /// Nanoseconds in which one signature comes in.
    interval: u64,
    /// When the bucket would be full again, in nanoseconds: all that there is to know of it.
    full_at: AtomicU64,
}

impl Budget {
    /// A budget of `per_second` signatures.
    pub fn new(per_second: NonZeroU32) -> Budget {
        Budget { interval: SECOND / u64::from(per_second.get()), full_at: AtomicU64::new(0) }
    }

    /// Takes one signature at `now`, a time since any fixed instant; `false` where there is none.
    pub fn take(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - SECOND);
        let take = |full_at: u64| {
            let after = full_at.max(now) + self.interval;
            (after <= now + SECOND).then_some(after)
        };
        self.full_at.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, at: Duration) -> usize {
        (0..10_000).take_while(|_| budget.take(at)).count()
    }

    #[test]
    fn a_second_of_rest_gives_a_second_of_signatures_and_never_more() {
        let budget = Budget::new(NonZeroU32::new(100).unwrap());
        let at = Duration::from_millis;
        assert_eq!(taken(&budget, at(0)), 100);
        assert_eq!(taken(&budget, at(9)), 0);
        assert_eq!(taken(&budget, at(10)), 1);
        assert_eq!(taken(&budget, at(510)), 50);
        assert_eq!(taken(&budget, at(3_600_000)), 100, "an hour of rest");
        assert_eq!(taken(&budget, at(5)), 0, "a time that is earlier than the last one");
    }

    #[test]
    fn over_a_long_flood_the_rate_is_kept() {
        for rate in [1, 3, 7, 1000, 1_000_000] {
            let budget = Budget::new(NonZeroU32::new(rate).unwrap());
            let mut signed = 0u64;
            for milliseconds in 0..10_000 {
                let mut now = 0;
                while now <= rate / 100 && budget.take(Duration::from_millis(milliseconds)) {
                    (signed, now) = (signed + 1, now + 1);
                }
            }
            let wanted = 11 * u64::from(rate);
            assert!(signed <= wanted && signed + u64::from(rate) / 100 + 2 >= wanted, "{signed} in ten seconds at {rate}/s");
        }
    }
}
