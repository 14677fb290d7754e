//! `kakunin-loadtest plan`: what a service of a given size needs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::plan::Plan;
use crate::plan::options::Options;

/// Say what a service of a given size needs: memory, signatures, CRLs, disk, bandwidth, cores
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin-loadtest plan --certificates 10000000 --queries 20000 --cdn-hit-rate 0.9 --token-rate 2000")]
pub(super) struct PlanCommand {
    #[command(flatten)]
    options: Options,
    /// A TOML file with options of the same names; those of the command line go before them
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

impl PlanCommand {
    pub(super) fn run(self) -> Result<()> {
        let file = self.file.as_deref().map(Options::read).transpose()?.unwrap_or_default();
        let plan = Plan::of(&self.options.or(file).input()?);
        let text = if self.json { serde_json::to_string_pretty(&plan)? + "\n" } else { plan.text() };
        super::output::print(&text)
    }
}
