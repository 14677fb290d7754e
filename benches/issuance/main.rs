//! `cargo bench --bench issuance`: how near a batch of certificates comes to what the token can do, with everything that it takes: requests read and vetted,
//! certificates signed and registered, their OCSP responses signed and published. Beside nothing but C_Sign with the same key, and beside `openssl ca` on the
//! same requests, all in one run.
//!
//! The CA's key is P-256, on a SoftHSM2 token of its own and in a file; it signs the responses too.

#[path = "../common/softhsm.rs"]
mod softhsm;
mod world;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use kakunin::pki::KeyAlgorithm;
use kakunin::token::{Key, signatures_per_second};
use world::{OpensslCa, Requests, World};

#[derive(Debug, Parser)]
struct Options {
    /// Requests of a batch
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    requests: u32,
    /// Requests for `openssl ca`, which is slow
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    openssl_requests: u32,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Threads, and sessions
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Writes the figures to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    softhsm::with_token(|directory| measure_all(&options, directory))
}

/// Figures of one place of the key; a value a round.
struct Measured {
    place: &'static str,
    /// C_Sign, a second.
    raw: Vec<f64>,
    /// Certificates issued and registered, a second.
    issued: Vec<f64>,
    /// Signatures a second over issuing and publishing: a certificate and two responses each.
    signatures: Vec<f64>,
    /// `openssl ca`, certificates a second.
    openssl: Vec<f64>,
    /// Octets of resident memory at most.
    peak: u64,
}

fn measure_all(options: &Options, directory: &Path) -> Result<()> {
    let requests = Requests::make(directory, options.requests, usize::from(options.threads))?;
    let openssl = OpensslCa::new(directory, &requests, options.openssl_requests)?;
    let token = softhsm::open(directory, usize::from(options.threads) + 1)?;
    let mut all = Vec::new();
    for (place, key) in softhsm::keys(&token, directory, KeyAlgorithm::EcdsaP256)? {
        all.push(measure(options, directory, place, &key, &requests, &openssl)?);
    }
    print(options, &all)
}

fn measure(
    options: &Options,
    directory: &Path,
    place: &'static str,
    key: &Key,
    requests: &Requests,
    openssl: &OpensslCa,
) -> Result<Measured> {
    let threads = usize::from(options.threads);
    let mut measured = Measured { place, raw: vec![], issued: vec![], signatures: vec![], openssl: vec![], peak: 0 };
    for round in 1..=options.rounds {
        eprintln!("issuance: round {round} of {}: key in {place}", options.rounds);
        measured.raw.push(signatures_per_second(key, threads, Duration::from_secs(3))?);
        let world = World::new(directory, &format!("{}-{round}", place.replace(' ', "-")), key, threads)?;
        world::forget_peak()?;
        let start = Instant::now();
        let issued = world.issue(requests)?;
        let issuing = start.elapsed();
        ensure!(issued == u64::from(options.requests), "{issued} certificates were issued, wanted {}", options.requests);
        let responses = world.publish()?;
        let whole = start.elapsed();
        measured.peak = measured.peak.max(world::peak_bytes()?);
        measured.issued.push(issued as f64 / issuing.as_secs_f64());
        measured.signatures.push((issued + responses) as f64 / whole.as_secs_f64());
        measured.openssl.push(openssl.issue(round)?);
    }
    Ok(measured)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| of / to).collect())
}

fn print(options: &Options, all: &[Measured]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{} requests, {} threads; medians of {} rounds\n", options.requests, options.threads, options.rounds)?;
    writeln!(
        out,
        "{:<10}{:>10}{:>14}{:>14}{:>20}{:>14}{:>16}{:>12}",
        "key in", "C_Sign/s", "issued/s", "issued ÷ core", "all signed ÷ C_Sign", "openssl ca/s", "÷ openssl ca", "peak MB"
    )?;
    let mut figures = Vec::new();
    for Measured { place, raw, issued, signatures, openssl, peak } in all {
        let (by_raw, by_openssl) = (ratio(signatures, raw), ratio(issued, openssl));
        let cores = f64::from(options.threads);
        writeln!(
            out,
            "{place:<10}{:>10.0}{:>14.0}{:>14.0}{by_raw:>20.3}{:>14.0}{by_openssl:>16.1}{:>12.0}",
            median(raw.clone()),
            median(issued.clone()),
            median(issued.clone()) / cores,
            median(openssl.clone()),
            *peak as f64 / 1e6
        )?;
        figures.push(serde_json::json!({
            "place": place, "raw": raw, "issued": issued, "signatures": signatures, "openssl_ca": openssl, "peak_bytes": peak,
            "signatures_by_raw": by_raw, "issued_by_openssl": by_openssl,
        }));
    }
    writeln!(out, "\nmust: all signed ÷ C_Sign ≥ 0.90 on the token, issued ÷ core ≥ 5000 in a file, ÷ openssl ca ≥ 10, peak ≤ 200 MB")?;
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)?).with_context(|| format!("--json: {}", file.display()))?;
    }
    Ok(())
}
