//! Which request is to be sent next, and when it was due. Pure: the time is an argument.
//!
//! In an open loop requests fall due by a [`Schedule`], and wait here while every connection is busy. In a closed loop a request falls due when a
//! connection is free.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::time::Duration;

use super::arrivals::Schedule;
use super::tally::{Failure, Tally};
use crate::shape::Settings;
use crate::targets::{Picker, RequestId};

/// Requests that wait at most; more fail.
const MAX_BACKLOG: usize = 1_000_000;

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// What is asked.
    pub(super) id: RequestId,
    /// Since when, in nanoseconds after the start.
    pub(super) at: u64,
    /// Whether its answer will be checked.
    pub(super) checked: bool,
}

/// The requests of one thread.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    picker: Picker<'a>,
    schedule: Option<Peekable<Schedule>>,
    backlog: VecDeque<Due>,
    left: u64,
    end: u64,
    timeout: u64,
    check: f64,
}

impl<'a> Supply<'a> {
    /// The share of a thread.
    pub(super) fn new(settings: &Settings, picker: Picker<'a>, thread: u32) -> Supply<'a> {
        let threads = u64::from(settings.threads);
        let schedule = |rate| Schedule::new(rate, settings.duration, settings.arrivals, thread, settings.threads).peekable();
        Supply {
            picker,
            schedule: settings.rate.map(schedule),
            backlog: VecDeque::new(),
            left: settings.requests / threads + u64::from(u64::from(thread) < settings.requests % threads),
            end: nanoseconds(settings.duration),
            timeout: nanoseconds(settings.timeout),
            check: settings.check.part(),
        }
    }

    /// Puts what has fallen due by `now` into the backlog.
    pub(super) fn release(&mut self, now: u64, tally: &mut Tally) {
        while let Some(at) = self.next_due()
            && at <= now
        {
            self.schedule.as_mut().and_then(Iterator::next);
            let due = self.pick(at, tally);
            if self.backlog.len() < MAX_BACKLOG { self.backlog.push_back(due) } else { tally.failed(due.id.kind, Failure::Backlog) }
        }
    }

    /// The next request to be sent, if there is one now.
    #[inline]
    pub(super) fn take(&mut self, now: u64, tally: &mut Tally) -> Option<Due> {
        if let Some(due) = self.backlog.pop_front() {
            return Some(due);
        }
        let falls_due = self.schedule.is_none() && now < self.end && self.left > 0;
        falls_due.then(|| self.pick(now, tally))
    }

    fn pick(&mut self, at: u64, tally: &mut Tally) -> Due {
        self.left -= 1;
        let id = self.picker.pick();
        tally.due(id.kind);
        Due { id, at, checked: self.picker.chance(self.check) }
    }

    /// How many requests are due and wait.
    pub(super) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// Takes a request back that could not be sent after all: it is the next one.
    pub(super) fn take_back(&mut self, due: Due) {
        self.backlog.push_front(due);
    }

    /// When the next request falls due by the schedule.
    pub(super) fn next_due(&mut self) -> Option<u64> {
        if self.left == 0 { None } else { self.schedule.as_mut()?.peek().copied() }
    }

    /// Gives up what has waited for too long.
    pub(super) fn expire(&mut self, now: u64, tally: &mut Tally) {
        while let Some(due) = self.backlog.front()
            && self.is_overdue(due.at, now)
        {
            tally.failed(due.id.kind, Failure::Timeout);
            self.backlog.pop_front();
        }
    }

    /// Whether a request that was due at that time has failed by now.
    pub(super) fn is_overdue(&self, at: u64, now: u64) -> bool {
        now.saturating_sub(at) >= self.timeout
    }

    /// Nothing falls due any more.
    pub(super) fn halt(&mut self) {
        self.left = 0;
    }

    /// Whether nothing is due and nothing will be.
    pub(super) fn is_over(&mut self, now: u64) -> bool {
        let more = match self.schedule {
            Some(_) => self.next_due().is_some(),
            None => self.left > 0 && now < self.end,
        };
        !more && self.backlog.is_empty()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use crate::targets::{Ask, Popularity, Questions, Targets};

    fn targets() -> Targets {
        let questions = Questions::ready_made([vec![0x30, 0]]);
        Targets::new("", questions, Vec::new(), None, &Ask::default(), Popularity::Uniform).unwrap()
    }

    fn settings(rate: Option<&str>) -> Settings {
        let span = |text: &str| Some(text.parse().unwrap());
        let rate = rate.map(|rate| rate.parse().unwrap());
        Shape { rate, duration: span("1s"), timeout: span("2s"), requests: Some(10), ..Shape::default() }.settle().unwrap()
    }

    #[test]
    fn an_open_loop_keeps_the_moment_at_which_a_request_was_due() {
        let targets = targets();
        let mut tally = Tally::new(std::sync::mpsc::channel().0);
        let mut supply = Supply::new(&settings(Some("4")), Picker::new(&targets, 0, 1), 0);
        supply.release(600_000_000, &mut tally);
        let at: Vec<u64> = std::iter::from_fn(|| supply.take(600_000_000, &mut tally)).map(|due| due.at).collect();
        assert_eq!(at, [0, 250_000_000, 500_000_000]);
        assert_eq!(supply.next_due(), Some(750_000_000));
        assert!(!supply.is_over(5_000_000_000));
        supply.release(5_000_000_000, &mut tally);
        supply.expire(5_000_000_000, &mut tally);
        assert!(supply.is_over(5_000_000_000));
        assert_eq!(tally.finish().errors[&Failure::Timeout], 1);
    }

    #[test]
    fn a_closed_loop_ends_with_its_time_and_with_its_number_of_requests() {
        let targets = targets();
        let mut tally = Tally::new(std::sync::mpsc::channel().0);
        let mut supply = Supply::new(&settings(None), Picker::new(&targets, 0, 1), 0);
        assert_eq!(std::iter::from_fn(|| supply.take(5, &mut tally)).count(), 10);
        assert!(supply.is_over(5));
        let mut supply = Supply::new(&settings(None), Picker::new(&targets, 0, 1), 0);
        assert!(supply.take(1_000_000_000, &mut tally).is_none() && supply.is_over(1_000_000_000) && !supply.is_over(0));
        supply.halt();
        assert!(supply.is_over(0));
    }
}
