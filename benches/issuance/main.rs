//! `cargo bench --bench issuance`: how near a batch of certificates comes to what the token can do, with everything that it takes: requests read and vetted,
//! certificates signed and registered, their OCSP responses signed and published. Beside nothing but C_Sign with the same key and as many sessions, before and
//! after, and beside `openssl ca` on the same requests, all in one round.
//!
//! The CA's key is P-256, on a SoftHSM2 token of its own and in a file; it signs the responses too. SoftHSM2 signs on the machine's own processor. With one
//! session it has a core, as a token has a processor of its own, and everything else must fit beside it; with a session a core, all else takes from it what it
//! takes itself, so that vetting and registering alone keep the whole below the raw rate.

#[path = "../common/report.rs"]
mod report;
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
use kakunin::token::{Key, TokenError, signatures_per_second};
use report::{BESIDE, Report, Wanted};
use world::{OpensslCa, Requests, World};

#[derive(Debug, Parser)]
struct Options {
    /// Requests of a batch
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    requests: u32,
    /// Requests for `openssl ca`, which is slow
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    openssl_requests: u32,
    /// Rounds; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Threads that sign, and sessions, where there is not one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Only the cases whose names hold this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
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

/// A place of the key, and how many sign with it at the same time.
struct Case {
    name: &'static str,
    key: Key,
    signers: usize,
    /// Of all signatures a second beside C_Sign.
    signatures: Wanted,
    /// Of certificates a second of one core.
    issued: Wanted,
}

/// One round.
struct Round {
    /// C_Sign, a second.
    raw: f64,
    /// Certificates issued and registered, a second.
    issued: f64,
    /// Signatures a second over issuing and publishing: a certificate and two responses each.
    signatures: f64,
    /// Processor time of a certificate until it is registered, and that of its two responses, in microseconds.
    issuing_micros: f64,
    publishing_micros: f64,
    /// `openssl ca`, certificates a second.
    openssl: f64,
    /// Octets of resident memory at most.
    peak: u64,
}

const AT_LEAST_0_9: Wanted = Wanted { must: "≥ 0.90", goal: "" };
const AT_LEAST_5000: Wanted = Wanted { must: "≥ 5000", goal: "" };
const AT_LEAST_10: Wanted = Wanted { must: "≥ 10", goal: "" };
const AT_MOST_200: Wanted = Wanted { must: "≤ 200", goal: "" };

fn measure_all(options: &Options, directory: &Path) -> Result<()> {
    let requests = Requests::make(directory, options.requests, usize::from(options.threads))?;
    let openssl = OpensslCa::new(directory, &requests, options.openssl_requests)?;
    let threads = usize::from(options.threads);
    let token = softhsm::open(directory, threads + 1)?;
    let [(_, on_token), (_, in_file)] = softhsm::keys(&token, directory, KeyAlgorithm::EcdsaP256)?;
    let cases = [
        Case { name: "a key in SoftHSM2, one session", key: on_token.clone(), signers: 1, signatures: AT_LEAST_0_9, issued: BESIDE },
        Case { name: "a key in SoftHSM2, sessions for all threads", key: on_token, signers: threads, signatures: BESIDE, issued: BESIDE },
        Case { name: "a key in a file", key: in_file, signers: threads, signatures: BESIDE, issued: AT_LEAST_5000 },
    ];
    let mut report = Report::default();
    for case in cases.iter().filter(|case| options.only.as_ref().is_none_or(|text| case.name.contains(text.as_str()))) {
        let rounds = (1..=options.rounds).map(|round| measure(options, directory, case, round, &requests, &openssl));
        let rounds = rounds.collect::<Result<Vec<Round>>>()?;
        report.begin(case.name, options.requests.into());
        add(&mut report, case, &rounds)?;
        write!(std::io::stdout(), "{}", report.of_part())?;
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?).with_context(|| format!("--json: {}", file.display()))?;
    }
    Ok(())
}

fn measure(options: &Options, directory: &Path, case: &Case, round: u16, requests: &Requests, openssl: &OpensslCa) -> Result<Round> {
    eprintln!("issuance: round {round} of {}: {}", options.rounds, case.name);
    let file = directory.join("registry.sqlite");
    let raw = || -> Result<f64, TokenError> { signatures_per_second(&case.key, case.signers, Duration::from_secs(3)) };
    let before = raw()?;
    let world = World::new(&file, &case.key, case.signers)?;
    world::forget_peak()?;
    let (start, processor) = (Instant::now(), world::processor_seconds()?);
    let issued = world.issue(requests)?;
    let (issuing, issuing_processor) = (start.elapsed(), world::processor_seconds()?);
    ensure!(issued == u64::from(options.requests), "{issued} certificates were issued, wanted {}", options.requests);
    let responses = world.publish()?;
    let (whole, publishing_processor) = (start.elapsed(), world::processor_seconds()?);
    let peak = world::peak_bytes()?;
    drop(world);
    world::remove(&file)?;
    let micros = |seconds: f64| seconds * 1e6 / issued as f64;
    Ok(Round {
        raw: (before + raw()?) / 2.0,
        issued: issued as f64 / issuing.as_secs_f64(),
        signatures: (issued + responses) as f64 / whole.as_secs_f64(),
        issuing_micros: micros(issuing_processor - processor),
        publishing_micros: micros(publishing_processor - issuing_processor),
        openssl: openssl.issue(round)?,
        peak,
    })
}

fn add(report: &mut Report, case: &Case, rounds: &[Round]) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get() as f64;
    let mut add = |name: &str, unit, wanted, of: &dyn Fn(&Round) -> f64| report.add(name, unit, wanted, rounds.iter().map(of));
    add("all signatures of certificates and status ÷ C_Sign alone", "", case.signatures, &|round| round.signatures / round.raw);
    add("  C_Sign alone, as many threads", "a second", BESIDE, &|round| round.raw);
    add("certificates ÷ `openssl ca`", "", AT_LEAST_10, &|round| round.issued / round.openssl);
    add("  `openssl ca`, with a key in a file", "a second", BESIDE, &|round| round.openssl);
    add("  certificates, until they are registered", "a second", BESIDE, &|round| round.issued);
    add("  the same for each core of the machine", "a second", case.issued, &|round| round.issued / cores);
    add("processor time of a certificate", "µs", BESIDE, &|round| round.issuing_micros);
    add("  of its two OCSP responses", "µs", BESIDE, &|round| round.publishing_micros);
    add("memory at most", "MB", AT_MOST_200, &|round| round.peak as f64 / 1e6);
    Ok(())
}
