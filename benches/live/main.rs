//! `cargo bench --bench live`: how near the live lane comes to what the token can do. Both are measured in one run, in turns, with the same key and as many
//! threads: signatures a second of nothing but C_Sign, and answers with a nonce from request to response, where none is kept and each is signed.
//!
//! Requests are made, read, decided on and waited for on a thread of its own, as a listener does it; HTTP is left out. A token that takes its time from the
//! machine's cores, as these do, would have to share them with whoever asks: so the first core asks, and the same other cores sign in both measurements, one
//! for each signing thread. The ratio of what a signature costs the signing threads in CPU time, alone and with all that is done there for an answer, holds on
//! a busy machine too. Keys: P-256 and RSA-2048 on a SoftHSM2 token of its own, and the same in files.

mod cores;
#[path = "../common/softhsm.rs"]
mod softhsm;
mod world;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kakunin::pki::KeyAlgorithm;
use kakunin::token::{Key, signatures_per_second};

use cores::Cores;
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
    /// Only keys whose algorithm or place has this in its name
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Writes the figures to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// One kind of key in one place.
struct Measured {
    place: &'static str,
    algorithm: KeyAlgorithm,
    raw: Vec<Rate>,
    live: Vec<Rate>,
}

/// What one round measured.
#[derive(Clone, Copy, serde::Serialize)]
struct Rate {
    /// Signatures or answers a second.
    per_second: f64,
    /// CPU time of the signing threads for each, in microseconds.
    cpu_micros: f64,
}

impl Rate {
    /// `work` tells how many a second it did, which took so much CPU time as `cpu` tells.
    fn of(cpu: impl Fn() -> Result<Duration>, work: impl FnOnce() -> Result<f64>) -> Result<Rate> {
        let (cpu_before, start) = (cpu()?, Instant::now());
        let per_second = work()?;
        let (cpu, elapsed) = (cpu()? - cpu_before, start.elapsed());
        Ok(Rate { per_second, cpu_micros: cpu.as_secs_f64() * 1e6 / (per_second * elapsed.as_secs_f64()) })
    }
}

/// CPU time of the process so far, by /proc/self/stat.
fn process_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(10 * ticks))
}

fn main() -> Result<()> {
    let options = Options::parse();
    softhsm::with_token(|directory| measure_all(&options, directory))
}

fn measure_all(options: &Options, directory: &Path) -> Result<()> {
    let token = softhsm::open(directory, usize::from(options.threads) + 1)?;
    let cores = Cores::of_this_process(usize::from(options.threads))?;
    let mut all = Vec::new();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        for (place, key) in softhsm::keys(&token, directory, algorithm)? {
            if format!("{algorithm} {place}").contains(&options.only) {
                all.push(measure(options, &cores, directory, place, &key)?);
            }
        }
    }
    print(options, &all)
}

fn measure(options: &Options, cores: &Cores, directory: &Path, place: &'static str, key: &Key) -> Result<Measured> {
    // Threads that are started here stay where this one is.
    cores.sign()?;
    let algorithm = key.key_algorithm();
    let world = Arc::new(World::new(&directory.join(format!("{algorithm}-{place}.sqlite")), key, usize::from(options.threads))?);
    let duration = Duration::from_secs(options.seconds);
    let mut measured = Measured { place, algorithm, raw: Vec::new(), live: Vec::new() };
    for round in 1..=options.rounds {
        eprintln!("live: round {round} of {}: {algorithm} in {place}", options.rounds);
        let threads = usize::from(options.threads);
        cores.sign()?;
        measured.raw.push(Rate::of(process_cpu, || Ok(signatures_per_second(key, threads, duration)?))?);
        cores.ask()?;
        measured.live.push(Rate::of(|| world.signing_cpu(), || world.answers_per_second(duration))?);
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
    let heads = ["key", "in", "C_Sign", "live", "live ÷ C_Sign", "by CPU time", "must", "goal"];
    writeln!(
        out,
        "{:<12}{:<12}{:>10}{:>10}{:>16}{:>14}{:>8}{:>8}",
        heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6], heads[7]
    )?;
    let mut figures = Vec::new();
    for Measured { place, algorithm, raw, live } in all {
        let over = |ratio: fn(&Rate, &Rate) -> f64| median(live.iter().zip(raw).map(|(live, raw)| ratio(live, raw)).collect());
        let (by_rate, by_cpu) = (over(|live, raw| live.per_second / raw.per_second), over(|live, raw| raw.cpu_micros / live.cpu_micros));
        let [raw_rate, live_rate] = [raw, live].map(|rates| median(rates.iter().map(|rate| rate.per_second).collect()));
        let key = algorithm.to_string();
        writeln!(out, "{key:<12}{place:<12}{raw_rate:>10.0}{live_rate:>10.0}{by_rate:>16.3}{by_cpu:>14.3}{:>8}{:>8}", "≥ 0.85", "≥ 0.95")?;
        figures.push(serde_json::json!({ "key": key, "place": place, "raw": raw, "live": live, "ratio": by_rate, "cpu_ratio": by_cpu }));
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)?).with_context(|| format!("--json: {}", file.display()))?;
    }
    Ok(())
}
