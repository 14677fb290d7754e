//! Turns: one thing after the other, in the order of their numbers, out of work that is done on many threads at once. Whoever holds a turn says whether there is
//! another; one that is given up without a word is the last.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Turns from 0 on.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whose turn it is.
    next: u64,
    has_ended: bool,
}

/// A turn that comes, or is held.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
    has_passed: bool,
}

impl Turns {
    /// Every number has to be taken once, by somebody who waits for it or drops it.
    pub(super) fn turn(&self, number: u64) -> Turn<'_> {
        Turn { turns: self, number, has_passed: false }
    }

    /// Whether nobody's turn comes any more.
    pub(super) fn have_ended(&self) -> bool {
        self.state().has_ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until all before have passed. Whether the turn has come: not so where one before was the last.
    pub(super) fn comes(&self) -> bool {
        let mut state = self.turns.state();
        while state.next != self.number && !state.has_ended {
            state = self.turns.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.has_ended
    }

    /// Lets the next one have its turn.
    pub(super) fn pass(mut self) {
        self.has_passed = true;
        self.turns.state().next += 1;
        self.turns.changed.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.has_passed {
            self.turns.state().has_ended = true;
            self.turns.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of eight threads that took turns, in the order in which they had them.
    fn taken(ends: impl Fn(u64) -> bool + Sync) -> Vec<u64> {
        let (turns, seen) = (Turns::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for first in 0..8 {
                let (turns, seen, ends) = (&turns, &seen, &ends);
                scope.spawn(move || {
                    for number in (first..400).step_by(8) {
                        let turn = turns.turn(number);
                        if !turn.comes() {
                            return;
                        }
                        seen.lock().unwrap().push(number);
                        if !ends(number) {
                            turn.pass();
                        }
                    }
                });
            }
        });
        seen.into_inner().unwrap()
    }

    #[test]
    fn turns_come_in_order_whoever_takes_them() {
        assert_eq!(taken(|_| false), (0..400).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_comes_after_the_last_turn() {
        assert_eq!(taken(|number| number == 123), (0..=123).collect::<Vec<_>>());
        let turns = Turns::default();
        drop(turns.turn(5));
        assert!(turns.have_ended() && !turns.turn(0).comes(), "one that is given up ends them for all");
    }
}
