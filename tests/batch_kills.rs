//! `kill -9` at fifty random moments of batches: no certificate is lost, none is issued twice, none is handed out that is not registered or has no status, and
//! the next run goes on with what is missing. The seed is printed; KAKUNIN_TEST_SEED repeats a run's moments.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/orders.rs"]
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use common::kills::Killer;
use common::{Service, list, succeed, tool, with_config};
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
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "10", "--revoked", "1"]).stop();
    let office = Office::new(directory.path());
    let start = Instant::now();
    succeed(&mut office.run_order(&batch(&office, 0)));
    let (mut killer, mut number) = (Killer::seeded("batch-kills", start.elapsed()), 0);
    let mut serials = check(&office, "batch-0", &BTreeSet::new());
    while killer.kills < KILLS {
        number += 1;
        let order = batch(&office, number);
        let (id, before) = (format!("batch-{number}"), serials.len());
        killer.kill_until_done(&mut office.run_order(&order), |kill| {
            serials = check(&office, &id, &serials);
            println!("{kill}: {} registered, {} written", serials.len() - before, written(&office, &id).len());
        });
        serials = check(&office, &id, &serials);
        assert_eq!(serials.len() - before, REQUESTS, "each once");
        assert_eq!(written(&office, &id).keys().copied().collect::<Vec<_>>(), (1..=REQUESTS as u64).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(office.path(&format!("out-{id}/rejected.jsonl"))).unwrap(), "");
    }
    succeed(&mut with_config("verify", &office.config(), &[]));
    let log = succeed(&mut office.order("log", &[]));
    assert!(log.contains("unbroken"), "{log}");
    println!("{} kills of {number} batches in {:?}", killer.kills, start.elapsed());
}

const KEY_KILLS: usize = 25;
const APPLICANTS: usize = 20;

fn order_with_keys(office: &Office, id: &str) -> String {
    let line = |n: usize| format!("{{\"subject\":\"CN=host-{n}.{id}.example.com\",\"dns\":[\"host-{n}.{id}.example.com\"]}}\n");
    fs::write(office.path("applicants.jsonl"), (0..APPLICANTS).map(line).collect::<String>()).unwrap();
    let more = format!("key_algorithm = \"ecdsa-p256\"\npassphrases = \"phrases-{id}\"\n");
    let order = office.write_issue(id, "applicants.jsonl", &more);
    let text = fs::read_to_string(office.path(&order)).unwrap();
    fs::write(office.path(&order), text.replace("kind = \"issue\"", "kind = \"issue-with-keys\"")).unwrap();
    office.approve(&order, &["baba", "doi"]);
    order
}

/// What is in a PKCS#12 file that was handed out, as OpenSSL reads it with its passphrase: the serial number of the certificate, whose key is in it too.
fn opened(office: &Office, id: &str, line: usize) -> String {
    let file = office.path(&format!("out-{id}/line-{line:09}.p12"));
    let phrase = format!("file:{}", office.path(&format!("phrases-{id}/line-{line:09}.passphrase")).display());
    let mut command = tool("openssl");
    let content = succeed(command.args(["pkcs12", "-nodes", "-passin", &phrase, "-in"]).arg(&file));
    fs::write(office.path("handed.pem"), &content).unwrap();
    let public = |arguments: &[&str]| succeed(tool("openssl").args(arguments).arg("-in").arg(office.path("handed.pem")));
    assert_eq!(public(&["x509", "-noout", "-pubkey"]), public(&["pkey", "-pubout"]), "{}", file.display());
    let certificate = content.split_once("-----BEGIN CERTIFICATE-----").unwrap().1;
    CertificateInfo::from_pem(format!("-----BEGIN CERTIFICATE-----{certificate}").as_bytes()).unwrap().serial.to_string()
}

fn names_in(office: &Office, directory: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(office.path(directory)) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn registered(office: &Office) -> BTreeSet<String> {
    list(&office.config(), "issuing").into_iter().map(|one| one.serial).collect()
}

#[test]
fn s4_9_p3_kills_of_orders_with_keys_leave_whole_files_and_one_certificate_each() {
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "10", "--revoked", "1"]).stop();
    let office = Office::new(directory.path());
    let order = order_with_keys(&office, "keys-0");
    let start = Instant::now();
    succeed(&mut office.run_order(&order));
    let (mut killer, mut number) = (Killer::seeded("key-kills", start.elapsed()), 0);
    while killer.kills < KEY_KILLS {
        number += 1;
        let id = format!("keys-{number}");
        let (order, before) = (order_with_keys(&office, &id), registered(&office).len());
        killer.kill_until_done(&mut office.run_order(&order), |kill| {
            let registered = registered(&office);
            let handed_out: Vec<usize> =
                (1..=APPLICANTS).filter(|line| office.path(&format!("out-{id}/line-{line:09}.p12")).exists()).collect();
            let is_whole = |line: &usize| registered.contains(&opened(&office, &id, *line));
            assert!(handed_out.iter().all(is_whole), "what is handed out is whole, and registered");
            println!("{kill}: {} registered, {} handed out", registered.len() - before, handed_out.len());
        });
        let registered = registered(&office);
        assert_eq!(registered.len(), before + APPLICANTS, "each once");
        let serials: BTreeSet<String> = (1..=APPLICANTS).map(|line| opened(&office, &id, line)).collect();
        assert!(serials.len() == APPLICANTS && serials.is_subset(&registered));
        let lines = |end: &str| (1..=APPLICANTS).map(|line| format!("line-{line:09}.{end}")).collect::<BTreeSet<_>>();
        let with =
            |more: &[&str], end: &str| lines(end).into_iter().chain(more.iter().map(|name| (*name).to_owned())).collect::<BTreeSet<_>>();
        assert_eq!(names_in(&office, &format!("phrases-{id}")), with(&["order"], "passphrase"));
        let wanted = with(&["order", "rejected.jsonl"], "p12");
        assert_eq!(names_in(&office, &format!("out-{id}")), wanted, "nothing half-written is left");
    }
}
