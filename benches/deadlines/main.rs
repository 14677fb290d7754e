//! `cargo bench --bench deadlines`: what refresh costs everybody else, and how even it is.
//!
//! The program itself, on a copy of a demo's registry, with a refresh interval so short that refresh is never done: how soon a revocation is answered while
//! clients ask at half of the greatest rate, and what an answer costs meanwhile. And, by the schedule alone, how even the steady refresh is. Figures are told
//! beside what is wanted of them; nothing is asserted but that answers are right and that refresh was busy. Load goes to 127.0.0.1 only.

mod evenness;
#[path = "../peers/load.rs"]
mod load;
#[path = "../capacity/machine.rs"]
#[expect(dead_code, reason = "capacity needs more of it")]
mod machine;
#[path = "../peers/processes.rs"]
#[expect(dead_code, reason = "the peers need more of it")]
mod processes;
mod refreshing;
#[path = "../common/report.rs"]
mod report;
mod revocations;
mod throughput;
#[path = "../peers/world.rs"]
#[expect(dead_code, reason = "the peers need more of it")]
mod world;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use refreshing::Refreshing;
use report::Report;

/// Measures revocations and answers while refresh is busy, and how even refresh is
#[derive(Debug, Parser)]
struct Options {
    /// Certificates of the demo that is built once and then kept: fewer are refreshed too soon
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100_000..=10_000_000))]
    certificates: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Revocations of a round
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=1000))]
    revocations: u64,
    /// How long throughput is measured each time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Only parts whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Also write every figure as JSON, after each part all that there are
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the measurements.
struct Part {
    name: &'static str,
    run: fn(&Options, &mut Report) -> Result<()>,
}

const PARTS: [Part; 3] = [
    Part { name: "even refresh", run: |_, report| evenness::measure(report) },
    Part { name: "throughput", run: |options, report| throughput::measure(&refreshing(options)?, options.rounds, options.seconds, report) },
    Part {
        name: "revocation",
        run: |options, report| revocations::measure(&refreshing(options)?, options.rounds, options.revocations, report),
    },
];

fn main() -> Result<()> {
    let options = Options::parse();
    if !options.bench {
        writeln!(stderr(), "deadlines: nothing is measured but by `cargo bench --bench deadlines`")?;
        return Ok(());
    }
    let wanted: Vec<&Part> = PARTS.iter().filter(|part| part.name.contains(&options.only)).collect();
    let names = PARTS.map(|part| part.name).join(", ");
    ensure!(!wanted.is_empty(), "--only {}: no part has it in its name, there are: {names}", options.only);
    let mut report = Report::default();
    for part in wanted {
        report.begin(part.name, options.certificates);
        (part.run)(&options, &mut report).context(part.name)?;
        write!(stdout(), "{}", report.of_part())?;
        if let Some(file) = &options.json {
            std::fs::write(file, serde_json::to_vec_pretty(&report)?).with_context(|| format!("--json {}", file.display()))?;
        }
    }
    Ok(())
}

/// A fresh copy of the demo for a part.
fn refreshing(options: &Options) -> Result<Refreshing> {
    let bench = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    std::fs::create_dir_all(&bench)?;
    say(&format!("a demo of {} certificates in {}", options.certificates, bench.display()))?;
    Refreshing::copy_of_demo(&bench, options.certificates)
}

/// Tells what is going on.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "deadlines: {text}")?)
}
