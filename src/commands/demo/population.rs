//! The demo's certificates and revocations.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;

use super::files::Plan;
use super::samples::{self, Sample};
use super::{PARTITIONS, hierarchy};
use crate::commands::output::progress;
use crate::commands::setup::{find_issuer, read_certificate};
use crate::config::Config;
use crate::issuance::batch::{self, Batch};
use crate::issuance::{EndEntityOptions, EndEntityTemplate, Issuer, Links, Validity};
use crate::pki::{CertificateStatus, Revocation, RevocationReason, SlotRange, Timestamp};
use crate::registry::{CertificateRecord, IssuerId, OnConflict, Registry};
use crate::signing::{ocsp_url, partition_url};

/// The domain of the demo's certificates: reserved for such uses (RFC 2606).
const DOMAIN: &str = "demo.example";
/// The reasons that BR 7.2.2 allows for subscriber certificates (rule C3).
const REASONS: [RevocationReason; 5] = [
    RevocationReason::KeyCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
];

/// Registers the issuing CA with the root, and issues and revokes what is missing of the plan.
pub(super) fn ensure(dir: &Path, config: &Config, registry: &dyn Registry, plan: &Plan) -> Result<()> {
    let now = Timestamp::now();
    register_sub_ca(dir, registry, now)?;
    let issuing = find_issuer(registry, "issuing")?;
    let issuer = hierarchy::open_issuer(dir, "issuing")?;
    let templates = templates(&issuer, &plan.base_url())?;
    let end = now.saturating_add(Duration::from_secs(90 * 86_400 - 1)).min(issuer.certificate().not_after);
    let validity = Validity { not_before: now, not_after: end };
    let samples = samples::wanted(plan);
    samples::ensure(dir, &samples, &templates, validity, registry, issuing.id)?;
    issue_missing(config, registry, issuing.id, &templates, validity, plan)?;
    revoke_missing(dir, registry, issuing.id, &samples, plan, now)
}

/// The root's only certificate in this registry is that of the issuing CA. Responder certificates carry id-pkix-ocsp-nocheck: nobody asks about them.
fn register_sub_ca(dir: &Path, registry: &dyn Registry, now: Timestamp) -> Result<()> {
    let root = find_issuer(registry, "root")?;
    let sub_ca = read_certificate(&dir.join("issuing.pem"))?;
    let record = CertificateRecord {
        serial: sub_ca.serial,
        not_before: Some(sub_ca.not_before),
        not_after: sub_ca.not_after,
        is_ca: true,
        partition: None,
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    registry.add_certificates(root.id, &mut std::iter::once(Ok(record)), OnConflict::Merge, now)?;
    Ok(())
}

/// One template a CRL partition.
fn templates(issuer: &Issuer, base: &str) -> Result<Vec<EndEntityTemplate>> {
    let (ocsp, ca_issuers) = (ocsp_url(base, "issuing"), format!("{base}/ca/issuing.cer"));
    let template = |partition| {
        let crl = partition_url(base, "issuing", partition);
        let links = Links { ocsp: Some(&ocsp), ca_issuers: Some(&ca_issuers), crl: Some(&crl) };
        Ok(EndEntityTemplate::new(issuer, &EndEntityOptions { links, client_auth: false })?)
    };
    (0..PARTITIONS).map(template).collect()
}

fn issue_missing(
    config: &Config,
    registry: &dyn Registry,
    issuer: IssuerId,
    templates: &[EndEntityTemplate],
    validity: Validity,
    plan: &Plan,
) -> Result<()> {
    let counts = registry.counts(issuer)?;
    let there = counts.good + counts.revoked;
    let bar = progress(plan.certificates, "issuing certificates");
    bar.set_position(there);
    let count = plan.certificates.saturating_sub(there);
    let batch = Batch { issuer, templates, domain: DOMAIN, validity, count, threads: config.signing.threads };
    let issued = batch::issue(&batch, registry, &SystemRandom::new(), validity.not_before, &mut |chunk| bar.inc(chunk.len() as u64));
    bar.finish_and_clear();
    issued.context("issuing certificates")
}

/// Revokes certificates until as many are revoked as planned, in one transaction. The sample that is to stay good does.
fn revoke_missing(dir: &Path, registry: &dyn Registry, issuer: IssuerId, samples: &[Sample], plan: &Plan, now: Timestamp) -> Result<()> {
    let missing = plan.revoked.saturating_sub(registry.counts(issuer)?.revoked) as usize;
    if missing == 0 {
        return Ok(());
    }
    let serial_of = |sample: &Sample| Ok::<_, anyhow::Error>((sample.revoked, read_certificate(&sample.path(dir))?.serial));
    let samples = samples.iter().map(serial_of).collect::<Result<Vec<_>>>()?;
    let is_sample = |record: &CertificateRecord, revoked: bool| samples.contains(&(revoked, record.serial));
    let (mut chosen, mut revoked_sample) = (Vec::with_capacity(missing), None);
    registry.visit_certificates(issuer, SlotRange::ALL, &mut |record| {
        let may_be_revoked = record.status == CertificateStatus::Good && !is_sample(&record, false);
        match may_be_revoked {
            true if is_sample(&record, true) => revoked_sample = Some(record),
            true if chosen.len() < missing => chosen.push(record),
            _ => {}
        }
    })?;
    chosen.truncate(missing - revoked_sample.iter().len());
    chosen.extend(revoked_sample);
    let revoke = |(number, record): (usize, CertificateRecord)| {
        let reason = if Some(record) == revoked_sample { RevocationReason::KeyCompromise } else { REASONS[number % REASONS.len()] };
        Ok(CertificateRecord { status: CertificateStatus::Revoked(Revocation { at: now, reason: Some(reason) }), ..record })
    };
    registry.add_certificates(issuer, &mut chosen.into_iter().enumerate().map(revoke), OnConflict::Merge, now)?;
    Ok(())
}
