//! The plan against the running program: what it says of a small service is what a small service keeps, signs and sends. No times: those are the machine's.

#![allow(clippy::unwrap_used)]

#[path = "common/small_service.rs"]
mod small_service;

use std::process::Command;

use kakunin_loadtest::plan::facts::{KeyAlgorithm, NOT_MODIFIED_HEAD, PROCESS, RESPONSE_HEAD};
use kakunin_loadtest::plan::options::Options;
use kakunin_loadtest::plan::{Plan, crl_octets, response_octets};
use small_service::{Made, Service};

/// The demo's CRL partitions.
const PARTITIONS: u32 = 8;
/// A tenth of all certificates is revoked.
const REVOKED: f64 = 0.1;

fn plan(certificates: u64) -> Plan {
    let options = Options {
        certificates: Some(certificates),
        revoked: Some(REVOKED),
        crl_partitions: Some(PARTITIONS),
        queries: Some(1.0),
        token_rate: Some(1000.0),
        ..Options::default()
    };
    Plan::of(&options.input().unwrap())
}

fn figure(plan: &Plan, id: &str) -> f64 {
    plan.figure(id).unwrap_or_else(|| panic!("no {id}")).value
}

/// Found lies within this part of what was planned.
fn assert_near(what: &str, found: f64, planned: f64, tolerance: f64) {
    assert!((found / planned - 1.0).abs() <= tolerance, "{what}: found {found}, planned {planned}");
}

#[test]
fn a_small_service_is_as_planned() {
    let (few, many) = (10_000, 50_000);
    let [small, great] = [few, many].map(|certificates| Made::new(certificates, certificates / 10, "ecdsa-p256"));
    let (before, after) = (plan(few), plan(many));
    let growth = |id: &str| figure(&after, id) - figure(&before, id);

    // One more for each hash: the root's only certificate, that of the issuing CA.
    // And the few whose turn came in these seconds: a slot of the greater one has a turn every 74 s, with some fifty signatures.
    for (made, certificates) in [(&small, few), (&great, many)] {
        let once = 2 * (certificates + 1);
        assert!((once..once + once / 200).contains(&made.signed), "signatures: found {}, planned {once}, each once", made.signed);
    }

    // The file grows by whole pages and trees split their pages in half, so the last few of 40,000 rows more or less are not seen.
    let grown = (great.registry_octets() - small.registry_octets()) as f64;
    let planned = growth("registry-packs") + growth("registry-rows") + growth("registry-crls-newest");
    assert_near("growth of the registry", grown, planned, 0.05);

    // What is resident is counted in pages of 4 KiB in arenas of each thread, and freed memory of the loading stays: some hundred kilobytes here and there.
    let (first, second) = (resident(&small), resident(&great));
    let resident = (second - first) / (2 * (many - few)) as f64;
    let planned = (growth("memory-responses") + growth("crl-octets-all")) / (2 * (many - few)) as f64;
    assert_near("memory for a response", resident, planned, 0.2);
    assert_near("a small process", first, PROCESS + figure(&before, "memory-responses"), 0.35);

    let service = great.serve();
    assert_answers(&great, &service);
    assert_crls(&service, many);
}

/// Octets that are resident when all is loaded: the least of three starts. A turn of refresh that falls into one of them leaves what it has read.
fn resident(made: &Made) -> f64 {
    let start = |_| {
        let service = made.serve();
        let resident = service.resident();
        service.stop();
        resident
    };
    (0..3).map(start).fold(f64::INFINITY, f64::min)
}

fn assert_answers(made: &Made, service: &Service) {
    let question = made.question("good.pem");
    let reply = service.get(&question, "");
    assert!(reply.head.starts_with(b"HTTP/1.1 200"));
    assert_head(&reply.head, RESPONSE_HEAD);
    // Two signatures, the response's and that in the certificate, have integers that are an octet shorter or longer.
    let body = reply.body.len() as f64;
    assert!((body - response_octets(KeyAlgorithm::EcdsaP256)).abs() <= 6.0, "{body}");
    let head = String::from_utf8(reply.head).unwrap();
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let reply = service.get(&question, &format!("If-None-Match: {tag}\r\n"));
    assert!(reply.head.starts_with(b"HTTP/1.1 304") && reply.body.is_empty());
    assert_head(&reply.head, NOT_MODIFIED_HEAD);
}

/// The plan counts a max-age of four digits, as in most of the time; it has fewer in the last quarter of an hour before the slot's turn (rule O13).
fn assert_head(head: &[u8], planned: f64) {
    let text = String::from_utf8_lossy(head);
    let age = text.split_once("max-age=").and_then(|(_, rest)| rest.split_once(',')).unwrap().0;
    assert!(age.parse::<u64>().is_ok_and(|seconds| seconds <= 3600), "{text}");
    assert_eq!((head.len() + 4 - age.len()) as f64, planned, "{text}");
}

fn assert_crls(service: &Service, certificates: u64) {
    let sizes: Vec<f64> = (0..PARTITIONS).map(|n| service.get(&format!("/crl/issuing/{n}.crl"), "").body.len() as f64).collect();
    let entries = certificates as f64 * REVOKED;
    let planned = f64::from(PARTITIONS) * crl_octets(KeyAlgorithm::EcdsaP256, entries / f64::from(PARTITIONS));
    let all: f64 = sizes.iter().sum();
    assert!((all - planned).abs() <= f64::from(PARTITIONS) * 12.0, "all partitions: found {all}, planned {planned}");
    let greatest = sizes.iter().copied().fold(0.0, f64::max);
    let bound = figure(&plan(certificates), "crl-octets");
    assert!(greatest <= bound && greatest > 0.8 * bound, "the fullest partition: found {greatest}, planned at most {bound}");
}

#[test]
fn answers_of_other_keys_are_as_planned() {
    for (name, algorithm) in [("ecdsa-p384", KeyAlgorithm::EcdsaP384), ("rsa-2048", KeyAlgorithm::Rsa2048)] {
        let made = Made::new(200, 20, name);
        let service = made.serve();
        let body = service.get(&made.question("good.pem"), "").body.len() as f64;
        assert!((body - response_octets(algorithm)).abs() <= 8.0, "{name}: found {body}, planned {}", response_octets(algorithm));
    }
}

#[test]
fn the_command_prints_the_plan_and_refuses_nonsense() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plan.toml");
    std::fs::write(&file, "certificates = 1000000\nqueries = 5000\ntoken-rate = 2000\nrefresh = '5d'\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_kakunin-loadtest")).arg("plan").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let name = file.to_str().unwrap();
    let (code, text, _) = run(&["--file", name]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("= certificates × hashes ÷ refresh\n      = 1,000,000 × 2 ÷ 5 days")
            && text.contains("WARNING: T1: refresh is 5 days"),
        "{text}"
    );
    let (code, json, _) = run(&["--file", name, "--refresh", "3d 12h", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json["warnings"]),
        (
            Some(0),
            &serde_json::json!([
                "C8: after the mass revocation 5 partitions would be needed, and there are 0: certificates name theirs for life"
            ])
        )
    );
    let (code, text, said) = run(&["--certificates", "5", "--queries", "1"]);
    assert!(code == Some(1) && text.is_empty() && said.contains("token-rate: found nothing, wanted"), "{said}");
    let (code, _, said) = run(&["--file", "/nonexistent.toml"]);
    assert!(code == Some(1) && said.contains("/nonexistent.toml: No such file"), "{said}");
}
