//! The `[extensions]` of a profile: which there are, with which values, critical or not; and their encoding for one issuer.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;
use der::flagset::FlagSet;
use serde::{Deserialize, Deserializer, de};
use x509_cert::ext::pkix::KeyUsages;

use super::{Choices, Finding, Usage};
use crate::issuance::{AlternativeName, IssuanceError, Links, extensions, oid};

/// The extensions of a certificate. What is not there is not in the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Extensions {
    pub(super) authority_key_identifier: Option<Flag>,
    pub(super) subject_key_identifier: Option<Flag>,
    pub(super) key_usage: Option<KeyUsageRule>,
    pub(super) extended_key_usage: Option<PurposesRule>,
    pub(super) certificate_policies: Option<PoliciesRule>,
    pub(super) policy_mappings: Option<MappingsRule>,
    pub(super) basic_constraints: Option<BasicConstraintsRule>,
    pub(super) subject_alt_name: Option<AlternativeNamesRule>,
    pub(super) crl_distribution_points: Option<DistributionPointRule>,
    pub(super) authority_info_access: Option<AccessRule>,
    pub(super) netscape_cert_type: Option<NetscapeRule>,
    pub(super) ocsp_no_check: Option<Flag>,
    pub(super) no_rev_avail: Option<Flag>,
}

/// An extension whose value follows from the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flag {
    pub(super) critical: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyUsageRule {
    pub(super) critical: bool,
    /// Always set.
    pub(super) values: Vec<Usage>,
    /// Set where an order asks for it.
    #[serde(default)]
    pub(super) optional: Vec<Usage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposesRule {
    pub(super) critical: bool,
    pub(super) values: Vec<Purpose>,
    /// Whether an order decides that the extension is there.
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoliciesRule {
    pub(super) critical: bool,
    pub(super) policies: Vec<Policy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) oid: Oid,
    /// URI of the CPS (id-qt-cps).
    #[serde(default)]
    pub(super) cps: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MappingsRule {
    pub(super) critical: bool,
    pub(super) mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    pub(super) issuer: Oid,
    pub(super) subject: Oid,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicConstraintsRule {
    pub(super) critical: bool,
    /// pathLenConstraint: absent where it is not given.
    #[serde(default)]
    pub(super) path_length: PathLength,
}

/// pathLenConstraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PathLength {
    #[default]
    Absent,
    /// Always this.
    Fixed(u8),
    /// As an order says, which may say nothing.
    Ordered,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlternativeNamesRule {
    pub(super) critical: bool,
    pub(super) types: Vec<AlternativeNameType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AlternativeNameType {
    Dns,
    Ip,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DistributionPointRule {
    pub(super) critical: bool,
    /// The URL that all certificates have; that of the issuer's CRL or partition where it is not given.
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessRule {
    pub(super) critical: bool,
    #[serde(default)]
    pub(super) ocsp: Option<LinkRule>,
    #[serde(default)]
    pub(super) ca_issuers: Option<LinkRule>,
}

/// A URL that is in the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkRule {
    /// The URL that all certificates have; the issuer's own where it is not given.
    #[serde(default)]
    pub(super) url: Option<String>,
    /// Whether an order decides that it is there, by giving it.
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetscapeRule {
    pub(super) critical: bool,
    pub(super) values: Vec<NetscapeType>,
}

/// A bit of netscape-cert-type, bit 0 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NetscapeType {
    SslClient,
    SslServer,
    Smime,
    ObjectSigning,
    Reserved,
    SslCa,
    SmimeCa,
    ObjectSigningCa,
}

impl NetscapeType {
    fn bit(self) -> u8 {
        0x80 >> self as u8
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            NetscapeType::SslClient => "SSL client",
            NetscapeType::SslServer => "SSL server",
            NetscapeType::Smime => "S/MIME",
            NetscapeType::ObjectSigning => "object signing",
            NetscapeType::Reserved => "reserved",
            NetscapeType::SslCa => "SSL CA",
            NetscapeType::SmimeCa => "S/MIME CA",
            NetscapeType::ObjectSigningCa => "object signing CA",
        }
    }
}

/// An object identifier in dotted form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oid(pub(super) ObjectIdentifier);

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Oid, D::Error> {
        let text = String::deserialize(deserializer)?;
        oid::parse(&text).map(Oid).ok_or_else(|| de::Error::custom(format!("found '{text}', wanted {}", oid::WANTED)))
    }
}

/// A purpose of extKeyUsage: a name of RFC 5280 4.2.1.12, or an object identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose(pub(super) ObjectIdentifier);

const PURPOSES: [(&str, ObjectIdentifier); 7] = [
    ("serverAuth", rfc5280::ID_KP_SERVER_AUTH),
    ("clientAuth", rfc5280::ID_KP_CLIENT_AUTH),
    ("codeSigning", rfc5280::ID_KP_CODE_SIGNING),
    ("emailProtection", rfc5280::ID_KP_EMAIL_PROTECTION),
    ("timeStamping", rfc5280::ID_KP_TIME_STAMPING),
    ("OCSPSigning", rfc5280::ID_KP_OCSP_SIGNING),
    ("anyExtendedKeyUsage", rfc5280::ANY_EXTENDED_KEY_USAGE),
];

impl Purpose {
    pub(super) fn name(self) -> String {
        PURPOSES.iter().find(|(_, oid)| *oid == self.0).map_or_else(|| self.0.to_string(), |(name, _)| (*name).to_owned())
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Purpose, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = PURPOSES.iter().find(|(name, _)| *name == text).map(|(_, oid)| *oid);
        let names = || PURPOSES.map(|(name, _)| name).join(", ");
        let wanted = || de::Error::custom(format!("found '{text}', wanted one of {}, or {}", names(), oid::WANTED));
        known.or_else(|| oid::parse(&text)).map(Purpose).ok_or_else(wanted)
    }
}

impl Extensions {
    /// Whether the certificate is a CA's.
    pub(super) fn is_ca(&self) -> bool {
        self.basic_constraints.is_some()
    }

    pub(super) fn has_purpose(&self, purpose: ObjectIdentifier) -> bool {
        self.extended_key_usage.as_ref().is_some_and(|rule| rule.values.iter().any(|value| value.0 == purpose))
    }

    pub(super) fn has_usage(&self, usage: Usage) -> bool {
        self.key_usage.as_ref().is_some_and(|rule| rule.values.contains(&usage))
    }

    /// An issuer's links, but the profile's own URL in the place of each that it fixes.
    pub(super) fn links<'a>(&'a self, issuer: Links<'a>) -> Links<'a> {
        let own = |rule: Option<&'a LinkRule>, given: Option<&'a str>| {
            given.map(|given| rule.and_then(|rule| rule.url.as_deref()).unwrap_or(given))
        };
        let (points, access) = (self.crl_distribution_points.as_ref(), self.authority_info_access.as_ref());
        Links {
            ocsp: own(access.and_then(|rule| rule.ocsp.as_ref()), issuer.ocsp),
            ca_issuers: own(access.and_then(|rule| rule.ca_issuers.as_ref()), issuer.ca_issuers),
            crl: issuer.crl.map(|given| points.and_then(|rule| rule.url.as_deref()).unwrap_or(given)),
        }
    }

    /// Encodes what all certificates of one issuer share that are ordered with the same choices.
    pub(super) fn encode_shared(&self, issuer_key_identifier: &[u8], choices: &Choices<'_>) -> Result<Vec<u8>, IssuanceError> {
        let mut encoded = Vec::with_capacity(512);
        if let Some(rule) = &self.authority_key_identifier {
            encoded.extend(extensions::authority_key_identifier(rule.critical, issuer_key_identifier)?);
        }
        self.push_usages(&mut encoded, choices)?;
        if let Some(rule) = &self.certificate_policies {
            let policies = rule.policies.iter().map(|policy| (policy.oid.0, policy.cps.as_deref()));
            encoded.extend(extensions::certificate_policies(rule.critical, policies)?);
        }
        if let Some(rule) = &self.policy_mappings {
            encoded.extend(extensions::policy_mappings(rule.critical, rule.mappings.iter().map(|m| (m.issuer.0, m.subject.0)))?);
        }
        self.push_constraints(&mut encoded, choices)?;
        self.push_links(&mut encoded, choices)?;
        if let Some(rule) = &self.netscape_cert_type {
            let bits = rule.values.iter().fold(0, |bits, value| bits | value.bit());
            encoded.extend(extensions::netscape_cert_type(rule.critical, bits)?);
        }
        if let Some(rule) = self.ocsp_no_check {
            encoded.extend(extensions::ocsp_no_check(rule.critical)?);
        }
        if let Some(rule) = self.no_rev_avail {
            encoded.extend(extensions::no_rev_avail(rule.critical)?);
        }
        Ok(encoded)
    }

    /// Appends what is each certificate's own: the identifier of its key, and its names.
    pub(super) fn push_own(
        &self,
        encoded: &mut Vec<u8>,
        key_identifier: &[u8],
        names: &[AlternativeName<'_>],
        subject_is_empty: bool,
    ) -> Result<(), IssuanceError> {
        if let Some(rule) = &self.subject_key_identifier {
            encoded.extend(extensions::subject_key_identifier(rule.critical, key_identifier)?);
        }
        let Some(rule) = &self.subject_alt_name else {
            let refused =
                |_| Finding::error("extensions.subject_alt_name", "subjectAltName", format!("{} names", names.len()), "none").into();
            return names.first().map_or(Ok(()), |name| Err(refused(name)));
        };
        if let Some(name) = names.iter().find(|name| !rule.types.contains(&type_of(name))) {
            let wanted = format!("only {:?}", rule.types).to_lowercase();
            return Err(Finding::error("extensions.subject_alt_name", "subjectAltName", format!("{name:?}"), wanted).into());
        }
        // Critical where it alone names the subject (RFC 5280 4.2.1.6).
        encoded.extend(extensions::subject_alt_name(rule.critical || subject_is_empty, names)?);
        Ok(())
    }

    fn push_usages(&self, encoded: &mut Vec<u8>, choices: &Choices<'_>) -> Result<(), IssuanceError> {
        let optional = self.key_usage.as_ref().map_or(&[][..], |rule| &rule.optional);
        if let Some(other) = choices.key_usage.iter().find(|usage| !optional.contains(usage)) {
            let wanted = format!("one of {optional:?}");
            return Err(Finding::error("extensions.key_usage", "key usage asked for", format!("{other:?}"), wanted).into());
        }
        if let Some(rule) = &self.key_usage {
            let usages = rule.values.iter().chain(choices.key_usage).fold(FlagSet::default(), |all: FlagSet<KeyUsages>, u| all | u.flag());
            encoded.extend(extensions::key_usage(rule.critical, usages)?);
        }
        let is_optional = self.extended_key_usage.as_ref().is_some_and(|rule| rule.optional);
        if choices.extended_key_usage && !is_optional {
            return Err(Finding::error("extensions.extended_key_usage", "extKeyUsage", "asked for", "nothing: it is not optional").into());
        }
        match &self.extended_key_usage {
            Some(rule) if !rule.optional || choices.extended_key_usage => {
                let purposes: Vec<_> = rule.values.iter().map(|value| value.0).collect();
                encoded.extend(extensions::extended_key_usage(rule.critical, &purposes)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn push_constraints(&self, encoded: &mut Vec<u8>, choices: &Choices<'_>) -> Result<(), IssuanceError> {
        let length = self.path_length(choices)?;
        if let Some(rule) = &self.basic_constraints {
            encoded.extend(extensions::basic_constraints_of_a_ca(rule.critical, length)?);
        }
        Ok(())
    }

    /// The pathLenConstraint of what is ordered with such choices.
    pub(super) fn path_length(&self, choices: &Choices<'_>) -> Result<Option<u8>, Finding> {
        let fixed = match self.basic_constraints.as_ref().map_or(PathLength::Absent, |rule| rule.path_length) {
            PathLength::Ordered => return Ok(choices.path_length),
            PathLength::Fixed(length) => Some(length),
            PathLength::Absent => None,
        };
        match choices.path_length.filter(|asked| Some(*asked) != fixed) {
            Some(asked) => {
                let wanted = fixed.map_or("none".to_owned(), |length| length.to_string());
                Err(Finding::error("extensions.basic_constraints", "path length", asked, wanted))
            }
            None => Ok(fixed),
        }
    }

    fn push_links(&self, encoded: &mut Vec<u8>, choices: &Choices<'_>) -> Result<(), IssuanceError> {
        let rule = self.crl_distribution_points.as_ref();
        let point = rule.map(|rule| LinkRule { url: rule.url.clone(), optional: rule.optional });
        // Every certificate of a CA may share one set of links: those that a profile has no place for are left out.
        if let (Some(url), Some(rule)) = (url(point.as_ref(), "CRL URL", choices.links.crl)?, rule) {
            encoded.extend(extensions::crl_distribution_points(rule.critical, url)?);
        }
        if let Some(rule) = &self.authority_info_access {
            let ocsp = url(rule.ocsp.as_ref(), "OCSP URL", choices.links.ocsp)?;
            let ca_issuers = url(rule.ca_issuers.as_ref(), "caIssuers URL", choices.links.ca_issuers)?;
            encoded.extend(extensions::authority_info_access(rule.critical, ocsp, ca_issuers)?.unwrap_or_default());
        }
        Ok(())
    }
}

/// The URL that goes into the certificate: the profile's own, or the one given.
fn url<'a>(rule: Option<&'a LinkRule>, field: &'static str, given: Option<&'a str>) -> Result<Option<&'a str>, Finding> {
    let Some(rule) = rule else { return Ok(None) };
    match (rule.url.as_deref(), given) {
        (Some(fixed), None) => Ok((!rule.optional).then_some(fixed)),
        (Some(fixed), Some(given)) if given != fixed => {
            Err(Finding::error("extensions", field, format!("'{given}'"), format!("'{fixed}'")))
        }
        (None, None) if !rule.optional => Err(Finding::error("extensions", field, "none", "one: the profile has it in every certificate")),
        (_, given) => Ok(given),
    }
}

fn type_of(name: &AlternativeName<'_>) -> AlternativeNameType {
    match name {
        AlternativeName::Dns(_) => AlternativeNameType::Dns,
        AlternativeName::Ip(_) => AlternativeNameType::Ip,
    }
}
