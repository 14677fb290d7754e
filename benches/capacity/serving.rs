//! The program itself, serving a world: its memory, and whether what it answers over HTTP is right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kakunin::pki::IssuerHashes;
use kakunin::registry::Registry;
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::responder::get_path;

use super::load::{Load, Pattern, Random, Requests, response_length};
use super::machine::{self, Memory};
use super::processes::{self, Process};
use super::report::{BESIDE, Report, Wanted};
use super::world::{self, World};

const KAKUNIN: &str = env!("CARGO_BIN_EXE_kakunin");
/// Responses that are decoded and held against what they should be.
const CHECKED: u64 = 2_000;
/// Certificates that are asked about in no order, for so long.
const ASKED: u64 = 100_000;
const SECONDS: u64 = 3;

/// The program, ready.
pub(crate) struct Serving {
    process: Process,
    pub(crate) address: SocketAddr,
    /// From its start.
    pub(crate) ready_after: Duration,
}

impl Serving {
    /// Starts it as a responder alone, and waits until it says that it is ready.
    pub(crate) fn start(world: &World) -> Result<Serving> {
        let (log, config) = (world.directory.join("serve.log"), world.config().display().to_string());
        let start = Instant::now();
        let mut process = Process::start("0,1", Path::new(KAKUNIN), &["serve", "--config", &config, "--roles", "responder"], &log)?;
        let ready = process.wait_for_line("ready ", &log)?;
        let ready_after = start.elapsed();
        let url = ready.split_whitespace().find_map(|word| word.strip_prefix("ocsp=http://")).context("no address")?;
        Ok(Serving { process, address: url.trim_end_matches('/').parse()?, ready_after })
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let cpu = self.process.cpu(processes::ticks_per_second()?)?;
        Ok(cpu.user + cpu.system)
    }

    fn memory(&self) -> Result<Memory> {
        machine::memory_of(&self.process.id().to_string())
    }
}

/// Adds the figures of a world to the report.
pub(crate) fn measure(world: &World, wanted: Wanted, report: &mut Report) -> Result<()> {
    machine::require_memory(world.pack_octets())?;
    let hashes = world::hashes(&SqliteRegistry::open_read_only(&world.registry())?.issuers()?.first().context("no issuer")?.certificate)?;
    let serving = Serving::start(world)?;
    let ready = serving.memory()?;
    check_some(world, &hashes, serving.address)?;
    let rate = ask_many(world, &hashes, serving.address)?;
    let after = serving.memory()?;
    let each = world.certificates as f64;
    report.add("resident octets of `kakunin serve` ÷ certificates, once ready", "", wanted, [ready.resident as f64 / each]);
    report.add("  at the most", "", BESIDE, [after.peak as f64 / each]);
    report.add("  all of it, after some load", "GB", BESIDE, [after.resident as f64 / 1e9]);
    report.add("  ready after", "s", BESIDE, [serving.ready_after.as_secs_f64()]);
    report.add(format!("  GETs for random certificates ({CHECKED} others decoded)"), "a second", BESIDE, [rate]);
    Ok(())
}

fn check_some(world: &World, hashes: &IssuerHashes, address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    for index in 0..CHECKED {
        let number = world.some(index);
        let request = world::request(hashes, number);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
            request.len()
        );
        stream.write_all(&[head.as_bytes(), &request].concat())?;
        let (mut octets, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        let head = loop {
            if let Some((status, head, _)) = response_length(&octets)? {
                ensure!(status == 200, "answered {status}");
                break head;
            }
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "the connection was closed");
            octets.extend_from_slice(&buffer[..read]);
        };
        world.check(number, &octets[head..])?;
    }
    Ok(())
}

/// GETs for random certificates, in no order.
pub(crate) fn gets(world: &World, hashes: &IssuerHashes) -> Requests {
    let mut requests = Requests::new("GET /", " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    for index in 0..ASKED {
        requests.push(&[get_path::encode(&world::request(hashes, world.some(index << 20))).as_bytes()]);
    }
    requests
}

/// Connections at a time, each with one request under way.
pub(crate) const PATTERN: Pattern = Pattern { connections: 64, depth: 1, fresh: false, rate: None, status: 200 };

fn ask_many(world: &World, hashes: &IssuerHashes, address: SocketAddr) -> Result<f64> {
    let (requests, mut random) = (gets(world, hashes), Random(1));
    let measured = Load::new(address, &requests, PATTERN, &mut random)?.run(Duration::from_secs(SECONDS))?;
    Ok(measured.responses as f64 / measured.elapsed.as_secs_f64())
}
