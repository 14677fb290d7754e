//! Reading answers of HTTP/1.0 and HTTP/1.1 off a stream, without I/O: Content-Length, chunked, or until the connection closes.
//!
//! An answer that lies whole in what was read is not copied.

/// Octets of a head at most.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Octets of a body that are kept where nobody needs all of it: more than any OCSP response has.
const KEPT_BYTES: usize = 64 << 10;
/// Octets of a body at most.
pub const MAX_BODY_BYTES: u64 = 1 << 30;
/// Header fields at most.
const MAX_FIELDS: usize = 64;

/// Not an answer of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of HTTP/1")]
pub struct NotHttp;

/// An answer, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// Status line and header fields.
    pub head: &'a [u8],
    /// The body; of a great one its beginning, unless all of it was asked for.
    pub body: &'a [u8],
    /// Octets of the whole body.
    pub octets: u64,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Head,
    /// So many octets are to come.
    Length(u64),
    /// The line with the size of the next chunk is to come, of which so many octets are kept aside.
    ChunkSize,
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Lines up to an empty one.
    Trailer,
    UntilClosed,
    Done,
}

/// Where the reading of one connection stands.
#[derive(Debug, Default)]
pub struct Reader {
    /// Octets that could not be used yet, then head and body of an answer that came in pieces.
    kept: Vec<u8>,
    line: Vec<u8>,
    head: usize,
    status: u16,
    closes: bool,
    octets: u64,
    phase: Phase,
}

/// A head, as far as its framing goes.
struct Head {
    length: usize,
    status: u16,
    closes: bool,
    phase: Phase,
}

impl Reader {
    /// Ready for the next connection.
    pub fn reset(&mut self) {
        self.kept.clear();
        self.line.clear();
        (self.octets, self.phase) = (0, Phase::Head);
    }

    /// Whether nothing of an answer has come yet.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Head && self.kept.is_empty()
    }

    /// Takes octets from the front of `input` and hands the next answer over, once it is whole. `all` says that the whole body will be looked at.
    ///
    /// # Errors
    ///
    /// What is not HTTP/1, or is beyond the bounds.
    pub fn read<'r, 'i: 'r>(&'r mut self, input: &mut &'i [u8], all: bool) -> Result<Option<Reply<'r>>, NotHttp> {
        if self.phase == Phase::Done {
            self.reset();
        }
        if self.phase == Phase::Head && !self.kept.is_empty() {
            self.go_on_with_head(input)?;
        }
        // Any number of interim answers may come before the one that counts.
        while self.is_idle() && !input.is_empty() {
            let Some(head) = parse_head(input)? else {
                self.keep_head(input)?;
                return Ok(None);
            };
            if is_interim(head.status) {
                *input = &input[head.length..];
                continue;
            }
            // The whole answer is here: the way of nearly all of them.
            if let Phase::Length(length) = head.phase
                && let Ok(length) = usize::try_from(length)
                && input.len() - head.length >= length
            {
                let (answer, rest) = input.split_at(head.length + length);
                *input = rest;
                let (octets, closes, status) = (length as u64, head.closes, head.status);
                return Ok(Some(Reply { status, head: &answer[..head.length], body: &answer[head.length..], octets, closes }));
            }
            self.begin(head, input);
        }
        self.read_body(input, all)
    }

    /// The connection has been closed by the server: an answer without a length is whole now.
    pub fn closed(&mut self) -> Option<Reply<'_>> {
        if self.phase != Phase::UntilClosed {
            return None;
        }
        self.phase = Phase::Done;
        Some(self.reply())
    }

    fn keep_head(&mut self, input: &mut &[u8]) -> Result<(), NotHttp> {
        self.kept.extend_from_slice(input);
        *input = &[];
        if self.kept.len() > MAX_HEAD_BYTES { Err(NotHttp) } else { Ok(()) }
    }

    /// A head that came in pieces: what was kept of it with what is here.
    fn go_on_with_head(&mut self, input: &mut &[u8]) -> Result<(), NotHttp> {
        let before = self.kept.len();
        self.kept.extend_from_slice(&input[..input.len().min(MAX_HEAD_BYTES)]);
        let Some(head) = parse_head(&self.kept)? else {
            *input = &[];
            return if self.kept.len() > MAX_HEAD_BYTES { Err(NotHttp) } else { Ok(()) };
        };
        *input = &input[head.length - before..];
        self.kept.truncate(head.length);
        if is_interim(head.status) {
            self.kept.clear();
            return Ok(());
        }
        self.set(&head);
        Ok(())
    }

    fn begin(&mut self, head: Head, input: &mut &[u8]) {
        let (octets, rest) = input.split_at(head.length);
        self.kept.extend_from_slice(octets);
        *input = rest;
        self.set(&head);
    }

    fn set(&mut self, head: &Head) {
        (self.head, self.status, self.closes, self.phase) = (head.length, head.status, head.closes, head.phase);
    }

    fn read_body<'r, 'i: 'r>(&'r mut self, input: &mut &'i [u8], all: bool) -> Result<Option<Reply<'r>>, NotHttp> {
        loop {
            match self.phase {
                Phase::Head => return Ok(None),
                Phase::Length(0) | Phase::Done => {
                    self.phase = Phase::Done;
                    return Ok(Some(self.reply()));
                }
                _ if input.is_empty() => return Ok(None),
                Phase::Length(left) => self.phase = Phase::Length(self.take(input, left, all)?),
                Phase::UntilClosed => {
                    self.take(input, u64::MAX, all)?;
                }
                Phase::Chunk(left) => {
                    let left = self.take(input, left, all)?;
                    self.phase = if left == 0 { Phase::ChunkEnd } else { Phase::Chunk(left) };
                }
                Phase::ChunkSize | Phase::ChunkEnd | Phase::Trailer => self.read_line(input)?,
            }
        }
    }

    /// Takes up to `left` octets of the body, and returns how many are left.
    fn take(&mut self, input: &mut &[u8], left: u64, all: bool) -> Result<u64, NotHttp> {
        let length = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (octets, rest) = input.split_at(length);
        let room = if all { usize::MAX } else { (self.head + KEPT_BYTES).saturating_sub(self.kept.len()) };
        self.kept.extend_from_slice(&octets[..length.min(room)]);
        self.octets += length as u64;
        *input = rest;
        if self.octets > MAX_BODY_BYTES { Err(NotHttp) } else { Ok(left - length as u64) }
    }

    /// Takes what is there of a line of the chunked coding (RFC 9112 7.1), and goes on where it has ended.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<(), NotHttp> {
        let end = input.iter().position(|octet| *octet == b'\n');
        let (octets, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        self.line.extend_from_slice(octets);
        *input = rest;
        if self.line.len() > MAX_HEAD_BYTES {
            return Err(NotHttp);
        }
        if end.is_none() {
            return Ok(());
        }
        let is_empty = self.line.trim_ascii().is_empty();
        self.phase = match self.phase {
            Phase::ChunkEnd if is_empty => Phase::ChunkSize,
            Phase::Trailer if is_empty => Phase::Length(0),
            Phase::Trailer => Phase::Trailer,
            Phase::ChunkSize => match httparse::parse_chunk_size(&self.line) {
                Ok(httparse::Status::Complete((_, 0))) => Phase::Trailer,
                Ok(httparse::Status::Complete((_, length))) if length <= MAX_BODY_BYTES => Phase::Chunk(length),
                _ => return Err(NotHttp),
            },
            _ => return Err(NotHttp),
        };
        self.line.clear();
        Ok(())
    }

    fn reply(&self) -> Reply<'_> {
        let (head, body) = self.kept.split_at(self.head);
        Reply { status: self.status, head, body, octets: self.octets, closes: self.closes }
    }
}

fn is_interim(status: u16) -> bool {
    (100..200).contains(&status)
}

fn parse_head(octets: &[u8]) -> Result<Option<Head>, NotHttp> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(octets).map_err(|_| NotHttp)? else {
        return if octets.len() > MAX_HEAD_BYTES { Err(NotHttp) } else { Ok(None) };
    };
    let status = response.code.ok_or(NotHttp)?;
    let (mut body, mut chunked, mut closes) = (None, false, response.version == Some(0));
    for field in response.headers.iter() {
        // Told apart by their lengths first: there are many fields and few that matter.
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => body = Some(decimal(field.value)?),
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => chunked = field.value.eq_ignore_ascii_case(b"chunked"),
            10 if field.name.eq_ignore_ascii_case("connection") => {
                closes = field.value.eq_ignore_ascii_case(b"close") || (closes && !field.value.eq_ignore_ascii_case(b"keep-alive"));
            }
            _ => {}
        }
    }
    let phase = match body {
        _ if is_interim(status) || matches!(status, 204 | 304) => Phase::Length(0),
        _ if chunked => Phase::ChunkSize,
        Some(length) => Phase::Length(length),
        None => Phase::UntilClosed,
    };
    Ok(Some(Head { length, status, closes: closes || phase == Phase::UntilClosed, phase }))
}

fn decimal(value: &[u8]) -> Result<u64, NotHttp> {
    let digits = value.trim_ascii();
    let is_number = !digits.is_empty() && digits.len() <= 12 && digits.iter().all(u8::is_ascii_digit);
    let number = is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
    number.filter(|length| *length <= MAX_BODY_BYTES).ok_or(NotHttp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Status, body and whether the connection closes, of everything in the pieces.
    fn read_all(pieces: &[&[u8]], closed: bool) -> Result<Vec<(u16, Vec<u8>, bool)>, NotHttp> {
        let (mut reader, mut replies) = (Reader::default(), Vec::new());
        for piece in pieces {
            let mut input = *piece;
            while let Some(reply) = reader.read(&mut input, true)? {
                assert_eq!(reply.octets, reply.body.len() as u64);
                assert!(reply.head.starts_with(b"HTTP/1."));
                replies.push((reply.status, reply.body.to_vec(), reply.closes));
            }
            assert!(input.is_empty());
        }
        if closed {
            replies.extend(reader.closed().map(|reply| (reply.status, reply.body.to_vec(), reply.closes)));
        }
        Ok(replies)
    }

    const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nX: y\r\n\r\n\
        HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-length:  0\r\n\r\nHTTP/1.0 200 OK\r\nContent-type: x\r\n\r\nrest";

    fn wanted() -> Vec<(u16, Vec<u8>, bool)> {
        vec![
            (200, b"abc".to_vec(), false),
            (304, Vec::new(), false),
            (200, b"def".to_vec(), false),
            (200, Vec::new(), false),
            (200, b"rest".to_vec(), true),
        ]
    }

    #[test]
    fn every_framing_is_read() {
        assert_eq!(read_all(&[STREAM], true), Ok(wanted()));
    }

    #[test]
    fn an_answer_comes_whole_from_every_pair_of_pieces_and_from_single_octets() {
        for at in 0..STREAM.len() {
            let (first, second) = STREAM.split_at(at);
            assert_eq!(read_all(&[first, second], true), Ok(wanted()), "cut at {at}");
        }
        assert_eq!(read_all(&STREAM.chunks(1).collect::<Vec<_>>(), true), Ok(wanted()));
    }

    #[test]
    fn any_number_of_interim_answers_is_skipped() {
        let stream = [&b"HTTP/1.1 100 C\r\n\r\n".repeat(100_000)[..], b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"].concat();
        let wanted = Ok(vec![(200, b"x".to_vec(), false)]);
        assert_eq!(read_all(&[&stream], true), wanted);
        assert_eq!(read_all(&stream.chunks(7).collect::<Vec<_>>(), true), wanted);
    }

    #[test]
    fn of_a_great_body_only_the_beginning_is_kept_unless_all_is_wanted() {
        let stream = [b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", &vec![7; 200_000][..]].concat();
        for (all, kept) in [(false, KEPT_BYTES), (true, 200_000)] {
            let mut reader = Reader::default();
            let (mut first, mut rest) = stream.split_at(100);
            assert_eq!(reader.read(&mut first, all), Ok(None));
            let reply = reader.read(&mut rest, all).unwrap().unwrap();
            assert_eq!((reply.octets, reply.body.len()), (200_000, kept));
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for stream in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            assert_eq!(read_all(&[stream], true), Err(NotHttp), "{}", String::from_utf8_lossy(stream));
        }
        assert_eq!(read_all(&[b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 1 << 17]], true), Err(NotHttp));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8), at in 0..STREAM.len()) {
            let pieces: Vec<&[u8]> = std::iter::once(&STREAM[..at]).chain(pieces.iter().map(Vec::as_slice)).collect();
            let _ = read_all(&pieces, true);
        }
    }
}
