//! `kill -9` of the signing worker at two hundred random moments, while certificates are revoked and relying parties ask. Nothing acknowledged is lost, no CRL
//! number is given twice or goes back, nothing half-written is ever seen, and all is caught up with in the end. The seed is printed; KAKUNIN_TEST_SEED repeats
//! a run's moments.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::http::{Connection, fetch};
use common::ocsp::HASHES;
use common::random::Random;
use common::{PATIENCE, Process, Service, World, list, succeed, until, with_config};
use const_oid::AssociatedOid;
use der::{Decode, Encode};
use kakunin::pki::{CertificateInfo, SignatureAlgorithm};
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::CrlNumber;

const KILLS: usize = 200;
/// The longest time that a worker lives: long enough to open its keys and to sign something, as a rule.
const LIFE: Duration = Duration::from_millis(500);
const CRLS: [&str; 4] = ["/crl/issuing.crl", "/crl/issuing/0.crl", "/crl/issuing/3.crl", "/crl/root.crl"];

/// What relying parties have seen so far.
#[derive(Default)]
struct Seen {
    /// Octets of every CRL, by path and number.
    crls: Mutex<BTreeMap<(&'static str, u64), Vec<u8>>>,
    /// Serials whose revocation was acknowledged, in that order.
    acknowledged: Mutex<Vec<String>>,
    /// Those that were answered revoked for each hash.
    answered: Mutex<BTreeMap<(String, usize), ()>>,
    answers: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    /// Fetches CRLs and asks about what is revoked, until it is over.
    fn watch(&self, world: &World, url: &str) {
        let issuers = ["issuing", "root"].map(|name| certificate(&world.path(&format!("{name}.pem"))));
        let (asker, mut connection) = (world.asker(), Connection::open(url).unwrap());
        let mut newest = BTreeMap::new();
        while !self.over.load(Relaxed) {
            for path in CRLS {
                let (der, issuer) = (fetch(url, path), &issuers[usize::from(path.contains("root"))]);
                let number = number_of_a_sound_crl(&der, issuer);
                let before = newest.insert(path, number).unwrap_or(0);
                assert!(number >= before, "C2: {path} went back from {before} to {number}");
                let known = self.crls.lock().unwrap().entry((path, number)).or_insert_with(|| der.clone()).clone();
                assert!(known == der, "C2: two CRLs {path} have the number {number}");
            }
            let recent: Vec<String> = self.acknowledged.lock().unwrap().iter().rev().take(20).cloned().collect();
            for (serial, (index, hash)) in recent.iter().flat_map(|serial| HASHES.into_iter().enumerate().map(move |hash| (serial, hash))) {
                let answer = asker.ask_on(&mut connection, serial, hash);
                self.answers.fetch_add(1, Relaxed);
                let mut answered = self.answered.lock().unwrap();
                let place = (serial.clone(), index);
                assert!(answer.is_revoked() || !answered.contains_key(&place), "S4.4: {serial} was revoked, and is good again");
                if answer.is_revoked() {
                    answered.insert(place, ());
                }
            }
        }
    }

    /// Revokes one certificate after the other, until it is over.
    fn revoke(&self, config: &Path, good: &[String]) {
        for serial in good.iter().take_while(|_| !self.over.load(Relaxed)) {
            succeed(&mut with_config("revoke", config, &["--issuer", "issuing", "--serial", serial, "--reason", "superseded"]));
            self.acknowledged.lock().unwrap().push(serial.clone());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends those who watch and revoke, whatever fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn certificate(path: &Path) -> CertificateInfo {
    CertificateInfo::from_pem(&std::fs::read(path).unwrap()).unwrap()
}

/// The number of a CRL that is whole, and signed by the issuer.
fn number_of_a_sound_crl(der: &[u8], issuer: &CertificateInfo) -> u64 {
    let crl = CertificateList::from_der(der).unwrap();
    let body = crl.tbs_cert_list.to_der().unwrap();
    assert!(SignatureAlgorithm::EcdsaSha256.verify(&issuer.spki, &body, crl.signature.raw_bytes()), "a CRL whose signature is wrong");
    let number = crl.tbs_cert_list.crl_extensions.iter().flatten().find(|extension| extension.extn_id == CrlNumber::OID).unwrap();
    CrlNumber::from_der(number.extn_value.as_bytes()).unwrap().0.as_bytes().iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
}

/// Starts a worker and kills it, again and again.
fn kill_workers(config: &Path, random: &mut Random) {
    for kill in 1..=KILLS {
        let moment = LIFE.mul_f64(random.below(10_000) as f64 / 10_000.0);
        let mut worker = Process::start(&mut with_config("serve", config, &["--roles", "signer"]));
        std::thread::sleep(moment);
        assert!(worker.kill(), "it had ended by itself: {}", worker.stderr());
        assert!(!worker.stderr().contains("panicked"), "{}", worker.stderr());
        if kill % 20 == 0 {
            println!("{kill} workers were killed");
        }
    }
}

#[test]
fn s4_4_c2_c9_two_hundred_killed_workers_lose_nothing_and_publish_nothing_wrong() {
    let world = World::new("3000");
    let config = world.config("apart.toml", "", "");
    let responder = Service::serve(&mut with_config("serve", &config, &["--roles", "responder"]));
    let good: Vec<String> = list(&config, "issuing").into_iter().filter(|c| !c.is_revoked()).map(|c| c.serial).collect();
    let seen = Seen::default();
    std::thread::scope(|scope| {
        let _over = Over(&seen.over);
        let watching = scope.spawn(|| seen.watch(&world, &responder.ocsp));
        let revoking = scope.spawn(|| seen.revoke(&config, &good));
        kill_workers(&config, &mut Random::seeded("worker kills"));
        // The last worker lives: it catches up with everything.
        let worker = Process::start(&mut with_config("serve", &config, &["--roles", "signer"]));
        let (asker, mut connection) = (world.asker(), Connection::open(&responder.ocsp).unwrap());
        seen.over.store(true, Relaxed);
        revoking.join().unwrap();
        for serial in seen.acknowledged.lock().unwrap().iter() {
            for hash in HASHES {
                until(PATIENCE, serial, || asker.ask_on(&mut connection, serial, hash).is_revoked().then_some(()));
            }
        }
        watching.join().unwrap();
        drop(worker);
    });
    let (acknowledged, crls) = (seen.acknowledged.lock().unwrap().len(), seen.crls.lock().unwrap().len());
    println!("{acknowledged} revocations, {crls} CRLs and {} answers seen", seen.answers.load(Relaxed));
    assert!(acknowledged >= 100 && crls > 40, "{acknowledged} revocations, {crls} CRLs: too few for the kills to have met anything");
    succeed(&mut with_config("sign", &config, &["--once"]));
    let verified = succeed(&mut with_config("verify", &config, &["--signatures", "all"]));
    println!("{verified}");
    responder.stop();
}
