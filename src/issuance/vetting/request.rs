//! A certification request (PKCS#10, RFC 2986): what it asks for, and whether who asks has the key.

use std::borrow::Cow;
use std::net::IpAddr;

use aws_lc_rs::signature as s;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER, ID_EXTENSION_REQ,
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{AnyRef, BitStringRef, Ia5String, OctetString};
use der::{Decode, Encode, Reader, Sequence, SliceReader};
use serde::Deserialize;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::attr::Attributes;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{SubjectAltName, SubjectKeyIdentifier};
use x509_cert::name::RdnSequence;
use x509_cert::request::{ExtensionReq, Version};

use super::Rejection;
use super::armour::{self, read_json_line};
use crate::issuance::AlternativeName;
use crate::issuance::profile::SubjectKey;
use crate::pki::Fingerprint;
use crate::pki::certificate::key_identity;

/// More than any hash that identifiers are made of.
const MAX_KEY_IDENTIFIER: usize = 64;

/// A request whose signature verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationRequest {
    /// DER of the subject.
    pub subject: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// What kind of key that is. A profile says which of them it certifies.
    pub key: SubjectKey,
    /// The names of the requested subjectAltName.
    pub alternative_names: Vec<RequestedName>,
    /// The same in DER; `None` where there is none.
    pub alternative_names_der: Option<Vec<u8>>,
    /// The requested subjectKeyIdentifier: by which a CA that asks names its key in what it issues.
    pub key_identifier: Option<Vec<u8>>,
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
            [0x30, ..] => Cow::Borrowed(content),
            _ => Cow::Owned(armour::pem(content)?),
        };
        CertificationRequest::from_der(&der)
    }

    /// A request for a key that was made here: whose possession needs no proof.
    pub fn made_here(
        subject: Vec<u8>,
        spki: Vec<u8>,
        key: SubjectKey,
        alternative_names: Vec<RequestedName>,
    ) -> Result<CertificationRequest, Rejection> {
        let malformed = |e: der::Error| Rejection::new("names", format!("a name cannot be encoded: {e}"));
        if let Some(RequestedName::Dns(name)) =
            alternative_names.iter().find(|name| matches!(name, RequestedName::Dns(dns) if !dns.is_ascii()))
        {
            let shown: String = name.chars().take(100).collect();
            return Err(Rejection::new(
                "names",
                format!("dNSName: found '{shown}', wanted ASCII: labels in other scripts begin with xn--"),
            ));
        }
        let general = |name: &RequestedName| match name {
            RequestedName::Dns(name) => Ia5String::new(name).map(GeneralName::DnsName),
            RequestedName::Ip(IpAddr::V4(address)) => OctetString::new(address.octets()).map(GeneralName::IpAddress),
            RequestedName::Ip(IpAddr::V6(address)) => OctetString::new(address.octets()).map(GeneralName::IpAddress),
        };
        let names = alternative_names.iter().map(general).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let der = if names.is_empty() { None } else { Some(SubjectAltName(names).to_der().map_err(malformed)?) };
        Ok(CertificationRequest { subject, spki, key, alternative_names, alternative_names_der: der, key_identifier: None })
    }

    fn from_der(der: &[u8]) -> Result<CertificationRequest, Rejection> {
        let malformed = |e: der::Error| Rejection::new("request", format!("not a PKCS#10 request: {e}"));
        let request = Pkcs10::from_der(der).map_err(malformed)?;
        // What is not DER can be read in more than one way, and would be read in one and be signed in another.
        if request.to_der().map_err(malformed)? != der {
            return Err(Rejection::new("request", "its encoding is not DER: the same request in DER has other octets"));
        }
        let [info, subject, spki] = signed_parts(der).map_err(malformed)?;
        let key = SubjectKey::of_spki(spki).ok_or_else(|| {
            let wanted = "RSA 2048/3072/4096 (by legacy profiles 1024), ECDSA P-256/P-384 or Ed25519";
            Rejection::new("key", format!("another kind or size of key: wanted {wanted}"))
        })?;
        check_point(key, request.info.public_key.subject_public_key.raw_bytes())?;
        verify(key, &request.algorithm.oid, spki, info, request.signature.raw_bytes())?;
        let attributes = &request.info.attributes;
        let (alternative_names_der, alternative_names) = alternative_names(attributes)?.unzip();
        Ok(CertificationRequest {
            subject: subject.to_vec(),
            spki: spki.to_vec(),
            key,
            alternative_names: alternative_names.unwrap_or_default(),
            alternative_names_der,
            key_identifier: key_identifier(attributes)?,
        })
    }

    /// Names the key, see [`key_identity`].
    pub fn key_identity(&self) -> Fingerprint {
        key_identity(&self.spki)
    }
}

/// The request in a line of JSON, `{"csr": "…"}`: PEM, or the base64 of DER.
pub fn read_csr_line(line: &[u8]) -> Result<CertificationRequest, Rejection> {
    let Line { csr } = read_json_line(line, "a string 'csr'")?;
    CertificationRequest::from_der(&armour::pem_or_base64(&csr)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    csr: Cow<'a, str>,
}

/// CertificationRequest (RFC 2986 4.2).
#[derive(Sequence)]
struct Pkcs10<'a> {
    info: Info<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

/// CertificationRequestInfo (RFC 2986 4.1).
#[derive(Sequence)]
struct Info<'a> {
    version: Version,
    subject: RdnSequence,
    public_key: SubjectPublicKeyInfoRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: Attributes,
}

/// Where in a request, whose form is known to be right, its CertificationRequestInfo stands, and in that the subject and the key.
fn signed_parts(der: &[u8]) -> der::Result<[&[u8]; 3]> {
    let content = |octets| AnyRef::from_der(octets).map(|sequence| sequence.value());
    let info = SliceReader::new(content(der)?)?.tlv_bytes()?;
    let mut fields = SliceReader::new(content(info)?)?;
    let _version = fields.tlv_bytes()?;
    Ok([info, fields.tlv_bytes()?, fields.tlv_bytes()?])
}

/// A point is written in one way only, uncompressed (RFC 5480 2.2): written in another, a key would be another one to whoever looks for it.
fn check_point(key: SubjectKey, point: &[u8]) -> Result<(), Rejection> {
    let wanted = match key {
        SubjectKey::EcdsaP256 => 65,
        SubjectKey::EcdsaP384 => 97,
        _ => return Ok(()),
    };
    if point.len() == wanted && point.first() == Some(&4) {
        return Ok(());
    }
    Err(Rejection::new("key", format!("a point of {} octets: wanted an uncompressed one, of {wanted}", point.len())))
}

fn verify(key: SubjectKey, signature_oid: &ObjectIdentifier, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Rejection> {
    use SubjectKey as K;
    let algorithm: &'static dyn s::VerificationAlgorithm = match (key, *signature_oid) {
        (K::Rsa1024, SHA_256_WITH_RSA_ENCRYPTION) => &s::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (K::Rsa1024, SHA_512_WITH_RSA_ENCRYPTION) => &s::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
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
fn alternative_names(attributes: &Attributes) -> Result<Option<AlternativeNames>, Rejection> {
    let Some(der) = requested_extension(attributes, ID_CE_SUBJECT_ALT_NAME, "subjectAltName")? else { return Ok(None) };
    let names = SubjectAltName::from_der(&der).map_err(unreadable_extensions)?.0.iter().map(requested_name).collect::<Result<_, _>>()?;
    Ok(Some((der, names)))
}

/// The subjectKeyIdentifier among them.
fn key_identifier(attributes: &Attributes) -> Result<Option<Vec<u8>>, Rejection> {
    let Some(der) = requested_extension(attributes, ID_CE_SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier")? else { return Ok(None) };
    let identifier = SubjectKeyIdentifier::from_der(&der).map_err(unreadable_extensions)?.0.into_bytes();
    match identifier.len() {
        1..=MAX_KEY_IDENTIFIER => Ok(Some(identifier)),
        length => Err(Rejection::new("request", format!("a subjectKeyIdentifier of {length} octets, wanted 1 to {MAX_KEY_IDENTIFIER}"))),
    }
}

/// The value of a requested extension, of which there may be one.
fn requested_extension(attributes: &Attributes, id: ObjectIdentifier, name: &str) -> Result<Option<Vec<u8>>, Rejection> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.oid == ID_EXTENSION_REQ) {
        for value in attribute.values.iter() {
            let value = value.to_der().map_err(unreadable_extensions)?;
            let ExtensionReq(extensions) = ExtensionReq::from_der(&value).map_err(unreadable_extensions)?;
            for extension in extensions.iter().filter(|extension| extension.extn_id == id) {
                if found.replace(extension.extn_value.as_bytes().to_vec()).is_some() {
                    return Err(Rejection::new("request", format!("more than one {name}")));
                }
            }
        }
    }
    Ok(found)
}

fn unreadable_extensions(error: der::Error) -> Rejection {
    Rejection::new("request", format!("its extensionRequest cannot be read: {error}"))
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
    use x509_cert::request::{CertReq, CertReqInfo};

    use super::*;
    use crate::pki::KeyAlgorithm;
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
            assert_eq!((request.spki.as_slice(), request.key), (key.public_key(), algorithm.into()));
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
        let again = |text: &str| CertificationRequest::read(text.as_bytes());
        let (newer, crlf) = (pem.replace("CERTIFICATE", "NEW CERTIFICATE"), pem.replace('\n', "\r\n"));
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let (begin, end) = ("-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----");
        let in_one_line = format!("{begin}\n{body}\n{end}");
        let in_long_lines = format!("{begin}\n{} \n  {}\n{end}\n", &body[..76], &body[76..]);
        for text in [&newer, &crlf, &format!("\u{feff}{pem}"), &format!("{pem}and more\n"), &in_one_line, &in_long_lines] {
            assert_eq!(again(text), Ok(request.clone()), "{text}");
        }
        assert!(again(&format!("{pem}{pem}")).unwrap_err().why.contains("more than one request"));
        assert!(again(&pem[..pem.len() - 10]).unwrap_err().why.contains("no '-----END"));
        assert!(again(&in_one_line.replace("MI", "M!")).unwrap_err().why.contains("damaged PEM"));
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for line in [serde_json::json!({ "csr": pem }), serde_json::json!({ "csr": base64 })] {
            assert_eq!(read_csr_line(format!("{line}\n").as_bytes()), Ok(request.clone()));
        }
        let why = |line: &str| read_csr_line(line.as_bytes()).unwrap_err().why;
        assert_eq!(why("\n"), "found an empty line, wanted a JSON object with a string 'csr'");
        assert_eq!(
            why("{\"csr\":7}\n"),
            "found in column 8: invalid type: integer `7`, expected a string, wanted a JSON object with a string 'csr'"
        );
        for wrong in ["", "[\"QUJD\"]", "\u{feff}{}", "{}", "{\"csr\":\"\"}", "{\"csr\":\"QUJD\"}", "{\"csr\":7}"] {
            assert_eq!(read_csr_line(wrong.as_bytes()).unwrap_err().rule, "request", "{wrong}");
        }
    }

    #[test]
    fn a_request_in_another_encoding_than_der_is_said_to_be_in_one() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let der = signed(info(&key, &[dns("a.example")]), &key);
        // The same with the length of the outermost SEQUENCE in two octets, where DER has one.
        assert_eq!(der[1], 0x81);
        let longer = [&[0x30, 0x82, 0], &der[2..]].concat();
        assert_eq!(CertificationRequest::read(&longer).unwrap_err().rule, "request");
        // And with the attributes of a SET in the other order: signed as it stands, and no DER.
        let mut two = info(&key, &[dns("a.example")]);
        let challenge = der::Any::new(der::Tag::Utf8String, b"secret".as_slice()).unwrap();
        let challenge =
            Attribute { oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7"), values: SetOfVec::try_from(vec![challenge]).unwrap() };
        two.attributes.insert(challenge).unwrap();
        let [first, second] = [0, 1].map(|n| two.attributes.get(n).unwrap().to_der().unwrap());
        let (right, wrong) = ([first.clone(), second.clone()].concat(), [second, first].concat());
        let info = two.to_der().unwrap();
        let at = info.len() - right.len();
        assert_eq!(info[at..], right);
        let info = [&info[..at], &wrong].concat();
        let signature = key.sign(&info).unwrap();
        let bits = BitString::from_bytes(&signature).unwrap().to_der().unwrap();
        let parts = [info.as_slice(), key.signature_algorithm().identifier(), &bits];
        let der = crate::pki::der_encoding::constructed(crate::pki::der_encoding::tag::SEQUENCE, &parts);
        let rejection = CertificationRequest::read(&der).unwrap_err();
        assert!(rejection.rule == "request" && rejection.why.contains("not DER"), "{rejection:?}");
    }

    #[test]
    fn s3_1_a_key_has_one_encoding_only() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mut compressed = info(&key, &[dns("a.example")]);
        let point = &key.public_key()[26..];
        let point = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        compressed.public_key.subject_public_key = BitString::from_bytes(&point).unwrap();
        assert_eq!(CertificationRequest::read(&signed(compressed, &key)).unwrap_err().rule, "key");
    }

    #[test]
    fn a_name_of_a_kind_that_no_profile_takes_is_rejected() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let mail = GeneralName::Rfc822Name(Ia5String::new("a@example.com").unwrap());
        assert_eq!(CertificationRequest::read(&signed(info(&key, &[mail]), &key)).unwrap_err().rule, "names");
    }
}
