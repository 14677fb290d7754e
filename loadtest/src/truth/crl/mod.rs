//! Whether a CRL is right: its signature and times, who stands on it, its Content-Type (C10), and what ETag, 304 and 206 promise. Reads no clock.

mod list;

use std::collections::HashMap;
use std::time::SystemTime;

use aws_lc_rs::digest;

use super::headers::{HeaderRules, Times};
use super::{Answer, shown_time, signature};
use crate::targets::certificate::Certificate;
use crate::targets::{Document, DocumentRequest, Kind, Statuses};
use list::Crl;

/// CRLs that are remembered at most.
const MAX_SEEN: usize = 10_000;

/// Checks CRLs, each of them as a whole but once, since they are great and come again and again.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    issuer: Option<&'a Certificate>,
    rules: HeaderRules,
    statuses: &'a Statuses,
    /// What came of those that have been read, by their SHA-256.
    seen: HashMap<[u8; 32], Result<Times, Vec<String>>>,
}

impl<'a> Checker<'a> {
    /// Holds CRLs against who must have signed them, the headers that they must have, and what is known of certificates.
    pub(super) fn new(issuer: Option<&'a Certificate>, rules: HeaderRules, statuses: &'a Statuses) -> Checker<'a> {
        Checker { issuer, rules, statuses, seen: HashMap::new() }
    }

    /// What is wrong with an answer.
    pub(super) fn check(&mut self, document: &Document, request: &DocumentRequest, answer: &Answer<'_>) -> Vec<String> {
        match (answer.status, request.range) {
            (304, _) => check_not_modified(document, answer, self.rules),
            (206, Some(range)) => check_range(document, range, answer),
            _ => self.check_whole(document, request, answer),
        }
    }

    fn check_whole(&mut self, document: &Document, request: &DocumentRequest, answer: &Answer<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.rules >= HeaderRules::Basic {
            wrong.extend(answer.fields.content_type("application/pkix-crl").map(|what| format!("C10 {what}")));
        }
        let is_same = document.etag.is_some() && answer.fields.get("etag") == document.etag.as_deref();
        if request.kind == Kind::CrlConditional && is_same {
            wrong.push("If-None-Match: found 200 with the ETag that was given, wanted 304".to_owned());
        }
        if is_same && answer.body != document.body {
            wrong.push("ETag: found the one of other octets".to_owned());
        }
        match self.read(answer) {
            Ok(times) => {
                wrong.extend(check_times(times, answer.at));
                if self.rules == HeaderRules::O13 {
                    wrong.extend(answer.fields.authoritative(times, answer.at, answer.body.len()));
                }
            }
            Err(why) => wrong.extend(why),
        }
        wrong
    }

    /// The times of a CRL that is right; otherwise what is wrong with it.
    fn read(&mut self, answer: &Answer<'_>) -> Result<Times, Vec<String>> {
        let mut name = [0; 32];
        name.copy_from_slice(digest::digest(&digest::SHA256, answer.body).as_ref());
        if let Some(outcome) = self.seen.get(&name) {
            return outcome.clone();
        }
        let outcome = self.read_anew(answer);
        if self.seen.len() < MAX_SEEN {
            self.seen.insert(name, outcome.clone());
        }
        outcome
    }

    fn read_anew(&self, answer: &Answer<'_>) -> Result<Times, Vec<String>> {
        let not_der = |e: der::Error| vec![format!("not a CRL in DER: {e}")];
        let crl = Crl::read(answer.body).map_err(not_der)?;
        if let Some(issuer) = self.issuer {
            if crl.issuer != issuer.subject {
                return Err(vec!["C1 issuer: found another name than the issuer's".to_owned()]);
            }
            let verified = signature::verify(crl.algorithm.oid, &issuer.key, crl.to_be_signed, crl.signature);
            verified.map_err(|e| vec![format!("signature: {e}")])?;
        }
        let contradictions = crl.contradictions(self.statuses, answer.at).map_err(not_der)?;
        if contradictions.is_empty() { Ok(crl.times) } else { Err(contradictions) }
    }
}

fn check_times(times: Times, now: SystemTime) -> Vec<String> {
    let mut wrong = Vec::new();
    if times.this_update > now {
        wrong.push(format!("thisUpdate: found {}, wanted not after {}", shown_time(times.this_update), shown_time(now)));
    }
    match times.next_update {
        None => wrong.push("C1 no nextUpdate".to_owned()),
        Some(next) if next <= now => {
            wrong.push(format!("nextUpdate: found {}, wanted after {}: expired", shown_time(next), shown_time(now)));
        }
        Some(_) => {}
    }
    wrong
}

fn check_not_modified(document: &Document, answer: &Answer<'_>, rules: HeaderRules) -> Vec<String> {
    let mut wrong = Vec::new();
    match answer.fields.get("etag") {
        // RFC 9110 15.4.5
        None if rules == HeaderRules::O13 => wrong.push("304: found no ETag, wanted the one that was given".to_owned()),
        Some(found) if Some(found) != document.etag.as_deref() => {
            wrong.push(format!("304: found ETag {found}, wanted the one that was given"));
        }
        _ => {}
    }
    if !answer.body.is_empty() {
        wrong.push("304: found a body".to_owned());
    }
    // It vouches for what the client has.
    let kept = Crl::read(&document.body).ok().and_then(|crl| crl.times.next_update);
    if let Some(next) = kept.filter(|next| *next <= answer.at) {
        wrong.push(format!(
            "304: found for a CRL with nextUpdate {}, wanted another one after {}",
            shown_time(next),
            shown_time(answer.at)
        ));
    }
    wrong
}

fn check_range(document: &Document, (start, end): (usize, usize), answer: &Answer<'_>) -> Vec<String> {
    let is_same = document.etag.is_some() && answer.fields.get("etag") == document.etag.as_deref();
    let found = answer.fields.get("content-range").unwrap_or("none");
    let span = format!("bytes {start}-{}/", end - 1);
    let wanted = || vec![format!("Content-Range: found {found}, wanted {span}{}", document.body.len())];
    // Another CRL may have been issued since, of another length; it begins where it was asked to, and is as long as it says, all the same.
    let Some((first, last)) = span_of(found).filter(|(first, last)| *first == start && (start..end).contains(last)) else {
        return wanted();
    };
    if !found.starts_with(&span) && is_same {
        return wanted();
    }
    if answer.body.len() != last - first + 1 {
        return vec![format!("206: found {} octets, wanted those of Content-Range {found}", answer.body.len())];
    }
    if is_same && document.body.get(start..end) != Some(answer.body) {
        return vec!["206: found other octets than those of the CRL".to_owned()];
    }
    Vec::new()
}

/// First and last octet in a Content-Range (RFC 9110 14.4).
fn span_of(content_range: &str) -> Option<(usize, usize)> {
    let (first, last) = content_range.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::headers::Fields;
    use super::*;

    fn document() -> Document {
        Document { path: "/a.crl".into(), etag: Some("\"1\"".into()), body: (0..100).collect() }
    }

    fn request(kind: Kind, range: Option<(usize, usize)>) -> DocumentRequest {
        DocumentRequest { kind, document: 0, header: Vec::new(), range }
    }

    fn check(request: &DocumentRequest, status: u16, head: &str, body: &[u8]) -> Vec<String> {
        let answer = Answer { status, fields: Fields::of(head), body, at: SystemTime::UNIX_EPOCH };
        Checker::new(None, HeaderRules::Basic, &Statuses::default()).check(&document(), request, &answer)
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
    fn a_range_of_another_crl_must_be_where_and_as_long_as_it_says() {
        let range = request(Kind::CrlRange, Some((10, 20)));
        let findings = |content_range: &str, length| {
            check(&range, 206, &format!("HTTP/1.1 206 x\r\nETag: \"2\"\r\n{content_range}\r\n"), &vec![7; length]).len()
        };
        assert_eq!((findings("Content-Range: bytes 10-19/70", 10), findings("Content-Range: bytes 10-14/15", 5)), (0, 0));
        for (content_range, length) in
            [("", 10), ("Content-Range: bytes 11-19/70", 9), ("Content-Range: bytes 10-29/70", 20), ("Content-Range: bytes 10-19/70", 9)]
        {
            assert_eq!(findings(content_range, length), 1, "{content_range}");
        }
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
