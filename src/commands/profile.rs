//! `kakunin profile`: certificate profiles, in words and held against the rules.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::Output;
use crate::issuance::profile::{Finding, Kind, Level, Profile};
use crate::pki::Timestamp;

/// The most profiles that one command looks at.
const MAX_PROFILES: usize = 1000;

/// Explain certificate profiles, and hold them against the rules
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin profile lint my-profile.toml")]
pub(super) struct ProfileCommand {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Lint(Lint),
    List(List),
}

/// Explain profiles in words and hold them against the rules
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin profile lint my-profile.toml br-7.1.2.7-tls-server\n\n\
    Rules: RFC 5280, O15, P1, P2, P4, and the TLS Baseline Requirements where the profile names them. Ends with exit code 1 where there is an error;\n\
    warnings and notices are told.")]
struct Lint {
    /// Files that end in .toml, or names of profiles that come with the program (kakunin profile list)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Print a line of JSON for each profile
    #[arg(long)]
    json: bool,
}

/// List the profiles that come with the program
#[derive(Debug, Args)]
#[command(after_help = "Example: kakunin profile list --json")]
struct List {
    /// Print a line of JSON for each profile
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    kind: Kind,
    title: &'a str,
    source: &'a str,
    legacy: Vec<&'static str>,
}

#[derive(Serialize)]
struct Linted<'a> {
    #[serde(flatten)]
    profile: Listed<'a>,
    findings: Vec<Finding>,
}

impl ProfileCommand {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Subcommands::Lint(lint) => lint.run(),
            Subcommands::List(list) => list.run(),
        }
    }
}

impl Lint {
    fn run(self) -> Result<()> {
        if self.files.len() > MAX_PROFILES {
            bail!("{} profiles: wanted at most {MAX_PROFILES}", self.files.len());
        }
        // All are read before anything is said of one.
        let profiles = self.files.iter().map(|file| Profile::find(file)).collect::<Result<Vec<_>, _>>()?;
        let (now, mut output, mut errors) = (Timestamp::now(), Output::new(), 0);
        for profile in &profiles {
            let findings = profile.lint(now);
            errors += findings.iter().filter(|finding| finding.level == Level::Error).count();
            let written = if self.json {
                output.json(&Linted { profile: describe(profile), findings })
            } else {
                tell(&mut output, profile, &findings)
            };
            written.context("standard output")?;
        }
        output.finish().context("standard output")?;
        match errors {
            0 => Ok(()),
            errors => bail!("{errors} errors in {} profiles", profiles.len()),
        }
    }
}

fn tell(output: &mut Output, profile: &Profile, findings: &[Finding]) -> std::io::Result<()> {
    output.line(profile.explain().trim_end())?;
    for finding in findings {
        output.line(format_args!("{:<8} {finding}", finding.level))?;
    }
    output.line(if findings.is_empty() { "no findings\n" } else { "" })
}

impl List {
    fn run(self) -> Result<()> {
        let mut output = Output::new();
        for name in Profile::shipped_names() {
            let profile = Profile::shipped(name)?;
            let listed = describe(&profile);
            let written = if self.json {
                output.json(&listed)
            } else {
                let legacy = if profile.is_legacy() { " LEGACY" } else { "" };
                output.line(format_args!("{name:<34} {:<15} {}{legacy}", profile.kind().name(), profile.title()))
            };
            written.context("standard output")?;
        }
        output.finish().context("standard output")
    }
}

fn describe(profile: &Profile) -> Listed<'_> {
    Listed {
        name: profile.name(),
        kind: profile.kind(),
        title: profile.title(),
        source: profile.source(),
        legacy: profile.legacy_algorithms(),
    }
}
