//! `kill -9` at fifty random moments of building, importing, signing and revoking. After each: nothing acknowledged is lost, no serial repeats, no CRL
//! number goes back; in the end everything is served as it was acknowledged. The seed is printed; KAKUNIN_TEST_SEED repeats a run's moments.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::http::{Connection, fetch};
use common::ocsp::{Asker, HASHES, Hash};
use common::peers::{Authority, Expected};
use common::random::Random;
use common::{Listed, Process, Service, crl_numbers, demo_command, list, run, succeed, text, with_config};

/// Kills while a demo is built, while it imports and signs, and while it revokes and serves.
const KILLS: [usize; 3] = [20, 14, 16];
const CERTIFICATES: usize = 5000;
const REVOKED: usize = 100;
/// Certificates of one import.
const IMPORTED: usize = 600;
const REASONS: [&str; 4] = ["keyCompromise", "superseded", "affiliationChanged", "cessationOfOperation"];

/// What has been acknowledged about one directory, and must hold for ever.
struct Truth {
    directory: PathBuf,
    serials: BTreeSet<String>,
    /// Revoked serials; with their reason.
    revoked: BTreeMap<String, String>,
    numbers: BTreeMap<(String, String), u64>,
}

impl Truth {
    fn new(directory: PathBuf) -> Truth {
        Truth { directory, serials: BTreeSet::new(), revoked: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    /// Holds what is there against what was seen and acknowledged before, and remembers it. Whatever a reader has seen once is committed.
    fn check(&mut self) -> Vec<Listed> {
        if self.serials.is_empty() && !run(&mut with_config("list", &self.config(), &["--issuer", "issuing"])).status.success() {
            return Vec::new();
        }
        let all = list(&self.config(), "issuing");
        let serials: BTreeSet<String> = all.iter().map(|c| c.serial.clone()).collect();
        assert_eq!(serials.len(), all.len(), "P3: a serial repeats");
        let lost: Vec<_> = self.serials.difference(&serials).collect();
        assert!(lost.is_empty(), "certificates are lost: {lost:?}");
        let revoked: BTreeMap<String, String> = all.iter().filter_map(|c| Some((c.serial.clone(), c.reason.clone()?))).collect();
        for (serial, reason) in &self.revoked {
            assert_eq!(revoked.get(serial), Some(reason), "S4.4: the acknowledged revocation of {serial}");
        }
        let numbers = crl_numbers(&self.config());
        for (scope, number) in &self.numbers {
            assert!(numbers.get(scope).is_some_and(|now| now >= number), "C2: {scope:?} went back from {number}: {numbers:?}");
        }
        (self.serials, self.revoked, self.numbers) = (serials, revoked, numbers);
        all
    }

    /// Runs the demo to the end of its plan, and asks about everything that is there.
    fn finish(&mut self) {
        let service = Service::demo(&self.directory, &["--certificates", &CERTIFICATES.to_string(), "--revoked", &REVOKED.to_string()]);
        let all = self.check();
        assert!(all.len() >= CERTIFICATES && all.iter().filter(|c| c.is_revoked()).count() >= REVOKED);
        self.everything_is_served_right(&service, &all);
        service.stop();
        let due = succeed(&mut with_config("sign", &self.config(), &["--once"]));
        assert!(due.contains("signed 0 responses: 0 packs and 0 CRLs"), "nothing was left undone: {due}");
    }

    fn everything_is_served_right(&self, service: &Service, all: &[Listed]) {
        let asker = Asker::new(&self.path("issuing.pem"));
        let scratch = self.directory.clone();
        let authority = Authority { issuer: self.path("issuing.pem"), chain: self.path("chain.pem"), url: service.ocsp.clone(), scratch };
        let mut connection = Connection::open(&service.ocsp).unwrap();
        for certificate in all {
            for hash in HASHES {
                let answer = asker.ask_on(&mut connection, &certificate.serial, hash);
                let reason = certificate.reason.as_deref().filter(|reason| *reason != "unspecified");
                assert_eq!((answer.is_revoked(), answer.reason().as_deref()), (certificate.is_revoked(), reason), "{certificate:?}");
            }
        }
        let listed = serials_on(&authority.crl_text(&fetch(&service.ocsp, "/crl/issuing.crl")));
        assert_eq!(listed, self.revoked.keys().cloned().collect(), "the full CRL lists what is revoked, and nothing else");
        for partition in 0..8 {
            let listed = serials_on(&authority.crl_text(&fetch(&service.ocsp, &format!("/crl/issuing/{partition}.crl"))));
            let expected = all.iter().filter(|c| c.is_revoked() && c.partition == Some(partition)).map(|c| c.serial.clone()).collect();
            assert_eq!(listed, expected, "partition {partition}");
        }
        let revoked = self.path("certificates/revoked.pem");
        let reason = self.revoked[&common::ocsp::serial_of(&revoked)].clone();
        authority.openssl_agrees(&revoked, Hash::Sha1, false, Expected::Revoked(&reason));
        authority.openssl_agrees(&revoked, Hash::Sha256, false, Expected::Revoked(&reason));
    }
}

/// The serials of a CRL in OpenSSL's text form, as `kakunin list` writes them.
fn serials_on(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix("Serial Number: ")).map(str::to_lowercase).collect()
}

/// A moment within a span.
fn moment(random: &mut Random, span: Duration) -> Duration {
    span.mul_f64(random.below(10_000) as f64 / 10_000.0)
}

/// Runs a command and kills it after `moment`. True where it was still at work.
fn killed(command: &mut std::process::Command, moment: Duration) -> bool {
    let mut process = Process::start(command);
    let ended = process.wait(moment);
    let running = process.kill();
    let stderr = process.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(ended.is_none_or(|status| status.success()), "{command:?}: {ended:?}: {stderr}");
    running
}

/// Kills `demo` while it makes keys, certificates, signatures, and while it serves. Returns the last directory, built to the end.
fn kill_while_building(parent: &Path, random: &mut Random) -> Truth {
    let arguments = ["--certificates", &CERTIFICATES.to_string(), "--revoked", &REVOKED.to_string()];
    let reference = Service::demo(&parent.join("reference"), &arguments);
    let span = reference.ready_after;
    reference.stop();
    let mut truth = Truth::new(parent.join("build-0"));
    for kill in 1..=KILLS[0] {
        // Five kills a directory: the parts of a second that they leave between them add up to a little more than the whole.
        let moment = moment(random, span.mul_f64(0.6));
        assert!(killed(&mut demo_command(&truth.directory, &arguments), moment), "a demo serves until it is killed");
        let there = truth.check().len();
        println!(
            "kill {kill} after {moment:?} of {span:?}: {there} certificates, {} revoked, {} CRLs",
            truth.revoked.len(),
            truth.numbers.len()
        );
        if kill % 5 == 0 {
            truth.finish();
            if kill < KILLS[0] {
                truth = Truth::new(parent.join(format!("build-{kill}")));
            }
        }
    }
    truth
}

/// Kills `import`, which adds all of a file or nothing, and `sign --once`, which goes on where it was.
fn kill_while_importing_and_signing(truth: &mut Truth, random: &mut Random) {
    let index = truth.path("index.txt");
    let mut sign = with_config("sign", &truth.config(), &["--once"]);
    let start = Instant::now();
    import(truth, &index, random, None);
    let import_span = start.elapsed();
    let start = Instant::now();
    succeed(&mut sign);
    let sign_span = start.elapsed();
    truth.check();
    let (mut unsigned, mut kills) = (false, 0);
    // Only what was still at work counts as killed.
    while kills < KILLS[1] {
        let before = truth.serials.len();
        if !unsigned || kills % 4 == 3 {
            let moment = moment(random, import_span);
            kills += usize::from(import(truth, &index, random, Some(moment)));
            let there = truth.check().len();
            assert!(there == before || there == before + IMPORTED, "all of a file or nothing: {before}, then {there}");
            println!("kill {kills} of import after {moment:?}: {} added", there - before);
            unsigned |= there > before;
        } else {
            let moment = moment(random, sign_span);
            unsigned = killed(&mut sign, moment);
            kills += usize::from(unsigned);
            truth.check();
            println!("kill {kills} of sign after {moment:?}: {}", if unsigned { "in the middle" } else { "it was done" });
        }
    }
    truth.finish();
}

/// Imports certificates with new serials, some of them revoked. True where it was killed before its end.
fn import(truth: &mut Truth, index: &Path, random: &mut Random, kill_after: Option<Duration>) -> bool {
    let lines: Vec<(String, String)> = (0..IMPORTED)
        .map(|number| {
            let serial = format!("{:016x}{:08x}", random.number() | 1 << 62, number);
            let line = match number % 20 {
                0 => format!("R\t301231000000Z\t260101000000Z,superseded\t{serial}\tunknown\t/CN=imported\n"),
                _ => format!("V\t301231000000Z\t\t{serial}\tunknown\t/CN=imported\n"),
            };
            (serial, line)
        })
        .collect();
    fs::write(index, lines.iter().map(|(_, line)| line.as_str()).collect::<String>()).unwrap();
    let mut command = with_config("import", &truth.config(), &["--issuer", "issuing", "--openssl-index"]);
    command.arg(index);
    let acknowledged = match kill_after {
        None => !succeed(&mut command).is_empty(),
        Some(moment) => !killed(&mut command, moment),
    };
    if acknowledged {
        truth.serials.extend(lines.into_iter().map(|(serial, _)| serial));
    }
    !acknowledged
}

/// Kills the service, and the `revoke` that is under way.
fn kill_while_revoking(truth: &mut Truth, random: &mut Random) {
    let asker = Asker::new(&truth.path("issuing.pem"));
    let mut good: Vec<String> = truth.check().into_iter().filter(|c| !c.is_revoked()).map(|c| c.serial).collect();
    let mut acknowledged = 0;
    for kill in 1..=KILLS[2] {
        let mut service = Service::demo(&truth.directory, &[]);
        // The first answers after a restart are right already.
        for serial in truth.revoked.keys().rev().take(20) {
            assert!(asker.ask(&service.ocsp, serial, Hash::Sha1).is_revoked(), "{serial} after the restart");
        }
        // One revocation a round is let through; the clock runs from then on.
        let mut end = None;
        while end.is_none_or(|end| Instant::now() < end) {
            let (serial, reason) = (good.swap_remove(random.below(good.len())), *random.pick(&REASONS));
            let mut command = with_config("revoke", &truth.config(), &["--issuer", "issuing", "--serial", &serial, "--reason", reason]);
            let mut revoke = Process::start(&mut command);
            let left = end.map_or(common::PATIENCE, |end| end.saturating_duration_since(Instant::now()));
            if let Some(status) = revoke.wait(left) {
                assert!(status.success(), "{}", revoke.stderr());
                truth.revoked.insert(serial, reason.to_owned());
                acknowledged += 1;
            }
            end = end.or_else(|| Some(Instant::now() + moment(random, Duration::from_millis(1500))));
        }
        assert!(service.process.kill(), "{}", service.stderr());
        service.stderr();
        truth.check();
        println!("kill {kill} of the service: {acknowledged} revocations acknowledged so far");
    }
    assert!(acknowledged >= KILLS[2], "{acknowledged} revocations in {} rounds", KILLS[2]);
    truth.finish();
}

#[test]
fn p3_c2_s4_4_fifty_kills_lose_nothing_that_was_acknowledged() {
    let (start, mut random) = (Instant::now(), Random::seeded("kill9"));
    let directory = tempfile::tempdir().unwrap();
    let mut truth = kill_while_building(directory.path(), &mut random);
    println!("built after {:?}", start.elapsed());
    kill_while_importing_and_signing(&mut truth, &mut random);
    println!("imported and signed after {:?}", start.elapsed());
    kill_while_revoking(&mut truth, &mut random);
    println!("all of it took {:?}", start.elapsed());
    assert_eq!(KILLS.iter().sum::<usize>(), 50);
}

#[test]
fn a_revocation_is_durable_when_the_command_returns_even_without_a_service() {
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "40", "--revoked", "2"]).stop();
    let config = directory.path().join("kakunin.toml");
    let good: Vec<_> = list(&config, "issuing").into_iter().filter(|c| !c.is_revoked()).collect();
    for certificate in &good[..10] {
        let output =
            run(&mut with_config("revoke", &config, &["--issuer", "issuing", "--serial", &certificate.serial, "--reason", "superseded"]));
        assert!(output.status.success(), "{}", text(&output));
    }
    let service = Service::serve(&mut with_config("serve", &config, &[]));
    let asker = Asker::new(&directory.path().join("issuing.pem"));
    for certificate in &good[..10] {
        common::until(Duration::from_secs(2), "revoked", || {
            asker.ask(&service.ocsp, &certificate.serial, Hash::Sha1).is_revoked().then_some(())
        });
    }
    service.stop();
}
