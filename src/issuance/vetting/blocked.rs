//! Keys that are known to be compromised: the list of those that get no certificate.

use std::collections::BTreeSet;

use der::asn1::{BitStringRef, UintRef};
use der::{Decode, Encode};
use num_bigint::BigUint;
use spki::SubjectPublicKeyInfoRef;

use super::key::RsaPublicKey;
use crate::issuance::profile::SubjectKey;
use crate::pki::fingerprint::FingerprintError;
use crate::pki::{Fingerprint, HashAlgorithm};

const MAX_BLOCKED: usize = 1_000_000;
/// The primes of the fields (SEC 2).
const P256_PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
const P384_PRIME: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff";
/// Octets that are left of a SHA-1 hash in the lists of Debian's weak keys.
const DEBIAN_LENGTH: usize = 10;

/// Keys that are known to be compromised, by the SHA-256 of their SubjectPublicKeyInfo; RSA keys also by what is left of the SHA-1 of their modulus in the lists
/// of the keys that Debian's OpenSSL made without entropy (CVE-2008-0166).
#[derive(Clone, Debug, Default)]
pub struct BlockedKeys {
    keys: BTreeSet<Fingerprint>,
    moduli: BTreeSet<[u8; DEBIAN_LENGTH]>,
}

/// A list of blocked keys that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BlockedKeysError {
    /// Which.
    pub line: usize,
    /// Why.
    pub why: String,
}

impl BlockedKeys {
    /// Reads a list: a hash a line, of 64 hexadecimal digits, or of 20 as the files of Debian's `openssl-blacklist` have them; they may be put together in one
    /// file. What follows a hash, empty lines and lines that begin with `#` are for people.
    pub fn parse(text: &str) -> Result<BlockedKeys, BlockedKeysError> {
        let mut blocked = BlockedKeys::default();
        for (index, line) in text.lines().enumerate() {
            let Some(first) = line.split_whitespace().next().filter(|first| !first.starts_with('#')) else { continue };
            let error = |why: String| BlockedKeysError { line: index + 1, why };
            match debian(first) {
                Some(modulus) => drop(blocked.moduli.insert(modulus)),
                None => {
                    let also = |e: FingerprintError| error(format!("{e}, or 20 of them as in Debian's openssl-blacklist"));
                    blocked.keys.insert(first.parse().map_err(also)?);
                }
            }
            if blocked.keys.len() + blocked.moduli.len() > MAX_BLOCKED {
                return Err(error(format!("more than {MAX_BLOCKED} keys")));
            }
        }
        Ok(blocked)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.moduli.is_empty()
    }

    /// Whether a key is on the list by its DER SubjectPublicKeyInfo: in the form that it has, or in another one that whoever has it can make of it.
    pub(super) fn has_key(&self, spki: &[u8]) -> bool {
        !self.keys.is_empty() && (self.keys.contains(&Fingerprint::of(spki)) || self.has_sibling(spki).unwrap_or(false))
    }

    /// Of a point the one on the other side of the x-axis, of an RSA key the one with the usual exponent.
    fn has_sibling(&self, spki: &[u8]) -> Option<bool> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        let key = info.subject_public_key.raw_bytes();
        let sibling = match SubjectKey::of_spki(spki)? {
            SubjectKey::EcdsaP256 => negated(key, P256_PRIME)?,
            SubjectKey::EcdsaP384 => negated(key, P384_PRIME)?,
            SubjectKey::Ed25519 => key.split_last().map(|(sign, y)| [y, &[sign ^ 0x80]].concat())?,
            _ => RsaPublicKey { exponent: UintRef::new(&[1, 0, 1]).ok()?, ..RsaPublicKey::from_der(key).ok()? }.to_der().ok()?,
        };
        let subject_public_key = BitStringRef::from_bytes(&sibling).ok()?;
        let sibling = SubjectPublicKeyInfoRef { subject_public_key, ..info }.to_der().ok()?;
        Some(self.keys.contains(&Fingerprint::of(&sibling)))
    }

    /// Whether an RSA key is on the list by its modulus, big-endian without leading zeros. The hash is that of the line that `openssl rsa -modulus` prints.
    pub(super) fn has_modulus(&self, modulus: &[u8]) -> bool {
        if self.moduli.is_empty() {
            return false;
        }
        let digits: String = modulus.iter().map(|octet| format!("{octet:02X}")).collect();
        let hash = HashAlgorithm::Sha1.hash(format!("Modulus={digits}\n").as_bytes());
        hash.as_ref().last_chunk().is_some_and(|left| self.moduli.contains(left))
    }
}

/// An uncompressed point with its y-coordinate subtracted from the field's prime.
fn negated(point: &[u8], prime: &str) -> Option<Vec<u8>> {
    let (x, y) = point.split_at_checked(point.len().div_ceil(2))?;
    let (prime, y) = (BigUint::parse_bytes(prime.as_bytes(), 16)?, BigUint::from_bytes_be(y));
    let y = if y < prime { (prime - y).to_bytes_be() } else { return None };
    let zeros = (x.len() - 1).checked_sub(y.len())?;
    Some([x, &vec![0; zeros], &y].concat())
}

/// The last half of a SHA-1 hash in hexadecimal digits.
fn debian(text: &str) -> Option<[u8; DEBIAN_LENGTH]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let octets: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    octets.try_into().ok().filter(|_| digits.len() == 2 * DEBIAN_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_line_by_line_and_a_bad_one_is_named() {
        let list = format!("# Debian, RSA-2048\n0a1b2c3d4e5f60718293\n\n{} from an advisory\n", "0".repeat(64));
        let blocked = BlockedKeys::parse(&list).unwrap();
        assert_eq!((blocked.keys.len(), blocked.moduli.len(), blocked.is_empty()), (1, 1, false));
        assert!(blocked.moduli.contains(&[0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93]));
        assert!(BlockedKeys::parse("# nothing\n").unwrap().is_empty());
        for bad in ["xyz", "0a1b2c3d4e5f6071829", "0a1b2c3d4e5f607182930", "0a1b2c3d4e5f6071829é"] {
            let error = BlockedKeys::parse(&format!("\n{bad}")).unwrap_err();
            assert!(error.line == 2 && error.why.contains("openssl-blacklist"), "{error}");
        }
    }
}
