//! From the start of the program to ready, beside a plain scan of the same octets in the same file.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::report::{BESIDE, Report, Wanted};
use super::serving::Serving;
use super::world::World;
use super::{Job, job, machine, say};

/// What was read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scanned {
    packs: u64,
    octets: u64,
    sum: u64,
    cpu_seconds: f64,
}

/// Adds the figures to the report: each round the scan and the start in turn, the file in the page cache for both.
pub(crate) fn measure(world: &World, rounds: u64, report: &mut Report) -> Result<()> {
    machine::require_memory(world.pack_octets())?;
    scan_once(world)?;
    let (mut scans, mut starts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        say(&format!("cold start: round {} of {rounds}", round + 1))?;
        // Whoever comes second may find another machine: they take turns in coming first.
        for is_scan in [round % 2 == 0, round % 2 == 1] {
            if is_scan { scans.push(scan_once(world)?) } else { starts.push(start_once(world)?) }
        }
    }
    let ratio =
        |figure: fn(&Taken) -> f64| starts.iter().zip(&scans).map(move |(start, scan)| figure(start) / figure(scan)).collect::<Vec<_>>();
    report.add(
        "start of `kakunin serve` to ready ÷ plain scan of its packs",
        "",
        Wanted { must: "≤ 3", goal: "≤ 1.5" },
        ratio(|taken| taken.seconds),
    );
    report.add("  the same, CPU time of all threads", "", BESIDE, ratio(|taken| taken.cpu_seconds));
    report.add("  start to ready", "s", BESIDE, starts.iter().map(|taken| taken.seconds));
    report.add("  plain scan", "s", BESIDE, scans.iter().map(|taken| taken.seconds));
    Ok(())
}

/// What something took.
struct Taken {
    seconds: f64,
    /// Of all threads.
    cpu_seconds: f64,
}

fn start_once(world: &World) -> Result<Taken> {
    let serving = Serving::start(world)?;
    Ok(Taken { seconds: serving.ready_after.as_secs_f64(), cpu_seconds: serving.cpu_seconds()? })
}

fn scan_once(world: &World) -> Result<Taken> {
    let start = Instant::now();
    let scanned: Scanned = job(Job::Scan, world, 1)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(scanned.octets > world.certificates * world.key.raw_signature_length() as u64, "the scan has not read everything: {scanned:?}");
    Ok(Taken { seconds, cpu_seconds: scanned.cpu_seconds })
}

/// Reads every octet of every pack, through SQLite with its own defaults.
pub(crate) fn scan(world: &World) -> Result<Scanned> {
    let connection = Connection::open_with_flags(world.registry(), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let mut statement = connection.prepare("SELECT blob FROM response_pack")?;
    let mut rows = statement.query([])?;
    let mut scanned = Scanned { packs: 0, octets: 0, sum: 0, cpu_seconds: 0.0 };
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?.as_blob().context("a pack is a blob")?;
        let (words, rest) = blob.as_chunks::<8>();
        let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
        scanned.sum = scanned.sum.wrapping_add(sum).wrapping_add(rest.iter().map(|octet| u64::from(*octet)).sum());
        scanned.packs += 1;
        scanned.octets += blob.len() as u64;
    }
    scanned.cpu_seconds = machine::cpu_of(&machine::this_thread()?)?.as_secs_f64();
    Ok(scanned)
}
