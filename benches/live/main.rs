//! `cargo bench --bench live`: how near the live lane comes to what the token can do. Both are measured in one run, in turns, with the same key and as many
//! threads: signatures a second of nothing but C_Sign, and answers with a nonce from request to response, where none is kept and each is signed.
//!
//! Requests are read, decided on and waited for on a thread of its own, as a listener does it; HTTP is left out. Give signing threads and that thread a core
//! each. Keys: P-256 and RSA-2048 on a SoftHSM2 token of its own, and the same in files.

#[path = "../common/softhsm.rs"]
mod softhsm;
mod world;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use kakunin::pki::KeyAlgorithm;
use kakunin::token::{Key, signatures_per_second};

use world::World;

#[derive(Debug, Parser)]
struct Options {
    /// Rounds of each measurement; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Signing threads, and sessions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Writes the figures to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// One kind of key in one place: signatures and answers a second of each round.
struct Measured {
    place: &'static str,
    algorithm: KeyAlgorithm,
    raw: Vec<f64>,
    live: Vec<f64>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    softhsm::with_token(|directory| measure_all(&options, directory))
}

fn measure_all(options: &Options, directory: &Path) -> Result<()> {
    let token = softhsm::open(directory, usize::from(options.threads) + 1)?;
    let mut all = Vec::new();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        for (place, key) in softhsm::keys(&token, directory, algorithm)? {
            all.push(measure(options, directory, place, &key)?);
        }
    }
    print(options, &all)
}

fn measure(options: &Options, directory: &Path, place: &'static str, key: &Key) -> Result<Measured> {
    let algorithm = key.key_algorithm();
    let world = Arc::new(World::new(&directory.join(format!("{algorithm}-{place}.sqlite")), key, usize::from(options.threads))?);
    let duration = Duration::from_secs(options.seconds);
    let mut measured = Measured { place, algorithm, raw: Vec::new(), live: Vec::new() };
    for round in 1..=options.rounds {
        eprintln!("live: round {round} of {}: {algorithm} in {place}", options.rounds);
        measured.raw.push(signatures_per_second(key, usize::from(options.threads), duration)?);
        measured.live.push(world.answers_per_second(duration)?);
    }
    Ok(measured)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(options: &Options, all: &[Measured]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\na second, {} signing threads; medians of {} rounds\n", options.threads, options.rounds)?;
    writeln!(out, "{:<12}{:<12}{:>10}{:>10}{:>16}{:>8}{:>8}", "key", "in", "C_Sign", "live", "live ÷ C_Sign", "must", "goal")?;
    let mut figures = Vec::new();
    for Measured { place, algorithm, raw, live } in all {
        let ratio = median(live.iter().zip(raw).map(|(live, raw)| live / raw).collect());
        let (key, in_place) = (algorithm.to_string(), place);
        writeln!(
            out,
            "{key:<12}{in_place:<12}{:>10.0}{:>10.0}{ratio:>16.3}{:>8}{:>8}",
            median(raw.clone()),
            median(live.clone()),
            "≥ 0.85",
            "≥ 0.95"
        )?;
        figures.push(serde_json::json!({ "key": key, "place": place, "raw": raw, "live": live, "ratio": ratio }));
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)?).with_context(|| format!("--json: {}", file.display()))?;
    }
    Ok(())
}
