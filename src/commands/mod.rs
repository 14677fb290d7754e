//! The command line: one file a subcommand. Commands wire the parts together; what they do is done elsewhere.

mod check;
mod demo;
mod durable_file;
mod import;
mod list;
mod live;
mod opening;
mod order;
mod output;
mod profile;
mod reasons;
mod responder_certificates;
mod revoke;
mod serve;
mod service;
mod setup;
mod sign;
mod signer;
mod status;
mod token;
mod verify;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// A validation authority: answers by OCSP and by CRL whether certificates are good, revoked or unknown.
#[derive(Debug, Parser)]
#[command(name = "kakunin", version, about, max_term_width = 120, after_help = "Start with: kakunin demo")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Sign(sign::Sign),
    Check(check::Check),
    Status(status::Status),
    Verify(verify::Verify),
    List(list::List),
    Revoke(revoke::Revoke),
    Import(import::Import),
    Profile(profile::ProfileCommand),
    Token(token::Token),
    Order(order::Order),
}

/// Which configuration a command works with.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<crate::config::Config> {
        Ok(crate::config::Config::load(&self.config)?)
    }
}

impl Cli {
    /// Runs the command that was given.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Demo(demo) => demo.run(),
            Command::Serve(serve) => serve.run(),
            Command::Sign(sign) => sign.run(),
            Command::Check(check) => check.run(),
            Command::Status(status) => status.run(),
            Command::Verify(verify) => verify.run(),
            Command::List(list) => list.run(),
            Command::Revoke(revoke) => revoke.run(),
            Command::Import(import) => import.run(),
            Command::Profile(profile) => profile.run(),
            Command::Token(token) => token.run(),
            Command::Order(order) => order.run(),
        }
    }
}
