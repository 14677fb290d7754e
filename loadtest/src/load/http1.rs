//! The load over HTTP/1.1: one thread, one event loop (epoll), any number of connections, no allocation per request.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::answer::Said;
use super::connection::{Connection, Phase, Sent};
use super::reader::Reply;
use super::supply::{Due, Supply};
use super::tally::{Answered, Failure, Tally, Totals};
use super::timer::Timer;
use super::{Clock, Job, TICK};
use crate::shape::Reuse;
use crate::targets::{Parts, Picker};
use crate::truth::Samples;

const TIMER: Token = Token(usize::MAX);
/// How long a server may take to close a connection that it will not use any more.
const CLOSING_NANOSECONDS: u64 = 1_000_000_000;
/// How long a connection that could not be made is not tried again.
const REST_NANOSECONDS: u64 = 100_000_000;
/// More than a pipeline of OCSP responses takes.
const SCRATCH_BYTES: usize = 64 << 10;

/// Drives the connections of one thread until the load is over.
pub(super) fn drive(job: &Job<'_>, thread: u32, tally: Tally, samples: Samples) -> io::Result<Totals> {
    let mut driver = Driver::new(job, thread, tally, samples)?;
    driver.run()?;
    Ok(driver.tally.finish())
}

struct Driver<'a> {
    job: &'a Job<'a>,
    clock: Clock,
    poll: Poll,
    timer: Timer,
    supply: Supply<'a>,
    tally: Tally,
    samples: Samples,
    connections: Vec<Connection>,
    /// Connections that can take a request, in the order in which they will.
    free: VecDeque<usize>,
    /// Connections with something new to write.
    dirty: Vec<usize>,
    in_flight: usize,
    scratch: Box<[u8]>,
    fields: Fields,
}

impl<'a> Driver<'a> {
    fn new(job: &'a Job<'a>, thread: u32, tally: Tally, samples: Samples) -> io::Result<Driver<'a>> {
        let (settings, poll) = (job.settings, Poll::new()?);
        let timer = Timer::new()?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let supply = Supply::new(settings, Picker::new(job.targets, thread, settings.threads), thread);
        let mut driver = Driver {
            job,
            clock: job.clock,
            poll,
            timer,
            supply,
            tally,
            samples,
            connections: (0..settings.connections_of(thread)).map(|_| Connection::default()).collect(),
            free: VecDeque::new(),
            dirty: Vec::new(),
            in_flight: 0,
            scratch: vec![0; SCRATCH_BYTES].into(),
            fields: Fields::of(job),
        };
        (0..driver.connections.len()).for_each(|index| driver.list(index));
        Ok(driver)
    }

    fn run(&mut self) -> io::Result<()> {
        let (mut events, mut next_tick) = (Events::with_capacity(1024), 0);
        loop {
            let now = self.clock.now();
            self.tally.roll(now);
            if self.job.is_halted() {
                self.supply.halt();
            }
            self.supply.release(now, &mut self.tally);
            self.assign(now);
            self.flush();
            if now >= next_tick {
                self.expire(now);
                next_tick = now + TICK.as_nanos() as u64;
            }
            if self.in_flight == 0 && self.supply.is_over(now) {
                return Ok(());
            }
            self.wait(&mut events)?;
            for event in &events {
                if event.token() != TIMER {
                    self.advance(event);
                }
            }
        }
    }

    /// Waits for the sockets, for the next request that is due where a connection could take it, or for the next tick.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut limit = TICK;
        if let Some(due) = self.supply.next_due().filter(|_| !self.free.is_empty()) {
            let delay = Duration::from_nanos(due.saturating_sub(self.clock.now()));
            if delay.is_zero() {
                limit = Duration::ZERO;
            } else if delay < TICK {
                self.timer.set(delay)?;
            }
        }
        match self.poll.poll(events, Some(limit)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            done => done,
        }
    }

    /// Hands requests to connections that can take one.
    fn assign(&mut self, now: u64) {
        let is_closed_loop = self.job.settings.rate.is_none();
        while let Some(&index) = self.free.front() {
            if matches!(self.connections[index].phase, Phase::Closing(_) | Phase::Resting(_)) {
                self.free.pop_front();
                self.connections[index].is_listed = false;
                continue;
            }
            let Some(due) = self.supply.take(now, &mut self.tally) else { return };
            self.begin(index, due, now);
            let connection = &mut self.connections[index];
            let is_full = connection.sent.len() >= self.job.settings.depth as usize;
            // A closed loop fills a pipeline before it goes to the next; an open one spreads what is due.
            if is_full || !is_closed_loop {
                self.free.pop_front();
                connection.is_listed = false;
                if !is_full {
                    self.list(index);
                }
            }
        }
    }

    fn begin(&mut self, index: usize, due: Due, now: u64) {
        let connection = &mut self.connections[index];
        if connection.phase == Phase::Closed && connection.connect(self.job.endpoint.address, self.poll.registry(), Token(index)).is_err() {
            connection.phase = Phase::Resting(now + REST_NANOSECONDS);
            return self.tally.failed(due.id.kind, Failure::Connect);
        }
        let parts = self.job.targets.parts(due.id);
        write_request(&mut connection.out, &parts, &self.fields);
        if connection.phase == Phase::Open && !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(index);
        }
        connection.sent.push_back(Sent { due, at: now });
        self.in_flight += 1;
    }

    fn flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            self.connections[index].is_dirty = false;
            if self.connections[index].flush().is_err() {
                self.give_up(index, Failure::Reset);
            }
        }
    }

    fn list(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !std::mem::replace(&mut connection.is_listed, true) {
            self.free.push_back(index);
        }
    }

    /// A socket has something to say.
    #[inline]
    fn advance(&mut self, event: &Event) {
        let index = event.token().0;
        let connection = &mut self.connections[index];
        if connection.phase == Phase::Connecting {
            match connection.is_connected() {
                Ok(true) => connection.phase = Phase::Open,
                Ok(false) => return,
                Err(_) => return self.give_up(index, Failure::Connect),
            }
        }
        if event.is_writable() && connection.flush().is_err() {
            return self.give_up(index, Failure::Reset);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(index, event.is_read_closed() || event.is_error());
        }
    }

    /// Reads what is there. Sockets report once: all of it must be read, which a read that does not fill the buffer shows.
    fn read(&mut self, index: usize, ends: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            match self.connections[index].read(&mut scratch) {
                Ok(None) => break,
                Ok(Some(0)) => {
                    self.closed(index);
                    break;
                }
                Ok(Some(length)) => {
                    let goes_on = self.understand(index, &scratch[..length]);
                    if !goes_on || (length < scratch.len() && !ends) {
                        break;
                    }
                }
                Err(_) => {
                    self.give_up(index, Failure::Reset);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// Takes answers out of what was read. Returns whether the connection is still there.
    fn understand(&mut self, index: usize, mut input: &[u8]) -> bool {
        let now = self.clock.now();
        let Driver { connections, job, tally, samples, in_flight, .. } = self;
        let connection = &mut connections[index];
        let mut closes = false;
        loop {
            let all = connection.sent.front().is_some_and(|sent| sent.due.checked);
            match connection.reader.read(&mut input, all) {
                Ok(None) => break,
                Ok(Some(reply)) => {
                    let Some(sent) = connection.sent.pop_front() else {
                        self.give_up(index, Failure::NotHttp);
                        return false;
                    };
                    *in_flight -= 1;
                    closes |= reply.closes;
                    settle(job, tally, samples, &sent, &reply, now);
                }
                Err(_) => {
                    self.give_up(index, Failure::NotHttp);
                    return false;
                }
            }
        }
        self.after_answers(index, closes, now);
        true
    }

    /// Decides what the connection does next.
    fn after_answers(&mut self, index: usize, closes: bool, now: u64) {
        let is_closed_loop = self.job.settings.rate.is_none();
        let connection = &mut self.connections[index];
        if matches!(connection.phase, Phase::Closing(_)) {
            return;
        }
        if closes || (self.job.settings.reuse == Reuse::New && connection.sent.is_empty()) {
            // What the server has said it will not answer is asked again elsewhere, and was due when it was due.
            connection.phase = Phase::Closing(now);
            self.in_flight -= connection.sent.len();
            while let Some(sent) = connection.sent.pop_back() {
                self.supply.take_back(sent.due);
            }
        } else if connection.sent.is_empty() || (!is_closed_loop && connection.sent.len() < self.job.settings.depth as usize) {
            self.list(index);
        }
    }

    /// The server has closed the connection.
    fn closed(&mut self, index: usize) {
        let now = self.clock.now();
        let Driver { connections, job, tally, samples, in_flight, .. } = self;
        let connection = &mut connections[index];
        if let Some(reply) = connection.reader.closed()
            && let Some(sent) = connection.sent.pop_front()
        {
            *in_flight -= 1;
            settle(job, tally, samples, &sent, &reply, now);
        }
        self.give_up(index, Failure::Closed);
    }

    /// Closes a connection; what it owes an answer to has failed.
    fn give_up(&mut self, index: usize, failure: Failure) {
        let connection = &mut self.connections[index];
        let could_not_connect = connection.phase == Phase::Connecting;
        let failure = if could_not_connect { Failure::Connect } else { failure };
        self.in_flight -= connection.sent.len();
        while let Some(sent) = connection.sent.pop_front() {
            self.tally.failed(sent.due.id.kind, failure);
        }
        connection.close();
        if could_not_connect {
            connection.phase = Phase::Resting(self.clock.now() + REST_NANOSECONDS);
        } else {
            self.list(index);
        }
    }

    /// Fails what has not been answered in time, closes what the server does not close, and wakes who has rested.
    fn expire(&mut self, now: u64) {
        self.supply.expire(now, &mut self.tally);
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            match connection.phase {
                Phase::Resting(until) if now >= until => {
                    connection.phase = Phase::Closed;
                    self.list(index);
                }
                Phase::Closing(since) if now >= since + CLOSING_NANOSECONDS => {
                    connection.close();
                    self.list(index);
                }
                _ if connection.sent.front().is_some_and(|sent| self.supply.is_overdue(sent.due.at, now)) => self.time_out(index, now),
                _ => {}
            }
        }
    }

    /// The answer that comes next is overdue: nothing behind it can come either, and is asked again elsewhere if there is time.
    fn time_out(&mut self, index: usize, now: u64) {
        let connection = &mut self.connections[index];
        self.in_flight -= connection.sent.len();
        while let Some(sent) = connection.sent.pop_back() {
            if self.supply.is_overdue(sent.due.at, now) {
                self.tally.failed(sent.due.id.kind, Failure::Timeout);
            } else {
                self.supply.take_back(sent.due);
            }
        }
        connection.close();
        self.list(index);
    }
}

/// Counts an answer, and hands it to those who check it.
#[inline]
fn settle(job: &Job<'_>, tally: &mut Tally, samples: &mut Samples, sent: &Sent, reply: &Reply<'_>, now: u64) {
    let Due { id, at, checked } = sent.due;
    match Said::of(id.kind, job.targets.expected(id), reply.status, reply.body) {
        Some(said) => {
            tally.answered(Answered { kind: id.kind, said, due: at, sent: sent.at, done: now, octets: reply.octets });
            if checked {
                samples.hand_over(id, reply.status, reply.head, reply.body);
            }
        }
        None => tally.failed(id.kind, Failure::Http(reply.status)),
    }
}

/// What the requests of a load have in common.
pub(super) struct Fields {
    /// The rest of the request line, and the header fields of each.
    common: Vec<u8>,
}

impl Fields {
    /// Those of a load.
    pub(super) fn of(job: &Job<'_>) -> Fields {
        let close = if job.settings.reuse == Reuse::New { "Connection: close\r\n" } else { "" };
        Fields { common: format!(" HTTP/1.1\r\nHost: {}\r\n{close}", job.endpoint.host).into_bytes() }
    }
}

/// Appends a request as it goes over the wire.
#[inline]
pub(super) fn write_request(out: &mut Vec<u8>, parts: &Parts<'_>, fields: &Fields) {
    out.extend_from_slice(if parts.body.is_some() { b"POST " } else { b"GET " });
    out.extend_from_slice(parts.path);
    out.extend_from_slice(&fields.common);
    out.extend_from_slice(parts.header);
    if let Some(body) = parts.body {
        out.extend_from_slice(b"Content-Type: application/ocsp-request\r\nContent-Length: ");
        // Writing to a Vec does not fail.
        let _ = write!(out, "{}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(parts.body.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o12_requests_go_over_the_wire_as_http_wants_them() {
        let mut out = Vec::new();
        let fields = Fields { common: b" HTTP/1.1\r\nHost: h\r\n".to_vec() };
        write_request(&mut out, &Parts { path: b"/a.crl", header: b"Range: bytes=0-1\r\n", body: None }, &fields);
        write_request(&mut out, &Parts { path: b"/", header: b"", body: Some(b"\x30\x00") }, &fields);
        let wanted = "GET /a.crl HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n\
            POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\nContent-Length: 2\r\n\r\n0\0";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
