//! The seeds of the fuzz targets (`fuzz/seeds/TARGET/NAME`): each passes the check of its target, and each is what is made here.
//!
//! After a change here, or in what is encoded: `cargo test --test fuzz_seeds write_the_seeds -- --ignored`. Files that are not made here are inputs that a
//! run has found: they stay.

#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/src/checks/mod.rs"]
#[allow(unreachable_pub, dead_code)]
mod checks;
mod conversations;
mod crls;
mod indexes;
mod packs;
mod paths;
mod requests;

use std::fs;
use std::path::{Path, PathBuf};

/// More than this is no small corpus any more.
const MAX_ALL_BYTES: u64 = 200 << 10;

/// A seed: its name and its octets.
type Seed = (String, Vec<u8>);

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

fn made(target: &str) -> Vec<Seed> {
    match target {
        "ocsp_request" => requests::of_every_kind(),
        "get_path" => paths::of_every_form(),
        "pack" => packs::of_every_kind(),
        "answer" => requests::to_be_answered(),
        "http" => conversations::of_every_kind(),
        "crl" => crls::of_every_kind(),
        "openssl_index" => indexes::of_every_kind(),
        other => panic!("no seeds for {other}"),
    }
}

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(directory(target)).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_seed_passes_the_check_of_its_target() {
    for (target, check) in checks::ALL {
        for (path, seed) in kept(target) {
            let outcome = std::panic::catch_unwind(|| check(&seed));
            assert!(outcome.is_ok(), "{} fails the check of {target}: see above", path.display());
        }
    }
}

#[test]
fn the_seeds_are_those_that_are_made_here() {
    for (target, _) in checks::ALL {
        for (name, seed) in made(target) {
            let file = directory(target).join(&name);
            let same = fs::read(&file).is_ok_and(|kept| kept == seed);
            assert!(same, "{} is not what is made here: cargo test --test fuzz_seeds write_the_seeds -- --ignored", file.display());
        }
    }
}

#[test]
fn the_seeds_are_few_and_small() {
    let lengths = checks::ALL.iter().flat_map(|(target, _)| kept(target)).map(|(_, seed)| seed.len() as u64);
    let total: u64 = lengths.sum();
    assert!(total <= MAX_ALL_BYTES, "{total} octets of seeds, wanted at most {MAX_ALL_BYTES}");
}

#[test]
#[ignore = "writes fuzz/seeds/"]
fn write_the_seeds() {
    for (target, _) in checks::ALL {
        fs::create_dir_all(directory(target)).unwrap();
        for (name, seed) in made(target) {
            fs::write(directory(target).join(name), seed).unwrap();
        }
    }
}
