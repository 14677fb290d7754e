//! `kakunin revoke` while the service runs: how soon the answers change, and what is refused.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::http::fetch;
use common::ocsp::{Asker, HASHES, serial_of};
use common::peers::{Authority, Expected, urls};
use common::{Service, counts, crl_numbers, fail, list, run, succeed, text, until, with_config};
use tempfile::TempDir;

/// How soon an answer must have changed.
const AT_ONCE: Duration = Duration::from_secs(1);

struct Demo {
    service: Service,
    asker: Asker,
    directory: TempDir,
}

impl Demo {
    fn start() -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let service = Service::demo(&directory.path().join("demo"), &["--certificates", "300", "--revoked", "20"]);
        let asker = Asker::new(&directory.path().join("demo/issuing.pem"));
        Demo { service, asker, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("demo").join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    fn revoke(&self, serial: &str, more: &[&str]) -> Command {
        let mut command = with_config("revoke", &self.config(), &["--issuer", "issuing", "--serial", serial]);
        command.args(more);
        command
    }

    fn authority(&self) -> Authority {
        let scratch = self.directory.path().to_owned();
        Authority { issuer: self.path("issuing.pem"), chain: self.path("chain.pem"), url: self.service.ocsp.clone(), scratch }
    }

    /// Waits until a CRL lists a serial, and says how long it took.
    fn until_listed(&self, path: &str, serial: &str, since: Instant) -> Duration {
        let entry = format!("serial number: {serial}\n");
        until(Duration::from_secs(10), path, || {
            let crl = fetch(&self.service.ocsp, path);
            self.authority().crl_text(&crl).to_lowercase().contains(&entry).then(|| since.elapsed())
        })
    }
}

#[test]
fn s4_4_the_next_answers_say_revoked_within_a_second_and_the_crls_follow() {
    let demo = Demo::start();
    let (good, serial) = (demo.path("certificates/good.pem"), serial_of(&demo.path("certificates/good.pem")));
    let partition = urls(&good).0[0].strip_prefix(&demo.service.ocsp).unwrap().to_owned();
    let authority = demo.authority();
    assert!(authority.verifies_with_crl(&good, &fetch(&demo.service.ocsp, &partition)));
    let number_of = |path: &str| authority.crl_number(&fetch(&demo.service.ocsp, path));
    let before = [&partition[..], "/crl/issuing.crl"].map(|path| (path.to_owned(), number_of(path)));

    let said = succeed(&mut demo.revoke(&serial, &["--reason", "superseded"]));
    let acknowledged = Instant::now();
    assert!(said.contains("revoked") && said.contains(&serial) && said.contains("superseded"), "{said}");
    for hash in HASHES {
        let after = until(AT_ONCE, "a revoked answer", || {
            demo.asker.ask(&demo.service.ocsp, &serial, hash).is_revoked().then(|| acknowledged.elapsed())
        });
        println!("{hash:?}: revoked {after:?} after the acknowledgement");
    }
    for (path, number) in before {
        println!("{path}: listed {:?} after the acknowledgement", demo.until_listed(&path, &serial, acknowledged));
        assert!(number_of(&path) > number, "C2: {path}");
    }
    assert!(acknowledged.elapsed() < Duration::from_secs(5));
    for hash in HASHES {
        authority.openssl_agrees(&good, hash, false, Expected::Revoked("superseded"));
    }
    authority.ocsptool_agrees(&good, Expected::Revoked("superseded"));
    assert!(!authority.verifies_with_crl(&good, &fetch(&demo.service.ocsp, &partition)));
    authority.crl_is_clean(&fetch(&demo.service.ocsp, &partition), "CRL", "BR");
    assert_eq!(counts(&demo.config(), "issuing"), (279, 21));
}

#[test]
fn twenty_revocations_one_after_the_other_are_each_seen_within_a_second() {
    let demo = Demo::start();
    let good: Vec<_> = list(&demo.config(), "issuing").into_iter().filter(|c| !c.is_revoked()).take(20).collect();
    let numbers = crl_numbers(&demo.config());
    let mut slowest = Duration::ZERO;
    for certificate in &good {
        succeed(&mut demo.revoke(&certificate.serial, &["--reason", "keyCompromise"]));
        let acknowledged = Instant::now();
        for hash in HASHES {
            until(AT_ONCE, "a revoked answer", || demo.asker.ask(&demo.service.ocsp, &certificate.serial, hash).is_revoked().then_some(()));
        }
        slowest = slowest.max(acknowledged.elapsed());
    }
    println!("the slowest of twenty: {slowest:?}");
    for certificate in &good {
        demo.until_listed("/crl/issuing.crl", &certificate.serial, Instant::now());
    }
    let now = crl_numbers(&demo.config());
    assert!(numbers.iter().all(|(scope, number)| now[scope] >= *number), "C2: {numbers:?} {now:?}");
}

#[test]
fn a_second_revocation_changes_nothing_and_says_so() {
    let demo = Demo::start();
    let serial = serial_of(&demo.path("certificates/revoked.pem"));
    let before = list(&demo.config(), "issuing");
    let said = succeed(&mut demo.revoke(&serial, &["--reason", "superseded"]));
    assert!(said.contains("already revoked") && said.contains("keyCompromise"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&mut demo.revoke(&serial, &["--reason", "superseded", "--json"]))).unwrap();
    assert_eq!((&json["outcome"], &json["reason"]), (&"already revoked".into(), &"keyCompromise".into()), "{json}");
    assert_eq!(list(&demo.config(), "issuing"), before, "S4.4: a revocation is never undone, nor changed");
}

#[test]
fn c3_a_superseded_key_that_turns_out_to_be_compromised_is_said_to_be() {
    let demo = Demo::start();
    let (good, serial) = (demo.path("certificates/good.pem"), serial_of(&demo.path("certificates/good.pem")));
    let authority = demo.authority();
    succeed(&mut demo.revoke(&serial, &["--reason", "superseded", "--at", "2026-01-31T09:30:00Z"]));
    demo.until_listed("/crl/issuing.crl", &serial, Instant::now());
    let said = succeed(&mut demo.revoke(&serial, &["--reason", "keyCompromise"]));
    assert!(said.contains("2026-01-31T09:30:00Z (superseded) before: the reason is keyCompromise now"), "{said}");
    let entry = format!("serial number: {serial}\n");
    until(Duration::from_secs(10), "a CRL with the new reason", || {
        let crl = authority.crl_text(&fetch(&demo.service.ocsp, "/crl/issuing.crl")).to_lowercase();
        let entry = crl.split_once(&entry).map(|(_, rest)| rest.split("serial number:").next().unwrap_or_default().to_owned());
        entry.filter(|entry| entry.contains("key compromise") && entry.contains("jan 31 09:30:00 2026")).map(drop)
    });
    for hash in HASHES {
        authority.openssl_agrees(&good, hash, false, Expected::Revoked("keyCompromise"));
    }
    let json: serde_json::Value = serde_json::from_str(&succeed(&mut demo.revoke(&serial, &["--reason", "superseded", "--json"]))).unwrap();
    assert_eq!((&json["outcome"], &json["reason"]), (&"already revoked".into(), &"keyCompromise".into()), "{json}");
}

#[test]
fn what_cannot_be_revoked_is_refused_and_changes_nothing() {
    let demo = Demo::start();
    let serial = serial_of(&demo.path("certificates/good.pem"));
    let before = list(&demo.config(), "issuing");
    let unknown = fail(&mut demo.revoke("0123456789abcdef", &["--reason", "superseded"]));
    assert!(unknown.contains("0123456789abcdef") && unknown.contains("issuing"), "{unknown}");
    let future = fail(&mut demo.revoke(&serial, &["--reason", "superseded", "--at", "2999-01-01T00:00:00Z"]));
    assert!(future.contains("2999-01-01T00:00:00Z") && future.contains("future"), "{future}");
    for (option, value) in [("--reason", "certificateHold"), ("--reason", "boredom"), ("--reason", "removeFromCRL")] {
        let refused = fail(&mut demo.revoke(&serial, &[option, value]));
        assert!(refused.contains(value) && refused.contains("keyCompromise"), "{refused}");
    }
    for bad in ["xyz", "", "-01", "0123456789012345678901234567890123456789012345678901"] {
        assert!(!run(&mut demo.revoke(bad, &["--reason", "superseded"])).status.success(), "serial {bad:?}");
    }
    let elsewhere =
        fail(&mut with_config("revoke", &demo.config(), &["--issuer", "nobody", "--serial", &serial, "--reason", "superseded"]));
    assert!(elsewhere.contains("nobody") && elsewhere.contains("issuing"), "what there is: {elsewhere}");
    assert_eq!(list(&demo.config(), "issuing"), before);
}

#[test]
fn a_revocation_may_be_dated_back() {
    let demo = Demo::start();
    let good = list(&demo.config(), "issuing").into_iter().find(|c| !c.is_revoked()).unwrap();
    let said = succeed(&mut demo.revoke(&good.serial.to_uppercase(), &["--reason", "unspecified", "--at", "2026-01-31T09:30:00Z"]));
    assert!(said.contains("2026-01-31T09:30:00Z"), "{said}");
    until(AT_ONCE, "revoked", || demo.asker.ask(&demo.service.ocsp, &good.serial, HASHES[0]).is_revoked().then_some(()));
    let answer = demo.asker.ask(&demo.service.ocsp, &good.serial, HASHES[0]);
    assert_eq!(answer.reason(), None, "C3: unspecified is said by saying nothing");
    let listed = list(&demo.config(), "issuing").into_iter().find(|c| c.serial == good.serial).unwrap();
    assert_eq!((listed.revoked_at.as_deref(), listed.reason.as_deref()), (Some("2026-01-31T09:30:00Z"), Some("unspecified")));
}

#[test]
fn s4_4_what_was_acknowledged_survives_kill_9_of_the_service() {
    let mut demo = Demo::start();
    let good: Vec<_> = list(&demo.config(), "issuing").into_iter().filter(|c| !c.is_revoked()).take(3).collect();
    for certificate in &good {
        let output = run(&mut demo.revoke(&certificate.serial, &["--reason", "cessationOfOperation"]));
        assert!(output.status.success(), "{}", text(&output));
        assert!(demo.service.process.kill());
        demo.service = Service::demo(&demo.path(""), &[]);
        for hash in HASHES {
            let answer = demo.asker.ask(&demo.service.ocsp, &certificate.serial, hash);
            assert_eq!(answer.reason().as_deref(), Some("cessationOfOperation"), "the first answer after the restart");
        }
        demo.until_listed("/crl/issuing.crl", &certificate.serial, Instant::now());
    }
}

/// The key of the CA is lost: everything is revoked by one command.
#[test]
fn s4_4_s5_10_a_whole_ca_is_revoked_in_one_command() {
    let demo = Demo::start();
    let all = ["--issuer", "issuing", "--all", "--reason", "keyCompromise"];
    let never = ["--issuer", "issuing", "--all", "--confirm", "issuing", "--reason", "cACompromise"];
    assert!(fail(&mut with_config("revoke", &demo.config(), &never)).contains("C3"), "a reason that could not be published");
    let refused = fail(with_config("revoke", &demo.config(), &all).args(["--confirm", "root"]));
    assert!(refused.contains("--confirm: found 'root', wanted") && refused.contains("'issuing'"), "{refused}");
    fail(&mut with_config("revoke", &demo.config(), &all));
    assert_eq!(counts(&demo.config(), "issuing"), (280, 20));
    let said = succeed(with_config("revoke", &demo.config(), &all).args(["--confirm", "issuing"]));
    assert!(said.starts_with("revoked 280 certificates of issuer 'issuing' at "), "{said}");
    let certificates = list(&demo.config(), "issuing");
    for certificate in &certificates {
        until(Duration::from_secs(10), "every answer", || {
            let answers = HASHES.map(|hash| demo.asker.ask(&demo.service.ocsp, &certificate.serial, hash));
            answers.iter().all(|answer| !answer.is_good()).then_some(())
        });
    }
    demo.until_listed("/crl/issuing.crl", &certificates[0].serial, Instant::now());
    assert_eq!(counts(&demo.config(), "issuing"), (0, 300));
}
