//! A service whose keys are on a SoftHSM2 token that misbehaves: what is said, what goes on, and what comes back by itself.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/orders.rs"]
mod orders;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::http;
use common::ocsp::{Asker, Hash, serial_of};
use common::openssl_ca::write_secret;
use common::{PATIENCE, Process, Service, fail, kakunin, list, succeed, tool, until};
use orders::Office;
use tempfile::TempDir;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "faulty";
const PIN: &str = "314159";
const SO_PIN: &str = "12345678";

/// A demo whose issuing CA and its responder have their keys on a token; the root's is in a file.
struct World {
    directory: TempDir,
}

impl World {
    fn new() -> World {
        let world = World { directory: tempfile::tempdir().unwrap() };
        Service::demo(&world.path("demo"), &["--certificates", "60", "--revoked", "5"]).stop();
        fs::create_dir(world.path("tokens")).unwrap();
        let settings =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", world.path("tokens").display());
        fs::write(world.path("softhsm2.conf"), settings).unwrap();
        write_secret(&world.path("demo/pin"), &format!("{PIN}\n"));
        world.util(&["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]);
        world.import_keys();
        world.configure(|text| text);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("demo/token.toml")
    }

    fn util(&self, arguments: &[&str]) {
        succeed(tool("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", self.path("softhsm2.conf")));
    }

    fn import(&self, file: &str, label: &str, id: &str) {
        let file = self.path("demo/keys").join(file).display().to_string();
        self.util(&["--import", &file, "--token", TOKEN, "--label", label, "--id", id, "--pin", PIN]);
    }

    fn import_keys(&self) {
        self.import("issuing.key.pem", "issuing", "01");
        self.import("issuing-ocsp.key.pem", "issuing-ocsp", "02");
    }

    /// The demo's configuration with the token's keys, and with whatever else is to be different.
    fn configure(&self, change: impl Fn(String) -> String) {
        let text = fs::read_to_string(self.path("demo/kakunin.toml")).unwrap();
        let text = text
            .replace("{ file = \"keys/issuing.key.pem\" }", "{ token = \"hsm\", label = \"issuing\" }")
            .replace("{ file = \"keys/issuing-ocsp.key.pem\" }", "{ token = \"hsm\", label = \"issuing-ocsp\" }");
        let listen = |line: &str| if line.starts_with("listen = ") { "listen = \"127.0.0.1:0\"".to_owned() } else { line.to_owned() };
        let text = text.lines().map(listen).collect::<Vec<_>>().join("\n");
        let token = format!("\n[[token]]\nname = \"hsm\"\nmodule = \"{SOFTHSM}\"\nlabel = \"{TOKEN}\"\npin_file = \"pin\"\n");
        fs::write(self.config(), change(text + &token)).unwrap();
    }

    fn command(&self, subcommand: &[&str], arguments: &[&str]) -> Command {
        let mut command = kakunin(subcommand);
        command.arg("--config").arg(self.config()).args(arguments);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env("STALL_FILE", self.path("stall"));
        command.env("STALL_START_FILE", self.path("stall-start"));
        command
    }

    fn serve(&self) -> Service {
        Service::serve(&mut self.command(&["serve"], &[]))
    }

    fn revoke(&self, issuer: &str, serial: &str) {
        succeed(&mut self.command(&["revoke"], &["--issuer", issuer, "--serial", serial, "--reason", "superseded"]));
    }

    fn asker(&self, issuer: &str) -> Asker {
        Asker::new(&self.path(&format!("demo/{issuer}.pem")))
    }

    /// A certificate that is good so far.
    fn good(&self) -> String {
        list(&self.config(), "issuing").into_iter().find(|certificate| !certificate.is_revoked()).unwrap().serial
    }

    /// What `check` says of this configuration, which it must refuse.
    fn refused(&self, change: impl Fn(String) -> String) -> String {
        self.configure(change);
        let output = common::run(&mut self.command(&["check"], &[]));
        assert_eq!(output.status.code(), Some(1), "{}", common::text(&output));
        common::text(&output)
    }
}

fn is_good(service: &Service, asker: &Asker, serial: &str) -> bool {
    asker.ask(&service.ocsp, serial, Hash::Sha1).is_good()
}

#[test]
fn what_is_wrong_with_a_token_is_named() {
    let world = World::new();
    succeed(&mut world.command(&["check"], &[]));
    let said = world.refused(|text| text.replace(SOFTHSM, "/nowhere/module.so"));
    assert!(said.contains("/nowhere/module.so"), "{said}");
    let said = world.refused(|text| text.replace("label = \"faulty\"", "label = \"absent\""));
    assert!(said.contains("absent") && said.contains(TOKEN), "which there are: {said}");
    let said = world.refused(|text| text.replace("label = \"issuing\"", "label = \"none\""));
    assert!(said.contains("none") && said.contains("issuing-ocsp"), "which there are: {said}");
    let said = world.refused(|text| text.replace("label = \"issuing\"", "label = \"issuing-ocsp\""));
    assert!(said.contains("key and certificate") || said.contains("belongs to"), "not a pair: {said}");
    world.import("issuing-ocsp.key.pem", "issuing", "03");
    let said = world.refused(|text| text);
    assert!(said.contains("issuing") && said.contains('2'), "two keys have the label: {said}");
    write_secret(&world.path("demo/pin"), "000000\n");
    let said = world.refused(|text| text);
    assert!(said.to_lowercase().contains("pin"), "{said}");
    let refused = fail(&mut world.command(&["serve"], &[]));
    assert!(refused.contains("issuer 'issuing'") && refused.to_lowercase().contains("pin"), "{refused}");
}

#[test]
fn token_bench_measures_every_key() {
    let world = World::new();
    let arguments = ["--sessions", "1,2", "--seconds", "1", "--json"];
    let lines = succeed(&mut world.command(&["token", "bench"], &arguments));
    let measured: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<_> =
        measured.iter().map(|m| (m["issuer"].as_str().unwrap(), m["signs"].as_str().unwrap(), m["sessions"].as_u64().unwrap())).collect();
    assert_eq!(
        keys,
        [
            ("root", "CRL", 1),
            ("root", "CRL", 2),
            ("issuing", "OCSP", 1),
            ("issuing", "OCSP", 2),
            ("issuing", "CRL", 1),
            ("issuing", "CRL", 2)
        ]
    );
    assert!(measured.iter().all(|m| m["per_second"].as_f64().unwrap() > 1.0), "{lines}");
    assert_eq!(measured[2]["token"], TOKEN);
}

fn stalling_module(directory: &Path) -> PathBuf {
    let module = directory.join("stalling.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/token_faults/stalling_module.c");
    succeed(tool("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&module).arg(source).arg("-ldl"));
    module
}

/// S1.1: the root's keys are elsewhere.
#[test]
fn s1_1_a_token_that_stalls_holds_up_only_what_it_signs() {
    let world = World::new();
    let module = stalling_module(world.directory.path());
    world.configure(|text| text.replace(SOFTHSM, module.to_str().unwrap()));
    let mut service = world.serve();
    let (serial, issuing) = (world.good(), world.asker("issuing"));
    fs::write(world.path("stall"), "").unwrap();
    world.revoke("issuing", &serial);
    let (root, sub_ca) = (world.asker("root"), serial_of(&world.path("demo/issuing.pem")));
    world.revoke("root", &sub_ca);
    until(PATIENCE, "the root's revocation", || (!is_good(&service, &root, &sub_ca)).then_some(()));
    assert!(is_good(&service, &issuing, &serial), "this one waits for its token, and everything is answered meanwhile");
    fs::remove_file(world.path("stall")).unwrap();
    until(PATIENCE, "the revocation that waited", || (!is_good(&service, &issuing, &serial)).then_some(()));
    // And the end of the program does not wait for it.
    fs::write(world.path("stall"), "").unwrap();
    world.revoke("issuing", &world.good());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(service.process.stop("TERM").code(), Some(0), "{}", service.stderr());
}

/// S1.1: the root's keys are elsewhere.
#[test]
fn s1_1_a_module_that_does_not_start_holds_up_only_the_issuers_whose_keys_it_has() {
    let world = World::new();
    let module = stalling_module(world.directory.path());
    world.configure(|text| text.replace(SOFTHSM, module.to_str().unwrap()));
    fs::write(world.path("stall-start"), "").unwrap();
    let service = world.serve();
    assert_eq!(service.metric("kakunin_signing_failing_issuers"), 1);
    let told = "issuer 'issuing': no answer from 'hsm' within 10 s";
    until(PATIENCE, told, || service.stderr().contains(told).then_some(()));
    let (serial, issuing) = (world.good(), world.asker("issuing"));
    world.revoke("issuing", &serial);
    let (root, sub_ca) = (world.asker("root"), serial_of(&world.path("demo/issuing.pem")));
    world.revoke("root", &sub_ca);
    until(PATIENCE, "the root's revocation", || (!is_good(&service, &root, &sub_ca)).then_some(()));
    assert!(is_good(&service, &issuing, &serial), "what is valid is answered");
    fs::remove_file(world.path("stall-start")).unwrap();
    until(PATIENCE, "the revocation that waited", || (!is_good(&service, &issuing, &serial)).then_some(()));
    until(PATIENCE, "the end of the alarm", || (service.metric("kakunin_signing_failing_issuers") == 0).then_some(()));
    service.stop();

    // Nor does the end of the program wait for it.
    fs::write(world.path("stall-start"), "").unwrap();
    world.serve().stop();
}

#[test]
fn a_token_that_is_initialised_again_is_an_alarm_and_its_keys_are_found_when_they_are_back() {
    let world = World::new();
    let service = world.serve();
    let (serial, issuing) = (world.good(), world.asker("issuing"));
    world.util(&["--init-token", "--token", TOKEN, "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]);
    world.revoke("issuing", &serial);
    until(PATIENCE, "the alarm", || (service.metric("kakunin_signing_failing_issuers") == 1).then_some(()));
    assert!(is_good(&service, &issuing, &serial), "what is valid is answered");
    assert_eq!(http::get(&service.admin, "/livez", &[]).status, 200);
    world.import_keys();
    until(PATIENCE, "the revocation that waited", || (!is_good(&service, &issuing, &serial)).then_some(()));
    until(PATIENCE, "the end of the alarm", || (service.metric("kakunin_signing_failing_issuers") == 0).then_some(()));
    service.stop();
}

#[test]
fn s1_1_an_issuer_whose_keys_are_missing_waits_for_them_and_the_others_do_not_wait() {
    let world = World::new();
    world.util(&["--init-token", "--token", TOKEN, "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]);
    let service = world.serve();
    let (serial, issuing) = (world.good(), world.asker("issuing"));
    assert_eq!(service.metric("kakunin_signing_failing_issuers"), 1);
    world.revoke("issuing", &serial);
    let (root, sub_ca) = (world.asker("root"), serial_of(&world.path("demo/issuing.pem")));
    world.revoke("root", &sub_ca);
    until(PATIENCE, "the root's revocation", || (!is_good(&service, &root, &sub_ca)).then_some(()));
    assert!(is_good(&service, &issuing, &serial));
    let once = fail(&mut world.command(&["sign"], &["--once"]));
    assert!(once.contains("issuer 'issuing'") && once.contains(TOKEN), "{once}");
    world.import_keys();
    until(PATIENCE, "the revocation that waited", || (!is_good(&service, &issuing, &serial)).then_some(()));
    until(PATIENCE, "the end of the alarm", || (service.metric("kakunin_signing_failing_issuers") == 0).then_some(()));
    service.stop();
}

/// S3.9: the root's keys are on the token too, so that no key at all can be opened. Neither role alone gives up.
#[test]
fn s3_9_a_start_without_any_token_answers_what_is_published_and_signs_when_the_token_is_back() {
    let world = World::new();
    world.import("root.key.pem", "root", "04");
    world.configure(|text| text.replace("{ file = \"keys/root.key.pem\" }", "{ token = \"hsm\", label = \"root\" }"));
    fs::rename(world.path("tokens"), world.path("away")).unwrap();
    let service = world.serve();
    let (serial, issuing) = (world.good(), world.asker("issuing"));
    assert!(is_good(&service, &issuing, &serial), "what is valid is answered");
    until(PATIENCE, "the alarm", || (service.metric("kakunin_signing_failing_issuers") == 2).then_some(()));
    let told = |text: &str| until(PATIENCE, text, || service.stderr().contains(text).then_some(()));
    ["issuer 'root'", "issuer 'issuing'"].into_iter().for_each(told);
    world.revoke("issuing", &serial);
    fs::rename(world.path("away"), world.path("tokens")).unwrap();
    until(PATIENCE, "the revocation that waited", || (!is_good(&service, &issuing, &serial)).then_some(()));
    until(PATIENCE, "the end of the alarm", || (service.metric("kakunin_signing_failing_issuers") == 0).then_some(()));
    service.stop();

    fs::rename(world.path("tokens"), world.path("away")).unwrap();
    let (serial, responder) = (world.good(), Service::serve(&mut world.command(&["serve"], &["--roles", "responder"])));
    world.revoke("issuing", &serial);
    let mut signer = Process::start(&mut world.command(&["serve"], &["--roles", "signer"]));
    until(PATIENCE, "the alarm", || signer.stderr().contains("issuer 'root'").then_some(()));
    fs::rename(world.path("away"), world.path("tokens")).unwrap();
    until(PATIENCE, "the revocation that waited", || (!is_good(&responder, &issuing, &serial)).then_some(()));
    assert_eq!(signer.stop("TERM").code(), Some(0), "{}", signer.stderr());
    responder.stop();
}

#[test]
fn a_pin_that_is_refused_at_a_later_try_is_told_and_not_tried_again() {
    let world = World::new();
    fs::rename(world.path("tokens"), world.path("away")).unwrap();
    let service = world.serve();
    write_secret(&world.path("demo/pin"), "000000\n");
    fs::rename(world.path("away"), world.path("tokens")).unwrap();
    let told = |text: &str| until(PATIENCE, text, || service.stderr().contains(text).then_some(()));
    told("wrong PIN");
    told("its PIN is not tried again before the next start");
    until(PATIENCE, "the alarm", || (service.metric("kakunin_signing_failing_issuers") == 1).then_some(()));
    service.stop();
}

/// Orders of certificates by a CA whose key is on the token, which stops to answer properly in the middle of one: its keys are gone.
#[test]
fn p3_a_batch_whose_token_vanishes_says_so_and_goes_on_when_it_is_back() {
    let world = World::new();
    fs::rename(world.path("demo/kakunin.toml"), world.path("demo/files.toml")).unwrap();
    fs::rename(world.config(), world.path("demo/kakunin.toml")).unwrap();
    let office = Office::new(&world.path("demo"));
    let requests = 12_000;
    office.write_requests("in.jsonl", (0..requests).map(|n| format!("host-{n}.example.com")));
    let order = office.write_issue("batch", "in.jsonl", "");
    office.approve(&order, &["baba"]);
    let before = list(&office.config(), "issuing").len();
    let run = || {
        let mut command = office.run_order(&order);
        command.env("SOFTHSM2_CONF", world.path("softhsm2.conf"));
        command
    };
    let mut process = Process::start(&mut run());
    until(PATIENCE, "the first chunk", || (list(&office.config(), "issuing").len() > before).then_some(()));
    world.util(&["--init-token", "--token", TOKEN, "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]);
    let status = process.wait(PATIENCE).unwrap();
    let said = process.stderr();
    assert!(!status.success() && said.contains("run it again") && said.contains("token"), "{status}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    let between = list(&office.config(), "issuing").len();
    // Once more: SoftHSM2 notes failed log-ins in the token's file, and the process that met them may have written the old token over the new one.
    world.util(&["--init-token", "--token", TOKEN, "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]);
    world.import_keys();
    let said = succeed(&mut run());
    assert!(said.contains(&format!("{requests} are written, 0 requests were rejected")), "{said}");
    let all = list(&office.config(), "issuing");
    assert_eq!(
        (all.len(), all.iter().map(|one| &one.serial).collect::<std::collections::BTreeSet<_>>().len()),
        (before + requests, before + requests)
    );
    assert!(between < before + requests, "it was in the middle");
}
