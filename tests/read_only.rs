//! A file system that is read-only: what cannot be written is named, nothing is lost, and the same command goes on when it can be written again.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/orders.rs"]
mod orders;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Service, counts, fail, succeed, with_config};
use kakunin::pki::Fingerprint;
use orders::Office;
use small_disk::{make_read_only, make_writable, on_a_small_disk};

const REQUESTS: u64 = 700;

/// A CA whose registry is in a directory of its own.
fn office(directory: &Path) -> Office {
    Service::demo(directory, &["--certificates", "10", "--revoked", "1"]).stop();
    fs::create_dir(directory.join("db")).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("registry.sqlite{suffix}");
        if directory.join(&name).exists() {
            fs::rename(directory.join(&name), directory.join("db").join(&name)).unwrap();
        }
    }
    let config = fs::read_to_string(directory.join("kakunin.toml")).unwrap();
    fs::write(directory.join("kakunin.toml"), config.replace("sqlite = \"registry", "sqlite = \"db/registry")).unwrap();
    Office::new(directory)
}

/// What a command says that cannot write `directory`, and names `file`.
#[track_caller]
fn refused(command: &mut Command, directory: &Path, file: &str) -> String {
    make_read_only(directory);
    let said = fail(command);
    make_writable(directory);
    println!("{said}");
    assert!(said.contains(file) && said.to_lowercase().contains("read-only"), "{said}");
    said
}

#[test]
fn p3_s4_8_a_batch_on_a_read_only_file_system_says_so_and_goes_on_when_it_is_writable() {
    on_a_small_disk("p3_s4_8_a_batch_on_a_read_only_file_system_says_so_and_goes_on_when_it_is_writable", || {
        let directory = tempfile::tempdir().unwrap();
        let office = office(directory.path());
        office.write_requests("in.jsonl", (0..REQUESTS).map(|n| format!("host-{n}.example.com")));
        let order = office.write_issue("batch", "in.jsonl", "");
        let (before, output) = (counts(&office.config(), "issuing"), office.path("out-batch"));
        let begun = || office.log().iter().filter(|entry| entry["order"] == "batch").count();

        refused(&mut office.approval(&order, "baba"), &office.directory, "batch.toml.baba.approval");
        assert!(fs::read_dir(&office.directory).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().contains("approval")));
        office.approve(&order, &["baba"]);

        refused(&mut office.run_order(&order), &office.path("db"), "db/registry.sqlite");
        assert_eq!((counts(&office.config(), "issuing"), begun()), (before, 0), "nothing was begun");

        refused(&mut office.run_order(&order), &office.directory, &office.directory.display().to_string());
        assert_eq!((counts(&office.config(), "issuing"), begun()), (before, 0), "nothing was begun");

        fs::create_dir(&output).unwrap();
        let said = refused(&mut office.run_order(&order), &output, "out-batch/order");
        assert!(said.contains("run it again"), "{said}");
        assert_eq!(counts(&office.config(), "issuing"), before, "what cannot be written is not issued");
        assert_eq!(begun(), 2, "it was begun, and why it was interrupted is in the log");

        // The order itself need not be written.
        make_read_only(&office.path("in.jsonl"));
        let said = succeed(&mut office.run_order(&order));
        make_writable(&office.path("in.jsonl"));
        assert!(said.contains(&format!("issued {REQUESTS} certificates, {REQUESTS} are written, 0 requests were rejected")), "{said}");
        assert_eq!(counts(&office.config(), "issuing").0, before.0 + REQUESTS, "each once");
        let written: Vec<_> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(written.len(), 3, "certificates, what was rejected, and whose it is: {written:?}");
        succeed(&mut with_config("verify", &office.config(), &[]));
    });
}

#[test]
fn p3_certificates_that_could_not_be_written_are_written_when_they_can_be() {
    on_a_small_disk("p3_certificates_that_could_not_be_written_are_written_when_they_can_be", || {
        let directory = tempfile::tempdir().unwrap();
        let office = office(directory.path());
        fs::create_dir(office.path("in")).unwrap();
        for host in ["a", "b"] {
            fs::write(office.path(&format!("in/{host}.csr")), orders::request_made_here(&format!("{host}.example.com"))).unwrap();
        }
        let order = office.write_issue("files", "in", "");
        office.approve(&order, &["baba"]);
        let before = counts(&office.config(), "issuing");
        // It is begun, and then one of the two can be written, the other cannot.
        fs::rename(office.path("in"), office.path("away")).unwrap();
        assert!(fail(&mut office.run_order(&order)).contains("run it again"));
        fs::rename(office.path("away"), office.path("in")).unwrap();
        fs::create_dir_all(office.path("out-files/b.csr.pem")).unwrap();
        let fingerprint = Fingerprint::of(&fs::read(office.path(&order)).unwrap());
        fs::write(office.path("out-files/order"), format!("files {fingerprint}\n")).unwrap();
        make_read_only(&office.path("out-files/b.csr.pem"));
        let said = fail(&mut office.run_order(&order));
        assert!(said.contains("out-files/b.csr.pem") && said.contains("run it again"), "{said}");
        make_writable(&office.path("out-files/b.csr.pem"));
        assert_eq!(counts(&office.config(), "issuing").0, before.0 + 2, "they are registered, and have a status");
        fs::remove_dir(office.path("out-files/b.csr.pem")).unwrap();
        let said = succeed(&mut office.run_order(&order));
        assert!(said.contains("issued 0 certificates, 2 were there before, 2 are written"), "{said}");
        assert_eq!(counts(&office.config(), "issuing").0, before.0 + 2, "none is issued twice");
        let pem = fs::read_to_string(office.path("out-files/b.csr.pem")).unwrap();
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 1);
        assert!(!office.path("out-files/b.csr.pem.pending").exists());
    });
}
