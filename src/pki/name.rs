//! Names as comparisons see them (RFC 5280 7.1).

use der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use der::{Decode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

use super::Fingerprint;

/// Names a subject (DER) for comparisons: subjects that differ in case, in white space or in the string type only are the same (RFC 5280 7.1, S3.1).
pub fn subject_identity(subject: &[u8]) -> Fingerprint {
    let Ok(name) = RdnSequence::from_der(subject) else { return Fingerprint::of(subject) };
    let mut octets = b"kakunin: identity of a subject".to_vec();
    name.0.iter().for_each(|rdn| octets.extend(rdn_identity(rdn)));
    Fingerprint::of(&octets)
}

/// The same of a part of a name: parts that RFC 5280 7.1 takes for the same have the same octets.
pub fn rdn_identity(rdn: &RelativeDistinguishedName) -> Vec<u8> {
    // Apart from those of other RDNs.
    let mut octets = (rdn.0.len() as u64).to_be_bytes().to_vec();
    for attribute in rdn.0.iter() {
        let text = text(attribute).map(folded).map(String::into_bytes);
        let value = text.unwrap_or_else(|_| attribute.value.value().to_vec());
        for part in [attribute.oid.as_bytes(), &value] {
            octets.extend_from_slice(&(part.len() as u64).to_be_bytes());
            octets.extend_from_slice(part);
        }
    }
    octets
}

/// In lower case, with one space where there is white space between words.
fn folded(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// The text of an attribute in one of the string types that RFC 5280 4.1.2.4 lets a CA write.
pub fn text(attribute: &AttributeTypeAndValue) -> der::Result<&str> {
    match attribute.value.tag() {
        Tag::PrintableString => PrintableStringRef::try_from(&attribute.value).map(|s| s.as_str()),
        Tag::Ia5String => Ia5StringRef::try_from(&attribute.value).map(|s| s.as_str()),
        _ => Utf8StringRef::try_from(&attribute.value).map(|s| s.as_str()),
    }
}
