//! The steps of a ceremony.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Bound, key_algorithm};
use crate::issuance::profile::{Choices, Usage};
use crate::pki::{Fingerprint, KeyAlgorithm, RevocationReason};

/// The most characters of a key's label.
const MAX_LABEL: usize = 128;

/// A key on a token of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// Name of a `[[token]]`.
    pub token: String,
    /// CKA_LABEL: 1 to 128 characters.
    #[serde(deserialize_with = "label")]
    pub label: String,
    /// CKA_ID in hexadecimal.
    #[serde(default)]
    pub id: Option<String>,
}

fn label<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = String::deserialize(deserializer)?;
    match found.chars().count() {
        1..=MAX_LABEL => Ok(found),
        count => Err(serde::de::Error::custom(format!("label: found {count} characters, wanted 1 to {MAX_LABEL}"))),
    }
}

/// A certificate to be made in a ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// What it is to be.
    pub profile: Bound,
    /// The subject, RFC 4514 text.
    pub subject: String,
    /// Whose key it certifies.
    pub key: TokenKey,
    /// The file that it is written to, PEM; must not exist.
    pub certificate: PathBuf,
    /// pathLenConstraint, where the profile leaves it to the order.
    #[serde(default)]
    pub path_length: Option<u8>,
    /// Key usages out of those that the profile has as optional.
    #[serde(default)]
    pub key_usage: Vec<Usage>,
}

impl NewCertificate {
    /// What the order says of it that its profile leaves open.
    pub fn choices(&self) -> Choices<'_> {
        Choices { path_length: self.path_length, key_usage: &self.key_usage, ..Choices::default() }
    }
}

/// A certificate for a foreign CA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossCertificate {
    /// Name of the CA that signs.
    pub issuer: String,
    /// What it is to be.
    pub profile: Bound,
    /// The foreign CA's PKCS#10 request. The identifier of its key is the one that it asks for, where it asks for one.
    pub request: Bound,
    /// The file that it is written to, PEM; must not exist.
    pub certificate: PathBuf,
    /// pathLenConstraint, where the profile leaves it to the order.
    #[serde(default)]
    pub path_length: Option<u8>,
    /// Whether the foreign CA may have one for another key already, where the profile has unique subjects.
    #[serde(default)]
    pub renewal: bool,
}

impl CrossCertificate {
    /// What the order says of it that its profile leaves open.
    pub fn choices(&self) -> Choices<'_> {
        Choices { path_length: self.path_length, ..Choices::default() }
    }
}

/// A CA by certificate and key: one that is not, or not yet, in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaSource {
    /// Its self-signed certificate, PEM.
    pub certificate: PathBuf,
    /// SHA-256 of the file. Left out only where an earlier step of the same order makes it.
    #[serde(default)]
    pub sha256: Option<Fingerprint>,
    /// Its key.
    pub key: TokenKey,
}

impl CaSource {
    /// The certificate, where it is there when the order is written.
    pub fn bound(&self) -> Option<Bound> {
        self.sha256.map(|sha256| Bound { file: self.certificate.clone(), sha256 })
    }
}

/// A CA of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Name of the issuer.
    pub issuer: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Makes a key pair on a token. The private key never leaves it.
    GenerateKey {
        /// Where, and under which label: none there may have it.
        key: TokenKey,
        /// What kind of key.
        #[serde(deserialize_with = "key_algorithm")]
        algorithm: KeyAlgorithm,
    },
    /// A root: signs its own certificate.
    SelfSigned {
        /// The certificate.
        new: NewCertificate,
    },
    /// A certificate by a CA of the configuration for a key on a token: a subordinate CA, an OCSP responder.
    Certify {
        /// Name of the CA that signs.
        issuer: String,
        /// The certificate.
        new: NewCertificate,
        /// Whether the subject may have one for another key already, where the profile has unique subjects: its own, which this one succeeds.
        #[serde(default)]
        renewal: bool,
    },
    /// A certificate for a foreign CA, from its request (S5.7).
    CrossCertify(CrossCertificate),
    /// OldWithNew and NewWithOld, after a change of keys (S4.7, S5.7).
    LinkCertificates {
        /// The CA under its old key.
        old: CaSource,
        /// The CA under its new key, of the same name.
        new: CaSource,
        /// What the certificate of the old key by the new one is to be.
        old_with_new: Linked,
        /// What the certificate of the new key by the old one is to be.
        new_with_old: Linked,
    },
    /// Has a CA issue nothing any more: revocation, CRLs and OCSP go on (S5.2).
    RunOff(Named),
    /// Ends a CA: it signs its last CRL, where its configuration asks for one (EN 319 411-1).
    Close(Named),
    /// Revokes every certificate of a CA (S5.10).
    RevokeAll {
        /// Name of the CA.
        issuer: String,
        /// Why.
        reason: RevocationReason,
    },
    /// Destroys a key pair on a token.
    DestroyKey {
        /// Which.
        key: TokenKey,
    },
}

/// One of two link certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linked {
    /// What it is to be.
    pub profile: Bound,
    /// The file that it is written to, PEM; must not exist.
    pub certificate: PathBuf,
}

impl Step {
    /// Every path in it.
    pub(super) fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Step::SelfSigned { new } | Step::Certify { new, .. } => vec![&mut new.profile.file, &mut new.certificate],
            Step::CrossCertify(new) => vec![&mut new.profile.file, &mut new.request.file, &mut new.certificate],
            Step::LinkCertificates { old, new, old_with_new, new_with_old } => vec![
                &mut old.certificate,
                &mut new.certificate,
                &mut old_with_new.profile.file,
                &mut old_with_new.certificate,
                &mut new_with_old.profile.file,
                &mut new_with_old.certificate,
            ],
            Step::GenerateKey { .. } | Step::RunOff(_) | Step::Close(_) | Step::RevokeAll { .. } | Step::DestroyKey { .. } => vec![],
        }
    }

    /// Every certificate file that it makes.
    pub fn certificates(&self) -> Vec<&PathBuf> {
        match self {
            Step::SelfSigned { new } | Step::Certify { new, .. } => vec![&new.certificate],
            Step::CrossCertify(new) => vec![&new.certificate],
            Step::LinkCertificates { old_with_new, new_with_old, .. } => vec![&old_with_new.certificate, &new_with_old.certificate],
            Step::GenerateKey { .. } | Step::RunOff(_) | Step::Close(_) | Step::RevokeAll { .. } | Step::DestroyKey { .. } => vec![],
        }
    }

    /// CAs that it names by certificate.
    pub fn sources(&self) -> Vec<&CaSource> {
        match self {
            Step::LinkCertificates { old, new, .. } => vec![old, new],
            _ => Vec::new(),
        }
    }

    /// By which profile, and with which choices, a CA of the configuration is to issue in it. Links name their CAs by certificate.
    pub fn issued_by(&self) -> Option<(&str, &Bound, Choices<'_>)> {
        match self {
            Step::Certify { issuer, new, .. } => Some((issuer, &new.profile, new.choices())),
            Step::CrossCertify(new) => Some((&new.issuer, &new.profile, new.choices())),
            _ => None,
        }
    }

    /// Every profile that it names.
    pub fn profiles(&self) -> Vec<&Bound> {
        match self {
            Step::SelfSigned { new } | Step::Certify { new, .. } => vec![&new.profile],
            Step::CrossCertify(new) => vec![&new.profile],
            Step::LinkCertificates { old_with_new, new_with_old, .. } => vec![&old_with_new.profile, &new_with_old.profile],
            Step::GenerateKey { .. } | Step::RunOff(_) | Step::Close(_) | Step::RevokeAll { .. } | Step::DestroyKey { .. } => vec![],
        }
    }
}
