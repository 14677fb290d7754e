//! `kill -9` of a command at random moments, again and again, until it has come to its end.

use std::process::Command;
use std::time::{Duration, Instant};

use super::random::Random;
use super::{PATIENCE, Process};

/// How often one order is killed at most; then it is let run. A run that goes on where others were killed may need longer than the span of a whole one, so
/// without this it might never end.
const MOST_OF_ONE_ORDER: usize = 8;

/// Who kills, and how often it was done.
pub struct Killer {
    random: Random,
    /// How long an order takes that nobody kills.
    span: Duration,
    pub kills: usize,
}

impl Killer {
    /// Seeded like every [`Random`].
    pub fn seeded(test: &str, span: Duration) -> Killer {
        Killer { random: Random::seeded(test), span, kills: 0 }
    }

    /// Starts an order's command and kills it, until one run of it has done all. `look` is called after every kill, with the number and the moment of it in words.
    pub fn kill_until_done(&mut self, command: &mut Command, mut look: impl FnMut(&str)) {
        for before in 0..=MOST_OF_ONE_ORDER {
            let (start, mut process) = (Instant::now(), Process::start(command));
            let moment = match before {
                MOST_OF_ONE_ORDER => PATIENCE,
                _ => self.span.mul_f64(self.random.below(10_000) as f64 / 10_000.0),
            };
            let ended = process.wait(moment);
            let running = process.kill();
            assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
            if !running {
                // One that was killed when its end was in the log already is not run again.
                let has_ended = before > 0 && process.stderr().contains("was run before: it ended");
                assert!(has_ended || ended.is_none_or(|status| status.success()), "{}", process.stderr());
                // The machine may have been busy with something else when the span was measured.
                if before == 0 {
                    self.span = self.span.min(start.elapsed());
                }
                return;
            }
            self.kills += 1;
            look(&format!("kill {} after {moment:?} of {:?}", self.kills, self.span));
        }
        panic!("{command:?}: not at its end within {PATIENCE:?}, after {MOST_OF_ONE_ORDER} kills");
    }
}
