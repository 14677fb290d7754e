//! Signing keys, wherever they are kept: bytes in, signature out.
//!
//! Two back ends: [`software`] (PKCS#8 files) and [`pkcs11`] (any PKCS#11 token). Everything above this module signs through [`SigningKey`]
//! and never sees a private key. Private keys are never logged and never leave their back end.

pub mod error;
pub mod pkcs11;
mod rate;
mod secret_file;
pub mod software;

use std::sync::Arc;

pub use error::TokenError;
pub use rate::signatures_per_second;

use crate::pki::{HashAlgorithm, KeyAlgorithm, SignatureAlgorithm};

/// A private key that can sign. Cheap to share; may be used from many threads at once.
pub trait SigningKey: Send + Sync {
    /// Kind and size of the key.
    fn key_algorithm(&self) -> KeyAlgorithm;

    /// Algorithm of the signatures that [`SigningKey::sign`] makes.
    fn signature_algorithm(&self) -> SignatureAlgorithm;

    /// DER SubjectPublicKeyInfo.
    fn public_key(&self) -> &[u8];

    /// The token that holds it, empty for a key in a file: keys on different tokens need not wait for each other.
    fn token(&self) -> &str {
        ""
    }

    /// Signs `message` (hashing it first, as the algorithm says) and returns the signature as X.509 carries it: the content of the BIT
    /// STRING, for ECDSA the DER of `SEQUENCE { r, s }`. Blocks while the token works.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError>;
}

/// What is signed to try a key. Nothing that is signed elsewhere starts like this, so the signature can be used for nothing else.
const TRIAL: &[u8] = b"kakunin: trial signature";

/// A shared signing key.
pub type Key = Arc<dyn SigningKey>;

/// Checks that `key` is the private half of the SubjectPublicKeyInfo `spki` of a certificate, and that a signature it makes verifies: to be
/// done on a key's first use, before anything signed with it is published.
pub fn verify_pair(key: &dyn SigningKey, spki: &[u8]) -> Result<(), TokenError> {
    if key.public_key() != spki {
        return Err(TokenError::OtherKey { certificate: fingerprint(spki), key: fingerprint(key.public_key()) });
    }
    let signature = key.sign(TRIAL)?;
    let algorithm = key.signature_algorithm();
    if algorithm.verify(spki, TRIAL, &signature) { Ok(()) } else { Err(TokenError::TrialSignature(algorithm)) }
}

/// The signature algorithm to use with a key: the one asked for where the key can make it, else the key's own (rule O15).
fn choose_signature(key: KeyAlgorithm, wanted: Option<SignatureAlgorithm>) -> Result<SignatureAlgorithm, TokenError> {
    let signature = wanted.unwrap_or(key.default_signature());
    if key.can_sign(signature) { Ok(signature) } else { Err(TokenError::SignatureAlgorithm { key, found: signature }) }
}

fn fingerprint(spki: &[u8]) -> String {
    HashAlgorithm::Sha256.hash(spki).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::software::SoftwareKey;
    use super::*;

    /// A key that claims another's public half, or signs nonsense.
    struct Broken {
        real: SoftwareKey,
    }

    impl SigningKey for Broken {
        fn key_algorithm(&self) -> KeyAlgorithm {
            self.real.key_algorithm()
        }

        fn signature_algorithm(&self) -> SignatureAlgorithm {
            self.real.signature_algorithm()
        }

        fn public_key(&self) -> &[u8] {
            self.real.public_key()
        }

        fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, TokenError> {
            self.real.sign(b"something else")
        }
    }

    #[test]
    fn a_pair_verifies_and_nothing_else_does() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let other = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert_eq!(verify_pair(&key, key.public_key()), Ok(()));
        assert!(matches!(verify_pair(&key, other.public_key()), Err(TokenError::OtherKey { .. })));
        let spki = key.public_key().to_vec();
        assert_eq!(verify_pair(&Broken { real: key }, &spki), Err(TokenError::TrialSignature(SignatureAlgorithm::EcdsaSha256)));
    }

    #[test]
    fn o15_a_signature_algorithm_that_does_not_fit_the_key_is_refused() {
        assert_eq!(choose_signature(KeyAlgorithm::Rsa4096, Some(SignatureAlgorithm::RsaSha512)), Ok(SignatureAlgorithm::RsaSha512));
        assert_eq!(choose_signature(KeyAlgorithm::EcdsaP384, None), Ok(SignatureAlgorithm::EcdsaSha384));
        assert!(choose_signature(KeyAlgorithm::EcdsaP384, Some(SignatureAlgorithm::EcdsaSha256)).is_err());
    }
}
