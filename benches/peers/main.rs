//! `cargo bench --bench peers`: this server beside the real ones, in the same minute, on the same machine.
//!
//! Servers run on core 0, the load on core 1. Every pattern of load is put to each server in turn, over several rounds. The figure that counts is CPU time
//! of the server per request, as a ratio within a round. Nothing is installed and nothing is asserted; load goes to 127.0.0.1 only.
//!
//! Percentiles are compared below saturation, since at the maximum rate they say only how many connections wait. There requests come at random times
//! (Poisson), as those of many independent clients do, whether or not the server keeps up, and latency counts from the time when a request was to be sent.
//! Two rates: half of each server's own maximum, where both are as busy as each other, and one rate for all. A disturbance of a few milliseconds, by the host
//! of a virtual machine for instance, spoils the p99 of the second in which it falls. So the servers alternate second by second, and what is compared is the
//! median of the p99 of windows of 50 ms, for all servers alike; that of whole seconds stands beside it.
//! How much servers and load have waited for their cores is told too: where it is not next to nothing, the machine was not quiet, and percentiles say little.

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

use load::{Load, Pattern, Random, Requests};
use report::{Report, Sample};
use servers::{Peer, Programs, Server, Servers};
use world::{Demo, Key, OcspRequests, StaticRequests};

/// What goes before each measurement, on the same connections.
const WARM_UP: Duration = Duration::from_millis(200);
/// Certificates of the demo with RSA-2048 keys: more would take long to build, and with these a table is larger than any cache, too.
const RSA_CERTIFICATES: u64 = 20_000;

/// Compares kakunin with nginx, cfssl, OpenSSL and the floor
#[derive(Debug, Parser)]
struct Options {
    /// Certificates of the demo that is built once and then kept
    #[arg(long, default_value_t = 1_000_000)]
    certificates: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// How long each measurement takes; percentiles below the maximum rate: so many measurements of a second each
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
    rate: Rate,
}

/// How many requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rate {
    /// As many as the server takes.
    Maximum,
    /// Half of what it takes in the scenario [`GET`]: the median of the rounds so far.
    HalfOfOwn,
    /// Half of what the slower of nginx and ours takes: the same for every server.
    Same,
}

pub(crate) const GET: &str = "GET";
pub(crate) const POST: &str = "POST";
pub(crate) const NEW_CONNECTION: &str = "GET, new connection";
pub(crate) const POST_NEW_CONNECTION: &str = "POST, new connection";
pub(crate) const PIPELINE: &str = "GET, 16-deep pipeline";
pub(crate) const CONDITIONAL: &str = "conditional GET, 304";
pub(crate) const HALF_RATE: &str = "GET at half of its max";
pub(crate) const SAME_RATE: &str = "GET at the same rate";

fn scenarios(connections: usize) -> Vec<Scenario> {
    use Peer::{Cfssl, Floor, Kakunin, KakuninRsa, Nginx, OpenSsl, OpenSslRsa};
    const PLAIN: &[Peer] = &[Kakunin, Nginx, Floor];
    let pattern = Pattern { connections, depth: 1, fresh: false, rate: None, status: 200 };
    let get = Scenario { name: GET, peers: PLAIN, ocsp: |r| &r.get, file: |r| &r.get, pattern, rate: Rate::Maximum };
    let fresh = Pattern { fresh: true, ..pattern };
    vec![
        Scenario { ..get },
        Scenario { name: HALF_RATE, rate: Rate::HalfOfOwn, ..get },
        Scenario { name: SAME_RATE, rate: Rate::Same, ..get },
        Scenario { name: POST, peers: &[Kakunin, Floor, KakuninRsa], ocsp: |r| &r.post, ..get },
        // These load every response before they serve, so they have some of them only.
        Scenario { name: POST, peers: &[Cfssl], ocsp: |r| &r.post_samples, ..get },
        Scenario { name: NEW_CONNECTION, ocsp: |r| &r.get_close, file: |r| &r.get_close, pattern: fresh, ..get },
        Scenario {
            name: POST_NEW_CONNECTION,
            peers: &[Kakunin, OpenSsl, KakuninRsa, OpenSslRsa],
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
    say(&format!(
        "demos of {} certificates with P-256 and {RSA_CERTIFICATES} with RSA-2048 keys in {}",
        options.certificates,
        bench.display()
    ))?;
    let demo = Demo::ensure(&bench, options.certificates, Key::P256)?;
    let rsa = Demo::ensure(&bench, RSA_CERTIFICATES, Key::Rsa2048)?;
    processes::pin_load()?;
    let servers = Servers::start(&programs, &demo, &rsa, &bench.join("run"))?;
    let mut report = Report::new(demo.serials.len(), demo.key.algorithm(), servers.response_octets, options.connections);
    let (ticks, mut random) = (processes::ticks_per_second()?, Random(0x6b61_6b75_6e69_6e00));
    let scenarios = scenarios(options.connections as usize);
    for round in 0..options.rounds {
        for scenario in scenarios.iter().filter(|scenario| scenario.name.contains(&options.only)) {
            let (slices, duration) = match scenario.rate {
                Rate::Maximum => (1, Duration::from_secs(options.seconds)),
                _ => (options.seconds, Duration::from_secs(1)),
            };
            say(&format!("round {} of {}: {}: {:?}", round + 1, options.rounds, scenario.name, scenario.peers))?;
            for peer in (0..slices).flat_map(|slice| in_turn(scenario.peers, round + slice)) {
                let Some(pattern) = scenario.pattern_for(peer, &report) else { continue };
                let server = servers.all.iter().find(|server| server.peer == peer).context("every peer was started")?;
                let requests = servers.requests(peer, scenario.ocsp, scenario.file);
                let sample = measure(server, Load::new(server.address, requests, pattern, &mut random)?, duration, ticks);
                report.add(scenario.name, peer, sample.with_context(|| format!("{}, {}", scenario.name, peer.name()))?);
            }
        }
    }
    Ok(report)
}

/// Forwards and backwards by turns, so that no server always comes after the same one.
fn in_turn(peers: &[Peer], turn: u64) -> Vec<Peer> {
    let mut peers = peers.to_vec();
    if turn % 2 == 1 {
        peers.reverse();
    }
    peers
}

impl Scenario {
    /// The pattern with its rate for a server; `None` where the maximum on which it depends has not been measured.
    fn pattern_for(&self, peer: Peer, report: &Report) -> Option<Pattern> {
        let rate = match self.rate {
            Rate::Maximum => None,
            Rate::HalfOfOwn => Some(report.maximum_rate(peer)? / 2.0),
            Rate::Same => Some(report.maximum_rate(Peer::Kakunin)?.min(report.maximum_rate(Peer::Nginx)?) / 2.0),
        };
        Some(Pattern { rate, ..self.pattern })
    }
}

fn measure(server: &Server, mut load: Load<'_>, duration: Duration, ticks: f64) -> Result<Sample> {
    load.run(WARM_UP)?;
    let (before, waited_before) = (server.process.cpu(ticks)?, processes::waited(&server.process)?);
    let measured = load.run(duration)?;
    let (after, waited_after) = (server.process.cpu(ticks)?, processes::waited(&server.process)?);
    Ok(Sample::new(&measured, before, after, waited_after.saturating_sub(waited_before)))
}

/// Tells what is going on.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "peers: {text}")?)
}
