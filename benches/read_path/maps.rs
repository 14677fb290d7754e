//! The comparison that DESIGN.md §3 rests on: packs behind `ArcSwap`, `DashMap` of whole responses, and a `HashMap` of them behind `ArcSwap`.
//! What is timed is from a serial to the body that would be sent.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use criterion::Criterion;
use dashmap::DashMap;
use kakunin::pki::ocsp_response::SingleResponse;
use kakunin::pki::{HashAlgorithm, Serial, SlotHash, SlotRange};
use kakunin::registry::IssuerId;
use kakunin::responder::StatusMap;
use kakunin::responder::status_map::IssuerStatus;

use super::world::{self, CERTIFICATES, Walk};

/// Between two swaps: as if a hundred revocations a second hit the map, and more.
const SWAP_PAUSE: Duration = Duration::from_micros(100);

/// A map from serials to responses.
trait Map: Sync {
    /// The body that would be sent.
    fn body(&self, serial: &Serial) -> Option<Bytes>;
    /// Publishes one slot, or what corresponds to it, anew.
    fn swap(&self, round: usize);
}

struct Packs {
    status: Arc<IssuerStatus>,
    bits: u8,
    slots: Vec<Vec<u64>>,
    _map: StatusMap,
}

struct Whole(DashMap<Serial, Bytes>);

struct Copied(ArcSwap<HashMap<Serial, Bytes>>);

impl Packs {
    fn new() -> Packs {
        let map = world::status_map();
        let status = map.get(IssuerId(1), HashAlgorithm::Sha1).expect("the map has one issuer");
        let (bits, slots) = world::numbers_by_slot();
        Packs { status, bits, slots, _map: map }
    }
}

impl Map for Packs {
    fn body(&self, serial: &Serial) -> Option<Bytes> {
        let content = serial.as_der_content();
        let assemble = |hit: kakunin::responder::status_map::Hit<'_>| {
            let (entry, signing) = (hit.entry, hit.entry.signing);
            let (this_update, next_update) = (signing.this_update, signing.next_update);
            let single = SingleResponse { serial: entry.serial, status: entry.status, this_update, next_update };
            Bytes::from(hit.template.response(&single, entry.raw_signature))
        };
        self.status.look_up(SlotHash::from(serial), content, assemble).ok()
    }

    fn swap(&self, round: usize) {
        let slot = round % self.slots.len();
        let pack = world::pack(&self.status, SlotRange { bits: self.bits, slot: slot as u32 }, &self.slots[slot]);
        assert!(self.status.replace_pack(pack), "the division has not changed");
    }
}

impl Map for Whole {
    fn body(&self, serial: &Serial) -> Option<Bytes> {
        Some(self.0.get(serial)?.clone())
    }

    fn swap(&self, round: usize) {
        // As many certificates as a slot has.
        let template = world::template();
        for number in (0..1000).map(|n| (round as u64 * 1000 + n) % CERTIFICATES) {
            self.0.insert(world::serial(number), world::response(&template, number).into());
        }
    }
}

impl Map for Copied {
    fn body(&self, serial: &Serial) -> Option<Bytes> {
        Some(self.0.load().get(serial)?.clone())
    }

    fn swap(&self, round: usize) {
        let mut copy = HashMap::clone(&self.0.load());
        let number = round as u64 % CERTIFICATES;
        copy.insert(world::serial(number), world::response(&world::template(), number).into());
        self.0.store(Arc::new(copy));
    }
}

fn build(name: &str) -> Box<dyn Map> {
    match name {
        "packs" => Box::new(Packs::new()),
        "dashmap" => Box::new(Whole(world::responses().collect())),
        _ => Box::new(Copied(ArcSwap::from_pointee(world::responses().collect()))),
    }
}

const NAMES: [&str; 3] = ["packs", "dashmap", "hashmap"];

/// Nanoseconds per look-up, of one thread and of two, of serials that are there and not, and while slots are swapped.
pub(crate) fn look_ups(criterion: &mut Criterion) {
    for name in NAMES {
        let map = build(name);
        let mut group = criterion.benchmark_group(format!("map/{name}"));
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(10);
        for threads in [1, 2] {
            for (what, next) in [("hit", Walk::hit as fn(&mut Walk) -> u64), ("miss", Walk::miss)] {
                group.bench_function(format!("{what}/{threads} threads"), |b| {
                    b.iter_custom(|iterations| read(map.as_ref(), threads, iterations, next));
                });
            }
            group.bench_function(format!("hit while swapping/{threads} threads"), |b| {
                b.iter_custom(|iterations| while_swapping(map.as_ref(), || read(map.as_ref(), threads, iterations, Walk::hit)));
            });
        }
    }
}

/// How long each of `threads` takes for its look-ups, all at the same time.
fn read(map: &dyn Map, threads: u64, iterations: u64, next: fn(&mut Walk) -> u64) -> Duration {
    let one = |thread: u64| {
        let mut walk = Walk::new(thread << 32);
        // The serials are there before: making them is not part of what is asked.
        let serials: Vec<Serial> = (0..65_536).map(|_| world::serial(next(&mut walk))).collect();
        let start = Instant::now();
        for index in 0..iterations {
            black_box(map.body(black_box(&serials[index as usize % serials.len()])));
        }
        start.elapsed()
    };
    let total: Duration = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).sum()
    });
    total / threads as u32
}

fn while_swapping<R>(map: &dyn Map, work: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !done.load(Relaxed) {
                map.swap(round);
                round += 1;
                std::thread::sleep(SWAP_PAUSE);
            }
        });
        let result = work();
        done.store(true, Relaxed);
        result
    })
}

/// The environment variable that makes this program build one map and tell its size.
const BUILD: &str = "KAKUNIN_BENCH_BUILD";

/// Prints the resident octets per certificate of each map, each built in a process of its own, which nothing else has been in.
pub(crate) fn print_bytes_per_certificate() {
    let itself = std::env::current_exe().expect("a program knows its file");
    for name in NAMES {
        let output = Command::new(&itself).env(BUILD, name).output().expect("this program can run itself");
        let _ = write!(stdout(), "map/{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Builds one map and tells its size, where that is what this process is for.
pub(crate) fn built_for_its_size() -> bool {
    let Ok(name) = std::env::var(BUILD) else { return false };
    let before = resident_bytes();
    let map = build(&name);
    let slots = if name == "packs" { world::numbers_by_slot().1.iter().map(|slot| slot.capacity() * 8 + 24).sum() } else { 0 };
    let grown = resident_bytes().saturating_sub(before).saturating_sub(slots);
    assert!(map.body(&world::serial(0)).is_some(), "the map has what was put in");
    let per_certificate = grown as f64 / CERTIFICATES as f64;
    let _ = writeln!(stdout(), "{per_certificate:.1} resident bytes per certificate ({CERTIFICATES} certificates)");
    true
}

/// As /proc/self/statm has it, in pages of 4 KiB.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("statm has a second number") * 4096
}
