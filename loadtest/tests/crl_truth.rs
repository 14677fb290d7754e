//! Wrong CRLs are found, and fail the run: a server of CRLs with real signatures tells one lie at a time.

#![allow(clippy::unwrap_used)]

mod common;

use common::crl_liar::{Answer, Draft, EVERY_KIND, entry, load, time};
use common::liar::Liar;
use common::{fail, succeed};

/// The run must fail, and show what is wrong with the request and the answer.
fn found(said: &str, what: &str, status: u16) {
    let finding = said.split("\n\n").find(|part| part.starts_with(&format!("wrong: {what}")));
    let finding = finding.unwrap_or_else(|| panic!("wanted '{what}': {said}"));
    assert!(finding.contains("\nrequest: GET /ca.crl from 127.0.0.1:"), "{finding}");
    assert!(finding.contains(&format!("\nanswer: HTTP/1.1 {status} ")), "{finding}");
    assert!(said.contains("checked answers are wrong."), "{said}");
}

/// What a load finds against a CRL that was wrong when it was signed.
fn signed(lie: impl FnOnce(&mut Draft)) -> String {
    fail(&mut load(EVERY_KIND, lie, |_| ()).1)
}

/// What a load finds against a CRL that is right, and is served in a wrong way.
fn served(lie: impl Fn(&mut Answer) + Send + Sync + 'static) -> String {
    fail(&mut load(EVERY_KIND, |_| (), lie).1)
}

#[test]
fn an_honest_server_passes() {
    let said = succeed(&mut load(EVERY_KIND, |_| (), |_| ()).1);
    assert!(said.contains("checked    60 answers, 0 wrong"), "{said}");
    for kind in ["206", "304", "crl"] {
        assert!(said.contains(&format!(" {kind}")), "{said}");
    }
}

#[test]
fn a_crl_with_a_broken_signature_is_found() {
    found(&signed(|draft| draft.breaks_signature = true), "signature: the signature does not verify", 200);
}

#[test]
fn c1_a_crl_of_another_ca_is_found() {
    let other = Liar::new().issuer;
    // Under the same name, so that the signature alone tells; and under another one.
    let signer = other.clone();
    found(&signed(move |draft| draft.signer = signer), "signature: the signature does not verify", 200);
    let renamed = |draft: &mut Draft| draft.list.issuer = Liar::delegate(&Liar::new(), "").certificate.tbs_certificate.subject;
    found(&signed(renamed), "C1 issuer: found another name", 200);
}

#[test]
fn a_stale_crl_is_found_and_so_is_a_304_that_vouches_for_it() {
    let of = |mix| fail(&mut load(mix, |draft| draft.list.next_update = Some(time(-1)), |_| ()).1);
    found(&of("crl=1"), "nextUpdate: found ", 200);
    found(&of("crl-conditional=1"), "304: found for a CRL with nextUpdate ", 304);
}

#[test]
fn c1_a_crl_that_never_ends_is_found() {
    found(&signed(|draft| draft.list.next_update = None), "C1 no nextUpdate", 200);
}

#[test]
fn a_crl_from_the_future_is_found() {
    found(&signed(|draft| draft.list.this_update = time(2)), "thisUpdate: found ", 200);
}

#[test]
fn c9_a_revoked_certificate_that_is_missing_is_found() {
    found(&signed(|draft| draft.list.revoked_certificates = None), "entries: found no 02, wanted every certificate that is revoked", 200);
    let other = |draft: &mut Draft| draft.list.revoked_certificates = Some(vec![entry(3)]);
    found(&signed(other), "entries: found no 02, wanted every certificate that is revoked", 200);
}

#[test]
fn c9_a_good_certificate_that_stands_on_it_is_found() {
    let lie = |draft: &mut Draft| draft.list.revoked_certificates = Some(vec![entry(1), entry(2)]);
    found(&signed(lie), "entries: found 01, wanted none that is good", 200);
}

#[test]
fn what_is_no_crl_is_found() {
    let lie = |answer: &mut Answer| {
        if answer.status == 200 {
            answer.body = b"<html>".to_vec();
        }
    };
    found(&served(lie), "ETag: found the one of other octets", 200);
    found(&served(lie), "not a CRL in DER", 200);
}

#[test]
fn a_304_for_another_etag_is_found() {
    let conditional = |lie: fn(&mut Answer)| fail(&mut load("crl-conditional=1", |_| (), lie).1);
    found(&conditional(|answer| answer.headers = answer.headers.replace("\"1\"", "\"2\"")), "304: found ETag \"2\"", 304);
    found(&conditional(|answer| answer.headers = answer.headers.replace("ETag", "X-ETag")), "304: found no ETag", 304);
}

#[test]
fn a_200_to_whom_nothing_is_new_is_found() {
    let said = fail(&mut load("crl-conditional=1", |_| (), |answer| answer.status = 200).1);
    found(&said, "If-None-Match: found 200 with the ETag that was given, wanted 304", 200);
}

#[test]
fn other_octets_than_those_of_the_range_are_found() {
    let lie = |answer: &mut Answer| {
        if answer.status == 206 {
            answer.body.reverse();
        }
    };
    found(&served(lie), "206: found other octets than those of the CRL", 206);
    let lie = |answer: &mut Answer| answer.headers = answer.headers.replace("Content-Range: bytes ", "Content-Range: bytes 1");
    found(&served(lie), "Content-Range: found bytes 1", 206);
}

#[test]
fn c10_o13_bad_headers_of_a_crl_are_found() {
    for (right, instead, what) in [
        ("application/pkix-crl", "text/plain", "C10 Content-Type: found 'text/plain'"),
        ("Expires", "X-Expires", "O13 Expires: found none"),
        ("public", "no-store", "O13 Cache-Control: found "),
    ] {
        found(&served(move |answer| answer.headers = answer.headers.replace(right, instead)), what, 200);
    }
}

#[test]
fn a_304_that_nobody_asked_for_is_a_failure() {
    let said = served(|answer| {
        if answer.status == 200 {
            (answer.status, answer.body) = (304, Vec::new());
        }
    });
    assert!(said.contains("http 304") && said.contains("requests failed"), "{said}");
}
