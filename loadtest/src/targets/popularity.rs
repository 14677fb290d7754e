//! Which request comes next: kinds and classes by weight, certificates by popularity.

use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use serde::Deserialize;

use super::mix::Kind;
use super::{RequestId, Targets};
use crate::units::{BadValue, from_strings};

/// How often each certificate is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Popularity {
    /// All alike.
    #[default]
    Uniform,
    /// The n-th of the file as often as n to the power of minus this (0.1 to 5).
    Zipf(f64),
    /// One after the other, in the order of the file, again and again.
    Replay,
}

impl FromStr for Popularity {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Popularity, BadValue> {
        let bad = || BadValue::new(text, "uniform, zipf, zipf:S with S from 0.1 to 5, or replay");
        match text.split_once(':') {
            None if text == "uniform" => Ok(Popularity::Uniform),
            None if text == "zipf" => Ok(Popularity::Zipf(1.0)),
            None if text == "replay" => Ok(Popularity::Replay),
            Some(("zipf", exponent)) => {
                let exponent = exponent.parse().ok().filter(|exponent| (0.1..=5.0).contains(exponent));
                exponent.map(Popularity::Zipf).ok_or_else(bad)
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Popularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Popularity::Uniform => f.write_str("uniform"),
            Popularity::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Popularity::Replay => f.write_str("replay"),
        }
    }
}

from_strings!(Popularity);

/// The questions of one class: at least one.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    /// One after the other without a gap: first and how many.
    Range(u32, u32),
    Some(Vec<u32>),
}

impl Pool {
    /// Of rising numbers; `None` of none.
    pub(super) fn new(indices: impl Iterator<Item = u32>) -> Option<Pool> {
        let indices: Vec<u32> = indices.collect();
        let (first, last) = (*indices.first()?, *indices.last()?);
        let length = indices.len() as u32;
        Some(if last - first + 1 == length { Pool::Range(first, length) } else { Pool::Some(indices) })
    }

    fn len(&self) -> u32 {
        match self {
            Pool::Range(_, length) => *length,
            Pool::Some(indices) => indices.len() as u32,
        }
    }

    fn get(&self, at: u32) -> u32 {
        match self {
            Pool::Range(first, _) => first + at,
            Pool::Some(indices) => indices[at as usize],
        }
    }
}

/// Draws requests: endless, reproducible by its seed.
#[derive(Clone, Debug)]
pub struct Picker<'a> {
    targets: &'a Targets,
    random: SmallRng,
    kinds: Vec<(u32, Kind, Vec<u32>)>,
    pools: Vec<(u32, &'a Pool, Option<Zipf<f64>>)>,
    /// Where a replay stands, and how many threads share it.
    next: u64,
    step: u64,
}

impl<'a> Picker<'a> {
    /// The picker of one of `threads` threads.
    pub fn new(targets: &'a Targets, thread: u32, threads: u32) -> Picker<'a> {
        let of = |kind: Kind| {
            let is_it = |(_, request): &(usize, &super::DocumentRequest)| request.kind == kind;
            targets.requests.iter().enumerate().filter(is_it).map(|(index, _)| index as u32).collect()
        };
        let zipf = |pool: &Pool| match targets.popularity {
            Popularity::Zipf(exponent) => Zipf::new(f64::from(pool.len()), exponent).ok(),
            _ => None,
        };
        let (mut kinds, mut pools) = (Vec::new(), Vec::new());
        let mut sum = 0;
        for kind in targets.mix.kinds() {
            sum += targets.mix.weight(kind);
            kinds.push((sum, kind, of(kind)));
        }
        sum = 0;
        for (weight, pool) in &targets.pools {
            sum += weight;
            pools.push((sum, pool, zipf(pool)));
        }
        let random = SmallRng::seed_from_u64(0x6b61_6b75 + u64::from(thread));
        Picker { targets, random, kinds, pools, next: u64::from(thread), step: u64::from(threads) }
    }

    /// The next request.
    #[inline]
    pub fn pick(&mut self) -> RequestId {
        let at = drawn(&mut self.random, self.kinds.last().map_or(0, |(sum, ..)| *sum), |at| self.kinds[at].0, self.kinds.len());
        let kind = self.kinds[at].1;
        if kind.is_ocsp() {
            return RequestId { kind, index: self.pick_question() };
        }
        let requests = &self.kinds[at].2;
        RequestId { kind, index: requests[self.random.random_range(0..requests.len())] }
    }

    fn pick_question(&mut self) -> u32 {
        let at = drawn(&mut self.random, self.pools.last().map_or(0, |(sum, ..)| *sum), |at| self.pools[at].0, self.pools.len());
        let (_, pool, zipf) = &self.pools[at];
        let rank = match (self.targets.popularity, zipf) {
            (Popularity::Replay, _) => {
                let rank = self.next % u64::from(pool.len());
                self.next += self.step;
                rank as u32
            }
            (_, Some(zipf)) => (zipf.sample(&mut self.random) as u32).clamp(1, pool.len()) - 1,
            _ => self.random.random_range(0..pool.len()),
        };
        pool.get(rank)
    }

    /// Whether something of that probability happens.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.random.random_bool(probability))
    }
}

/// Draws one of several by sums of weights; no number is drawn where there is but one.
#[inline]
fn drawn(random: &mut SmallRng, total: u32, sum: impl Fn(usize) -> u32, length: usize) -> usize {
    if length <= 1 {
        return 0;
    }
    let number = random.random_range(0..total);
    (0..length).find(|at| number < sum(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Ask, Mix, Questions};

    fn targets(popularity: Popularity, mix: &str) -> Targets {
        let questions = Questions::ready_made((0..1000u32).map(|number| number.to_be_bytes().to_vec()));
        Targets::new("", questions, Vec::new(), Some(mix.parse::<Mix>().unwrap()), &Ask::default(), popularity).unwrap()
    }

    fn counts(targets: &Targets) -> Vec<u32> {
        let mut picker = Picker::new(targets, 0, 1);
        let mut counts = vec![0; 1000];
        (0..100_000).for_each(|_| counts[picker.pick().index as usize] += 1);
        counts
    }

    #[test]
    fn uniform_asks_all_alike() {
        let counts = counts(&targets(Popularity::Uniform, "get=1"));
        assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_asks_the_n_th_an_n_th_as_often() {
        let counts = counts(&targets(Popularity::Zipf(1.0), "get=1"));
        // Of 100 000 draws the first of 1000 gets 1/H(1000) = 13.4 %.
        assert!((12_500..14_300).contains(&counts[0]), "{}", counts[0]);
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.5..11.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn replay_goes_through_the_file_in_order_and_threads_share_it() {
        let targets = targets(Popularity::Replay, "get=1");
        let (mut first, mut second) = (Picker::new(&targets, 0, 2), Picker::new(&targets, 1, 2));
        let picked: Vec<u32> = (0..1000).flat_map(|_| [first.pick().index, second.pick().index]).collect();
        assert_eq!(picked, (0..1000).chain(0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn kinds_come_by_their_weights() {
        let targets = targets(Popularity::Uniform, "get=3,post=1");
        let mut picker = Picker::new(&targets, 0, 1);
        let posts = (0..40_000).filter(|_| picker.pick().kind == Kind::OcspPost).count();
        assert!((9_500..10_500).contains(&posts), "{posts}");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["zipf:0", "zipf:6", "zipf:x", "popular", "uniform:1"] {
            assert!(text.parse::<Popularity>().is_err(), "{text}");
        }
    }
}
