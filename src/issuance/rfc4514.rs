//! Names as text (RFC 4514). x509-cert reads each attribute; what it would read otherwise than it is written is kept from it here.

use std::str::FromStr;

use const_oid::ObjectIdentifier;
use der::asn1::SetOfVec;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

use super::{IssuanceError, oid};

const WANTED: &str = "RFC 4514 text such as CN=Example CA,O=Example,C=JP";

/// The name that a text describes, most specific part first.
pub(super) fn parse(text: &str) -> Result<RdnSequence, IssuanceError> {
    split(text, b',').into_iter().rev().map(rdn).collect::<Result<_, _>>().map(RdnSequence)
}

fn rdn(text: &str) -> Result<RelativeDistinguishedName, IssuanceError> {
    let attributes = split(text, b'+').into_iter().map(attribute).collect::<Result<Vec<_>, _>>()?;
    SetOfVec::try_from(attributes).map(RelativeDistinguishedName).map_err(|_| unreadable(text))
}

fn attribute(text: &str) -> Result<AttributeTypeAndValue, IssuanceError> {
    let (kind, value) = text.split_once('=').ok_or_else(|| unreadable(text))?;
    // x509-cert has its own way with numbers: what it takes the type for is to be what is written.
    if kind.starts_with(|c: char| c.is_ascii_digit()) && oid::parse(kind).is_none_or(|oid| ObjectIdentifier::new(kind) != Ok(oid)) {
        return Err(IssuanceError::field("subject attribute", format!("'{kind}'"), format!("a name such as CN, or {}", oid::WANTED)));
    }
    // It forgets an escape that is not finished.
    if ends_in_escape(value) {
        return Err(unreadable(text));
    }
    AttributeTypeAndValue::from_str(text).map_err(|_| unreadable(text))
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (place, octet) in text.bytes().enumerate() {
        if octet == separator && !is_escaped {
            parts.push(&text[start..place]);
            start = place + 1;
        }
        is_escaped = octet == b'\\' && !is_escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// Whether a value ends with a backslash that escapes nothing, or with one digit of the two that an octet has.
fn ends_in_escape(value: &str) -> bool {
    let mut octets = value.bytes();
    while octets.any(|octet| octet == b'\\') {
        match octets.next() {
            None => return true,
            Some(digit) if digit.is_ascii_hexdigit() && octets.next().is_none() => return true,
            Some(_) => {}
        }
    }
    false
}

fn unreadable(text: &str) -> IssuanceError {
    IssuanceError::field("subject", format!("'{text}'"), WANTED)
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode};
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        parse(text).map(|name| name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn s3_1_a_type_is_the_object_identifier_that_is_written() {
        assert_eq!(shown("2.5.4.3=x").as_deref(), Ok("CN=x"));
        for kind in ["2.5.4.4294967299", "99999999999999999999.1", "2.5.4.03", "1.2.4294967295", "1.2.128.1", "2.5"] {
            let said = shown(&format!("CN=a+{kind}=x,C=JP")).unwrap_err();
            assert!(
                said.starts_with(&format!("subject attribute: found '{kind}', wanted a name such as CN, or an object identifier")),
                "{said}"
            );
        }
    }

    #[test]
    fn s3_1_a_value_is_the_whole_of_what_is_written() {
        // An escaped backslash, and after it a comma that is escaped, or is not.
        assert_eq!(shown(r"CN=a\\\,b,C=JP").as_deref(), Ok(r"CN=a\\\,b,C=JP"));
        assert_eq!(shown(r"CN=a\\,C=JP").as_deref(), Ok(r"CN=a\\,C=JP"));
        assert_eq!(shown(r"CN=\e7\a2\ba+OU=b\+c").as_deref(), Ok(r"CN=確+OU=b\+c"));
        for text in [r"CN=a\", r"CN=a\4", r"CN=a\4,C=JP", r"CN=a\\\", r"CN=a\+C=JP\", "CN", "=", "CN=a+CN=a", "CN=#0", "CN=#0c", "CN=#0c0"]
        {
            assert!(shown(text).unwrap_err().starts_with("subject: found '"), "{text}");
        }
    }

    proptest! {
        /// Text that anybody may send in with an application.
        #[test]
        fn hostile_text_is_refused_or_is_a_name(text in r##"((CN|C|O|dc|2\.5\.4\.[0-9]{1,12}|[0-9.]{1,24}|[\PC]{0,3})(=|=#)?([0-9a-f\\,+=#"<>;. é確\x00]{0,8})[,+]?){0,6}"##) {
            if let Ok(name) = parse(&text) {
                let der = name.to_der().unwrap();
                prop_assert_eq!(&RdnSequence::from_der(&der).unwrap(), &name);
                let _ = (name.to_string(), super::super::names::subject(&text));
            }
        }
    }
}
