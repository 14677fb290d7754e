//! A certification request (PKCS#10, RFC 2986): what it asks for, and whether who asks has the key.

use std::net::IpAddr;

use aws_lc_rs::signature as s;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_CE_SUBJECT_ALT_NAME, ID_EXTENSION_REQ, SHA_256_WITH_RSA_ENCRYPTION,
    SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Ia5String, OctetString};
use der::{Decode, Encode};
use serde::Deserialize;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};

use super::Rejection;
use crate::issuance::AlternativeName;
use crate::pki::certificate::key_algorithm_of_spki;
use crate::pki::{Fingerprint, KeyAlgorithm};

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const BEGIN_NEW: &str = "-----BEGIN NEW CERTIFICATE REQUEST-----";

/// A request whose signature verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationRequest {
    /// DER of the subject.
    pub subject: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// What kind of key that is.
    pub key_algorithm: KeyAlgorithm,
    /// The names of the requested subjectAltName.
    pub alternative_names: Vec<RequestedName>,
    /// The same in DER; `None` where there is none.
    pub alternative_names_der: Option<Vec<u8>>,
}

/// A name of a requested subjectAltName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedName {
    /// A host name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl RequestedName {
    /// As a profile takes it.
    pub fn as_name(&self) -> AlternativeName<'_> {
        match self {
            RequestedName::Dns(name) => AlternativeName::Dns(name),
            RequestedName::Ip(address) => AlternativeName::Ip(*address),
        }
    }
}

impl CertificationRequest {
    /// Reads a request, PEM or DER, and verifies its signature: the proof of possession (S3.1).
    pub fn read(content: &[u8]) -> Result<CertificationRequest, Rejection> {
        let der = match content {
            [0x30, ..] => content.to_vec(),
            _ => from_pem(content)?,
        };
        CertificationRequest::from_der(&der)
    }

    /// A request for a key that was made here: whose possession needs no proof.
    pub fn made_here(
        subject: Vec<u8>,
        spki: Vec<u8>,
        key_algorithm: KeyAlgorithm,
        alternative_names: Vec<RequestedName>,
    ) -> Result<CertificationRequest, Rejection> {
        let malformed = |e: der::Error| Rejection::new("names", format!("a name cannot be encoded: {e}"));
        let general = |name: &RequestedName| match name {
            RequestedName::Dns(name) => Ia5String::new(name).map(GeneralName::DnsName),
            RequestedName::Ip(IpAddr::V4(address)) => OctetString::new(address.octets()).map(GeneralName::IpAddress),
            RequestedName::Ip(IpAddr::V6(address)) => OctetString::new(address.octets()).map(GeneralName::IpAddress),
        };
        let names = alternative_names.iter().map(general).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let der = if names.is_empty() { None } else { Some(SubjectAltName(names).to_der().map_err(malformed)?) };
        Ok(CertificationRequest { subject, spki, key_algorithm, alternative_names, alternative_names_der: der })
    }

    fn from_der(der: &[u8]) -> Result<CertificationRequest, Rejection> {
        let malformed = |e: der::Error| Rejection::new("request", format!("not a PKCS#10 request: {e}"));
        let request = CertReq::from_der(der).map_err(malformed)?;
        let spki = request.info.public_key.to_der().map_err(malformed)?;
        let key_algorithm = key_algorithm_of_spki(&spki)
            .ok_or_else(|| Rejection::new("key", "another kind or size of key: wanted RSA 2048/3072/4096, ECDSA P-256/P-384 or Ed25519"))?;
        // Whatever DER does not say in one way only would be signed in one form and read in another.
        let info = request.info.to_der().map_err(malformed)?;
        verify(key_algorithm, &request.algorithm.oid, &spki, &info, request.signature.raw_bytes())?;
        let subject = request.info.subject.to_der().map_err(malformed)?;
        let (alternative_names_der, alternative_names) = alternative_names(&request)?.unzip();
        Ok(CertificationRequest {
            subject,
            spki,
            key_algorithm,
            alternative_names: alternative_names.unwrap_or_default(),
            alternative_names_der,
        })
    }

    /// Names the key.
    pub fn key_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.spki)
    }

    /// Names the subject.
    pub fn subject_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.subject)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    csr: std::borrow::Cow<'a, str>,
}

/// The request in a line of JSON, `{"csr": "…"}`: PEM, or the base64 of DER.
pub fn read_csr_line(line: &[u8]) -> Result<CertificationRequest, Rejection> {
    let Line { csr } =
        serde_json::from_slice(line).map_err(|e| Rejection::new("request", format!("not a JSON object with a string 'csr': {e}")))?;
    if csr.contains("-----BEGIN") {
        return CertificationRequest::read(csr.as_bytes());
    }
    CertificationRequest::from_der(&from_pem(format!("{BEGIN}\n{}\n-----END CERTIFICATE REQUEST-----", lines_of(&csr)).as_bytes())?)
}

/// PEM wants lines of at most 64 characters.
fn lines_of(base64: &str) -> String {
    let octets: Vec<u8> = base64.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    octets.chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")
}

fn from_pem(content: &[u8]) -> Result<Vec<u8>, Rejection> {
    let none = || Rejection::new("request", format!("neither DER nor '{BEGIN}'"));
    let text = std::str::from_utf8(content).map_err(|_| none())?;
    let start = text.find(BEGIN).or_else(|| text.find(BEGIN_NEW)).ok_or_else(none)?;
    let damaged = |e| Rejection::new("request", format!("damaged PEM: {e}"));
    der::pem::decode_vec(text[start..].trim_end().as_bytes()).map(|(_, der)| der).map_err(damaged)
}

fn verify(key: KeyAlgorithm, signature_oid: &ObjectIdentifier, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Rejection> {
    use KeyAlgorithm as K;
    let algorithm: &'static dyn s::VerificationAlgorithm = match (key, *signature_oid) {
        (K::Rsa2048 | K::Rsa3072 | K::Rsa4096, SHA_256_WITH_RSA_ENCRYPTION) => &s::RSA_PKCS1_2048_8192_SHA256,
        (K::Rsa2048 | K::Rsa3072 | K::Rsa4096, SHA_384_WITH_RSA_ENCRYPTION) => &s::RSA_PKCS1_2048_8192_SHA384,
        (K::Rsa2048 | K::Rsa3072 | K::Rsa4096, SHA_512_WITH_RSA_ENCRYPTION) => &s::RSA_PKCS1_2048_8192_SHA512,
        (K::EcdsaP256, ECDSA_WITH_SHA_256) => &s::ECDSA_P256_SHA256_ASN1,
        (K::EcdsaP256, ECDSA_WITH_SHA_384) => &s::ECDSA_P256_SHA384_ASN1,
        (K::EcdsaP256, ECDSA_WITH_SHA_512) => &s::ECDSA_P256_SHA512_ASN1,
        (K::EcdsaP384, ECDSA_WITH_SHA_256) => &s::ECDSA_P384_SHA256_ASN1,
        (K::EcdsaP384, ECDSA_WITH_SHA_384) => &s::ECDSA_P384_SHA384_ASN1,
        (K::EcdsaP384, ECDSA_WITH_SHA_512) => &s::ECDSA_P384_SHA512_ASN1,
        (K::Ed25519, ID_ED_25519) => &s::ED25519,
        _ => {
            return Err(Rejection::new(
                "proof-of-possession",
                format!("signed with {signature_oid} by a key {key}: wanted SHA-2 and the key's own kind"),
            ));
        }
    };
    // A point that is not on its curve is found before its signatures are.
    let key = s::ParsedPublicKey::new(algorithm, spki)
        .map_err(|_| Rejection::new("key", "not a valid public key: a point off its curve, or numbers out of range"))?;
    key.verify_sig(message, signature)
        .map_err(|_| Rejection::new("proof-of-possession", "the request's signature does not verify with its own key"))
}

/// A subjectAltName in DER, and as names.
type AlternativeNames = (Vec<u8>, Vec<RequestedName>);

/// The subjectAltName among the requested extensions. There is at most one.
fn alternative_names(request: &CertReq) -> Result<Option<AlternativeNames>, Rejection> {
    let malformed = |e: der::Error| Rejection::new("request", format!("its extensionRequest cannot be read: {e}"));
    let mut found = None;
    for attribute in request.info.attributes.iter().filter(|attribute| attribute.oid == ID_EXTENSION_REQ) {
        for value in attribute.values.iter() {
            let ExtensionReq(extensions) = ExtensionReq::from_der(&value.to_der().map_err(malformed)?).map_err(malformed)?;
            for extension in extensions.iter().filter(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME) {
                let der = extension.extn_value.as_bytes();
                let names = SubjectAltName::from_der(der).map_err(malformed)?.0.iter().map(requested_name).collect::<Result<_, _>>()?;
                if found.replace((der.to_vec(), names)).is_some() {
                    return Err(Rejection::new("request", "more than one subjectAltName"));
                }
            }
        }
    }
    Ok(found)
}

fn requested_name(name: &GeneralName) -> Result<RequestedName, Rejection> {
    let address = |octets: &[u8]| match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    };
    match name {
        GeneralName::DnsName(name) => Ok(RequestedName::Dns(name.as_str().to_owned())),
        GeneralName::IpAddress(octets) => address(octets.as_bytes())
            .map(RequestedName::Ip)
            .ok_or_else(|| Rejection::new("names", "an IP address of another length than 4 or 16 octets")),
        _ => Err(Rejection::new("names", "a subjectAltName of another kind: wanted host names and IP addresses")),
    }
}

#[cfg(test)]
mod tests {
    use der::asn1::{BitString, Ia5String, SetOfVec};
    use std::str::FromStr;
    use x509_cert::attr::Attribute;
    use x509_cert::ext::Extension;
    use x509_cert::name::Name;
    use x509_cert::request::{CertReqInfo, Version};

    use super::*;
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    fn info(key: &SoftwareKey, names: &[GeneralName]) -> CertReqInfo {
        let names = SubjectAltName(names.to_vec()).to_der().unwrap();
        let extension =
            Extension { extn_id: ID_CE_SUBJECT_ALT_NAME, critical: false, extn_value: der::asn1::OctetString::new(names).unwrap() };
        let mut attributes = SetOfVec::new();
        attributes.insert(Attribute::try_from(ExtensionReq(vec![extension])).unwrap()).unwrap();
        CertReqInfo {
            version: Version::V1,
            subject: Name::from_str("CN=www.example.com").unwrap(),
            public_key: spki::SubjectPublicKeyInfoOwned::from_der(key.public_key()).unwrap(),
            attributes,
        }
    }

    fn signed(info: CertReqInfo, key: &SoftwareKey) -> Vec<u8> {
        let signature = key.sign(&info.to_der().unwrap()).unwrap();
        let algorithm = spki::AlgorithmIdentifierOwned::from_der(key.signature_algorithm().identifier()).unwrap();
        CertReq { info, algorithm, signature: BitString::from_bytes(&signature).unwrap() }.to_der().unwrap()
    }

    fn dns(name: &str) -> GeneralName {
        GeneralName::DnsName(Ia5String::new(name).unwrap())
    }

    #[test]
    fn s3_1_possession_is_proved_by_the_requests_signature() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
            let (key, other) = (SoftwareKey::generate(algorithm).unwrap(), SoftwareKey::generate(algorithm).unwrap());
            let der = signed(info(&key, &[dns("www.example.com")]), &key);
            let request = CertificationRequest::read(&der).unwrap();
            assert_eq!((request.spki.as_slice(), request.key_algorithm), (key.public_key(), algorithm));
            assert_eq!(request.alternative_names, [RequestedName::Dns("www.example.com".into())]);
            let stolen = signed(info(&key, &[dns("www.example.com")]), &other);
            assert_eq!(CertificationRequest::read(&stolen).unwrap_err().rule, "proof-of-possession");
            let at = der.windows(3).position(|octets| octets == b"www").unwrap();
            let mut changed = der.clone();
            changed[at] = b'v';
            assert_eq!(CertificationRequest::read(&changed).unwrap_err().rule, "proof-of-possession");
        }
    }

    #[test]
    fn s3_1_a_point_off_its_curve_is_no_key() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mut wrong = info(&key, &[dns("a.example")]);
        let mut point = key.public_key()[26..].to_vec();
        point[64] ^= 1;
        wrong.public_key.subject_public_key = BitString::from_bytes(&point).unwrap();
        assert_eq!(CertificationRequest::read(&signed(wrong, &key)).unwrap_err().rule, "key");
    }

    #[test]
    fn requests_are_read_from_der_pem_and_json() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let der = signed(info(&key, &[dns("a.example")]), &key);
        let request = CertificationRequest::read(&der).unwrap();
        let pem = der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, &der).unwrap();
        assert_eq!(CertificationRequest::read(format!("some text\n{pem}\n\n").as_bytes()), Ok(request.clone()));
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for line in [serde_json::json!({ "csr": pem }), serde_json::json!({ "csr": base64 })] {
            assert_eq!(read_csr_line(format!("{line}\n").as_bytes()), Ok(request.clone()));
        }
        for wrong in ["", "{}", "{\"csr\":\"\"}", "{\"csr\":\"QUJD\"}", "{\"csr\":7}"] {
            assert_eq!(read_csr_line(wrong.as_bytes()).unwrap_err().rule, "request", "{wrong}");
        }
    }

    #[test]
    fn a_name_of_a_kind_that_no_profile_takes_is_rejected() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mail = GeneralName::Rfc822Name(Ia5String::new("a@example.com").unwrap());
        assert_eq!(CertificationRequest::read(&signed(info(&key, &[mail]), &key)).unwrap_err().rule, "names");
    }
}
