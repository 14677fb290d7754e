//! Reading OCSP requests, held against `x509-ocsp`.
//!
//! What both read, both read the same. What `x509-ocsp` reads and we refuse is one of [`Stricter`], or no DER: `der` skips context-specific fields that it does
//! not expect; written again as DER, such a request is read by both.

use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use der::asn1::OctetStringRef;
use der::{Decode, Encode};
use kakunin::pki::der_encoding::{constructed, tag, tlv};
use kakunin::pki::ocsp_request::{MAX_NONCE_BYTES, MAX_REQUEST_BYTES, OcspRequest};
use kakunin::pki::{HashAlgorithm, IssuerHashes};
use x509_cert::ext::Extension;

use super::{borrows, read_by_another};

type Theirs = x509_ocsp::OcspRequest;

/// Why we refuse what `x509-ocsp` reads, and would write in the same way.
#[derive(Debug)]
enum Stricter {
    /// More than [`MAX_REQUEST_BYTES`].
    TooLong,
    /// It asks about no certificate.
    NoCertificate,
    /// A nonce of no octets or more than [`MAX_NONCE_BYTES`] (RFC 9654 2.1, rule O11), within an OCTET STRING or without one (RFC 2560).
    Nonce,
    /// More than one nonce.
    SecondNonce,
}

/// One input.
pub fn check(input: &[u8]) {
    let ours = OcspRequest::from_der(input);
    if let Ok(ours) = &ours {
        stays_in_bounds(ours, input);
        reads_back(ours);
    }
    let Some(theirs) = read_by_another::<Theirs>(input) else { return };
    if let Ok(ours) = &ours {
        says_the_same(ours, &theirs);
    }
    let written = theirs.to_der().expect("what was read can be written");
    let stricter = Stricter::than(&theirs, written.len());
    match (OcspRequest::from_der(&written), stricter) {
        (Ok(ours), None) => says_the_same(&ours, &theirs),
        (Err(_), Some(_)) => {}
        (ours, stricter) => panic!("{ours:?} though {stricter:?}: {theirs:?}"),
    }
    assert!(ours.is_ok() || written != input || Stricter::than(&theirs, input.len()).is_some(), "refused: {theirs:?}");
}

fn stays_in_bounds(ours: &OcspRequest<'_>, input: &[u8]) {
    assert!(input.len() <= MAX_REQUEST_BYTES && ours.certificates >= 1);
    assert_eq!(ours.cert_ids().next().map(|(_, id)| id), Some(ours.cert_id));
    assert_eq!(ours.cert_ids().count(), ours.certificates);
    for (whole, id) in ours.cert_ids() {
        for part in [whole, id.issuer_name_hash, id.issuer_key_hash, id.serial] {
            assert!(borrows(input, part));
        }
        assert!(!id.serial.is_empty());
    }
    assert!(ours.nonce.is_none_or(|nonce| (1..=MAX_NONCE_BYTES).contains(&nonce.len()) && borrows(input, nonce)));
}

/// A request made of what was read is read as the same, whatever else there was in the first one.
fn reads_back(ours: &OcspRequest<'_>) {
    let id = &ours.cert_id;
    let Some(algorithm) = id.hash_algorithm else { return };
    let issuer = IssuerHashes { algorithm, name_hash: id.issuer_name_hash.to_vec(), key_hash: id.issuer_key_hash.to_vec() };
    let list = constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &[&issuer.cert_id(id.serial)])]);
    let extensions = ours.nonce.map(|nonce| {
        let value = tlv(tag::OCTET_STRING, &tlv(tag::OCTET_STRING, nonce));
        let extension = constructed(tag::SEQUENCE, &[&tlv(tag::OID, ID_PKIX_OCSP_NONCE.as_bytes()), &value]);
        constructed(tag::constructed(2), &[&constructed(tag::SEQUENCE, &[&extension])])
    });
    let written = constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &[&list, &extensions.unwrap_or_default()])]);
    if written.len() <= MAX_REQUEST_BYTES {
        let again = OcspRequest::from_der(&written).expect("what was just written");
        assert_eq!((again.cert_id, again.nonce), (ours.cert_id, ours.nonce));
        assert_eq!((again.certificates, again.unknown_critical_extension), (1, false));
    }
}

fn says_the_same(ours: &OcspRequest<'_>, theirs: &Theirs) {
    let tbs = &theirs.tbs_request;
    assert_eq!(ours.certificates, tbs.request_list.len());
    for ((_, ours), theirs) in ours.cert_ids().zip(&tbs.request_list) {
        let theirs = &theirs.req_cert;
        assert_eq!(ours.hash_algorithm, HashAlgorithm::from_oid(theirs.hash_algorithm.oid.as_bytes()));
        assert_eq!(ours.issuer_name_hash, theirs.issuer_name_hash.as_bytes());
        assert_eq!(ours.issuer_key_hash, theirs.issuer_key_hash.as_bytes());
        assert_eq!(ours.serial, theirs.serial_number.as_bytes());
    }
    assert_eq!(ours.nonce, nonces(theirs).next().and_then(|(nonce, is_wrapped)| is_wrapped.then_some(nonce)));
    let single = tbs.request_list.iter().filter_map(|request| request.single_request_extensions.as_ref()).flatten();
    let other = of_request(theirs).filter(|extension| extension.extn_id != ID_PKIX_OCSP_NONCE);
    assert_eq!(ours.unknown_critical_extension, single.chain(other).any(|extension| extension.critical));
}

fn of_request(theirs: &Theirs) -> impl Iterator<Item = &Extension> {
    theirs.tbs_request.request_extensions.iter().flatten()
}

/// Every nonce: the octets that its length is judged by, and whether an OCTET STRING holds them, so that they could be echoed.
fn nonces(theirs: &Theirs) -> impl Iterator<Item = (&[u8], bool)> {
    of_request(theirs).filter(|extension| extension.extn_id == ID_PKIX_OCSP_NONCE).map(|extension| {
        let bare = extension.extn_value.as_bytes();
        OctetStringRef::from_der(bare).map_or((bare, false), |nonce| (nonce.as_bytes(), true))
    })
}

impl Stricter {
    fn than(theirs: &Theirs, length: usize) -> Option<Stricter> {
        match () {
            () if length > MAX_REQUEST_BYTES => Some(Stricter::TooLong),
            () if theirs.tbs_request.request_list.is_empty() => Some(Stricter::NoCertificate),
            () if nonces(theirs).any(|(nonce, _)| !(1..=MAX_NONCE_BYTES).contains(&nonce.len())) => Some(Stricter::Nonce),
            () if nonces(theirs).count() > 1 => Some(Stricter::SecondNonce),
            () => None,
        }
    }
}
