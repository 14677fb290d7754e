//! The request in the path of a GET: `{base}/{url-encoded base64 of the DER}` (RFC 6960 A.1), in every form that clients really send (rule O12).
//!
//! Accepted beside the proper form: raw `/`, `+` and `=`; percent-encoding of either case; doubled leading `/`; space for `+`; base64url; missing padding;
//! encoded line ends. Slashes inside are data and are never collapsed. Says nothing about what was decoded.

use crate::pki::ocsp_request::MAX_REQUEST_BYTES;

/// The longest path that is looked at: every octet of the greatest request in base64, percent-encoded.
pub const MAX_PATH_BYTES: usize = MAX_REQUEST_BYTES.div_ceil(3) * 4 * 3;

/// A path whose request certainly fits into [`Buffer`]'s inline octets is at most this long.
const INLINE_PATH: usize = INLINE / 3 * 4;
/// Room for requests as clients send them: 70 to 120 octets, a few more with a nonce.
const INLINE: usize = 384;

/// Not base64 of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is not base64")]
pub struct NotBase64;

/// Where a request is decoded to: on the stack, or in one allocation where it is unusually long.
#[derive(Debug)]
pub struct Buffer {
    inline: [u8; INLINE],
    heap: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { inline: [0; INLINE], heap: Vec::new() }
    }
}

/// Decodes a path without its base. At most [`MAX_PATH_BYTES`] are looked at; a longer one is an error.
pub fn decode<'b>(path: &str, buffer: &'b mut Buffer) -> Result<&'b [u8], NotBase64> {
    // An OCSP request begins with 'M' in base64, so a slash in front is never part of it.
    let path = path.trim_start_matches('/').as_bytes();
    if path.len() > MAX_PATH_BYTES {
        return Err(NotBase64);
    }
    let out = if path.len() <= INLINE_PATH {
        &mut buffer.inline[..]
    } else {
        buffer.heap.resize(path.len().div_ceil(4) * 3, 0);
        &mut buffer.heap[..]
    };
    let length = decode_into(path, out)?;
    Ok(&out[..length])
}

/// Four characters make three octets. `out` has room for three octets of every four characters begun.
fn decode_into(path: &[u8], out: &mut [u8]) -> Result<usize, NotBase64> {
    let mut characters = Characters { path };
    let mut length = characters.take_groups(out);
    let (mut group, mut bits, mut padded) = (0u32, 0u32, false);
    while let Some(octet) = characters.next()? {
        let value = match SEXTETS[usize::from(octet)] {
            IGNORED => continue,
            PADDING => {
                padded = true;
                continue;
            }
            value if value < 64 && !padded => value,
            _ => return Err(NotBase64),
        };
        group = group << 6 | u32::from(value);
        bits += 6;
        if bits == 24 {
            out[length..length + 3].copy_from_slice(&group.to_be_bytes()[1..]);
            (group, bits, length) = (0, 0, length + 3);
            length += characters.take_groups(&mut out[length..]);
        }
    }
    // One octet of two characters, two of three; bits beyond are not looked at. One character is no octet.
    let rest = match bits {
        6 => return Err(NotBase64),
        bits => bits as usize / 8,
    };
    let aligned = (group << (24 - bits)).to_be_bytes();
    out[length..length + rest].copy_from_slice(&aligned[1..1 + rest]);
    Ok(length + rest)
}

/// The characters of a path, percent-encoded or not.
struct Characters<'a> {
    path: &'a [u8],
}

impl Characters<'_> {
    /// Decodes whole groups of four plain characters, as long as there are any: nearly all of a path. Returns the octets written.
    fn take_groups(&mut self, out: &mut [u8]) -> usize {
        let mut length = 0;
        for (group, place) in self.path.chunks_exact(4).zip(out.chunks_exact_mut(3)) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| u32::from(SEXTETS[usize::from(group[i])]));
            if a | b | c | d >= 64 {
                break;
            }
            place.copy_from_slice(&(a << 18 | b << 12 | c << 6 | d).to_be_bytes()[1..]);
            length += 3;
        }
        self.path = &self.path[length / 3 * 4..];
        length
    }

    fn next(&mut self) -> Result<Option<u8>, NotBase64> {
        match self.path {
            [] => Ok(None),
            [b'%', high, low, rest @ ..] => {
                let digit = |octet: u8| (octet as char).to_digit(16).ok_or(NotBase64);
                let octet = (digit(*high)? << 4 | digit(*low)?) as u8;
                self.path = rest;
                Ok(Some(octet))
            }
            [octet, rest @ ..] => {
                self.path = rest;
                Ok(Some(*octet))
            }
        }
    }
}

const PADDING: u8 = 64;
const IGNORED: u8 = 65;
const WRONG: u8 = 255;

/// What each octet stands for: both base64 alphabets, and a space for a '+' that a form decoder has eaten.
const SEXTETS: [u8; 256] = {
    let mut table = [WRONG; 256];
    let mut i = 0;
    while i < 26 {
        table[b'A' as usize + i] = i as u8;
        table[b'a' as usize + i] = 26 + i as u8;
        i += 1;
    }
    i = 0;
    while i < 10 {
        table[b'0' as usize + i] = 52 + i as u8;
        i += 1;
    }
    table[b'+' as usize] = 62;
    table[b'-' as usize] = 62;
    table[b' ' as usize] = 62;
    table[b'/' as usize] = 63;
    table[b'_' as usize] = 63;
    table[b'=' as usize] = PADDING;
    table[b'\r' as usize] = IGNORED;
    table[b'\n' as usize] = IGNORED;
    table
};

/// The proper form of a GET path: base64 with `+`, `/` and `=` percent-encoded. For tools and tests.
pub fn encode(request: &[u8]) -> String {
    base64(request).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let number = group.iter().fold(0u32, |n, octet| n << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (number >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(path: &str) -> Result<Vec<u8>, NotBase64> {
        decode(path, &mut Buffer::default()).map(<[u8]>::to_vec)
    }

    #[test]
    fn o12_the_example_of_every_field_bug() {
        // ff ff fe fb: has '/', '+' and padding.
        let wanted = Ok(vec![0xff, 0xff, 0xfe, 0xfb]);
        for path in [
            "%2F%2F%2F%2B%2Bw%3D%3D",
            "%2f%2f%2f%2b%2bw%3d%3d",
            "___--w",
            "___--w==",
            "///++w==",
            "%2F%2F%2F%20%20w==",
            "%2F%2F%2F%2B%0D%0A%2Bw",
        ] {
            let raw_leading_slashes = path.starts_with('/');
            assert_eq!(decoded(path) == wanted, !raw_leading_slashes, "{path}: slashes in front are never data");
        }
        assert_eq!(decoded("MA/"), decoded("MA%2f"));
        assert_eq!(decoded("//MA//"), Ok(vec![0x30, 0x0f, 0xff]));
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for path in ["M", "MAAAA", "MA=A", "M?A", "MA%", "MA%2", "MA%2g", "MA%00", "M\u{e9}A", "MA%09"] {
            assert_eq!(decoded(path), Err(NotBase64), "{path}");
        }
        assert_eq!(decoded(""), Ok(vec![]));
        assert_eq!(decoded(&"A".repeat(MAX_PATH_BYTES + 1)), Err(NotBase64));
    }

    /// How a client may write one character of the proper base64.
    fn written(character: char, choice: u8) -> String {
        match (character, choice % 6) {
            ('+', 1) => "-".into(),
            ('+', 2) => "%20".into(),
            ('+', 3) => "%2b".into(),
            ('+', 4) => "%2B".into(),
            ('/', 1) => "_".into(),
            ('/', 2) => "%2f".into(),
            ('/', 3) => "%2F".into(),
            ('=', 1) => "%3d".into(),
            ('=', 2) => "%3D".into(),
            (other, 5) => format!("%{:02X}", other as u32),
            (other, 4) if other.is_ascii_alphanumeric() => format!("{other}%0D%0A"),
            (other, _) => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn o12_any_request_in_any_form_decodes_to_the_same_octets(
            body in proptest::collection::vec(any::<u8>(), 0..700),
            choices in proptest::collection::vec(any::<u8>(), 1..64),
            slashes in 0usize..3,
            padding: bool,
        ) {
            // A request is a SEQUENCE: its first octet is 0x30, and its base64 begins with 'M'.
            let request: Vec<u8> = std::iter::once(0x30).chain(body).collect();
            let proper = base64(&request);
            prop_assert!(proper.starts_with('M'));
            let text = if padding { &proper[..] } else { proper.trim_end_matches('=') };
            let path: String = text.chars().zip(choices.iter().cycle()).map(|(c, choice)| written(c, *choice)).collect();
            prop_assert_eq!(decoded(&format!("{}{path}", "/".repeat(slashes))), Ok(request.clone()));
            prop_assert_eq!(decoded(&encode(&request)), Ok(request));
        }

        #[test]
        fn o12_garbage_never_panics(path in "\\PC{0,600}", octets in "[%A-Za-z0-9+/=_ -]{0,700}") {
            let _ = decoded(&path);
            let _ = decoded(&octets);
        }
    }
}
