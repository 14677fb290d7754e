//! A profile as it stands in its file, and what makes one contradict itself.

use serde::{Deserialize, Deserializer, de};

use super::contents::Extensions;
use super::keys::SubjectKey;
use super::period::Length;
use super::subject::SubjectRules;
use super::{Finding, Kind, Programme};
use crate::issuance::SERIAL_LENGTH;
use crate::pki::{Serial, SignatureAlgorithm, Timestamp};

/// The shortest serial number: 64 bits of entropy, and the first octet is never zero (rule P3).
const MIN_SERIAL_LENGTH: usize = 9;

/// A profile's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// What the certificates are, in a line.
    pub(super) title: String,
    /// The policy and the table that it follows.
    pub(super) source: String,
    pub(super) kind: Kind,
    /// Programmes whose rules `lint` applies, beside those of the RFCs.
    #[serde(default)]
    pub(super) programmes: Vec<Programme>,
    /// Whether it may name SHA-1 and RSA-1024.
    #[serde(default)]
    pub(super) legacy: bool,
    /// The first instant at which notBefore may be.
    #[serde(default, deserialize_with = "instant")]
    pub(super) issued_from: Option<Timestamp>,
    /// The last one.
    #[serde(default, deserialize_with = "instant")]
    pub(super) issued_until: Option<Timestamp>,
    /// Octets of the serial number, 9 to 20.
    #[serde(default = "serial_octets")]
    pub(super) serial_octets: usize,
    /// Keys that are certified.
    pub(super) keys: Vec<SubjectKey>,
    /// Algorithms with which the issuer may sign.
    pub(super) signatures: Vec<SignatureAlgorithm>,
    /// How long it is valid. Link certificates take it from the certificates that they link.
    #[serde(default)]
    pub(super) validity: Option<Length>,
    #[serde(default)]
    pub(super) subject: SubjectRules,
    #[serde(default)]
    pub(super) extensions: Extensions,
}

fn serial_octets() -> usize {
    SERIAL_LENGTH
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

impl Document {
    /// What cannot be meant: with any of it there is no profile.
    pub(super) fn contradictions(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut unless = |holds: bool, field: &'static str, found: String, wanted: &str| {
            if !holds {
                findings.push(Finding::error("profile", field, found, wanted));
            }
        };
        let legacy = self.legacy_algorithms();
        unless(self.legacy || legacy.is_empty(), "legacy", format!("{} in a profile without it", legacy.join(", ")), "legacy = true");
        unless(!self.keys.is_empty(), "keys", "none".to_owned(), "at least one");
        unless(!self.signatures.is_empty(), "signatures", "none".to_owned(), "at least one");
        let octets = self.serial_octets;
        let wanted = "9 to 20: 64 bits and more, below 2^159 (P3)";
        unless((MIN_SERIAL_LENGTH..=Serial::MAX_LENGTH).contains(&octets), "serial_octets", octets.to_string(), wanted);
        let (is_link, has_validity) = (self.kind.is_link(), self.validity.is_some());
        let found = if has_validity { "given" } else { "none" };
        unless(!is_link || !has_validity, "validity", found.to_owned(), "none: a link's follows from the certificates that it links");
        unless(is_link || has_validity, "validity", found.to_owned(), "fixed or maximum");
        let is_ca = self.extensions.is_ca();
        let found = if is_ca { "cA" } else { "no CA" };
        unless(
            is_ca == self.kind.is_ca(),
            "extensions.basic_constraints",
            found.to_owned(),
            "a CA's where the kind is, and none elsewhere",
        );
        let in_order = self.issued_from.is_none_or(|from| self.issued_until.is_none_or(|until| from <= until));
        unless(in_order, "issued_until", "an earlier time than issued_from".to_owned(), "a later one");
        findings.extend(self.empty_lists());
        findings
    }

    /// SHA-1 and RSA-1024, where named.
    pub(super) fn legacy_algorithms(&self) -> Vec<&'static str> {
        let keys = self.keys.iter().filter(|key| key.is_legacy()).map(|key| key.name());
        keys.chain(self.signatures.contains(&SignatureAlgorithm::RsaSha1).then_some(SignatureAlgorithm::RsaSha1.name())).collect()
    }

    /// Extensions that would be an empty SEQUENCE.
    fn empty_lists(&self) -> Vec<Finding> {
        let e = &self.extensions;
        let lists = [
            ("extensions.key_usage", e.key_usage.as_ref().map(|rule| rule.values.len())),
            ("extensions.extended_key_usage", e.extended_key_usage.as_ref().map(|rule| rule.values.len())),
            ("extensions.certificate_policies", e.certificate_policies.as_ref().map(|rule| rule.policies.len())),
            ("extensions.policy_mappings", e.policy_mappings.as_ref().map(|rule| rule.mappings.len())),
            ("extensions.subject_alt_name", e.subject_alt_name.as_ref().map(|rule| rule.types.len())),
            ("extensions.netscape_cert_type", e.netscape_cert_type.as_ref().map(|rule| rule.values.len())),
        ];
        let empty = lists.into_iter().filter(|(_, length)| *length == Some(0));
        empty.map(|(field, _)| Finding::error("profile", field, "no values", "at least one, or not the extension at all")).collect()
    }
}
