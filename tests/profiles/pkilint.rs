//! pkilint, the linter of the CA/Browser Forum's and the IETF's rules, on certificates of the TLS BR profiles.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use kakunin::issuance::profile::{Choices, Request};
use kakunin::issuance::{AlternativeName, Issuer};
use kakunin::pki::{KeyAlgorithm, Timestamp};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

use crate::common::{run, text, tool};
use crate::support::{info, links, profile, request, write};

/// One certificate of each BR profile, DER.
pub struct BaselineRequirements {
    pub root: Vec<u8>,
    pub ca: Vec<u8>,
    pub server: Vec<u8>,
    pub short_lived: Vec<u8>,
    pub responder: Vec<u8>,
}

impl BaselineRequirements {
    pub fn new(now: Timestamp) -> BaselineRequirements {
        let key = || Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let choices = Choices { links: links(), ..Choices::default() };
        let issue = |name: &str, issuer: &Issuer, subject: &str, key: &dyn SigningKey, names: &[AlternativeName<'_>]| {
            let profile = profile(name);
            let subject = profile.subject(subject).unwrap();
            let serial = profile.serial(&SystemRandom::new()).unwrap();
            let request = Request { alternative_names: names, serial, ..request(&profile, &subject, key.public_key(), now) };
            profile.certificate(issuer, &choices, &request).unwrap()
        };
        let root_key = key();
        let profile = profile("br-7.1.2.1-root");
        let subject = profile.subject("CN=Example Root,O=Example K.K.,C=JP").unwrap();
        let serial = profile.serial(&SystemRandom::new()).unwrap();
        let order = Request { serial, ..request(&profile, &subject, root_key.public_key(), now) };
        let root = profile.self_signed(&*root_key, &choices, &order).unwrap();
        let issuer = Issuer::new(info(&root), root_key).unwrap();
        let ca_key = key();
        let ca = issue("br-7.1.2.6-tls-sub-ca", &issuer, "CN=Example CA,O=Example K.K.,C=JP", &*ca_key, &[]);
        let issuer = Issuer::new(info(&ca), ca_key).unwrap();
        let names = [AlternativeName::Dns("www.example.com"), AlternativeName::Dns("example.com")];
        let server = issue("br-7.1.2.7-tls-server", &issuer, "", &*key(), &names);
        let short_lived = issue("br-7.1.2.7-tls-server-short-lived", &issuer, "", &*key(), &names);
        let responder = issue("br-7.1.2.8-ocsp-responder", &issuer, "CN=Example OCSP,O=Example K.K.,C=JP", &*key(), &[]);
        BaselineRequirements { root, ca, server, short_lived, responder }
    }
}

/// What it finds, warnings and worse.
fn lint(directory: &Path, kind: &str, der: &[u8]) -> String {
    let file = write(directory, "certificate.pem", &[der]);
    let output = run(tool("lint_cabf_serverauth_cert").args(["lint", "-t", kind, "-s", "WARNING", &file]));
    text(&output).trim().to_owned()
}

#[test]
fn s2_2_p1_p4_pkilint_finds_nothing_in_baseline_requirements_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let pki = BaselineRequirements::new(Timestamp::now());
    let certificates = [
        ("ROOT-CA", &pki.root),
        ("INTERNAL-UNCONSTRAINED-TLS-CA", &pki.ca),
        ("DV-FINAL-CERTIFICATE", &pki.server),
        ("OCSP-RESPONDER", &pki.responder),
    ];
    let found: Vec<_> = certificates.iter().map(|(kind, der)| (kind, lint(directory.path(), kind, der))).collect();
    assert!(found.iter().all(|(_, said)| said.is_empty()), "{found:#?}");
    // pkilint does not know RFC 9608: it names the extension, and holds Microsoft's programme against it, which wants revocation information everywhere.
    let said = lint(directory.path(), "DV-FINAL-CERTIFICATE", &pki.short_lived);
    let named = said.lines().filter(|line| line.starts_with(' ')).map(|line| line.trim().split(' ').next().unwrap());
    let known = ["msft.end_entity.revocation_information_absent", "cabf.serverauth.subscriber.unknown_extension_present"];
    assert_eq!(named.collect::<Vec<_>>(), known, "{said}");
    assert!(!lint(directory.path(), "OCSP-RESPONDER", &pki.server).is_empty(), "the linter looks");
}
