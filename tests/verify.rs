//! `kakunin verify`: a demo's registry is clean; one that was tampered with is not, and the rule that is broken is named.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::PathBuf;

use common::ocsp::serial_of;
use common::openssl_ca::{OpensslCa, P256, RSA, TakeOver};
use common::{Service, fail, list, run, succeed, text, with_config};
use kakunin::pki::compact_crl::Restorer;
use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;

/// A demo that was built and stopped.
struct Demo {
    directory: TempDir,
}

impl Demo {
    fn new(arguments: &[&str]) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        Service::demo(directory.path(), arguments).stop();
        Demo { directory }
    }

    fn small() -> Demo {
        Demo::new(&["--certificates", "200", "--revoked", "20"])
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("kakunin.toml")
    }

    /// A connection behind the program's back, on which revocations may be undone.
    fn sql(&self) -> Connection {
        let connection = Connection::open(self.directory.path().join("registry.sqlite")).unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS certificate_stays_revoked").unwrap();
        connection
    }

    /// The report of a run, and its exit code.
    fn verify(&self, arguments: &[&str]) -> (Value, i32) {
        let output = run(&mut with_config("verify", &self.config(), &[&["--json"], arguments].concat()));
        assert!(!text(&output).contains("panicked"), "{}", text(&output));
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
        (report, output.status.code().unwrap())
    }

    /// The rules that are found to be broken; the exit code says that some are.
    fn broken(&self) -> Vec<String> {
        let (report, code) = self.verify(&[]);
        assert_eq!(code, 1, "{report}");
        println!("{:#}", report["findings"][0]);
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.iter().all(|f| ["issuer", "artefact", "rule", "what", "found", "wanted"].iter().all(|key| f[key].is_string())));
        report["rules"].as_object().unwrap().keys().cloned().collect()
    }
}

#[test]
fn c9_a_demo_is_clean_whatever_signatures_are_verified() {
    let demo = Demo::small();
    for (which, signatures) in [("all", 402), ("sample", 10), ("none", 0)] {
        let (report, code) = demo.verify(&["--signatures", which]);
        assert_eq!((code, &report["findings"], &report["rules"]), (0, &serde_json::json!([]), &serde_json::json!({})), "{report}");
        // The issuing CA's and, at the root, the issuing CA itself; for two CertID hashes each.
        assert_eq!((&report["certificates"], &report["responses"]), (&201.into(), &402.into()), "{report}");
        let verified = report["signatures"].as_u64().unwrap();
        assert!(if which == "sample" { (4..=signatures).contains(&verified) } else { verified == signatures }, "{report}");
        // Two full ones and eight partitions; a revoked certificate is on the full CRL and on its partition's.
        assert_eq!((&report["crls"], &report["entries"]), (&10.into(), &40.into()), "{report}");
    }
    let said = succeed(&mut with_config("verify", &demo.config(), &[]));
    assert!(said.contains("verified 402 responses") && said.contains("no rule is broken"), "{said}");
    assert!(fail(&mut with_config("verify", &demo.config(), &["--signatures", "some"])).contains("sample"));
}

#[test]
fn c9_a_revoked_certificate_that_is_set_good_is_found() {
    let demo = Demo::small();
    let revoked = "SELECT serial FROM certificate WHERE status = 1 LIMIT 1";
    demo.sql()
        .execute(&format!("UPDATE certificate SET status = 0, revoked_at = NULL, reason = NULL WHERE serial = ({revoked})"), [])
        .unwrap();
    assert_eq!(demo.broken(), ["C9"]);
    let output = run(&mut with_config("verify", &demo.config(), &[]));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["issuer 'issuing'", "OCSP sha1, serial", "full CRL", "CRL of partition", "C9", "broken: C9 × 4", "4 findings"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn c9_a_pack_that_is_replaced_by_an_older_one_is_found() {
    let demo = Demo::small();
    let connection = demo.sql();
    connection.execute_batch("CREATE TEMP TABLE old AS SELECT * FROM response_pack").unwrap();
    let serial = serial_of(&demo.directory.path().join("certificates/good.pem"));
    let arguments = ["--issuer", "issuing", "--reason", "superseded", "--serial", &serial];
    succeed(&mut with_config("revoke", &demo.config(), &arguments));
    succeed(&mut with_config("sign", &demo.config(), &["--once"]));
    assert_eq!(demo.verify(&[]).1, 0);
    connection.execute_batch("DELETE FROM response_pack; INSERT INTO response_pack SELECT * FROM old").unwrap();
    assert_eq!(demo.broken(), ["C9"]);
}

#[test]
fn c1_c10_a_crl_with_a_flipped_octet_is_found_wherever_it_is() {
    let demo = Demo::small();
    let connection = demo.sql();
    let (id, piece): (i64, Vec<u8>) = connection
        .query_row("SELECT rowid, der FROM crl_chunk ORDER BY length(der) DESC LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let keep = |octets: &[u8]| connection.execute("UPDATE crl_chunk SET der = ?2 WHERE rowid = ?1", params![id, octets]).unwrap();
    let found_when_flipped = |octets: &[u8], at: usize, rule: &str| {
        let mut flipped = octets.to_vec();
        flipped[at] ^= 1;
        keep(&flipped);
        let broken = demo.broken();
        assert!(broken.contains(&rule.to_owned()), "octet {at}: {broken:?}");
    };
    // Where it is kept in pieces: whatever is damaged, there is no CRL.
    [2, 60, piece.len() / 2, piece.len() - 1].into_iter().for_each(|at| found_when_flipped(&piece, at, "C10"));
    keep(&piece);
    assert_eq!(demo.verify(&[]).1, 0);
    // As an earlier version kept it, without a checksum: in a length, in the issuer's name, in an entry, in the signature.
    let (crl, octets): (i64, i64) = connection
        .query_row("SELECT crl.id, octets FROM crl JOIN crl_chunk ON crl = crl.id WHERE crl_chunk.rowid = ?1", [id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut restorer = Restorer::new(octets as usize);
    restorer.push(&piece).unwrap();
    let der = restorer.finish().unwrap();
    connection.execute("UPDATE crl SET layout = 0, checksum = NULL WHERE id = ?1", [crl]).unwrap();
    [(2, "C10"), (60, "C1"), (der.len() / 2, "C1"), (der.len() - 1, "C1")]
        .into_iter()
        .for_each(|(at, rule)| found_when_flipped(&der, at, rule));
    keep(&der);
    assert_eq!(demo.verify(&[]).1, 0);
}

#[test]
fn c2_a_crl_number_that_is_lowered_is_found() {
    let demo = Demo::small();
    demo.sql().execute("UPDATE crl SET number = number - 1 WHERE scope = 3", []).unwrap();
    assert_eq!(demo.broken(), ["C2"]);
}

#[test]
fn o16_a_cert_id_hash_without_responses_is_found() {
    let demo = Demo::small();
    demo.sql().execute("DELETE FROM response_pack WHERE cert_id_hash = 2", []).unwrap();
    assert_eq!(demo.broken(), ["O16"]);
}

/// An expired certificate, sequential serials, an RSA key on a token, a delegated responder that OpenSSL certified: and no token is needed to verify.
#[test]
fn c9_what_was_taken_over_from_openssl_ca_is_clean() {
    for kind in [RSA, P256] {
        let directory = tempfile::tempdir().unwrap();
        let ca = OpensslCa::create(&directory.path().join("ca"), kind);
        let kakunin = TakeOver::prepare(&directory.path().join("kakunin"), &[&ca]);
        kakunin.import(&ca, "index.txt");
        succeed(&mut kakunin.command("sign", &["--once"]));
        let said = succeed(&mut with_config("verify", &kakunin.config, &["--signatures", "all"]));
        assert!(said.contains("no rule is broken"), "{said}");
    }
}

#[test]
fn c9_it_may_run_beside_the_service_while_certificates_are_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::demo(directory.path(), &["--certificates", "3000", "--revoked", "10"]);
    let config = directory.path().join("kakunin.toml");
    let good: Vec<String> = list(&config, "issuing").into_iter().filter(|c| !c.is_revoked()).map(|c| c.serial).take(30).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for serial in &good {
                succeed(&mut with_config("revoke", &config, &["--issuer", "issuing", "--serial", serial, "--reason", "superseded"]));
            }
        });
        for _ in 0..3 {
            let said = succeed(&mut with_config("verify", &config, &["--signatures", "all"]));
            assert!(said.contains("no rule is broken"), "{said}");
        }
    });
    service.stop();
}
