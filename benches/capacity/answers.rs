//! Random look-ups through `responder::ocsp::answer` in a process that holds a world ready.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kakunin::pki::Timestamp;
use kakunin::registry::sqlite::SqliteRegistry;
use serde::{Deserialize, Serialize};

use super::content::Loaded;
use super::machine::{self, Memory};
use super::report::{BESIDE, Report};
use super::world::{self, World};
use super::{Job, job};

/// Answers that are timed, in so many turns of so many requests made beforehand.
const TURNS: u64 = 32;
const REQUESTS: u64 = 65_536;
/// Answers that are decoded and held against what they should be.
const CHECKED: u64 = 10_000;

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    ready_seconds: f64,
    memory: Memory,
    nanoseconds: f64,
}

/// Adds the figures of a world to the report.
pub(crate) fn measure(world: &World, report: &mut Report) -> Result<()> {
    machine::require_memory(world.pack_octets())?;
    let Answered { ready_seconds, memory, nanoseconds } = job(Job::Answer, world, 1)?;
    let each = world.certificates as f64;
    report.add("the follower and the map alone: resident octets ÷ certificates", "", BESIDE, [memory.resident as f64 / each]);
    report.add("  at the most", "", BESIDE, [memory.peak as f64 / each]);
    report.add("  loaded after", "s", BESIDE, [ready_seconds]);
    report.add(
        format!("  answer() for random certificates ({} of them, {CHECKED} decoded)", TURNS * REQUESTS),
        "ns",
        BESIDE,
        [nanoseconds],
    );
    Ok(())
}

/// Loads, and answers.
pub(crate) fn work(world: &World) -> Result<Answered> {
    let start = Instant::now();
    let loaded = Loaded::from(Arc::new(SqliteRegistry::open_read_only(&world.registry())?))?;
    let (ready_seconds, memory, now) = (start.elapsed().as_secs_f64(), machine::memory_of("self")?, Timestamp::now());
    let (mut body, mut elapsed) = (Vec::new(), Duration::ZERO);
    for index in 0..CHECKED {
        let number = world.some(index);
        loaded.ask(&world::request(&loaded.hashes, number), now, &mut body)?;
        world.check(number, &body)?;
    }
    let unused = world::request(&loaded.hashes, world.certificates);
    ensure!(loaded.ask(&unused, now, &mut body).is_err(), "a certificate that was never issued has a response");
    for turn in 1..=TURNS {
        let requests: Vec<_> = (0..REQUESTS).map(|index| world::request(&loaded.hashes, world.some(turn << 32 | index))).collect();
        let start = Instant::now();
        for request in &requests {
            black_box(loaded.ask(black_box(request), now, &mut body)?);
        }
        elapsed += start.elapsed();
    }
    Ok(Answered { ready_seconds, memory, nanoseconds: elapsed.as_nanos() as f64 / (TURNS * REQUESTS) as f64 })
}
