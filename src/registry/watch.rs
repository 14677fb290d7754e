//! How whoever follows the feed learns that there may be something new, without looking for it all the time.

use std::time::Duration;

/// How often somebody looks who cannot be told.
const POLL: Duration = Duration::from_millis(5);

/// Tells that something was committed, by whatever process. See [`super::Registry::watch`].
pub trait Watch: Send {
    /// Blocks until something was committed since the watch was made, or since this returned last, and says whether that may be so; at most for `limit`.
    /// Now and then it may not be told of a commit: whoever waits looks from time to time, told or not.
    fn wait(&mut self, limit: Duration) -> bool;
}

/// Knows nothing of commits, and says every 5 ms that there may have been one.
#[derive(Clone, Copy, Debug)]
pub struct Polling;

impl Watch for Polling {
    fn wait(&mut self, limit: Duration) -> bool {
        std::thread::sleep(limit.min(POLL));
        true
    }
}
