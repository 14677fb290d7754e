//! The command line: one file a subcommand. Commands wire the parts together; what they do is done elsewhere.

mod compare;
mod interrupt;
mod outcome;
mod output;
mod plan;
mod progress;
mod report;
mod run;
mod scenario;
mod service;
mod summary;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Loads OCSP responders and CRL servers, checks their answers, and says what they can bear
#[derive(Debug, Parser)]
#[command(name = "kakunin-loadtest", version, about, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Scenario(Box<scenario::Scenario>),
    Report(report::Report),
    Compare(compare::Compare),
    Plan(Box<plan::PlanCommand>),
}

impl Cli {
    /// Runs the command that was given.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Scenario(scenario) => scenario.run(),
            Command::Report(report) => report.run(),
            Command::Compare(compare) => compare.run(),
            Command::Plan(plan) => plan.run(),
        }
    }
}
