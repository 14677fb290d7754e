//! `kakunin order digest`: the hashes that orders name files by.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::files;
use crate::commands::output::Output;
use crate::issuance::order::input_fingerprint;

/// Print the hash that an order names a file, a directory of inputs, or a file of operators by
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["path", "operators"]),
    after_help = "Example: kakunin order digest requests/\n\nOf a file it is what sha256sum prints."
)]
pub(super) struct Digest {
    /// A profile, a request, a file of inputs, or a directory of them
    path: Option<PathBuf>,
    /// A file of operators: with the keys that it refers to
    #[arg(long, value_name = "FILE")]
    operators: Option<PathBuf>,
}

impl Digest {
    pub(super) fn run(self) -> Result<()> {
        let found = match (&self.path, &self.operators) {
            (Some(path), _) => input_fingerprint(path)?,
            (None, operators) => files::operators(operators.as_deref().unwrap_or(&PathBuf::new()))?.fingerprint(),
        };
        let mut output = Output::new();
        output.line(found)?;
        Ok(output.finish()?)
    }
}
