//! Rings when something was committed: who commits touches the times of the database file, and who waits watches them (inotify(7)), in any process.
//!
//! Carries nothing and promises nothing: a process may end between the commit and the bell. Touches the file by its name only, since closing a descriptor
//! of our own would drop the locks that SQLite holds on it in this process.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use crate::registry::Watch;

/// To be called after a commit. It takes some two microseconds.
pub(super) fn ring(database: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // Who is not told looks from time to time.
    let _ = utimensat(CWD, database, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty());
}

/// Waits for it to ring. Where the system has no means for that, or no more of them, the watch is one that knows nothing.
pub(super) fn watch(database: &Path) -> Box<dyn Watch> {
    #[cfg(target_os = "linux")]
    match inotify::Inotify::watch(database) {
        Ok(bell) => return Box::new(bell),
        Err(e) => tracing::warn!("changes of {} are looked for every few milliseconds: inotify: {e}", database.display()),
    }
    #[cfg(not(target_os = "linux"))]
    let _ = database;
    Box::new(crate::registry::Polling)
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::io::{Result, read};

    use crate::registry::Watch;

    /// Room for more than is ever told at once: the kernel tells the same but once until it is read.
    const TOLD_BYTES: usize = 1024;

    pub(super) struct Inotify(OwnedFd);

    impl Inotify {
        pub(super) fn watch(database: &Path) -> Result<Inotify> {
            let descriptor = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            // Nothing else that anybody does to the file is told: copying the log into it writes often.
            add_watch(&descriptor, database, WatchFlags::ATTRIB)?;
            Ok(Inotify(descriptor))
        }
    }

    impl Watch for Inotify {
        fn wait(&mut self, limit: Duration) -> bool {
            let limit = limit.try_into().ok();
            let rang = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit.as_ref()).is_ok_and(|ready| ready > 0);
            if rang {
                // What is told is that it rang.
                let _ = read(&self.0, &mut [0; TOLD_BYTES]);
            }
            rang
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::connection::Database;
    use crate::registry::RegistryError;

    #[test]
    fn every_kind_of_commit_is_told_to_who_shares_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.sqlite");
        let here = Database::create(&path).unwrap();
        let there = Database::open_read_only(&path).unwrap();
        let commits: [fn(&Database); 4] = [
            |d| d.write(|_| Ok(())).unwrap(),
            |d| d.write_in_bulk(|_| Ok(())).unwrap(),
            |d| d.write_batch(|_| Ok(())).unwrap(),
            |d| d.write_octets(usize::MAX, |_| Ok(())).unwrap(),
        ];
        let mut watches = [here.watch(), there.watch()];
        for commit in commits {
            commit(&here);
            for watch in &mut watches {
                assert!(watch.wait(Duration::from_secs(60)));
                assert!(!watch.wait(Duration::ZERO), "once");
            }
        }
        there.read(|_| Ok(())).unwrap();
        assert!(here.write(|_| Err::<(), _>(RegistryError::UnknownIssuer(1).into())).is_err());
        assert!(watches.iter_mut().all(|watch| !watch.wait(Duration::from_millis(10))), "nothing was committed");
    }
}
