//! `kakunin token`: what the configured tokens can do.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::Output;
use super::setup::{self, KeyRing};
use super::{ConfigFile, setup::IssuerKeys};
use crate::token::{Key, signatures_per_second};

/// Ask the keys of a configuration what they can do
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Bench(Bench),
}

/// Measure how many signatures a second each key makes
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin token bench --config kakunin.toml --sessions 1,2,4\n\n\
    Signs texts that begin with 'kakunin: trial signature' and keeps none of the signatures. Other users of a token are slowed down meanwhile.")]
struct Bench {
    #[command(flatten)]
    config: ConfigFile,
    /// Sessions that sign at the same time: measured one number after the other; 1 to 256 each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2], value_parser = clap::value_parser!(u16).range(1..=256))]
    sessions: Vec<u16>,
    /// How long each measurement takes; 1 to 600
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Only the keys of this issuer
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    issuer: &'a str,
    signs: &'static str,
    /// Empty for a key in a file.
    token: &'a str,
    key: String,
    signature: String,
    sessions: u16,
    per_second: f64,
}

impl Token {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            TokenCommand::Bench(bench) => bench.run(),
        }
    }
}

impl Bench {
    fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let most = self.sessions.iter().copied().max().unwrap_or(1);
        let mut ring = KeyRing::with_sessions(&config, usize::from(most));
        let mut output = Output::new();
        let mut measured = 0;
        for issuer in config.issuers.iter().filter(|issuer| self.issuer.as_ref().is_none_or(|name| *name == issuer.name)) {
            let certificate = setup::read_certificate(&issuer.certificate)?;
            let keys = setup::open_keys(&mut ring, issuer, &certificate).with_context(|| format!("issuer '{}'", issuer.name))?;
            for (signs, key) in purposes(&keys) {
                self.measure(&issuer.name, signs, key, &mut output)?;
                measured += 1;
            }
        }
        output.finish().context("standard output")?;
        if measured == 0 {
            bail!("no key to measure: found none in {}, wanted an [[issuer]] with a key", self.config.config.display());
        }
        Ok(())
    }

    fn measure(&self, issuer: &str, signs: &'static str, key: &Key, output: &mut Output) -> Result<()> {
        for sessions in &self.sessions {
            let per_second = signatures_per_second(key, usize::from(*sessions), Duration::from_secs(self.seconds.into()))
                .with_context(|| format!("issuer '{issuer}', {signs} key"))?;
            let measured = Measured {
                issuer,
                signs,
                token: key.token(),
                key: key.key_algorithm().to_string(),
                signature: key.signature_algorithm().to_string(),
                sessions: *sessions,
                per_second,
            };
            match self.json {
                true => output.json(&measured),
                false => output.line(measured.text()),
            }
            .context("standard output")?;
        }
        Ok(())
    }
}

/// Each key once: where the CA's key signs OCSP responses too, it is measured as that of the CRLs.
fn purposes(keys: &IssuerKeys) -> Vec<(&'static str, &Key)> {
    let responder = keys.responder.iter().map(|(key, ..)| ("OCSP", key));
    let delegated = responder.filter(|(_, key)| keys.ca.as_ref().is_none_or(|ca| ca.public_key() != key.public_key()));
    delegated.chain(keys.ca.iter().map(|key| ("CRL", key))).collect()
}

impl Measured<'_> {
    fn text(&self) -> String {
        let Measured { issuer, signs, token, key, signature, sessions, per_second } = self;
        let place = if token.is_empty() { "in a file".to_owned() } else { format!("on token '{token}'") };
        let plural = if *sessions == 1 { "" } else { "s" };
        format!("{issuer}  {signs}  {key} {place}, {signature}  {sessions} session{plural}  {per_second:.0}/s")
    }
}
