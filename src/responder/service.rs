//! HTTP around the answers: methods, status codes, bodies read within bounds. Owns no socket and no thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::pki::Timestamp;
use crate::pki::ocsp_request::{MAX_REQUEST_BYTES, MalformedRequest, OcspRequest};
use crate::pki::ocsp_response::ErrorStatus;

use super::content::Content;
use super::counters::{Event, ThreadCounters};
use super::documents::DocumentKind;
use super::get_path::{self, Buffer};
use super::headers::{self, ETag, NO_STORE, Validity};
use super::live::{Kinds, Lane};
use super::ocsp::{Definitive, Refusal, Search};
use super::route::{GetRoute, PostRoute};
use super::status_map::StatusMap;

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
    live: Option<Arc<Lane>>,
    /// What may be for the live lane: nothing where there is none.
    live_kinds: Kinds,
}

/// What there is to say to a request without waiting.
pub(super) enum Answer<'a> {
    /// A signed response, which was appended to the body.
    Definitive(Definitive),
    /// A refusal.
    Refused(Refusal),
    /// Perhaps something, after the live lane was asked.
    Live(OcspRequest<'a>),
}

pub(super) const OCSP_RESPONSE: &str = "application/ocsp-response";
const ALL_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
const READING_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const GREETING: &str = "Kakunin validation authority: OCSP by GET or POST here, CRLs under /crl/, CA certificates under /ca/.\n";

impl Service {
    /// Serves `content`, telling the time by `clock` and counting in `counters`, which belong to the calling thread.
    pub fn new(content: Arc<Content>, counters: Arc<ThreadCounters>, limits: Limits, clock: fn() -> Timestamp) -> Service {
        Service { content, counters, limits, clock, live: None, live_kinds: Kinds::default() }
    }

    /// Asks this lane what no pre-signed response answers.
    pub fn with_live(self, lane: Option<Arc<Lane>>) -> Service {
        Service { live_kinds: lane.as_ref().map(|lane| lane.kinds()).unwrap_or_default(), live: lane, ..self }
    }

    /// The response to any request.
    pub async fn respond<B: Body<Data = Bytes> + Unpin>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let response = match *request.method() {
            Method::GET | Method::HEAD => self.get(request.method(), request.uri().path(), request.headers()).await,
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

    pub(super) fn status(&self) -> &StatusMap {
        &self.content.status
    }

    pub(super) fn has_issuer(&self, name: &str) -> bool {
        self.content.status.directory().has_issuer(name)
    }

    async fn get(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match GetRoute::of(path, |name| self.has_issuer(name)) {
            GetRoute::Ocsp { issuer, encoded } => match get_path::decode(encoded, &mut Buffer::default()) {
                Ok(request) => self.ocsp(request, issuer, headers, true).await,
                Err(_) => {
                    self.count_refusal(Refusal::Malformed);
                    refused(ErrorStatus::MalformedRequest)
                }
            },
            GetRoute::Document(path) => self.document(method, path, headers),
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
            Ok(Ok(request)) => return self.ocsp(&request, issuer, &head.headers, false).await,
            Ok(Err(BodyError::TooLong)) => StatusCode::PAYLOAD_TOO_LARGE,
            Ok(Err(BodyError::Broken)) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        };
        let mut response = text(status, "");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// `conditional`: the request is a GET, which its headers may make conditional.
    async fn ocsp(&self, request: &[u8], issuer: Option<&str>, headers: &HeaderMap, conditional: bool) -> Response<Full<Bytes>> {
        let (now, mut body) = (self.now(), Vec::new());
        match (self.answer(request, issuer, now, &mut body), &self.live) {
            (Answer::Live(request), Some(lane)) => self.respond_live(lane, request, issuer, headers, conditional).await,
            (Answer::Definitive(definitive), _) => self.definitive(&definitive, body, now, conditional.then_some(headers)),
            (Answer::Refused(refusal), _) => refused(refusal.status()),
            (Answer::Live(request), None) => self.respond_pre_signed(&request, issuer, now, conditional.then_some(headers)),
        }
    }

    /// The pre-signed response, or the refusal in its place.
    pub(super) fn respond_pre_signed(
        &self,
        request: &OcspRequest<'_>,
        issuer: Option<&str>,
        now: Timestamp,
        conditional: Option<&HeaderMap>,
    ) -> Response<Full<Bytes>> {
        let mut body = Vec::new();
        match self.answer_pre_signed(request, issuer, now, &mut body) {
            Ok(definitive) => {
                self.count_definitive(&definitive);
                self.definitive(&definitive, body, now, conditional)
            }
            Err(refusal) => {
                self.count_refusal(refusal);
                refused(refusal.status())
            }
        }
    }

    /// A pre-signed response; `conditional`: the headers of a GET.
    pub(super) fn definitive(
        &self,
        definitive: &Definitive,
        body: Vec<u8>,
        now: Timestamp,
        conditional: Option<&HeaderMap>,
    ) -> Response<Full<Bytes>> {
        self.stored(&validity(definitive), &ETag::strong(&definitive.tag), body.into(), now, conditional)
    }

    /// A signed response that caches may keep.
    pub(super) fn stored(
        &self,
        validity: &Validity,
        etag: &ETag,
        body: Bytes,
        now: Timestamp,
        conditional: Option<&HeaderMap>,
    ) -> Response<Full<Bytes>> {
        let unmodified =
            conditional.is_some_and(|request| headers::is_unmodified(headers::conditions(request), etag, validity.this_update));
        let mut response = if unmodified {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            ocsp_response(body)
        };
        validity.write(response.headers_mut(), etag, now, self.limits.max_cache_age);
        response
    }

    /// Appends the signed response, or nothing, and counts either; counts nothing of what is left to the live lane.
    pub(super) fn answer<'a>(&self, request: &'a [u8], issuer: Option<&str>, now: Timestamp, body: &mut Vec<u8>) -> Answer<'a> {
        match OcspRequest::from_der(request) {
            Ok(request) => self.conclude(Search::begin(request, &self.status().directory()), issuer, now, body),
            Err(MalformedRequest) => self.malformed(),
        }
    }

    /// The answer to what is not an OCSP request.
    pub(super) fn malformed<'a>(&self) -> Answer<'a> {
        self.count_refusal(Refusal::Malformed);
        Answer::Refused(Refusal::Malformed)
    }

    /// The same for a request that was read and is being searched for.
    pub(super) fn conclude<'a>(&self, search: Search<'a, '_>, issuer: Option<&str>, now: Timestamp, body: &mut Vec<u8>) -> Answer<'a> {
        let request = search.request;
        if self.live_kinds.claim(&request) {
            return Answer::Live(request);
        }
        match search.answer(issuer, now, body) {
            Ok(definitive) => {
                self.count_definitive(&definitive);
                Answer::Definitive(definitive)
            }
            Err(refusal) if self.live_kinds.may_answer(&request, refusal) => Answer::Live(request),
            Err(refusal) => {
                self.count_refusal(refusal);
                Answer::Refused(refusal)
            }
        }
    }

    pub(super) fn answer_pre_signed(
        &self,
        request: &OcspRequest<'_>,
        issuer: Option<&str>,
        now: Timestamp,
        body: &mut Vec<u8>,
    ) -> Result<Definitive, Refusal> {
        Search::begin(*request, &self.status().directory()).answer(issuer, now, body)
    }

    pub(super) fn count_definitive(&self, definitive: &Definitive) {
        self.count(if definitive.revoked { Event::Revoked } else { Event::Good });
    }

    pub(super) fn count_refusal(&self, refusal: Refusal) {
        let events: &[Event] = match refusal {
            Refusal::Malformed => &[Event::MalformedRequest],
            Refusal::Unauthorized => &[Event::Unauthorized],
            Refusal::UnusedSerial => &[Event::Unauthorized, Event::UnusedSerial],
            Refusal::NotLoaded => &[Event::TryLater, Event::NotLoaded],
            Refusal::NotCurrent => &[Event::TryLater, Event::NotCurrent],
        };
        events.iter().for_each(|event| self.count(*event));
    }

    fn document(&self, method: &Method, path: &str, conditions: &HeaderMap) -> Response<Full<Bytes>> {
        let Some(document) = self.content.documents.get(path) else {
            return text(StatusCode::NOT_FOUND, "Nothing here.\n");
        };
        let response = document.respond(method, conditions, self.now(), self.limits.max_cache_age);
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
pub(super) fn refused(status: ErrorStatus) -> Response<Full<Bytes>> {
    not_stored(Bytes::from_static(status.response()))
}

/// An OCSP response for no cache to keep.
pub(super) fn not_stored(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = ocsp_response(body);
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
mod tests;
