//! `kakunin check`: everything that can be wrong before anything is served.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::ConfigFile;
use super::output::Output;
use super::setup::{self, KeyRing};
use crate::config::{Config, IssuerConfig};
use crate::issuance::profile::{Level, Profile};
use crate::pki::Timestamp;
use crate::registry::one_ca::{self, Named};
use crate::registry::{IssuerMode, Registry};

/// Check a configuration: bounds, rules, files, keys, tokens, registry
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin check --config kakunin.toml\n\nOpens everything, makes a trial signature with each key, and changes nothing."
)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let mut output = Output::new();
        let mut problems = 0;
        let registry = setup::open_registry_read_only(&config);
        let mut tell = |what: String, outcome: Result<String>| {
            let line = match outcome {
                Ok(found) => format!("ok       {what}: {found}"),
                Err(problem) => {
                    problems += 1;
                    format!("problem  {what}: {problem:#}")
                }
            };
            output.line(line)
        };
        let known = registry.as_ref().ok().cloned();
        let registered = known.as_ref().map_or(Ok(Vec::new()), |r| r.issuers());
        let mut names: Vec<_> = registered.iter().flatten().map(|known| (known.name.clone(), known.certificate.clone())).collect();
        tell("registry".to_owned(), registry.and_then(|_| Ok(format!("{} issuers", registered?.len()))))?;
        let mut ring = KeyRing::new(&config);
        for issuer in &config.issuers {
            let mut outcome = check_issuer(&config, issuer, &mut ring);
            outcome = outcome.and_then(|told| check_name(&mut names, issuer).map(|()| told));
            if let Some(registry) = &known {
                outcome = outcome.and_then(|told| check_against(registry.as_ref(), issuer, &config.base_url).map(|()| told));
            }
            tell(format!("issuer '{}'", issuer.name), outcome)?;
            for name in &issuer.issuance.profiles {
                tell(format!("issuer '{}', profile '{name}'", issuer.name), check_profile(issuer, name, &mut ring))?;
            }
        }
        output.finish().context("standard output")?;
        if problems > 0 {
            bail!("{problems} problems in {}", self.config.config.display());
        }
        Ok(())
    }
}

/// The issuer is neither another CA than the one that is registered under its name, nor one of those before it again.
fn check_name(known: &mut Vec<(String, Vec<u8>)>, issuer: &IssuerConfig) -> Result<()> {
    let certificate = setup::read_certificate(&issuer.certificate)?.der;
    let named: Vec<_> = known.iter().map(|(name, certificate)| Named { name, certificate }).collect();
    if let Some(conflict) = one_ca::conflict(&named, Named { name: &issuer.name, certificate: &certificate }) {
        bail!("certificate {}: {conflict}", issuer.certificate.display());
    }
    known.push((issuer.name.clone(), certificate));
    Ok(())
}

/// What is registered of an issuer, and published, allows what the configuration says of it.
fn check_against(registry: &dyn Registry, issuer: &IssuerConfig, base_url: &str) -> Result<()> {
    setup::check_registered(registry, issuer)?;
    setup::check_recorded_reasons(registry, issuer)?;
    setup::check_base_url(registry, &issuer.name, base_url)
}

fn check_issuer(config: &Config, issuer: &IssuerConfig, ring: &mut KeyRing<'_>) -> Result<String> {
    let certificate = setup::read_certificate(&issuer.certificate)?;
    let now = Timestamp::now();
    if !certificate.is_ca {
        bail!("certificate {}: not a CA's (basicConstraints lacks cA)", issuer.certificate.display());
    }
    if issuer.mode != IssuerMode::Closed && certificate.not_after <= now {
        bail!("certificate {}: ended at {}", issuer.certificate.display(), certificate.not_after);
    }
    let keys = setup::open_keys(ring, issuer, &certificate)?;
    let signs = match &keys.responder {
        Some((_, _, responder)) if responder.not_after <= now => bail!("responder certificate: ended at {}", responder.not_after),
        Some((_, _, responder)) if responder.not_before > now => {
            bail!("responder certificate: begins at {} only (O7)", responder.not_before)
        }
        Some((key, ..)) => format!("OCSP signed with {}", key.signature_algorithm()),
        None => "no OCSP signed here (ready only where another process signs it)".to_owned(),
    };
    let crls = match &keys.ca {
        Some(key) => format!("CRLs signed with {}", key.signature_algorithm()),
        None => "no CRLs signed here (ready only where another process signs them)".to_owned(),
    };
    let partitions = issuer.crl.partitions;
    Ok(format!("{}, {signs}, {crls}, {partitions} CRL partitions below {}", certificate.subject_text, config.base_url))
}

/// The profile keeps the rules, and the issuer's key makes the signatures that it wants. Warnings, above all of legacy algorithms, are told with it.
fn check_profile(issuer: &IssuerConfig, name: &str, ring: &mut KeyRing<'_>) -> Result<String> {
    let profile = Profile::find(name)?;
    let (errors, others): (Vec<_>, Vec<_>) = profile.lint(Timestamp::now()).into_iter().partition(|finding| finding.level == Level::Error);
    if !errors.is_empty() {
        bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    let certificate = setup::read_certificate(&issuer.certificate)?;
    let signed = match issuer.key {
        Some(_) => format!("signed with {}", ring.issuing_key(issuer, &certificate, &profile)?.signature_algorithm()),
        None => "signed elsewhere".to_owned(),
    };
    let told: String = others.iter().map(|finding| format!("\n{:<8} {finding}", finding.level)).collect();
    let legacy = if profile.is_legacy() { "LEGACY: " } else { "" };
    Ok(format!("{legacy}{}, {signed}{told}", profile.title()))
}
