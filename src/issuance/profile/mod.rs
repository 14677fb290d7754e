//! Certificate profiles: what a kind of certificate may be and what is in it, as data in TOML files.
//!
//! A [`Profile`] that exists is one that makes sense: reading refuses unknown fields, contradictions, and SHA-1 or RSA-1024 without `legacy = true`. It
//! checks each request and encodes the certificate; whether the profile itself keeps the rules is for [`Profile::lint`] to say. Nothing here reads a clock.
//!
//! The profiles of the five policies are part of the program ([`Profile::shipped`]); their files are in `config/profiles/`, where a README says how to
//! write one.

mod contents;
mod document;
mod explain;
mod finding;
mod keys;
mod lint;
mod period;
mod public_names;
mod shipped;
mod subject;
mod template;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SecureRandom;
use const_oid::db::rfc5280::{ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH};
use der::flagset::FlagSet;
use serde::{Deserialize, Serialize};
use x509_cert::ext::pkix::KeyUsages;

pub use finding::{Finding, Level};
pub use keys::SubjectKey;
pub use period::{Length, Period};
pub use template::{Prepared, Template};

use super::{AlternativeName, IssuanceError, Issuer, Links, Validity, random_serial_of};
use crate::pki::{CertificateInfo, Fingerprint, KeyAlgorithm, Serial, SignatureAlgorithm, Timestamp};
use crate::token::SigningKey;
use document::Document;

/// The greatest profile that is read, in octets.
const MAX_PROFILE_BYTES: u64 = 64 * 1024;

/// What the certificates of a profile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A root: certifies its own key.
    SelfSigned,
    /// A CA below the issuer, run by the same or another organisation.
    SubCa,
    /// Another PKI's CA, which has certificates of its own as well (RFC 5280 3.2).
    Cross,
    /// A CA's old key, certified with its new one (RFC 9810 4.4): for those who trust only the new root.
    OldWithNew,
    /// A CA's new key, certified with its old one: for those who trust only the old root.
    NewWithOld,
    /// A delegated OCSP responder.
    OcspResponder,
    /// Anything that is no CA and no responder.
    EndEntity,
}

impl Kind {
    /// Whether the certificates are CAs'.
    pub const fn is_ca(self) -> bool {
        !matches!(self, Kind::OcspResponder | Kind::EndEntity)
    }

    /// Whether they link two keys of one CA.
    pub const fn is_link(self) -> bool {
        matches!(self, Kind::OldWithNew | Kind::NewWithOld)
    }

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::SelfSigned => "self-signed",
            Kind::SubCa => "sub-ca",
            Kind::Cross => "cross",
            Kind::OldWithNew => "old-with-new",
            Kind::NewWithOld => "new-with-old",
            Kind::OcspResponder => "ocsp-responder",
            Kind::EndEntity => "end-entity",
        }
    }
}

/// A programme whose rules a profile keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Programme {
    /// CA/Browser Forum, TLS Baseline Requirements.
    BaselineRequirements,
}

/// A bit of keyUsage (RFC 5280 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Usage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
    KeyCertSign,
    #[serde(rename = "cRLSign")]
    CrlSign,
    EncipherOnly,
    DecipherOnly,
}

impl Usage {
    fn flag(self) -> FlagSet<KeyUsages> {
        match self {
            Usage::DigitalSignature => KeyUsages::DigitalSignature,
            Usage::NonRepudiation => KeyUsages::NonRepudiation,
            Usage::KeyEncipherment => KeyUsages::KeyEncipherment,
            Usage::DataEncipherment => KeyUsages::DataEncipherment,
            Usage::KeyAgreement => KeyUsages::KeyAgreement,
            Usage::KeyCertSign => KeyUsages::KeyCertSign,
            Usage::CrlSign => KeyUsages::CRLSign,
            Usage::EncipherOnly => KeyUsages::EncipherOnly,
            Usage::DecipherOnly => KeyUsages::DecipherOnly,
        }
        .into()
    }

    /// The name that RFC 5280 gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Usage::DigitalSignature => "digitalSignature",
            Usage::NonRepudiation => "nonRepudiation",
            Usage::KeyEncipherment => "keyEncipherment",
            Usage::DataEncipherment => "dataEncipherment",
            Usage::KeyAgreement => "keyAgreement",
            Usage::KeyCertSign => "keyCertSign",
            Usage::CrlSign => "cRLSign",
            Usage::EncipherOnly => "encipherOnly",
            Usage::DecipherOnly => "decipherOnly",
        }
    }
}

/// What a profile leaves to the order, alike for all certificates of a [`Template`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices<'a> {
    /// What the issuer publishes. A link that the profile fixes is not needed here; one that it has no place for is left out; an optional one is in the
    /// certificates where it is given.
    pub links: Links<'a>,
    /// pathLenConstraint, where the profile leaves it to the order.
    pub path_length: Option<u8>,
    /// Usages out of the optional ones.
    pub key_usage: &'a [Usage],
    /// Whether extKeyUsage is there, where it is optional.
    pub extended_key_usage: bool,
}

/// One certificate to make.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// DER Name, see [`Profile::subject`] and [`Profile::subject_of`].
    pub subject: &'a [u8],
    /// DER SubjectPublicKeyInfo of the key that is certified.
    pub spki: &'a [u8],
    /// Never used before by the issuer, see [`Profile::serial`].
    pub serial: Serial,
    /// See [`Profile::validity`]; within the issuer's.
    pub validity: Validity,
    /// Names for the subjectAltName.
    pub alternative_names: &'a [AlternativeName<'a>],
    /// The subjectKeyIdentifier that another CA uses in its own certificates, for cross-certificates. SHA-1 of the key where it is `None`.
    pub key_identifier: Option<&'a [u8]>,
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("profile {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or not of the expected shape.
    #[error("profile {name}: {detail}")]
    Parse {
        /// The profile.
        name: String,
        /// Line, field and what was wanted.
        detail: String,
    },
    /// It contradicts itself.
    #[error("profile {name}:\n{}", .findings.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The profile.
        name: String,
        /// All that is wrong.
        findings: Vec<Finding>,
    },
    /// No such profile is part of the program.
    #[error("profile '{0}': wanted the path of a .toml file, or one of these: {names}", names = Profile::shipped_names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
}

/// What a kind of certificate may be and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: String,
    document: Document,
}

impl Profile {
    /// Reads the TOML text of a profile that is called `name`.
    pub fn from_toml(name: &str, text: &str) -> Result<Profile, ProfileError> {
        let parse = |detail| ProfileError::Parse { name: name.to_owned(), detail };
        if text.len() as u64 > MAX_PROFILE_BYTES {
            return Err(parse(format!("larger than {MAX_PROFILE_BYTES} bytes")));
        }
        let document: Document = toml::from_str(text).map_err(|e| parse(e.to_string()))?;
        match document.contradictions() {
            findings if findings.is_empty() => Ok(Profile { name: name.to_owned(), document }),
            findings => Err(ProfileError::Invalid { name: name.to_owned(), findings }),
        }
    }

    /// Reads a file of at most 64 KiB. The profile is called as the file without its extension.
    pub fn read(path: &Path) -> Result<Profile, ProfileError> {
        let text = read_text(path)?;
        let name = path.file_stem().map_or_else(|| path.to_string_lossy(), |stem| stem.to_string_lossy());
        Profile::from_toml(&name, &text)
    }

    /// One of the profiles that are part of the program.
    pub fn shipped(name: &str) -> Result<Profile, ProfileError> {
        Profile::from_toml(name, shipped_text(name)?)
    }

    /// What a person wrote: the path of a file that ends in `.toml`, or the name of a shipped profile.
    pub fn find(name: &str) -> Result<Profile, ProfileError> {
        if name.ends_with(".toml") { Profile::read(Path::new(name)) } else { Profile::shipped(name) }
    }

    /// The SHA-256 of its text, for what [`Profile::find`] finds: by it orders name their profiles.
    pub fn fingerprint(name: &str) -> Result<Fingerprint, ProfileError> {
        if name.ends_with(".toml") {
            return read_text(Path::new(name)).map(|text| Fingerprint::of(text.as_bytes()));
        }
        shipped_text(name).map(|text| Fingerprint::of(text.as_bytes()))
    }

    /// Their names, sorted.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        shipped::NAMES.iter().map(|(name, _)| *name)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its certificates are.
    pub fn kind(&self) -> Kind {
        self.document.kind
    }

    /// Whether its certificates, of whatever kind, say that their keys sign OCSP responses (RFC 6960 4.2.2.2).
    pub fn names_responders(&self) -> bool {
        self.document.extensions.has_purpose(ID_KP_OCSP_SIGNING)
    }

    /// What its certificates are, in a line of text.
    pub fn title(&self) -> &str {
        &self.document.title
    }

    /// The policy and the table that it follows.
    pub fn source(&self) -> &str {
        &self.document.source
    }

    /// Whether it is marked `legacy`: it may name SHA-1 and RSA-1024.
    pub fn is_legacy(&self) -> bool {
        self.document.legacy
    }

    /// The legacy algorithms that it names: `rsa-1024`, `rsa-sha1`.
    pub fn legacy_algorithms(&self) -> Vec<&'static str> {
        self.document.legacy_algorithms()
    }

    /// Keys that it certifies.
    pub fn keys(&self) -> &[SubjectKey] {
        &self.document.keys
    }

    /// The algorithm with which an issuer with such a key signs: the one that is `preferred`, or else the key's own, where the profile has it, else the
    /// profile's first that the key can make (rule O15). The issuer's key is to be opened with it. `None` where the profile has none for the key.
    pub fn signature_for(&self, key: KeyAlgorithm, preferred: Option<SignatureAlgorithm>) -> Option<SignatureAlgorithm> {
        let allowed = &self.document.signatures;
        let own = preferred.unwrap_or(key.default_signature());
        if allowed.contains(&own) { Some(own) } else { allowed.iter().copied().find(|signature| key.can_sign(*signature)) }
    }

    /// Whether a subject may be in one certificate of the CA only, but for renewals (S3.1).
    pub fn has_unique_subjects(&self) -> bool {
        self.document.subject.unique
    }

    /// How long certificates are valid; `None` for links, where it follows from the certificates that are linked.
    pub fn length(&self) -> Option<Length> {
        self.document.validity
    }

    /// The whole validity of a certificate that is issued at `not_before`: fixed, or the longest. `None` for links.
    pub fn validity(&self, not_before: Timestamp) -> Option<Validity> {
        self.document.validity.map(|length| length.from(not_before))
    }

    /// The validity of a certificate that is issued at `now` for a `period`: no longer than the profile has it, and not beyond `end`, which is the issuer's.
    pub fn limited_validity(&self, period: Period, end: Timestamp, now: Timestamp) -> Result<Validity, Finding> {
        let validity = match self.document.validity {
            Some(Length::Fixed(_)) => Length::Fixed(period).from(now),
            _ => Length::Maximum(period).from(now),
        };
        if validity.not_after > end {
            return Err(Finding::error(
                "valid_for",
                "valid_for",
                format!("{period}, to {}", validity.not_after),
                format!("an end within the issuer's, {end}"),
            ));
        }
        self.check_validity(&validity)?;
        Ok(validity)
    }

    /// A serial number of the profile's length (rule P3).
    pub fn serial(&self, random: &dyn SecureRandom) -> Result<Serial, IssuanceError> {
        random_serial_of(random, self.document.serial_octets)
    }

    /// Whether the profile certifies the key in a DER SubjectPublicKeyInfo: kind, size and form. That it is neither weak nor known is for others to check.
    pub fn check_key(&self, spki: &[u8]) -> Result<(), Finding> {
        keys::check(spki, &self.document.keys)
    }

    /// The same of its kind and size alone, where these are known.
    pub fn check_key_kind(&self, key: SubjectKey) -> Result<(), Finding> {
        keys::check_kind(key, &self.document.keys)
    }

    /// Whether the profile allows a DER Name as it is: attributes, order, values, characters, string types.
    pub fn check_subject(&self, name: &[u8]) -> Result<(), Finding> {
        self.document.subject.check(name)
    }

    /// Whether a certificate may have a validity: as long as the profile says, begun while it is issued, and within what its programmes allow by then.
    pub fn check_validity(&self, validity: &Validity) -> Result<(), Finding> {
        let document = &self.document;
        let begun = validity.not_before;
        if let Some(from) = document.issued_from.filter(|from| begun < *from) {
            return Err(Finding::error("issued_from", "notBefore", begun, format!("{from} or later")));
        }
        if let Some(until) = document.issued_until.filter(|until| begun > *until) {
            return Err(Finding::error("issued_until", "notBefore", begun, format!("{until} or earlier")));
        }
        if let Some(length) = document.validity.filter(|length| !length.allows(validity)) {
            return Err(Finding::error("validity", "validity", validity, length.to_string()));
        }
        let br_root = self.kind() == Kind::SelfSigned && self.has_programme(Programme::BaselineRequirements);
        if br_root && Length::Maximum(period::BR_ROOT_MINIMUM).from(begun).not_after > validity.not_after {
            return Err(Finding::error("BR 7.1.2.1.1", "validity", validity, format!("at least {}", period::BR_ROOT_MINIMUM)));
        }
        match self.tls_maximum(begun).filter(|days| !Length::Maximum(Period::Days(*days)).allows(validity)) {
            Some(days) => Err(Finding::error("BR 6.3.2", "validity", validity, format!("at most {days}d from {begun} on"))),
            None => Ok(()),
        }
    }

    /// The most days that a certificate of this profile may be valid under its programmes when it is issued at `now` (BR 6.3.2, 1.6.1); `None` where
    /// they set no limit.
    fn tls_maximum(&self, now: Timestamp) -> Option<u32> {
        let extensions = &self.document.extensions;
        let is_leaf = self.kind() == Kind::EndEntity && extensions.has_purpose(ID_KP_SERVER_AUTH);
        let applies = is_leaf && self.has_programme(Programme::BaselineRequirements);
        let steps = if extensions.no_rev_avail.is_some() { &period::SHORT_LIVED_MAXIMA[..] } else { &period::TLS_MAXIMA };
        period::maximum(steps, now).filter(|_| applies)
    }

    fn has_programme(&self, programme: Programme) -> bool {
        self.document.programmes.contains(&programme)
    }

    /// The DER Name of RFC 4514 text (`CN=Example TSA,O=Example,C=JP`: most specific first) in the profile's string types, checked. Empty where the text
    /// is, which profiles allow where all attributes are optional: then subjectAltName is critical.
    pub fn subject(&self, text: &str) -> Result<Vec<u8>, Finding> {
        self.document.subject.encode_text(text)
    }

    /// A DER Name, such as that of a CSR, in the profile's string types, checked.
    pub fn subject_of(&self, name: &[u8]) -> Result<Vec<u8>, Finding> {
        self.document.subject.encode(name)
    }

    /// What an issuer publishes, as its certificates of this profile say it: where the profile fixes a URL, that one.
    pub fn links<'a>(&'a self, issuer: Links<'a>) -> Links<'a> {
        self.document.extensions.links(issuer)
    }

    /// Whether a CA whose key makes such signatures can issue by this profile with these choices: whatever can be said against it before there is a request.
    pub fn check_issuance(&self, ca: &CertificateInfo, signature: SignatureAlgorithm, choices: &Choices<'_>) -> Result<(), IssuanceError> {
        template::encode_shared(self, ca, signature, choices).map(drop)
    }

    /// What certificates of this issuer with these choices share, encoded once: for sub-CAs, cross-certificates, responders and end entities.
    pub fn template(&self, issuer: &Issuer, choices: &Choices<'_>) -> Result<Template<'_>, IssuanceError> {
        Template::new(self, issuer, choices)
    }

    /// One such certificate, in DER.
    pub fn certificate(&self, issuer: &Issuer, choices: &Choices<'_>, request: &Request<'_>) -> Result<Vec<u8>, IssuanceError> {
        self.template(issuer, choices)?.certificate(request)
    }

    /// A root, in DER. `request.spki` is the key's own; the key's first signature is verified.
    pub fn self_signed(&self, key: &dyn SigningKey, choices: &Choices<'_>, request: &Request<'_>) -> Result<Vec<u8>, IssuanceError> {
        template::self_signed(self, key, choices, request)
    }

    /// A link certificate between two keys of one CA, in DER. `signer` is the key that signs, with its own self-signed certificate; `certified` is the other
    /// key's self-signed certificate; the signatures of both are verified. Validity as RFC 9810 4.4 and S5.7 have it: from the notBefore of the certified key's certificate to the notAfter of
    /// the old key's.
    pub fn link(
        &self,
        signer: &Issuer,
        certified: &CertificateInfo,
        choices: &Choices<'_>,
        serial: Serial,
    ) -> Result<Vec<u8>, IssuanceError> {
        template::link(self, signer, certified, choices, serial)
    }

    /// What is against the rules in the profile itself, or will be within a year of `now`; the gravest first.
    pub fn lint(&self, now: Timestamp) -> Vec<Finding> {
        lint::lint(self, now)
    }

    /// The profile in words, on several lines.
    pub fn explain(&self) -> String {
        explain::explain(self)
    }
}

/// At most an octet more than a profile may have: a longer one is refused when it is parsed.
fn read_text(path: &Path) -> Result<String, ProfileError> {
    let failed = |source| ProfileError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_PROFILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn shipped_text(name: &str) -> Result<&'static str, ProfileError> {
    shipped::text(name).ok_or_else(|| ProfileError::Unknown(name.chars().take(100).collect()))
}
