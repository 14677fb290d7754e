//! Private keys in PKCS#8 files (mode 0600) or in memory, signing with aws-lc-rs. Never overwrites a key file and never reads one that
//! others can read.

use std::fmt;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as s, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use zeroize::Zeroizing;

use super::{SigningKey, TokenError, choose_signature, secret_file};
use crate::pki::certificate::key_algorithm_of_spki;
use crate::pki::{KeyAlgorithm, SignatureAlgorithm};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Headers of private keys that `openssl pkcs8 -topk8` turns into PKCS#8.
const CONVERTIBLE: [&str; 3] =
    ["-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN ENCRYPTED PRIVATE KEY-----"];

/// A private key in this process's memory.
pub struct SoftwareKey {
    pair: Pair,
    algorithm: KeyAlgorithm,
    signature: SignatureAlgorithm,
    spki: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SoftwareKey {
    /// The greatest size of a key file, in octets. An RSA-4096 key takes 3272.
    pub const MAX_FILE_LENGTH: u64 = 64 * 1024;

    /// A new key from the system's random source, signing with the key's own algorithm. Tens of microseconds for ECDSA and Ed25519, up to
    /// seconds for RSA.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<SoftwareKey, TokenError> {
        let ecdsa = |curve| EcdsaKeyPair::generate(curve).map(Pair::Ecdsa);
        let rsa = |size| RsaKeyPair::generate(size).map(Pair::Rsa);
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcdsaP256 => ecdsa(&s::ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyAlgorithm::EcdsaP384 => ecdsa(&s::ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        let pair = pair.map_err(|_| TokenError::Generation(algorithm))?;
        let spki = pair.spki().ok_or(TokenError::Generation(algorithm))?;
        Ok(SoftwareKey { pair, algorithm, signature: algorithm.default_signature(), spki })
    }

    /// Reads a PKCS#8 PEM file, such as `openssl genpkey` writes. The file must be closed to group and others and at most
    /// [`SoftwareKey::MAX_FILE_LENGTH`] long. `signature` is the algorithm to sign with; the key's own where it is `None` (rule O15).
    pub fn open(path: &Path, signature: Option<SignatureAlgorithm>) -> Result<SoftwareKey, TokenError> {
        let pem = secret_file::read(path, Self::MAX_FILE_LENGTH)?;
        let unusable = |found: &str| TokenError::UnusableKey { place: path.display().to_string(), found: found.to_owned() };
        let text = std::str::from_utf8(&pem).map_err(|_| unusable("not a PEM file"))?;
        let Some(start) = text.find(BEGIN) else {
            return Err(match CONVERTIBLE.into_iter().find(|header| text.contains(header)) {
                Some(found) => TokenError::FileForm { path: path.to_owned(), found },
                None => unusable("no '-----BEGIN PRIVATE KEY-----'"),
            });
        };
        let length = text[start..].find(END).ok_or_else(|| unusable("no '-----END PRIVATE KEY-----'"))? + END.len();
        let mut buffer = Zeroizing::new(vec![0; length]);
        let (_, der) = der::pem::decode(&text.as_bytes()[start..start + length], &mut buffer).map_err(|_| unusable("damaged PEM"))?;
        let pair = Pair::from_pkcs8(der).ok_or_else(|| unusable("damaged PKCS#8, or another kind of key"))?;
        let spki = pair.spki().ok_or_else(|| unusable("a key without a public half"))?;
        let algorithm = key_algorithm_of_spki(&spki).ok_or_else(|| unusable("an RSA key of another size"))?;
        Ok(SoftwareKey { pair, algorithm, signature: choose(algorithm, signature)?, spki })
    }

    /// The same key, signing with `signature`.
    pub fn with_signature(self, signature: SignatureAlgorithm) -> Result<SoftwareKey, TokenError> {
        let signature = choose(self.algorithm, Some(signature))?;
        Ok(SoftwareKey { signature, ..self })
    }

    /// Writes the key as PKCS#8 PEM into a new file with mode 0600, durably. Fails where the file exists.
    pub fn create_file(&self, path: &Path) -> Result<(), TokenError> {
        secret_file::create(path, self.to_pem()?.as_bytes())
    }

    /// The key as PKCS#8 (version 1) PEM, which OpenSSL and `softhsm2-util --import` read. Wiped when dropped.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, TokenError> {
        let pem = der::pem::encode_string("PRIVATE KEY", der::pem::LineEnding::LF, &self.to_pkcs8()?);
        pem.map(Zeroizing::new).map_err(|_| self.not_encoded())
    }

    /// The same in DER.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let wiped = |der: &[u8]| Zeroizing::new(der.to_vec());
        match &self.pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| wiped(der.as_ref())).map_err(|_| self.not_encoded()),
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map(|der| wiped(der.as_ref())).map_err(|_| self.not_encoded()),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|der| wiped(der.as_ref())).map_err(|_| self.not_encoded()),
        }
    }

    fn not_encoded(&self) -> TokenError {
        TokenError::Signing { key: self.algorithm, why: "the key cannot be encoded as PKCS#8".to_owned() }
    }
}

/// Has the library gather randomness, for which the first signature of a process would wait otherwise: some 40 ms.
pub fn gather_randomness() {
    let _ = aws_lc_rs::rand::fill(&mut [0]);
}

/// As [`choose_signature`], without SHA-1: aws-lc-rs verifies such signatures and makes none.
fn choose(key: KeyAlgorithm, wanted: Option<SignatureAlgorithm>) -> Result<SignatureAlgorithm, TokenError> {
    match choose_signature(key, wanted)? {
        SignatureAlgorithm::RsaSha1 => Err(TokenError::NoLegacySignature(SignatureAlgorithm::RsaSha1)),
        signature => Ok(signature),
    }
}

impl Pair {
    fn from_pkcs8(der: &[u8]) -> Option<Pair> {
        let ecdsa = |curve| EcdsaKeyPair::from_pkcs8(curve, der).map(Pair::Ecdsa).ok();
        ecdsa(&s::ECDSA_P256_SHA256_ASN1_SIGNING)
            .or_else(|| ecdsa(&s::ECDSA_P384_SHA384_ASN1_SIGNING))
            .or_else(|| Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519).ok())
            .or_else(|| RsaKeyPair::from_pkcs8(der).map(Pair::Rsa).ok())
    }

    /// DER SubjectPublicKeyInfo.
    fn spki(&self) -> Option<Vec<u8>> {
        let spki: PublicKeyX509Der<'_> = match self {
            Pair::Rsa(pair) => pair.public_key().as_der().ok()?,
            Pair::Ecdsa(pair) => pair.public_key().as_der().ok()?,
            Pair::Ed25519(pair) => pair.public_key().as_der().ok()?,
        };
        Some(spki.as_ref().to_vec())
    }
}

impl SigningKey for SoftwareKey {
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature
    }

    fn public_key(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let failed = |_| TokenError::Signing { key: self.algorithm, why: "the library failed".to_owned() };
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn s::RsaEncoding = match self.signature {
                    SignatureAlgorithm::RsaSha384 => &s::RSA_PKCS1_SHA384,
                    SignatureAlgorithm::RsaSha512 => &s::RSA_PKCS1_SHA512,
                    _ => &s::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SoftwareKey {
    /// Says what kind of key it is, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({}, {})", self.algorithm, self.signature)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::token::verify_pair;

    fn openssl(arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).output().expect("these tests need the openssl command");
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A file of the given content that only its owner can read.
    fn secret(directory: &tempfile::TempDir, content: &str) -> PathBuf {
        let path = directory.path().join("key.pem");
        let _ = std::fs::remove_file(&path);
        secret_file::create(&path, content.as_bytes()).unwrap();
        path
    }

    #[test]
    fn every_key_signs_with_every_algorithm_it_may_use_and_its_spki_verifies() {
        for algorithm in KeyAlgorithm::ALL {
            let mut key = SoftwareKey::generate(algorithm).unwrap();
            assert_eq!(key_algorithm_of_spki(key.public_key()), Some(algorithm));
            for signature in SignatureAlgorithm::ALL.into_iter().filter(|s| algorithm.can_sign(*s)) {
                key = key.with_signature(signature).unwrap();
                verify_pair(&key, key.public_key()).unwrap();
                let made = key.sign(b"message").unwrap();
                assert!(signature.verify(key.public_key(), b"message", &made), "{algorithm} {signature}");
                assert!(!signature.verify(key.public_key(), b"other", &made), "{algorithm} {signature}");
                assert_eq!(signature.is_ecdsa(), made.len() != algorithm.raw_signature_length(), "{algorithm} {signature}");
            }
            if algorithm == KeyAlgorithm::Rsa2048 {
                let refused = SoftwareKey::generate(algorithm).unwrap().with_signature(SignatureAlgorithm::RsaSha1).unwrap_err();
                assert_eq!(refused, TokenError::NoLegacySignature(SignatureAlgorithm::RsaSha1));
            }
            assert!(
                key.with_signature(if algorithm == KeyAlgorithm::Ed25519 {
                    SignatureAlgorithm::RsaSha256
                } else {
                    SignatureAlgorithm::Ed25519
                })
                .is_err()
            );
        }
    }

    #[test]
    fn a_written_key_reads_back_and_openssl_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519] {
            let path = directory.path().join(algorithm.name());
            let key = SoftwareKey::generate(algorithm).unwrap();
            key.create_file(&path).unwrap();
            assert!(matches!(key.create_file(&path), Err(TokenError::File { .. })), "an existing key file is never overwritten");
            assert_eq!(SoftwareKey::open(&path, None).unwrap().public_key(), key.public_key());
            let public = directory.path().join("public.der");
            openssl(&["pkey", "-in", path.to_str().unwrap(), "-pubout", "-outform", "DER", "-out", public.to_str().unwrap()]);
            assert_eq!(std::fs::read(&public).unwrap(), key.public_key());
        }
    }

    #[test]
    fn keys_of_openssl_genpkey_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let file = path.to_str().unwrap();
        let kinds: [(&[&str], KeyAlgorithm); 5] = [
            (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], KeyAlgorithm::Rsa2048),
            (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], KeyAlgorithm::Rsa3072),
            (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], KeyAlgorithm::EcdsaP256),
            (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], KeyAlgorithm::EcdsaP384),
            (&["-algorithm", "ED25519"], KeyAlgorithm::Ed25519),
        ];
        for (options, algorithm) in kinds {
            openssl(&[&["genpkey", "-out", file], options].concat());
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let key = SoftwareKey::open(&path, None).unwrap();
            assert_eq!(key.key_algorithm(), algorithm);
            verify_pair(&key, key.public_key()).unwrap();
        }
        openssl(&["genpkey", "-out", file, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2056"]);
        assert!(matches!(SoftwareKey::open(&path, None), Err(TokenError::UnusableKey { .. })), "an RSA key of an odd size");
    }

    #[test]
    fn other_containers_are_refused_with_the_command_that_converts_them() {
        let directory = tempfile::tempdir().unwrap();
        for header in CONVERTIBLE {
            let path = secret(&directory, &format!("{header}\nAAAA\n"));
            let message = SoftwareKey::open(&path, None).unwrap_err().to_string();
            let command = format!("openssl pkcs8 -topk8 -nocrypt -in {0} -out {0}.p8", path.display());
            assert!(message.contains(header) && message.contains(&command), "{message}");
        }
        let damaged = ["", "text", &format!("{BEGIN}\nAAAA\n"), &format!("{BEGIN}\n!\n{END}\n"), &format!("{BEGIN}\nMAA=\n{END}\n")]
            .map(str::to_owned);
        for content in damaged {
            assert!(matches!(SoftwareKey::open(&secret(&directory, &content), None), Err(TokenError::UnusableKey { .. })), "{content}");
        }
    }

    #[test]
    fn debug_output_says_nothing_of_the_key() {
        let key = SoftwareKey::generate(KeyAlgorithm::Ed25519).unwrap();
        assert_eq!(format!("{key:?}"), "SoftwareKey(ed25519, ed25519)");
    }
}
