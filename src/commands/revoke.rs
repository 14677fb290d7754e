//! `kakunin revoke`: revokes one certificate, for ever.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::output::Output;
use super::{ConfigFile, setup};
use crate::pki::status::ReasonError;
use crate::pki::{Revocation, RevocationReason, Serial, Timestamp};
use crate::registry::RevokeOutcome;

/// Revoke a certificate, for ever
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin revoke --config kakunin-demo/kakunin.toml --issuer issuing --serial 3fa1… --reason keyCompromise\n\n\
    The revocation is durable when the command returns. A running `serve` publishes it at once; otherwise the next `sign --once` does."
)]
pub(super) struct Revoke {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the issuer
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// The certificate's serial number
    #[arg(long, value_name = "HEX")]
    serial: Serial,
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

impl Revoke {
    pub(super) fn run(self) -> Result<()> {
        let now = Timestamp::now();
        let at = self.at.unwrap_or(now);
        if at > now {
            bail!("--at: found {at}, wanted a time that is not in the future (it is {now})");
        }
        let registry = setup::open_registry(&self.config.load()?)?;
        let issuer = setup::find_issuer(registry.as_ref(), &self.issuer)?;
        let revocation = Revocation { at, reason: self.reason.0 };
        let (outcome, revocation) = match registry.revoke(issuer.id, &self.serial, revocation, None, now)? {
            RevokeOutcome::Revoked => ("revoked", revocation),
            RevokeOutcome::AlreadyRevoked(before) => ("already revoked", before),
            RevokeOutcome::NotFound => bail!("issuer '{}' has no certificate with serial {}", self.issuer, self.serial),
        };
        let reason = revocation.reason.map_or("unspecified", RevocationReason::name);
        let outcome = Outcome { serial: self.serial, outcome, revoked_at: revocation.at, reason };
        let mut output = Output::new();
        let written = match self.json {
            true => output.json(&outcome),
            false => output.line(format!("{} {} at {} ({})", outcome.outcome, outcome.serial, outcome.revoked_at, outcome.reason)),
        };
        written.and_then(|()| output.finish()).context("standard output")
    }
}
