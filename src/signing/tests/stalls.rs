//! Tokens that take their time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::*;

/// A key on a token that does not answer the first of its calls until it is let go.
struct HeldKey {
    key: Key,
    to_hold: Mutex<usize>,
    changed: Condvar,
}

impl HeldKey {
    fn new(key: Key, to_hold: usize) -> Arc<HeldKey> {
        Arc::new(HeldKey { key, to_hold: Mutex::new(to_hold), changed: Condvar::new() })
    }

    fn let_go(&self) {
        *self.to_hold.lock().unwrap() = usize::MAX;
        self.changed.notify_all();
    }
}

impl SigningKey for HeldKey {
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.key.key_algorithm()
    }

    fn signature_algorithm(&self) -> crate::pki::SignatureAlgorithm {
        self.key.signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn token(&self) -> &str {
        "held"
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let mut to_hold = self.to_hold.lock().unwrap();
        if (1..usize::MAX).contains(&*to_hold) {
            *to_hold -= 1;
            drop(self.changed.wait_while(to_hold, |held| *held != usize::MAX).unwrap());
        } else {
            drop(to_hold);
        }
        self.key.sign(message)
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a worker in the background, whose responses are signed with `key`.
fn while_running(bench: &Bench, key: &Arc<HeldKey>, now: Timestamp, check: impl FnOnce()) {
    let mut signing = bench.signing();
    signing.responder.as_mut().unwrap().key = key.clone();
    while_signing(bench, signing, key, now, check);
}

/// The same, with the keys that are given.
fn while_signing(bench: &Bench, signing: IssuerSigning, key: &Arc<HeldKey>, now: Timestamp, check: impl FnOnce()) {
    while_signing_by(&|| now, bench, signing, key, check);
}

fn while_signing_by(clock: Clock<'_>, bench: &Bench, signing: IssuerSigning, key: &Arc<HeldKey>, check: impl FnOnce()) {
    let (mut worker, stop) = (bench.worker_of(signing), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stopped = || stop.load(Ordering::Relaxed);
        scope.spawn(move || worker.run(&stopped, clock));
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        key.let_go();
        stop.store(true, Ordering::Relaxed);
        checked.unwrap();
    });
}

#[test]
fn s1_1_a_token_that_does_not_answer_holds_up_nothing_that_another_one_signs() {
    let bench = Bench::new(365);
    bench.add(0..100);
    pass(&mut bench.worker(), bench.start);
    let (key, number) = (HeldKey::new(bench.responder.as_ref().unwrap().0.clone(), usize::MAX - 1), bench.crl_number(CrlScope::Full));
    while_running(&bench, &key, bench.start, || {
        bench.revoke(1, bench.start);
        wait_until(|| bench.crl_number(CrlScope::Full) == number + 1);
        assert_eq!(bench.published_status(HashAlgorithm::Sha1, 1), Some(CertificateStatus::Good), "this one waits for its token");
        key.let_go();
        wait_until(|| bench.published_status(HashAlgorithm::Sha1, 1) != Some(CertificateStatus::Good));
    });
}

#[test]
fn t4_a_revocation_does_not_wait_for_the_refresh_of_its_slot() {
    let bench = Bench::new(365);
    bench.add(0..100);
    pass(&mut bench.worker(), bench.start);
    let key = HeldKey::new(bench.responder.as_ref().unwrap().0.clone(), 2);
    let later = bench.start.saturating_add(4 * DAY);
    while_running(&bench, &key, later, || {
        // Both threads hang in the refresh of the slot.
        wait_until(|| *key.to_hold.lock().unwrap() == 0);
        bench.revoke(1, later);
        for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            wait_until(|| bench.published_status(algorithm, 1) != Some(CertificateStatus::Good));
        }
        let refreshed = || bench.packs(HashAlgorithm::Sha1)[0].signings().all(|signing| signing.this_update == later);
        assert!(!refreshed());
        key.let_go();
        wait_until(refreshed);
        assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 1), Some(CertificateStatus::Revoked(_))));
    });
}

#[test]
fn t4_a_revocation_does_not_wait_for_the_crls_of_many_others() {
    let bench = Bench::new(365);
    let publication = Publication { crl_partitions: 40, ..bench.issuer().publication };
    bench.registry.register_issuer(&NewIssuer { publication, ..bench.new_issuer() }).unwrap();
    bench.add_to(0..50, |n| n % 40);
    pass(&mut bench.worker(), bench.start);
    // Both on the same token.
    let (slow, quick) = (HeldKey::new(bench.ca_key.clone(), usize::MAX - 1), HeldKey::new(bench.responder.as_ref().unwrap().0.clone(), 0));
    let mut signing = bench.signing();
    (signing.crl_key, signing.responder.as_mut().unwrap().key) = (Some(slow.clone() as Key), quick);
    while_signing(&bench, signing, &slow, bench.start, || {
        (0..40).for_each(|n| bench.revoke(n, bench.start));
        // Both threads hang in a CRL, and many others wait.
        wait_until(|| *slow.to_hold.lock().unwrap() == usize::MAX - 3);
        bench.revoke(45, bench.start);
        for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            wait_until(|| bench.published_status(algorithm, 45) != Some(CertificateStatus::Good));
        }
    });
}

#[test]
fn s1_1_slots_are_divided_and_crls_issued_while_a_token_does_not_answer() {
    let bench = Bench::new(365);
    bench.add(0..900);
    pass(&mut bench.worker(), bench.start);
    let (key, number) = (HeldKey::new(bench.responder.as_ref().unwrap().0.clone(), usize::MAX - 1), bench.crl_number(CrlScope::Full));
    let mut signing = bench.signing();
    signing.responder.as_mut().unwrap().key = key.clone();
    // A minute passes in a second.
    let (later, real) = (bench.start.saturating_add(Duration::from_secs(60)), Instant::now());
    let clock = || later.saturating_add(real.elapsed() * 60);
    while_signing_by(&clock, &bench, signing, &key, || {
        bench.revoke(1, later);
        wait_until(|| *key.to_hold.lock().unwrap() < usize::MAX - 1);
        // There are too many for one slot now, and what is under way does not come to its end.
        bench.add(900..4500);
        bench.revoke(2, later);
        wait_until(|| bench.crl_number(CrlScope::Full) >= number + 2);
        wait_until(|| bench.issuer().slot_bits == 3);
        key.let_go();
        for n in [1, 2] {
            wait_until(|| bench.published_status(HashAlgorithm::Sha1, n).is_some_and(|status| status != CertificateStatus::Good));
        }
        wait_until(|| bench.packs(HashAlgorithm::Sha256).iter().map(Pack::len).sum::<usize>() == 4500);
    });
}

#[test]
fn s1_1_a_token_that_does_not_answer_does_not_keep_the_feed_from_being_tidied_up() {
    let bench = Bench::new(365);
    bench.add(0..100);
    pass(&mut bench.worker(), bench.start);
    let other = NewIssuer { name: "other".into(), certificate: b"another certificate".to_vec(), ..bench.new_issuer() };
    bench.registry.register_issuer(&other).unwrap();
    let last = bench.registry.last_change().unwrap();
    let key = HeldKey::new(bench.responder.as_ref().unwrap().0.clone(), usize::MAX - 1);
    while_running(&bench, &key, bench.start.saturating_add(4 * DAY), || {
        wait_until(|| bench.registry.watermark("signing/ca/crl").unwrap() >= last);
    });
}

/// Each time somebody asks for the time, a certificate comes.
#[test]
fn o16_a_pass_ends_while_certificates_keep_coming_and_the_next_one_has_them() {
    let bench = Bench::new(365);
    bench.add(0..100);
    let (next, mut worker) = (AtomicU64::new(100), bench.worker());
    let report = worker.pass(&|| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        // More than any pass asks, so that one that has no end has one here.
        if n < 100_000 {
            bench.add(n..n + 1);
        }
        bench.start
    });
    assert_eq!(report.failures, Vec::<String>::new());
    let come = next.load(Ordering::Relaxed);
    assert!(come > 100 && come < 1000, "{come}");
    assert!((0..100).all(|n| bench.published_status(HashAlgorithm::Sha1, n) == Some(CertificateStatus::Good)));
    pass(&mut worker, bench.start);
    assert!((0..come).all(|n| bench.published_status(HashAlgorithm::Sha256, n) == Some(CertificateStatus::Good)));
}
