//! `kakunin revoke`: revokes one certificate, or all that an issuer has issued, for ever.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::output::{Output, progress};
use super::reasons::{self, Reasons};
use super::{ConfigFile, setup};
use crate::config::Config;
use crate::pki::status::ReasonError;
use crate::pki::{Revocation, RevocationReason, Serial, SlotRange, Timestamp};
use crate::registry::{Issuer, Registry, RevokeOutcome};

/// Revoke a certificate, or all of an issuer, for ever
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true).args(["serial", "all"]),
    after_help = "Example: kakunin revoke --config kakunin-demo/kakunin.toml --issuer issuing --serial 3fa1… --reason keyCompromise\n\
    Example: kakunin revoke --config kakunin-demo/kakunin.toml --issuer issuing --all --confirm issuing --reason keyCompromise\n\n\
    The revocation is durable when the command returns. A running `serve` publishes it at once; otherwise the next `sign --once` does.\n\
    A certificate that is revoked already stays as it is; only a reason that was missing, or keyCompromise instead of another one, is taken over."
)]
pub(super) struct Revoke {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the issuer
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// The certificate's serial number
    #[arg(long, value_name = "HEX")]
    serial: Option<Serial>,
    /// Every certificate of the issuer that is good, in one transaction: after a compromise of the CA's key
    #[arg(long, requires = "confirm")]
    all: bool,
    /// The name of the issuer again, for --all: there is no way back
    #[arg(long, value_name = "NAME", requires = "all")]
    confirm: Option<String>,
    /// unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn or aACompromise
    #[arg(long, value_name = "NAME", value_parser = Reason::parse)]
    reason: Reason,
    /// When the certificate was revoked, such as 2026-01-31T09:30:00Z; now, unless given
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reason(Option<RevocationReason>);

impl Reason {
    fn parse(text: &str) -> Result<Reason, ReasonError> {
        RevocationReason::parse_optional(text).map(Reason)
    }
}

#[derive(Serialize)]
struct Outcome {
    serial: Serial,
    outcome: &'static str,
    revoked_at: Timestamp,
    reason: &'static str,
}

#[derive(Serialize)]
struct MassOutcome<'a> {
    issuer: &'a str,
    revoked: u64,
    revoked_at: Timestamp,
    reason: &'static str,
}

impl Revoke {
    pub(super) fn run(self) -> Result<()> {
        let now = Timestamp::now();
        let at = self.at.unwrap_or(now);
        if at > now {
            bail!("--at: found {at}, wanted a time that is not in the future (it is {now})");
        }
        let config = self.config.load()?;
        let registry = setup::open_registry(&config)?;
        let issuer = setup::find_issuer(registry.as_ref(), &self.issuer)?;
        self.check_reason(&config, registry.as_ref(), &issuer)?;
        let revocation = Revocation { at, reason: self.reason.0 };
        match self.serial {
            Some(serial) => self.one(registry.as_ref(), &issuer, serial, revocation, now),
            None => self.every(registry.as_ref(), &issuer, revocation, now),
        }
    }

    fn check_reason(&self, config: &Config, registry: &dyn Registry, issuer: &Issuer) -> Result<()> {
        let Some(configured) = config.issuer(&self.issuer) else { return Ok(()) };
        let certificate = self.serial.map(|serial| registry.certificate(issuer.id, &serial)).transpose()?.flatten();
        let is_ca = certificate.is_some_and(|certificate| certificate.is_ca);
        match Reasons::of(configured)?.objection(self.reason.0, is_ca) {
            Some(objection) => bail!("--reason: {objection}"),
            None => Ok(()),
        }
    }

    fn one(&self, registry: &dyn Registry, issuer: &Issuer, serial: Serial, revocation: Revocation, now: Timestamp) -> Result<()> {
        if revocation.reason.is_none() && registry.certificate(issuer.id, &serial)?.is_some_and(|certificate| certificate.is_ca) {
            bail!(
                "--reason: found unspecified, wanted another one: {serial} is a CA's, and its revocation is published with a reason (C3, O14)"
            );
        }
        let (outcome, revocation, text) = match registry.revoke(issuer.id, &serial, revocation, None, now)? {
            RevokeOutcome::Revoked => ("revoked", revocation, described("revoked", serial, revocation)),
            RevokeOutcome::AlreadyRevoked(before) => ("already revoked", before, described("already revoked", serial, before)),
            RevokeOutcome::ReasonLearnt(before) => {
                let (found, learnt) = (described("revoked", serial, before), reasons::name(revocation.reason));
                ("reason learnt", Revocation { reason: revocation.reason, ..before }, format!("{found} before: the reason is {learnt} now"))
            }
            RevokeOutcome::NotFound => bail!("issuer '{}' has no certificate with serial {serial}", self.issuer),
        };
        self.tell(&Outcome { serial, outcome, revoked_at: revocation.at, reason: reasons::name(revocation.reason) }, text)
    }

    fn every(&self, registry: &dyn Registry, issuer: &Issuer, revocation: Revocation, now: Timestamp) -> Result<()> {
        let confirmed = self.confirm.as_deref().unwrap_or_default();
        if confirmed != self.issuer {
            bail!("--confirm: found '{confirmed}', wanted the name of the issuer, '{}'", self.issuer);
        }
        if revocation.reason.is_none() && issuer.publication.crl_extras.arl {
            bail!("--reason: found unspecified, wanted another one: issuer '{}' has an ARL, which says why of each CA (C3)", self.issuer);
        }
        if revocation.reason.is_none() && has_issued_to_cas(registry, issuer)? {
            bail!(
                "--reason: found unspecified, wanted another one: issuer '{}' certifies CAs, and OCSP says why of each (O14)",
                self.issuer
            );
        }
        let bar = progress(registry.counts(issuer.id)?.good, "revoking");
        let revoked = registry.revoke_all(issuer.id, revocation, now, &mut |so_far| bar.set_position(so_far))?;
        bar.finish_and_clear();
        let outcome = MassOutcome { issuer: &self.issuer, revoked, revoked_at: revocation.at, reason: reasons::name(revocation.reason) };
        let text = format!("revoked {revoked} certificates of issuer '{}' at {} ({})", self.issuer, outcome.revoked_at, outcome.reason);
        self.tell(&outcome, text)
    }

    fn tell(&self, outcome: &impl Serialize, text: String) -> Result<()> {
        let mut output = Output::new();
        let written = if self.json { output.json(outcome) } else { output.line(text) };
        written.and_then(|()| output.finish()).context("standard output")
    }
}

fn described(what: &str, serial: Serial, revocation: Revocation) -> String {
    format!("{what} {serial} at {} ({})", revocation.at, reasons::name(revocation.reason))
}

/// Looks at every certificate: only where a revocation of all of them has no reason.
fn has_issued_to_cas(registry: &dyn Registry, issuer: &Issuer) -> Result<bool> {
    let mut found = false;
    registry.visit_certificates(issuer.id, SlotRange::ALL, &mut |certificate| found |= certificate.is_ca)?;
    Ok(found)
}
