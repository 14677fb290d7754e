//! Answers of one thread while another swaps every slot in a loop.
//!
//! A swap is what a follower does with a pack: its octets copied into new memory, checked, put into the map, and the old ones freed. It runs as fast as one core can,
//! which is far beyond what any registry delivers. Beside idle there is a third state, in which the other thread does the same work in a map that nobody
//! asks: what remains between that and swapping is the map's own doing; the rest is the price of memory and caches that two cores share.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kakunin::pack::Pack;
use kakunin::pki::{SlotRange, Timestamp};
use kakunin::registry::IssuerId;
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::responder::status_map::{IssuerStatus, SlotTable};
use serde::{Deserialize, Serialize};

use super::content::Loaded;
use super::report::{BESIDE, Report, Wanted};
use super::swapping_http;
use super::world::{self, World};
use super::{Job, job, machine};

/// How long one state lasts before the next.
const WINDOW: Duration = Duration::from_millis(100);
/// How often each round goes through all states and back.
const TURNS: usize = 10;
/// Requests that are made beforehand.
const REQUESTS: u64 = 1 << 18;
/// Requests between two looks at the clock.
const BATCH: usize = 256;
/// The cores of who answers and of who swaps.
pub(crate) const ANSWERING: &str = "0";
pub(crate) const SWAPPING: &str = "1";

/// What the other thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nothing.
    Idle,
    /// Burns CPU time, in registers.
    Spin,
    /// Swaps slots of a map that nobody asks.
    Elsewhere,
    /// Swaps slots of the map that is asked.
    Here,
}

/// Answers, and the time they took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) answers: u64,
    /// Of the answering thread.
    pub(crate) cpu_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) swaps: u64,
}

/// What was seen in one round, without and with the other thread at work elsewhere and here.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) quiet: Seen,
    pub(crate) elsewhere: Seen,
    pub(crate) here: Seen,
}

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Swapped {
    answers: Vec<Round>,
    gets: Vec<Round>,
}

/// Adds the figures to the report.
pub(crate) fn measure(world: &World, rounds: u64, report: &mut Report) -> Result<()> {
    // Two maps, and what the allocator holds back of what was swapped.
    machine::require_memory(4 * world.pack_octets())?;
    let swapped: Swapped = job(Job::Swap, world, rounds)?;
    let wanted = Wanted { must: "≥ 0.90", goal: "≥ 0.97" };
    for (what, rounds) in [("answer()", &swapped.answers), ("HTTP GET", &swapped.gets)] {
        let ratio = |of: fn(&Round) -> Seen, to: fn(&Round) -> Seen| rounds.iter().map(move |round| of(round).rate() / to(round).rate());
        report.add(format!("{what}: answers a CPU second while every slot is swapped ÷ idle"), "", wanted, ratio(|r| r.here, |r| r.quiet));
        report.add("  the same ÷ the same work in another map", "", BESIDE, ratio(|r| r.here, |r| r.elsewhere));
        report.add("  idle", "µs of CPU", BESIDE, rounds.iter().map(|round| 1e6 / round.quiet.rate()));
        report.add("  swaps a second meanwhile", "", BESIDE, rounds.iter().map(|round| round.here.swaps as f64 / round.here.seconds));
    }
    let wall = |seen: Seen| seen.answers as f64 / seen.seconds;
    let ratios = swapped.answers.iter().map(|round| wall(round.here) / wall(round.quiet));
    report.add("answer(): the first, by the clock on the wall", "", BESIDE, ratios);
    Ok(())
}

impl Seen {
    /// Answers a CPU second.
    fn rate(self) -> f64 {
        self.answers as f64 / self.cpu_seconds
    }

    fn add(&mut self, other: Seen) {
        self.answers += other.answers;
        self.cpu_seconds += other.cpu_seconds;
        self.seconds += other.seconds;
        self.swaps += other.swaps;
    }
}

impl Round {
    /// Adds what was seen in a state.
    pub(crate) fn add(&mut self, state: State, seen: Seen) {
        match state {
            State::Idle | State::Spin => self.quiet.add(seen),
            State::Elsewhere => self.elsewhere.add(seen),
            State::Here => self.here.add(seen),
        }
    }
}

/// Does it.
pub(crate) fn work(world: &World, rounds: u64) -> Result<Swapped> {
    let loaded = Loaded::from(Arc::new(SqliteRegistry::open_read_only(&world.registry())?))?;
    let swapper = Swapper::new(&loaded)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| swapper.run());
        let outcome = answer_meanwhile(world, &loaded, &swapper, rounds).and_then(|answers| {
            let gets = swapping_http::rounds(world, &loaded, &swapper, rounds)?;
            Ok(Swapped { answers, gets })
        });
        swapper.done.store(true, Relaxed);
        thread.join().map_err(|_| anyhow::anyhow!("the swapping thread panicked"))??;
        outcome
    })
}

fn answer_meanwhile(world: &World, loaded: &Loaded, swapper: &Swapper, rounds: u64) -> Result<Vec<Round>> {
    machine::pin(ANSWERING)?;
    let requests: Vec<_> = (0..REQUESTS).map(|index| world::request(&loaded.hashes, world.some(index))).collect();
    let (thread, mut next, mut body) = (machine::this_thread()?, requests.iter().cycle(), Vec::new());
    let one = |_| {
        let mut round = Round::default();
        for _ in 0..TURNS {
            for state in [State::Idle, State::Elsewhere, State::Here, State::Here, State::Elsewhere, State::Idle] {
                let seen = swapper.during(state, &thread, || {
                    let (start, mut answers) = (Instant::now(), 0);
                    while start.elapsed() < WINDOW {
                        for request in next.by_ref().take(BATCH) {
                            black_box(loaded.ask(black_box(request), Timestamp::now(), &mut body)?);
                        }
                        answers += BATCH as u64;
                    }
                    Ok(answers)
                })?;
                round.add(state, seen);
            }
        }
        Ok(round)
    };
    (0..rounds).map(one).collect()
}

/// Another thread, which swaps slots as it is told.
pub(crate) struct Swapper {
    state: AtomicU8,
    swaps: AtomicU64,
    done: AtomicBool,
    here: Arc<IssuerStatus>,
    elsewhere: IssuerStatus,
}

impl Swapper {
    /// One that swaps in what is loaded, and in a map of its own with the same packs.
    fn new(loaded: &Loaded) -> Result<Swapper> {
        let here = loaded.status()?;
        let elsewhere = IssuerStatus::new(IssuerId(0), "elsewhere", loaded.hashes.clone());
        let table = SlotTable::empty(here.table().bits());
        for pack in here.table().packs() {
            let pack: Arc<Pack> = pack.context("every slot has a pack")?;
            table.insert(Arc::new(copied(&here, &pack)?));
        }
        elsewhere.replace_table(table);
        let state = AtomicU8::new(State::Idle as u8);
        Ok(Swapper { state, swaps: AtomicU64::new(0), done: AtomicBool::new(false), here, elsewhere })
    }

    /// Counts the answers of `work` while the other thread does what it is told; `thread` answers.
    pub(crate) fn during(&self, state: State, thread: &str, work: impl FnOnce() -> Result<u64>) -> Result<Seen> {
        self.state.store(state as u8, Relaxed);
        // So that what the state before has left in the caches is gone.
        std::thread::sleep(WINDOW / 10);
        let (swaps, cpu, start) = (self.swaps.load(Relaxed), machine::cpu_of(thread)?, Instant::now());
        let answers = work()?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu_seconds = (machine::cpu_of(thread)? - cpu).as_secs_f64();
        let swaps = self.swaps.load(Relaxed) - swaps;
        self.state.store(State::Idle as u8, Relaxed);
        Ok(Seen { answers, cpu_seconds, seconds, swaps })
    }

    fn run(&self) -> Result<()> {
        machine::pin(SWAPPING)?;
        let slots = self.elsewhere.table().packs().len() as u32;
        let mut slot = 0;
        while !self.done.load(Relaxed) {
            match self.state.load(Relaxed) {
                state if state == State::Elsewhere as u8 => self.swap(&self.elsewhere, slot)?,
                state if state == State::Here as u8 => self.swap(&self.here, slot)?,
                state if state == State::Spin as u8 => (0..1000).for_each(|n| _ = black_box(world::mixed(n))),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
            slot = (slot + 1) % slots;
        }
        Ok(())
    }

    fn swap(&self, status: &IssuerStatus, slot: u32) -> Result<()> {
        let old = status.table().pack(slot).context("every slot has a pack")?;
        status.replace_pack(Arc::new(copied(status, &old)?));
        self.swaps.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// The same pack in other memory, checked again.
fn copied(status: &IssuerStatus, pack: &Pack) -> Result<Pack> {
    let SlotRange { bits, slot } = pack.slot();
    Ok(Pack::from_blob(pack.as_bytes(), status.place(SlotRange { bits, slot }))?)
}
