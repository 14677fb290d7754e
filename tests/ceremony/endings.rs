//! The end of a CA as one order, and what stands against destroying its key: a status that nobody could publish any more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kakunin::pack::{Pack, PackPlace};
use kakunin::pki::{CertificateInfo, CertificateStatus, IssuerHashes, SlotHash, SlotRange};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CrlHead, CrlScope, Registry};

use crate::common::{Service, fail, succeed, succeed_with_all, tool};
use crate::steps::{ROOT, begin, certify, leaf, links, root};
use crate::{ceremony, kakunin};

const CLOSE: &str = "[[step]]\ndo = \"close\"\nissuer = \"ca\"\n";

fn destroy(label: &str) -> String {
    format!("[[step]]\ndo = \"destroy-key\"\nkey = {{ token = \"hsm\", label = \"{label}\" }}\n")
}

/// Replaces something in the configuration that is there.
fn configure(here: &Path, from: &str, to: &str) {
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    assert!(config.contains(from), "{config}");
    fs::write(here.join("kakunin.toml"), config.replacen(from, to, 1)).unwrap();
}

/// A CA that has certified a leaf.
fn world(here: &Path, crl: &str) {
    begin(here, &["ca"]);
    configure(here, "label = \"ca\" }\n", &format!("label = \"ca\" }}\n[issuer.crl]\n{crl}"));
    configure(here, "[issuing]\n", "[responder]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[issuing]\n");
    succeed(&mut ceremony(here, "beginning", &(root("ca", ROOT) + &leaf("ca", "leaf"))));
}

/// What is published of the leaf by OCSP, under each CertID hash.
fn statuses(here: &Path) -> Vec<CertificateStatus> {
    let leaf = CertificateInfo::from_pem(&fs::read(here.join("leaf.pem")).unwrap()).unwrap();
    let registry = SqliteRegistry::open_read_only(&here.join("registry.sqlite")).unwrap();
    let issuer = registry.issuers().unwrap().remove(0);
    let ca = CertificateInfo::from_der(&issuer.certificate).unwrap();
    let hash = SlotHash::from(&leaf.serial);
    let range = SlotRange { bits: issuer.slot_bits, slot: hash.slot(issuer.slot_bits) };
    let status = |algorithm| {
        let place = PackPlace::new(&IssuerHashes::of(&ca, algorithm), range);
        let pack = Pack::from_blob(registry.pack(issuer.id, algorithm, range.slot).unwrap().unwrap().blob, place).unwrap();
        pack.lookup(hash, leaf.serial.as_der_content()).unwrap().status
    };
    issuer.publication.cert_id_hashes.iter().map(|algorithm| status(*algorithm)).collect()
}

fn are_revoked(here: &Path) -> bool {
    let statuses = statuses(here);
    statuses.len() == 2 && statuses.iter().all(|status| matches!(status, CertificateStatus::Revoked(_)))
}

/// The full CRL, and what OpenSSL reads in it.
fn crl(here: &Path) -> (CrlHead, String) {
    let registry = SqliteRegistry::open_read_only(&here.join("registry.sqlite")).unwrap();
    let issuer = registry.issuers().unwrap().remove(0);
    let crl = registry.latest_crl(issuer.id, CrlScope::Full).unwrap().unwrap();
    fs::write(here.join("ca.crl"), &crl.der).unwrap();
    (crl.head, succeed(tool("openssl").args(["crl", "-inform", "DER", "-noout", "-text", "-in", "ca.crl"]).current_dir(here)))
}

#[test]
fn s5_2_t4_t6_c9_one_order_ends_a_ca_and_everything_is_published_before_its_key_is_gone() {
    for is_served in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        world(here, "last_crl = true\n");
        let service = is_served.then(|| Service::serve(&mut kakunin(here, &["serve", "--config", "kakunin.toml"])));
        let end = format!(
            "[[step]]\ndo = \"run-off\"\nissuer = \"ca\"\n[[step]]\ndo = \"revoke-all\"\nissuer = \"ca\"\nreason = \"cessationOfOperation\"\n\
             {CLOSE}{}",
            destroy("ca")
        );
        let said = succeed(&mut ceremony(here, "end", &end));
        assert!(said.contains("4 steps are done"), "{said}");
        assert!(are_revoked(here), "T4: {:?}", statuses(here));
        let (head, text) = crl(here);
        let serial = succeed(tool("openssl").args(["x509", "-noout", "-serial", "-in", "leaf.pem"]).current_dir(here));
        let serial = serial.trim().split('=').nth(1).unwrap();
        assert!(text.contains("Next Update: Dec 31 23:59:59 9999 GMT") && text.contains(serial), "T6, C9: {text}");
        let Some(service) = service else { continue };
        // The service learns of the end from the registry, and has nothing more to sign.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(crl(here).0, head, "{}", service.process.stderr());
        let mut ask = tool("openssl");
        ask.args(["ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-CAfile", "ca.pem", "-no_nonce", "-url", &service.ocsp]);
        let answer = succeed_with_all(ask.current_dir(here));
        assert!(answer.contains("Response verify OK") && answer.contains("leaf.pem: revoked"), "{answer}");
        service.stop();
    }
}

#[test]
fn s5_2_the_key_of_a_ca_that_has_ended_signs_no_certificate_under_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    world(here, "");
    let again = |file: &str| {
        let step = root("ca", ROOT).split_once("[[step]]\ndo = \"self-signed\"").unwrap().1.replace("ca.pem", file);
        format!("[[step]]\ndo = \"self-signed\"{step}")
    };
    // The same key under another certificate, which no registry knows.
    succeed(&mut ceremony(here, "other", &again("old.pem")));
    let end = format!("[[step]]\ndo = \"revoke-all\"\nissuer = \"ca\"\nreason = \"superseded\"\n{CLOSE}");
    succeed(&mut ceremony(here, "end", &end));
    let ended = "the key is that of issuer 'ca', which is in mode Closed";
    let refused = fail(&mut ceremony(here, "again", &again("again.pem")));
    assert!(refused.contains(ended), "{refused}");
    succeed(&mut ceremony(here, "next", &root("new", ROOT)));
    let refused = fail(&mut ceremony(here, "links", &links(&["old", "new"]).replace("label = \"old\"", "label = \"ca\"")));
    assert!(refused.contains(ended) && !here.join("new-with-old.pem").exists(), "{refused}");
    assert!(!here.join("again.pem").exists());
}

#[test]
fn o16_the_first_certificate_of_a_ca_is_its_responders_whose_key_stays_until_the_ca_ends() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["ca"]);
    let responder =
        "label = \"ca\" }\n[issuer.responder]\ncertificate = \"responder.pem\"\nkey = { token = \"hsm\", label = \"responder\" }\n";
    configure(here, "label = \"ca\" }\n", responder);
    succeed(&mut ceremony(here, "root", &root("ca", ROOT)));
    let sub_ca = certify("ca", "br-7.1.2.6-tls-sub-ca", "CN=Sub CA,O=JPKI,C=JP", "sub");
    let refused = fail(&mut ceremony(here, "early", &sub_ca));
    assert!(refused.contains("issuer 'ca', responder: found no") && refused.contains("wanted its certificate first (O16)"), "{refused}");
    assert!(!here.join("sub.pem").exists());
    succeed(&mut ceremony(here, "responder", &leaf("ca", "responder")));
    succeed(&mut kakunin(here, &["order", "run", "early.toml", "--config", "kakunin.toml"]));
    assert!(here.join("sub.pem").exists());
    let refused = fail(&mut ceremony(here, "destroy", &destroy("responder")));
    assert!(refused.contains("issuer 'ca', responder: the key is its own"), "{refused}");
}

#[test]
fn s5_2_t4_t6_where_a_service_has_the_keys_the_end_of_a_ca_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    world(here, "last_crl = true\n");
    fs::copy(here.join("kakunin.toml"), here.join("service.toml")).unwrap();
    configure(here, "key = { token = \"hsm\", label = \"ca\" }\n", "");
    let service = Service::serve(&mut kakunin(here, &["serve", "--config", "service.toml"]));
    let revoke = "[[step]]\ndo = \"revoke-all\"\nissuer = \"ca\"\nreason = \"cessationOfOperation\"\n";
    succeed(&mut ceremony(here, "end", &format!("{revoke}{CLOSE}")));
    assert!(are_revoked(here) && crl(here).1.contains("Next Update: Dec 31 23:59:59 9999 GMT"));
    service.stop();
}

#[test]
fn s5_2_c9_t6_the_key_of_a_ca_is_not_destroyed_while_something_is_left_to_publish() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    world(here, "last_crl = false\n");
    let refused = fail(&mut ceremony(here, "early", &destroy("ca")));
    assert!(refused.contains("issuer 'ca'") && refused.contains("found mode Open, wanted Closed"), "{refused}");
    // The key of nobody who is configured.
    succeed(&mut ceremony(here, "leaf", &destroy("leaf")));
    // Nor is the CA ended, by whatever says so.
    let all = ["revoke", "--config", "kakunin.toml", "--issuer", "ca", "--all", "--confirm", "ca", "--reason", "cessationOfOperation"];
    succeed(&mut kakunin(here, &all));
    configure(here, "name = \"ca\"\n", "name = \"ca\"\nmode = \"closed\"\n");
    let refused = [fail(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"])), fail(&mut ceremony(here, "closed", CLOSE))];
    for refused in refused {
        let named = refused.contains("the OCSP status (") && refused.contains("1 revocations on the CRL (");
        assert!(named && refused.contains("wanted 'run-off' until everything of it is published"), "{refused}");
    }
    assert!(!are_revoked(here));
    configure(here, "mode = \"closed\"\n", "mode = \"run-off\"\n");
    succeed(&mut ceremony(here, "close", CLOSE));
    assert!(are_revoked(here) && !crl(here).1.contains("9999"));
    configure(here, "last_crl = false\n", "last_crl = true\n");
    let refused = fail(&mut ceremony(here, "no-last", &destroy("ca")));
    assert!(refused.contains("issuer 'ca'") && refused.contains("the last CRL (") && refused.contains("found one until"), "{refused}");
    // A step that was interrupted when the CA was closed signs the last CRL when it is run again.
    succeed(&mut ceremony(here, "close-again", CLOSE));
    assert!(crl(here).1.contains("Next Update: Dec 31 23:59:59 9999 GMT"));
    succeed(&mut ceremony(here, "destroy", &destroy("ca")));
    // What goes on needs no key.
    let said = succeed(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"]));
    assert!(said.contains("signed 0 responses: 0 packs and 0 CRLs published"), "{said}");
}
