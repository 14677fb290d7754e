//! A private key and its certificate in one file under a passphrase: PKCS#12 (RFC 7292), as OpenSSL and every other client reads it (S4.9).
//!
//! Writes one form and reads none: the key by PBES2 with PBKDF2 and AES-256 (RFC 8018), the whole under a MAC with SHA-256. The crates that write PKCS#12 stand
//! on pre-releases; what is needed of it is here, on aws-lc-rs.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::IssuanceError;
use crate::pki::HashAlgorithm;
use crate::pki::der_encoding::{constructed, integer_content, tag, tlv};

/// Rounds of PBKDF2: what OWASP recommends for HMAC-SHA-256 is 600 000, for passphrases that people choose; these are random.
const KEY_ROUNDS: u32 = 100_000;
const MAC_ROUNDS: u32 = 10_000;
const SALT: usize = 16;
/// Characters of a passphrase: no two of them look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Of 5 bits each.
const PASSPHRASE_CHARACTERS: usize = 26;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const SET: u8 = 0x31;
const NULL: &[u8] = &[0x05, 0x00];

/// A passphrase with 130 bits of entropy, in letters and digits.
pub fn random_passphrase(random: &dyn SecureRandom) -> Result<Zeroizing<String>, IssuanceError> {
    let mut octets = Zeroizing::new([0; PASSPHRASE_CHARACTERS]);
    random.fill(&mut *octets).map_err(|_| IssuanceError::Random)?;
    Ok(Zeroizing::new(octets.iter().map(|octet| char::from(ALPHABET[usize::from(octet % 32)])).collect()))
}

/// The file: a private key (PKCS#8 in DER), its certificate, and those of the CAs above it.
pub fn encode(pkcs8: &[u8], chain: &[&[u8]], passphrase: &str, random: &dyn SecureRandom) -> Result<Vec<u8>, IssuanceError> {
    let local_key_id = HashAlgorithm::Sha1.hash(chain.first().copied().unwrap_or_default());
    let attributes = constructed(
        SET,
        &[&constructed(
            tag::SEQUENCE,
            &[&tlv(tag::OID, LOCAL_KEY_ID), &constructed(SET, &[&tlv(tag::OCTET_STRING, local_key_id.as_ref())])],
        )],
    );
    let key = bag(SHROUDED_KEY_BAG, &shrouded(pkcs8, passphrase, random)?, &attributes);
    let certificates: Vec<Vec<u8>> = chain
        .iter()
        .enumerate()
        .map(|(index, der)| {
            let content = explicit(&tlv(tag::OCTET_STRING, der));
            let certificate = constructed(tag::SEQUENCE, &[&tlv(tag::OID, X509_CERTIFICATE), &content]);
            bag(CERT_BAG, &certificate, if index == 0 { &attributes } else { &[] })
        })
        .collect();
    let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
    let safe =
        constructed(tag::SEQUENCE, &[&data(&constructed(tag::SEQUENCE, &certificates)), &data(&constructed(tag::SEQUENCE, &[&key]))]);
    let mac = mac(&safe, passphrase, random)?;
    Ok(constructed(tag::SEQUENCE, &[&tlv(tag::INTEGER, &[3]), &data(&safe), &mac]))
}

fn explicit(content: &[u8]) -> Vec<u8> {
    tlv(tag::constructed(0), content)
}

/// ContentInfo of kind data.
fn data(content: &[u8]) -> Vec<u8> {
    constructed(tag::SEQUENCE, &[&tlv(tag::OID, DATA), &explicit(&tlv(tag::OCTET_STRING, content))])
}

fn bag(kind: &[u8], content: &[u8], attributes: &[u8]) -> Vec<u8> {
    constructed(tag::SEQUENCE, &[&tlv(tag::OID, kind), &explicit(content), attributes])
}

fn integer(value: u32) -> Vec<u8> {
    tlv(tag::INTEGER, &integer_content(u64::from(value)))
}

fn salt(random: &dyn SecureRandom) -> Result<[u8; SALT], IssuanceError> {
    let mut salt = [0; SALT];
    random.fill(&mut salt).map_err(|_| IssuanceError::Random)?;
    Ok(salt)
}

/// EncryptedPrivateKeyInfo (RFC 5958 3).
fn shrouded(pkcs8: &[u8], passphrase: &str, random: &dyn SecureRandom) -> Result<Vec<u8>, IssuanceError> {
    let failed = |_| IssuanceError::Encoding("the private key cannot be encrypted".to_owned());
    let salt = salt(random)?;
    let mut key = Zeroizing::new([0; 32]);
    let rounds = NonZeroU32::new(KEY_ROUNDS).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, passphrase.as_bytes(), &mut *key);
    let cipher = UnboundCipherKey::new(&AES_256, &*key).and_then(PaddedBlockEncryptingKey::cbc_pkcs7).map_err(failed)?;
    let mut content = pkcs8.to_vec();
    let DecryptionContext::Iv128(iv) = cipher.encrypt(&mut content).map_err(failed)? else {
        return Err(IssuanceError::Encoding("the cipher has no initialisation vector".to_owned()));
    };
    let iv: &[u8; 16] = iv.as_ref();
    let prf = constructed(tag::SEQUENCE, &[&tlv(tag::OID, HMAC_WITH_SHA256), NULL]);
    let parameters = constructed(tag::SEQUENCE, &[&tlv(tag::OCTET_STRING, &salt), &integer(KEY_ROUNDS), &prf]);
    let derivation = constructed(tag::SEQUENCE, &[&tlv(tag::OID, PBKDF2), &parameters]);
    let encryption = constructed(tag::SEQUENCE, &[&tlv(tag::OID, AES_256_CBC), &tlv(tag::OCTET_STRING, iv)]);
    let algorithm = constructed(tag::SEQUENCE, &[&tlv(tag::OID, PBES2), &constructed(tag::SEQUENCE, &[&derivation, &encryption])]);
    Ok(constructed(tag::SEQUENCE, &[&algorithm, &tlv(tag::OCTET_STRING, &content)]))
}

/// MacData.
fn mac(safe: &[u8], passphrase: &str, random: &dyn SecureRandom) -> Result<Vec<u8>, IssuanceError> {
    let salt = salt(random)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*mac_key(passphrase, &salt));
    let tag_of_safe = hmac::sign(&key, safe);
    let algorithm = constructed(tag::SEQUENCE, &[&tlv(tag::OID, HashAlgorithm::Sha256.oid()), NULL]);
    let info = constructed(tag::SEQUENCE, &[&algorithm, &tlv(tag::OCTET_STRING, tag_of_safe.as_ref())]);
    Ok(constructed(tag::SEQUENCE, &[&info, &tlv(tag::OCTET_STRING, &salt), &integer(MAC_ROUNDS)]))
}

/// RFC 7292 B.2 with SHA-256 and ID 3, for as many octets as the hash has.
fn mac_key(passphrase: &str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    const BLOCK: usize = 64;
    let password: Zeroizing<Vec<u8>> = Zeroizing::new(passphrase.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let repeated = |octets: &[u8]| -> Zeroizing<Vec<u8>> {
        Zeroizing::new(octets.iter().copied().cycle().take(octets.len().next_multiple_of(BLOCK)).collect())
    };
    let mut hash = Zeroizing::new([0; 32]);
    let mut context = digest::Context::new(&digest::SHA256);
    [&[3; BLOCK][..], &repeated(salt), &repeated(&password)].into_iter().for_each(|part| context.update(part));
    hash.copy_from_slice(context.finish().as_ref());
    for _ in 1..MAC_ROUNDS {
        let next = digest::digest(&digest::SHA256, &*hash);
        hash.copy_from_slice(next.as_ref());
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases_are_long_random_and_easy_to_read() {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let (one, other) = (random_passphrase(&random).unwrap(), random_passphrase(&random).unwrap());
        assert_ne!(*one, *other);
        assert_eq!(one.len(), 26);
        assert!(one.bytes().all(|b| ALPHABET.contains(&b)), "{}", *one);
    }
}
