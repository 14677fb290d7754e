//! `kakunin status`: per issuer, how many certificates, how fresh, and what is due next.

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::output::Output;
use super::{ConfigFile, setup};
use crate::pki::{CertificateStatus, SlotRange, Timestamp};
use crate::registry::{Counts, CrlHead, Issuer, IssuerMode, PackHead, Registry};

/// Show counts, freshness and next deadlines of every issuer
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin status --config kakunin-demo/kakunin.toml --json | jq .issuers[].ocsp.fresh")]
pub(super) struct Status {
    #[command(flatten)]
    config: ConfigFile,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    at: Timestamp,
    issuers: Vec<IssuerReport>,
}

#[derive(Serialize)]
struct IssuerReport {
    name: String,
    mode: IssuerMode,
    /// In run-off: when the last certificate that is not revoked ends, and the CA with it (S5.2).
    ends: Option<Timestamp>,
    certificates: Counts,
    ocsp: OcspReport,
    crls: Vec<CrlReport>,
    /// What the registry keeps of scopes that the issuer publishes no more: nobody is served it, and it has no successor.
    crls_no_longer_published: Vec<OldCrl>,
}

#[derive(Serialize)]
struct OcspReport {
    /// Whether every pack is there and may be served.
    fresh: bool,
    packs: usize,
    packs_wanted: usize,
    oldest_this_update: Option<Timestamp>,
    earliest_next_update: Option<Timestamp>,
    /// When the last pack becomes valid, where that is still to come.
    valid_from: Option<Timestamp>,
}

#[derive(Serialize)]
struct CrlReport {
    scope: String,
    number: u64,
    entries: u64,
    fresh: bool,
    this_update: Timestamp,
    next_update: Timestamp,
    refresh_at: Timestamp,
    /// When it becomes valid, where that is still to come.
    valid_from: Option<Timestamp>,
}

#[derive(Serialize)]
struct OldCrl {
    scope: String,
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
}

impl Status {
    pub(super) fn run(self) -> Result<()> {
        let registry = setup::open_registry_read_only(&self.config.load()?)?;
        let at = Timestamp::now();
        let report = |issuer: &Issuer| IssuerReport::of(registry.as_ref(), issuer, at);
        let issuers = registry.issuers()?.iter().map(report).collect::<Result<Vec<_>>>()?;
        let mut output = Output::new();
        if self.json {
            output.json(&Report { at, issuers })?;
        } else {
            issuers.iter().try_for_each(|issuer| issuer.print(&mut output))?;
        }
        output.finish().context("standard output")
    }
}

impl IssuerReport {
    fn of(registry: &dyn Registry, issuer: &Issuer, now: Timestamp) -> Result<IssuerReport> {
        let heads = registry.pack_heads(issuer.id)?;
        let mut crls = registry.crl_heads(issuer.id)?;
        crls.sort_by_key(|crl| crl.scope);
        let (crls, old): (Vec<_>, Vec<_>) = crls.iter().partition(|crl| issuer.publication.has_crl(crl.scope));
        Ok(IssuerReport {
            name: issuer.name.clone(),
            mode: issuer.mode,
            ends: end_of_run_off(registry, issuer)?,
            certificates: registry.counts(issuer.id)?,
            ocsp: OcspReport::of(issuer, &heads, now),
            crls: crls.into_iter().map(|crl| CrlReport::of(crl, now)).collect(),
            crls_no_longer_published: old.into_iter().map(OldCrl::of).collect(),
        })
    }

    fn print(&self, output: &mut Output) -> std::io::Result<()> {
        let Counts { good, revoked } = self.certificates;
        output.line(format!("{} ({:?}): {good} good, {revoked} revoked", self.name, self.mode))?;
        match (self.mode, self.ends) {
            (IssuerMode::Open, _) => {}
            (IssuerMode::RunOff, Some(end)) => {
                output.line(format!("  issues nothing any more, and ends at {end}, with its last certificate, or when that is revoked"))?
            }
            (IssuerMode::RunOff, None) => output.line("  issues nothing any more, and may be closed: all its certificates are revoked")?,
            (IssuerMode::Closed, _) => output.line("  has ended")?,
        }
        let ocsp = &self.ocsp;
        let state = state_of(ocsp.fresh, ocsp.valid_from);
        let time = |t: Option<Timestamp>| t.map_or("never".to_owned(), |t| t.to_string());
        let (signed, until) = (time(ocsp.oldest_this_update), time(ocsp.earliest_next_update));
        output
            .line(format!("  OCSP {state}: {} of {} packs, signed since {signed}, valid until {until}", ocsp.packs, ocsp.packs_wanted))?;
        for crl in &self.crls {
            let state = state_of(crl.fresh, crl.valid_from);
            let (number, entries, until, next) = (crl.number, crl.entries, crl.next_update, crl.refresh_at);
            output.line(format!("  CRL {} {state}: number {number}, {entries} entries, valid until {until}, next at {next}", crl.scope))?;
        }
        for OldCrl { scope, number, next_update, .. } in &self.crls_no_longer_published {
            output.line(format!(
                "  CRL {scope} no longer published: number {number}, the last one, is not served; valid until {next_update}"
            ))?;
        }
        Ok(())
    }
}

/// How something is to whoever asks for it now.
fn state_of(fresh: bool, valid_from: Option<Timestamp>) -> String {
    match valid_from {
        Some(from) => format!("NOT VALID before {from}"),
        None if fresh => "fresh".to_owned(),
        None => "NOT FRESH".to_owned(),
    }
}

/// Looks at every certificate, of a CA in run-off only.
fn end_of_run_off(registry: &dyn Registry, issuer: &Issuer) -> Result<Option<Timestamp>> {
    let mut end = None;
    if issuer.mode == IssuerMode::RunOff {
        registry.visit_certificates(issuer.id, SlotRange::ALL, &mut |certificate| {
            if certificate.status == CertificateStatus::Good {
                end = end.max(Some(certificate.not_after));
            }
        })?;
    }
    Ok(end)
}

impl OcspReport {
    fn of(issuer: &Issuer, heads: &[PackHead], now: Timestamp) -> OcspReport {
        let packs_wanted = issuer.publication.cert_id_hashes.len() << issuer.slot_bits;
        let wanted: Vec<&PackHead> = heads.iter().filter(|h| issuer.publication.cert_id_hashes.contains(&h.cert_id_hash)).collect();
        let valid_from = wanted.iter().map(|h| h.this_update).max().filter(|latest| latest.is_ahead_of(now));
        OcspReport {
            fresh: wanted.len() == packs_wanted && valid_from.is_none() && wanted.iter().all(|h| h.next_update > now),
            packs: wanted.len(),
            packs_wanted,
            oldest_this_update: wanted.iter().map(|h| h.this_update).min(),
            earliest_next_update: wanted.iter().map(|h| h.next_update).min(),
            valid_from,
        }
    }
}

impl CrlReport {
    fn of(crl: &CrlHead, now: Timestamp) -> CrlReport {
        let valid_from = Some(crl.this_update).filter(|at| at.is_ahead_of(now));
        CrlReport {
            scope: crl.scope.to_string(),
            number: crl.number,
            entries: crl.entries,
            fresh: crl.next_update > now && valid_from.is_none(),
            this_update: crl.this_update,
            next_update: crl.next_update,
            refresh_at: crl.refresh_at,
            valid_from,
        }
    }
}

impl OldCrl {
    fn of(crl: &CrlHead) -> OldCrl {
        OldCrl { scope: crl.scope.to_string(), number: crl.number, this_update: crl.this_update, next_update: crl.next_update }
    }
}
