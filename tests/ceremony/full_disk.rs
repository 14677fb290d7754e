//! A disk that is full in the middle of a ceremony, that of the token too: it says so, and goes on when there is room.

use std::fs;

use crate::common::{PATIENCE, Process, fail, run, succeed, text, until};
use crate::kills::{again, assert_pair, generate, objects};
use crate::small_disk::{fill, on_a_small_disk};
use crate::steps::begin;
use crate::{ceremony, kakunin};

const KEYS: usize = 80;

#[test]
fn s4_4_s1_5_a_ceremony_whose_disk_is_full_goes_on_where_it_was() {
    on_a_small_disk("full_disk::s4_4_s1_5_a_ceremony_whose_disk_is_full_goes_on_where_it_was", || {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        begin(here, &[]);
        let label = |key: usize| format!("key-{key}");
        let mut process = Process::start(&mut ceremony(here, "keys", &(0..KEYS).map(|key| generate(&label(key))).collect::<String>()));
        until(PATIENCE, "the first key", || {
            let log = run(&mut kakunin(here, &["order", "log", "--config", "kakunin.toml", "--json"]));
            text(&log).contains("public_key").then_some(())
        });
        let ballast = fill(here);
        let status = process.wait(PATIENCE).unwrap();
        assert!(!status.success() && process.stderr().contains("run it again"), "{status}: {}", process.stderr());
        assert!(!process.stderr().contains("panicked"), "{}", process.stderr());
        let said = fail(&mut again(here, "keys"));
        assert!(said.contains("no room on the disk"), "{said}");
        fs::remove_file(&ballast).unwrap();
        let said = succeed(&mut again(here, "keys"));
        assert!(said.contains("80 steps are done"), "{said}");
        let found = objects(here);
        (0..KEYS).for_each(|key| assert_pair(&found, &label(key)));
        assert_eq!(found.len(), 2 * KEYS, "nothing else is on the token");
    });
}
