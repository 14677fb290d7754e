//! What is particular to SQLite: the file found, the disk, the process that dies. The contract itself is tested by [`crate::registry::contract`].

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::pki::CertificateStatus;
use crate::registry::contract::{Store, registry_contract};
use crate::registry::{IssuerMode, Publication, RegistryError};

mod damage;
mod upgrade;
mod work;

/// A registry in a directory of its own.
struct TempStore(TempDir);

impl TempStore {
    fn new() -> TempStore {
        let store = TempStore(tempfile::tempdir().unwrap());
        SqliteRegistry::create(&store.path()).unwrap();
        store
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("registry with space?#%.db")
    }

    fn registry(&self) -> SqliteRegistry {
        SqliteRegistry::open(&self.path()).unwrap()
    }
}

impl Store for TempStore {
    fn open(&self) -> Box<dyn Registry> {
        Box::new(self.registry())
    }
}

registry_contract!(TempStore::new());

fn new_issuer() -> NewIssuer {
    let publication = Publication { cert_id_hashes: [HashAlgorithm::Sha256].into(), crl_partitions: 0, crl_extras: Default::default() };
    NewIssuer { name: "ca".into(), certificate: b"a certificate".to_vec(), mode: IssuerMode::Open, publication }
}

fn register(registry: &SqliteRegistry) -> IssuerId {
    registry.register_issuer(&new_issuer()).unwrap()
}

fn add(registry: &SqliteRegistry, issuer: IssuerId, numbers: std::ops::Range<u32>) -> Result<AddReport> {
    let record = |n: u32| CertificateRecord {
        serial: serial(n),
        not_before: None,
        not_after: Timestamp::MAX,
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    registry.add_certificates(issuer, &mut numbers.map(record).map(Ok), OnConflict::Refuse, Timestamp::default())
}

fn serial(n: u32) -> Serial {
    Serial::from_magnitude(&[&[0x42; 8][..], &n.to_be_bytes()].concat()).unwrap()
}

/// Both ways of opening must fail the same way, say something, and leave file and directory as they were.
fn refused(path: &Path) -> RegistryError {
    let directory = || {
        let mut names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (std::fs::read(path).ok(), directory());
    let read_only = SqliteRegistry::open_read_only(path).unwrap_err();
    let error = SqliteRegistry::open(path).unwrap_err();
    assert_eq!(error.to_string(), read_only.to_string());
    assert_eq!((std::fs::read(path).ok(), directory()), before, "{error}");
    error
}

#[test]
fn the_memory_of_bulk_work_is_given_back() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    let cache = || registry.0.writer().pragma_query_value(None, "cache_size", |row| row.get::<_, i32>(0)).unwrap();
    let before = cache();
    for outcome in [true, false] {
        let _ = registry.0.write_in_bulk(|c| {
            let during: i32 = c.pragma_query_value(None, "cache_size", |row| row.get(0))?;
            // In KiB, as negative numbers.
            assert!(during < before && before < 0);
            if outcome { Ok(()) } else { issuers::require(c, IssuerId(issuer.0 + 1)) }
        });
        assert_eq!(cache(), before);
    }
}

#[test]
fn a_registry_is_created_once_for_its_owner_only() {
    let store = TempStore::new();
    assert_eq!(std::fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(store.path()).unwrap();
    assert!(matches!(SqliteRegistry::create(&store.path()), Err(RegistryError::Exists(_))));
    assert_eq!(std::fs::read(store.path()).unwrap(), before);
    // A log whose database was deleted would be replayed into the new one.
    std::fs::remove_file(store.path()).unwrap();
    assert!(matches!(SqliteRegistry::create(&store.path()), Err(RegistryError::Exists(log)) if log.to_string_lossy().ends_with("-wal")));
    assert!(!store.path().exists());
}

#[test]
fn what_an_interrupted_creation_left_is_no_registry_and_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    for suffix in ["", "-wal", "-shm"] {
        std::fs::write(directory.path().join(format!("registry.sqlite.unfinished{suffix}")), b"half a database").unwrap();
    }
    assert!(matches!(refused(&path), RegistryError::Missing(_)));
    drop(SqliteRegistry::create(&path).unwrap());
    let unfinished = |name: &std::ffi::OsStr| name.to_string_lossy().contains("unfinished");
    assert!(std::fs::read_dir(directory.path()).unwrap().all(|entry| !unfinished(&entry.unwrap().file_name())));
}

#[test]
fn a_missing_file_or_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none");
    assert!(matches!(refused(&path), RegistryError::Missing(missing) if missing == path));
    assert!(matches!(SqliteRegistry::create(&path.join("below")), Err(RegistryError::Missing(_))));
}

#[test]
fn other_files_are_recognised_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("found");
    let found = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        refused(&path)
    };
    let not_ours = |error: RegistryError, words: &str| {
        assert!(matches!(&error, RegistryError::NotARegistry { found, .. } if found.contains(words)), "{error}");
    };
    not_ours(found(b""), "an empty file");
    not_ours(found("V\t270101000000Z\t\t01\tunknown\t/CN=a\n".repeat(100).as_bytes()), "not an SQLite database");
    not_ours(found(b"short"), "not an SQLite database");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    not_ours(refused(&path), "not a file");
    std::fs::remove_dir(&path).unwrap();
    for journal in ["DELETE", "WAL"] {
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "journal_mode", journal).unwrap();
        other.execute_batch("CREATE TABLE IF NOT EXISTS issuer (id INTEGER)").unwrap();
        other.close().unwrap();
        not_ours(refused(&path), "application id 0");
    }
}

#[test]
fn a_foreign_database_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("found");
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "journal_mode", "WAL").unwrap();
    other.execute_batch("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)").unwrap();
    assert!(matches!(refused(&path), RegistryError::NotARegistry { .. }));
    other.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}

#[test]
fn a_newer_schema_is_left_to_the_newer_program() {
    let store = TempStore::new();
    let newer = Connection::open(store.path()).unwrap();
    newer.execute_batch("INSERT INTO refinery_schema_history VALUES (99, 'later', 'some day', 'x')").unwrap();
    newer.close().unwrap();
    // That closed the log too, which a reader without write access would then miss.
    drop(SqliteRegistry::open(&store.path()));
    let error = refused(&store.path());
    assert!(matches!(error, RegistryError::TooNew { found: 99, known: 12, .. }), "{error}");
}

/// A backup is put in the place of the file, or nothing.
#[test]
fn t4_c9_a_file_that_was_replaced_is_not_gone_on_with() {
    let store = TempStore::new();
    let [writing, reading] = [SqliteRegistry::open(&store.path()), SqliteRegistry::open_read_only(&store.path())].map(Result::unwrap);
    let copy = store.path().with_extension("copy");
    std::fs::copy(store.path(), &copy).unwrap();
    writing.set_watermark("somebody", 0).unwrap();
    assert!(reading.issuers().is_ok());
    for replace in [|copy: &Path, path: &Path| std::fs::rename(copy, path), |_: &Path, path: &Path| std::fs::remove_file(path)] {
        replace(&copy, &store.path()).unwrap();
        let outcomes = [writing.issuers().map(drop), reading.issuers().map(drop), writing.set_watermark("somebody", 0)];
        assert!(outcomes.into_iter().all(|outcome| matches!(outcome, Err(RegistryError::Replaced(_)))));
    }
}

#[test]
fn a_registry_without_schema_is_damaged() {
    let store = TempStore::new();
    let other = Connection::open(store.path()).unwrap();
    other.execute_batch("DROP TABLE refinery_schema_history").unwrap();
    drop(other);
    assert!(matches!(SqliteRegistry::open(&store.path()), Err(RegistryError::Damaged { .. })));
}

#[test]
fn a_damaged_file_is_reported_and_left_as_it_is() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    add(&registry, issuer, 0..20_000).unwrap();
    drop(registry);
    let whole = std::fs::read(store.path()).unwrap();

    std::fs::write(store.path(), &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(refused(&store.path()), RegistryError::Damaged { .. }));
    std::fs::write(store.path(), &whole[..1000]).unwrap();
    let error = refused(&store.path());
    assert!(matches!(error, RegistryError::Damaged { .. } | RegistryError::NotARegistry { .. }), "{error}");

    // Garbage in the middle is found by whoever comes across it, and nothing panics.
    let mut garbled = whole.clone();
    garbled[whole.len() / 4..].fill(0xa5);
    std::fs::write(store.path(), &garbled).unwrap();
    let found = SqliteRegistry::open(&store.path()).and_then(|registry| {
        registry.visit_certificates(issuer, SlotRange::ALL, &mut |_| ())?;
        add(&registry, issuer, 20_000..20_100)
    });
    assert!(matches!(found, Err(RegistryError::Damaged { .. })), "{found:?}");

    std::fs::write(store.path(), &whole).unwrap();
    assert_eq!(store.registry().counts(issuer).unwrap().good, 20_000);
}

#[test]
fn values_that_mean_nothing_are_reported_as_damage() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    add(&registry, issuer, 0..1).unwrap();
    let spoil = |sql: &str| registry.0.writer().execute_batch(sql).unwrap();
    spoil("UPDATE certificate SET not_after = -1");
    assert!(matches!(registry.certificate(issuer, &serial(0)), Err(RegistryError::Damaged { .. })));
    spoil("UPDATE change SET payload = x'00'");
    assert_eq!(registry.changes_after(0, 9).unwrap()[0].kind, crate::registry::ChangeKind::Unreadable, "whoever follows the feed goes on");
    spoil("UPDATE issuer SET mode = 9");
    assert!(matches!(registry.issuers(), Err(RegistryError::Damaged { .. })));
}

#[test]
fn s4_4_the_database_itself_refuses_to_undo_a_revocation() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    add(&registry, issuer, 0..1).unwrap();
    registry.revoke(issuer, &serial(0), revocation(), None, Timestamp::default()).unwrap();
    let set = |sql: &str| registry.0.writer().execute(&format!("UPDATE certificate SET {sql}"), []);
    set("reason = 1").unwrap();
    for sql in ["status = 0", "revoked_at = 6", "reason = 4", "reason = NULL"] {
        assert!(set(sql).is_err(), "{sql}");
    }
}

fn revocation() -> Revocation {
    Revocation { at: Timestamp::from_unix(5).unwrap(), reason: None }
}

#[test]
fn a_full_disk_changes_nothing_and_work_goes_on_when_there_is_room() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    add(&registry, issuer, 0..100).unwrap();
    let before = (registry.counts(issuer).unwrap(), registry.last_change().unwrap());
    let room = |pages: u32| registry.0.writer().pragma_update(None, "max_page_count", pages).unwrap();
    room(40);
    let full = add(&registry, issuer, 100..50_000);
    assert!(matches!(full, Err(RegistryError::DiskFull(_))), "{full:?}");
    assert_eq!((registry.counts(issuer).unwrap(), registry.last_change().unwrap()), before);
    assert_eq!(registry.certificate(issuer, &serial(100)).unwrap(), None);
    room(1_000_000);
    add(&registry, issuer, 100..50_000).unwrap();
    assert_eq!(store.registry().counts(issuer).unwrap().good, 50_000);
}

#[test]
fn without_write_access_everything_can_be_read_and_nothing_written() {
    let store = TempStore::new();
    let writer = store.registry();
    let issuer = register(&writer);
    let reader = SqliteRegistry::open_read_only(&store.path()).unwrap();
    add(&writer, issuer, 0..10).unwrap();
    assert_eq!(reader.counts(issuer).unwrap().good, 10, "it follows the writer");
    let last = reader.last_change().unwrap();
    assert!(matches!(add(&reader, issuer, 10..11), Err(RegistryError::ReadOnly(_))));
    assert!(matches!(reader.set_watermark("front end", 1), Err(RegistryError::ReadOnly(_))));
    assert_eq!(reader.last_change().unwrap(), last);
}

#[test]
fn readers_do_not_wait_for_a_writer() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    let other_process = Connection::open(store.path()).unwrap();
    other_process.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = std::time::Instant::now();
    registry.0.writer().busy_timeout(std::time::Duration::ZERO).unwrap();
    let busy = add(&registry, issuer, 0..1).unwrap_err();
    assert!(busy.to_string().contains("another process"), "{busy}");
    assert_eq!(registry.counts(issuer).unwrap(), Counts::default());
    SqliteRegistry::open_read_only(&store.path()).unwrap().issuers().unwrap();
    assert!(started.elapsed() < connection::BUSY_TIMEOUT);
}

#[test]
fn a_change_row_is_bounded() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    add(&registry, issuer, 0..65_537).unwrap();
    let sizes: Vec<usize> = registry
        .changes_after(1, 9)
        .unwrap()
        .iter()
        .map(|change| if let crate::registry::ChangeKind::Certificates(hashes) = &change.kind { hashes.len() } else { 0 })
        .collect();
    assert_eq!(sizes, [65_536, 1]);
}

/// This test program again, running one of the functions below in a process of its own.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("registry::sqlite::tests::{test}"), "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("KAKUNIN_TEST_REGISTRY", path);
    command
}

#[test]
fn s4_4_an_acknowledged_revocation_survives_kill_9() {
    let store = TempStore::new();
    let issuer = {
        let registry = store.registry();
        let issuer = register(&registry);
        add(&registry, issuer, 0..100_000).unwrap();
        issuer
    };
    let mut next = 0;
    for _ in 0..3 {
        let mut process =
            child("child_revokes_until_killed", &store.path()).env("FIRST", next.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
        let acknowledged = lines.by_ref().filter_map(|line| line.strip_prefix("revoked ")?.parse::<u32>().ok());
        let mut last = acknowledged.take(20).last().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        last = lines.filter_map(|line| line.strip_prefix("revoked ")?.parse::<u32>().ok()).last().unwrap_or(last);
        let registry = store.registry();
        for n in next..=last {
            let status = registry.certificate(issuer, &serial(n)).unwrap().unwrap().status;
            assert_eq!(status, CertificateStatus::Revoked(revocation()), "{n} was acknowledged");
        }
        let revoked = registry.counts(issuer).unwrap().revoked;
        assert!(revoked == u64::from(last) + 1 || revoked == u64::from(last) + 2, "{revoked} with {last} the last acknowledged");
        next = revoked as u32;
    }
}

#[test]
#[ignore = "run by s4_4_an_acknowledged_revocation_survives_kill_9"]
fn child_revokes_until_killed() {
    let registry = SqliteRegistry::open(Path::new(&std::env::var_os("KAKUNIN_TEST_REGISTRY").unwrap())).unwrap();
    let issuer = registry.issuers().unwrap()[0].id;
    let mut output = std::io::stdout();
    for n in std::env::var("FIRST").unwrap().parse().unwrap().. {
        registry.revoke(issuer, &serial(n), revocation(), None, Timestamp::default()).unwrap();
        output.write_all(format!("\nrevoked {n}\n").as_bytes()).unwrap();
        output.flush().unwrap();
    }
}

/// Permissions do not stop root: then the child is somebody else, and so is its program's file.
fn unprivileged_child(test: &str, path: &Path) -> Command {
    let store = path.parent().unwrap();
    let mut command = child(test, path);
    if std::fs::metadata(store).unwrap().uid() == 0 {
        let program = store.parent().unwrap().join("program");
        if !program.exists() {
            std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        }
        let mut other = Command::new(program);
        other.args(command.get_args()).env("KAKUNIN_TEST_REGISTRY", path).uid(65_534).gid(65_534);
        command = other;
    }
    command.current_dir("/");
    command
}

#[test]
fn a_file_or_directory_that_cannot_be_written_is_reported_and_left_as_it_is() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("directory");
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("registry.db");
    let registry = SqliteRegistry::create(&path).unwrap();
    let issuer = register(&registry);
    add(&registry, issuer, 0..10).unwrap();
    drop(registry);
    let whole = std::fs::read(&path).unwrap();
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let log_files = || ["-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", path.display())));
    mode(outer.path(), 0o755);
    mode(&directory, 0o555);
    let run = |file: u32, log: u32, expected: &str| {
        mode(&path, file);
        log_files().iter().filter(|log| log.exists()).for_each(|file| mode(file, log));
        let output = unprivileged_child("child_without_write_access", &path).env("EXPECTED", expected).output().unwrap();
        assert!(output.status.success(), "{file:o} {expected}: {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    };
    run(0o444, 0o444, "reader");
    mode(&path, 0o600);
    mode(&directory, 0o755);
    log_files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    mode(&directory, 0o555);
    run(0o666, 0o666, "nothing");
    mode(&path, 0o600);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    mode(&directory, 0o755);
    assert_eq!(SqliteRegistry::open(&path).unwrap().counts(issuer).unwrap().good, 10);
}

#[test]
#[ignore = "run by a_file_or_directory_that_cannot_be_written_is_reported_and_left_as_it_is"]
fn child_without_write_access() {
    let path = PathBuf::from(std::env::var_os("KAKUNIN_TEST_REGISTRY").unwrap());
    let error = SqliteRegistry::open(&path).unwrap_err();
    assert!(matches!(error, RegistryError::ReadOnly(_)), "{error}");
    let error = SqliteRegistry::create(&path.with_extension("new")).unwrap_err();
    assert!(matches!(error, RegistryError::ReadOnly(_)), "{error}");
    let reader = SqliteRegistry::open_read_only(&path).and_then(|reader| reader.counts(reader.issuers()?[0].id));
    match std::env::var("EXPECTED").unwrap().as_str() {
        "reader" => assert_eq!(reader.unwrap().good, 10),
        _ => assert!(matches!(reader, Err(RegistryError::ReadOnly(_))), "{reader:?}"),
    }
}

/// `mkdir /mnt/small; mount -t tmpfs -o size=3m none /mnt/small; FULL_DISK=/mnt/small cargo test --lib -- --ignored a_real_full_disk`.
#[test]
#[ignore = "needs a small file system"]
fn a_real_full_disk() {
    let directory = PathBuf::from(std::env::var_os("FULL_DISK").unwrap());
    let path = directory.join("registry.db");
    let registry = SqliteRegistry::create(&path).unwrap();
    let issuer = register(&registry);
    add(&registry, issuer, 0..1000).unwrap();
    let full = add(&registry, issuer, 1000..1_000_000);
    assert!(matches!(full, Err(RegistryError::DiskFull(_))), "{full:?}");
    assert_eq!(registry.counts(issuer).unwrap().good, 1000);
    add(&registry, issuer, 1000..2000).unwrap();
    std::fs::File::create(directory.join("ballast")).and_then(|mut file| std::io::copy(&mut std::io::repeat(0), &mut file)).unwrap_err();
    let full = add(&registry, issuer, 2000..100_000);
    assert!(matches!(full, Err(RegistryError::DiskFull(_))), "{full:?}");
    let create = SqliteRegistry::create(&directory.join("another.db"));
    assert!(matches!(create, Err(RegistryError::DiskFull(_))), "{create:?}");
    assert!(!directory.join("another.db").exists());
    drop(registry);
    std::fs::remove_file(directory.join("ballast")).unwrap();
    let registry = SqliteRegistry::open(&path).unwrap();
    assert_eq!(registry.counts(issuer).unwrap().good, 2000);
    add(&registry, issuer, 2000..3000).unwrap();
    let check: String = registry.0.writer().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
#[ignore = "a measurement: CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --lib -- --ignored --nocapture insert_rate"]
fn insert_rate() {
    let store = TempStore::new();
    let registry = store.registry();
    let issuer = register(&registry);
    for batch in 0..5 {
        let started = std::time::Instant::now();
        add(&registry, issuer, batch * 1_000_000..(batch + 1) * 1_000_000).unwrap();
        let rate = 1e6 / started.elapsed().as_secs_f64();
        writeln!(std::io::stderr(), "{} M certificates: {rate:.0} rows/s", batch + 1).unwrap();
    }
    let started = std::time::Instant::now();
    let mut visited = 0;
    registry.visit_certificates(issuer, SlotRange::ALL, &mut |_| visited += 1).unwrap();
    writeln!(std::io::stderr(), "{visited} visited in {:?}", started.elapsed()).unwrap();
}
