//! Appending DER to a buffer, for the structures that this program encodes itself: OCSP responses and CRLs.

/// Universal and context-specific tags used here.
pub mod tag {
    #![allow(missing_docs)]
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;

    /// `[n]` around another encoding, or a constructed IMPLICIT `[n]`; `n` below 31.
    pub const fn constructed(n: u8) -> u8 {
        0xa0 | n
    }

    /// Primitive IMPLICIT `[n]`; `n` below 31.
    pub const fn primitive(n: u8) -> u8 {
        0x80 | n
    }
}

/// Octets of tag and length before `content_length` octets of content.
#[inline]
pub const fn header_length(content_length: usize) -> usize {
    match content_length {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        0x1_0000..=0xff_ffff => 5,
        _ => 6,
    }
}

/// Octets of a whole TLV with `content_length` octets of content.
#[inline]
pub const fn tlv_length(content_length: usize) -> usize {
    header_length(content_length) + content_length
}

/// Appends tag and length. `content_length` is below 2^32.
#[inline]
pub fn push_header(out: &mut Vec<u8>, tag: u8, content_length: usize) {
    debug_assert!(content_length <= u32::MAX as usize);
    out.push(tag);
    let octets = (content_length as u32).to_be_bytes();
    match header_length(content_length) {
        2 => out.push(content_length as u8),
        n => {
            let significant = n - 2;
            out.push(0x80 | significant as u8);
            out.extend_from_slice(&octets[4 - significant..]);
        }
    }
}

/// Appends a whole TLV.
#[inline]
pub fn push_tlv(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    push_header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// A TLV of its own.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tlv_length(content.len()));
    push_tlv(&mut out, tag, content);
    out
}

/// A constructed TLV around the concatenation of `parts`.
pub fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(tlv_length(length));
    push_header(&mut out, tag, length);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// Content octets of a non-negative INTEGER.
pub fn integer_content(n: u64) -> Vec<u8> {
    let octets = n.to_be_bytes();
    let start = (0..7).find(|i| octets[*i] != 0).unwrap_or(7);
    let mut out = Vec::with_capacity(9);
    if octets[start] >= 0x80 {
        out.push(0);
    }
    out.extend_from_slice(&octets[start..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode, Encode};
    use proptest::prelude::*;

    #[test]
    fn lengths_change_their_form_where_der_says() {
        for length in [0usize, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000] {
            let mut ours = Vec::new();
            push_header(&mut ours, tag::OCTET_STRING, length);
            let header = der::Header::from_der(&ours).unwrap();
            assert_eq!(u32::from(header.length) as usize, length);
            assert_eq!(ours.len(), header_length(length));
        }
    }

    proptest! {
        #[test]
        fn integers_are_as_der_writes_them(n: u64) {
            prop_assert_eq!(tlv(tag::INTEGER, &integer_content(n)), n.to_der().unwrap());
        }
    }
}
