//! `kakunin order`: work orders under dual control (S4.8): approving them, seeing what they need, running them, and what came of them.

mod allowed;
mod approve;
mod ceremony;
mod claim;
mod digest;
mod files;
mod issue;
mod keys;
mod log;
mod operators;
mod release;
mod run;
mod show;
mod standing;
mod turn;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Approve and run work orders: batches of certificates, key ceremonies
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin order run batch.toml --config kakunin.toml\n\nA worked example, from an empty token to a running CA, is in config/ceremony.md"
)]
pub(super) struct Order {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operators(operators::PutInForce),
    Digest(digest::Digest),
    Approve(approve::Approve),
    Show(show::Show),
    Check(show::Check),
    Run(run::Run),
    Log(log::Log),
}

impl Order {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Operators(command) => command.run(),
            Command::Digest(command) => command.run(),
            Command::Approve(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Log(command) => command.run(),
        }
    }
}
