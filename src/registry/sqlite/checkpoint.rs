//! Copies the write-ahead log back into the database, on a thread of its own: nobody who commits waits for it. Never decides what is durable: a commit is in
//! the log, on the disk, before any of this.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

use super::fault::{Outcome, explain_io};

/// From so many pages on the log is copied: 4 MB.
pub(super) const COPY_FROM: i32 = 1000;
/// The same after a transaction of a batch of small rows: they hit pages at random, and one that is hit again and again is copied once.
const COPY_BATCH_FROM: i32 = 8000;
/// From so many on (64 MB) who commits copies it, after the commit: a bulk insert has made it grow, or the thread cannot keep up.
const TOO_MANY: i32 = 16 * 1024;
/// How often it begins again because somebody has written meanwhile: what is left is less each time, and the log begins anew only when nothing is.
const ATTEMPTS: u32 = 4;

/// The thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    thread: JoinHandle<()>,
    /// [`COPY_FROM`], or for the time of a transaction [`COPY_BATCH_FROM`].
    copy_from: Arc<AtomicI32>,
}

/// Lasts as long as a transaction of a batch.
pub(super) struct InBatch<'a>(&'a AtomicI32);

impl Checkpointer {
    /// Copies what `writer` commits to the database at `path`, until [`Checkpointer::stop`].
    pub(super) fn start(path: &Path, writer: &mut Connection) -> Outcome<Checkpointer> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let (bell, rung) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(move || run(&connection, &rung));
        let thread = thread.map_err(|e: io::Error| explain_io(e, path))?;
        let copy_from = Arc::new(AtomicI32::new(COPY_FROM));
        let bound = Arc::clone(&copy_from);
        writer.wal_hook(Some(move |log: &mut Wal, pages| {
            if pages >= TOO_MANY {
                // The commit is done, whatever becomes of this.
                let _ = log.checkpoint();
            } else if pages >= bound.load(Relaxed) {
                // Where it does not fit, it was rung already.
                let _ = bell.try_send(());
            }
            Ok(())
        }))?;
        Ok(Checkpointer { thread, copy_from })
    }

    /// Says that what the caller, who has the writer, is about to commit is one of many transactions that touch pages at random.
    pub(super) fn batch(&self) -> InBatch<'_> {
        self.copy_from.store(COPY_BATCH_FROM, Relaxed);
        InBatch(&self.copy_from)
    }

    /// Ends the thread.
    pub(super) fn stop(self, writer: &mut Connection) {
        // With the hook goes the bell.
        let _ = writer.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>);
        let _ = self.thread.join();
    }
}

impl Drop for InBatch<'_> {
    fn drop(&mut self) {
        self.0.store(COPY_FROM, Relaxed);
    }
}

fn run(connection: &Connection, rung: &Receiver<()>) {
    while rung.recv().is_ok() {
        // What fails is tried again after the next commit.
        let _ = (0..ATTEMPTS).any(|_| copy(connection).unwrap_or(true));
    }
}

/// Returns whether nothing is left.
fn copy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok(row.get::<_, i32>(1)? == row.get::<_, i32>(2)?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::connection::Database;
    use super::*;

    #[test]
    fn what_is_committed_comes_into_the_database_while_it_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.sqlite");
        let database = Database::create(&path).unwrap();
        let (page, pages) = (4096, 2 * COPY_FROM as u64);
        let fill = format!("CREATE TABLE filling (octets BLOB); INSERT INTO filling VALUES (randomblob({}))", page * pages);
        database.write(|c| Ok(c.execute_batch(&fill)?)).unwrap();
        let start = Instant::now();
        let wait_until = |holds: &dyn Fn() -> bool| {
            while !holds() {
                assert!(start.elapsed() < Duration::from_secs(20), "the log is not copied");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_until(&|| std::fs::metadata(&path).unwrap().len() >= page * pages);
        // When nothing is left in the log, it begins anew with the next commit.
        let other = Connection::open(&path).unwrap();
        wait_until(&|| {
            database.write(|c| Ok(c.execute_batch("INSERT INTO filling VALUES (1)")?)).unwrap();
            let length: i32 = other.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).unwrap();
            length < COPY_FROM
        });
    }
}
