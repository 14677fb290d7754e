//! Wrong answers are found, and fail the run: a responder with real signatures tells one lie at a time.

mod common;

use common::liar::{Liar, moment};
use common::{fail, succeed};
use x509_ocsp::{CertStatus, RevokedInfo};

/// The run must fail, and show what is wrong with the request and the answer.
fn found(said: &str, what: &str) {
    assert!(said.contains(&format!("wrong: {what}")), "wanted '{what}': {said}");
    assert!(said.contains("checked answers are wrong."), "{said}");
    assert!(said.contains("request: POST / to 127.0.0.1:") && said.contains("answer: HTTP/1.1 200 OK"), "{said}");
}

#[test]
fn an_honest_responder_passes_under_its_issuer_and_under_a_delegated_certificate() {
    let liar = Liar::new();
    assert!(succeed(&mut liar.load(|_| (), &[])).contains("checked    20 answers, 0 wrong"));
    let delegate = liar.delegate("extendedKeyUsage = OCSPSigning\n");
    assert!(succeed(&mut liar.load(move |draft| draft.signer = delegate.clone(), &[])).contains("20 answers, 0 wrong"));
}

#[test]
fn a_wrong_status_is_found() {
    let liar = Liar::new();
    liar.expect_good();
    let revoked = CertStatus::Revoked(RevokedInfo { revocation_time: moment(-2), revocation_reason: None });
    found(&fail(&mut liar.load(move |draft| draft.single.cert_status = revoked, &[])), "status: found revoked, wanted good");
}

#[test]
fn o9_good_for_a_serial_that_was_never_issued_is_found() {
    let said = fail(&mut Liar::new().load(|_| (), &["--ask", "unknown=1"]));
    found(&said, "status: found good, wanted unauthorized or unknown (O9)");
}

#[test]
fn o5_another_cert_id_is_found() {
    let lie = |draft: &mut common::liar::Draft| draft.single.cert_id.hash_algorithm.parameters = None;
    found(&fail(&mut Liar::new().load(lie, &[])), "O5 CertID: found ");
}

#[test]
fn an_expired_answer_is_found() {
    let lie = |draft: &mut common::liar::Draft| draft.single.next_update = Some(moment(-1));
    found(&fail(&mut Liar::new().load(lie, &["--headers", "basic"])), "nextUpdate: found ");
}

#[test]
fn an_answer_from_the_future_is_found() {
    let lie = |draft: &mut common::liar::Draft| draft.single.this_update = moment(2);
    found(&fail(&mut Liar::new().load(lie, &["--headers", "basic"])), "thisUpdate: found ");
}

#[test]
fn o6_an_answer_without_next_update_is_found() {
    let lie = |draft: &mut common::liar::Draft| draft.single.next_update = None;
    found(&fail(&mut Liar::new().load(lie, &[])), "O6 no nextUpdate");
}

#[test]
fn a_signature_that_does_not_verify_is_found() {
    found(&fail(&mut Liar::new().load(|draft| draft.breaks_signature = true, &[])), "signature: the signature does not verify");
}

#[test]
fn p1_a_responder_certificate_without_its_extended_key_usage_is_found() {
    let liar = Liar::new();
    let delegate = liar.delegate("extendedKeyUsage = serverAuth\n");
    let said = fail(&mut liar.load(move |draft| draft.signer = delegate.clone(), &[]));
    found(&said, "P1 responder certificate: without the extended key usage OCSPSigning");
}

#[test]
fn o7_a_responder_certificate_of_another_ca_is_found() {
    let delegate = Liar::new().delegate("extendedKeyUsage = OCSPSigning\n");
    let said = fail(&mut Liar::new().load(move |draft| draft.signer = delegate.clone(), &[]));
    found(&said, "O7 responder certificate: not issued by the issuer");
}

#[test]
fn o13_bad_headers_are_found() {
    for (right, instead, what) in [
        ("application/ocsp-response", "text/html", "Content-Type: found 'text/html'"),
        ("ETag", "X-ETag", "O13 ETag: found none"),
        ("public", "no-store", "O13 Cache-Control: found "),
    ] {
        let lie = move |draft: &mut common::liar::Draft| draft.headers = draft.headers.replace(right, instead);
        found(&fail(&mut Liar::new().load(lie, &[])), what);
    }
}
