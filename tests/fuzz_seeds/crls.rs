//! CRLs: as they are published, as others write them, and with one thing wrong each.

use der::asn1::{BitString, GeneralizedTime};
use der::{Decode, Encode};
use kakunin::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use kakunin::pki::der_encoding::{constructed, tag, tlv};
use kakunin::pki::extension::{Contents, IssuingDistributionPoint};
use kakunin::pki::{CertificateInfo, Revocation, RevocationReason, Serial, SignatureAlgorithm, Timestamp};
use std::time::Duration;
use x509_cert::certificate::Version;
use x509_cert::crl::CertificateList;
use x509_cert::time::Time;

use crate::Seed;
use crate::checks::world::{THIS_UPDATE, time};

const CERTIFICATE: &[u8] = include_bytes!("../data/responder.der");

/// With so many entries, revoked at `at` and for every reason in turn; every third knows when its key was lost.
fn crl(entries: u32, at: Timestamp, uri: Option<&str>) -> Vec<u8> {
    let issuer = CertificateInfo::from_der(CERTIFICATE).unwrap();
    let header = CrlHeader {
        issuer: &issuer.subject,
        authority_key_identifier: &[7; 20],
        algorithm: SignatureAlgorithm::EcdsaSha256,
        number: 4,
        this_update: time(THIS_UPDATE),
        next_update: time(THIS_UPDATE + 7200),
        base: None,
        distribution_point: uri.map(|uri| IssuingDistributionPoint { uri: uri.to_owned(), contents: Contents::UserCertificates }),
        freshest: None,
        expired_since: None,
    };
    let mut encoder = CrlEncoder::new(&header, entries.into());
    for number in 0..entries {
        let revocation = Revocation { at, reason: RevocationReason::ALL.get(number as usize % 9).copied() };
        let serial = Serial::from_magnitude(&(u64::from(number) * 0x0123_4567_89ab).to_be_bytes()).unwrap();
        encoder.push(&CrlEntry { serial, revocation, invalidity_date: Some(at).filter(|_| number % 3 == 0) });
    }
    encoder.finish().unwrap().with_signature(&[0x5a; 70]).to_vec()
}

fn usual() -> Vec<u8> {
    crl(9, time(THIS_UPDATE - 60), None)
}

fn changed(change: impl FnOnce(&mut CertificateList)) -> Vec<u8> {
    let mut list = CertificateList::from_der(&usual()).unwrap();
    change(&mut list);
    list.to_der().unwrap()
}

/// With `content` in the place of the extensions' SEQUENCE.
fn with_extensions(content: &[u8]) -> Vec<u8> {
    let mut list = CertificateList::from_der(&crl(0, time(THIS_UPDATE), None)).unwrap();
    list.tbs_cert_list.crl_extensions = None;
    let body = list.tbs_cert_list.to_der().unwrap();
    // Tag and length of so short a SEQUENCE are three octets at most.
    let fields = &body[if body[1] < 0x80 { 2 } else { 3 }..];
    let body = constructed(tag::SEQUENCE, &[fields, &constructed(tag::constructed(0), &[content])]);
    let signature = list.signature.to_der().unwrap();
    constructed(tag::SEQUENCE, &[&body, &list.signature_algorithm.to_der().unwrap(), &signature])
}

fn extension(oid: &[u8], middle: &[u8]) -> Vec<u8> {
    constructed(tag::SEQUENCE, &[&tlv(tag::OID, oid), middle, &tlv(tag::OCTET_STRING, &[])])
}

fn many_extensions() -> Vec<u8> {
    let all: Vec<u8> = (0..1000u32).flat_map(|n| extension(&[0x2a, 0x81 + (n >> 7) as u8, n as u8 & 0x7f], &[])).collect();
    with_extensions(&tlv(tag::SEQUENCE, &all))
}

/// With `replacement` for the first occurrence of `octets`, of the same length.
fn replaced(octets: &[u8], replacement: &[u8]) -> Vec<u8> {
    let mut der = usual();
    let at = der.windows(octets.len()).position(|window| window == octets).unwrap();
    der[at..at + octets.len()].copy_from_slice(replacement);
    der
}

fn generalized(unix: u64) -> Time {
    Time::GeneralTime(GeneralizedTime::from_unix_duration(Duration::from_secs(unix)).unwrap())
}

/// For the readers.
pub(crate) fn of_every_kind() -> Vec<Seed> {
    let whole = usual();
    let this_update = time(THIS_UPDATE).utc().unwrap();
    let seeds = [
        ("usual", whole.clone()),
        ("empty", crl(0, time(THIS_UPDATE), None)),
        ("partition", crl(3, time(THIS_UPDATE), Some("http://crl.example/crl/ca/0.crl"))),
        ("revoked-after-2049", crl(3, Timestamp::MAX, None)),
        ("many-extensions", many_extensions()),
        ("extension-twice", with_extensions(&tlv(tag::SEQUENCE, &extension(&[0x2a, 3], &[]).repeat(2)))),
        ("critical-false", with_extensions(&tlv(tag::SEQUENCE, &extension(&[0x2a, 3], &[tag::BOOLEAN, 1, 0])))),
        ("empty-oid", with_extensions(&tlv(tag::SEQUENCE, &extension(&[], &[])))),
        ("version-1", changed(|list| list.tbs_cert_list.version = Version::V1)),
        ("no-next-update", changed(|list| list.tbs_cert_list.next_update = None)),
        ("generalized-this-update", changed(|list| list.tbs_cert_list.this_update = generalized(THIS_UPDATE))),
        ("no-entry", changed(|list| list.tbs_cert_list.revoked_certificates = Some(vec![]))),
        ("unused-bits", changed(|list| list.signature = BitString::new(3, [0xf8]).unwrap())),
        ("no-time", replaced(&this_update, b"this is not Z")),
        ("serial-no-integer", replaced(&[tag::INTEGER, 1, 0], &[tag::OCTET_STRING, 1, 0])),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("one-octet-more", [&whole[..], &[0]].concat()),
        ("nothing", Vec::new()),
    ];
    seeds.into_iter().map(|(name, seed)| (name.to_owned(), seed)).collect()
}
