//! `cargo bench --bench capacity`: how many certificates fit into memory, how soon they are there, and what a change costs among them.
//!
//! Everything goes through the real code: the pack builder, the SQLite registry, the follower that loads it, the status map, `responder::ocsp::answer`, and
//! the program itself where it serves. Only the signatures are synthetic, random octets of the right form and length: to sign a hundred million responses is
//! not what is measured. Every measurement is made in a process of its own, so that its memory is its own. Nothing is asserted but that answers are right.

mod answers;
mod cold_start;
mod content;
#[path = "../peers/load.rs"]
mod load;
mod machine;
#[path = "../peers/processes.rs"]
#[expect(dead_code, reason = "the peers need more of it")]
mod processes;
mod registry;
#[path = "../common/report.rs"]
mod report;
mod revocation;
#[path = "../common/serials.rs"]
mod serials;
mod serving;
mod swapping;
mod swapping_http;
mod world;

use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use kakunin::pki::KeyAlgorithm;
use serde::Serialize;
use serde::de::DeserializeOwned;

use report::{Report, Wanted};
use world::World;

/// Measures memory, cold start, revocation and swapping with many certificates
#[derive(Debug, Parser)]
struct Options {
    /// Certificates in every part but the largest
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    certificates: u64,
    /// Certificates in the largest part
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(10_000..=400_000_000))]
    largest: u64,
    /// How often what is compared is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Only parts whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Where registries are written: 9 GB for 100 million certificates
    #[arg(long, value_name = "DIR", default_value_os_t = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench"))]
    directory: PathBuf,
    /// Keep the registries, and use those that are there (they are fresh for six days)
    #[arg(long)]
    keep: bool,
    /// Also write every figure as JSON, after each part all that there are
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
    /// Be a process that measures one thing instead
    #[arg(long, hide = true)]
    job: Option<Job>,
    /// The key of the job's world
    #[arg(long, hide = true, default_value = "ecdsa-p256")]
    key: KeyAlgorithm,
}

/// What is done in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Makes a registry
    Build,
    /// Reads every pack's octets and does nothing with them
    Scan,
    /// Loads the registry and answers random requests
    Answer,
    /// Puts revocations into a loaded map
    Revoke,
    /// Answers while slots are swapped
    Swap,
}

/// A part of the measurements.
struct Part {
    name: &'static str,
    key: KeyAlgorithm,
    largest: bool,
    run: fn(&World, u64, &mut Report) -> Result<()>,
}

fn parts() -> [Part; 6] {
    use KeyAlgorithm::{EcdsaP256, Rsa2048};
    const P256: Wanted = Wanted { must: "≤ 115", goal: "≤ 100" };
    const RSA: Wanted = Wanted { must: "≤ 300", goal: "≤ 285" };
    [
        Part { name: "memory P-256", key: EcdsaP256, largest: false, run: |world, _, report| memory(world, P256, report) },
        Part { name: "cold start", key: EcdsaP256, largest: false, run: cold_start::measure },
        Part { name: "revocation", key: EcdsaP256, largest: false, run: revocation::measure },
        Part { name: "swapping", key: EcdsaP256, largest: false, run: swapping::measure },
        Part { name: "memory RSA-2048", key: Rsa2048, largest: false, run: |world, _, report| memory(world, RSA, report) },
        Part { name: "largest", key: EcdsaP256, largest: true, run: |world, _, report| memory(world, P256, report) },
    ]
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(job) = options.job {
        return work(job, &World::new(&options.directory, options.key, options.certificates), options.rounds);
    }
    if !options.bench {
        writeln!(stderr(), "capacity: nothing is measured but by `cargo bench --bench capacity`")?;
        return Ok(());
    }
    measure(&options)
}

/// Measures part after part, and tells of each as soon as it is done.
fn measure(options: &Options) -> Result<()> {
    let parts = parts();
    let wanted: Vec<&Part> = parts.iter().filter(|part| part.name.contains(&options.only)).collect();
    let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
    ensure!(!wanted.is_empty(), "--only {}: no part has it in its name, there are: {}", options.only, names.join(", "));
    for tool in ["setpriv", "taskset"] {
        processes::find(tool, "util-linux")?;
    }
    let mut report = Report::default();
    for (index, part) in wanted.iter().enumerate() {
        let world = World::new(&options.directory, part.key, if part.largest { options.largest } else { options.certificates });
        registry::ensure(&world)?;
        say(&format!("{}: {} certificates", part.name, world.certificates))?;
        report.begin(part.name, world.certificates);
        let outcome = (part.run)(&world, options.rounds, &mut report).with_context(|| part.name);
        let needed_again = wanted[index + 1..].iter().any(|later| later.key == part.key && later.largest == part.largest);
        if !options.keep && (!needed_again || outcome.is_err()) {
            std::fs::remove_dir_all(&world.directory).with_context(|| format!("{}", world.directory.display()))?;
        }
        outcome?;
        write!(stdout(), "{}", report.of_part())?;
        if let Some(file) = &options.json {
            std::fs::write(file, serde_json::to_vec_pretty(&report)?).with_context(|| format!("--json {}", file.display()))?;
        }
    }
    Ok(())
}

/// How much memory it takes to hold the world ready: once as the program that serves it, once as this one that asks `answer` itself.
fn memory(world: &World, wanted: Wanted, report: &mut Report) -> Result<()> {
    serving::measure(world, wanted, report)?;
    answers::measure(world, report)
}

fn work(job: Job, world: &World, rounds: u64) -> Result<()> {
    match job {
        Job::Build => tell(&registry::build(world)?),
        Job::Scan => tell(&cold_start::scan(world)?),
        Job::Answer => tell(&answers::work(world)?),
        Job::Revoke => tell(&revocation::work(world)?),
        Job::Swap => tell(&swapping::work(world, rounds)?),
    }
}

fn tell(outcome: &impl Serialize) -> Result<()> {
    Ok(writeln!(stdout(), "{}", serde_json::to_string(outcome)?)?)
}

/// Has a job done by a process of its own, which ends with this one, and returns what came of it.
fn job<T: DeserializeOwned>(job: Job, world: &World, rounds: u64) -> Result<T> {
    let name = job.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let root: &Path = world.directory.parent().context("a world is in a directory")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(std::env::current_exe()?).arg("--job").arg(&name).arg("--directory").arg(root);
    command.args(["--key", world.key.name(), "--certificates", &world.certificates.to_string(), "--rounds", &rounds.to_string()]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the process for '{name}' has ended: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("the process for '{name}'"))
}

/// Tells what is going on.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "capacity: {text}")?)
}
