//! HTTP around the answers: methods, status codes, bodies read within bounds. Owns no socket and no thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::pki::Timestamp;
use crate::pki::ocsp_request::MAX_REQUEST_BYTES;

use super::content::Content;
use super::counters::{Event, ThreadCounters};
use super::documents::DocumentKind;
use super::get_path::{self, Buffer};
use super::headers::{self, ETag, NO_STORE, Validity};
use super::ocsp::{self, Definitive, Refusal};
use super::route::{GetRoute, PostRoute};

/// Bounds on what clients may take up, and on what caches may keep.
///
/// Worst-case memory of connections: `max_connections × (2 × max_header_bytes + 16 KiB)`, with the defaults 470 MiB. An idle one holds no buffer: less than 2 KiB here,
/// and what the kernel keeps for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, over all threads. More are accepted and closed at once. Each needs a file descriptor.
    pub max_connections: usize,
    /// Octets of a request line with its headers, and so of the longest GET; at least 8192. Longer ones are answered 431 or 414. A connection's read
    /// buffer grows up to this.
    pub max_header_bytes: usize,
    /// From the moment the server begins to wait for a request to the last octet of its headers: bounds slow clients, and idle kept-alive connections too.
    pub header_read_timeout: Duration,
    /// From the end of the headers to the last octet of the body; later is answered 408.
    pub body_read_timeout: Duration,
    /// Requests on one connection; with the answer to the last one it is closed, and its client gets another thread perhaps. At least 1.
    pub max_requests_per_connection: u32,
    /// A client that takes nothing of its response for so long is cut off (TCP_USER_TIMEOUT; Linux only).
    pub write_stall_timeout: Duration,
    /// How long requests in flight may take after the stop.
    pub drain_timeout: Duration,
    /// The longest max-age that caches are told (rule O13): a revocation may stay unseen in a cache for so long.
    pub max_cache_age: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 10_000,
            max_header_bytes: 16 * 1024,
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(10),
            max_requests_per_connection: 1_000_000,
            write_stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_cache_age: Duration::from_secs(3600),
        }
    }
}

/// Answers the requests of one thread.
#[derive(Debug)]
pub struct Service {
    content: Arc<Content>,
    counters: Arc<ThreadCounters>,
    limits: Limits,
    clock: fn() -> Timestamp,
}

pub(super) const OCSP_RESPONSE: &str = "application/ocsp-response";
const ALL_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
const READING_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const GREETING: &str = "Kakunin validation authority: OCSP by GET or POST here, CRLs under /crl/, CA certificates under /ca/.\n";

impl Service {
    /// Serves `content`, telling the time by `clock` and counting in `counters`, which belong to the calling thread.
    pub fn new(content: Arc<Content>, counters: Arc<ThreadCounters>, limits: Limits, clock: fn() -> Timestamp) -> Service {
        Service { content, counters, limits, clock }
    }

    /// The response to any request.
    pub async fn respond<B: Body<Data = Bytes> + Unpin>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let response = match *request.method() {
            Method::GET | Method::HEAD => self.get(request.uri().path(), request.headers()),
            Method::POST => self.post(request).await,
            Method::OPTIONS => options(request.uri().path()),
            _ => method_not_allowed(ALL_METHODS),
        };
        self.count(Event::of_status(response.status()));
        response
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(super) fn count(&self, event: Event) {
        self.counters.count(event);
    }

    #[cfg(test)]
    pub(super) fn counters(&self) -> &ThreadCounters {
        &self.counters
    }

    pub(super) fn has_issuer(&self, name: &str) -> bool {
        self.content.status.directory().has_issuer(name)
    }

    fn get(&self, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match GetRoute::of(path, |name| self.has_issuer(name)) {
            GetRoute::Ocsp { issuer, encoded } => match get_path::decode(encoded, &mut Buffer::default()) {
                Ok(request) => self.ocsp(request, issuer, Some(headers)),
                Err(_) => {
                    self.count_refusal(Refusal::Malformed);
                    refused(Refusal::Malformed)
                }
            },
            GetRoute::Document(path) => self.document(path, headers),
            GetRoute::Greeting => text(StatusCode::OK, GREETING),
            GetRoute::Unknown => text(StatusCode::NOT_FOUND, "Nothing here.\n"),
        }
    }

    async fn post<B: Body<Data = Bytes> + Unpin>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let issuer = match PostRoute::of(head.uri.path()) {
            PostRoute::Ocsp(issuer) => issuer,
            PostRoute::GetOnly => return method_not_allowed(READING_METHODS),
            PostRoute::Unknown => return text(StatusCode::NOT_FOUND, "Nothing here.\n"),
        };
        if !is_ocsp_request(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send application/ocsp-request.\n");
        }
        let status = match tokio::time::timeout(self.limits.body_read_timeout, read_body(body)).await {
            Ok(Ok(request)) => return self.ocsp(&request, issuer, None),
            Ok(Err(BodyError::TooLong)) => StatusCode::PAYLOAD_TOO_LARGE,
            Ok(Err(BodyError::Broken)) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        };
        let mut response = text(status, "");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// `conditional`: the headers of a GET, which may make it conditional.
    fn ocsp(&self, request: &[u8], issuer: Option<&str>, conditional: Option<&HeaderMap>) -> Response<Full<Bytes>> {
        let (now, mut body) = (self.now(), Vec::new());
        match self.answer(request, issuer, now, &mut body) {
            Ok(definitive) => {
                let etag = ETag::strong(&definitive.tag);
                let unmodified =
                    conditional.is_some_and(|request| headers::is_unmodified(headers::conditions(request), &etag, definitive.this_update));
                let mut response = if unmodified {
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                    response
                } else {
                    ocsp_response(body.into())
                };
                validity(&definitive).write(response.headers_mut(), &etag, now, self.limits.max_cache_age);
                response
            }
            Err(refusal) => refused(refusal),
        }
    }

    /// Appends the signed response, or nothing, and counts either.
    pub(super) fn answer(&self, request: &[u8], issuer: Option<&str>, now: Timestamp, body: &mut Vec<u8>) -> Result<Definitive, Refusal> {
        let answer = ocsp::answer(request, &self.content.status, issuer, now, body);
        match answer {
            Ok(definitive) => self.count(if definitive.revoked { Event::Revoked } else { Event::Good }),
            Err(refusal) => self.count_refusal(refusal),
        }
        answer
    }

    fn count_refusal(&self, refusal: Refusal) {
        let events: &[Event] = match refusal {
            Refusal::Malformed => &[Event::MalformedRequest],
            Refusal::Unauthorized => &[Event::Unauthorized],
            Refusal::UnusedSerial => &[Event::Unauthorized, Event::UnusedSerial],
            Refusal::NotLoaded => &[Event::TryLater, Event::NotLoaded],
            Refusal::NotCurrent => &[Event::TryLater, Event::NotCurrent],
        };
        events.iter().for_each(|event| self.count(*event));
    }

    fn document(&self, path: &str, conditions: &HeaderMap) -> Response<Full<Bytes>> {
        let Some(document) = self.content.documents.get(path) else {
            return text(StatusCode::NOT_FOUND, "Nothing here.\n");
        };
        let response = document.respond(conditions, self.now(), self.limits.max_cache_age);
        match (response.status(), document.kind) {
            (StatusCode::SERVICE_UNAVAILABLE, _) => self.count(Event::CrlWithheld),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, DocumentKind::Crl { .. }) => self.count(Event::Crl),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, DocumentKind::CaCertificate) => self.count(Event::CaCertificate),
            _ => {}
        }
        response.map(Full::new)
    }
}

pub(super) fn validity(definitive: &Definitive) -> Validity {
    let Definitive { this_update, next_update, refresh_at, .. } = *definitive;
    Validity { this_update, next_update: Some(next_update), refresh_at: Some(refresh_at) }
}

fn ocsp_response(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCSP_RESPONSE));
    response
}

/// An OCSP error: well-formed HTTP all the same, so 200 (RFC 6960 A.2), but for no cache to keep (rule O13).
fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    let mut response = ocsp_response(Bytes::from_static(refusal.status().response()));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// What may be done at a path (RFC 9110 9.3.7).
fn options(path: &str) -> Response<Full<Bytes>> {
    let allowed = if matches!(PostRoute::of(path), PostRoute::GetOnly) { READING_METHODS } else { ALL_METHODS };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allowed);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn method_not_allowed(allowed: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// The right media type, with parameters or without, or none at all.
pub(super) fn is_ocsp_request(content_type: Option<&[u8]>) -> bool {
    let Some(value) = content_type else { return true };
    let media_type = value.split(|octet| *octet == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/ocsp-request")
}

enum BodyError {
    TooLong,
    Broken,
}

/// Reads a body of at most [`MAX_REQUEST_BYTES`]; without copying where it comes in one piece, as it does in practice.
async fn read_body<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 {
        return Err(BodyError::TooLong);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if read.len() + data.len() > MAX_REQUEST_BYTES {
            return Err(BodyError::TooLong);
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, NOW, serial, time};
    use super::*;
    use crate::pki::HashAlgorithm;
    use crate::pki::ocsp_request::encode_request;
    use crate::pki::ocsp_response::ErrorStatus;
    use hyper::header::{ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED};

    fn service() -> Service {
        Service::new(Arc::new(testing::content()), Arc::default(), Limits::default(), || time(NOW))
    }

    fn ask(service: &Service, request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (head, body) = service.respond(request).await.into_parts();
            (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
        })
    }

    fn get(path: &str) -> Request<Full<Bytes>> {
        Request::get(path).body(Full::default()).unwrap()
    }

    fn post(path: &str, content_type: Option<&str>, body: Vec<u8>) -> Request<Full<Bytes>> {
        let request = Request::post(path);
        let request = if let Some(t) = content_type { request.header(CONTENT_TYPE, t) } else { request };
        request.body(Full::from(body)).unwrap()
    }

    fn request(number: u64) -> Vec<u8> {
        encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number))
    }

    #[test]
    fn o12_get_and_post_say_the_same_under_every_base() {
        let service = service();
        let encoded = get_path::encode(&request(5));
        let (head, body) = ask(&service, get(&format!("/{encoded}")));
        assert_eq!((head.status(), &head.headers()[CONTENT_TYPE]), (StatusCode::OK, &HeaderValue::from_static(OCSP_RESPONSE)));
        assert!(body.len() > 200);
        for path in [format!("/ocsp/{encoded}"), format!("/ocsp/test/{encoded}"), format!("//{encoded}")] {
            assert_eq!(ask(&service, get(&path)).1, body, "{path}");
        }
        for path in ["/", "/ocsp", "/ocsp/test"] {
            for content_type in [None, Some("application/ocsp-request"), Some("Application/OCSP-Request; charset=utf-8")] {
                assert_eq!(ask(&service, post(path, content_type, request(5))).1, body, "{path}");
            }
        }
        assert_eq!(service.counters.get(Event::Good), 13);
        assert_eq!(ask(&service, get(&format!("/{}", get_path::encode(&request(testing::REVOKED))))).0.status(), 200);
        assert_eq!(service.counters.get(Event::Revoked), 1);
    }

    #[test]
    fn o13_an_answer_carries_its_times_and_a_conditional_get_is_304() {
        let service = service();
        let path = format!("/{}", get_path::encode(&request(5)));
        let (head, _) = ask(&service, get(&path));
        assert_eq!(head.headers()[LAST_MODIFIED], headers::http_date(time(testing::THIS_UPDATE))[..]);
        assert_eq!(head.headers()[EXPIRES], headers::http_date(time(testing::NEXT_UPDATE))[..]);
        assert_eq!(head.headers()[CACHE_CONTROL], "max-age=3600, public, no-transform, must-revalidate");
        let mut again = get(&path);
        again.headers_mut().insert(IF_NONE_MATCH, head.headers()[ETAG].clone());
        let (unmodified, body) = ask(&service, again);
        assert_eq!((unmodified.status(), body.len()), (StatusCode::NOT_MODIFIED, 0));
        for name in [ETAG, EXPIRES, LAST_MODIFIED, CACHE_CONTROL] {
            assert_eq!(unmodified.headers()[&name], head.headers()[&name]);
        }
        let mut posted = post("/", None, request(5));
        posted.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert_eq!(ask(&service, posted).0.status(), StatusCode::OK, "only a GET is conditional here");
    }

    #[test]
    fn o1_o13_errors_are_http_200_and_not_stored() {
        let service = service();
        let is = |request, status: ErrorStatus| {
            let (head, body) = ask(&service, request);
            assert_eq!((head.status(), &body[..]), (StatusCode::OK, status.response()));
            assert_eq!(
                (&head.headers()[CONTENT_TYPE], &head.headers()[CACHE_CONTROL]),
                (&HeaderValue::from_static(OCSP_RESPONSE), &NO_STORE)
            );
        };
        is(get("/M!!!"), ErrorStatus::MalformedRequest);
        is(get("/MAAA"), ErrorStatus::MalformedRequest);
        is(post("/", None, vec![]), ErrorStatus::MalformedRequest);
        is(post("/", None, request(1_000_000)), ErrorStatus::Unauthorized);
        is(post("/ocsp/other", None, request(5)), ErrorStatus::Unauthorized);
        let late = Service { clock: || time(testing::NEXT_UPDATE), ..service };
        let (_, body) = ask(&late, post("/", None, request(5)));
        assert_eq!(&body[..], ErrorStatus::TryLater.response());
        assert_eq!((late.counters.get(Event::TryLater), late.counters.get(Event::NotCurrent)), (1, 1));
        assert_eq!(ask(&late, get("/crl/test.crl")).0.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((late.counters.get(Event::CrlWithheld), late.counters.get(Event::Http503)), (1, 1));
    }

    #[test]
    fn what_is_not_for_us_gets_its_status_code() {
        let service = service();
        let status = |request| ask(&service, request).0.status().as_u16();
        assert_eq!(status(post("/", Some("text/plain"), request(5))), 415);
        assert_eq!(status(post("/", None, vec![0; MAX_REQUEST_BYTES + 1])), 413);
        assert_eq!(status(post("/elsewhere", None, request(5))), 404);
        assert_eq!(status(get("/favicon.ico")), 404);
        assert_eq!(status(get("/crl/other.crl")), 404);
        assert_eq!(status(get("/")), 200);
        let (head, _) = ask(&service, Request::delete("/").body(Full::default()).unwrap());
        assert_eq!((head.status().as_u16(), &head.headers()[ALLOW]), (405, &ALL_METHODS));
        for (path, allowed) in [("/", ALL_METHODS), ("/ocsp", ALL_METHODS), ("*", ALL_METHODS), ("/crl/test.crl", READING_METHODS)] {
            let (head, body) = ask(&service, Request::options(path).body(Full::default()).unwrap());
            assert_eq!((head.status().as_u16(), &head.headers()[ALLOW], body.len()), (204, &allowed, 0), "{path}");
        }
        let (head, _) = ask(&service, post("/crl/test.crl", None, vec![]));
        assert_eq!((head.status().as_u16(), &head.headers()[ALLOW]), (405, &READING_METHODS));
    }

    #[test]
    fn c10_crls_and_ca_certificates_are_served() {
        let service = service();
        for (path, content_type) in [
            ("/crl/test.crl", "application/pkix-crl"),
            ("/crl/test/1.crl", "application/pkix-crl"),
            ("/ca/test.cer", "application/pkix-cert"),
        ] {
            let (head, body) = ask(&service, get(path));
            assert_eq!((head.status(), &head.headers()[CONTENT_TYPE]), (StatusCode::OK, &HeaderValue::from_static(content_type)));
            assert!(!body.is_empty());
        }
        assert_eq!((service.counters.get(Event::Crl), service.counters.get(Event::CaCertificate)), (2, 1));
    }
}
