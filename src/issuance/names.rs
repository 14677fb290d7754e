//! Names that go into certificates, checked on the way in: subjects, DNS names and URLs. Never corrects one.

use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc3280, rfc4519};
use der::asn1::{Any, Ia5String, OctetString, SetOfVec};
use der::{Encode, Tag};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

use super::{AlternativeName, IssuanceError, rfc4514};
use crate::pki::name::text;

/// The most characters of a commonName (RFC 5280 A.1, ub-common-name).
const MAX_COMMON_NAME: usize = 64;
const MAX_RDNS: usize = 16;
const MAX_URL: usize = 2048;
const MAX_DNS_NAME: usize = 253;
const MAX_ALTERNATIVE_NAMES: usize = 100;

/// Attribute, name in messages, and the most characters (RFC 5280 A.1). What is not listed has at most 128.
const BOUNDS: [(ObjectIdentifier, &str, usize); 9] = [
    (rfc4519::COMMON_NAME, "subject CN", MAX_COMMON_NAME),
    (rfc4519::ORGANIZATION_NAME, "subject O", 64),
    (rfc4519::ORGANIZATIONAL_UNIT_NAME, "subject OU", 64),
    (rfc4519::COUNTRY_NAME, "subject C", 2),
    (rfc4519::LOCALITY_NAME, "subject L", 128),
    (rfc4519::ST, "subject ST", 128),
    (rfc4519::SERIAL_NUMBER, "subject serialNumber", 64),
    (rfc4519::DOMAIN_COMPONENT, "subject DC", 63),
    (rfc3280::EMAIL_ADDRESS, "subject emailAddress", 255),
];

/// DER of the Name that `text` (RFC 4514) describes.
pub(super) fn subject(text: &str) -> Result<Vec<u8>, IssuanceError> {
    let name = rfc4514::parse(text)?;
    check(&name)?;
    Ok(name.to_der()?)
}

/// Whether a Name is within the bounds of RFC 5280 A.1.
pub(super) fn check(name: &RdnSequence) -> Result<(), IssuanceError> {
    if name.0.is_empty() || name.0.len() > MAX_RDNS {
        return Err(IssuanceError::field("subject", format!("{} parts", name.0.len()), format!("1 to {MAX_RDNS}")));
    }
    name.0.iter().flat_map(|rdn| rdn.0.iter()).try_for_each(check_attribute)
}

fn check_attribute(attribute: &AttributeTypeAndValue) -> Result<(), IssuanceError> {
    let bound = BOUNDS.into_iter().find(|(oid, ..)| *oid == attribute.oid);
    let (_, field, most) = bound.unwrap_or((attribute.oid, "subject attribute", 128));
    let value = text(attribute).map_err(|_| {
        IssuanceError::field(field, "characters that its string type does not have", "UTF-8, or ASCII for C, DC and serialNumber")
    })?;
    let count = value.chars().count();
    if value.chars().any(char::is_control) {
        return Err(IssuanceError::field(field, "a control character", "none"));
    }
    match attribute.oid {
        rfc4519::COUNTRY_NAME if count != 2 || !value.bytes().all(|b| b.is_ascii_uppercase()) => {
            Err(IssuanceError::field(field, format!("'{value}'"), "two upper-case letters (ISO 3166-1)"))
        }
        _ if count == 0 || count > most => Err(IssuanceError::field(field, format!("{count} characters"), format!("1 to {most}"))),
        _ => Ok(()),
    }
}

/// DER of the Name that has `name` as its only commonName.
pub(super) fn common_name(name: &str) -> Result<Vec<u8>, IssuanceError> {
    if name.is_empty() || name.len() > MAX_COMMON_NAME {
        return Err(IssuanceError::field("subject CN", format!("{} characters", name.len()), format!("1 to {MAX_COMMON_NAME}")));
    }
    let attribute = AttributeTypeAndValue { oid: rfc4519::COMMON_NAME, value: Any::new(Tag::Utf8String, name.as_bytes())? };
    let mut rdn = SetOfVec::new();
    rdn.insert(attribute)?;
    Ok(RdnSequence(vec![RelativeDistinguishedName(rdn)]).to_der()?)
}

/// What a subjectAltName holds: 1 to 100 names.
pub(super) fn alternative_names(names: &[AlternativeName<'_>]) -> Result<Vec<GeneralName>, IssuanceError> {
    if names.is_empty() || names.len() > MAX_ALTERNATIVE_NAMES {
        return Err(IssuanceError::field("subjectAltName", format!("{} names", names.len()), format!("1 to {MAX_ALTERNATIVE_NAMES}")));
    }
    names.iter().map(alternative_name).collect()
}

fn alternative_name(name: &AlternativeName<'_>) -> Result<GeneralName, IssuanceError> {
    match name {
        AlternativeName::Dns(name) => dns_name(name),
        AlternativeName::Ip(IpAddr::V4(address)) => Ok(GeneralName::IpAddress(OctetString::new(address.octets())?)),
        AlternativeName::Ip(IpAddr::V6(address)) => Ok(GeneralName::IpAddress(OctetString::new(address.octets())?)),
    }
}

/// A host name in letters, digits and hyphens (RFC 5890 2.3.1), perhaps with `*` as its first label (BR 7.1.4.2).
fn dns_name(name: &str) -> Result<GeneralName, IssuanceError> {
    if !is_dns_name(name) {
        let wanted = format!("a host name of at most {MAX_DNS_NAME} characters, in labels of 1 to 63 letters, digits and hyphens");
        return Err(IssuanceError::field("dNSName", format!("'{name}'"), wanted));
    }
    Ok(GeneralName::DnsName(Ia5String::new(name)?))
}

/// Whether it can be a dNSName.
pub(super) fn is_dns_name(name: &str) -> bool {
    let label = |l: &str| {
        let letters = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&l.len()) && letters && !l.starts_with('-') && !l.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= MAX_DNS_NAME && rest.contains('.') && rest.split('.').all(label) && !rest.rsplit('.').next().is_some_and(is_number)
}

/// Whether a label is a number to browsers, who take a host whose last label is one for an IPv4 address (WHATWG URL, "ends in a number"): no dNSName.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.map_or_else(|| label.bytes().all(|b| b.is_ascii_digit()), |digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A URL that relying parties fetch: plain http, since what is fetched is signed and TLS would need what it is about to check.
pub(super) fn url(field: &'static str, url: &str) -> Result<GeneralName, IssuanceError> {
    let host_follows = url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if !host_follows || url.len() > MAX_URL || !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(IssuanceError::field(field, format!("'{url}'"), format!("an http:// URL of at most {MAX_URL} ASCII characters")));
    }
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(url)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::name::subject_identity;

    #[test]
    fn subjects_are_bounded_and_the_message_names_field_found_and_wanted() {
        assert!(subject("CN=Kakunin Root,OU=確認,O=Example\\, Inc.,C=JP").is_ok());
        let message = |text: &str| subject(text).unwrap_err().to_string();
        assert_eq!(message(&format!("CN={}", "x".repeat(65))), "subject CN: found 65 characters, wanted 1 to 64");
        assert!(subject(&format!("CN={}", "確".repeat(64))).is_ok(), "characters are counted, not octets");
        assert_eq!(message("CN=x,C=Japan"), "subject C: found 'Japan', wanted two upper-case letters (ISO 3166-1)");
        assert_eq!(message("CN="), "subject CN: found 0 characters, wanted 1 to 64");
        assert!(message("no name").starts_with("subject: found 'no name', wanted RFC 4514 text"));
        for text in ["", "CN=a, O=b", "CN=a\\0a", "CN=\\ff", "C=\\c3\\a4", &vec!["OU=x"; 17].join(",")] {
            assert!(subject(text).is_err(), "{text}");
        }
    }

    #[test]
    fn s3_1_subjects_that_differ_in_case_and_white_space_only_are_the_same() {
        let identity = |text: &str| subject_identity(&subject(text).unwrap());
        let name = identity("CN=Example TSA 1,O=Example K.K.,C=JP");
        for same in ["CN=EXAMPLE  tsa 1,O=Example K.K.,C=JP", "CN=\\ Example TSA 1\\ ,O=example k.k.,C=JP"] {
            assert_eq!(identity(same), name, "{same}");
        }
        for other in
            ["CN=Example TSA1,O=Example K.K.,C=JP", "O=Example K.K.,CN=Example TSA 1,C=JP", "CN=Example TSA 1,C=JP", "CN=Example TSA 1"]
        {
            assert_ne!(identity(other), name, "{other}");
        }
        assert_ne!(identity("CN=a,O=b"), identity("CN=a+O=b"));
    }

    #[test]
    fn a_common_name_is_encoded_as_its_text_would_be() {
        assert_eq!(common_name("www.example.com").unwrap(), subject("CN=www.example.com").unwrap());
        assert!(common_name(&"x".repeat(65)).is_err());
    }

    #[test]
    fn dns_names_and_urls_are_what_a_browser_takes() {
        for name in ["example.com", "*.example.com", "xn--4gbrim.example", "1.example.com", "0x4.example.com", "a.0xyz", "a.b0x4"] {
            assert!(dns_name(name).is_ok(), "{name}");
        }
        for name in ["", "com", "*", "*.com", "a..b", ".a.b", "a.b.", "-a.b", "a_b.c", "a.*.b", "192.0.2.1", "例.jp", &"a.".repeat(130)] {
            assert!(dns_name(name).is_err(), "{name}");
        }
        for address in ["1.2.3.0x4", "1.2.3.0X4", "1.2.3.0x", "1.2.3.04", "0x7f.0x1", "www.example.0xfF", "*.1"] {
            assert!(dns_name(address).is_err(), "{address}: an IPv4 address to a browser");
        }
        assert!(alternative_names(&[]).is_err());
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| AlternativeName::Ip(text.parse().unwrap()));
        assert_eq!(alternative_names(&addresses).unwrap().len(), 2);
        assert!(url("CRL URL", "http://crl.example.com/0.crl").is_ok());
        for bad in ["", "http://", "http:///x", "https://a/", "ldap://a/", "http://a b/", "http://ä/"] {
            assert!(url("CRL URL", bad).is_err(), "{bad}");
        }
    }
}
