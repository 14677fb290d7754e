//! `kill -9` at fifty random moments of batches: no certificate is lost, none is issued twice, none is handed out that is not registered or has no status, and
//! the next run goes on with what is missing. The seed is printed; KAKUNIN_TEST_SEED repeats a run's moments.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/orders.rs"]
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use common::random::Random;
use common::{Process, Service, list, succeed, with_config};
use kakunin::pki::{CertificateInfo, Serial, Timestamp};
use kakunin::registry::Registry;
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::signing::coverage::uncovered;
use orders::Office;

const KILLS: usize = 50;
/// Some transactions' worth.
const REQUESTS: usize = 2000;

/// What the output of an order holds: serial numbers by line.
fn written(office: &Office, id: &str) -> BTreeMap<u64, String> {
    let Ok(text) = fs::read_to_string(office.path(&format!("out-{id}/certificates-000000001.jsonl"))) else { return BTreeMap::new() };
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let certificate = CertificateInfo::from_pem(line["certificate"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(certificate.serial.to_string(), line["serial"].as_str().unwrap());
    }
    let by_line: BTreeMap<_, _> =
        lines.iter().map(|line| (line["line"].as_u64().unwrap(), line["serial"].as_str().unwrap().to_owned())).collect();
    assert_eq!(by_line.len(), lines.len(), "a line twice");
    by_line
}

/// Whatever was handed out is registered, and has a status; no serial repeats; what was there stays.
fn check(office: &Office, id: &str, before: &BTreeSet<String>) -> BTreeSet<String> {
    let all = list(&office.config(), "issuing");
    let serials: BTreeSet<String> = all.iter().map(|one| one.serial.clone()).collect();
    assert_eq!(serials.len(), all.len(), "P3: a serial repeats");
    assert!(before.is_subset(&serials), "a certificate is lost");
    let handed_out = written(office, id);
    assert!(handed_out.values().all(|serial| serials.contains(serial)), "an orphan");
    let registry = SqliteRegistry::open_read_only(&office.path("registry.sqlite")).unwrap();
    let issuer = registry.issuers().unwrap().into_iter().find(|issuer| issuer.name == "issuing").unwrap();
    let certificate = CertificateInfo::from_der(&issuer.certificate).unwrap();
    let asked: Vec<Serial> = handed_out.values().map(|serial| serial.parse().unwrap()).collect();
    assert_eq!(uncovered(&registry, &issuer, &certificate, &asked, Timestamp::now()).unwrap(), BTreeSet::new(), "O16");
    serials
}

fn batch(office: &Office, number: usize) -> String {
    office.write_requests("in.jsonl", (0..REQUESTS).map(|n| format!("host-{n}.batch-{number}.example.com")));
    let order = office.write_issue(&format!("batch-{number}"), "in.jsonl", "");
    office.approve(&order, &["baba"]);
    order
}

#[test]
fn p3_o16_fifty_kills_of_batches_lose_nothing_and_issue_nothing_twice() {
    let (directory, mut random) = (tempfile::tempdir().unwrap(), Random::seeded("batch-kills"));
    Service::demo(directory.path(), &["--certificates", "10", "--revoked", "1"]).stop();
    let office = Office::new(directory.path());
    let start = Instant::now();
    succeed(&mut office.run_order(&batch(&office, 0)));
    let span = start.elapsed();
    let (mut kills, mut number) = (0, 0);
    let mut serials = check(&office, "batch-0", &BTreeSet::new());
    while kills < KILLS {
        number += 1;
        let order = batch(&office, number);
        let (id, before, mut interrupted) = (format!("batch-{number}"), serials.len(), false);
        loop {
            let mut process = Process::start(&mut office.run_order(&order));
            let moment = span.mul_f64(random.below(10_000) as f64 / 10_000.0);
            let ended = process.wait(moment);
            let running = process.kill();
            assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
            serials = check(&office, &id, &serials);
            if !running {
                // One that was killed when its end was in the log already is not run again.
                let has_ended = interrupted && process.stderr().contains("was run before: it ended");
                assert!(has_ended || ended.is_none_or(|status| status.success()), "{}", process.stderr());
                break;
            }
            (kills, interrupted) = (kills + 1, true);
            println!(
                "kill {kills} after {moment:?} of {span:?}: {} registered, {} written",
                serials.len() - before,
                written(&office, &id).len()
            );
        }
        assert_eq!(serials.len() - before, REQUESTS, "each once");
        assert_eq!(written(&office, &id).keys().copied().collect::<Vec<_>>(), (1..=REQUESTS as u64).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(office.path(&format!("out-{id}/rejected.jsonl"))).unwrap(), "");
    }
    succeed(&mut with_config("verify", &office.config(), &[]));
    let log = succeed(&mut office.order("log", &[]));
    assert!(log.contains("unbroken"), "{log}");
    println!("{kills} kills of {number} batches in {:?}", start.elapsed());
}
