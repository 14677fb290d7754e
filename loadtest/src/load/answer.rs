//! What an answer says, told apart as cheaply as may be: enough to count it, not to trust it. Whether it is true is for [`crate::truth`].

use crate::targets::{Expected, Kind};

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Said {
    Good,
    Revoked,
    Unknown,
    MalformedRequest,
    InternalError,
    TryLater,
    SigRequired,
    Unauthorized,
    /// 200 to a question by OCSP, without an OCSP response.
    NotOcsp,
    /// A CRL as a whole.
    Whole,
    NotModified,
    Partial,
    /// HTTP 4xx to a malformed request.
    Rejected,
}

impl Said {
    /// Every one, in the order of its number.
    pub const ALL: [Said; 13] = [
        Said::Good,
        Said::Revoked,
        Said::Unknown,
        Said::MalformedRequest,
        Said::InternalError,
        Said::TryLater,
        Said::SigRequired,
        Said::Unauthorized,
        Said::NotOcsp,
        Said::Whole,
        Said::NotModified,
        Said::Partial,
        Said::Rejected,
    ];

    /// The name in a record.
    pub const fn name(self) -> &'static str {
        match self {
            Said::Good => "good",
            Said::Revoked => "revoked",
            Said::Unknown => "unknown",
            Said::MalformedRequest => "malformedRequest",
            Said::InternalError => "internalError",
            Said::TryLater => "tryLater",
            Said::SigRequired => "sigRequired",
            Said::Unauthorized => "unauthorized",
            Said::NotOcsp => "not OCSP",
            Said::Whole => "crl",
            Said::NotModified => "304",
            Said::Partial => "206",
            Said::Rejected => "4xx",
        }
    }

    /// What an answer of HTTP says to a request; `None` where its status code is a failure.
    #[inline]
    pub fn of(kind: Kind, expected: Expected, status: u16, body: &[u8]) -> Option<Said> {
        match (status, kind) {
            (200, Kind::OcspGet | Kind::OcspPost) => Some(ocsp(body)),
            (200, _) => Some(Said::Whole),
            (206, Kind::CrlRange) => Some(Said::Partial),
            (304, Kind::CrlConditional) => Some(Said::NotModified),
            (400..=499, Kind::OcspGet | Kind::OcspPost) if expected == Expected::Malformed => Some(Said::Rejected),
            _ => None,
        }
    }
}

/// The status in an OCSPResponse; of a successful one that of its first SingleResponse (RFC 6960 4.2.1).
fn ocsp(der: &[u8]) -> Said {
    let status = Tlv::first(der).filter(|outer| outer.tag == 0x30).and_then(|outer| Some((Tlv::first(outer.content)?, outer.content)));
    match status {
        Some((Tlv { tag: 0x0a, content: [0], rest }, _)) => single(rest).unwrap_or(Said::NotOcsp),
        Some((Tlv { tag: 0x0a, content: [1], .. }, _)) => Said::MalformedRequest,
        Some((Tlv { tag: 0x0a, content: [2], .. }, _)) => Said::InternalError,
        Some((Tlv { tag: 0x0a, content: [3], .. }, _)) => Said::TryLater,
        Some((Tlv { tag: 0x0a, content: [5], .. }, _)) => Said::SigRequired,
        Some((Tlv { tag: 0x0a, content: [6], .. }, _)) => Said::Unauthorized,
        _ => Said::NotOcsp,
    }
}

/// certStatus of the first SingleResponse in responseBytes.
fn single(bytes: &[u8]) -> Option<Said> {
    let response_type = Tlv::first(Tlv::first(Tlv::first(bytes)?.content)?.content)?;
    let basic = Tlv::first(Tlv::first(response_type.rest)?.content)?;
    let mut field = Tlv::first(Tlv::first(basic.content)?.content)?;
    // version, where it is not the default; then responderID [1] or [2], producedAt, responses.
    while field.tag != 0x30 {
        field = Tlv::first(field.rest)?;
    }
    let cert_id = Tlv::first(Tlv::first(field.content)?.content)?;
    match Tlv::first(cert_id.rest)?.tag {
        0x80 => Some(Said::Good),
        0xa1 => Some(Said::Revoked),
        0x82 => Some(Said::Unknown),
        _ => None,
    }
}

/// A tag, its content, and what comes behind.
#[derive(Clone, Copy)]
struct Tlv<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Tlv<'a> {
    #[inline]
    fn first(der: &'a [u8]) -> Option<Tlv<'a>> {
        let (tag, after) = der.split_first()?;
        let (first, after) = after.split_first()?;
        let (length, after) = match *first {
            short @ 0..0x80 => (usize::from(short), after),
            long => {
                let octets = usize::from(long & 0x7f);
                if octets == 0 || octets > 4 || octets > after.len() {
                    return None;
                }
                let (length, after) = after.split_at(octets);
                (length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), after)
            }
        };
        let (content, rest) = after.split_at_checked(length)?;
        Some(Tlv { tag: *tag, content, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tag with a content of less than 128 octets.
    fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [&[tag, u8::try_from(content.len()).unwrap()][..], &content].concat()
    }

    fn response(status: &[u8], version: &[u8]) -> Vec<u8> {
        let single = tlv(0x30, &[&tlv(0x30, &[&[2, 1, 5]]), status]);
        let data = tlv(0x30, &[version, &tlv(0xa2, &[&[4, 1, 0]]), &[0x18, 1, b'Z'], &tlv(0x30, &[&single])]);
        let basic = tlv(0x30, &[&data]);
        let bytes = tlv(0x30, &[&[6, 1, 1], &tlv(4, &[&basic])]);
        tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])])
    }

    #[test]
    fn the_status_of_an_ocsp_response_is_told() {
        for (status, said) in
            [(&[0x80, 0][..], Said::Good), (&[0xa1, 1, 0], Said::Revoked), (&[0x82, 0], Said::Unknown), (&[5, 0], Said::NotOcsp)]
        {
            assert_eq!(ocsp(&response(status, &[])), said);
            assert_eq!(ocsp(&response(status, &[0xa0, 3, 2, 1, 0])), said);
        }
        for (code, said) in [(1, Said::MalformedRequest), (3, Said::TryLater), (6, Said::Unauthorized), (4, Said::NotOcsp)] {
            assert_eq!(ocsp(&[0x30, 3, 0x0a, 1, code]), said);
        }
        assert_eq!(ocsp(b"<html>"), Said::NotOcsp);
    }

    #[test]
    fn status_codes_fit_the_kind_of_request() {
        assert_eq!(Said::of(Kind::CrlRange, Expected::Anything, 206, b""), Some(Said::Partial));
        assert_eq!(Said::of(Kind::Crl, Expected::Anything, 304, b""), None);
        assert_eq!(Said::of(Kind::OcspGet, Expected::Malformed, 400, b""), Some(Said::Rejected));
        assert_eq!(Said::of(Kind::OcspGet, Expected::Good, 400, b""), None);
        assert_eq!(Said::of(Kind::OcspGet, Expected::Good, 503, b""), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(mut der in proptest::collection::vec(any::<u8>(), 0..60), cut in 0_usize..40) {
            let _ = ocsp(&der);
            let mut whole = response(&[0x80, 0], &[]);
            whole.truncate(cut);
            whole.append(&mut der);
            let _ = ocsp(&whole);
        }
    }
}
