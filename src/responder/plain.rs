//! Plain requests of HTTP/1.1, from octets to octets: an OCSP GET or POST that lies whole in the buffer and asks for nothing unusual. Pure but for counting;
//! owns no socket.
//!
//! This is nearly all that a responder is ever asked, and the reason why it costs no more than a static file. Whatever else a client may send, malformed
//! or only rare, is not understood here and is left for [`Service::respond`], which knows all of HTTP; both say the same to the same request.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use crate::pki::Timestamp;
use crate::pki::ocsp_request::MAX_REQUEST_BYTES;

use super::counters::Event;
use super::get_path::{self, Buffer};
use super::headers::{self, ETag};
use super::plain_head::Head;
use super::route::{GetRoute, PostRoute};
use super::service::{Answer, Service, is_ocsp_request};

/// More headers than OCSP clients and proxies send.
const MAX_HEADERS: usize = 32;
/// A request whose headers are longer is not plain.
pub const MAX_HEAD_BYTES: usize = 8192;
/// No further request is answered while so many octets are waiting to be sent.
pub const MAX_WAITING_BYTES: usize = 16 * 1024;

/// How a buffer of requests was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Octets at the beginning of the buffer that are answered.
    pub consumed: usize,
    /// What is to be done about the rest.
    pub next: Next,
}

/// What comes after the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The rest is the beginning of a request, or nothing: it takes more octets to tell.
    Read,
    /// The rest may hold a whole request: send what is waiting, and come again.
    Again,
    /// The connection ends with the last answer.
    Close,
    /// The rest begins with something that is not plain.
    NotPlain,
}

/// What a buffer begins with.
enum Reading<'b> {
    Partial,
    NotPlain,
    Plain(Plain<'b>),
}

/// A request that can be answered here, of `length` octets.
struct Plain<'b> {
    path: &'b str,
    asked: Asked<'b>,
    close: bool,
    length: usize,
}

enum Asked<'b> {
    Get(Conditions<'b>),
    Post(&'b [u8]),
}

#[derive(Clone, Copy, Default)]
struct Conditions<'b> {
    none_match: Option<&'b [u8]>,
    modified_since: Option<&'b [u8]>,
}

/// The headers of a request that matter.
#[derive(Default)]
struct Asking<'b> {
    content_length: Option<usize>,
    content_type: Option<&'b [u8]>,
    conditions: Conditions<'b>,
    close: bool,
}

impl Service {
    /// Answers the plain requests that `input` begins with, at most `left` of them (and takes them off it), by appending to `output`.
    pub fn answer_plain(&self, input: &[u8], output: &mut Vec<u8>, body: &mut Vec<u8>, left: &mut u32) -> Progress {
        let (now, mut consumed) = (self.now(), 0);
        loop {
            let next = match read(&input[consumed..]) {
                Reading::Partial => Next::Read,
                Reading::NotPlain => Next::NotPlain,
                Reading::Plain(mut request) => {
                    request.close |= *left <= 1;
                    if !self.respond_plain(&request, now, output, body) {
                        Next::NotPlain
                    } else {
                        *left -= 1;
                        consumed += request.length;
                        match output.len() >= MAX_WAITING_BYTES {
                            _ if request.close => Next::Close,
                            true => Next::Again,
                            false => continue,
                        }
                    }
                }
            };
            return Progress { consumed, next };
        }
    }

    /// `false`, and nothing is done, where the path is not that of an OCSP request, or the request may be for the live lane, which takes waiting.
    fn respond_plain(&self, request: &Plain<'_>, now: Timestamp, output: &mut Vec<u8>, body: &mut Vec<u8>) -> bool {
        let mut buffer = Buffer::default();
        let (der, issuer, conditions) = match request.asked {
            Asked::Get(conditions) => match GetRoute::of(request.path, |name| self.has_issuer(name)) {
                GetRoute::Ocsp { issuer, encoded } => match get_path::decode(encoded, &mut buffer) {
                    Ok(der) => (der, issuer, conditions),
                    Err(_) => return false,
                },
                _ => return false,
            },
            Asked::Post(der) => match PostRoute::of(request.path) {
                PostRoute::Ocsp(issuer) => (der, issuer, Conditions::default()),
                _ => return false,
            },
        };
        if issuer.is_some_and(|name| !is_plain_name(name)) {
            return false;
        }
        body.clear();
        let answer = self.answer(der, issuer, now, body);
        let head = Head { now, close: request.close, cap: self.limits().max_cache_age };
        match answer {
            Answer::Live(_) => return false,
            Answer::Definitive(definitive)
                if headers::is_unmodified(conditions.all(), &ETag::strong(&definitive.tag), definitive.this_update) =>
            {
                self.count(Event::Http304);
                head.not_modified(output, &definitive);
                return true;
            }
            Answer::Definitive(definitive) => head.definitive(output, &definitive, body.len()),
            Answer::Refused(refusal) => {
                body.extend_from_slice(refusal.status().response());
                head.refused(output, body.len());
            }
        }
        self.count(Event::Http200);
        output.extend_from_slice(body);
        true
    }
}

impl<'b> Conditions<'b> {
    fn all(self) -> (impl Iterator<Item = &'b [u8]>, Option<&'b [u8]>) {
        (self.none_match.into_iter(), self.modified_since)
    }
}

/// Reads the request that `input` begins with.
fn read(input: &[u8]) -> Reading<'_> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let head_length = match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD_BYTES => return Reading::Partial,
        _ => return Reading::NotPlain,
    };
    let (Some(method), Some(path), Some(1)) = (request.method, request.path, request.version) else { return Reading::NotPlain };
    if !path.starts_with('/') {
        return Reading::NotPlain;
    }
    let Some(head) = Asking::read(request.headers) else { return Reading::NotPlain };
    let (asked, body_length) = match (method, head.content_length) {
        ("GET", None) => (Asked::Get(head.conditions), 0),
        ("POST", Some(length)) if length <= MAX_REQUEST_BYTES && is_ocsp_request(head.content_type) => {
            // A body that comes later has a time of its own to come in, which is not watched here.
            let Some(body) = input.get(head_length..head_length + length) else { return Reading::NotPlain };
            (Asked::Post(body), length)
        }
        _ => return Reading::NotPlain,
    };
    Reading::Plain(Plain { path, asked, close: head.close, length: head_length + body_length })
}

impl<'b> Asking<'b> {
    /// `None` where a header changes how the request is to be read, or says again what was said.
    fn read(headers: &[Header<'b>]) -> Option<Asking<'b>> {
        let mut asking = Asking::default();
        for Header { name, value } in headers {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            match name.len() {
                6 if is("expect") => return None,
                7 if is("upgrade") => return None,
                10 if is("connection") => match value {
                    value if value.eq_ignore_ascii_case(b"close") => asking.close = true,
                    value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                    _ => return None,
                },
                12 if is("content-type") => once(&mut asking.content_type, value)?,
                13 if is("if-none-match") => once(&mut asking.conditions.none_match, value)?,
                14 if is("content-length") => once(&mut asking.content_length, number(value)?)?,
                17 if is("if-modified-since") => once(&mut asking.conditions.modified_since, value)?,
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        Some(asking)
    }
}

/// Whether all characters of a name may stand in a path as they are (RFC 3986 2.3). The rest of the path is base64 where it is that of an OCSP request.
fn is_plain_name(name: &str) -> bool {
    name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet))
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Up to nine digits.
fn number(digits: &[u8]) -> Option<usize> {
    let valid = (1..10).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
