//! What becomes of a measurement: how it is shown while it runs, and where its record goes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How and where to tell.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Outcome")]
pub(super) struct Outcome {
    /// What the run is called [default: its address, or the scenario's title]
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// Write the record of the run to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Process of the server on this machine, whose CPU time and memory are recorded, with those of its children
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// How the run is shown while it lasts: live on a terminal, plain lines, or not
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) progress: ProgressStyle,
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressStyle {
    Auto,
    Plain,
    None,
}
