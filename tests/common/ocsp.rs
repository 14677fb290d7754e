//! OCSP requests and answers by x509-ocsp's own types: an encoder and a decoder that the product does not share.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use aws_lc_rs::digest;
use der::asn1::{Null, ObjectIdentifier, OctetString};
use der::{Any, Decode, DecodePem, Encode};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::serial_number::SerialNumber;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspRequest, OcspResponse, OcspResponseStatus, Request, SingleResponse, TbsRequest,
};

use super::http::{self, Connection, Reply};

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

/// `unauthorized`: five octets, no signature (rule O1).
pub const UNAUTHORIZED: [u8; 5] = [0x30, 0x03, 0x0a, 0x01, 0x06];

/// Hash of a CertID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Those that are pre-signed.
pub const HASHES: [Hash; 2] = [Hash::Sha1, Hash::Sha256];

impl Hash {
    fn of(self, data: &[u8]) -> OctetString {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        OctetString::new(digest::digest(algorithm, data).as_ref()).unwrap()
    }

    /// The option of `openssl ocsp`.
    pub fn option(self) -> &'static str {
        match self {
            Hash::Sha1 => "-sha1",
            Hash::Sha256 => "-sha256",
            Hash::Sha384 => "-sha384",
            Hash::Sha512 => "-sha512",
        }
    }
}

/// A CA, as somebody who asks knows it.
#[derive(Clone, Debug)]
pub struct Asker {
    issuer: Certificate,
}

impl Asker {
    /// Asks about certificates of the CA with this certificate.
    pub fn new(issuer: &Path) -> Asker {
        Asker { issuer: certificate(issuer) }
    }

    pub fn cert_id(&self, serial: &str, hash: Hash) -> CertId {
        let oid = match hash {
            Hash::Sha1 => SHA1,
            Hash::Sha256 => SHA256,
            Hash::Sha384 => SHA384,
            Hash::Sha512 => SHA512,
        };
        let tbs = &self.issuer.tbs_certificate;
        CertId {
            hash_algorithm: AlgorithmIdentifierOwned { oid, parameters: Some(Any::from(Null)) },
            issuer_name_hash: hash.of(&tbs.subject.to_der().unwrap()),
            issuer_key_hash: hash.of(tbs.subject_public_key_info.subject_public_key.raw_bytes()),
            serial_number: SerialNumber::new(&octets(serial)).unwrap(),
        }
    }

    /// A request about one certificate.
    pub fn request(&self, serial: &str, hash: Hash) -> Vec<u8> {
        request_for(self.cert_id(serial, hash), None)
    }

    /// The same with a nonce.
    pub fn request_with_nonce(&self, serial: &str, hash: Hash, nonce: &[u8]) -> Vec<u8> {
        request_for(self.cert_id(serial, hash), Some(nonce))
    }

    /// Asks by POST on a connection that is kept.
    pub fn ask_on(&self, connection: &mut Connection, serial: &str, hash: Hash) -> Answer {
        let body = self.request(serial, hash);
        let request = http::request("POST", "/ocsp", &[("Content-Type", "application/ocsp-request")], Some(&body));
        Answer::of(&connection.exchange(&request).unwrap())
    }

    /// Asks by POST at `url`.
    pub fn ask(&self, url: &str, serial: &str, hash: Hash) -> Answer {
        Answer::of(&http::post(url, "/ocsp", &self.request(serial, hash)))
    }
}

/// A request with one CertID.
pub fn request_for(cert_id: CertId, nonce: Option<&[u8]>) -> Vec<u8> {
    let extension = |nonce: &[u8]| Extension {
        extn_id: NONCE,
        critical: false,
        extn_value: OctetString::new(OctetString::new(nonce).unwrap().to_der().unwrap()).unwrap(),
    };
    let tbs_request = TbsRequest {
        request_list: vec![Request { req_cert: cert_id, single_request_extensions: None }],
        request_extensions: nonce.map(|nonce| vec![extension(nonce)]),
        ..Default::default()
    };
    OcspRequest { tbs_request, optional_signature: None }.to_der().unwrap()
}

/// Reads a PEM certificate.
pub fn certificate(path: &Path) -> Certificate {
    let pem = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Certificate::from_pem(pem).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The serial number of a PEM certificate: lower-case hexadecimal, as `kakunin list` writes it.
pub fn serial_of(path: &Path) -> String {
    hex(&certificate(path).tbs_certificate.serial_number)
}

/// A serial number as `kakunin list` writes it: without the octet that only keeps it positive.
pub fn hex(serial: &SerialNumber) -> String {
    let octets = serial.as_bytes();
    let significant = if octets.len() > 1 && octets[0] == 0 { &octets[1..] } else { octets };
    significant.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}: an odd number of digits");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: OcspResponseStatus,
    pub basic: Option<BasicOcspResponse>,
}

impl Answer {
    /// An HTTP answer that must carry an OCSP response.
    pub fn of(reply: &Reply) -> Answer {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.expect("content-type"), "application/ocsp-response");
        assert_eq!(reply.expect("content-length"), reply.body.len().to_string());
        Answer::decode(&reply.body).unwrap_or_else(|e| panic!("{e}: {:02x?}", reply.body))
    }

    pub fn decode(der: &[u8]) -> der::Result<Answer> {
        let OcspResponse { response_status: status, response_bytes } = OcspResponse::from_der(der)?;
        let basic = response_bytes.map(|octets| BasicOcspResponse::from_der(octets.response.as_bytes())).transpose()?;
        assert_eq!(basic.is_some(), status == OcspResponseStatus::Successful, "O1: errors carry no responseBytes");
        Ok(Answer { status, basic })
    }

    /// The nonce in responseExtensions.
    pub fn nonce(&self) -> Option<Vec<u8>> {
        let extensions = self.basic.as_ref()?.tbs_response_data.response_extensions.as_ref()?;
        let nonce = extensions.iter().find(|extension| extension.extn_id == NONCE)?;
        Some(OctetString::from_der(nonce.extn_value.as_bytes()).unwrap().into_bytes())
    }

    /// The only SingleResponse.
    pub fn single(&self) -> &SingleResponse {
        let basic = self.basic.as_ref().unwrap_or_else(|| panic!("an error: {:?}", self.status));
        let [single] = &basic.tbs_response_data.responses[..] else { panic!("O4: not one SingleResponse: {basic:?}") };
        single
    }

    pub fn is_good(&self) -> bool {
        matches!(self.single().cert_status, CertStatus::Good(_))
    }

    pub fn is_revoked(&self) -> bool {
        matches!(self.single().cert_status, CertStatus::Revoked(_))
    }

    /// Name of the reason as `kakunin list` writes it, where revoked with one.
    pub fn reason(&self) -> Option<String> {
        let CertStatus::Revoked(info) = self.single().cert_status else { return None };
        let name = format!("{:?}", info.revocation_reason?);
        let special = [("CaCompromise", "cACompromise"), ("AaCompromise", "aACompromise")];
        let known = special.iter().find(|(debug, _)| *debug == name).map(|(_, name)| (*name).to_owned());
        Some(known.unwrap_or_else(|| name[..1].to_ascii_lowercase() + &name[1..]))
    }

    /// thisUpdate and nextUpdate.
    pub fn times(&self) -> (SystemTime, SystemTime) {
        let single = self.single();
        let next = single.next_update.expect("O6: nextUpdate");
        (single.this_update.0.to_system_time(), next.0.to_system_time())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub fn base64(data: &[u8]) -> String {
    let mut out = String::new();
    for chunk in data.chunks(3) {
        let group = chunk.iter().chain([&0; 2]).take(3).fold(0u32, |group, octet| group << 8 | u32::from(*octet));
        for place in 0..4 {
            let digit = (place <= chunk.len()).then(|| char::from(ALPHABET[(group >> (18 - 6 * place)) as usize & 63]));
            out.push(digit.unwrap_or('='));
        }
    }
    out
}

/// What RFC 6960 appendix A asks for: base64, url-encoded.
pub fn url_encoded(request: &[u8]) -> String {
    base64(request).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}
