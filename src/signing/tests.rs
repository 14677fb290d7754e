//! The worker on a real registry with real keys, through virtual time.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use tempfile::TempDir;

use super::metrics::SigningMetrics;
use super::*;
use crate::issuance::{Issuer as CaIssuer, Order, RootOrder, Validity, random_serial, responder_certificate, self_signed_root};
use crate::pack::{Pack, PackPlace};
use crate::pki::{CertificateStatus, HashAlgorithm, IssuerHashes, KeyAlgorithm, Revocation, RevocationReason, Serial, SlotHash, SlotRange};
use crate::registry::sqlite::SqliteRegistry;
use crate::registry::{CertificateRecord, CrlExtras, CrlScope, IssuerMode, NewIssuer, OnConflict, Publication, Registry};
use crate::token::SigningKey;
use crate::token::software::SoftwareKey;

mod crls;
mod programmes;
mod signers;
mod stalls;

const REGISTRY: &str = "registry.sqlite";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const OCSP: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };
const CRL: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: DAY };

pub(super) struct Bench {
    directory: TempDir,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) ca: CaIssuer,
    pub(super) ca_key: Key,
    responder: Option<(Key, CertificateInfo)>,
    pub(super) start: Timestamp,
    pub(super) crl_policy: CrlPolicy,
    pub(super) crl_extras: CrlExtras,
}

fn start() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

impl Bench {
    /// A CA of 30 years whose OCSP responder's certificate lasts `responder_days`; 0 of them: the CA's key signs.
    pub(super) fn new(responder_days: u32) -> Bench {
        let (random, start) = (SystemRandom::new(), start());
        let ca_key: Key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let validity = |days: u32| Validity { not_before: start, not_after: start.saturating_add(DAY * days) };
        let order =
            RootOrder { subject: "CN=Test CA", serial: random_serial(&random).unwrap(), validity: validity(10_950), signs_ocsp: true };
        let certificate = CertificateInfo::from_der(&self_signed_root(&order, ca_key.as_ref()).unwrap()).unwrap();
        let ca = CaIssuer::new(certificate, ca_key.clone()).unwrap();
        let responder = (responder_days > 0).then(|| {
            let key: Key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
            let serial = random_serial(&random).unwrap();
            let order = Order { subject: "CN=Responder", spki: key.public_key(), serial, validity: validity(responder_days) };
            (key.clone(), CertificateInfo::from_der(&responder_certificate(&ca, &order).unwrap()).unwrap())
        });
        let directory = tempfile::tempdir().unwrap();
        let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::create(&directory.path().join(REGISTRY)).unwrap());
        let (crl_policy, crl_extras) = (CrlPolicy::new(CRL), CrlExtras::default());
        let bench = Bench { directory, registry, ca, ca_key, responder, start, crl_policy, crl_extras };
        bench.register(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
        bench
    }

    /// A connection behind the registry's back.
    pub(super) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join(REGISTRY)).unwrap()
    }

    pub(super) fn issuer(&self) -> Issuer {
        self.registry.issuers().unwrap().remove(0)
    }

    pub(super) fn worker(&self) -> Worker {
        self.worker_of(self.signing())
    }

    fn worker_of(&self, signing: IssuerSigning) -> Worker {
        Worker::new(self.registry.clone(), vec![signing], 2, Default::default()).unwrap()
    }

    pub(super) fn register(&self, hashes: &[HashAlgorithm]) {
        let cert_id_hashes = hashes.iter().copied().collect();
        let publication = Publication { cert_id_hashes, ..self.new_issuer().publication };
        self.registry.register_issuer(&NewIssuer { publication, ..self.new_issuer() }).unwrap();
    }

    fn set_mode(&self, mode: IssuerMode) {
        self.registry.register_issuer(&NewIssuer { mode, publication: self.issuer().publication, ..self.new_issuer() }).unwrap();
    }

    fn new_issuer(&self) -> NewIssuer {
        let publication = Publication { cert_id_hashes: HashAlgorithm::ALL.into(), crl_partitions: 2, crl_extras: self.crl_extras };
        NewIssuer { name: "ca".into(), certificate: self.ca.certificate().der.clone(), mode: IssuerMode::Open, publication }
    }

    pub(super) fn signing(&self) -> IssuerSigning {
        let (certificate, issuer) = (self.ca.certificate().clone(), self.issuer());
        let (key, delegate) = match &self.responder {
            Some((key, delegate)) => (key.clone(), Some(delegate)),
            None => (self.ca_key.clone(), None),
        };
        let signer = describe_signer(&key, &certificate, delegate, &gate::Profile::default(), self.crl_policy.expired).unwrap();
        let id = self.registry.register_signer(issuer.id, &signer).unwrap();
        let not_after = delegate.unwrap_or(&certificate).not_after;
        IssuerSigning {
            issuer,
            certificate,
            responder: Some(ResponseSigner { key, signer, id, not_after }),
            crl_key: Some(self.ca_key.clone()),
            ocsp_timing: OCSP,
            crl_policy: self.crl_policy,
            base_url: "http://va.example".into(),
            profile: gate::Profile::default(),
            replaces_future: false,
        }
    }

    pub(super) fn add(&self, serials: std::ops::Range<u64>) {
        self.add_to(serials, |n| n % 2);
    }

    /// Certificates, each in a CRL partition.
    fn add_to(&self, serials: std::ops::Range<u64>, partition: impl Fn(u64) -> u64) {
        let not_after = self.start.saturating_add(90 * DAY);
        let record = |n: u64| CertificateRecord {
            serial: serial(n),
            not_before: Some(self.start),
            not_after,
            is_ca: false,
            partition: Some(partition(n) as u32),
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        self.registry.add_certificates(self.issuer().id, &mut serials.map(|n| Ok(record(n))), OnConflict::Refuse, self.start).unwrap();
    }

    pub(super) fn revoke(&self, n: u64, now: Timestamp) {
        let revocation = Revocation { at: now, reason: Some(RevocationReason::Superseded) };
        self.registry.revoke(self.issuer().id, &serial(n), revocation, None, now).unwrap();
    }

    fn packs(&self, algorithm: HashAlgorithm) -> Vec<Pack> {
        let (issuer, hashes) = (self.issuer(), IssuerHashes::of(self.ca.certificate(), algorithm));
        let slots = 0..1u32 << issuer.slot_bits;
        let read = |slot| {
            let record = self.registry.pack(issuer.id, algorithm, slot).unwrap().expect("every slot is published");
            Pack::from_blob(record.blob, PackPlace::new(&hashes, SlotRange { bits: issuer.slot_bits, slot })).unwrap()
        };
        slots.map(read).collect()
    }

    fn published_status(&self, algorithm: HashAlgorithm, n: u64) -> Option<CertificateStatus> {
        let (serial, bits) = (serial(n), self.issuer().slot_bits);
        let hash = SlotHash::from(&serial);
        let pack = self.packs(algorithm).swap_remove(hash.slot(bits) as usize);
        pack.lookup(hash, serial.as_der_content()).map(|e| e.status)
    }

    fn crl_number(&self, scope: CrlScope) -> u64 {
        self.registry.latest_crl(self.issuer().id, scope).unwrap().map_or(0, |c| c.head.number)
    }

    /// Every T rule that concerns what is published at `now`.
    fn assert_in_time(&self, now: Timestamp) {
        for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            for signing in self.packs(algorithm).iter().flat_map(|p| p.signings().collect::<Vec<_>>()) {
                assert!(signing.this_update <= now && now < signing.next_update);
                let inclusive = signing.next_update.since(signing.this_update) + Duration::from_secs(1);
                assert!(inclusive <= 10 * DAY && now.since(signing.this_update) <= 4 * DAY);
                assert!(signing.next_update.since(now) >= 8 * HOUR);
            }
        }
        for crl in self.registry.crl_heads(self.issuer().id).unwrap() {
            assert!(crl.this_update <= now && now < crl.next_update && now.since(crl.this_update) <= DAY + HOUR);
        }
    }
}

pub(super) fn serial(n: u64) -> Serial {
    Serial::from_magnitude(&(n + 1_000_000).to_be_bytes()).unwrap()
}

pub(super) fn pass(worker: &mut Worker, now: Timestamp) -> PassReport {
    let report = worker.pass(&|| now);
    assert_eq!(report.failures, Vec::<String>::new());
    report
}

#[test]
fn t1_t2_t5_three_weeks_of_steady_refresh_meet_every_deadline() {
    let bench = Bench::new(365);
    bench.add(0..1500);
    let mut worker = bench.worker();
    let first = pass(&mut worker, bench.start);
    assert_eq!((first.responses, first.crls), (3000, 3), "every response for both hashes, the full CRL and two partitions");
    let mut now = bench.start;
    while now < bench.start.saturating_add(21 * DAY) {
        now = now.saturating_add(HOUR);
        pass(&mut worker, now);
        bench.assert_in_time(now);
    }
    assert_eq!(pass(&mut worker, now), PassReport::default(), "nothing is due twice");
}

#[test]
fn s3_4_a_revocation_is_on_the_next_pack_and_crl_and_costs_one_signature_a_hash() {
    let bench = Bench::new(365);
    bench.add(0..100);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    let before = (bench.crl_number(CrlScope::Full), bench.crl_number(CrlScope::Partition(0)), bench.crl_number(CrlScope::Partition(1)));
    let later = bench.start.saturating_add(HOUR);
    bench.revoke(7, later);
    let report = pass(&mut worker, later);
    assert_eq!((report.responses, report.packs, report.crls), (2, 2, 2));
    for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
        assert!(matches!(bench.published_status(algorithm, 7), Some(CertificateStatus::Revoked(r)) if r.at == later));
        assert_eq!(bench.published_status(algorithm, 8), Some(CertificateStatus::Good));
    }
    let after = (bench.crl_number(CrlScope::Full), bench.crl_number(CrlScope::Partition(0)), bench.crl_number(CrlScope::Partition(1)));
    assert_eq!(after, (before.0 + 1, before.1, before.2 + 1), "only the scopes that the certificate is in");
}

#[test]
fn c9_a_worker_that_died_before_signing_is_made_up_for_by_the_next() {
    let bench = Bench::new(365);
    bench.add(0..100);
    pass(&mut bench.worker(), bench.start);
    bench.revoke(3, bench.start);
    bench.add(100..120);
    let report = pass(&mut bench.worker(), bench.start);
    assert_eq!(report.responses, 2 + 2 * 20);
    assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 3), Some(CertificateStatus::Revoked(_))));
    assert_eq!(bench.published_status(HashAlgorithm::Sha256, 119), Some(CertificateStatus::Good));
    assert_eq!(pass(&mut bench.worker(), bench.start), PassReport::default(), "and the next finds nothing to do");
}

#[test]
fn growth_divides_packs_without_signing_again() {
    let bench = Bench::new(365);
    bench.add(0..900);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    assert_eq!(bench.issuer().slot_bits, 0);
    bench.add(900..4500);
    bench.revoke(1, bench.start);
    let report = pass(&mut worker, bench.start);
    assert_eq!(bench.issuer().slot_bits, 3);
    assert_eq!(report.responses, 2 * (3600 + 1), "the new ones and the revoked one");
    assert_eq!(bench.packs(HashAlgorithm::Sha1).iter().map(Pack::len).sum::<usize>(), 4500);
    assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 1), Some(CertificateStatus::Revoked(_))));
}

#[test]
fn c9_a_feed_that_cannot_be_read_is_an_alarm_for_every_issuer() {
    let (bench, metrics) = (Bench::new(0), SigningMetrics::default());
    bench.add(0..10);
    let mut worker = Worker::new(bench.registry.clone(), vec![bench.signing()], 2, metrics.clone()).unwrap();
    pass(&mut worker, bench.start);
    assert_eq!(metrics.failing_issuers.get(), 0);
    bench.sql().execute_batch("ALTER TABLE change RENAME TO hidden").unwrap();
    assert!(!worker.pass(&|| bench.start).failures.is_empty());
    assert_eq!(metrics.failing_issuers.get(), 1);
    bench.sql().execute_batch("ALTER TABLE hidden RENAME TO change").unwrap();
    pass(&mut worker, bench.start);
    assert_eq!(metrics.failing_issuers.get(), 0);
}

#[test]
fn t4_c2_what_was_signed_while_the_clock_was_ahead_is_replaced_once_somebody_says_so() {
    let bench = Bench::new(0);
    bench.add(0..10);
    pass(&mut bench.worker(), bench.start);
    let (ahead, now) = (bench.start.saturating_add(4 * DAY), bench.start.saturating_add(HOUR));
    bench.revoke(1, bench.start);
    let mut worker = bench.worker();
    pass(&mut worker, ahead);
    bench.revoke(2, now);
    let refused = worker.pass(&|| now).failures;
    assert!(!refused.is_empty() && refused.iter().all(|failure| failure.contains("--replace-future")), "{refused:?}");
    let number = bench.crl_number(CrlScope::Full);
    let report = pass(&mut bench.worker_of(IssuerSigning { replaces_future: true, ..bench.signing() }), now);
    assert_eq!(report.responses, 2 * 10);
    for hash in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
        assert!(bench.packs(hash).iter().flat_map(Pack::signings).all(|signing| signing.this_update == now));
        assert!([1, 2].iter().all(|n| matches!(bench.published_status(hash, *n), Some(CertificateStatus::Revoked(_)))));
    }
    let head = bench.registry.latest_crl(bench.issuer().id, CrlScope::Full).unwrap().unwrap().head;
    assert_eq!((head.number, head.this_update, bench.listed(CrlScope::Full).len()), (number + 1, now, 2));
    let later = pass(&mut bench.worker(), now.saturating_add(Duration::from_secs(1)));
    assert_eq!((later.responses, later.crls), (0, 0), "once");
}

#[test]
fn t3_next_update_stays_within_the_responders_certificate() {
    let bench = Bench::new(9);
    bench.add(0..10);
    let mut worker = bench.worker();
    let end = bench.responder.as_ref().unwrap().1.not_after;
    let mut now = bench.start;
    while now < end.saturating_sub(HOUR) {
        pass(&mut worker, now);
        let signings: Vec<_> = bench.packs(HashAlgorithm::Sha1).iter().flat_map(|p| p.signings().collect::<Vec<_>>()).collect();
        assert!(signings.iter().all(|s| s.next_update <= end && now < s.next_update), "at {now}: {signings:?}");
        now = now.saturating_add(6 * HOUR);
    }
}

#[test]
fn a_clock_that_goes_back_signs_nothing_older_than_what_is_published() {
    let bench = Bench::new(0);
    bench.add(0..10);
    let mut worker = bench.worker();
    let now = bench.start.saturating_add(DAY);
    pass(&mut worker, now);
    let numbers = bench.crl_number(CrlScope::Full);
    bench.revoke(1, now);
    let early = worker.pass(&|| bench.start);
    assert!(!early.failures.is_empty() && early.failures.iter().all(|f| f.contains("the clock shows")), "{:?}", early.failures);
    assert_eq!((early.packs, early.crls, bench.crl_number(CrlScope::Full)), (0, 0, numbers));
    pass(&mut worker, now.saturating_add(HOUR));
    assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 1), Some(CertificateStatus::Revoked(_))));
}

/// A key that returns signatures over something else: what it signs is not published, and what was published stays.
struct BrokenKey(Key);

impl SigningKey for BrokenKey {
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.0.key_algorithm()
    }

    fn signature_algorithm(&self) -> crate::pki::SignatureAlgorithm {
        self.0.signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        if message.starts_with(b"kakunin: trial") { self.0.sign(message) } else { self.0.sign(b"something else") }
    }
}

#[test]
fn o15_c1_the_gate_publishes_no_signature_that_does_not_verify() {
    let mut bench = Bench::new(0);
    bench.add(0..5);
    pass(&mut bench.worker(), bench.start);
    let (number, generation) = (bench.crl_number(CrlScope::Full), bench.packs(HashAlgorithm::Sha1)[0].generation());
    bench.ca_key = Arc::new(BrokenKey(bench.ca_key.clone()));
    bench.revoke(1, bench.start);
    let metrics = metrics::SigningMetrics::default();
    let mut worker = Worker::new(bench.registry.clone(), vec![bench.signing()], 2, metrics.clone()).unwrap();
    let report = worker.pass(&|| bench.start);
    for rule in ["O15", "C1"] {
        assert!(metrics.gate_findings.with_label_values(&[rule]).get() > 0, "an alarm names {rule}");
    }
    assert!(report.failures.iter().any(|f| f.contains("O15")) && report.failures.iter().any(|f| f.contains("C1")), "{:?}", report.failures);
    assert_eq!((report.packs, report.crls), (0, 0));
    assert_eq!((bench.crl_number(CrlScope::Full), bench.packs(HashAlgorithm::Sha1)[0].generation()), (number, generation));
}

/// A process without keys, or with some of them, must not pass over what it cannot publish.
#[test]
fn c9_who_cannot_sign_takes_nothing_from_who_can() {
    let bench = Bench::new(365);
    bench.add(0..10);
    pass(&mut bench.worker(), bench.start);
    let number = bench.crl_number(CrlScope::Full);
    bench.revoke(1, bench.start);
    pass(&mut bench.worker_of(IssuerSigning { responder: None, crl_key: None, ..bench.signing() }), bench.start);
    let responder_only = pass(&mut bench.worker_of(IssuerSigning { crl_key: None, ..bench.signing() }), bench.start);
    assert_eq!((responder_only.responses, responder_only.crls), (2, 0));
    assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 1), Some(CertificateStatus::Revoked(_))));
    pass(&mut bench.worker(), bench.start);
    assert_eq!(bench.crl_number(CrlScope::Full), number + 1);
}

#[test]
fn c9_a_cert_id_hash_that_was_away_comes_back_with_every_revocation() {
    let bench = Bench::new(365);
    bench.add(0..10);
    pass(&mut bench.worker(), bench.start);
    bench.register(&[HashAlgorithm::Sha256]);
    bench.revoke(1, bench.start);
    pass(&mut bench.worker(), bench.start);
    bench.register(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
    let heads = bench.registry.pack_heads(bench.issuer().id).unwrap();
    assert!(heads.iter().all(|head| head.cert_id_hash == HashAlgorithm::Sha256), "nobody answers with what it was before: {heads:?}");
    pass(&mut bench.worker(), bench.start);
    for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
        assert!(matches!(bench.published_status(algorithm, 1), Some(CertificateStatus::Revoked(_))), "{algorithm:?}");
    }
}

/// S1.1: the CA's key is down, the responder's is not.
#[test]
fn s1_1_a_key_that_fails_holds_up_nothing_that_another_key_signs() {
    let bench = Bench::new(365);
    bench.add(0..1500);
    pass(&mut bench.worker(), bench.start);
    let broken = || IssuerSigning { crl_key: Some(Arc::new(BrokenKey(bench.ca_key.clone()))), ..bench.signing() };
    let mut worker = bench.worker_of(broken());
    bench.revoke(1, bench.start);
    let later = bench.start.saturating_add(DAY * 5);
    let report = worker.pass(&|| later);
    assert!(report.failures.iter().all(|f| f.contains("C1")) && !report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.responses, 3000, "the revoked one, and every other response anew");
    assert!(matches!(bench.published_status(HashAlgorithm::Sha256, 1), Some(CertificateStatus::Revoked(_))));
    assert_eq!(pass(&mut bench.worker(), later).crls, 3, "and the CRLs follow when the key is back");
}

#[test]
fn a_worker_goes_on_after_another_has_divided_the_slots() {
    let bench = Bench::new(365);
    bench.add(0..900);
    let mut first = bench.worker();
    pass(&mut first, bench.start);
    bench.add(900..4500);
    pass(&mut bench.worker(), bench.start);
    assert_eq!(bench.issuer().slot_bits, 3);
    bench.revoke(7, bench.start);
    let report = pass(&mut first, bench.start);
    assert!(report.responses >= 2, "{report:?}");
    for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
        assert!(matches!(bench.published_status(algorithm, 7), Some(CertificateStatus::Revoked(_))));
    }
    assert_eq!(bench.packs(HashAlgorithm::Sha1).iter().map(Pack::len).sum::<usize>(), 4500);
}

/// C3 says the same of an ARL; here there is none.
#[test]
fn o14_a_revoked_ca_is_not_published_without_a_reason() {
    let bench = Bench::new(365);
    bench.add(0..10);
    bench.add_ca(1000);
    let responses = || bench.worker_of(IssuerSigning { crl_key: None, ..bench.signing() });
    pass(&mut responses(), bench.start);
    let revoke = |n, reason| {
        bench.registry.revoke(bench.issuer().id, &serial(n), Revocation { at: bench.start, reason }, None, bench.start).unwrap();
    };
    revoke(1, None);
    assert_eq!(pass(&mut responses(), bench.start).responses, 2, "of an end entity no reason is wanted");
    revoke(1000, None);
    let report = responses().pass(&|| bench.start);
    assert!(report.packs == 0 && !report.failures.is_empty() && report.failures.iter().all(|f| f.contains("O14")), "{report:?}");
    assert_eq!(bench.published_status(HashAlgorithm::Sha1, 1000), Some(CertificateStatus::Good), "what was published stays");
}

#[test]
fn o14_a_revoked_ca_is_published_with_its_reason() {
    let bench = Bench::new(365);
    bench.add_ca(1000);
    pass(&mut bench.worker(), bench.start);
    bench.revoke(1000, bench.start);
    assert_eq!(pass(&mut bench.worker(), bench.start).responses, 2);
    assert!(matches!(bench.published_status(HashAlgorithm::Sha1, 1000), Some(CertificateStatus::Revoked(_))));
}
