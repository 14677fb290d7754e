//! The end of a signer's certificate, and of a CA's.

use super::*;

/// The same key with another certificate, valid for a year from `now`.
fn renewed(bench: &Bench, now: Timestamp) -> ResponseSigner {
    let (key, _) = bench.responder.clone().unwrap();
    let validity = Validity { not_before: now, not_after: now.saturating_add(365 * DAY) };
    let order = Order { subject: "CN=Responder", spki: key.public_key(), serial: random_serial(&SystemRandom::new()).unwrap(), validity };
    let certificate = CertificateInfo::from_der(&responder_certificate(&bench.ca, &order).unwrap()).unwrap();
    let signer = describe_signer(&key, bench.ca.certificate(), Some(&certificate), &gate::Profile::default()).unwrap();
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
    let later = bench.start.saturating_add(HOUR);
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
