//! One flag by which every thread of the program is asked to end, from async and from plain code. It interrupts nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How late a plain thread may notice the stop.
const NOTICE: Duration = Duration::from_millis(20);

/// A stop flag: cheap to clone, set once, never taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks everybody who holds a clone to end.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }

    /// Whether [`Stop::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        *self.sender.borrow()
    }

    /// Ends when [`Stop::stop`] has been called.
    pub async fn stopped(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.sender.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Blocks for `duration`, or until shortly after the stop. Returns whether it is time to go on, that is: not stopped.
    pub fn sleep(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        while !self.is_stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NOTICE));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_every_sleep() {
        let stop = Stop::new();
        assert!(stop.sleep(Duration::from_millis(1)));
        let sleeper = std::thread::spawn({
            let stop = stop.clone();
            move || stop.sleep(Duration::from_secs(60))
        });
        stop.stop();
        assert!(!sleeper.join().unwrap());
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stop.stopped());
    }
}
