//! What becomes of a measurement: how it is shown while it runs, and where its record goes.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{output, summary};
use crate::record::Record;
use crate::report;
use crate::report::verdict::Verdict;
use crate::shape::Settings;

/// How and where to tell.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Outcome")]
pub(super) struct Outcome {
    /// What the run is called [default: its address, or the scenario's title]
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// Write the record of the run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report of the run, one page of HTML, to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Process of the server on this machine, whose CPU time and memory are recorded, with those of its children
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// How the run is shown while it lasts: live where standard error is a terminal, as plain lines, or not
    #[arg(long, value_enum, default_value = "auto")]
    progress: ProgressStyle,
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressStyle {
    Auto,
    Plain,
    None,
}

impl Outcome {
    /// The view of a run that is to come.
    pub(super) fn progress(&self, settings: &Settings) -> Progress {
        match self.progress {
            ProgressStyle::Plain => Progress::plain(),
            ProgressStyle::Auto if io::stderr().is_terminal() => Progress::live(settings),
            _ => Progress::none(),
        }
    }

    /// Whether what comes of a run can be written, before there is one.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or that is named twice.
    pub(super) fn prepare(&self) -> Result<()> {
        ensure!(self.json.is_none() || self.json != self.html, "--html: found the file of --json, wanted another one");
        for (option, path) in [("--json", &self.json), ("--html", &self.html)] {
            let Some(path) = path else { continue };
            output::try_to_write(path).with_context(|| format!("{option}: {}", path.display()))?;
        }
        Ok(())
    }

    /// Prints a summary, and writes the record and the report: each of them also where another one cannot be written.
    ///
    /// # Errors
    ///
    /// Besides a file that cannot be written: a run that failed, as the report says it.
    pub(super) fn tell(&self, record: &Record) -> Result<()> {
        let write = |option: &str, path: &Option<PathBuf>, octets: &dyn Fn() -> Result<Vec<u8>>| match path {
            Some(path) => output::write_whole(path, &octets()?).with_context(|| format!("{option}: {}", path.display())),
            None => Ok(()),
        };
        let written = [
            write("--json", &self.json, &|| Ok(serde_json::to_vec_pretty(record)?)),
            write("--html", &self.html, &|| Ok(report::html(record).into_bytes())),
            output::print(&summary::of(record)),
        ];
        written.into_iter().collect::<Result<()>>()?;
        let verdict = Verdict::of(record);
        if !verdict.passed() {
            bail!("{}", verdict.failures.join(" "));
        }
        Ok(())
    }
}
