//! The database file: creating, recognising, opening and migrating it; one writer and a pool of readers.
//!
//! Knows nothing of what is stored. The file is never opened outside SQLite: closing a descriptor of our own would drop the locks that SQLite
//! holds on it in this process.

use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parking_lot::{FairMutex, FairMutexGuard};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::bell;
use super::checkpoint::Checkpointer;
use super::fault::{Fault, Outcome, explain_io, not_a_registry};
use crate::pki::CertificateInfo;
use crate::pki::certificate::key_identity;
use crate::registry::{RegistryError, Result, Watch};

mod embedded {
    refinery::embed_migrations!("src/registry/migrations/sqlite");
}

/// "KAKU" in the file's header: what tells a registry from another program's database.
pub(super) const APPLICATION_ID: i32 = 0x4b41_4b55;
/// How long a writer waits for a writer in another process.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it looks whether that one has finished. SQLite by itself looks up to 100 ms later: then a revocation waits where nobody writes.
const BUSY_LOOK: Duration = Duration::from_millis(1);
/// Page cache of the writer, which it keeps: more than a publication touches.
const WRITER_CACHE_KIB: i32 = 32 * 1024;
/// The same during bulk inserts, taken as needed: they hit pages at random, and a page that leaves the cache early is written twice.
const BULK_CACHE_KIB: i32 = 256 * 1024;
/// The same while it writes a few great values: what they fill goes to the disk early, and memory does not grow by a copy of them.
const STREAM_CACHE_KIB: i32 = 8 * 1024;
/// From so many octets on a value is great.
const STREAM_FROM: usize = 16 << 20;
/// Page cache of each reader.
const READER_CACHE_KIB: i32 = 8 * 1024;
/// The write-ahead log is cut back to this after a bulk insert has made it grow.
const WAL_KEEP_BYTES: i64 = 64 * 1024 * 1024;
/// Readers that are kept open; more are opened when more threads read at once, and closed afterwards.
const IDLE_READERS: usize = 8;
/// More than the distinct statements of this back end.
const STATEMENT_CACHE: usize = 64;

/// An open registry file.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// Which file it is: device and inode.
    file: (u64, u64),
    /// `None`: opened without write access. Everybody has it in turn: a revocation waits for the transaction under way, not for all that refresh writes.
    writer: Option<FairMutex<Connection>>,
    /// There is one where there is a writer.
    checkpointer: Option<Checkpointer>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Creates the file, mode 0600, with the newest schema. It is made under another name and gets its own when it is whole: an interrupted creation
    /// leaves nothing of that name, and what it leaves beside it is removed by the next.
    pub(super) fn create(path: &Path) -> Result<Database> {
        // A log without its database would be replayed into the new one.
        if let Some(there) = [path.to_owned()].into_iter().chain(beside(path)).find(|p| p.exists()) {
            return Err(RegistryError::Exists(there));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        remove(&unfinished);
        let explain = |e| explain_io(e, path);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(explain)?;
        // Unlike a rename, a link never replaces a file.
        let made =
            initialize(&unfinished).map_err(|f| f.explain(path)).and_then(|()| std::fs::hard_link(&unfinished, path).map_err(explain));
        remove(&unfinished);
        made?;
        sync_directory(path).map_err(explain)?;
        Self::open(path)
    }

    /// Opens the file for reading and writing, and runs pending migrations.
    pub(super) fn open(path: &Path) -> Result<Database> {
        let file = recognize(path)?;
        let opened = open_writer(path).and_then(|mut writer| Ok((Checkpointer::start(path, &mut writer)?, writer)));
        let (checkpointer, writer) = opened.map_err(|f| f.explain(path))?;
        let (writer, checkpointer) = (Some(FairMutex::new(writer)), Some(checkpointer));
        Ok(Database { path: path.into(), file, writer, checkpointer, readers: Mutex::default() })
    }

    /// Opens the file for reading only.
    pub(super) fn open_read_only(path: &Path) -> Result<Database> {
        let file = recognize(path)?;
        let first = open_reader(path).and_then(|reader| {
            let (found, known) = (version(&reader, path)?, known_version());
            if found < known {
                let message = format!("{} has schema version {found}, wanted {known}: open it once with write access", path.display());
                return Err(RegistryError::Engine(message.into()).into());
            }
            Ok(reader)
        });
        let first = first.map_err(|f| f.explain(path))?;
        Ok(Database { path: path.into(), file, writer: None, checkpointer: None, readers: Mutex::new(vec![first]) })
    }

    /// Runs `work` on one snapshot. Never waits for a writer.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        self.with_reader(|reader| work(&*reader.unchecked_transaction()?))
    }

    /// The same for a single statement, which is a snapshot by itself: beginning and ending a transaction costs more than a look at the feed.
    pub(super) fn read_once<T>(&self, statement: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        self.with_reader(statement)
    }

    /// Refuses to go on with a file that nobody else has under this name: a backup was put in its place, say.
    fn require_same_file(&self) -> Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.file => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(explain_io(error, &self.path)),
            _ => Err(RegistryError::Replaced(self.path.clone())),
        }
    }

    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        self.require_same_file()?;
        let idle = lock(&self.readers).pop();
        let run = || {
            let reader = idle.map_or_else(|| open_reader(&self.path), Ok)?;
            let value = work(&reader)?;
            Ok((reader, value))
        };
        let (reader, value) = run().map_err(|f: Fault| f.explain(&self.path))?;
        let mut readers = lock(&self.readers);
        if readers.len() < IDLE_READERS {
            readers.push(reader);
        }
        Ok(value)
    }

    /// Runs `work` in one transaction that is committed, durably, when it returns `Ok`, and undone otherwise.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let mut writer = self.locked_writer()?;
        self.transact(&mut writer, work)
    }

    /// The same for work that touches many pages: it has more of them in memory, for as long as it takes.
    pub(super) fn write_in_bulk<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        self.write_with_cache(BULK_CACHE_KIB, work)
    }

    /// The same for one of many pieces of work that touch pages at random, soon after each other.
    pub(super) fn write_batch<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let mut writer = self.locked_writer()?;
        let _later = self.checkpointer.as_ref().map(Checkpointer::batch);
        self.transact(&mut writer, work)
    }

    /// The same for work that writes about so many octets once and in order.
    pub(super) fn write_octets<T>(&self, octets: usize, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        if octets < STREAM_FROM { self.write(work) } else { self.write_with_cache(STREAM_CACHE_KIB, work) }
    }

    fn write_with_cache<T>(&self, kib: i32, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let mut writer = self.locked_writer()?;
        // A cache of another size than wanted is no reason to fail.
        let _ = set_cache(&writer, kib);
        let outcome = self.transact(&mut writer, work);
        let _ = set_cache(&writer, WRITER_CACHE_KIB);
        outcome
    }

    fn transact<T>(&self, writer: &mut Connection, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        self.require_same_file()?;
        let value = transact(writer, work).map_err(|f| f.explain(&self.path))?;
        bell::ring(&self.path);
        Ok(value)
    }

    /// Tells of what any process commits from now on.
    pub(super) fn watch(&self) -> Box<dyn Watch> {
        bell::watch(&self.path)
    }

    fn locked_writer(&self) -> Result<FairMutexGuard<'_, Connection>> {
        self.writer.as_ref().map(FairMutex::lock).ok_or_else(|| RegistryError::ReadOnly(self.path.clone()))
    }

    /// The writer, for tests that make it fail.
    #[cfg(test)]
    pub(super) fn writer(&self) -> FairMutexGuard<'_, Connection> {
        self.writer.as_ref().expect("the test opened it for writing").lock()
    }
}

impl Drop for Database {
    /// Leaves everything in the one file, so that a copy of it is complete; the emptied log stays for readers that may not create it.
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            let mut writer = writer.lock();
            if let Some(checkpointer) = self.checkpointer.take() {
                checkpointer.stop(&mut writer);
            }
            let _ = writer.busy_timeout(Duration::ZERO).and_then(|()| truncate_log(&writer));
        }
    }
}

fn transact<T>(writer: &mut Connection, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// What a panic in a caller's visitor leaves behind is a connection as good as before, and so it is with the writer, whose lock knows no poison.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses whatever is not a registry, without touching it: `immutable` makes SQLite read the file as it is, without locks, log or recovery. Tells device and inode
/// of the file.
fn recognize(path: &Path) -> Result<(u64, u64)> {
    let metadata = std::fs::metadata(path).map_err(|e| explain_io(e, path))?;
    if !metadata.is_file() {
        return Err(not_a_registry(path, "not a file"));
    }
    let file = (metadata.dev(), metadata.ino());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(immutable_uri(path)?, flags)
        .and_then(|probe| probe.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)));
    match found {
        Ok(APPLICATION_ID) => Ok(file),
        Ok(_) if std::fs::metadata(path).is_ok_and(|m| m.len() == 0) => Err(not_a_registry(path, "an empty file")),
        Ok(id) => {
            Err(not_a_registry(path, format!("an SQLite database with application id {id} (wanted {APPLICATION_ID}): another program's")))
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Err(Fault::from(error).explain(path)),
        // Anything else may be a writer at work: the ordinary connection, which takes locks, will tell.
        Err(_) => Ok(file),
    }
}

fn immutable_uri(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(|e| explain_io(e, path))?;
    let mut uri = String::from("file://");
    for octet in absolute.as_os_str().as_bytes() {
        match octet {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*octet)),
            _ if octet.is_ascii_alphanumeric() => uri.push(char::from(*octet)),
            _ => uri.push_str(&format!("%{octet:02X}")),
        }
    }
    Ok(uri + "?immutable=1")
}

fn initialize(path: &Path) -> Outcome<()> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure_writer(&mut connection)?;
    add_functions(&connection)?;
    embedded::migrations::runner().set_grouped(true).run(&mut connection)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    truncate_log(&connection)?;
    Ok(())
}

/// Creates a file with the schema of an earlier version, as that version did.
#[cfg(test)]
pub(super) fn create_version(path: &Path, version: i32) {
    let mut connection = Connection::open(path).expect("a new file");
    configure_writer(&mut connection).expect("settings");
    add_functions(&connection).expect("functions");
    let runner = embedded::migrations::runner().set_grouped(true).set_target(refinery::Target::Version(version));
    runner.run(&mut connection).expect("migrations");
    connection.pragma_update(None, "application_id", APPLICATION_ID).expect("an id");
}

/// Removes a database file that is nobody's yet, with what SQLite keeps beside it.
fn remove(path: &Path) {
    for file in beside(path).iter().map(PathBuf::as_path).chain([path]) {
        let _ = std::fs::remove_file(file);
    }
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = std::path::absolute(path)?.parent().map(Path::to_path_buf).unwrap_or_default();
    File::open(directory)?.sync_all()
}

/// The log and shared-memory files that SQLite keeps beside the database.
fn beside(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

fn open_writer(path: &Path) -> Outcome<Connection> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    wait_when_busy(&mut connection)?;
    if connection.is_readonly("main")? {
        return Err(RegistryError::ReadOnly(path.into()).into());
    }
    if version(&connection, path)? < known_version() {
        set_cache(&connection, BULK_CACHE_KIB)?;
        migrate(&mut connection, path)?;
    }
    configure_writer(&mut connection)?;
    Ok(connection)
}

/// What migrations ask of certificates: `kakunin_key` is the identity of a DER certificate's key, or NULL.
fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("kakunin_key", 1, flags, |context| {
        let certificate = CertificateInfo::from_der(context.get_raw(0).as_blob()?).ok();
        Ok(certificate.map(|certificate| key_identity(&certificate.spki).0.to_vec()))
    })
}

/// Two processes may start at the same time: the one that comes second finds the work done.
fn migrate(connection: &mut Connection, path: &Path) -> Outcome<()> {
    add_functions(connection)?;
    match embedded::migrations::runner().set_grouped(true).run(connection) {
        Err(error) if version(connection, path)? < known_version() => Err(error.into()),
        _ => Ok(()),
    }
}

fn configure_writer(connection: &mut Connection) -> Outcome<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    wait_when_busy(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    keep_plans(connection)?;
    set_cache(connection, WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEEP_BYTES)?;
    Ok(())
}

fn open_reader(path: &Path) -> Outcome<Connection> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    wait_when_busy(&mut connection)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    keep_plans(&connection)?;
    set_cache(&connection, READER_CACHE_KIB)?;
    Ok(connection)
}

fn wait_when_busy(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(|looks: i32| {
        let is_early = BUSY_LOOK * looks.unsigned_abs() < BUSY_TIMEOUT;
        if is_early {
            std::thread::sleep(BUSY_LOOK);
        }
        is_early
    }))
}

/// A statement is planned once, whatever values are bound to it: otherwise SQLite reads its text anew whenever a value is bound that its plan might depend on,
/// which was half of a look at the feed.
fn keep_plans(connection: &Connection) -> Outcome<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn set_cache(connection: &Connection, kib: i32) -> Outcome<()> {
    Ok(connection.pragma_update(None, "cache_size", -kib)?)
}

fn truncate_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// The schema version of the file; fails where it is newer than this program.
fn version(connection: &Connection, path: &Path) -> Outcome<i64> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'", [], |row| row.get(0))?;
    if tables == 0 {
        return Err(Fault::Damaged("its schema history is missing".into()));
    }
    let found: Option<i64> = connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
    let (found, known) = (found.unwrap_or(0), known_version());
    if found > known { Err(RegistryError::TooNew { path: path.into(), found, known }.into()) } else { Ok(found) }
}

fn known_version() -> i64 {
    embedded::migrations::runner().get_migrations().iter().map(|m| i64::from(m.version())).max().unwrap_or(0)
}
