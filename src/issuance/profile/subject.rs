//! Which subjects a profile allows: attributes and their order, fixed values, characters, string types.

use std::fmt;

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc3280, rfc4519};
use der::asn1::{Any, SetOfVec};
use der::{Decode, Encode, Tag, Tagged};
use serde::{Deserialize, Deserializer, de};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

use super::Finding;
use crate::issuance::{IssuanceError, names};
use crate::pki::name;

/// organizationIdentifier (X.520).
const ORGANIZATION_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.97");

/// DER of the Name without attributes.
pub(super) const EMPTY: &[u8] = &[0x30, 0x00];

/// The `[subject]` of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubjectRules {
    /// Whether a subject may be in one certificate of the CA only, apart from renewals.
    pub(super) unique: bool,
    /// How text is encoded.
    pub(super) strings: StringType,
    /// Characters that values may have: single ones and ranges such as `A-Z`. Any that the string type has where it is not given.
    pub(super) characters: Option<CharacterSet>,
    /// What the name consists of, in this order. Any attributes where it is empty.
    pub(super) attributes: Vec<AttributeRule>,
}

/// How the text of a name is encoded. C and serialNumber are PrintableString, DC and emailAddress IA5String in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StringType {
    #[default]
    Utf8,
    Printable,
}

/// One attribute of the name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeRule {
    #[serde(rename = "type")]
    pub(super) kind: Attribute,
    /// The only value that it may have.
    #[serde(default)]
    pub(super) value: Option<String>,
    /// Whether it may be missing.
    #[serde(default)]
    pub(super) optional: bool,
    /// What the value is.
    #[serde(default)]
    pub(super) form: Option<Form>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// A host name.
    DomainName,
    /// One of the certificate's subjectAltNames (BR 7.1.4.3).
    AlternativeName,
}

/// An attribute type, by the name that RFC 4519 or X.520 gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(clippy::upper_case_acronyms)]
pub(super) enum Attribute {
    C,
    O,
    OU,
    CN,
    L,
    ST,
    DC,
    #[serde(rename = "serialNumber")]
    SerialNumber,
    #[serde(rename = "organizationIdentifier")]
    OrganizationIdentifier,
    #[serde(rename = "emailAddress")]
    EmailAddress,
}

impl Attribute {
    pub(super) const ALL: [Attribute; 10] = [
        Attribute::C,
        Attribute::O,
        Attribute::OU,
        Attribute::CN,
        Attribute::L,
        Attribute::ST,
        Attribute::DC,
        Attribute::SerialNumber,
        Attribute::OrganizationIdentifier,
        Attribute::EmailAddress,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Attribute::C => "C",
            Attribute::O => "O",
            Attribute::OU => "OU",
            Attribute::CN => "CN",
            Attribute::L => "L",
            Attribute::ST => "ST",
            Attribute::DC => "DC",
            Attribute::SerialNumber => "serialNumber",
            Attribute::OrganizationIdentifier => "organizationIdentifier",
            Attribute::EmailAddress => "emailAddress",
        }
    }

    fn oid(self) -> ObjectIdentifier {
        match self {
            Attribute::C => rfc4519::C,
            Attribute::O => rfc4519::O,
            Attribute::OU => rfc4519::OU,
            Attribute::CN => rfc4519::CN,
            Attribute::L => rfc4519::L,
            Attribute::ST => rfc4519::ST,
            Attribute::DC => rfc4519::DC,
            Attribute::SerialNumber => rfc4519::SERIAL_NUMBER,
            Attribute::OrganizationIdentifier => ORGANIZATION_IDENTIFIER,
            Attribute::EmailAddress => rfc3280::EMAIL_ADDRESS,
        }
    }
}

/// Characters that values may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CharacterSet {
    /// First and last of each range.
    ranges: Vec<(char, char)>,
}

impl CharacterSet {
    fn contains(&self, character: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character))
    }
}

impl<'de> Deserialize<'de> for CharacterSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CharacterSet, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let range = |text: &String| match text.chars().collect::<Vec<_>>()[..] {
            [only] => Ok((only, only)),
            [first, '-', last] if first < last => Ok((first, last)),
            _ => Err(de::Error::custom(format!("characters: found '{text}', wanted one character or a range such as A-Z"))),
        };
        Ok(CharacterSet { ranges: texts.iter().map(range).collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for CharacterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.ranges.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            match (first, last) {
                (' ', ' ') => write!(f, "{space}space")?,
                (first, last) if first == last => write!(f, "{space}{first}")?,
                (first, last) => write!(f, "{space}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl SubjectRules {
    /// The DER Name of RFC 4514 text, in this profile's string types.
    pub(super) fn encode_text(&self, text: &str) -> Result<Vec<u8>, Finding> {
        if text.is_empty() {
            return self.check(EMPTY).map(|()| EMPTY.to_vec());
        }
        let der = names::subject(text).map_err(out_of_bounds)?;
        self.encode(&der)
    }

    /// The same name in this profile's string types, as far as the profile allows it.
    pub(super) fn encode(&self, name: &[u8]) -> Result<Vec<u8>, Finding> {
        let mut parsed = read(name)?;
        let attributes = || parsed.0.iter().flat_map(|rdn| rdn.0.iter());
        if attributes().all(|attribute| attribute.value.tag() == self.tag(attribute.oid)) {
            return self.check_name(&parsed).map(|()| name.to_vec());
        }
        for rdn in &mut parsed.0 {
            let mut again = SetOfVec::new();
            for attribute in rdn.0.iter() {
                let text = name::text(attribute).map_err(|e| unreadable(&e))?;
                let value = Any::new(self.tag(attribute.oid), text.as_bytes()).map_err(|e| unreadable(&e))?;
                again.insert(AttributeTypeAndValue { oid: attribute.oid, value }).map_err(|e| unreadable(&e))?;
            }
            *rdn = RelativeDistinguishedName(again);
        }
        let der = parsed.to_der().map_err(|e| unreadable(&e))?;
        self.check_name(&parsed).map(|()| der)
    }

    /// Whether the profile allows a DER Name.
    pub(super) fn check(&self, name: &[u8]) -> Result<(), Finding> {
        self.check_name(&read(name)?)
    }

    fn check_name(&self, name: &RdnSequence) -> Result<(), Finding> {
        if name.0.is_empty() {
            return self.check_empty();
        }
        names::check(name).map_err(out_of_bounds)?;
        let mut rules = self.attributes.iter();
        for rdn in &name.0 {
            let [attribute] = rdn.0.as_slice() else {
                return Err(Finding::error("subject", "subject", format!("{} attributes in one RDN", rdn.0.len()), "one in each"));
            };
            let text = name::text(attribute).map_err(|e| unreadable(&e))?;
            self.check_value(attribute, text)?;
            if !self.attributes.is_empty() {
                follow(&mut rules, attribute.oid, text)?;
            }
        }
        match rules.find(|rule| !rule.optional) {
            Some(missing) => Err(Finding::error("subject.attributes", "subject", format!("'{name}'"), format!("with {missing}"))),
            None => Ok(()),
        }
    }

    /// Whether the subject may be empty: then its names are in subjectAltName alone (RFC 5280 4.1.2.6).
    pub(super) fn may_be_empty(&self) -> bool {
        !self.attributes.is_empty() && self.attributes.iter().all(|rule| rule.optional)
    }

    fn check_empty(&self) -> Result<(), Finding> {
        match self.attributes.iter().find(|rule| !rule.optional) {
            None if self.may_be_empty() => Ok(()),
            None => Err(Finding::error("subject.attributes", "subject", "no attributes", "at least one")),
            Some(missing) => Err(Finding::error("subject.attributes", "subject", "no attributes", format!("with {missing}"))),
        }
    }

    /// The commonName where it has to be one of the subjectAltNames.
    pub(super) fn names_itself(&self, name: &[u8]) -> Option<String> {
        let rule = self.attributes.iter().find(|rule| rule.form == Some(Form::AlternativeName))?;
        let name = read(name).ok()?;
        let attribute = name.0.iter().flat_map(|rdn| rdn.0.iter()).find(|a| a.oid == rule.kind.oid())?;
        name::text(attribute).ok().map(str::to_owned)
    }

    fn check_value(&self, attribute: &AttributeTypeAndValue, text: &str) -> Result<(), Finding> {
        let field = || format!("subject {}", attribute_name(attribute.oid));
        if let Some(allowed) = &self.characters
            && let Some(other) = text.chars().find(|c| !allowed.contains(*c))
        {
            return Err(Finding::error("subject.characters", field(), format!("'{other}'"), allowed.to_string()));
        }
        let (found, wanted) = (attribute.value.tag(), self.tag(attribute.oid));
        // Text in PrintableString is as good as in UTF8String (RFC 5280 4.1.2.4).
        if found == wanted || (wanted, found) == (Tag::Utf8String, Tag::PrintableString) {
            return Ok(());
        }
        Err(Finding::error("subject.strings", field(), found, wanted.to_string()))
    }

    /// The string type that an attribute has.
    fn tag(&self, oid: ObjectIdentifier) -> Tag {
        match oid {
            rfc4519::C | rfc4519::SERIAL_NUMBER => Tag::PrintableString,
            rfc4519::DC | rfc3280::EMAIL_ADDRESS => Tag::Ia5String,
            _ if self.strings == StringType::Printable => Tag::PrintableString,
            _ => Tag::Utf8String,
        }
    }
}

/// The attribute is the next one of the rules, leaving out optional ones.
fn follow<'a>(rules: &mut impl Iterator<Item = &'a AttributeRule>, oid: ObjectIdentifier, text: &str) -> Result<(), Finding> {
    let refuse = |wanted: String| {
        let found = format!("{}={text}", attribute_name(oid));
        Err(Finding::error("subject.attributes", "subject", format!("'{found}'"), wanted))
    };
    for rule in rules {
        let fits = rule.kind.oid() == oid && rule.value.as_deref().is_none_or(|value| value == text);
        if fits && rule.form == Some(Form::DomainName) && !names::is_dns_name(text) {
            return refuse(rule.to_string());
        }
        if fits {
            return Ok(());
        }
        if !rule.optional {
            return refuse(format!("{rule} in its place"));
        }
    }
    refuse("no further attribute".to_owned())
}

impl fmt::Display for AttributeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.kind.name())?,
            None => f.write_str(self.kind.name())?,
        }
        match self.form {
            Some(Form::DomainName) => f.write_str(" (a host name)")?,
            Some(Form::AlternativeName) => f.write_str(" (one of the subjectAltNames)")?,
            None => {}
        }
        if self.optional { f.write_str(" (optional)") } else { Ok(()) }
    }
}

fn attribute_name(oid: ObjectIdentifier) -> String {
    Attribute::ALL.into_iter().find(|a| a.oid() == oid).map_or_else(|| oid.to_string(), |a| a.name().to_owned())
}

fn read(name: &[u8]) -> Result<RdnSequence, Finding> {
    RdnSequence::from_der(name).map_err(|e| unreadable(&e))
}

/// A name that is out of the bounds of RFC 5280 A.1, or no name.
fn out_of_bounds(error: IssuanceError) -> Finding {
    match error {
        IssuanceError::Field { field, found, wanted } => Finding::error("RFC 5280 4.1.2.6", field, found, wanted),
        other => unreadable(&other),
    }
}

fn unreadable(error: &dyn fmt::Display) -> Finding {
    Finding::error("RFC 5280 4.1.2.6", "subject", error, "a Name in DER")
}
