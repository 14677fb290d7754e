//! HTTP, from what a client sends to what it is sent.
//!
//! The plain lane is held against hyper with the service behind it, which must find the same requests in the same octets and say the same to each; whatever
//! is cut off changes nothing before it, and what waits to be sent stays within its bound. The first request that is not plain is given to the service alone.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use httparse::Status;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kakunin::pki::Timestamp;
use kakunin::responder::ocsp::Refusal;
use kakunin::responder::plain::{MAX_HEAD_BYTES, MAX_WAITING_BYTES, Next, Progress};
use kakunin::responder::service::Service;
use kakunin::responder::{Limits, ThreadCounters, get_path};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use super::answer::expected;
use super::http_reply::Reply;
use super::world::{ISSUERS, Signed, TIMES, WORLD, time};

/// The longest path that is asked again by GET: hyper's own limit is below 64 KiB.
const LONGEST_PATH: usize = 60_000;
/// More than any response of this world.
const LONGEST_RESPONSE: usize = 2048;
/// What hyper may be behind with. More than is ever sent here.
const PIPE_BYTES: usize = 1 << 20;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static SERVER: RefCell<(Runtime, Service)> = RefCell::new(server());
}

/// A request, read.
#[derive(Debug)]
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the plain lane did.
struct Turn {
    progress: Progress,
    output: Vec<u8>,
    left: u32,
}

fn server() -> (Runtime, Service) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let service = Service::new(Arc::clone(&WORLD.content), Arc::<ThreadCounters>::default(), Limits::default(), || time(NOW.get()));
    (runtime, service)
}

/// One input: an octet that chooses the time (low three bits) and how many requests the connection may have (the others), and what a client sends.
pub fn check(input: &[u8]) {
    let Some((choice, sent)) = input.split_first() else { return };
    let now = time(TIMES[usize::from(choice & 7)]);
    NOW.set(now.unix());
    let most = 1 + u32::from(choice >> 3);
    let turn = plainly(sent, most);
    is_within_bounds(&turn, sent, most);
    ends_the_same_where_it_is_cut(&turn, sent, most);

    let replies = replies(&turn.output);
    assert_eq!(replies.len() as u32, most - turn.left);
    let mut rest = sent;
    for reply in &replies {
        let (asked, length) = read(rest).expect("what was answered is a request");
        asked.is_answered_well(reply, now);
        rest = &rest[length..];
    }
    assert_eq!(sent.len() - rest.len(), turn.progress.consumed);
    if !replies.is_empty() {
        assert_eq!(replies, self::replies(&by_hyper(&sent[..turn.progress.consumed], most)));
    }
    if let Some((asked, _)) = read(rest) {
        asked.is_answered_well(&asked.send(), now);
    }
}

fn plainly(sent: &[u8], most: u32) -> Turn {
    let (mut output, mut body, mut left) = (Vec::new(), Vec::new(), most);
    let progress = SERVER.with_borrow(|(_, service)| service.answer_plain(sent, &mut output, &mut body, &mut left));
    Turn { progress, output, left }
}

fn is_within_bounds(turn: &Turn, sent: &[u8], most: u32) {
    let Progress { consumed, next } = turn.progress;
    assert!(consumed <= sent.len() && turn.left <= most && turn.output.len() < MAX_WAITING_BYTES + LONGEST_RESPONSE);
    match next {
        Next::Read => assert!(sent.len() - consumed < MAX_HEAD_BYTES, "no buffer grows without an end"),
        Next::Again => assert!(consumed > 0 && turn.left > 0 && turn.output.len() >= MAX_WAITING_BYTES),
        Next::Close => assert!(consumed > 0),
        Next::NotPlain => assert!(turn.left > 0 && consumed < sent.len()),
    }
    assert!(turn.left > 0 || next == Next::Close);
}

/// What has come so far is answered as it is with all the rest behind it.
fn ends_the_same_where_it_is_cut(whole: &Turn, sent: &[u8], most: u32) {
    let cut = xxh3_64(sent) as usize % (sent.len() + 1);
    let part = plainly(&sent[..cut], most);
    assert!(part.progress.consumed <= whole.progress.consumed && whole.output.starts_with(&part.output));
    assert!(cut < whole.progress.consumed || part.progress.consumed == whole.progress.consumed);
}

fn replies(mut octets: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !octets.is_empty() {
        replies.push(Reply::take(&mut octets));
    }
    replies
}

/// What hyper and the service answer on a connection that may have `most` requests.
fn by_hyper(sent: &[u8], most: u32) -> Vec<u8> {
    SERVER.with_borrow(|(runtime, service)| {
        let left = AtomicU32::new(most);
        let answer = service_fn(|request| {
            let left = &left;
            async move {
                let mut response = service.respond(request).await;
                if left.fetch_sub(1, Relaxed) <= 1 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        runtime.block_on(async {
            let (mut client, server) = duplex(PIPE_BYTES);
            client.write_all(sent).await.expect("room for it");
            client.shutdown().await.expect("a pipe");
            let mut http = http1::Builder::new();
            let connection = http.half_close(true).header_read_timeout(None).serve_connection(TokioIo::new(server), answer);
            let mut received = Vec::new();
            let (served, read) = tokio::join!(connection, client.read_to_end(&mut received));
            assert!(served.is_ok() && read.is_ok(), "{served:?}, {read:?}");
            received
        })
    })
}

/// The request that `sent` begins with, and its length: a body that is not announced by Content-Length is none here.
fn read(sent: &[u8]) -> Option<(Asked, usize)> {
    let mut lines = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut lines);
    let Ok(Status::Complete(head)) = request.parse(sent) else { return None };
    let mut headers = HeaderMap::new();
    let mut body_length = 0;
    for line in request.headers.iter() {
        headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?);
        if line.name.eq_ignore_ascii_case("content-length") {
            body_length = std::str::from_utf8(line.value).ok()?.parse().ok()?;
        }
    }
    let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    let end = head.checked_add(body_length)?;
    let body = Bytes::copy_from_slice(sent.get(head..end)?);
    Some((Asked { method, uri: Uri::try_from(request.path?).ok()?, headers, body }, end))
}

impl Asked {
    fn send(&self) -> Reply {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let response = SERVER.with_borrow(|(runtime, service)| {
            runtime.block_on(async {
                let (head, body) = service.respond(request).await.into_parts();
                (head, body.collect().await.expect("a body in memory").to_bytes())
            })
        });
        Reply { status: response.0.status, headers: response.0.headers, body: response.1 }
    }

    fn is_answered_well(&self, reply: &Reply, now: Timestamp) {
        reply.is_well_formed(self, now);
        if self.method == Method::POST && reply.status == StatusCode::OK {
            self.answers_the_same_by_get(reply, now);
        }
    }

    fn answers_the_same_by_get(&self, reply: &Reply, now: Timestamp) {
        let base = self.uri.path().trim_matches('/');
        let name = base.strip_prefix("ocsp/");
        assert_eq!(body(expected(&self.body, name, now)), &reply.body[..]);
        let path = format!("{}/{}", self.uri.path().trim_end_matches('/'), get_path::encode(&self.body));
        // An unknown name that begins like a request is taken for the beginning of one: the answer is another error then.
        let is_a_name = name.is_none_or(|name| !name.starts_with(['M', '%']) || ISSUERS.iter().any(|issuer| issuer.name == name));
        if self.body.first() == Some(&0x30) && path.len() <= LONGEST_PATH && is_a_name {
            let uri = Uri::try_from(path).expect("a proper path");
            let again = Asked { method: Method::GET, uri, headers: HeaderMap::new(), body: Bytes::new() }.send();
            assert_eq!((again.status, &again.body), (StatusCode::OK, &reply.body), "{:?}", self.uri);
        }
    }
}

/// What is sent for an answer.
fn body(answer: Result<&'static Signed, Refusal>) -> &'static [u8] {
    match answer {
        Ok(signed) => &signed.body,
        Err(refusal) => refusal.status().response(),
    }
}
