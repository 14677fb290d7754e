//! CRLs, lists of them, and CA certificates, kept in memory under the paths where they are fetched (rule C10). No OCSP here, and no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::pki::{CertificateInfo, Timestamp};
use crate::registry::{CrlHead, CrlRecord, CrlScope, IssuerId};

use super::headers::{self, ETag, NO_STORE, Validity};

/// Everything that is fetched by its path.
#[derive(Debug, Default)]
pub struct Documents {
    catalogue: ArcSwap<BTreeMap<String, Arc<Document>>>,
}

/// One CRL, certificate or list, ready to be sent.
#[derive(Debug)]
pub struct Document {
    /// DER; JSON for a list.
    pub body: Bytes,
    /// What it is.
    pub kind: DocumentKind,
    /// The URL in the issuingDistributionPoint of a CRL that has one.
    distribution_point: Option<String>,
    validity: Validity,
    etag: ETag,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// The certificate of a CA.
    CaCertificate,
    /// The URLs of all CRL partitions of an issuer (rule C7).
    PartitionList,
    /// A CRL: never sent from its nextUpdate on, nor before its thisUpdate, but for what clocks may be apart.
    Crl {
        /// Whose.
        issuer: IssuerId,
        /// What it covers.
        scope: CrlScope,
        /// Its cRLNumber.
        number: u64,
        /// Its nextUpdate.
        next_update: Timestamp,
    },
}

/// The path of an issuer's certificate: `/ca/{issuer}.cer`.
pub fn certificate_path(issuer: &str) -> String {
    format!("/ca/{issuer}.cer")
}

impl Documents {
    /// The document at a path.
    pub fn get(&self, path: &str) -> Option<Arc<Document>> {
        self.catalogue.load().get(path).cloned()
    }

    /// Adds documents, or replaces those at the same paths, all at once.
    pub fn publish(&self, documents: Vec<(String, Document)>) {
        let documents: Vec<_> = documents.into_iter().map(|(path, document)| (path, Arc::new(document))).collect();
        self.catalogue.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.extend(documents.iter().cloned());
            new
        });
    }

    /// Takes documents out. Returns whether there were any.
    pub fn withdraw(&self, is_meant: impl Fn(&str, &Document) -> bool) -> bool {
        let found = self.catalogue.load().iter().any(|(path, document)| is_meant(path, document));
        if found {
            self.catalogue.rcu(|old| {
                let mut new = BTreeMap::clone(old);
                new.retain(|path, document| !is_meant(path, document));
                new
            });
        }
        found
    }

    /// Every document with its path.
    pub fn all(&self) -> Vec<(String, Arc<Document>)> {
        self.catalogue.load().iter().map(|(path, document)| (path.clone(), Arc::clone(document))).collect()
    }
}

impl Document {
    /// A CRL.
    pub fn crl(issuer: IssuerId, crl: CrlRecord) -> Document {
        let CrlRecord { head, der } = crl;
        let CrlHead { scope, number, next_update, .. } = head;
        Document {
            distribution_point: head.distribution_point.map(|point| point.uri),
            validity: Validity { this_update: head.this_update, next_update: Some(next_update), refresh_at: Some(head.refresh_at) },
            etag: etag_of(&der),
            body: der,
            kind: DocumentKind::Crl { issuer, scope, number, next_update },
        }
    }

    /// The certificate of a CA. It does not expire from caches by itself.
    pub fn ca_certificate(certificate: &CertificateInfo) -> Document {
        Document {
            body: certificate.der.clone().into(),
            kind: DocumentKind::CaCertificate,
            distribution_point: None,
            validity: Validity { this_update: certificate.not_before, next_update: None, refresh_at: None },
            etag: etag_of(&certificate.der),
        }
    }

    /// The list of an issuer's CRL partitions, as the CCADB wants it: each URL is the one in the CRL itself (rule C7). `None` where there is none.
    pub fn partition_list(partitions: &BTreeMap<u32, Arc<Document>>) -> Option<Document> {
        let urls: Vec<&str> = partitions.values().filter_map(|crl| crl.distribution_point.as_deref()).collect();
        let newest = partitions.values().map(|crl| crl.validity.this_update).max()?;
        let body = serde_json::to_vec(&urls).ok()?;
        Some(Document {
            etag: etag_of(&body),
            body: body.into(),
            kind: DocumentKind::PartitionList,
            distribution_point: None,
            validity: Validity { this_update: newest, next_update: None, refresh_at: None },
        })
    }

    /// The URL in the issuingDistributionPoint of a CRL that has one.
    pub fn distribution_point(&self) -> Option<&str> {
        self.distribution_point.as_deref()
    }

    /// Whether it may not be sent any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.validity.next_update.is_some_and(|next_update| next_update <= now)
    }

    /// When it becomes valid, where that is still to come: it may not be sent before. Of a CRL only.
    pub fn valid_from(&self, now: Timestamp) -> Option<Timestamp> {
        let this_update = self.validity.this_update;
        (matches!(self.kind, DocumentKind::Crl { .. }) && this_update.is_ahead_of(now)).then_some(this_update)
    }

    fn content_type(&self) -> HeaderValue {
        match self.kind {
            DocumentKind::CaCertificate => HeaderValue::from_static("application/pkix-cert"),
            DocumentKind::Crl { .. } => HeaderValue::from_static("application/pkix-crl"),
            DocumentKind::PartitionList => HeaderValue::from_static("application/json"),
        }
    }

    /// The response to a GET or HEAD with these headers: 200, 206, 304, 412, 416, or 503 where the document has expired or is not valid yet. Caches may keep it for at most `cap`.
    /// Only a GET has ranges (RFC 9110 14.2).
    pub fn respond(&self, method: &Method, request: &HeaderMap, now: Timestamp, cap: Duration) -> Response<Bytes> {
        if self.is_expired(now) {
            return unavailable("The CRL here has expired and its successor is not available yet.\n");
        }
        if self.valid_from(now).is_some() {
            return unavailable("The CRL here is not valid yet.\n");
        }
        // Before anything else (RFC 9110 13.2.2): who resumes a download must not get the rest of another CRL.
        if !headers::precondition_holds(request, &self.etag, self.validity.this_update) {
            return refused(StatusCode::PRECONDITION_FAILED);
        }
        let mut response = Response::new(Bytes::new());
        self.validity.write(response.headers_mut(), &self.etag, now, cap);
        if headers::is_unmodified(headers::conditions(request), &self.etag, self.validity.this_update) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let honoured = *method == Method::GET && headers::if_range_holds(request, &self.etag, self.validity.this_update);
        let length = self.body.len();
        match request.get(RANGE).filter(|_| honoured).map_or(Range::Whole, |value| Range::read(value, length)) {
            Range::Whole => *response.body_mut() = self.body.clone(),
            Range::Part(first, last) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                *response.body_mut() = self.body.slice(first..=last);
                response.headers_mut().insert(CONTENT_RANGE, content_range(&format!("{first}-{last}"), length));
            }
            Range::Unsatisfiable => {
                response = refused(StatusCode::RANGE_NOT_SATISFIABLE);
                response.headers_mut().insert(CONTENT_RANGE, content_range("*", length));
                return response;
            }
        }
        response.headers_mut().insert(CONTENT_TYPE, self.content_type());
        response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response
    }
}

fn etag_of(der: &[u8]) -> ETag {
    ETag::strong(&xxhash_rust::xxh3::xxh3_128(der).to_be_bytes())
}

/// What says nothing about the document, for no cache to keep.
fn refused(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn unavailable(why: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(why.as_bytes()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn content_range(range: &str, length: usize) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {range}/{length}")).expect("digits are header text")
}

/// What a Range header asks of a document (RFC 9110 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// None, one that is not understood, or several at once: all of it is sent.
    Whole,
    /// From the first octet to the last, both included.
    Part(usize, usize),
    Unsatisfiable,
}

impl Range {
    fn read(value: &HeaderValue, length: usize) -> Range {
        let spec = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
        let Some((first, last)) = spec.and_then(|spec| spec.trim().split_once('-')) else { return Range::Whole };
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<usize>().unwrap_or(usize::MAX));
        let (first, last) = match (first, last) {
            ("", "") => return Range::Whole,
            ("", suffix) => match number(suffix) {
                None => return Range::Whole,
                Some(0) => return Range::Unsatisfiable,
                Some(suffix) => (length.saturating_sub(suffix), usize::MAX),
            },
            (first, "") => match number(first) {
                Some(first) => (first, usize::MAX),
                None => return Range::Whole,
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => (first, last),
                _ => return Range::Whole,
            },
        };
        if first < length { Range::Part(first, last.min(length - 1)) } else { Range::Unsatisfiable }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::time;
    use super::*;
    use crate::pki::extension::{Contents, IssuingDistributionPoint};
    use crate::registry::crl_path;
    use hyper::header::{ETAG, EXPIRES, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
    use proptest::prelude::*;

    fn crl() -> Document {
        crl_of(CrlScope::Full, None)
    }

    fn crl_of(scope: CrlScope, distribution_point: Option<IssuingDistributionPoint>) -> Document {
        let head = CrlHead {
            scope,
            number: 7,
            this_update: time(1000),
            next_update: time(9000),
            refresh_at: time(5000),
            entries: 0,
            scheduled: true,
            reflects: 0,
            distribution_point,
            has_delta: false,
            base: None,
        };
        Document::crl(IssuerId(1), CrlRecord { head, der: Bytes::from_static(b"0123456789") })
    }

    fn asked(pairs: &[(HeaderName, &str)], now: u64) -> Response<Bytes> {
        asked_by(Method::GET, pairs, now)
    }

    fn asked_by(method: Method, pairs: &[(HeaderName, &str)], now: u64) -> Response<Bytes> {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        crl().respond(&method, &headers, time(now), Duration::from_secs(3600))
    }

    #[test]
    fn c10_o13_a_crl_is_sent_with_its_type_and_times() {
        let response = asked(&[], 1000);
        let header = |name| response.headers()[name].to_str().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(CONTENT_TYPE), "application/pkix-crl");
        assert_eq!(header(LAST_MODIFIED), "Thu, 01 Jan 1970 00:16:40 GMT");
        assert_eq!(header(EXPIRES), "Thu, 01 Jan 1970 02:30:00 GMT");
        assert!(header(CACHE_CONTROL).starts_with("max-age=3600, public"));
        let etag = header(ETAG).to_owned();
        let again = asked(&[(IF_NONE_MATCH, &etag)], 1000);
        assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again.headers()[ETAG], etag);
    }

    #[test]
    fn a_crl_past_its_next_update_is_never_sent() {
        assert_eq!(asked(&[], 8999).status(), StatusCode::OK);
        for headers in [&[][..], &[(IF_NONE_MATCH, "*")], &[(RANGE, "bytes=0-1")]] {
            let response = asked(headers, 9000);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        }
    }

    /// thisUpdate is at 1000; other clocks than this one may be a minute ahead.
    #[test]
    fn o13_c9_a_crl_that_is_not_valid_yet_is_not_sent() {
        for now in [1000, 999, 940] {
            assert_eq!((asked(&[], now).status(), crl().valid_from(time(now))), (StatusCode::OK, None), "{now}");
        }
        assert_eq!(crl().valid_from(time(939)), Some(time(1000)));
        for headers in [&[][..], &[(IF_NONE_MATCH, "*")], &[(RANGE, "bytes=0-1")]] {
            let response = asked(headers, 939);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        }
    }

    #[test]
    fn one_range_is_sent_several_are_not() {
        let part = |range: &str| {
            let response = asked(&[(RANGE, range)], 1000);
            let place = response.headers().get(CONTENT_RANGE).map(|v| v.to_str().unwrap().to_owned());
            (response.status().as_u16(), response.body().clone(), place)
        };
        let is = |range, body: &'static [u8], place: &str| {
            assert_eq!(part(range), (206, Bytes::from_static(body), Some(place.to_owned())), "{range}")
        };
        is("bytes=0-0", b"0", "bytes 0-0/10");
        is("bytes=8-99", b"89", "bytes 8-9/10");
        is("bytes=7-", b"789", "bytes 7-9/10");
        is("bytes=-3", b"789", "bytes 7-9/10");
        is("bytes=-30", b"0123456789", "bytes 0-9/10");
        for range in ["bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(part(range), (416, Bytes::new(), Some("bytes */10".to_owned())), "{range}");
        }
        for range in ["bytes=0-1,3-4", "bytes=5-4", "lines=0-1", "bytes=a-b", "bytes=-", "bytes=+1-2", ""] {
            assert_eq!(part(range).0, 200, "{range}");
        }
        assert_eq!(asked(&[(RANGE, "bytes=0-0"), (IF_RANGE, "\"another\"")], 1000).status(), StatusCode::OK);
    }

    #[test]
    fn a_head_has_no_ranges_and_says_that_a_get_has() {
        let head = asked_by(Method::HEAD, &[(RANGE, "bytes=0-0")], 1000);
        assert_eq!((head.status(), head.headers().get(CONTENT_RANGE)), (StatusCode::OK, None));
        for response in [head, asked(&[], 1000), asked(&[(RANGE, "bytes=0-0")], 1000)] {
            assert_eq!(response.headers()[ACCEPT_RANGES], "bytes");
        }
        assert_eq!(asked_by(Method::HEAD, &[(RANGE, "bytes=99-")], 1000).status(), StatusCode::OK);
    }

    #[test]
    fn c10_a_download_is_not_resumed_with_another_crl() {
        let etag = asked(&[], 1000).headers()[ETAG].to_str().unwrap().to_owned();
        let (now, before) = ("Thu, 01 Jan 1970 00:16:40 GMT", "Thu, 01 Jan 1970 00:16:39 GMT");
        let (listed, weak) = (format!("\"another\", {etag}"), format!("W/{etag}"));
        let status = |condition: (HeaderName, &str)| asked(&[condition, (RANGE, "bytes=7-")], 1000).status().as_u16();
        for held in [(IF_MATCH, &*etag), (IF_MATCH, &*listed), (IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, now), (IF_UNMODIFIED_SINCE, "soon")] {
            assert_eq!(status(held.clone()), 206, "{held:?}");
        }
        for broken in [(IF_MATCH, "\"another\""), (IF_MATCH, &*weak), (IF_UNMODIFIED_SINCE, before)] {
            let response = asked(&[broken.clone(), (IF_NONE_MATCH, &etag)], 1000);
            assert_eq!((response.status(), response.body().len()), (StatusCode::PRECONDITION_FAILED, 0), "before If-None-Match");
            assert_eq!((response.headers().len(), &response.headers()[CACHE_CONTROL]), (1, &NO_STORE));
            assert_eq!(status(broken), 412);
        }
        assert_eq!(asked(&[(IF_MATCH, &etag), (IF_UNMODIFIED_SINCE, before)], 1000).status(), StatusCode::OK, "If-Match decides alone");
    }

    #[test]
    fn c7_the_list_of_partitions_is_a_json_array_of_their_urls() {
        let point =
            |n: u32| IssuingDistributionPoint { uri: format!("http://va.example/crl/a/{n}.crl"), contents: Contents::UserCertificates };
        let partitions = [10, 2, 0].map(|n| (n, Arc::new(crl_of(CrlScope::Partition(n), Some(point(n))))));
        let list = Document::partition_list(&BTreeMap::from(partitions)).unwrap();
        let response = list.respond(&Method::GET, &HeaderMap::new(), time(2_000_000), Duration::from_secs(60));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let urls = r#"["http://va.example/crl/a/0.crl","http://va.example/crl/a/2.crl","http://va.example/crl/a/10.crl"]"#;
        assert_eq!(&response.body()[..], urls.as_bytes());
        assert!(Document::partition_list(&BTreeMap::new()).is_none());
    }

    #[test]
    fn documents_are_replaced_by_path() {
        let documents = Documents::default();
        documents.publish(vec![(crl_path("a", CrlScope::Full), crl()), (crl_path("a", CrlScope::Partition(3)), crl())]);
        documents.publish(vec![(crl_path("a", CrlScope::Full), crl())]);
        let paths: Vec<_> = documents.all().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/crl/a.crl", "/crl/a/3.crl"]);
        assert!(documents.get("/crl/a/03.crl").is_none());
    }

    proptest! {
        #[test]
        fn no_range_header_panics(range in "\\PC{0,30}", numbers in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 1usize..500) {
            for text in [range, numbers] {
                let Ok(value) = HeaderValue::from_str(&text) else { continue };
                if let Range::Part(first, last) = Range::read(&value, length) {
                    prop_assert!(first <= last && last < length);
                }
            }
        }
    }
}
