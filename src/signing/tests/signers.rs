//! The end of a signer's certificate, and of a CA's.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::signing::verify::{self, IssuerToVerify, Options, Signatures};

/// The same key with another certificate, valid for a year from `now`.
fn renewed(bench: &Bench, now: Timestamp) -> ResponseSigner {
    let (key, _) = bench.responder.clone().unwrap();
    let validity = Validity { not_before: now, not_after: now.saturating_add(365 * DAY) };
    let order = Order { subject: "CN=Responder", spki: key.public_key(), serial: random_serial(&SystemRandom::new()).unwrap(), validity };
    let certificate = CertificateInfo::from_der(&responder_certificate(&bench.ca, &order).unwrap()).unwrap();
    let (profile, expired) = (gate::Profile::default(), bench.crl_policy.expired);
    let signer = describe_signer(&key, bench.ca.certificate(), Some(&certificate), &profile, expired).unwrap();
    let id = bench.registry.register_signer(bench.issuer().id, &signer).unwrap();
    ResponseSigner { key, signer, id, not_after: certificate.not_after }
}

#[test]
fn t3_an_ended_responder_signs_nothing_until_it_has_another_certificate() {
    let bench = Bench::new(9);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    let late = bench.start.saturating_add(9 * DAY);
    let report = worker.pass(&|| late);
    assert!(!report.failures.is_empty() && report.responses == 0 && report.crls == 3, "{report:?}");
    assert!(report.failures.iter().all(|failure| failure.contains("(rule T3)")), "{report:?}");

    let responder = renewed(&bench, late);
    worker.updates().replace(bench.issuer().id, responder.clone());
    let later = late.saturating_add(2 * HOUR);
    assert_eq!(pass(&mut worker, later).responses, 20);
    for signing in bench.packs(HashAlgorithm::Sha1).iter().flat_map(|pack| pack.signings().collect::<Vec<_>>()) {
        assert_eq!((signing.signer, signing.this_update), (responder.id.0, later));
    }
}

#[test]
fn t3_a_new_certificate_is_used_from_the_next_response_on_and_nothing_else_is_signed_for_it() {
    let bench = Bench::new(30);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    // Before the slot's next turn.
    let later = bench.start.saturating_add(Duration::from_secs(1));
    let responder = renewed(&bench, later);
    worker.updates().replace(bench.issuer().id, responder.clone());
    assert_eq!(pass(&mut worker, later), PassReport::default());
    let due = bench.start.saturating_add(OCSP.refresh);
    pass(&mut worker, due);
    let signers: Vec<u32> =
        bench.packs(HashAlgorithm::Sha1).iter().flat_map(|p| p.signings().map(|s| s.signer).collect::<Vec<_>>()).collect();
    assert_eq!(signers, [responder.id.0]);
}

#[test]
fn s4_7_t3_a_ca_that_has_ended_signs_nothing_and_that_is_no_failure() {
    let bench = Bench::new(0);
    bench.add(0..10);
    let mut worker = bench.worker();
    pass(&mut worker, bench.start);
    let end = bench.ca.certificate().not_after;
    assert!(pass(&mut worker, end.saturating_sub(DAY)).responses > 0);
    bench.revoke(1, end);
    assert_eq!(pass(&mut worker, end.saturating_add(DAY)), PassReport::default());
}

/// What was signed without ArchiveCutoff stays what it is: both kinds are put together as they were signed, and only what is signed from then on says more.
#[test]
fn c6_o14_a_signer_that_keeps_status_for_ever_from_now_on_is_another_signer() {
    let mut bench = Bench::new(365);
    bench.add(0..1500);
    pass(&mut bench.worker(), bench.start);
    bench.crl_policy.expired = ExpiredEntries::ForEver;
    bench.revoke(1, bench.start);
    assert!(pass(&mut bench.worker(), bench.start).responses < 3000, "one slot of two for each CertID hash");
    let signers = bench.registry.signers(bench.issuer().id).unwrap();
    let cutoffs: Vec<_> = signers.iter().map(|(_, signer)| signer.archive_cutoff).collect();
    assert_eq!(cutoffs, [None, Some(bench.ca.certificate().not_before)]);
    let used: std::collections::BTreeSet<u32> =
        bench.packs(HashAlgorithm::Sha256).iter().flat_map(|pack| pack.signings().map(|s| s.signer).collect::<Vec<_>>()).collect();
    assert_eq!(used.len(), 2);
    let (crl_policy, base_url) = (bench.crl_policy, "http://va.example".to_owned());
    let issuer = IssuerToVerify { issuer: bench.issuer(), profile: gate::Profile::default(), crl_policy, base_url };
    let options = Options { signatures: Signatures::All, threads: 1 };
    let report = verify::verify(bench.registry.as_ref(), vec![issuer], options, &|| bench.start, &|| {}, &AtomicU64::new(0)).unwrap();
    assert_eq!((report.findings, report.responses), (vec![], 3000));
}
