//! Requests of every kind: proper ones, and those that are refused for one reason each.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use der::asn1::{Any, BitString, OctetString};
use der::{Decode, Encode};
use kakunin::pki::der_encoding::tlv;
use kakunin::pki::ocsp_request::{MAX_REQUEST_BYTES, encode_request};
use kakunin::pki::{HashAlgorithm, Serial};
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{OcspRequest, Signature};

use crate::Seed;
use crate::checks::world::{ISSUERS, WORLD, WorldIssuer};

const CERTIFICATE: &[u8] = include_bytes!("../data/responder.der");
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.7");
const MD5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.5");

fn request(issuer: &WorldIssuer, algorithm: HashAlgorithm, serial: &Serial) -> OcspRequest {
    OcspRequest::from_der(&encode_request(&issuer.names(algorithm), serial)).unwrap()
}

/// A request for a certificate of the first issuer that is in memory.
fn plain(algorithm: HashAlgorithm) -> OcspRequest {
    let serial = ISSUERS[0].serials().find(|serial| ISSUERS[0].is_loaded(serial.as_der_content())).unwrap();
    request(&ISSUERS[0], algorithm, &serial)
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &[u8]) -> Extension {
    Extension { extn_id, critical, extn_value: OctetString::new(value).unwrap() }
}

fn nonce(length: usize, critical: bool) -> Extension {
    let nonce: Vec<u8> = (0..length).map(|n| n as u8).collect();
    extension(ID_PKIX_OCSP_NONCE, critical, &tlv(0x04, &nonce))
}

fn with_extensions(extensions: Vec<Extension>) -> Vec<u8> {
    let mut request = plain(HashAlgorithm::Sha1);
    request.tbs_request.request_extensions = Some(extensions);
    request.to_der().unwrap()
}

fn changed(change: impl FnOnce(&mut OcspRequest)) -> Vec<u8> {
    let mut request = plain(HashAlgorithm::Sha256);
    change(&mut request);
    request.to_der().unwrap()
}

/// For as many certificates as fit into the greatest request, less the last ones.
fn many(extensions: bool) -> Vec<u8> {
    changed(|request| {
        let mut single = request.tbs_request.request_list.remove(0);
        single.single_request_extensions = extensions.then(|| vec![extension(UNKNOWN, false, &[]); 3]);
        let length = single.to_der().unwrap().len();
        request.tbs_request.request_list = vec![single; (MAX_REQUEST_BYTES - 100) / length];
    })
}

fn signed(certificates: usize) -> Vec<u8> {
    changed(|request| {
        request.tbs_request.requestor_name = Some(GeneralName::UniformResourceIdentifier("http://client.example/".parse_ia5()));
        request.optional_signature = Some(Signature {
            signature_algorithm: AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None },
            signature: BitString::from_bytes(&[0x5a; 70]).unwrap(),
            certs: (certificates > 0).then(|| vec![Certificate::from_der(CERTIFICATE).unwrap(); certificates]),
        });
    })
}

trait ParseIa5 {
    fn parse_ia5(&self) -> der::asn1::Ia5String;
}

impl ParseIa5 for str {
    fn parse_ia5(&self) -> der::asn1::Ia5String {
        der::asn1::Ia5String::new(self).unwrap()
    }
}

/// A request whose serial number has these content octets.
fn with_serial(content: &[u8]) -> Vec<u8> {
    let id = ISSUERS[0].names(HashAlgorithm::Sha1).cert_id(content);
    (0..4).fold(id, |inner, _| tlv(0x30, &inner))
}

/// A request whose tbsRequest begins with these octets.
fn with_version(version: &[u8]) -> Vec<u8> {
    let tbs = plain(HashAlgorithm::Sha1).tbs_request.to_der().unwrap();
    tlv(0x30, &tlv(0x30, &[version, &tbs[2..]].concat()))
}

fn proper() -> Vec<(&'static str, Vec<u8>)> {
    let plain_of = |algorithm| plain(algorithm).to_der().unwrap();
    vec![
        ("sha1", plain_of(HashAlgorithm::Sha1)),
        ("sha256", plain_of(HashAlgorithm::Sha256)),
        ("no-parameters", changed(|r| r.tbs_request.request_list[0].req_cert.hash_algorithm.parameters = None)),
        ("nonce-32-critical", with_extensions(vec![nonce(32, true)])),
        ("nonce-128", with_extensions(vec![nonce(128, false)])),
        ("unknown-extension", with_extensions(vec![extension(UNKNOWN, false, &[0x05, 0x00]), nonce(16, false)])),
        ("unknown-critical-extension", with_extensions(vec![nonce(16, false), extension(UNKNOWN, true, &[])])),
        ("signed", signed(0)),
        ("signed-with-certificates", signed(2)),
        ("serial-20", with_serial(&[0x7f; 20])),
        ("version-1", with_version(&[0xa0, 3, 2, 1, 0])),
    ]
}

fn refused_or_odd() -> Vec<(&'static str, Vec<u8>)> {
    let other_hash = AlgorithmIdentifierOwned { oid: MD5, parameters: Some(Any::null()) };
    let odd_parameters = AlgorithmIdentifierOwned { oid: ID_SHA_256, parameters: Some(Any::new(der::Tag::Integer, [7]).unwrap()) };
    let whole = plain(HashAlgorithm::Sha1).to_der().unwrap();
    let mut long_form = whole.clone();
    long_form.splice(1..2, [0x81, whole[1]]);
    vec![
        ("unknown-hash", changed(|r| r.tbs_request.request_list[0].req_cert.hash_algorithm = other_hash)),
        ("odd-parameters", changed(|r| r.tbs_request.request_list[0].req_cert.hash_algorithm = odd_parameters)),
        ("two-certificates", changed(|r| r.tbs_request.request_list.push(plain(HashAlgorithm::Sha384).tbs_request.request_list.remove(0)))),
        ("no-certificate", changed(|r| r.tbs_request.request_list.clear())),
        (
            "single-extensions",
            changed(|r| {
                let extensions = vec![nonce(16, false), extension(UNKNOWN, true, &[1])];
                r.tbs_request.request_list[0].single_request_extensions = Some(extensions);
            }),
        ),
        ("nonce-0", with_extensions(vec![nonce(0, false)])),
        ("nonce-129", with_extensions(vec![nonce(129, false)])),
        ("nonce-no-octet-string", with_extensions(vec![extension(ID_PKIX_OCSP_NONCE, false, &[7; 16])])),
        ("nonce-no-octet-string-129", with_extensions(vec![extension(ID_PKIX_OCSP_NONCE, false, &[7; 129])])),
        ("two-nonces", with_extensions(vec![nonce(16, false), nonce(16, false)])),
        ("no-extension", with_extensions(vec![])),
        ("serial-21", with_serial(&[0x7f; 21])),
        ("serial-negative", with_serial(&[0x80])),
        ("serial-not-minimal", with_serial(&[0, 1])),
        ("serial-empty", with_serial(&[])),
        ("version-2", with_version(&[0xa0, 3, 2, 1, 1])),
        ("version-twice", with_version(&[0xa0, 3, 2, 1, 0, 0xa0, 3, 2, 1, 0])),
        ("requestor-name-before-version", with_version(&[0xa1, 2, 0x82, 0, 0xa0, 3, 2, 1, 0])),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("one-octet-more", [&whole[..], &[0]].concat()),
        ("length-not-minimal", long_form),
        ("indefinite-lengths", [0x30, 0x80].repeat(200)),
        ("length-beyond-the-end", [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff].to_vec()),
        ("length-of-a-signature", {
            let bit_string = [0x30, 0x09, 0x30, 0x00, 0x03, 0x84, 0x03, 0x02, 0x57, 0x19, 0x00];
            tlv(0x30, &[&whole[2..], &tlv(0xa0, &bit_string)].concat())
        }),
        ("nested", (0..300).fold(Vec::new(), |inner, _| tlv(0x30, &inner))),
    ]
}

fn named(seeds: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Vec<Seed> {
    seeds.into_iter().map(|(name, seed)| (name.to_owned(), seed)).collect()
}

/// For the reader.
pub(crate) fn of_every_kind() -> Vec<Seed> {
    let long = [("many-certificates", many(false)), ("many-extensions", many(true))];
    named(proper().into_iter().chain(refused_or_odd()).chain(long))
}

/// For the answers: an octet that chooses time and restriction, and a request.
pub(crate) fn to_be_answered() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |name: String, choice: u8, request: &[u8]| seeds.push((name, [&[choice], request].concat()));
    for issuer in &ISSUERS {
        for algorithm in issuer.hashes {
            for (status, revoked) in [("good", false), ("revoked", true)] {
                let known = |serial: &Serial| WORLD.answers.get(&(issuer.name, *algorithm, *serial));
                let Some(serial) = issuer.serials().find(|s| known(s).is_some_and(|signed| signed.definitive.revoked == revoked)) else {
                    continue;
                };
                add(format!("{}-{}-{status}", issuer.name, algorithm.name()), 3, &request(issuer, *algorithm, &serial).to_der().unwrap());
            }
        }
    }
    let unloaded = ISSUERS[0].serials().find(|serial| !ISSUERS[0].is_loaded(serial.as_der_content())).unwrap();
    add("not-loaded".into(), 3, &request(&ISSUERS[0], HashAlgorithm::Sha1, &unloaded).to_der().unwrap());
    let unused: Serial = "0badcafe".parse().unwrap();
    add("unused-serial".into(), 3, &request(&ISSUERS[2], HashAlgorithm::Sha256, &unused).to_der().unwrap());
    for (name, choice) in [("too-early", 0), ("too-late", 7), ("of-this-issuer", 3 | 1 << 3), ("of-another-issuer", 3 | 3 << 3)] {
        add(name.into(), choice, &plain(HashAlgorithm::Sha1).to_der().unwrap());
    }
    for (name, request) in
        proper().into_iter().filter(|(name, _)| ["nonce-32-critical", "signed", "unknown-critical-extension"].contains(name))
    {
        add(name.into(), 3, &request);
    }
    seeds
}

/// A request that is answered, and a longer one.
pub(crate) fn for_paths() -> [Vec<u8>; 2] {
    [plain(HashAlgorithm::Sha1).to_der().unwrap(), signed(1)]
}
