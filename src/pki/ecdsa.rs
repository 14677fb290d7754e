//! ECDSA signature values in their two forms: DER `SEQUENCE { r, s }`, which X.509 carries, and `r ‖ s` of fixed length, which tokens make and packs store.

use der::asn1::UintRef;
use der::{Decode, Sequence};

use super::der_encoding::{push_header, tag, tlv_length};

#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// Octets of the DER form of `raw` (r ‖ s, both of the same length, together at most 132 octets).
pub fn der_length(raw: &[u8]) -> usize {
    let (r, s) = raw.split_at(raw.len() / 2);
    tlv_length(tlv_length(integer_length(r)) + tlv_length(integer_length(s)))
}

/// Appends the DER form of `raw`.
pub fn push_der(out: &mut Vec<u8>, raw: &[u8]) {
    let (r, s) = raw.split_at(raw.len() / 2);
    push_header(out, tag::SEQUENCE, tlv_length(integer_length(r)) + tlv_length(integer_length(s)));
    for magnitude in [r, s] {
        let significant = significant(magnitude);
        push_header(out, tag::INTEGER, integer_length(magnitude));
        if significant.first().is_none_or(|b| *b >= 0x80) {
            out.push(0);
        }
        out.extend_from_slice(significant);
    }
}

/// The `r ‖ s` form, `raw_length` octets, of a DER signature value; `None` where it is not one or does not fit.
pub fn raw_from_der(signature: &[u8], raw_length: usize) -> Option<Vec<u8>> {
    let value = EcdsaSigValue::from_der(signature).ok()?;
    let half = raw_length / 2;
    let mut raw = vec![0; raw_length];
    for (number, place) in [value.r, value.s].iter().zip(raw.chunks_mut(half)) {
        let octets = number.as_bytes();
        place.get_mut(half.checked_sub(octets.len())?..)?.copy_from_slice(octets);
    }
    Some(raw)
}

fn significant(magnitude: &[u8]) -> &[u8] {
    let start = magnitude.iter().position(|b| *b != 0).unwrap_or(magnitude.len());
    &magnitude[start..]
}

/// Content octets of the INTEGER with this big-endian magnitude.
fn integer_length(magnitude: &[u8]) -> usize {
    let significant = significant(magnitude);
    significant.len() + usize::from(significant.first().is_none_or(|b| *b >= 0x80))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_say_the_same(mut raw in proptest::collection::vec(any::<u8>(), 64), zeros in 0usize..32) {
            raw[..zeros].fill(0);
            raw[63] |= 1;
            raw[31] |= 1;
            let mut der = Vec::new();
            push_der(&mut der, &raw);
            prop_assert_eq!(der.len(), der_length(&raw));
            prop_assert_eq!(raw_from_der(&der, 64), Some(raw));
        }

        #[test]
        fn garbage_is_no_signature(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(raw) = raw_from_der(&bytes, 64) {
                let mut der = Vec::new();
                push_der(&mut der, &raw);
                prop_assert_eq!(der, bytes);
            }
        }
    }
}
