//! OCSP questions: the DER of requests, with what the answer must say. Encoded by x509-ocsp (RFC 6960 4.1).

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use clap::ValueEnum;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::asn1::{Null, OctetString};
use der::{Any, Encode, Reader, SliceReader, Tag};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde::Deserialize;
use spki::AlgorithmIdentifierOwned;
use x509_cert::serial_number::SerialNumber;
use x509_ocsp::{CertId, OcspRequest, Request, TbsRequest};

use super::arena::Arena;
use super::certificate::Certificate;
use super::mix::{Ask, Class};
use super::read_bounded;
use super::serials::Listed;

/// Serials that nobody has issued: so many are made.
const UNKNOWN: u32 = 100_000;
/// Requests that are none: so many are made.
const MALFORMED: u32 = 64;
/// Octets of a ready-made request at most.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// Octets of a file of them at most.
const MAX_FILE_BYTES: u64 = 128 << 20;
/// Ready-made requests at most.
const MAX_REQUESTS: usize = 1_000_000;

/// What the answer to a question must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expected {
    Good,
    Revoked,
    /// Good or revoked.
    Issued,
    /// Nothing that vouches for it: `unauthorized`, `unknown`, or extended-revoke (O9, O10).
    NeverIssued,
    /// An error: `malformedRequest`, or HTTP 4xx.
    Malformed,
    /// Not known.
    #[default]
    Anything,
}

/// Which hash the CertIDs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Hashes {
    #[default]
    Sha1,
    Sha256,
    /// Each certificate by SHA-1 and by SHA-256.
    Both,
}

/// The issuer as a CertID names it, under one hash (rule O2).
#[derive(Clone, Debug)]
struct Namer {
    algorithm: ObjectIdentifier,
    name_hash: OctetString,
    key_hash: OctetString,
}

/// OCSP requests by their number.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    ders: Arena,
    expected: Vec<Expected>,
}

impl Questions {
    /// Questions about an issuer's certificates, and about what else is asked: serials never issued, requests that are none.
    pub fn about(issuer: &Certificate, certificates: &[Listed], hashes: Hashes, ask: &Ask) -> Result<Questions> {
        let namers: Vec<Namer> = hashes.algorithms().iter().map(|algorithm| Namer::of(issuer, *algorithm)).collect::<Result<_>>()?;
        let mut questions = Questions::default();
        for certificate in certificates {
            questions.add(&namers, &certificate.serial, certificate.expected())?;
        }
        // The same ones in every run.
        let mut random = SmallRng::seed_from_u64(1);
        if ask.includes(Class::Unknown) {
            for _ in 0..UNKNOWN {
                let mut serial = [0; 16];
                random.fill_bytes(&mut serial);
                serial[0] = serial[0] & 0x7f | 0x40;
                questions.add(&namers, &serial, Expected::NeverIssued)?;
            }
        }
        if ask.includes(Class::Malformed) {
            let whole = namers[0].request(&[1; 16])?;
            (0..MALFORMED).for_each(|number| questions.push(&damaged(&whole, number, &mut random), Expected::Malformed));
        }
        Ok(questions)
    }

    /// Requests as they are, about which nothing is known.
    pub fn ready_made(requests: impl IntoIterator<Item = Vec<u8>>) -> Questions {
        let mut questions = Questions::default();
        requests.into_iter().for_each(|der| questions.push(&der, Expected::Anything));
        questions
    }

    /// Ready-made requests in DER from a file, or from all files of a directory in the order of their names; a file has one, or many, one behind the other.
    pub fn from_files(path: &Path) -> Result<Questions> {
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
            files = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            files.retain(|file| file.is_file());
            files.sort();
        }
        ensure!(!files.is_empty(), "--requests-from: {} is empty, wanted files with one OCSP request in DER each", path.display());
        ensure!(files.len() <= MAX_REQUESTS, "--requests-from: found {} files, wanted at most {MAX_REQUESTS}", files.len());
        let mut questions = Questions::default();
        for file in &files {
            let before = questions.len();
            let der = read_bounded(file, MAX_FILE_BYTES).context("--requests-from")?;
            match der.first() {
                Some(0x30) => one_by_one(&der).into_iter().for_each(|der| questions.push(der, Expected::Anything)),
                first => bail!("--requests-from: {}: found {first:02x?} at the start, wanted 30: an OCSP request in DER", file.display()),
            }
            let (found, longest) = (questions.len(), MAX_REQUEST_BYTES);
            ensure!(found as usize <= MAX_REQUESTS, "--requests-from: {}: found more than {MAX_REQUESTS} requests", file.display());
            let longer = (before..found).find(|index| questions.der(*index).len() > longest);
            ensure!(longer.is_none(), "--requests-from: {}: found a request of more than {longest} octets", file.display());
        }
        Ok(questions)
    }

    fn add(&mut self, namers: &[Namer], serial: &[u8], expected: Expected) -> Result<()> {
        namers.iter().try_for_each(|namer| {
            self.push(&namer.request(serial)?, expected);
            Ok(())
        })
    }

    fn push(&mut self, der: &[u8], expected: Expected) {
        self.ders.push(der);
        self.expected.push(expected);
    }

    /// What was good or revoked may be either.
    pub(super) fn forget_statuses(&mut self) {
        let is_status = |expected: &&mut Expected| matches!(expected, Expected::Good | Expected::Revoked);
        self.expected.iter_mut().filter(is_status).for_each(|expected| *expected = Expected::Issued);
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.ders.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The DER of one.
    #[inline]
    pub fn der(&self, index: u32) -> &[u8] {
        self.ders.get(index)
    }

    /// What the answer must say.
    #[inline]
    pub fn expected(&self, index: u32) -> Expected {
        self.expected.get(index as usize).copied().unwrap_or_default()
    }
}

impl Hashes {
    fn algorithms(self) -> &'static [ObjectIdentifier] {
        match self {
            Hashes::Sha1 => &[ID_SHA_1],
            Hashes::Sha256 => &[ID_SHA_256],
            Hashes::Both => &[ID_SHA_1, ID_SHA_256],
        }
    }
}

impl Namer {
    fn of(issuer: &Certificate, algorithm: ObjectIdentifier) -> Result<Namer> {
        let function = if algorithm == ID_SHA_1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
        let hash = |octets: &[u8]| OctetString::new(digest::digest(function, octets).as_ref());
        Ok(Namer { algorithm, name_hash: hash(&issuer.subject)?, key_hash: hash(&issuer.key_bits)? })
    }

    fn request(&self, serial: &[u8]) -> Result<Vec<u8>> {
        let req_cert = CertId {
            hash_algorithm: AlgorithmIdentifierOwned { oid: self.algorithm, parameters: Some(Any::from(Null)) },
            issuer_name_hash: self.name_hash.clone(),
            issuer_key_hash: self.key_hash.clone(),
            serial_number: SerialNumber::new(serial)?,
        };
        let request_list = vec![Request { req_cert, single_request_extensions: None }];
        Ok(OcspRequest { tbs_request: TbsRequest { request_list, ..TbsRequest::default() }, optional_signature: None }.to_der()?)
    }
}

/// The requests of a file: SEQUENCEs of DER, one behind the other. What is anything else is one request, and sent as it is.
fn one_by_one(octets: &[u8]) -> Vec<&[u8]> {
    let (mut requests, mut rest) = (Vec::new(), octets);
    while !rest.is_empty() {
        let Ok(request) = first_sequence(rest) else { return vec![octets] };
        requests.push(request);
        rest = &rest[request.len()..];
    }
    requests
}

fn first_sequence(octets: &[u8]) -> der::Result<&[u8]> {
    let mut reader = SliceReader::new(octets)?;
    reader.peek_tag()?.assert_eq(Tag::Sequence)?;
    reader.tlv_bytes()
}

/// A request that is none: cut off, with another tag in its middle, or noise.
fn damaged(whole: &[u8], number: u32, random: &mut SmallRng) -> Vec<u8> {
    let mut der = whole.to_vec();
    match number % 3 {
        0 => der.truncate(random.random_range(1..whole.len())),
        // The tags of OCSPRequest, TBSRequest and requestList: nothing there may be anything else.
        1 => der[2 * random.random_range(0..3)] = 0x13,
        _ => random.fill_bytes(&mut der),
    }
    der
}

/// The path of a GET: base64, with `+`, `/` and `=` percent-encoded (RFC 6960 A.1).
pub fn get_path(base: &str, der: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(der).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("{base}/{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::Decode;

    #[test]
    fn the_path_of_the_example_in_rfc_6960_is_encoded() {
        assert_eq!(get_path("/ocsp", &[0xfb, 0xff, 0xfe, 0]), "/ocsp/%2B%2F%2F%2BAA%3D%3D");
    }

    #[test]
    fn o2_o12_requests_name_the_issuer_and_the_serial() {
        let issuer = Certificate { subject: b"name".to_vec(), key_bits: b"key".to_vec(), ..Certificate::default() };
        let listed = [
            Listed { serial: vec![0x80, 1], revoked: Some(true), not_after: None },
            Listed { serial: vec![5], revoked: None, not_after: None },
        ];
        let questions = Questions::about(&issuer, &listed, Hashes::Both, &"issued,unknown,malformed".parse().unwrap()).unwrap();
        assert_eq!(questions.len(), 4 + 2 * UNKNOWN + MALFORMED);
        let decoded = OcspRequest::from_der(questions.der(1)).unwrap();
        let id = &decoded.tbs_request.request_list[0].req_cert;
        assert_eq!((id.serial_number.as_bytes(), id.hash_algorithm.oid), (&[0, 0x80, 1][..], ID_SHA_256));
        assert_eq!(id.issuer_name_hash.as_bytes(), digest::digest(&digest::SHA256, b"name").as_ref());
        assert_eq!((questions.expected(1), questions.expected(2)), (Expected::Revoked, Expected::Issued));
        assert_eq!(questions.expected(4), Expected::NeverIssued);
        for index in 4 + 2 * UNKNOWN..questions.len() {
            assert_eq!(questions.expected(index), Expected::Malformed);
            assert!(OcspRequest::from_der(questions.der(index)).is_err(), "{:02x?}", questions.der(index));
        }
    }

    #[test]
    fn ready_made_requests_keep_the_order_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for (name, octet) in [("b.der", 2), ("a.der", 1)] {
            std::fs::write(directory.path().join(name), [0x30, octet]).unwrap();
        }
        let questions = Questions::from_files(directory.path()).unwrap();
        assert_eq!((questions.der(0), questions.der(1)), (&[0x30, 1][..], &[0x30, 2][..]));
        let file = directory.path().join("b.der");
        std::fs::write(&file, [0x30, 1, 7, 0x30, 0, 0x30, 2, 5, 0]).unwrap();
        let questions = Questions::from_files(&file).unwrap();
        assert_eq!(
            (0..questions.len()).map(|index| questions.der(index)).collect::<Vec<_>>(),
            [&[0x30, 1, 7][..], &[0x30, 0], &[0x30, 2, 5, 0]]
        );
        std::fs::write(&file, [0x30, 1, 7, 0x31, 0]).unwrap();
        assert_eq!(Questions::from_files(&file).unwrap().len(), 1);
        std::fs::write(directory.path().join("c.pem"), "-----BEGIN").unwrap();
        assert!(Questions::from_files(directory.path()).unwrap_err().to_string().contains("c.pem: found Some(2d)"));
    }
}
