//! Waking the event loop at a moment between two milliseconds, which is finer than the time-out of epoll.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

/// A timer of the kernel (timerfd).
#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

impl Timer {
    /// One that is not set. An event loop must watch it for edges.
    pub(super) fn new() -> io::Result<Timer> {
        Ok(Timer(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?))
    }

    /// Wakes the loop after `delay`, instead of when it was set to before. It need not be read: setting it again does.
    pub(super) fn set(&self, delay: Duration) -> io::Result<()> {
        // Zero would unset it.
        let delay = delay.max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: delay.as_secs() as i64, tv_nsec: i64::from(delay.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
