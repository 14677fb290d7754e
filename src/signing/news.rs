//! What the worker waits for: that somebody is done, or that somebody has committed to the registry. Carries nothing of what was committed.

use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use super::crew::Outcome;
use crate::registry::Registry;

/// How long a revocation may wait to be seen while others commit all the time.
const REST: Duration = Duration::from_millis(5);
/// How late it may be noticed that the worker has ended.
const NOTICE: Duration = Duration::from_millis(100);

/// Something has happened.
pub(super) enum News {
    /// Somebody of a crew is done.
    Done(Outcome),
    /// Somebody, whoever it is, has committed.
    Committed,
}

impl News {
    /// What came of a job, where that is the news.
    pub(super) fn done(self) -> Option<Outcome> {
        match self {
            News::Done(outcome) => Some(outcome),
            News::Committed => None,
        }
    }
}

/// Tells of commits until the other end of `working` is dropped.
pub(super) fn listen(registry: &dyn Registry, working: &Receiver<()>, tell: &Sender<News>) {
    let mut watch = registry.watch();
    while working.try_recv() == Err(TryRecvError::Empty) {
        if watch.wait(NOTICE) {
            // Where nobody waits for news any more, the worker has ended.
            let _ = tell.send(News::Committed);
            std::thread::sleep(REST);
        }
    }
}
