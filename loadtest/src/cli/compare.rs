//! `kakunin-loadtest compare`: two runs side by side.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::compare::Comparison;
use crate::record_file;

/// Put two runs side by side
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin-loadtest compare before.json after.json --html both.html")]
pub(super) struct Compare {
    /// The run that the other one is held against
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The other one
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// Also write a page with both curves in the same charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Compare {
    pub(super) fn run(self) -> Result<()> {
        let (a, b) = (record_file::read(&self.a)?, record_file::read(&self.b)?);
        let comparison = Comparison::of(&a, &b);
        if let Some(html) = &self.html {
            super::output::write_whole(html, comparison.html().as_bytes()).with_context(|| format!("--html: {}", html.display()))?;
        }
        super::output::print(&comparison.text())
    }
}
