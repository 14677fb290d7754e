//! Issued certificates as others see them: `openssl verify -x509_strict` for the whole chain, pkilint for the OCSP responder's certificate.
//! Needs `openssl` and `lint_cabf_serverauth_cert` (pip install pkilint); without them the tests fail.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use kakunin::issuance::{
    CaOptions, EndEntityOptions, EndEntityOrder, EndEntityTemplate, Issuer, Links, Order, RootOrder, Validity, issuing_ca, random_serial,
    responder_certificate, self_signed_root,
};
use kakunin::pki::certificate::certificate_pem;
use kakunin::pki::{CertificateInfo, KeyAlgorithm, Serial, Timestamp};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

const DAY: u64 = 86_400;

/// A hierarchy in files: root.pem, issuing.pem, responder.pem, end-entity.pem.
struct Hierarchy {
    directory: tempfile::TempDir,
}

impl Hierarchy {
    fn new(ca: KeyAlgorithm, subject: KeyAlgorithm) -> Hierarchy {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let days = |days: u64| Validity { not_before: now, not_after: now.saturating_add(Duration::from_secs(days * DAY - 1)) };
        let key = |algorithm| Arc::new(SoftwareKey::generate(algorithm).unwrap());
        let write = |name: &str, der: &[u8]| std::fs::write(directory.path().join(name), certificate_pem(der)).unwrap();
        let info = |der: &[u8]| CertificateInfo::from_der(der).unwrap();

        let (root_key, ca_key, subject_key) = (key(ca), key(ca), key(subject));
        let order =
            RootOrder { subject: "CN=Kakunin Test Root,O=Example K.K.,C=JP", serial: serial(), validity: days(9000), signs_ocsp: false };
        let root = self_signed_root(&order, &*root_key).unwrap();
        write("root.pem", &root);
        let root = Issuer::new(info(&root), root_key).unwrap();

        let links = Links {
            ocsp: Some("http://ocsp.example.com/"),
            ca_issuers: Some("http://ca.example.com/root.cer"),
            crl: Some("http://crl.example.com/root.crl"),
        };
        let order = Order {
            subject: "CN=Kakunin Test CA 1,O=Example K.K.,C=JP",
            spki: ca_key.public_key(),
            serial: serial(),
            validity: days(3000),
        };
        let issuing = issuing_ca(&root, &order, &CaOptions { links, signs_ocsp: false }).unwrap();
        write("issuing.pem", &issuing);
        let issuing = Issuer::new(info(&issuing), ca_key).unwrap();

        let order = Order {
            subject: "CN=Kakunin Test OCSP 1,O=Example K.K.,C=JP",
            spki: subject_key.public_key(),
            serial: serial(),
            validity: days(90),
        };
        write("responder.pem", &responder_certificate(&issuing, &order).unwrap());

        let links = Links {
            ocsp: Some("http://ocsp.example.com/"),
            ca_issuers: Some("http://ca.example.com/1.cer"),
            crl: Some("http://crl.example.com/1/17.crl"),
        };
        let template = EndEntityTemplate::new(&issuing, &EndEntityOptions { links, client_auth: false }).unwrap();
        let order = EndEntityOrder {
            dns_names: &["www.example.com", "example.com"],
            spki: subject_key.public_key(),
            serial: serial(),
            validity: days(90),
        };
        write("end-entity.pem", &template.issue(&order).unwrap());
        Hierarchy { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn verify(&self, name: &str, options: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-check_ss_sig", "-CAfile"]).arg(self.file("root.pem"));
        command.arg("-untrusted").arg(self.file("issuing.pem")).args(options).arg(self.file(name));
        let output = run(&mut command);
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
}

fn serial() -> Serial {
    random_serial(&SystemRandom::new()).unwrap()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; these tests need openssl and pkilint (pip install pkilint)"))
}

/// Findings of pkilint, warnings and worse, on a certificate that claims to be an OCSP responder's.
fn lint_responder(certificate: &Path) -> Output {
    run(Command::new("lint_cabf_serverauth_cert").args(["lint", "-t", "OCSP-RESPONDER", "-s", "WARNING"]).arg(certificate))
}

#[test]
fn openssl_verifies_every_chain_strictly() {
    use KeyAlgorithm as K;
    let pairs = [
        (K::Rsa2048, K::EcdsaP256),
        (K::Rsa4096, K::Rsa2048),
        (K::EcdsaP256, K::EcdsaP256),
        (K::EcdsaP384, K::Rsa3072),
        (K::Ed25519, K::Ed25519),
    ];
    for (ca, subject) in pairs {
        let hierarchy = Hierarchy::new(ca, subject);
        hierarchy.verify("root.pem", &[]);
        hierarchy.verify("issuing.pem", &["-purpose", "crlsign"]);
        hierarchy.verify("responder.pem", &["-purpose", "ocsphelper"]);
        hierarchy.verify("end-entity.pem", &["-purpose", "sslserver", "-verify_hostname", "www.example.com"]);
    }
}

#[test]
fn p1_s3_3_pkilint_finds_nothing_wrong_with_the_responder_certificate() {
    for (ca, subject) in [(KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP256), (KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa2048)] {
        let hierarchy = Hierarchy::new(ca, subject);
        let clean = lint_responder(&hierarchy.file("responder.pem"));
        assert!(clean.status.success() && clean.stdout.trim_ascii().is_empty(), "{clean:?}");
        let control = lint_responder(&hierarchy.file("end-entity.pem"));
        assert!(String::from_utf8_lossy(&control.stdout).contains("ocsp_nocheck_extension_absent"), "the linter looks: {control:?}");
    }
}
