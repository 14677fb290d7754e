//! The floor: the least that a server of HTTP can do. One thread, epoll, httparse, and a fixed response to every request; no routing, no
//! lookup, no clock. What a real server costs above it is its own doing.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
/// More than any one request takes.
const BUFFER_BYTES: usize = 4096;

/// The fixed responses: head and body, as a real server has sent them.
struct Responses {
    ok: Vec<u8>,
    not_modified: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
}

/// Serves the octets of `ok`, or of `not_modified` where the request is conditional, until the process is ended. Prints where.
pub(crate) fn serve(ok: &Path, not_modified: &Path) -> Result<()> {
    let responses = Responses { ok: std::fs::read(ok)?, not_modified: std::fs::read(not_modified)? };
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    writeln!(io::stdout(), "ready {}", listener.local_addr()?)?;
    let (mut connections, mut free, mut out) = (Vec::<Option<Connection>>::new(), Vec::new(), Vec::new());
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let index = event.token().0;
                if connections[index].as_mut().is_some_and(|connection| !advance(connection, &responses, &mut out)) {
                    connections[index] = None;
                    free.push(index);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let index = free.pop().unwrap_or(connections.len());
                connections.resize_with(connections.len().max(index + 1), || None);
                stream.set_nodelay(true)?;
                poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
                connections[index] = Some(Connection { stream, buffer: vec![0; BUFFER_BYTES].into(), filled: 0 });
            }
        }
    }
}

/// Reads what is there and answers it with one write. Returns whether the connection goes on.
fn advance(connection: &mut Connection, responses: &Responses, out: &mut Vec<u8>) -> bool {
    loop {
        let room = connection.buffer.len() - connection.filled;
        match connection.stream.read(&mut connection.buffer[connection.filled..]) {
            Ok(0) => return false,
            Ok(length) => {
                connection.filled += length;
                out.clear();
                let goes_on = answer(connection, responses, out);
                // The kernel's buffer holds many times what is ever sent at once here.
                if !matches!(connection.stream.write(out), Ok(written) if written == out.len()) || !goes_on {
                    return false;
                }
                if length < room {
                    return true;
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}

/// Answers every complete request in the buffer. Returns whether the connection goes on.
fn answer(connection: &mut Connection, responses: &Responses, out: &mut Vec<u8>) -> bool {
    let (mut start, mut goes_on) = (0, true);
    while goes_on && start < connection.filled {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request.parse(&connection.buffer[start..connection.filled]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => break,
            Err(_) => return false,
        };
        let (mut body, mut conditional, mut last) = (0, false, false);
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                body = std::str::from_utf8(header.value).ok().and_then(|v| v.parse().ok()).unwrap_or(0);
            }
            conditional |= header.name.eq_ignore_ascii_case("if-none-match");
            last |= header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close");
        }
        if connection.filled - start < head + body {
            break;
        }
        start += head + body;
        goes_on = !last;
        out.extend_from_slice(if conditional { &responses.not_modified } else { &responses.ok });
    }
    connection.buffer.copy_within(start..connection.filled, 0);
    connection.filled -= start;
    goes_on
}
