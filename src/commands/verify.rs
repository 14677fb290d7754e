//! `kakunin verify`: everything that is published, read again and held against the rules and the registry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::{Output, progress, watch};
use super::{ConfigFile, setup};
use crate::config::Config;
use crate::pki::Timestamp;
use crate::registry::{Issuer, IssuerMode, Registry};
use crate::signing::verify::{self, IssuerToVerify, Options, Report, Signatures};

/// How long what was found is left alone before it is looked at again: a running service may be about to publish what is missing.
const SETTLE: Duration = Duration::from_secs(2);

/// Verify all that is published: responses and CRLs against the rules, and against the registry
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin verify --config kakunin-demo/kakunin.toml --signatures all\n\n\
    Reads the registry only: no keys, no tokens, and the service may run. Ends with exit code 1 where a rule is broken.")]
pub(super) struct Verify {
    #[command(flatten)]
    config: ConfigFile,
    /// Which signatures of OCSP responses to verify: each, the first of each pack and every 128th, or none (and none of CRLs)
    #[arg(long, value_name = "WHICH", default_value = "sample")]
    signatures: Which,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    All,
    Sample,
    None,
}

#[derive(Serialize)]
struct Dated<'a> {
    at: Timestamp,
    #[serde(flatten)]
    report: &'a Report,
}

impl Verify {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let registry = setup::open_registry_read_only(&config)?;
        let (at, issuers) = (Timestamp::now(), issuers(&config, registry.as_ref())?);
        let (done, expected) = (AtomicU64::new(0), expected(registry.as_ref(), &issuers)?);
        let bar = progress(expected, "verifying responses");
        let clock = || Timestamp::now();
        let settle = || std::thread::sleep(SETTLE);
        let verify = || verify::verify(registry.as_ref(), issuers, self.options(&config), &clock, &settle, &done);
        let report = watch(&bar, &|| done.load(Ordering::Relaxed), verify)?;
        let mut output = Output::new();
        let written = if self.json { output.json(&Dated { at, report: &report }) } else { print(&mut output, &report) };
        written.and_then(|()| output.finish()).context("standard output")?;
        match report.found() {
            0 => Ok(()),
            1 => bail!("1 finding in {}", self.config.config.display()),
            found => bail!("{found} findings in {}", self.config.config.display()),
        }
    }

    fn options(&self, config: &Config) -> Options {
        let signatures = match self.signatures {
            Which::All => Signatures::All,
            Which::Sample => Signatures::Sample,
            Which::None => Signatures::None,
        };
        Options { signatures, threads: self.threads.map_or(config.signing.threads, usize::from) }
    }
}

/// Every registered issuer for which something is published: one that is closed has nothing to be fresh.
fn issuers(config: &Config, registry: &dyn Registry) -> Result<Vec<IssuerToVerify>> {
    let open = |issuer: &Issuer| issuer.mode != IssuerMode::Closed;
    let to_verify = |issuer: Issuer| {
        let configured = config.issuer(&issuer.name);
        let profile = configured.map(|configured| configured.profile()).unwrap_or_default();
        let crl = configured.map(|configured| configured.crl.clone()).unwrap_or_default();
        IssuerToVerify { profile, crl_policy: setup::crl_policy(&crl), base_url: config.base_url.clone(), issuer }
    };
    Ok(registry.issuers()?.into_iter().filter(open).map(to_verify).collect())
}

/// How many responses there should be.
fn expected(registry: &dyn Registry, issuers: &[IssuerToVerify]) -> Result<u64> {
    let mut sum = 0;
    for IssuerToVerify { issuer, .. } in issuers {
        let counts = registry.counts(issuer.id)?;
        sum += (counts.good + counts.revoked) * issuer.publication.cert_id_hashes.len() as u64;
    }
    Ok(sum)
}

fn print(output: &mut Output, report: &Report) -> std::io::Result<()> {
    for located in &report.findings {
        output.line(format!("issuer '{}', {}: {}", located.issuer, located.artefact, located.finding))?;
    }
    if report.found() > report.findings.len() as u64 {
        output.line(format!("… and {} more", report.found() - report.findings.len() as u64))?;
    }
    let Report { certificates, packs, responses, signatures, crls, entries, .. } = report;
    output.line(format!(
        "verified {responses} responses ({signatures} signatures) in {packs} packs, and {crls} CRLs with {entries} entries, of {certificates} certificates"
    ))?;
    let rules: Vec<String> = report.rules.iter().map(|(rule, count)| format!("{rule} × {count}")).collect();
    output.line(if rules.is_empty() { "no rule is broken".to_owned() } else { format!("broken: {}", rules.join(", ")) })
}
