//! The disk fills up while there is something to sign or to issue: what is published goes on being answered, the error says what is the matter, and everything is caught up
//! with once there is room, without anybody's help.
//!
//! The disk is a file system of 24 MB that a child process mounts for itself alone (`unshare`, of util-linux).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/orders.rs"]
mod orders;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::fs::{self, File};
use std::time::Duration;

use common::ocsp::{Hash, serial_of};
use common::peers::Expected;
use common::{PATIENCE, Process, Service, World, counts, fail, http, succeed, until, with_config};
use orders::Office;
use small_disk::{fill, on_a_small_disk};

#[test]
fn s4_4_a_disk_that_fills_up_while_signing_is_waited_for() {
    on_a_small_disk("s4_4_a_disk_that_fills_up_while_signing_is_waited_for", || {
        let world = World::new("500");
        let config = world.config("apart.toml", "", "");
        let responder = Service::serve(&mut with_config("serve", &config, &["--roles", "responder"]));
        let (good, serial, authority) = (world.good(), serial_of(&world.good()), world.authority(&responder));
        let (before, revoke) = (counts(&config, "issuing"), ["--issuer", "issuing", "--serial", &serial, "--reason", "superseded"]);

        let ballast = fill(&world.path(""));
        let said = fail(&mut with_config("revoke", &config, &revoke));
        assert!(said.contains("no room on the disk"), "{said}");
        assert_eq!(counts(&config, "issuing"), before, "what was not acknowledged was not done");
        fs::remove_file(&ballast).unwrap();
        succeed(&mut with_config("revoke", &config, &revoke));

        let ballast = fill(&world.path(""));
        let signer = Process::start(&mut with_config("serve", &config, &["--roles", "signer"]));
        let admin = signer.line(PATIENCE).unwrap().split("admin=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        until(PATIENCE, "the alarm", || {
            // The other CA's worker may have had something to note in the registry too.
            let metrics = http::get(&admin, "/metrics", &[]).text();
            ["1", "2"].iter().any(|n| metrics.contains(&format!("kakunin_signing_failing_issuers {n}\n"))).then_some(())
        });
        until(PATIENCE, "the error", || signer.stderr().contains("no room on the disk").then_some(()));
        // The service goes on with what is published.
        authority.openssl_agrees(&good, Hash::Sha1, false, Expected::Good);
        authority.openssl_agrees(&world.revoked(), Hash::Sha256, false, Expected::Revoked("keyCompromise"));
        assert!(fs::read(world.path("kakunin.toml")).is_ok());

        fs::remove_file(&ballast).unwrap();
        let asker = world.asker();
        until(PATIENCE, "the revocation", || asker.ask(&responder.ocsp, &serial, Hash::Sha256).is_revoked().then_some(()));
        until(PATIENCE, "the end of the alarm", || {
            http::get(&admin, "/metrics", &[]).text().contains("kakunin_signing_failing_issuers 0").then_some(())
        });
        authority.openssl_agrees(&good, Hash::Sha1, false, Expected::Revoked("superseded"));
        assert!(!signer.stderr().contains("panicked"), "{}", signer.stderr());
        std::thread::sleep(Duration::from_millis(100));
        succeed(&mut with_config("verify", &config, &["--signatures", "all"]));
        responder.stop();
    });
}

#[test]
fn p3_a_batch_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    on_a_small_disk("p3_a_batch_on_a_full_disk_says_so_and_goes_on_when_there_is_room", || {
        let directory = tempfile::tempdir().unwrap();
        Service::demo(directory.path(), &["--certificates", "10", "--revoked", "1"]).stop();
        let office = Office::new(directory.path());
        office.write_requests("in.jsonl", (0..1500).map(|n| format!("host-{n}.example.com")));
        let order = office.write_issue("batch", "in.jsonl", "");
        office.approve(&order, &["baba"]);
        let (config, before) = (office.config(), counts(&office.config(), "issuing"));
        // Some room: the first chunks find it, and then there is none.
        let ballast = fill(directory.path());
        File::options().write(true).open(&ballast).unwrap().set_len(fs::metadata(&ballast).unwrap().len() - (1 << 20)).unwrap();
        let said = fail(&mut office.run_order(&order));
        assert!(said.contains("no room on the disk") && said.contains("run it again"), "{said}");
        assert!(!office.path("out-batch/certificates-000000001.jsonl").exists(), "nothing is handed out before all of it is registered");
        let between = counts(&config, "issuing");
        println!("{} of 1500 were registered when the disk was full", between.0 - before.0);

        fs::remove_file(&ballast).unwrap();
        let said = succeed(&mut office.run_order(&order));
        assert!(said.contains("1500 are written, 0 requests were rejected"), "{said}");
        assert_eq!(counts(&config, "issuing").0, before.0 + 1500, "each once");
        assert_eq!(fs::read_to_string(office.path("out-batch/certificates-000000001.jsonl")).unwrap().lines().count(), 1500);
        succeed(&mut with_config("verify", &config, &[]));
    });
}
