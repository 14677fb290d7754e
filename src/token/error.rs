//! What can go wrong with a signing key, said so that an operator knows what to do next. Never holds key bytes or a PIN.

use std::path::PathBuf;

use crate::pki::{KeyAlgorithm, SignatureAlgorithm};

/// A key that cannot be opened, or that did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The operating system refused something on a file.
    #[error("{}: cannot {doing}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried, in the infinitive.
        doing: &'static str,
        /// The system's message.
        error: String,
    },
    /// A secret that others than its owner can read or write.
    #[error("{}: mode {found:04o}, open to group or others: wanted 0600 (chmod 600 {})", path.display(), path.display())]
    FileMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
    },
    /// More octets than any such file has.
    #[error("{}: {found} octets: wanted at most {limit}", path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its size in octets.
        found: u64,
        /// The greatest size in octets.
        limit: u64,
    },
    /// A private key, but in another container than PKCS#8 without encryption.
    #[error("{}: found '{found}', wanted '-----BEGIN PRIVATE KEY-----' (PKCS#8); convert it with: openssl pkcs8 -topk8 -nocrypt -in {} -out {}.p8",
        path.display(), path.display(), path.display())]
    FileForm {
        /// The file.
        path: PathBuf,
        /// Its PEM header line.
        found: &'static str,
    },
    /// Not a key that this program can use.
    #[error("{place}: {found}: wanted a key of RSA 2048/3072/4096, ECDSA P-256/P-384 or Ed25519")]
    UnusableKey {
        /// The file, or the token and key.
        place: String,
        /// What is there instead.
        found: String,
    },
    /// The key and the configured signature algorithm do not go together (rule O15).
    #[error("signature algorithm {found} with a key {key}: wanted {}", wanted_signatures(*key))]
    SignatureAlgorithm {
        /// The kind of key.
        key: KeyAlgorithm,
        /// The algorithm asked for.
        found: SignatureAlgorithm,
    },
    /// A legacy signature with a key that is not on a token.
    #[error("signature algorithm {0} with a key in a file: wanted a key on a PKCS#11 token, which alone signs with it")]
    NoLegacySignature(SignatureAlgorithm),
    /// A PIN that cannot be one.
    #[error("PIN from {place}: {found}: wanted 1 to {} octets of UTF-8", super::pkcs11::Pin::MAX_LENGTH)]
    Pin {
        /// The file or the environment variable.
        place: String,
        /// What is wrong with it.
        found: &'static str,
    },
    /// The PKCS#11 module is not there, or is none.
    #[error("PKCS#11 module {}: {error}", path.display())]
    Module {
        /// The module's path.
        path: PathBuf,
        /// The loader's message.
        error: String,
    },
    /// The PKCS#11 module is there, but what it works with is not: a token's directory, a device, a server.
    #[error("PKCS#11 module {}: does not start (C_Initialize): {error}", path.display())]
    ModuleStart {
        /// The module's path.
        path: PathBuf,
        /// The module's message.
        error: String,
    },
    /// No token, or more than one, has the label.
    #[error("token '{label}': {count} tokens with this label, wanted one; the module {} shows: {}", module.display(), list(found))]
    TokenLabel {
        /// The module's path.
        module: PathBuf,
        /// The label asked for.
        label: String,
        /// How many have it.
        count: usize,
        /// The labels of all tokens there are.
        found: Vec<String>,
    },
    /// A number of sessions that cannot be had.
    #[error("token '{token}': {found} sessions: wanted 1 to {limit}")]
    Sessions {
        /// The token's label.
        token: String,
        /// The number asked for.
        found: usize,
        /// The greatest number that the token or this program allows.
        limit: u64,
    },
    /// The token refused the PIN. It was tried once, and is not tried again: tokens lock after a few tries.
    #[error("token '{token}': wrong PIN (from {place}); it was tried once and is not tried again, since tokens lock after a few tries")]
    WrongPin {
        /// The token's label.
        token: String,
        /// Where the PIN came from.
        place: String,
    },
    /// The token is locked against its user.
    #[error("token '{token}': the user PIN is locked; the security officer must set a new one")]
    PinLocked {
        /// The token's label.
        token: String,
    },
    /// No private key, or more than one, is what was asked for.
    #[error("token '{token}': {count} private keys with {key}, wanted one; labels on the token: {}", list(found))]
    KeyCount {
        /// The token's label.
        token: String,
        /// The label and id asked for.
        key: String,
        /// How many there are.
        count: usize,
        /// The labels of the private keys on the token.
        found: Vec<String>,
    },
    /// After a new login the token has another key in the place of the one that was opened.
    #[error(
        "token '{token}': the key with {key} is another one than before: what it signs does not verify with the certificate's public key"
    )]
    ChangedKey {
        /// The token's label.
        token: String,
        /// The label and id of the key.
        key: String,
    },
    /// The public half of a token's key is not to be had.
    #[error("token '{token}', key with {key}: no public key: {why}")]
    PublicKey {
        /// The token's label.
        token: String,
        /// The label and id of the key.
        key: String,
        /// What was looked for, and found.
        why: String,
    },
    /// Every session was at work for the whole time that a signature may wait.
    #[error("token '{token}': no session became free within {seconds} s")]
    Busy {
        /// The token's label.
        token: String,
        /// The time waited.
        seconds: u64,
    },
    /// Opening keys has not come to an end.
    #[error("no answer from {tokens} within {seconds} s")]
    Silent {
        /// The names of the tokens that the keys are on.
        tokens: String,
        /// The time waited.
        seconds: u64,
    },
    /// Another PKCS#11 error.
    #[error("token '{token}': cannot {doing}: {error}")]
    Token {
        /// The token's label.
        token: String,
        /// What was tried, in the infinitive.
        doing: &'static str,
        /// The module's answer.
        error: String,
    },
    /// A signature was not made, or is none.
    #[error("{key} key: no signature: {why}")]
    Signing {
        /// The kind of key.
        key: KeyAlgorithm,
        /// The reason.
        why: String,
    },
    /// A key could not be made.
    #[error("cannot generate a key {0}: the random source or the library failed")]
    Generation(KeyAlgorithm),
    /// The certificate certifies another key.
    #[error("the certificate's public key (SHA-256 {certificate}) is not the signing key's (SHA-256 {key})")]
    OtherKey {
        /// Hash of the certificate's SubjectPublicKeyInfo, hexadecimal.
        certificate: String,
        /// Hash of the key's SubjectPublicKeyInfo, hexadecimal.
        key: String,
    },
    /// The key signs, but the signature does not verify: wrong public key, wrong mechanism or a broken token.
    #[error("the trial signature ({0}) does not verify with the key's own public key")]
    TrialSignature(SignatureAlgorithm),
}

fn wanted_signatures(key: KeyAlgorithm) -> String {
    let fitting: Vec<&str> = SignatureAlgorithm::ALL.into_iter().filter(|s| key.can_sign(*s)).map(SignatureAlgorithm::name).collect();
    fitting.join(", ")
}

fn list(labels: &[String]) -> String {
    if labels.is_empty() { "none".to_owned() } else { format!("'{}'", labels.join("', '")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_was_found_and_what_is_wanted() {
        let mode = TokenError::FileMode { path: "/k.pem".into(), found: 0o644 };
        assert_eq!(mode.to_string(), "/k.pem: mode 0644, open to group or others: wanted 0600 (chmod 600 /k.pem)");
        let signature = TokenError::SignatureAlgorithm { key: KeyAlgorithm::EcdsaP256, found: SignatureAlgorithm::RsaSha256 };
        assert_eq!(signature.to_string(), "signature algorithm rsa-sha256 with a key ecdsa-p256: wanted ecdsa-sha256");
        let label = TokenError::TokenLabel { module: "/m.so".into(), label: "a".into(), count: 0, found: vec!["b".into(), "c".into()] };
        assert_eq!(label.to_string(), "token 'a': 0 tokens with this label, wanted one; the module /m.so shows: 'b', 'c'");
    }
}
