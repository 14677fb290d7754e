//! The load generator: one thread, epoll, no allocation per request. Of every response it checks the status code and
//! that it is no OCSP error; what is in it was checked before.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Percentiles are taken of what is answered within such a time, and of the whole. A thousand requests and more.
const WINDOW: Duration = Duration::from_millis(50);
/// A run ends after so many requests, however fast the server is.
const MAX_REQUESTS: u64 = 20_000_000;
/// A server that is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// No signed OCSP response is so short, and every error is shorter.
const MIN_BODY_BYTES: usize = 100;
/// More than 16 responses take.
const BUFFER_BYTES: usize = 64 * 1024;

/// Requests that differ in their middle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// What all of them begin with.
    prefix: Vec<u8>,
    /// What all of them end with.
    suffix: Vec<u8>,
    middles: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// No requests yet.
    pub(crate) fn new(prefix: &str, suffix: &str) -> Requests {
        Requests { prefix: prefix.into(), suffix: suffix.into(), ..Requests::default() }
    }

    /// Adds one.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.middles.extend_from_slice(part));
        self.ends.push(self.middles.len());
    }

    fn write_to(&self, index: usize, out: &mut Vec<u8>) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&self.middles[start..self.ends[index]]);
        out.extend_from_slice(&self.suffix);
    }
}

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Requests sent at once on a connection; the next ones follow when all are answered.
    pub(crate) depth: usize,
    /// A new connection for every request.
    pub(crate) fresh: bool,
    /// Requests a second in the mean, at random times (Poisson), whether or not the server keeps up; as many as it takes where `None`.
    pub(crate) rate: Option<f64>,
    /// The status code that every response must have.
    pub(crate) status: u16,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Requests answered: all that were sent.
    pub(crate) responses: u64,
    /// From the first request to the last response.
    pub(crate) elapsed: Duration,
    /// Nanoseconds from sending (with a rate: from when it was to be sent; with fresh connections: from connecting) to the last octet.
    pub(crate) latency: Histogram<u64>,
    /// The 99th percentile of each whole [`WINDOW`].
    pub(crate) p99: Vec<u64>,
}

/// The requests that were answered in a window.
struct Window {
    end: Instant,
    latency: Histogram<u64>,
}

impl Measured {
    fn new() -> Result<Measured> {
        Ok(Measured { responses: 0, elapsed: Duration::ZERO, latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?, p99: Vec::new() })
    }
}

impl Window {
    /// Its histogram is small, for it is emptied while requests wait: up to a second, to the hundredth part.
    fn until(end: Instant) -> Result<Window> {
        Ok(Window { end, latency: Histogram::new_with_bounds(1, 1_000_000_000, 2)? })
    }
}

/// A small generator of random numbers (xorshift64*), the same ones in every run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * bound as u128) >> 64) as usize
    }

    /// The time from one event to the next, where they come independently of each other, `rate` a second in the mean.
    fn interval(&mut self, rate: f64) -> Duration {
        const PARTS: usize = 1 << 53;
        let uniform = (self.below(PARTS) + 1) as f64 / PARTS as f64;
        Duration::from_secs_f64(-uniform.ln() / rate)
    }
}

/// Status code and length of the response that `octets` begin with, once all of it is there.
pub(crate) fn response_length(octets: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(octets).context("not a response of HTTP/1")? else { return Ok(None) };
    let status = response.code.unwrap_or(0);
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(header) if status != 304 => std::str::from_utf8(header.value)?.trim().parse()?,
        None if status != 304 => bail!("a response without Content-Length"),
        _ => 0,
    };
    Ok((octets.len() >= head + body).then_some((status, head, head + body)))
}

struct Connection {
    stream: TcpStream,
    sent: VecDeque<Instant>,
    buffer: Box<[u8]>,
    filled: usize,
    unsent: bool,
}

/// Connections to a server, and what has been asked on them.
pub(crate) struct Load<'a> {
    address: SocketAddr,
    requests: &'a Requests,
    pattern: Pattern,
    poll: Poll,
    random: &'a mut Random,
    connections: Vec<Connection>,
    sent: u64,
    /// Connections that wait for the time of the next request.
    idle: VecDeque<usize>,
    out: Vec<u8>,
    measured: Measured,
    window: Window,
}

impl<'a> Load<'a> {
    /// Nothing is asked yet.
    pub(crate) fn new(address: SocketAddr, requests: &'a Requests, pattern: Pattern, random: &'a mut Random) -> Result<Load<'a>> {
        let window = Window::until(Instant::now())?;
        let (poll, measured) = (Poll::new()?, Measured::new()?);
        let (connections, idle, out) = (Vec::new(), VecDeque::new(), Vec::new());
        Ok(Load { address, requests, pattern, poll, random, connections, sent: 0, idle, out, measured, window })
    }

    /// Asks for `duration`, waits for what is still to be answered, and returns. Connections that are kept are those of the time before.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Measured> {
        (self.sent, self.measured) = (0, Measured::new()?);
        let mut connections = std::mem::take(&mut self.connections);
        if self.pattern.fresh || connections.is_empty() {
            connections = (0..self.pattern.connections).map(|index| self.connect(index)).collect::<Result<Vec<_>>>()?;
        }
        self.drive(&mut connections, duration)?;
        self.connections = connections;
        Ok(self.measured.clone())
    }

    fn drive(&mut self, connections: &mut [Connection], duration: Duration) -> Result<()> {
        let start = Instant::now();
        self.idle.clear();
        self.window = Window::until(start + WINDOW)?;
        let end = start + duration;
        if !self.pattern.fresh {
            for (index, connection) in connections.iter_mut().enumerate() {
                if self.pattern.rate.is_some() { self.idle.push_back(index) } else { self.send(connection, Instant::now())? }
            }
        }
        let rate = self.pattern.rate;
        let (mut events, mut last_event, mut due) = (Events::with_capacity(1024), start, start);
        while self.measured.responses < self.sent || Instant::now() < end {
            // Between two requests at a given rate is less time than the finest time-out of epoll: ask again and again.
            self.poll.poll(&mut events, Some(rate.map_or(Duration::from_millis(100), |_| Duration::ZERO)))?;
            let now = Instant::now();
            if !events.is_empty() {
                last_event = now;
            }
            ensure!(now - last_event < PATIENCE, "no answer for {PATIENCE:?}");
            for event in &events {
                let index = event.token().0;
                if self.pattern.fresh {
                    self.advance_fresh(index, &mut connections[index], end)?
                } else {
                    self.advance(index, &mut connections[index], end)?
                }
            }
            while let Some(rate) = rate
                && due <= now.min(end)
                && let Some(index) = self.idle.pop_front()
            {
                self.send(&mut connections[index], due)?;
                due += self.random.interval(rate);
            }
        }
        self.measured.elapsed = start.elapsed();
        Ok(())
    }

    fn connect(&mut self, index: usize) -> Result<Connection> {
        let stream = self.open(index)?;
        let sent = if self.pattern.fresh { VecDeque::from([Instant::now()]) } else { VecDeque::new() };
        Ok(Connection { stream, sent, buffer: vec![0; BUFFER_BYTES].into(), filled: 0, unsent: self.pattern.fresh })
    }

    /// A fresh connection is for one request, which counts as sent from here on.
    fn open(&mut self, index: usize) -> Result<TcpStream> {
        let fresh = self.pattern.fresh;
        let mut stream = if fresh { TcpStream::connect(self.address)? } else { connected(self.address)? };
        self.sent += u64::from(fresh);
        let interest = if fresh { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        Ok(stream)
    }

    fn send(&mut self, connection: &mut Connection, at: Instant) -> Result<()> {
        for _ in 0..self.pattern.depth {
            connection.sent.push_back(at);
        }
        self.sent += self.pattern.depth as u64;
        self.write(connection)
    }

    fn write(&mut self, connection: &mut Connection) -> Result<()> {
        self.out.clear();
        for _ in 0..self.pattern.depth {
            let index = self.random.below(self.requests.ends.len());
            self.requests.write_to(index, &mut self.out);
        }
        ensure!(connection.stream.write(&self.out)? == self.out.len(), "a socket's buffer is full");
        Ok(())
    }

    fn goes_on(&self, end: Instant, now: Instant) -> bool {
        now < end && self.sent < MAX_REQUESTS
    }

    fn advance(&mut self, index: usize, connection: &mut Connection, end: Instant) -> Result<()> {
        ensure!(!self.read(connection)?, "the server has closed a connection that was to be kept");
        let now = Instant::now();
        if connection.sent.is_empty() {
            match self.pattern.rate {
                Some(_) => self.idle.push_back(index),
                None if self.goes_on(end, now) => self.send(connection, now)?,
                None => {}
            }
        }
        Ok(())
    }

    fn advance_fresh(&mut self, index: usize, connection: &mut Connection, end: Instant) -> Result<()> {
        if connection.unsent {
            if let Some(e) = connection.stream.take_error()? {
                return Err(e).context("connecting");
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(());
            }
            connection.unsent = false;
            self.write(connection)?;
        }
        // The server closes first, so that the port is free for the next connection.
        if self.read(connection)? {
            ensure!(connection.sent.is_empty(), "a connection was closed without an answer");
            if self.goes_on(end, Instant::now()) {
                connection.stream = self.open(index)?;
                connection.sent.push_back(Instant::now());
                connection.unsent = true;
            }
        }
        Ok(())
    }

    /// Reads what is there and counts the responses. Returns whether the server has closed the connection.
    fn read(&mut self, connection: &mut Connection) -> Result<bool> {
        loop {
            let room = connection.buffer.len() - connection.filled;
            match connection.stream.read(&mut connection.buffer[connection.filled..]) {
                Ok(0) => return Ok(true),
                Ok(length) => {
                    connection.filled += length;
                    self.count(connection)?;
                    if length < room && !self.pattern.fresh {
                        return Ok(false);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e).context("reading a response"),
            }
        }
    }

    fn close_windows(&mut self, now: Instant) {
        while now >= self.window.end {
            self.window.end += WINDOW;
            if !self.window.latency.is_empty() {
                self.measured.p99.push(self.window.latency.value_at_quantile(0.99));
                self.window.latency.reset();
            }
        }
    }

    fn count(&mut self, connection: &mut Connection) -> Result<()> {
        let (mut start, now) = (0, Instant::now());
        self.close_windows(now);
        while start < connection.filled
            && let Some((status, head, length)) = response_length(&connection.buffer[start..connection.filled])?
        {
            ensure!(status == self.pattern.status, "answered {status}, wanted {}", self.pattern.status);
            ensure!(status == 304 || length - head > MIN_BODY_BYTES, "an OCSP error instead of a response");
            let sent = connection.sent.pop_front().context("a response that nobody asked for")?;
            let latency = now.saturating_duration_since(sent).as_nanos() as u64;
            self.measured.latency.saturating_record(latency);
            self.window.latency.saturating_record(latency);
            self.measured.responses += 1;
            start += length;
        }
        connection.buffer.copy_within(start..connection.filled, 0);
        connection.filled -= start;
        Ok(())
    }
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(TcpStream::from_std(stream))
}
