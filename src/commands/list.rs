//! `kakunin list`: an issuer's certificates as JSON lines.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::Output;
use super::{ConfigFile, setup};
use crate::pki::{CertificateStatus, RevocationReason, Serial, SlotRange, Timestamp};
use crate::registry::{CertificateRecord, CrlScope};

/// List an issuer's certificates, one JSON object a line
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin list --config kakunin-demo/kakunin.toml --issuer issuing --status revoked | head -n 3")]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the issuer
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// Only those with this status
    #[arg(long)]
    status: Option<StatusName>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The URLs of its CRL partitions instead, as the JSON array that the CCADB takes
    #[arg(long, conflicts_with_all = ["status", "limit"])]
    crl_urls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum StatusName {
    Good,
    Revoked,
}

#[derive(Serialize)]
struct Line {
    serial: Serial,
    status: StatusName,
    not_before: Option<Timestamp>,
    not_after: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
}

impl From<&CertificateRecord> for Line {
    fn from(record: &CertificateRecord) -> Line {
        let (status, revocation) = match record.status {
            CertificateStatus::Good => (StatusName::Good, None),
            CertificateStatus::Revoked(revocation) => (StatusName::Revoked, Some(revocation)),
        };
        Line {
            serial: record.serial,
            status,
            not_before: record.not_before,
            not_after: record.not_after,
            revoked_at: revocation.map(|r| r.at),
            reason: revocation.map(|r| r.reason.map_or("unspecified", RevocationReason::name)),
            partition: record.partition,
        }
    }
}

impl List {
    pub(super) fn run(self) -> Result<()> {
        let registry = setup::open_registry_read_only(&self.config.load()?)?;
        let issuer = setup::find_issuer(registry.as_ref(), &self.issuer)?;
        let mut output = Output::new();
        if self.crl_urls {
            let mut heads = registry.crl_heads(issuer.id)?;
            heads.retain(|head| matches!(head.scope, CrlScope::Partition(_)) && issuer.publication.has_crl(head.scope));
            heads.sort_by_key(|head| head.scope);
            let urls: Vec<String> = heads.into_iter().filter_map(|head| head.distribution_point).map(|point| point.uri).collect();
            return output.json(&urls).and_then(|()| output.finish()).context("standard output");
        }
        let (mut left, mut outcome) = (self.limit.unwrap_or(u64::MAX), Ok(()));
        registry.visit_certificates(issuer.id, SlotRange::ALL, &mut |record| {
            let line = Line::from(&record);
            if left > 0 && outcome.is_ok() && self.status.is_none_or(|wanted| wanted == line.status) {
                left -= 1;
                outcome = output.json(&line);
            }
        })?;
        outcome.and_then(|()| output.finish()).context("standard output")
    }
}
