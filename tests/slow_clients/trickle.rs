//! Clients that send an octet a second, for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::common::PATIENCE;
use super::common::http::Connection;
use super::{World, connect};

/// Clients of each kind.
const EACH: usize = 100;
/// Fewer octets than the shortest time-out lets through.
const LEAST: usize = 4;

/// Where a client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    RequestLine,
    Header,
    Body,
    /// A body in chunks, which says nothing of its length.
    Chunks,
}

impl Place {
    const ALL: [Place; 4] = [Place::RequestLine, Place::Header, Place::Body, Place::Chunks];

    /// What is sent at once.
    fn beginning(self) -> &'static str {
        match self {
            Place::RequestLine => "",
            Place::Header => "GET / HTTP/1.1\r\nHost: ocsp.example\r\n",
            Place::Body => {
                "POST /ocsp HTTP/1.1\r\nHost: ocsp.example\r\nContent-Type: application/ocsp-request\r\nContent-Length: 4000\r\n\r\n"
            }
            Place::Chunks => "POST /ocsp HTTP/1.1\r\nHost: ocsp.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        }
    }

    /// What then follows, an octet at a time, again and again.
    fn rest(self) -> &'static [u8] {
        match self {
            Place::RequestLine => {
                b"GET /MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"
            }
            Place::Header => b"X-Slow: yes\r\n",
            Place::Body => b"0",
            Place::Chunks => b"1\r\n0\r\n",
        }
    }
}

struct Client {
    place: Place,
    stream: TcpStream,
    sent: usize,
    received: Vec<u8>,
}

impl Client {
    fn open(url: &str, place: Place) -> Client {
        let mut stream = connect(url, None);
        stream.write_all(place.beginning().as_bytes()).unwrap();
        Client { place, stream, sent: 0, received: Vec::new() }
    }

    /// Reads what has come and sends one more octet; false once the connection has ended.
    fn go_on(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let rest = self.place.rest();
        let sent = self.stream.write_all(&rest[self.sent % rest.len()..][..1]).is_ok();
        self.sent += usize::from(sent);
        sent
    }

    /// It was given time, then told why or just cut off.
    fn judge(&self) {
        let (place, told) = (self.place, String::from_utf8_lossy(&self.received));
        assert!(self.sent >= LEAST, "{place:?}: cut off after {} octets: {told}", self.sent);
        let timeout = told.starts_with("HTTP/1.1 408 ");
        match place {
            Place::RequestLine | Place::Header => assert!(timeout || told.is_empty(), "{place:?}: {told}"),
            Place::Body | Place::Chunks => assert!(timeout, "{place:?}: {told:?}"),
        }
    }
}

/// All of them, until each is cut off.
fn trickle(url: &str) -> Vec<Client> {
    let mut open: Vec<_> = Place::ALL.iter().flat_map(|place| (0..EACH).map(|_| Client::open(url, *place))).collect();
    let (start, mut ended) = (Instant::now(), Vec::new());
    while !open.is_empty() {
        assert!(start.elapsed() < PATIENCE, "{} are not cut off, one of them slow in its {:?}", open.len(), open[0].place);
        let (still, cut): (Vec<_>, Vec<_>) = open.into_iter().map(|mut client| (client.go_on(), client)).partition(|(goes_on, _)| *goes_on);
        open = still.into_iter().map(|(_, client)| client).collect();
        ended.extend(cut.into_iter().map(|(_, client)| client));
        std::thread::sleep(Duration::from_secs(1));
    }
    ended
}

/// Slow, but within the limits: answered.
fn slow_but_in_time(world: &World, url: &str) {
    let mut clients: Vec<_> = (0..20).map(|_| Connection::open(url).unwrap()).collect();
    let request = world.request(0);
    for part in request.chunks(2) {
        clients.iter_mut().for_each(|client| client.send(part).unwrap());
        std::thread::sleep(Duration::from_millis(30));
    }
    clients.iter_mut().for_each(|client| world.judge(0, &client.receive(false).unwrap()));
}

/// The test of this file.
pub(super) fn an_octet_a_second_does_not_keep_a_connection() {
    let world = World::new("200", "40");
    let mut service = world.serve("header_read_timeout = \"12s\"\nbody_read_timeout = \"6s\"");
    let url = &service.ocsp;
    let (ended, asked) = world.while_others_ask(url, || {
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| slow_but_in_time(&world, url));
            let ended = trickle(url);
            slow.join().unwrap();
            ended
        })
    });
    assert_eq!(ended.len(), Place::ALL.len() * EACH);
    ended.iter().for_each(Client::judge);
    let sent = Place::ALL.map(|place| ended.iter().filter(|client| client.place == place).map(|client| client.sent).max());
    println!("octets sent before the end, at most: {:?} {sent:?}; {asked} others asked", Place::ALL);
    assert!(service.process.is_running());
    service.stop();
}
