//! Decoding the path of a GET, held against the plain way: one step after the other, each over everything.

use kakunin::pki::ocsp_request::MAX_REQUEST_BYTES;
use kakunin::responder::get_path::{Buffer, MAX_PATH_BYTES, NotBase64, decode, encode};

/// One input: as a path, and as the octets of a request.
pub fn check(input: &[u8]) {
    round_trip(input);
    let Ok(path) = std::str::from_utf8(input) else { return };
    let mut buffer = Buffer::default();
    let decoded = decode(path, &mut buffer).map(<[u8]>::to_vec);
    assert_eq!(decoded, plainly(path));
    assert_eq!(decode(path, &mut buffer).map(<[u8]>::to_vec), decoded, "in a buffer that was used before");
    if let Ok(request) = decoded {
        round_trip(&request);
    }
}

fn round_trip(request: &[u8]) {
    if request.len() <= MAX_REQUEST_BYTES {
        let path = encode(request);
        assert!(path.len() <= MAX_PATH_BYTES);
        assert_eq!(decode(&path, &mut Buffer::default()), Ok(request));
    }
}

fn plainly(path: &str) -> Result<Vec<u8>, NotBase64> {
    let path = path.trim_start_matches('/');
    if path.len() > MAX_PATH_BYTES {
        return Err(NotBase64);
    }
    let mut characters = percent_decoded(path.as_bytes()).ok_or(NotBase64)?;
    characters.retain(|character| !b"\r\n".contains(character));
    while characters.last() == Some(&b'=') {
        characters.pop();
    }
    let sextets: Vec<u8> = characters.into_iter().map(sextet).collect::<Option<_>>().ok_or(NotBase64)?;
    if sextets.len() % 4 == 1 {
        return Err(NotBase64);
    }
    let bits: Vec<bool> = sextets.iter().flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1 == 1)).collect();
    Ok(bits.chunks_exact(8).map(|octet| octet.iter().fold(0, |value, bit| value << 1 | u8::from(*bit))).collect())
}

fn percent_decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut characters = Vec::new();
    let mut octets = path.iter().copied();
    while let Some(octet) = octets.next() {
        characters.push(match octet {
            b'%' => {
                let mut digit = || (octets.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            other => other,
        });
    }
    Some(characters)
}

fn sextet(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' | b'-' | b' ' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
