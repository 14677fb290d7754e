//! Certificates of a ceremony have a status when they are written (rule O16), and where it cannot be signed they are not.

use std::fs;
use std::path::Path;

use kakunin::pki::{CertificateInfo, Timestamp};
use kakunin::registry::Registry;
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::signing::coverage::uncovered;

use crate::common::{fail, list, succeed};
use crate::steps::{ROOT, begin, leaf, root};
use crate::{ceremony, kakunin};

/// Whether the status of a certificate is published.
fn has_status(here: &Path, file: &str) -> bool {
    let certificate = CertificateInfo::from_pem(&fs::read(here.join(file)).unwrap()).unwrap();
    let registry = SqliteRegistry::open_read_only(&here.join("registry.sqlite")).unwrap();
    let issuer = registry.issuers().unwrap().into_iter().find(|issuer| issuer.name == "old").unwrap();
    let ca = CertificateInfo::from_der(&issuer.certificate).unwrap();
    uncovered(&registry, &issuer, &ca, &[certificate.serial], Timestamp::now()).unwrap().is_empty()
}

#[test]
fn o16_a_certificate_of_a_ceremony_has_a_status_when_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old"]);
    succeed(&mut ceremony(here, "beginning", &(root("old", ROOT) + &leaf("old", "first"))));
    assert!(has_status(here, "first.pem"), "nobody has signed but the ceremony");
    let log = || succeed(&mut kakunin(here, &["order", "log", "--config", "kakunin.toml", "--json"]));
    assert!(log().contains("\"status\":\"published\""), "{}", log());

    // From now on a responder signs; its key is not on the token.
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    let with = |certificate: &str, label: &str| {
        let responder = format!("[issuer.responder]\ncertificate = \"{certificate}\"\nkey = {{ token = \"hsm\", label = \"{label}\" }}\n");
        fs::write(here.join("kakunin.toml"), format!("{config}{responder}")).unwrap();
    };
    with("first.pem", "nothing");
    let said = fail(&mut ceremony(here, "second", &leaf("old", "second")));
    assert!(said.contains("label 'nothing'") && said.contains("run it again"), "{said}");
    let count = || list(&here.join("kakunin.toml"), "old").len();
    assert_eq!((here.join("second.pem").exists(), count()), (false, 2), "registered, and not handed out");
    with("first.pem", "first");
    succeed(&mut kakunin(here, &["order", "run", "second.toml", "--config", "kakunin.toml"]));
    assert!(has_status(here, "second.pem") && count() == 2);

    // The first certificate of a responder: nobody can sign before it is there, and the log says so.
    with("third.pem", "third");
    succeed(&mut ceremony(here, "third", &leaf("old", "third")));
    assert!(!has_status(here, "third.pem") && log().contains("left to the service: "), "{}", log());
    succeed(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"]));
    assert!(has_status(here, "third.pem"));
}
