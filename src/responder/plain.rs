//! Plain requests of HTTP/1.1, from octets to octets: an OCSP GET or POST that lies whole in the buffer and asks for nothing unusual. Pure but for counting;
//! owns no socket.
//!
//! This is nearly all that a responder is ever asked, and the reason why it costs no more than a static file. Whatever else a client may send, malformed
//! or only rare, is not understood here and is left for [`Service::respond`], which knows all of HTTP; both say the same to the same request.

use httparse::{Header, Status};

use crate::pki::Timestamp;
use crate::pki::ocsp_request::{MAX_REQUEST_BYTES, MalformedRequest, OcspRequest};

use super::counters::Event;
use super::get_path::{self, Buffer, NotBase64};
use super::headers::{self, ETag};
use super::ocsp::Search;
use super::plain_head::Head;
use super::route::{GetRoute, PostRoute};
use super::service::{Answer, Service, is_ocsp_request};
use super::status_map::Directory;

/// More headers than OCSP clients and proxies send.
const MAX_HEADERS: usize = 32;
/// A request whose headers are longer is not plain.
pub const MAX_HEAD_BYTES: usize = 8192;
/// What follows the path in a request line.
const VERSION: &[u8] = b" HTTP/1.1\r\n";
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

/// Why a buffer does not begin with a plain request.
enum Unread {
    Partial,
    NotPlain,
}

/// A request that was answered, of `length` octets; with `close` it is the last one.
struct Answered {
    length: usize,
    close: bool,
}

/// A request line of `length` octets.
struct Line<'b> {
    method: Method,
    path: &'b str,
    length: usize,
}

#[derive(Clone, Copy)]
enum Method {
    Get,
    Post,
}

/// What the requests of one turn share.
struct Turn<'t> {
    now: Timestamp,
    directory: &'t Directory,
    /// Whether the connection ends with the next answer, whatever its request says.
    last: bool,
    output: &'t mut Vec<u8>,
    body: &'t mut Vec<u8>,
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
        let (directory, mut consumed) = (self.status().directory(), 0);
        let mut turn = Turn { now: self.now(), directory: &directory, last: false, output, body };
        loop {
            turn.last = *left <= 1;
            let next = match self.answer_first(&input[consumed..], &mut turn) {
                Err(Unread::Partial) => Next::Read,
                Err(Unread::NotPlain) => Next::NotPlain,
                Ok(Answered { length, close }) => {
                    *left -= 1;
                    consumed += length;
                    match turn.output.len() >= MAX_WAITING_BYTES {
                        _ if close => Next::Close,
                        true => Next::Again,
                        false => continue,
                    }
                }
            };
            return Progress { consumed, next };
        }
    }

    /// Answers the request that `input` begins with. Where it is not plain, nothing is done.
    fn answer_first(&self, input: &[u8], turn: &mut Turn<'_>) -> Result<Answered, Unread> {
        let line = Line::read(input)?;
        match line.method {
            Method::Get => self.answer_get(&line, input, turn),
            Method::Post => self.answer_post(&line, input, turn),
        }
    }

    /// The path alone says what is asked: while the headers are read, memory brings the answer. (Without that, two waits for memory were a third of what
    /// a request takes outside of the kernel.)
    fn answer_get(&self, line: &Line<'_>, input: &[u8], turn: &mut Turn<'_>) -> Result<Answered, Unread> {
        let GetRoute::Ocsp { issuer, encoded } = GetRoute::of(line.path, |name| turn.directory.has_issuer(name)) else {
            return Err(Unread::NotPlain);
        };
        let mut buffer = Buffer::default();
        let der = get_path::decode(encoded, &mut buffer).map_err(|NotBase64| Unread::NotPlain)?;
        let search = OcspRequest::from_der(der).map(|request| Search::begin(request, turn.directory));
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let (headers, length) = read_headers(input, line.length, &mut headers)?;
        if let Ok(search) = &search {
            search.approach();
        }
        let asking = Asking::read(headers).filter(|asking| asking.content_length.is_none()).ok_or(Unread::NotPlain)?;
        self.answer_asked(search, issuer, &asking, turn)?;
        Ok(Answered { length, close: asking.close || turn.last })
    }

    fn answer_post(&self, line: &Line<'_>, input: &[u8], turn: &mut Turn<'_>) -> Result<Answered, Unread> {
        let PostRoute::Ocsp(issuer) = PostRoute::of(line.path) else { return Err(Unread::NotPlain) };
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let (headers, head_length) = read_headers(input, line.length, &mut headers)?;
        let mut asking = Asking::read(headers).ok_or(Unread::NotPlain)?;
        let length = asking.content_length.filter(|length| *length <= MAX_REQUEST_BYTES).ok_or(Unread::NotPlain)?;
        // A body that comes later has a time of its own to come in, which is not watched here.
        let body = input.get(head_length..head_length + length).filter(|_| is_ocsp_request(asking.content_type)).ok_or(Unread::NotPlain)?;
        let search = OcspRequest::from_der(body).map(|request| Search::begin(request, turn.directory));
        // What a GET makes conditional says nothing in a POST.
        asking.conditions = Conditions::default();
        self.answer_asked(search, issuer, &asking, turn)?;
        Ok(Answered { length: head_length + length, close: asking.close || turn.last })
    }

    /// Not plain, and nothing is done, where the request may be for the live lane, which takes waiting.
    fn answer_asked(
        &self,
        search: Result<Search<'_, '_>, MalformedRequest>,
        issuer: Option<&str>,
        asking: &Asking<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Unread> {
        if issuer.is_some_and(|name| !is_plain_name(name)) {
            return Err(Unread::NotPlain);
        }
        let Turn { now, last, output, body, .. } = turn;
        body.clear();
        let answer = match search {
            Ok(search) => self.conclude(search, issuer, *now, body),
            Err(MalformedRequest) => self.malformed(),
        };
        let head = Head { now: *now, close: asking.close || *last, cap: self.limits().max_cache_age };
        match answer {
            Answer::Live(_) => return Err(Unread::NotPlain),
            Answer::Definitive(definitive)
                if headers::is_unmodified(asking.conditions.all(), &ETag::strong(&definitive.tag), definitive.this_update) =>
            {
                self.count(Event::Http304);
                head.not_modified(output, &definitive);
                return Ok(());
            }
            Answer::Definitive(definitive) => head.definitive(output, &definitive, body.len()),
            Answer::Refused(refusal) => {
                body.extend_from_slice(refusal.status().response());
                head.refused(output, body.len());
            }
        }
        self.count(Event::Http200);
        output.extend_from_slice(body);
        Ok(())
    }
}

impl<'b> Line<'b> {
    fn read(input: &'b [u8]) -> Result<Line<'b>, Unread> {
        let (method, begun) = match input {
            [b'G', b'E', b'T', b' ', ..] => (Method::Get, 4),
            [b'P', b'O', b'S', b'T', b' ', ..] => (Method::Post, 5),
            _ if b"GET ".starts_with(input) || b"POST ".starts_with(input) => return Err(Unread::Partial),
            _ => return Err(Unread::NotPlain),
        };
        let rest = &input[begun..input.len().min(MAX_HEAD_BYTES)];
        let end = graphic_length(rest);
        let (path, version) = rest.split_at(end);
        if !version.starts_with(VERSION) {
            let may_follow = VERSION.starts_with(version) && input.len() < MAX_HEAD_BYTES;
            return Err(if may_follow { Unread::Partial } else { Unread::NotPlain });
        }
        let path = str::from_utf8(path).ok().filter(|path| path.starts_with('/')).ok_or(Unread::NotPlain)?;
        Ok(Line { method, path, length: begun + end + VERSION.len() })
    }
}

/// How many visible characters come first: sixteen at a time, and then one by one.
fn graphic_length(octets: &[u8]) -> usize {
    let is_graphic = |chunk: &&[u8]| chunk.iter().fold(true, |all, octet| all & octet.is_ascii_graphic());
    let whole = 16 * octets.chunks_exact(16).take_while(is_graphic).count();
    whole + octets[whole..].iter().take_while(|octet| octet.is_ascii_graphic()).count()
}

/// The headers behind a request line of `line` octets, and the length of both with the empty line.
fn read_headers<'h, 'b>(
    input: &'b [u8],
    line: usize,
    headers: &'h mut [Header<'b>; MAX_HEADERS],
) -> Result<(&'h [Header<'b>], usize), Unread> {
    match httparse::parse_headers(&input[line..], headers) {
        Ok(Status::Complete((length, headers))) => Ok((headers, line + length)),
        Ok(Status::Partial) if input.len() < MAX_HEAD_BYTES => Err(Unread::Partial),
        _ => Err(Unread::NotPlain),
    }
}

impl<'b> Conditions<'b> {
    fn all(self) -> (impl Iterator<Item = &'b [u8]>, Option<&'b [u8]>) {
        (self.none_match.into_iter(), self.modified_since)
    }
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
