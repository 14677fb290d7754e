//! The end of a CA: everything is published before it is closed, the last CRLs are before that is called done, and its key is not destroyed before either (rules T4,
//! T5, T6, C9; S5.2).

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tracing::info;

use super::super::release::{LOOK, PATIENCE};
use super::super::run::Job;
use super::OneStep;
use crate::commands::output::{progress, watch};
use crate::commands::setup::{self, KeyRing};
use crate::config::IssuerConfig;
use crate::pki::{CertificateInfo, Timestamp};
use crate::registry::work::WorkRegistry;
use crate::registry::{Issuer, IssuerMode, Registry};
use crate::signing::Worker;
use crate::signing::ending::{Wanted, unpublished};
use crate::signing::metrics::SigningMetrics;

impl OneStep<'_, '_> {
    /// A CA ends when its last certificate has expired or is revoked (S5.2).
    pub(super) fn close(&self, name: &str) -> Result<Value> {
        let issuer = self.registered(name)?;
        let config = self.job.config.issuer(name).with_context(|| format!("no [[issuer]] named '{name}' in the configuration"))?;
        let mut ending = Ending::open(self.job, config)?;
        if issuer.mode == IssuerMode::Closed {
            // Nobody begins to sign OCSP responses any more for one that was closed before: there is nothing to wait for.
            ending.sign()?;
            ending.refuse_lacking(false)?;
        } else {
            ending.publish(false)?;
        }
        match self.job.registry.close(issuer.id, Timestamp::now())? {
            0 => {}
            live => bail!(
                "issuer '{name}': found {live} certificates that are neither revoked nor expired, wanted none: it ends with the last of them (S5.2)"
            ),
        }
        ending.publish(config.crl.last_crl)?;
        Ok(json!({ "mode": IssuerMode::Closed }))
    }

    /// A CA of the configuration needs its key until it is closed and everything of it is published, and its responder's until it is closed. Keys of nobody there may
    /// be destroyed at any time.
    pub(super) fn refuse_needed(&self, public_key: &[u8]) -> Result<()> {
        let issuers = self.job.registry.issuers()?;
        for config in &self.job.config.issuers {
            let registered = issuers.iter().find(|issuer| issuer.name == config.name);
            let certificate = match registered {
                Some(issuer) => CertificateInfo::from_der(&issuer.certificate)?,
                None if config.certificate.exists() => setup::read_certificate(&config.certificate)?,
                None => continue,
            };
            let (name, is_closed) = (&config.name, registered.is_some_and(|issuer| issuer.mode == IssuerMode::Closed));
            let responder = config.responder.as_ref().map(|responder| &responder.certificate).filter(|file| file.exists());
            if !is_closed && responder.map(|file| setup::read_certificate(file)).transpose()?.is_some_and(|found| found.spki == public_key)
            {
                bail!(
                    "issuer '{name}', responder: the key is its own: wanted another one there, or the issuer closed: until then it has to sign (S5.2)"
                );
            }
            if certificate.spki != public_key {
                continue;
            }
            match registered {
                None => bail!("issuer '{name}': the key is its own: found that it is not registered, wanted one that is closed (S5.2)"),
                Some(issuer) if issuer.mode != IssuerMode::Closed => {
                    bail!(
                        "issuer '{name}': the key is its own: found mode {:?}, wanted Closed: until then it has to sign (S5.2)",
                        issuer.mode
                    )
                }
                Some(issuer) => {
                    let lacking = lacking(self.job, config, issuer, &certificate, config.crl.last_crl)?;
                    refuse(name, "the key is its own, and without it nobody can publish what is not published yet", &lacking)?;
                }
            }
        }
        Ok(())
    }
}

/// A CA whose end is being published.
struct Ending<'a> {
    job: &'a Job<'a>,
    config: &'a IssuerConfig,
    certificate: CertificateInfo,
    /// `None`: it is closed, and nothing is signed for it any more.
    worker: Option<Worker>,
    metrics: SigningMetrics,
}

impl<'a> Ending<'a> {
    fn open(job: &'a Job<'a>, config: &'a IssuerConfig) -> Result<Ending<'a>> {
        let opened = setup::open_issuer(&mut KeyRing::new(job.config), job.config, config, job.registry.as_ref());
        let mut signing = opened.with_context(|| format!("issuer '{}'", config.name))?;
        // No CRL is so great that it waits for further revocations: there are none to come.
        signing.iter_mut().for_each(|signing| signing.crl_policy.at_once_below = u64::MAX);
        let metrics = SigningMetrics::default();
        let worker = |signing| Worker::new(job.registry.clone(), vec![signing], job.config.signing.threads, metrics.clone());
        let worker = signing.map(worker).transpose()?;
        Ok(Ending { job, config, certificate: setup::read_certificate(&config.certificate)?, worker, metrics })
    }

    /// Has everything published, where `last_crls` the last CRL of each scope too: with the keys that are here, and otherwise by a service that runs.
    fn publish(&mut self, last_crls: bool) -> Result<()> {
        let (start, mut told) = (Instant::now(), Vec::new());
        loop {
            self.sign()?;
            let looked = Instant::now();
            let lacking = self.lacking(last_crls)?;
            if lacking.is_empty() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return refuse(&self.config.name, "not published within 15 minutes", &lacking);
            }
            if told != lacking {
                info!("issuer '{}': waiting for what is published elsewhere: {}", self.config.name, lacking.join("; "));
                told = lacking;
            }
            std::thread::sleep(LOOK.max(looked.elapsed()));
        }
    }

    fn sign(&mut self) -> Result<()> {
        let Some(worker) = &mut self.worker else { return Ok(()) };
        let issuer = setup::find_issuer(self.job.registry.as_ref(), &self.config.name)?;
        let counts = self.job.registry.counts(issuer.id)?;
        let bar = progress((counts.good + counts.revoked) * issuer.publication.cert_id_hashes.len() as u64, "signing status");
        let report = watch(&bar, &|| self.metrics.responses.get(), || worker.pass(&Timestamp::now));
        refuse(&self.config.name, "signing what is to be published before its end", &report.failures)
    }

    fn lacking(&self, last_crls: bool) -> Result<Vec<String>> {
        let issuer = setup::find_issuer(self.job.registry.as_ref(), &self.config.name)?;
        lacking(self.job, self.config, &issuer, &self.certificate, last_crls)
    }

    fn refuse_lacking(&self, last_crls: bool) -> Result<()> {
        refuse(&self.config.name, "it is closed already, and not everything of it is published", &self.lacking(last_crls)?)
    }
}

/// What is not published of an issuer that has keys in the configuration, or has published something before.
fn lacking(job: &Job<'_>, config: &IssuerConfig, issuer: &Issuer, certificate: &CertificateInfo, last_crls: bool) -> Result<Vec<String>> {
    let wanted = Wanted { responses: config.responder.is_some() || config.key.is_some(), crls: config.key.is_some(), last_crls };
    unpublished(job.registry.as_ref(), issuer, certificate, wanted).with_context(|| format!("issuer '{}'", issuer.name))
}

/// Refuses to go on for reasons, where there are any.
fn refuse(issuer: &str, what: &str, reasons: &[String]) -> Result<()> {
    if reasons.is_empty() {
        return Ok(());
    }
    bail!("issuer '{issuer}': {what}: {} (S5.2)", reasons.join("; "))
}
