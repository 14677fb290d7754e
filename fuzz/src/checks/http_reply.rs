//! A response of the service, and what must be right about it whatever was asked.

use bytes::Bytes;
use httparse::Status;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use hyper::{HeaderMap, Method, StatusCode};
use kakunin::pki::Timestamp;
use kakunin::pki::ocsp_response::ErrorStatus;
use kakunin::responder::headers;

use super::http::Asked;
use super::world::{TIMES, WORLD, time};

/// Status, headers and body.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Takes one response from the front of what a connection is sent, without what HTTP itself adds to it.
    pub fn take(octets: &mut &[u8]) -> Reply {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut lines);
        let Ok(Status::Complete(head)) = response.parse(octets) else { panic!("no response: {:?}", String::from_utf8_lossy(octets)) };
        let mut headers = HeaderMap::new();
        for line in response.headers.iter() {
            let value = HeaderValue::from_bytes(line.value).expect("a header that we wrote");
            headers.append(HeaderName::from_bytes(line.name.as_bytes()).expect("a header that we wrote"), value);
        }
        let status = StatusCode::from_u16(response.code.expect("a whole head")).expect("three digits");
        assert!(headers.remove(DATE).is_some(), "rule O13: Date");
        let length = headers.remove(CONTENT_LENGTH).map_or(0, |value| value.to_str().expect("digits").parse().expect("digits"));
        let (body, rest) = octets[head..].split_at(length);
        *octets = rest;
        Reply { status, headers, body: Bytes::copy_from_slice(body) }
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header that we wrote"))
    }

    /// Whatever is wrong with it for that request at that time is found here.
    pub fn is_well_formed(&self, asked: &Asked, now: Timestamp) {
        let reading = asked.method == Method::GET || asked.method == Method::HEAD;
        match self.status.as_u16() {
            200 if self.text(CONTENT_TYPE) == Some("application/ocsp-response") => self.is_an_ocsp_response(now),
            200 if self.text(CONTENT_TYPE) == Some("text/plain") => assert!(reading && self.is_for_no_cache()),
            200 | 206 => self.is_a_document(asked, now),
            304 => {
                let conditional = asked.headers.contains_key(IF_NONE_MATCH) || asked.headers.contains_key(IF_MODIFIED_SINCE);
                assert!(reading && conditional && self.body.is_empty());
                self.is_cacheable(now);
            }
            412 => {
                let conditional = asked.headers.contains_key(IF_MATCH) || asked.headers.contains_key(IF_UNMODIFIED_SINCE);
                assert!(reading && conditional && self.body.is_empty() && self.is_for_no_cache());
            }
            416 => {
                assert!(asked.method == Method::GET && self.body.is_empty() && self.is_for_no_cache() && asked.headers.contains_key(RANGE))
            }
            204 => assert!(asked.method == Method::OPTIONS && self.body.is_empty() && self.is_for_no_cache()),
            503 => assert!(reading && self.is_for_no_cache()),
            404 | 405 => assert!(self.is_for_no_cache()),
            413 | 415 => assert!(asked.method == Method::POST && self.is_for_no_cache()),
            other => panic!("{other}"),
        }
    }

    fn is_for_no_cache(&self) -> bool {
        self.text(CACHE_CONTROL) == Some("no-store") && self.headers.get(EXPIRES).is_none() && self.headers.get(ETAG).is_none()
    }

    /// Rule O13: no cache keeps it up to its nextUpdate.
    fn is_cacheable(&self, now: Timestamp) {
        assert!(self.headers.get(LAST_MODIFIED).is_some() && self.headers.get(ETAG).is_some());
        let directives = self.text(CACHE_CONTROL).expect("Cache-Control");
        let age: u64 = directives.split(',').find_map(|part| part.strip_prefix("max-age=")).expect("max-age").parse().expect("seconds");
        if let Some(expires) = self.text(EXPIRES) {
            let later = now.saturating_add(std::time::Duration::from_secs(age));
            let known = [7200, 10_800]
                .map(|seconds| time(TIMES[1] + seconds))
                .into_iter()
                .find(|end| headers::http_date(*end) == expires.as_bytes());
            assert!(later < known.expect("a nextUpdate of the world"));
        }
    }

    fn is_an_ocsp_response(&self, now: Timestamp) {
        if self.is_for_no_cache() {
            use ErrorStatus::{MalformedRequest, TryLater, Unauthorized};
            assert!([MalformedRequest, TryLater, Unauthorized].iter().any(|error| error.response() == &self.body[..]));
            return;
        }
        let known = WORLD.answers.values().find(|known| known.body == self.body).expect("one of the signed responses");
        assert!(known.definitive.this_update <= now && now < known.definitive.next_update);
        self.is_cacheable(now);
    }

    fn is_a_document(&self, asked: &Asked, now: Timestamp) {
        self.is_cacheable(now);
        let document = WORLD.content.documents.get(asked.uri.path()).expect("only a document is sent like this");
        assert!(!document.is_expired(now));
        let Some(range) = self.text(CONTENT_RANGE) else {
            assert_eq!((self.status, &self.body), (StatusCode::OK, &document.body));
            return;
        };
        assert_eq!((self.status, &asked.method), (StatusCode::PARTIAL_CONTENT, &Method::GET));
        let numbers: Vec<usize> =
            range.strip_prefix("bytes ").expect("bytes").split(['-', '/']).map(|n| n.parse().expect("digits")).collect();
        let [first, last, length] = numbers[..] else { panic!("Content-Range: {range}") };
        assert_eq!((length, &self.body[..]), (document.body.len(), &document.body[first..=last]));
    }
}
