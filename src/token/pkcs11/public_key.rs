//! The SubjectPublicKeyInfo of a key on a token, put together from what PKCS#11 says of it.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;

use crate::pki::der_encoding::{constructed, tag, tlv};

/// CKA_EC_PARAMS of P-256 and P-384: the curve's OID.
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// CKA_EC_PARAMS of Ed25519 in the forms that tokens use: the OID of RFC 8410, PrintableString "edwards25519", an older OID.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
pub(super) const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
const ED25519_OLD: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
const ID_EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The public numbers in an object's attributes, as far as there are any: a public key object has them all, a private RSA key usually too.
#[derive(Default)]
pub(super) struct PublicNumbers {
    modulus: Option<Vec<u8>>,
    exponent: Option<Vec<u8>>,
    curve: Option<Vec<u8>>,
    point: Option<Vec<u8>>,
}

impl PublicNumbers {
    /// Reads them from `object`, a key of kind `key_type`.
    pub(super) fn read(session: &Session, object: ObjectHandle, key_type: KeyType) -> Result<PublicNumbers, Error> {
        let wanted = match key_type {
            KeyType::RSA => [AttributeType::Modulus, AttributeType::PublicExponent],
            _ => [AttributeType::EcParams, AttributeType::EcPoint],
        };
        let mut numbers = PublicNumbers::default();
        for attribute in session.get_attributes(object, &wanted)? {
            match attribute {
                Attribute::Modulus(octets) => numbers.modulus = Some(octets),
                Attribute::PublicExponent(octets) => numbers.exponent = Some(octets),
                Attribute::EcParams(octets) => numbers.curve = Some(octets),
                Attribute::EcPoint(octets) => numbers.point = Some(octets),
                _ => {}
            }
        }
        Ok(numbers)
    }

    /// The DER SubjectPublicKeyInfo; `None` where a number is missing or the curve is not known.
    pub(super) fn spki(&self) -> Option<Vec<u8>> {
        if let (Some(n), Some(e)) = (&self.modulus, &self.exponent) {
            let der: PublicKeyX509Der<'_> = RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() }.as_der().ok()?;
            return Some(der.as_ref().to_vec());
        }
        let (curve, point) = (self.curve.as_deref()?, self.point.as_deref()?);
        let (algorithm, point) = match curve {
            P256 => (constructed(tag::SEQUENCE, &[ID_EC_PUBLIC_KEY, P256]), bare(point, 65)?),
            P384 => (constructed(tag::SEQUENCE, &[ID_EC_PUBLIC_KEY, P384]), bare(point, 97)?),
            ED25519 | ED25519_NAME | ED25519_OLD => (tlv(tag::SEQUENCE, ED25519), bare(point, 32)?),
            _ => return None,
        };
        let bits = constructed(tag::BIT_STRING, &[&[0], point]);
        Some(constructed(tag::SEQUENCE, &[&algorithm, &bits]))
    }
}

/// The `length` octets of a point, which tokens give bare, in an OCTET STRING (PKCS#11 2.40) or in a BIT STRING (3.0, Edwards curves).
fn bare(point: &[u8], length: usize) -> Option<&[u8]> {
    let octet_string = [tag::OCTET_STRING, length as u8];
    let bit_string = [tag::BIT_STRING, length as u8 + 1, 0];
    // By length first: a bare point starts with 04 too.
    [&[][..], &octet_string, &bit_string]
        .into_iter()
        .find(|prefix| point.len() == prefix.len() + length && point.starts_with(prefix))
        .map(|p| &point[p.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::KeyAlgorithm;
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    #[test]
    fn points_are_understood_in_every_form_that_tokens_give() {
        let cases = [(KeyAlgorithm::EcdsaP256, P256, 65), (KeyAlgorithm::EcdsaP384, P384, 97), (KeyAlgorithm::Ed25519, ED25519_NAME, 32)];
        for (algorithm, curve, length) in cases {
            let key = SoftwareKey::generate(algorithm).unwrap();
            let point = &key.public_key()[key.public_key().len() - length..];
            for given in [point.to_vec(), tlv(tag::OCTET_STRING, point), constructed(tag::BIT_STRING, &[&[0], point])] {
                let numbers = PublicNumbers { curve: Some(curve.to_vec()), point: Some(given), ..Default::default() };
                assert_eq!(numbers.spki().as_deref(), Some(key.public_key()), "{algorithm}");
            }
            for wrong in [&point[1..], &[]] {
                let numbers = PublicNumbers { curve: Some(curve.to_vec()), point: Some(wrong.to_vec()), ..Default::default() };
                assert_eq!(numbers.spki(), None);
            }
        }
        assert_eq!(PublicNumbers::default().spki(), None);
    }
}
