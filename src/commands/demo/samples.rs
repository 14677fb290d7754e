//! The demo's two sample certificates, `good.pem` and `revoked.pem`, with their keys beside them.
//!
//! A sample's file exists only if the registry knows it: it is written under another name, registered, and then named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;

use super::files::Plan;
use crate::commands::durable_file;
use crate::commands::setup::read_certificate;
use crate::issuance::{EndEntityTemplate, Validity, batch};
use crate::pki::KeyAlgorithm;
use crate::pki::certificate::certificate_pem;
use crate::registry::{IssuerId, OnConflict, Registry};
use crate::token::software::SoftwareKey;

/// One sample certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    name: &'static str,
    /// Whether it is to be revoked.
    pub(super) revoked: bool,
}

impl Sample {
    /// Its file.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join("certificates").join(format!("{}.pem", self.name))
    }

    fn pending(self, dir: &Path) -> PathBuf {
        dir.join("certificates").join(format!("{}.unregistered", self.name))
    }

    fn key(self, dir: &Path) -> PathBuf {
        dir.join("keys").join(format!("{}.key.pem", self.name))
    }
}

/// The samples of a plan: a revoked one only where something is to be revoked.
pub(super) fn wanted(plan: &Plan) -> Vec<Sample> {
    let all = [Sample { name: "good", revoked: false }, Sample { name: "revoked", revoked: true }];
    all.into_iter().filter(|sample| !sample.revoked || plan.revoked > 0).collect()
}

/// Issues what is missing of the samples.
pub(super) fn ensure(
    dir: &Path,
    samples: &[Sample],
    templates: &[EndEntityTemplate],
    validity: Validity,
    registry: &dyn Registry,
    issuer: IssuerId,
) -> Result<()> {
    for sample in samples {
        let (path, pending) = (sample.path(dir), sample.pending(dir));
        if path.exists() {
            continue;
        }
        if !is_registered(&pending, registry, issuer)? {
            let key = ensure_key(&sample.key(dir))?;
            let host = format!("{}.demo.example", sample.name);
            let issued = batch::prepare(&templates[0], 0, &host, &key, validity, &SystemRandom::new())?;
            durable_file::write(&pending, certificate_pem(&issued.der).as_bytes())?;
            registry.add_certificates(issuer, &mut std::iter::once(Ok(issued.record)), OnConflict::Refuse, validity.not_before)?;
        }
        fs::rename(&pending, &path).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

fn is_registered(pending: &Path, registry: &dyn Registry, issuer: IssuerId) -> Result<bool> {
    if !pending.exists() {
        return Ok(false);
    }
    let serial = read_certificate(pending)?.serial;
    Ok(registry.certificate(issuer, &serial)?.is_some())
}

fn ensure_key(path: &Path) -> Result<SoftwareKey> {
    if !path.exists() {
        SoftwareKey::generate(KeyAlgorithm::EcdsaP256)?.create_file(path)?;
    }
    Ok(SoftwareKey::open(path, None)?)
}
