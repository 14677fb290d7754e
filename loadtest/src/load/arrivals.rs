//! When requests of an open loop are due. Pure: reads no clock, and knows nothing of whether anybody keeps up.
//!
//! The n-th request is due when the integral of the rate reaches n. For Poisson arrivals n grows by exponentially distributed steps instead of by one (a
//! Poisson process of rate one, seen on a changed scale of time).

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};

use crate::shape::Arrivals;
use crate::units::Rate;

/// The moments, in nanoseconds after the start, at which one of several threads has a request due; rising; ends with the duration.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    rate: Rate,
    seconds: f64,
    arrivals: Arrivals,
    random: SmallRng,
    /// How many requests all threads have had due before the next of this one.
    count: f64,
    threads: f64,
    thread: u32,
    started: bool,
}

impl Schedule {
    /// The share of a thread, of so many.
    pub(super) fn new(rate: Rate, duration: Duration, arrivals: Arrivals, thread: u32, threads: u32) -> Schedule {
        let random = SmallRng::seed_from_u64(0x6475_6521 + u64::from(thread));
        let (seconds, threads) = (duration.as_secs_f64(), f64::from(threads));
        Schedule { rate, seconds, arrivals, random, count: 0.0, threads, thread, started: false }
    }

    /// Seconds until the integral of the rate is `count`; `None` where it never is within the duration.
    fn moment(&self, count: f64) -> Option<f64> {
        let (start, slope) = (self.rate.start, (self.rate.end - self.rate.start) / self.seconds);
        let root = start * start + 2.0 * slope * count;
        if root < 0.0 {
            return None;
        }
        let moment = 2.0 * count / (start + root.sqrt());
        (moment < self.seconds).then_some(moment)
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let step: f64 = match self.arrivals {
            Arrivals::Even if !self.started => f64::from(self.thread),
            Arrivals::Even => self.threads,
            Arrivals::Poisson => self.threads * <Exp1 as Distribution<f64>>::sample(&Exp1, &mut self.random),
        };
        self.started = true;
        self.count += step;
        self.moment(self.count).map(|seconds| (seconds * 1e9) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: &str, seconds: u64, arrivals: Arrivals, thread: u32, threads: u32) -> Vec<u64> {
        Schedule::new(rate.parse().unwrap(), Duration::from_secs(seconds), arrivals, thread, threads).collect()
    }

    #[test]
    fn even_arrivals_are_evenly_spaced_and_shared_by_the_threads() {
        assert_eq!(schedule("4", 1, Arrivals::Even, 0, 1), [0, 250_000_000, 500_000_000, 750_000_000]);
        assert_eq!(schedule("4", 1, Arrivals::Even, 1, 2), [250_000_000, 750_000_000]);
    }

    #[test]
    fn a_ramp_reaches_its_mean_and_grows_denser() {
        let due = schedule("0.001..1000", 10, Arrivals::Even, 0, 1);
        assert!((4_999..=5_001).contains(&due.len()), "{}", due.len());
        let in_second = |second: u64| due.iter().filter(|moment| *moment / 1_000_000_000 == second).count();
        assert!((45..=55).contains(&in_second(0)), "{}", in_second(0));
        assert!((945..=955).contains(&in_second(9)), "{}", in_second(9));
        let down = schedule("1000..0.001", 10, Arrivals::Even, 0, 1);
        assert!((4_999..=5_001).contains(&down.len()), "{}", down.len());
    }

    #[test]
    fn poisson_arrivals_have_the_rate_in_the_mean_and_its_spread() {
        let due: Vec<u64> = (0..2).flat_map(|thread| schedule("1000", 100, Arrivals::Poisson, thread, 2)).collect();
        // A mean of 100 000 with a deviation of 316.
        assert!((98_700..101_300).contains(&due.len()), "{}", due.len());
        let mut seconds = [0_f64; 100];
        due.iter().for_each(|moment| seconds[(moment / 1_000_000_000) as usize] += 1.0);
        let variance = seconds.iter().map(|count| (count - 1000.0).powi(2)).sum::<f64>() / 100.0;
        assert!((600.0..1600.0).contains(&variance), "{variance}: wanted about the mean");
    }
}
