//! One flag by which every thread of the program is asked to end, from async and from plain code. It interrupts nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How late a plain thread may notice the stop.
const NOTICE: Duration = Duration::from_millis(20);

/// A stop flag: cheap to clone, set once, never taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The same as what is sent, to be read without a lock.
    stopped: AtomicBool,
    sender: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { shared: Arc::new(Shared { stopped: AtomicBool::new(false), sender: watch::Sender::new(false) }) }
    }
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks everybody who holds a clone to end.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Release);
        self.shared.sender.send_replace(true);
    }

    /// Whether [`Stop::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Acquire)
    }

    /// Ends when [`Stop::stop`] has been called.
    pub async fn stopped(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.shared.sender.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// The same, at the price of one load each time it is polled after the first: for connections, which wait for it beside every request. All polls must
    /// come from one task.
    pub(super) async fn stopped_beside_work(&self) {
        let (mut stopped, mut registered) = (pin!(self.stopped()), false);
        poll_fn(|context| {
            // A task has one waker all its life, so that registering it again would only take a lock that all threads share.
            if registered && !self.is_stopped() {
                return Poll::Pending;
            }
            registered = true;
            stopped.as_mut().poll(context)
        })
        .await;
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
