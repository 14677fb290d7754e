//! `cargo bench --bench peers`: this server beside the real ones, in the same minute, on the same machine.
//!
//! Servers run on core 0, the load on core 1. Every pattern of load is put to each server in turn, over several rounds. The figure that counts is CPU time
//! of the server per request, as a ratio within a round. Nothing is installed and nothing is asserted; load goes to 127.0.0.1 only.

mod floor;
mod load;
mod processes;
mod report;
mod servers;
mod world;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use load::{Pattern, Random, Requests};
use report::{Report, Sample};
use servers::{Peer, Programs, Server, Servers};
use world::{Demo, OcspRequests, StaticRequests};

/// Compares kakunin with nginx, cfssl, OpenSSL and the floor
#[derive(Debug, Parser)]
struct Options {
    /// Certificates of the demo that is built once and then kept
    #[arg(long, default_value_t = 1_000_000)]
    certificates: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    connections: u64,
    /// Only scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Also write every sample as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor instead: the files with its responses
    #[arg(long, hide = true, num_args = 2)]
    floor: Option<Vec<PathBuf>>,
}

/// A pattern of load, and who is asked.
struct Scenario {
    name: &'static str,
    peers: &'static [Peer],
    ocsp: fn(&OcspRequests) -> &Requests,
    file: fn(&StaticRequests) -> &Requests,
    pattern: Pattern,
    /// At half of the rate that the server has just taken in the scenario [`GET`].
    half_rate: bool,
}

pub(crate) const GET: &str = "GET";
pub(crate) const POST: &str = "POST";
pub(crate) const NEW_CONNECTION: &str = "GET, new connection";
pub(crate) const POST_NEW_CONNECTION: &str = "POST, new connection";
pub(crate) const PIPELINE: &str = "GET, 16-deep pipeline";
pub(crate) const CONDITIONAL: &str = "conditional GET, 304";
pub(crate) const HALF_RATE: &str = "GET at half rate";

fn scenarios(connections: usize) -> Vec<Scenario> {
    use Peer::{Cfssl, Floor, Kakunin, Nginx, OpenSsl};
    const PLAIN: &[Peer] = &[Kakunin, Nginx, Floor];
    let pattern = Pattern { connections, depth: 1, fresh: false, rate: None, status: 200 };
    let get = Scenario { name: GET, peers: PLAIN, ocsp: |r| &r.get, file: |r| &r.get, pattern, half_rate: false };
    let fresh = Pattern { fresh: true, ..pattern };
    vec![
        Scenario { ..get },
        Scenario { name: HALF_RATE, half_rate: true, ..get },
        Scenario { name: POST, peers: &[Kakunin, Floor], ocsp: |r| &r.post, ..get },
        // These load every response before they serve, so they have some of them only.
        Scenario { name: POST, peers: &[Cfssl], ocsp: |r| &r.post_samples, ..get },
        Scenario { name: NEW_CONNECTION, ocsp: |r| &r.get_close, file: |r| &r.get_close, pattern: fresh, ..get },
        Scenario {
            name: POST_NEW_CONNECTION,
            peers: &[Kakunin, OpenSsl],
            ocsp: |r| &r.post_samples_close,
            pattern: Pattern { connections: 4, ..fresh },
            ..get
        },
        Scenario { name: PIPELINE, pattern: Pattern { depth: 16, ..pattern }, ..get },
        Scenario {
            name: CONDITIONAL,
            ocsp: |r| &r.conditional,
            file: |r| &r.conditional,
            pattern: Pattern { status: 304, ..pattern },
            ..get
        },
    ]
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some([ok, not_modified]) = options.floor.as_deref() {
        return floor::serve(ok, not_modified);
    }
    if !options.bench {
        writeln!(stderr(), "peers: nothing is measured but by `cargo bench --bench peers`")?;
        return Ok(());
    }
    let report = compare(&options)?;
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report.to_json())?).with_context(|| format!("--json {}", file.display()))?;
    }
    write!(stdout(), "{report}")?;
    Ok(())
}

fn compare(options: &Options) -> Result<Report> {
    let programs = Programs::find()?;
    let bench = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    std::fs::create_dir_all(&bench)?;
    say(&format!("a demo of {} certificates in {}", options.certificates, bench.display()))?;
    let demo = Demo::ensure(&bench, options.certificates)?;
    processes::pin_load()?;
    let servers = Servers::start(&programs, &demo, &bench.join("run"))?;
    let mut report = Report::new(demo.serials.len(), servers.response_octets, options.connections);
    let (ticks, mut random) = (processes::ticks_per_second()?, Random(0x6b61_6b75_6e69_6e00));
    let scenarios = scenarios(options.connections as usize);
    for round in 0..options.rounds {
        for scenario in scenarios.iter().filter(|scenario| scenario.name.contains(&options.only)) {
            let mut peers = scenario.peers.to_vec();
            if round % 2 == 1 {
                peers.reverse();
            }
            for peer in peers {
                let server = servers.all.iter().find(|server| server.peer == peer).context("every peer was started")?;
                let requests = servers.requests(peer, scenario.ocsp, scenario.file);
                let rate = report.last_rate(peer).filter(|_| scenario.half_rate).map(|rate| rate / 2.0);
                if scenario.half_rate && rate.is_none() {
                    continue; // what the whole of it is has not been measured
                }
                say(&format!("round {} of {}: {}: {}", round + 1, options.rounds, scenario.name, peer.name()))?;
                let pattern = Pattern { rate, ..scenario.pattern };
                let sample = measure(server, requests, pattern, options.seconds, ticks, &mut random);
                report.add(scenario.name, peer, sample.with_context(|| format!("{}, {}", scenario.name, peer.name()))?);
            }
        }
    }
    Ok(report)
}

fn measure(server: &Server, requests: &Requests, pattern: Pattern, seconds: u64, ticks: f64, random: &mut Random) -> Result<Sample> {
    load::run(server.address, requests, pattern, Duration::from_millis(200), random)?;
    let before = server.process.cpu(ticks)?;
    let measured = load::run(server.address, requests, pattern, Duration::from_secs(seconds), random)?;
    let after = server.process.cpu(ticks)?;
    Ok(Sample::new(&measured, before, after))
}

/// Tells what is going on.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "peers: {text}")?)
}
