//! Hash, key and signature algorithms, with the DER AlgorithmIdentifiers that name them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

/// A hash algorithm of a CertID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs)]
pub enum HashAlgorithm {
    Sha1 = 1,
    Sha256 = 2,
    Sha384 = 3,
    Sha512 = 4,
}

impl HashAlgorithm {
    /// Every algorithm, in the order of its code.
    pub const ALL: [HashAlgorithm; 4] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

    /// The number that stands for it in packs and in the registry.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The algorithm with that code.
    pub fn from_code(code: u8) -> Option<HashAlgorithm> {
        Self::ALL.into_iter().find(|a| a.code() == code)
    }

    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Sha1 => "sha1",
            HashAlgorithm::Sha256 => "sha256",
            HashAlgorithm::Sha384 => "sha384",
            HashAlgorithm::Sha512 => "sha512",
        }
    }

    /// The OID's content octets (RFC 3370 2.1, RFC 5754 2).
    pub const fn oid(self) -> &'static [u8] {
        match self {
            HashAlgorithm::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            HashAlgorithm::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            HashAlgorithm::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            HashAlgorithm::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        }
    }

    /// The algorithm with that OID (content octets).
    pub fn from_oid(oid: &[u8]) -> Option<HashAlgorithm> {
        Self::ALL.into_iter().find(|a| a.oid() == oid)
    }

    /// Octets of its output.
    pub const fn output_length(self) -> usize {
        match self {
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha384 => 48,
            HashAlgorithm::Sha512 => 64,
        }
    }

    /// The hash of `data`.
    pub fn hash(self, data: &[u8]) -> digest::Digest {
        let algorithm = match self {
            HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data)
    }
}

/// The kind and size of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum KeyAlgorithm {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    EcdsaP256,
    EcdsaP384,
    Ed25519,
}

impl KeyAlgorithm {
    /// Every supported key.
    pub const ALL: [KeyAlgorithm; 6] = [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::Rsa3072,
        KeyAlgorithm::Rsa4096,
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::Ed25519,
    ];

    /// The name used in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            KeyAlgorithm::Rsa2048 => "rsa-2048",
            KeyAlgorithm::Rsa3072 => "rsa-3072",
            KeyAlgorithm::Rsa4096 => "rsa-4096",
            KeyAlgorithm::EcdsaP256 => "ecdsa-p256",
            KeyAlgorithm::EcdsaP384 => "ecdsa-p384",
            KeyAlgorithm::Ed25519 => "ed25519",
        }
    }

    /// The signature algorithm that a key signs with when nothing else is configured (rule O15: chosen by the key).
    pub const fn default_signature(self) -> SignatureAlgorithm {
        match self {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => SignatureAlgorithm::RsaSha256,
            KeyAlgorithm::EcdsaP256 => SignatureAlgorithm::EcdsaSha256,
            KeyAlgorithm::EcdsaP384 => SignatureAlgorithm::EcdsaSha384,
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }

    /// Whether this key can make signatures of `signature`. ECDSA hashes are tied to the curve (Mozilla 5.1.2).
    pub fn can_sign(self, signature: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm as S;
        match self {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                matches!(signature, S::RsaSha256 | S::RsaSha384 | S::RsaSha512 | S::RsaSha1)
            }
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::Ed25519 => signature == self.default_signature(),
        }
    }

    /// Octets of a signature as a pack stores it: r ‖ s for ECDSA, the signature itself otherwise.
    pub const fn raw_signature_length(self) -> usize {
        match self {
            KeyAlgorithm::Rsa2048 => 256,
            KeyAlgorithm::Rsa3072 => 384,
            KeyAlgorithm::Rsa4096 => 512,
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Ed25519 => 64,
            KeyAlgorithm::EcdsaP384 => 96,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not a key algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a key algorithm: wanted one of {}", KeyAlgorithm::ALL.map(KeyAlgorithm::name).join(", "))]
pub struct KeyAlgorithmError {
    found: String,
}

impl FromStr for KeyAlgorithm {
    type Err = KeyAlgorithmError;

    /// Reads a name; case, `-` and a leading `ecdsa`/`ec` do not matter, so `P256`, `rsa2048` and `ecdsa-p384` are all understood.
    fn from_str(text: &str) -> Result<KeyAlgorithm, KeyAlgorithmError> {
        let canonical =
            |t: &str| t.to_ascii_lowercase().replace(['-', '_'], "").trim_start_matches("ecdsa").trim_start_matches("ec").to_owned();
        let wanted = canonical(text);
        Self::ALL
            .into_iter()
            .find(|a| canonical(a.name()) == wanted)
            .ok_or_else(|| KeyAlgorithmError { found: text.chars().take(40).collect() })
    }
}

/// A signature algorithm, as it stands in certificates, CRLs and OCSP responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
#[allow(missing_docs)]
pub enum SignatureAlgorithm {
    RsaSha256 = 1,
    RsaSha384 = 2,
    RsaSha512 = 3,
    EcdsaSha256 = 4,
    EcdsaSha384 = 5,
    Ed25519 = 6,
    /// For certificates of legacy profiles, and nothing else (rule O15): not in [`SignatureAlgorithm::ALL`], so that no configuration chooses it and no
    /// registry, response or CRL takes it.
    RsaSha1 = 7,
}

impl SignatureAlgorithm {
    /// Every algorithm but the legacy one, in the order of its code.
    pub const ALL: [SignatureAlgorithm; 6] = [
        SignatureAlgorithm::RsaSha256,
        SignatureAlgorithm::RsaSha384,
        SignatureAlgorithm::RsaSha512,
        SignatureAlgorithm::EcdsaSha256,
        SignatureAlgorithm::EcdsaSha384,
        SignatureAlgorithm::Ed25519,
    ];

    /// The number that stands for it in the registry.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The algorithm with that code.
    pub fn from_code(code: u8) -> Option<SignatureAlgorithm> {
        Self::ALL.into_iter().find(|a| a.code() == code)
    }

    /// The whole DER AlgorithmIdentifier: RSA with NULL parameters (RFC 4055 5), ECDSA and Ed25519 with none (RFC 5758 3.2, RFC 8410 3).
    pub const fn identifier(self) -> &'static [u8] {
        match self {
            SignatureAlgorithm::RsaSha256 => &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00],
            SignatureAlgorithm::RsaSha384 => &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 0x05, 0x00],
            SignatureAlgorithm::RsaSha512 => &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 0x05, 0x00],
            SignatureAlgorithm::EcdsaSha256 => &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
            SignatureAlgorithm::EcdsaSha384 => &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
            SignatureAlgorithm::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
            SignatureAlgorithm::RsaSha1 => &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00],
        }
    }

    /// The hash that is signed; `None` for Ed25519, which takes the message itself.
    pub const fn hash(self) -> Option<HashAlgorithm> {
        match self {
            SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::EcdsaSha256 => Some(HashAlgorithm::Sha256),
            SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => Some(HashAlgorithm::Sha384),
            SignatureAlgorithm::RsaSha512 => Some(HashAlgorithm::Sha512),
            SignatureAlgorithm::RsaSha1 => Some(HashAlgorithm::Sha1),
            SignatureAlgorithm::Ed25519 => None,
        }
    }

    /// Whether a signature value is the DER of `SEQUENCE { r, s }`.
    pub const fn is_ecdsa(self) -> bool {
        matches!(self, SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384)
    }

    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            SignatureAlgorithm::RsaSha256 => "rsa-sha256",
            SignatureAlgorithm::RsaSha384 => "rsa-sha384",
            SignatureAlgorithm::RsaSha512 => "rsa-sha512",
            SignatureAlgorithm::EcdsaSha256 => "ecdsa-sha256",
            SignatureAlgorithm::EcdsaSha384 => "ecdsa-sha384",
            SignatureAlgorithm::Ed25519 => "ed25519",
            SignatureAlgorithm::RsaSha1 => "rsa-sha1",
        }
    }

    /// Whether `signature` over `message` verifies with the key in `spki` (DER SubjectPublicKeyInfo).
    pub fn verify(self, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
        use aws_lc_rs::signature as s;
        let algorithm: &dyn s::VerificationAlgorithm = match self {
            SignatureAlgorithm::RsaSha256 => &s::RSA_PKCS1_2048_8192_SHA256,
            SignatureAlgorithm::RsaSha384 => &s::RSA_PKCS1_2048_8192_SHA384,
            SignatureAlgorithm::RsaSha512 => &s::RSA_PKCS1_2048_8192_SHA512,
            SignatureAlgorithm::EcdsaSha256 => &s::ECDSA_P256_SHA256_ASN1,
            SignatureAlgorithm::EcdsaSha384 => &s::ECDSA_P384_SHA384_ASN1,
            SignatureAlgorithm::Ed25519 => &s::ED25519,
            SignatureAlgorithm::RsaSha1 => &s::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        };
        // aws-lc-rs reads an RSA, EC or Ed25519 key as an X.509 SubjectPublicKeyInfo too.
        s::UnparsedPublicKey::new(algorithm, spki).verify(message, signature).is_ok()
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_algorithms_are_read_as_people_write_them() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert_eq!("P256".parse(), Ok(KeyAlgorithm::EcdsaP256));
        assert_eq!("p-384".parse(), Ok(KeyAlgorithm::EcdsaP384));
        assert_eq!("RSA2048".parse(), Ok(KeyAlgorithm::Rsa2048));
        assert!("rsa-1024".parse::<KeyAlgorithm>().is_err());
    }

    #[test]
    fn o15_the_key_decides_the_signature() {
        assert!(!KeyAlgorithm::EcdsaP384.can_sign(SignatureAlgorithm::EcdsaSha256));
        assert!(KeyAlgorithm::Rsa2048.can_sign(SignatureAlgorithm::RsaSha512));
        for algorithm in KeyAlgorithm::ALL {
            assert!(algorithm.can_sign(algorithm.default_signature()));
        }
    }

    #[test]
    fn o15_sha_1_is_chosen_by_nothing_that_looks_among_all() {
        assert!(!SignatureAlgorithm::ALL.contains(&SignatureAlgorithm::RsaSha1));
        assert_eq!(SignatureAlgorithm::from_code(SignatureAlgorithm::RsaSha1.code()), None);
        assert!(KeyAlgorithm::ALL.into_iter().all(|key| key.default_signature() != SignatureAlgorithm::RsaSha1));
        assert!(!KeyAlgorithm::EcdsaP256.can_sign(SignatureAlgorithm::RsaSha1));
    }
}
