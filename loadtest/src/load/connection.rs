//! One connection of HTTP/1.1: its socket, what is to be written, which requests it owes an answer to, and where reading stands.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::reader::Reader;
use super::supply::Due;

/// A request that has been sent, or will be as soon as the connection is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) due: Due,
    /// Nanoseconds after the start.
    pub(super) at: u64,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Closed,
    Connecting,
    Open,
    /// The last answer has come; the server is to close, so that the port is not blocked on this side. Since then.
    Closing(u64),
    /// Connecting has failed; not again before that time.
    Resting(u64),
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    stream: Option<TcpStream>,
    pub(super) phase: Phase,
    /// What is to be written, and how much of it has been.
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) sent: VecDeque<Sent>,
    pub(super) reader: Reader,
    /// Whether it is among those that can take a request.
    pub(super) is_listed: bool,
    /// Whether it is among those with something new to write.
    pub(super) is_dirty: bool,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn connect(&mut self, address: SocketAddr, registry: &Registry, token: Token) -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        self.phase = Phase::Connecting;
        self.reader.reset();
        Ok(())
    }

    /// Whether connecting has come to its end: `Ok(false)` where it has not.
    pub(super) fn is_connected(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes as much as the socket takes.
    #[inline]
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads into `buffer`; `None` where nothing is there.
    #[inline]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        loop {
            match stream.read(buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Closes it. What it still owes an answer to stays.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.phase = Phase::Closed;
        self.out.clear();
        self.written = 0;
        self.reader.reset();
    }
}
