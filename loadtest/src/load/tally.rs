//! Counting what one thread sees: by kind of request over the whole run, and second by second. Reads no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Said;
use crate::targets::Kind;

/// Microseconds that a histogram can hold: a day, which is the longest time-out.
const GREATEST_MICROSECONDS: u64 = 24 * 3_600_000_000;
/// Significant digits of a recorded time.
const DIGITS: u8 = 3;

/// A distribution of microseconds.
pub type Times = Histogram<u64>;

/// One without a value.
pub(super) fn no_times() -> Times {
    Histogram::new_with_bounds(1, GREATEST_MICROSECONDS, DIGITS).unwrap_or_else(|_| unreachable!("the bounds are those of a histogram"))
}

/// Why a request has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Failure {
    Connect,
    Tls,
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed without an answer.
    Closed,
    /// The answer is none of HTTP.
    NotHttp,
    /// A status code that is none of success.
    Http(u16),
    /// Too many requests were due at once.
    Backlog,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect => f.write_str("connect"),
            Failure::Tls => f.write_str("tls"),
            Failure::Timeout => f.write_str("timeout"),
            Failure::Reset => f.write_str("reset"),
            Failure::Closed => f.write_str("closed"),
            Failure::NotHttp => f.write_str("not http"),
            Failure::Http(status) => write!(f, "http {status}"),
            Failure::Backlog => f.write_str("backlog full"),
        }
    }
}

/// An answered request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// How it was asked.
    pub kind: Kind,
    /// What the answer says.
    pub said: Said,
    /// Nanoseconds after the start: when the request was due, when it was sent, and when the last octet of the answer came.
    pub due: u64,
    /// See [`Answered::due`].
    pub sent: u64,
    /// See [`Answered::due`].
    pub done: u64,
    /// Octets of the body.
    pub octets: u64,
}

/// Requests of one kind.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct KindTally {
    pub due: u64,
    pub answered: u64,
    /// Of these, those whose answer came while requests were still falling due.
    pub in_time: u64,
    pub failed: u64,
    pub octets: u64,
    pub latency: Times,
    pub service: Times,
}

impl KindTally {
    fn new() -> KindTally {
        KindTally { due: 0, answered: 0, in_time: 0, failed: 0, octets: 0, latency: no_times(), service: no_times() }
    }

    /// Adds what another thread has counted.
    pub fn add(&mut self, other: &KindTally) {
        self.due += other.due;
        self.answered += other.answered;
        self.in_time += other.in_time;
        self.failed += other.failed;
        self.octets += other.octets;
        // Their bounds are the same.
        let _ = self.latency.add(&other.latency);
        let _ = self.service.add(&other.service);
    }
}

/// What one thread has seen in one second.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SecondTally {
    pub index: u32,
    pub due: u64,
    pub answered: u64,
    pub failed: u64,
    pub octets: u64,
    pub latency: Times,
    pub said: [u64; Said::ALL.len()],
}

impl SecondTally {
    /// The second with that number, empty.
    pub fn new(index: u32) -> SecondTally {
        SecondTally { index, due: 0, answered: 0, failed: 0, octets: 0, latency: no_times(), said: [0; Said::ALL.len()] }
    }

    /// Adds what another thread has seen in the same second.
    pub fn add(&mut self, other: &SecondTally) {
        self.due += other.due;
        self.answered += other.answered;
        self.failed += other.failed;
        self.octets += other.octets;
        let _ = self.latency.add(&other.latency);
        self.said.iter_mut().zip(other.said).for_each(|(sum, more)| *sum += more);
    }
}

/// Everything that one thread has seen.
#[derive(Debug)]
pub(super) struct Tally {
    kinds: [KindTally; Kind::ALL.len()],
    errors: BTreeMap<Failure, u64>,
    second: SecondTally,
    seconds: Sender<SecondTally>,
    /// Nanoseconds after the start at which nothing falls due any more.
    end: u64,
}

/// Everything, at the end.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Totals {
    pub kinds: [KindTally; Kind::ALL.len()],
    pub errors: BTreeMap<Failure, u64>,
}

impl Totals {
    /// Nothing.
    pub fn new() -> Totals {
        Totals { kinds: std::array::from_fn(|_| KindTally::new()), errors: BTreeMap::new() }
    }

    /// Adds what another thread has seen.
    pub fn add(&mut self, other: &Totals) {
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(sum, more)| sum.add(more));
        other.errors.iter().for_each(|(failure, count)| *self.errors.entry(*failure).or_default() += count);
    }
}

impl Default for Totals {
    fn default() -> Self {
        Totals::new()
    }
}

impl Tally {
    /// Nothing yet. Each second goes to `seconds` when it is over.
    pub(super) fn new(seconds: Sender<SecondTally>) -> Tally {
        let Totals { kinds, errors } = Totals::new();
        Tally { kinds, errors, second: SecondTally::new(0), seconds, end: u64::MAX }
    }

    /// Requests fall due for so long.
    pub(super) fn until(self, end: Duration) -> Tally {
        Tally { end: u64::try_from(end.as_nanos()).unwrap_or(u64::MAX), ..self }
    }

    /// A request is due.
    #[inline]
    pub(super) fn due(&mut self, kind: Kind) {
        self.kinds[kind as usize].due += 1;
        self.second.due += 1;
    }

    /// A request has been answered.
    #[inline]
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { kind, said, due, sent, done, octets } = answered;
        let tally = &mut self.kinds[kind as usize];
        let latency = done.saturating_sub(due) / 1000;
        tally.answered += 1;
        tally.in_time += u64::from(done <= self.end);
        tally.octets += octets;
        tally.latency.saturating_record(latency);
        tally.service.saturating_record(done.saturating_sub(sent) / 1000);
        self.second.answered += 1;
        self.second.octets += octets;
        self.second.latency.saturating_record(latency);
        self.second.said[said as usize] += 1;
    }

    /// A request has failed.
    pub(super) fn failed(&mut self, kind: Kind, failure: Failure) {
        self.kinds[kind as usize].failed += 1;
        self.second.failed += 1;
        *self.errors.entry(failure).or_default() += 1;
    }

    /// It is `now` (nanoseconds after the start): seconds that are over are handed on.
    #[inline]
    pub(super) fn roll(&mut self, now: u64) {
        while now >= (u64::from(self.second.index) + 1) * 1_000_000_000 {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        let next = SecondTally::new(self.second.index + 1);
        // Nobody listens any more only where the run was given up.
        let _ = self.seconds.send(std::mem::replace(&mut self.second, next));
    }

    /// The end: the second that is not over is handed on too.
    pub(super) fn finish(mut self) -> Totals {
        self.hand_on();
        Totals { kinds: self.kinds, errors: self.errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_when_nothing_is_due_any_more_is_not_in_time() {
        let mut tally = Tally::new(std::sync::mpsc::channel().0).until(Duration::from_secs(2));
        for done in [1_000_000_000, 2_000_000_000, 2_000_000_001] {
            tally.answered(Answered { kind: Kind::Crl, said: Said::Whole, due: 0, sent: 0, done, octets: 0 });
        }
        let totals = tally.finish();
        let crl = &totals.kinds[Kind::Crl as usize];
        assert_eq!((crl.answered, crl.in_time), (3, 2));
    }

    #[test]
    fn latency_counts_from_the_due_moment_and_seconds_from_the_answer() {
        let (sender, seconds) = std::sync::mpsc::channel();
        let mut tally = Tally::new(sender);
        tally.due(Kind::OcspGet);
        tally.roll(2_500_000_000);
        let answered = Answered { kind: Kind::OcspGet, said: Said::Good, due: 0, sent: 2_400_000_000, done: 2_500_000_000, octets: 7 };
        tally.answered(answered);
        tally.failed(Kind::OcspPost, Failure::Http(503));
        let totals = tally.finish();
        let get = &totals.kinds[Kind::OcspGet as usize];
        assert_eq!((get.due, get.answered, get.octets), (1, 1, 7));
        assert!(get.latency.equivalent(get.latency.max(), 2_500_000) && get.service.equivalent(get.service.max(), 100_000));
        assert_eq!(totals.errors, BTreeMap::from([(Failure::Http(503), 1)]));
        let seen: Vec<(u32, u64, u64, u64)> =
            seconds.try_iter().map(|second| (second.index, second.due, second.answered, second.failed)).collect();
        assert_eq!(seen, [(0, 1, 0, 0), (1, 0, 0, 0), (2, 0, 1, 1)]);
    }
}
