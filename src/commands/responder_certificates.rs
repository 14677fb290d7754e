//! The certificates of delegated OCSP responders: renewed in time where the CA's key is at hand, and while the program runs picked up from their files,
//! whoever renews them.

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use tracing::{error, info};

use super::live::LiveLane;
use super::{durable_file, setup};
use crate::config::{Config, DelegatedResponderConfig, IssuerConfig};
use crate::issuance::{Issuer, random_serial, renewal};
use crate::pki::certificate::certificate_pem;
use crate::pki::{CertificateStatus, Timestamp};
use crate::registry::{CertificateRecord, OnConflict, Registry};
use crate::signing::metrics::SigningMetrics;
use crate::signing::{IssuerSigning, ResponseSigner, SignerUpdates, describe_signer};

/// Renews the responder certificate of an issuer where it is due at `now` and the CA's key is there. The new certificate is in the registry first, so that it
/// can be revoked and its serial is never used again (rule P3); then it takes the place of the file. Says whether there is a new one.
pub(super) fn renew_where_due(config: &IssuerConfig, registry: &dyn Registry, signing: &IssuerSigning, now: Timestamp) -> Result<bool> {
    // A CA that is closed has nobody who signs responses.
    let delegated = config.responder.as_ref().filter(|delegated| delegated.renew && signing.responder.is_some());
    let (Some(delegated), Some(ca_key)) = (delegated, &signing.crl_key) else { return Ok(false) };
    let old = setup::read_certificate(&delegated.certificate)?;
    let before = delegated.renew_before.unwrap_or_else(|| renewal::lead_time(&old, config.ocsp.validity));
    let Some(validity) = renewal::due(&old, &signing.certificate, before, now) else { return Ok(false) };
    // A file that cannot be written is found before anything is issued.
    durable_file::write(&delegated.certificate, old.to_pem().as_bytes())?;
    let issuer = Issuer::new(signing.certificate.clone(), ca_key.clone())?;
    let serial = random_serial(&SystemRandom::new())?;
    let der = renewal::renewed(&issuer, &old, serial, validity)?;
    let record = CertificateRecord {
        serial,
        not_before: Some(validity.not_before),
        not_after: validity.not_after,
        is_ca: false,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    registry.add_certificates(signing.issuer.id, &mut std::iter::once(Ok(record)), OnConflict::Refuse, now)?;
    durable_file::write(&delegated.certificate, certificate_pem(&der).as_bytes())?;
    info!(issuer = config.name, %serial, not_after = %validity.not_after, "renewed the OCSP responder's certificate");
    Ok(true)
}

/// Who signs with the certificate that is in the file at `now`, where that is another one than is in use. It must be valid, for the key in use, and as rule P1
/// wants it.
pub(super) fn pick_up(
    delegated: &DelegatedResponderConfig,
    registry: &dyn Registry,
    signing: &IssuerSigning,
    now: Timestamp,
) -> Result<Option<ResponseSigner>> {
    let Some(responder) = &signing.responder else { return Ok(None) };
    let certificate = setup::read_certificate(&delegated.certificate)?;
    if responder.signer.certificate.as_ref() == Some(&certificate.der) {
        return Ok(None);
    }
    let (from, to) = (certificate.not_before, certificate.not_after);
    if now < from || to <= now {
        bail!("certificate {}: found valid from {from} to {to}, wanted one that is valid at {now}", delegated.certificate.display());
    }
    let signer = describe_signer(&responder.key, &signing.certificate, Some(&certificate), &signing.profile)
        .with_context(|| format!("certificate {}", delegated.certificate.display()))?;
    let id = registry.register_signer(signing.issuer.id, &signer)?;
    Ok(Some(ResponseSigner { key: responder.key.clone(), signer, id, not_after: to }))
}

/// Looks after the responder certificates of what signs in this process.
pub(super) struct ResponderCertificates<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a dyn Registry,
    pub(super) live: &'a LiveLane,
    pub(super) metrics: &'a SigningMetrics,
    pub(super) watched: Vec<Watched>,
}

/// An issuer whose responder has a certificate of its own.
pub(super) struct Watched {
    signing: IssuerSigning,
    updates: SignerUpdates,
    /// What was last said of what is wrong: nothing is said twice.
    told: Option<String>,
}

impl Watched {
    /// `updates` lead to the worker that signs for it.
    pub(super) fn new(signing: IssuerSigning, updates: SignerUpdates) -> Watched {
        Watched { signing, updates, told: None }
    }
}

impl ResponderCertificates<'_> {
    /// Renews what is due and picks up what is new.
    pub(super) fn look(&mut self, now: Timestamp) {
        for watched in &mut self.watched {
            let name = watched.signing.issuer.name.clone();
            let Some(config) = self.config.issuer(&name) else { continue };
            let Some(delegated) = &config.responder else { continue };
            let renewed = renew_where_due(config, self.registry, &watched.signing, now).context("cannot be renewed");
            let found = pick_up(delegated, self.registry, &watched.signing, now);
            let wrong = match (renewed, found) {
                (Ok(_), Ok(None)) => None,
                (renewed, Ok(Some(responder))) => {
                    info!(issuer = name, not_after = %responder.not_after, "the OCSP responder has a new certificate");
                    watched.signing.responder = Some(responder.clone());
                    self.live.add(&watched.signing);
                    watched.updates.replace(watched.signing.issuer.id, responder);
                    renewed.err()
                }
                (Err(wrong), _) | (_, Err(wrong)) => Some(wrong),
            };
            let wrong = wrong.map(|wrong| format!("{wrong:#}"));
            if let Some(wrong) = wrong.as_ref().filter(|_| wrong != watched.told) {
                error!("issuer '{name}': the OCSP responder's certificate: {wrong}; the one in use stays");
                self.metrics.failures.inc();
            }
            watched.told = wrong;
            if let Some(responder) = &watched.signing.responder {
                self.metrics.responder_not_after.with_label_values(&[&name]).set(responder.not_after.unix() as i64);
            }
        }
    }
}
