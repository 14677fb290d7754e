//! A CA that has a new key: certificates of the old one and of the new one are side by side, and both have OCSP and CRLs under the CA's one name.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use common::http::fetch;
use common::ocsp::{Asker, HASHES, serial_of};
use common::peers::{Authority, Expected};
use common::{PATIENCE, Service, run, succeed, text, tool, until, with_config};
use kakunin::issuance::{
    CaOptions, EndEntityOptions, EndEntityOrder, EndEntityTemplate, Issuer, Links, Order, RootOrder, Validity, issuing_ca, random_serial,
    self_signed_root,
};
use kakunin::pki::certificate::certificate_pem;
use kakunin::pki::{CertificateInfo, KeyAlgorithm, Serial, Timestamp};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;
use tempfile::TempDir;

const YEAR: Duration = Duration::from_secs(31_556_952);
/// The configuration has both keys, each as an issuer, and the old one in run-off.
const CONFIG: &str = r#"
base_url = "http://pki.example"
[registry]
sqlite = "registry.sqlite"
[responder]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[[issuer]]
name = "ca-1"
mode = "run-off"
certificate = "ca-1.pem"
key = { file = "ca-1.key.pem" }
[[issuer]]
name = "ca-2"
certificate = "ca-2.pem"
key = { file = "ca-2.key.pem" }
"#;

fn serial() -> Serial {
    random_serial(&SystemRandom::new()).unwrap()
}

/// One root, and below it one CA with two keys, each of which has issued two certificates.
struct Rollover(TempDir);

impl Rollover {
    fn new() -> Rollover {
        let rollover = Rollover(tempfile::tempdir().unwrap());
        let now = Timestamp::now();
        let validity = |years: u32| Validity { not_before: now, not_after: now.saturating_add(YEAR * years) };
        let root_key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP384).unwrap());
        let order = RootOrder { subject: "CN=Root,O=Example,C=JP", serial: serial(), validity: validity(20), signs_ocsp: false };
        let root = rollover.write("root.pem", &self_signed_root(&order, &*root_key).unwrap());
        let root = Issuer::new(root, root_key).unwrap();
        for (name, years) in [("ca-1", 5), ("ca-2", 10)] {
            let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
            key.create_file(&rollover.path(&format!("{name}.key.pem"))).unwrap();
            // The same name, to the octet.
            let order =
                Order { subject: "CN=Issuing CA,O=Example,C=JP", spki: key.public_key(), serial: serial(), validity: validity(years) };
            let options = CaOptions { signs_ocsp: true, ..Default::default() };
            let ca = rollover.write(&format!("{name}.pem"), &issuing_ca(&root, &order, &options).unwrap());
            rollover.issue(name, &Issuer::new(ca, key).unwrap(), validity(1));
        }
        fs::write(rollover.path("kakunin.toml"), CONFIG).unwrap();
        rollover
    }

    fn issue(&self, name: &str, ca: &Issuer, validity: Validity) {
        let crl = format!("http://pki.example/crl/{name}.crl");
        let links = Links { ocsp: Some("http://pki.example/ocsp"), crl: Some(&crl), ..Default::default() };
        let template = EndEntityTemplate::new(ca, &EndEntityOptions { links, client_auth: false }).unwrap();
        let mut index = String::new();
        for host in ["good", "revoked"] {
            let (dns, key) = (format!("{host}.{name}.example"), SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
            let order = EndEntityOrder { dns_names: &[&dns], spki: key.public_key(), serial: serial(), validity };
            self.write(&format!("{name}-{host}.pem"), &template.issue(&order).unwrap());
            let end = String::from_utf8(validity.not_after.generalized().to_vec()).unwrap();
            index += &format!("V\t{end}\t\t{}\tunknown\t/CN={dns}\n", order.serial);
        }
        fs::write(self.path(&format!("{name}.index")), index).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    fn write(&self, name: &str, der: &[u8]) -> CertificateInfo {
        fs::write(self.path(name), certificate_pem(der)).unwrap();
        CertificateInfo::from_der(der).unwrap()
    }

    fn authority(&self, name: &str, service: &Service) -> Authority {
        let (issuer, chain) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-chain.pem")));
        fs::write(&chain, [fs::read(&issuer).unwrap(), fs::read(self.path("root.pem")).unwrap()].concat()).unwrap();
        Authority { issuer, chain, url: service.ocsp.clone(), scratch: self.0.path().to_owned() }
    }

    /// `openssl verify` with both CA certificates and the CRLs of both keys at hand, as a relying party has them.
    fn verifies(&self, certificate: &Path) -> bool {
        let mut command = tool("openssl");
        command.args(["verify", "-x509_strict", "-crl_check", "-CAfile"]).arg(self.path("root.pem"));
        for name in ["ca-1", "ca-2"] {
            command.arg("-untrusted").arg(self.path(&format!("{name}.pem")));
            command.arg("-CRLfile").arg(self.path(&format!("{name}.crl.pem")));
        }
        let output = run(command.arg(certificate));
        let said = text(&output);
        assert!(output.status.success() || said.contains("certificate revoked"), "{said}");
        output.status.success()
    }
}

#[test]
fn s4_7_o2_c1_the_old_key_and_the_new_one_both_serve_ocsp_and_crls() {
    let rollover = Rollover::new();
    let config = rollover.config();
    for name in ["ca-1", "ca-2"] {
        let index = rollover.path(&format!("{name}.index"));
        succeed(&mut with_config("import", &config, &["--issuer", name, "--openssl-index", index.to_str().unwrap()]));
    }
    let service = Service::serve(&mut with_config("serve", &config, &[]));
    for name in ["ca-1", "ca-2"] {
        let serial = serial_of(&rollover.path(&format!("{name}-revoked.pem")));
        succeed(&mut with_config("revoke", &config, &["--issuer", name, "--serial", &serial, "--reason", "superseded"]));
    }
    for name in ["ca-1", "ca-2"] {
        let (authority, asker) = (rollover.authority(name, &service), Asker::new(&rollover.path(&format!("{name}.pem"))));
        let [good, revoked] = ["good", "revoked"].map(|host| rollover.path(&format!("{name}-{host}.pem")));
        let serial = serial_of(&revoked);
        for hash in HASHES {
            until(PATIENCE, "the revocation", || asker.ask(&service.ocsp, &serial, hash).is_revoked().then_some(()));
            authority.openssl_agrees(&good, hash, false, Expected::Good);
            authority.openssl_agrees(&revoked, hash, false, Expected::Revoked("superseded"));
        }
        authority.ocsptool_agrees(&good, Expected::Good);
        let path = format!("/crl/{name}.crl");
        let crl =
            until(PATIENCE, "the CRL", || Some(fetch(&service.ocsp, &path)).filter(|crl| authority.crl_text(crl).contains("Superseded")));
        assert!(authority.verifies_with_crl(&good, &crl) && !authority.verifies_with_crl(&revoked, &crl));
        fs::copy(authority.crl_pem(&crl), rollover.path(&format!("{name}.crl.pem"))).unwrap();
    }
    for name in ["ca-1", "ca-2"] {
        assert!(rollover.verifies(&rollover.path(&format!("{name}-good.pem"))), "{name}");
        assert!(!rollover.verifies(&rollover.path(&format!("{name}-revoked.pem"))), "{name}");
    }
    let verified = succeed(&mut with_config("verify", &config, &[]));
    assert!(!verified.contains("finding"), "{verified}");
    service.stop();
}
