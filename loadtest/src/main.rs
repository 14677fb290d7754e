//! `kakunin-loadtest`: capacity testing of OCSP responders and CRL servers, over the network only.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match kakunin_loadtest::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kakunin-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
