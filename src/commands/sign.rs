//! `kakunin sign`: one pass of the signing worker.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::ConfigFile;
use super::opening::{self, Opened, Unopened};
use super::output::Output;
use super::setup;
use crate::pki::Timestamp;
use crate::signing::Worker;

/// Sign everything that is due: OCSP responses and CRLs
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin sign --config kakunin.toml --once\n\nA continuous worker is `kakunin serve --roles signer`.")]
pub(super) struct Sign {
    #[command(flatten)]
    config: ConfigFile,
    /// Sign what is due now, and return
    #[arg(long, required = true)]
    once: bool,
    /// The clock was ahead, and is right now: sign anew what has a thisUpdate that is still to come
    #[arg(long)]
    replace_future: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let registry = setup::open_registry(&config)?;
        let Opened { mut issuers, unopened, .. } = opening::open_signing(&config, registry.as_ref(), |_| true);
        issuers.iter_mut().for_each(|signing| signing.replaces_future = self.replace_future);
        let mut worker = Worker::new(registry, issuers, config.signing.threads, Default::default())?;
        let mut report = worker.pass(&Timestamp::now);
        report.failures.extend(unopened.iter().map(Unopened::to_string));
        let mut output = Output::new();
        let written = match self.json {
            true => output.json(&report),
            false => {
                output.line(format!("signed {} responses: {} packs and {} CRLs published", report.responses, report.packs, report.crls))
            }
        };
        written.and_then(|()| output.finish()).context("standard output")?;
        match &report.failures[..] {
            [] => Ok(()),
            failures => bail!("{} of it failed:\n  {}", failures.len(), failures.join("\n  ")),
        }
    }
}
