//! Which keys a profile certifies. Weak and shared keys are for vetting to find: here it is kind, size and form.

use std::fmt;

use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use der::{Decode, Encode, Tag, Tagged};
use serde::Deserialize;
use spki::SubjectPublicKeyInfoRef;

use super::Finding;
use crate::pki::KeyAlgorithm;
use crate::pki::certificate::{key_algorithm_of_spki, rsa_bits_of_spki};

/// Kind and size of a key that is certified. More than [`KeyAlgorithm`], which lists the keys that sign here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum SubjectKey {
    /// Legacy profiles only.
    #[serde(rename = "rsa-1024")]
    Rsa1024,
    /// RSA, 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA, 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA, 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
    /// ECDSA on P-256.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// Ed25519.
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl SubjectKey {
    /// The kind and size of the key in a DER SubjectPublicKeyInfo; `None` for any other.
    pub fn of_spki(spki: &[u8]) -> Option<SubjectKey> {
        match key_algorithm_of_spki(spki) {
            Some(algorithm) => Some(algorithm.into()),
            None => (rsa_bits_of_spki(spki) == Some(1024)).then_some(SubjectKey::Rsa1024),
        }
    }

    /// The name used in profiles.
    pub const fn name(self) -> &'static str {
        match self {
            SubjectKey::Rsa1024 => "rsa-1024",
            SubjectKey::Rsa2048 => KeyAlgorithm::Rsa2048.name(),
            SubjectKey::Rsa3072 => KeyAlgorithm::Rsa3072.name(),
            SubjectKey::Rsa4096 => KeyAlgorithm::Rsa4096.name(),
            SubjectKey::EcdsaP256 => KeyAlgorithm::EcdsaP256.name(),
            SubjectKey::EcdsaP384 => KeyAlgorithm::EcdsaP384.name(),
            SubjectKey::Ed25519 => KeyAlgorithm::Ed25519.name(),
        }
    }

    /// Whether only a legacy profile certifies it.
    pub const fn is_legacy(self) -> bool {
        matches!(self, SubjectKey::Rsa1024)
    }
}

impl From<KeyAlgorithm> for SubjectKey {
    fn from(algorithm: KeyAlgorithm) -> SubjectKey {
        match algorithm {
            KeyAlgorithm::Rsa2048 => SubjectKey::Rsa2048,
            KeyAlgorithm::Rsa3072 => SubjectKey::Rsa3072,
            KeyAlgorithm::Rsa4096 => SubjectKey::Rsa4096,
            KeyAlgorithm::EcdsaP256 => SubjectKey::EcdsaP256,
            KeyAlgorithm::EcdsaP384 => SubjectKey::EcdsaP384,
            KeyAlgorithm::Ed25519 => SubjectKey::Ed25519,
        }
    }
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a DER SubjectPublicKeyInfo is one of the `allowed` keys, in the form that RFC 3279 2.3.1, RFC 5480 2 and RFC 8410 give it.
pub(super) fn check(spki: &[u8], allowed: &[SubjectKey]) -> Result<(), Finding> {
    let key = SubjectKey::of_spki(spki).ok_or_else(|| Finding::error("keys", "public key", unsupported(spki), list(allowed)))?;
    check_kind(key, allowed)?;
    if !is_well_formed(spki) {
        return Err(Finding::error(
            "keys",
            "public key",
            "another form of its SubjectPublicKeyInfo",
            "that of RFC 3279, RFC 5480 or RFC 8410",
        ));
    }
    Ok(())
}

/// Whether a kind and size is among the `allowed` ones.
pub(super) fn check_kind(key: SubjectKey, allowed: &[SubjectKey]) -> Result<(), Finding> {
    if allowed.contains(&key) { Ok(()) } else { Err(Finding::error("keys", "public key", key.name(), list(allowed))) }
}

/// `rsa-2048, ecdsa-p256`.
pub(super) fn list(keys: &[SubjectKey]) -> String {
    keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ")
}

fn unsupported(spki: &[u8]) -> String {
    match (rsa_bits_of_spki(spki), SubjectPublicKeyInfoRef::from_der(spki)) {
        (Some(bits), _) => format!("rsa-{bits}"),
        (None, Ok(info)) => format!("a key of another kind ({})", info.algorithm.oid),
        (None, Err(_)) => "no SubjectPublicKeyInfo in DER".to_owned(),
    }
}

/// RSA with NULL as parameters, EC points uncompressed, Ed25519 without parameters; and nothing behind it.
fn is_well_formed(spki: &[u8]) -> bool {
    let Ok(info) = SubjectPublicKeyInfoRef::from_der(spki) else { return false };
    let parameters = info.algorithm.parameters;
    let is_fitting = match info.algorithm.oid {
        RSA_ENCRYPTION => parameters.is_some_and(|p| p.tag() == Tag::Null),
        ID_EC_PUBLIC_KEY => info.subject_public_key.raw_bytes().first() == Some(&4),
        _ => parameters.is_none(),
    };
    is_fitting && info.to_der().is_ok_and(|der| der == spki)
}
