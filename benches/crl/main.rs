//! `cargo bench --bench crl`: what a great CRL costs. In one run: encoding ÷ copying the same octets; the whole job, through the real registry, signer and
//! gate, ÷ `openssl ca -gencrl` on the same revoked certificates; and the job's peak memory ÷ the CRL.
//!
//! Every round measures each of them once, one after the other; medians count, and only ratios within a round mean anything. Installs and asserts nothing.

mod encode;
mod job;
mod openssl;
mod usage;
mod world;

use std::fmt;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};

use job::Job;
use usage::Usage;
use world::World;

/// Measures the making of a great CRL
#[derive(Debug, Parser)]
struct Options {
    /// Revoked certificates on it
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    entries: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the job instead, on the registry in this directory
    #[arg(long, hide = true)]
    job: Option<PathBuf>,
}

/// What one round has measured.
#[derive(Clone, Copy, Debug)]
struct Round {
    encode: encode::Sample,
    job: Job,
    openssl: Usage,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(directory) = &options.job {
        return job::run(directory);
    }
    if !options.bench {
        writeln!(stderr(), "crl: nothing is measured but by `cargo bench --bench crl`")?;
        return Ok(());
    }
    let bench = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench").join(format!("crl-{}", options.entries));
    say(&format!("{} revoked certificates in {}", options.entries, bench.display()))?;
    let world = World::ensure(&bench, options.entries)?;
    let entries: Vec<_> = world::entries(options.entries).collect();
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        say(&format!("round {} of {}", round + 1, options.rounds))?;
        let encode = encode::measure(&entries)?;
        let job = job::measure(&world)?;
        rounds.push(Round { encode, job, openssl: openssl::measure(&world)? });
    }
    let report = Report { entries: options.entries, rounds };
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report.to_json())?).with_context(|| format!("--json {}", file.display()))?;
    }
    write!(stdout(), "{report}")?;
    Ok(())
}

/// Tells what is going on.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "crl: {text}")?)
}

struct Report {
    entries: u64,
    rounds: Vec<Round>,
}

/// A ratio that is reported, and what is wanted of it.
struct Ratio {
    name: &'static str,
    key: &'static str,
    wanted: &'static str,
    of: fn(&Round) -> f64,
}

const RATIOS: [Ratio; 5] = [
    Ratio { name: "encode ÷ copy", key: "encode_over_copy", wanted: "≤ 4, goal 2", of: |r| r.encode.encode / r.encode.copy },
    Ratio {
        name: "openssl ÷ job, time",
        key: "openssl_over_job_wall",
        wanted: "≥ 20, goal 50",
        of: |r| r.openssl.wall / r.job.process.wall,
    },
    Ratio {
        name: "openssl ÷ job until published, time",
        key: "openssl_over_job_published",
        wanted: "",
        of: |r| r.openssl.wall / r.job.published,
    },
    Ratio { name: "openssl ÷ job, CPU", key: "openssl_over_job_cpu", wanted: "", of: |r| r.openssl.cpu / r.job.process.cpu },
    Ratio {
        name: "peak memory ÷ CRL",
        key: "peak_over_crl",
        wanted: "≤ 3, goal 2",
        of: |r| r.job.peak_bytes as f64 / r.encode.octets as f64,
    },
];

impl Report {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Medians and every round, times in seconds.
    fn to_json(&self) -> Value {
        let ratios: Value = RATIOS.iter().map(|ratio| (ratio.key.to_owned(), json!(self.median(ratio.of)))).collect();
        let round = |r: &Round| {
            json!({
                "encode": r.encode.encode, "copy": r.encode.copy, "crl_octets": r.encode.octets,
                "job_wall": r.job.process.wall, "job_cpu": r.job.process.cpu, "job_published": r.job.published, "job_peak_octets": r.job.peak_bytes,
                "openssl_wall": r.openssl.wall, "openssl_cpu": r.openssl.cpu,
            })
        };
        json!({ "entries": self.entries, "medians": ratios, "rounds": self.rounds.iter().map(round).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.median(|r| r.encode.octets as f64);
        writeln!(f, "a CRL of {} entries, {:.1} MB; medians of {} rounds", self.entries, octets / 1e6, self.rounds.len())?;
        let milliseconds = |of: fn(&Round) -> f64| self.median(of) * 1e3;
        writeln!(f, "  encode {:.0} ms, copy {:.0} ms", milliseconds(|r| r.encode.encode), milliseconds(|r| r.encode.copy))?;
        for (name, wall, cpu) in [
            ("job", milliseconds(|r| r.job.process.wall), milliseconds(|r| r.job.process.cpu)),
            ("openssl ca -gencrl", milliseconds(|r| r.openssl.wall), milliseconds(|r| r.openssl.cpu)),
        ] {
            writeln!(f, "  {name}: {wall:.0} ms, {cpu:.0} ms of CPU")?;
        }
        for ratio in RATIOS {
            let (least, greatest) = self.rounds.iter().map(ratio.of).fold((f64::MAX, 0.0), |(a, b), x| (f64::min(a, x), f64::max(b, x)));
            let median = self.median(ratio.of);
            writeln!(f, "{:34} {median:7.2}   ({least:.2} to {greatest:.2})   {}", ratio.name, ratio.wanted)?;
        }
        Ok(())
    }
}
