//! The certificate of an OCSP responder comes to its end: it is renewed where the CA's key is at hand, and picked up from its file where somebody else does it.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::ocsp::{Asker, Hash, hex, serial_of};
use common::peers::Expected;
use common::{PATIENCE, Service, World, fail, succeed, until, with_config};
use der::Encode;
use kakunin::issuance::{Issuer, Order, Validity, random_serial, responder_certificate};
use kakunin::pki::{CertificateInfo, KeyAlgorithm, Timestamp, certificate::certificate_pem};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;
use x509_cert::Certificate;

const DAY: Duration = Duration::from_secs(86_400);

fn read(path: &Path) -> CertificateInfo {
    CertificateInfo::from_pem(&fs::read(path).unwrap()).unwrap()
}

/// A responder certificate for the key of the demo's responder, or another one.
fn responder_for(world: &World, key: &dyn SigningKey, lifetime: Duration) -> String {
    let ca_key = Arc::new(SoftwareKey::open(&world.path("keys/issuing.key.pem"), None).unwrap());
    let issuer = Issuer::new(read(&world.path("issuing.pem")), ca_key).unwrap();
    let now = Timestamp::now();
    let order = Order {
        subject: "CN=Kakunin Demo OCSP Responder,O=Kakunin Demo,C=JP",
        spki: key.public_key(),
        serial: random_serial(&aws_lc_rs::rand::SystemRandom::new()).unwrap(),
        validity: Validity { not_before: now, not_after: now.saturating_add(lifetime) },
    };
    certificate_pem(&responder_certificate(&issuer, &order).unwrap())
}

fn responder(world: &World, lifetime: Duration) -> String {
    responder_for(world, &SoftwareKey::open(&world.path("keys/issuing-ocsp.key.pem"), None).unwrap(), lifetime)
}

/// Puts a file in the place of another at once, as any careful operator does.
fn replace(path: &Path, content: &str) {
    let pending = path.with_extension("new");
    fs::write(&pending, content).unwrap();
    fs::rename(pending, path).unwrap();
}

fn file(world: &World) -> PathBuf {
    world.path("issuing-ocsp.pem")
}

/// Revokes a certificate, and returns the one that signs what is then said of it.
fn signer_of_a_new_response(world: &World, config: &Path, service: &Service, certificate: &Path) -> Certificate {
    let serial = serial_of(certificate);
    succeed(&mut with_config("revoke", config, &["--issuer", "issuing", "--serial", &serial, "--reason", "superseded"]));
    let asker = world.asker();
    let answer =
        until(PATIENCE, "the revocation", || Some(asker.ask(&service.ocsp, &serial, Hash::Sha1)).filter(|answer| answer.is_revoked()));
    let [certificate] = &answer.basic.as_ref().unwrap().certs.as_ref().unwrap()[..] else { panic!("O7: one certificate") };
    certificate.clone()
}

fn end_in_use(service: &Service) -> u64 {
    service.metric("kakunin_signing_responder_not_after_seconds{issuer=\"issuing\"}")
}

#[test]
fn t3_p1_p3_a_responder_certificate_is_renewed_before_its_end() {
    let world = World::new("100");
    // It lives for 45 seconds, a third of which must pass before it is renewed.
    replace(&file(&world), &responder(&world, Duration::from_secs(45)));
    let old = read(&file(&world));
    let config = world.config("renewing.toml", "", "");
    let service = world.serve(&config, &[]);
    assert_eq!(end_in_use(&service), old.not_after.unix());
    let new = until(PATIENCE, "renewal", || Some(read(&file(&world))).filter(|found| *found != old));
    until(PATIENCE, "its use", || (end_in_use(&service) == new.not_after.unix()).then_some(()));

    assert!(Timestamp::now() < old.not_after && new.not_after > old.not_after);
    assert_eq!((&new.subject, &new.spki, &new.issuer), (&old.subject, &old.spki, &old.issuer));
    assert_ne!(new.serial, old.serial);
    let authority = world.authority(&service);
    authority.responder_is_clean(&new.der);
    assert_eq!(signer_of_a_new_response(&world, &config, &service, &world.good()).to_der().unwrap(), new.der);
    authority.openssl_agrees(&world.good(), Hash::Sha256, false, Expected::Revoked("superseded"));
    // Its own status is known, and so it could be revoked.
    let serial = new.serial.to_string();
    let ask = || Some(world.asker().ask(&service.ocsp, &serial, Hash::Sha1)).filter(|answer| answer.basic.is_some());
    assert!(until(PATIENCE, "its own response", ask).is_good());
    service.stop();

    let service = world.serve(&config, &[]);
    assert!(read(&file(&world)).not_after.unix() <= end_in_use(&service), "what was renewed is what is used after a start");
    service.stop();
}

#[test]
fn o7_p1_a_new_certificate_is_picked_up_from_its_file_and_a_wrong_one_is_not() {
    let world = World::new("100");
    // No CA key: whoever has it renews the certificate elsewhere.
    let text = fs::read_to_string(world.path("kakunin.toml")).unwrap();
    fs::write(world.path("kakunin.toml"), text.replace("key = { file = \"keys/issuing.key.pem\" }\n", "")).unwrap();
    let config = world.config("elsewhere.toml", "", "");
    let service = world.serve(&config, &[]);
    let first = read(&file(&world));
    assert_eq!(end_in_use(&service), first.not_after.unix());

    let stranger = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let wrong = [
        ("no certificate", "no '-----BEGIN CERTIFICATE-----' block found".to_owned()),
        (&responder_for(&world, &stranger, DAY), "issuing-ocsp.pem".to_owned()),
        (&fs::read_to_string(world.path("issuing.pem")).unwrap(), "issuing-ocsp.pem".to_owned()),
    ];
    for (content, said) in &wrong {
        let before = service.stderr().matches("the one in use stays").count();
        replace(&file(&world), content);
        until(PATIENCE, "the complaint", || (service.stderr().matches("the one in use stays").count() > before).then_some(()));
        let complaint = service.stderr().lines().rfind(|line| line.contains("the one in use stays")).unwrap().to_owned();
        assert!(complaint.contains(said.as_str()), "{complaint}");
        assert_eq!(end_in_use(&service), first.not_after.unix());
    }
    let asker: Asker = world.asker();
    assert!(asker.ask(&service.ocsp, &serial_of(&world.good()), Hash::Sha1).is_good());

    replace(&file(&world), &responder(&world, DAY * 500));
    let second = read(&file(&world));
    until(PATIENCE, "its use", || (end_in_use(&service) == second.not_after.unix()).then_some(()));
    let signer = signer_of_a_new_response(&world, &config, &service, &world.good());
    assert_eq!(hex(&signer.tbs_certificate.serial_number), second.serial.to_string());
    // What was signed with the first one is as true as before.
    world.authority(&service).openssl_agrees(&world.revoked(), Hash::Sha1, false, Expected::Revoked("keyCompromise"));
    service.stop();

    let long_ago = "renew_before = \"1d\"\n";
    let text = fs::read_to_string(&config).unwrap().replace("[issuer.responder]\n", &format!("[issuer.responder]\n{long_ago}"));
    fs::write(&config, text).unwrap();
    let said = fail(&mut with_config("check", &config, &[]));
    assert!(said.contains("responder.renew_before") && said.contains("at least ocsp.validity"), "{said}");
}
