//! `kakunin-loadtest report`: the page of a run that was measured before.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{record_file, report};

/// Show a run as one page of HTML
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin-loadtest report run.json --html run.html")]
pub(super) struct Report {
    /// What `--json` has written
    #[arg(value_name = "RECORD.json")]
    record: PathBuf,
    /// Where the page goes
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

impl Report {
    pub(super) fn run(self) -> Result<()> {
        let page = report::html(&record_file::read(&self.record)?);
        super::output::write_whole(&self.html, page.as_bytes()).with_context(|| format!("--html: {}", self.html.display()))
    }
}
