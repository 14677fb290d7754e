//! Whether a CRL is right: its signature and times, its Content-Type (C10), and what ETag, 304 and 206 promise. Read by der. Reads no clock.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_lc_rs::digest;
use der::{Decode, Header, Reader, SliceReader, Tag};
use spki::AlgorithmIdentifierRef;
use x509_cert::time::Time;

use super::headers::{Fields, HeaderRules, Times};
use super::{shown_time, signature};
use crate::targets::certificate::Certificate;
use crate::targets::{Document, DocumentRequest, Kind};

/// What came back.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) fields: Fields<'a>,
    pub(super) body: &'a [u8],
    pub(super) at: SystemTime,
}

/// CRLs whose signatures have been verified: each of them once, since they are great and come again and again.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<[u8; 32], Times>);

/// CRLs that are remembered at most.
const MAX_SEEN: usize = 10_000;

impl Seen {
    /// What is wrong with an answer.
    pub(super) fn check(
        &mut self,
        document: &Document,
        request: &DocumentRequest,
        answer: &Answer<'_>,
        issuer: Option<&Certificate>,
        rules: HeaderRules,
    ) -> Vec<String> {
        match (answer.status, request.range) {
            (304, _) => check_not_modified(document, answer),
            (206, Some(range)) => check_range(document, range, answer),
            _ => self.check_whole(document, request, answer, issuer, rules),
        }
    }

    fn check_whole(
        &mut self,
        document: &Document,
        request: &DocumentRequest,
        answer: &Answer<'_>,
        issuer: Option<&Certificate>,
        rules: HeaderRules,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        if rules >= HeaderRules::Basic {
            wrong.extend(answer.fields.content_type("application/pkix-crl").map(|what| format!("C10 {what}")));
        }
        let is_same = document.etag.is_some() && answer.fields.get("etag") == document.etag.as_deref();
        if request.kind == Kind::CrlConditional && is_same {
            wrong.push("If-None-Match: found 200 with the ETag that was given, wanted 304".to_owned());
        }
        if is_same && answer.body != document.body {
            wrong.push("ETag: found the one of other octets".to_owned());
        }
        let times = match self.read(answer.body, issuer) {
            Ok(times) => times,
            Err(why) => {
                wrong.push(why);
                return wrong;
            }
        };
        if times.this_update > answer.at {
            wrong.push(format!("thisUpdate: found {}, wanted not after {}", shown_time(times.this_update), shown_time(answer.at)));
        }
        match times.next_update {
            None => wrong.push("C1 no nextUpdate".to_owned()),
            Some(next) if next <= answer.at => {
                wrong.push(format!("nextUpdate: found {}, wanted after {}: expired", shown_time(next), shown_time(answer.at)));
            }
            Some(_) => {}
        }
        if rules == HeaderRules::O13 {
            wrong.extend(answer.fields.authoritative(times, answer.at, answer.body.len()));
        }
        wrong
    }

    /// The times of a CRL whose signature is right.
    fn read(&mut self, der: &[u8], issuer: Option<&Certificate>) -> Result<Times, String> {
        let mut name = [0; 32];
        name.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        if let Some(times) = self.0.get(&name) {
            return Ok(*times);
        }
        let crl = Crl::read(der).map_err(|e| format!("not a CRL in DER: {e}"))?;
        if let Some(issuer) = issuer {
            if crl.issuer != issuer.subject {
                return Err("C1 issuer: found another name than the issuer's".to_owned());
            }
            signature::verify(crl.algorithm.oid, &issuer.key, crl.to_be_signed, crl.signature).map_err(|e| format!("signature: {e}"))?;
        }
        if self.0.len() < MAX_SEEN {
            self.0.insert(name, crl.times);
        }
        Ok(crl.times)
    }
}

fn check_not_modified(document: &Document, answer: &Answer<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(found) = answer.fields.get("etag")
        && Some(found) != document.etag.as_deref()
    {
        wrong.push(format!("304: found ETag {found}, wanted the one that was given"));
    }
    if !answer.body.is_empty() {
        wrong.push("304: found a body".to_owned());
    }
    wrong
}

fn check_range(document: &Document, (start, end): (usize, usize), answer: &Answer<'_>) -> Vec<String> {
    let is_same = document.etag.is_some() && answer.fields.get("etag") == document.etag.as_deref();
    let found = answer.fields.get("content-range").unwrap_or("none");
    // Another CRL may have been issued since, of another length.
    let span = format!("bytes {start}-{}/", end - 1);
    if !found.starts_with(&span) && is_same {
        return vec![format!("Content-Range: found {found}, wanted {span}{}", document.body.len())];
    }
    if is_same && document.body.get(start..end) != Some(answer.body) {
        return vec!["206: found other octets than those of the CRL".to_owned()];
    }
    Vec::new()
}

/// A CRL, as far as it matters here: its entries are not looked at.
struct Crl<'a> {
    to_be_signed: &'a [u8],
    issuer: &'a [u8],
    times: Times,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> Crl<'a> {
    /// CertificateList (RFC 5280 5.1).
    fn read(der: &'a [u8]) -> der::Result<Crl<'a>> {
        let mut outer = SliceReader::new(der)?;
        Header::decode(&mut outer)?.tag.assert_eq(Tag::Sequence)?;
        let to_be_signed = outer.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierRef::decode(&mut outer)?;
        let signature = der::asn1::BitStringRef::decode(&mut outer)?;
        let mut inner = SliceReader::new(to_be_signed)?;
        Header::decode(&mut inner)?.tag.assert_eq(Tag::Sequence)?;
        if inner.peek_tag()? == Tag::Integer {
            inner.tlv_bytes()?;
        }
        AlgorithmIdentifierRef::decode(&mut inner)?;
        let issuer = inner.tlv_bytes()?;
        let this_update = Time::decode(&mut inner)?.to_system_time();
        let has_next = matches!(inner.peek_tag(), Ok(Tag::UtcTime | Tag::GeneralizedTime));
        let next_update = if has_next { Some(Time::decode(&mut inner)?.to_system_time()) } else { None };
        Ok(Crl { to_be_signed, issuer, times: Times { this_update, next_update }, algorithm, signature: signature.raw_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document { path: "/a.crl".into(), etag: Some("\"1\"".into()), body: (0..100).collect() }
    }

    fn request(kind: Kind, range: Option<(usize, usize)>) -> DocumentRequest {
        DocumentRequest { kind, document: 0, header: Vec::new(), range }
    }

    fn check(request: &DocumentRequest, status: u16, head: &str, body: &[u8]) -> Vec<String> {
        let answer = Answer { status, fields: Fields::of(head), body, at: SystemTime::UNIX_EPOCH };
        Seen::default().check(&document(), request, &answer, None, HeaderRules::Basic)
    }

    #[test]
    fn a_range_must_be_the_octets_that_were_asked_for() {
        let range = request(Kind::CrlRange, Some((10, 20)));
        let head = "HTTP/1.1 206 x\r\nETag: \"1\"\r\nContent-Range: bytes 10-19/100\r\n";
        assert_eq!(check(&range, 206, head, &document().body[10..20]), Vec::<String>::new());
        assert_eq!(check(&range, 206, head, &document().body[11..21]).len(), 1);
        assert_eq!(check(&range, 206, &head.replace("10-19", "0-9"), &document().body[10..20]).len(), 1);
    }

    #[test]
    fn not_modified_must_be_about_the_same_crl() {
        let conditional = request(Kind::CrlConditional, None);
        assert_eq!(check(&conditional, 304, "HTTP/1.1 304 x\r\nETag: \"1\"\r\n", b""), Vec::<String>::new());
        assert_eq!(check(&conditional, 304, "HTTP/1.1 304 x\r\nETag: \"2\"\r\n", b"").len(), 1);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nETag: \"1\"\r\n";
        let wrong = check(&conditional, 200, head, &document().body);
        assert!(wrong[0].starts_with("If-None-Match: found 200") && wrong[1].starts_with("not a CRL"), "{wrong:?}");
        assert!(check(&request(Kind::Crl, None), 200, head, b"x").iter().any(|what| what.starts_with("ETag: found the one")));
    }
}
