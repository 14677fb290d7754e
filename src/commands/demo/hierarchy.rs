//! The demo's keys and CA certificates: a root, an issuing CA, and the issuing CA's OCSP responder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;

use super::files::Plan;
use crate::commands::durable_file;
use crate::commands::setup::read_certificate;
use crate::issuance::{
    CaOptions, Issuer, Links, Order, RootOrder, Validity, issuing_ca, random_serial, responder_certificate, self_signed_root,
};
use crate::pki::{CertificateInfo, Timestamp};
use crate::signing::ocsp_url;
use crate::token::Key;
use crate::token::software::SoftwareKey;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Makes what is missing of the hierarchy.
pub(super) fn ensure(dir: &Path, plan: &Plan, now: Timestamp) -> Result<()> {
    let random = SystemRandom::new();
    let base = plan.base_url();
    let key = |name: &str| ensure_key(dir, plan, name);
    let validity = |years: u32| validity(now, years);

    let root_key = key("root")?;
    let root = ensure_certificate(&dir.join("root.pem"), || {
        let order = RootOrder {
            subject: "CN=Kakunin Demo Root CA,O=Kakunin Demo,C=JP",
            serial: random_serial(&random)?,
            validity: validity(20),
            signs_ocsp: true,
        };
        Ok(self_signed_root(&order, root_key.as_ref())?)
    })?;
    let root = Issuer::new(root, root_key)?;

    let issuing_key = key("issuing")?;
    let issuing = ensure_certificate(&dir.join("issuing.pem"), || {
        let (ocsp, ca_issuers, crl) = (ocsp_url(&base, "root"), format!("{base}/ca/root.cer"), format!("{base}/crl/root.crl"));
        let links = Links { ocsp: Some(&ocsp), ca_issuers: Some(&ca_issuers), crl: Some(&crl) };
        let order = Order {
            subject: "CN=Kakunin Demo Issuing CA,O=Kakunin Demo,C=JP",
            spki: issuing_key.public_key(),
            serial: random_serial(&random)?,
            validity: validity(10),
        };
        Ok(issuing_ca(&root, &order, &CaOptions { links, signs_ocsp: false })?)
    })?;
    let chain = format!("{}{}", issuing.to_pem(), root.certificate().to_pem());
    let issuing = Issuer::new(issuing, issuing_key)?;

    let responder_key = key("issuing-ocsp")?;
    ensure_certificate(&dir.join("issuing-ocsp.pem"), || {
        let order = Order {
            subject: "CN=Kakunin Demo OCSP Responder,O=Kakunin Demo,C=JP",
            spki: responder_key.public_key(),
            serial: random_serial(&random)?,
            validity: validity(1),
        };
        Ok(responder_certificate(&issuing, &order)?)
    })?;
    let path = dir.join("chain.pem");
    if path.exists() { Ok(()) } else { durable_file::write(&path, chain.as_bytes()) }
}

/// A CA of the demo, to issue with.
pub(super) fn open_issuer(dir: &Path, name: &str) -> Result<Issuer> {
    let key = SoftwareKey::open(&key_path(dir, name), None)?;
    Ok(Issuer::new(read_certificate(&dir.join(format!("{name}.pem")))?, Arc::new(key))?)
}

fn validity(now: Timestamp, years: u32) -> Validity {
    Validity { not_before: now, not_after: now.saturating_add(YEAR * years - Duration::from_secs(1)) }
}

fn key_path(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("keys").join(format!("{name}.key.pem"))
}

fn ensure_key(dir: &Path, plan: &Plan, name: &str) -> Result<Key> {
    let path = key_path(dir, name);
    if !path.exists() {
        SoftwareKey::generate(plan.key_algorithm()?)?.create_file(&path)?;
    }
    Ok(Arc::new(SoftwareKey::open(&path, None)?))
}

fn ensure_certificate(path: &Path, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<CertificateInfo> {
    if !path.exists() {
        let der = make().with_context(|| format!("{}", path.display()))?;
        durable_file::write(path, crate::pki::certificate::certificate_pem(&der).as_bytes())?;
    }
    read_certificate(path)
}
