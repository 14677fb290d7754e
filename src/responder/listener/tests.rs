//! The responder over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::time::{Duration, Instant};

use super::super::counters::Event;
use super::super::get_path;
use super::super::testing::{self, serial, wait_until};
use super::*;
use crate::pki::HashAlgorithm;
use crate::pki::ocsp_request::{MAX_REQUEST_BYTES, encode_request};

mod http2;

struct World {
    running: Option<Running>,
    stop: Stop,
}

fn world(limits: Limits) -> World {
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], NonZeroUsize::new(2).unwrap(), limits).unwrap();
    let stop = Stop::new();
    let running = server.run(&Arc::new(testing::content_at(Timestamp::now().unix())), &stop).unwrap();
    World { running: Some(running), stop }
}

impl World {
    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.running().addresses()[0]).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }

    /// Sends octets on a new connection and reads until it is closed.
    fn exchange(&self, sent: &[u8]) -> String {
        let mut client = self.connect();
        client.write_all(sent).unwrap();
        read_all(&mut client)
    }

    fn count(&self, event: Event) -> u64 {
        self.running().statistics().total(event)
    }

    fn end(&mut self) {
        self.stop.stop();
        self.running.take().unwrap().join();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.end();
        }
    }
}

/// Reads until the connection is closed; a reset after the answer is a close too.
fn read_all(client: &mut Client) -> String {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        read.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn request(number: u64) -> Vec<u8> {
    encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number))
}

fn get(method: &str, headers: &str) -> Vec<u8> {
    format!("{method} /{} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n", get_path::encode(&request(5))).into_bytes()
}

fn post(length: usize, headers: &str) -> Vec<u8> {
    format!("POST /ocsp HTTP/1.1\r\nHost: test\r\nContent-Type: application/ocsp-request\r\nContent-Length: {length}\r\n{headers}\r\n")
        .into_bytes()
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    response.split("\r\n\r\n").next()?.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn o12_o13_post_get_head_and_304_over_a_socket() {
    let world = world(Limits::default());
    let response = world.exchange(&get("GET", ""));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    for name in ["content-type", "content-length", "date", "last-modified", "expires", "etag", "cache-control"] {
        assert!(header(&response, name).is_some(), "{name} in {response}");
    }
    let mut posted = post(request(5).len(), "Connection: close\r\n");
    posted.extend_from_slice(&request(5));
    let body = |response: &str| response.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(&world.exchange(&posted)), body(&response));
    let head = world.exchange(&get("HEAD", ""));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty(), "{head}");
    assert_eq!(header(&head, "content-length"), header(&response, "content-length"));
    let etag = header(&response, "etag").unwrap();
    let unmodified = world.exchange(&get("GET", &format!("If-None-Match: {etag}\r\n")));
    assert!(unmodified.starts_with("HTTP/1.1 304 Not Modified\r\n") && body(&unmodified).is_empty(), "{unmodified}");
    assert_eq!((world.count(Event::Good), world.count(Event::Http304)), (4, 1));
}

#[test]
fn a_connection_is_kept_and_pipelined_requests_are_all_answered() {
    let world = world(Limits::default());
    let mut sent = Vec::new();
    (0..50).for_each(|_| {
        sent.extend_from_slice(&post(request(5).len(), ""));
        sent.extend_from_slice(&request(5));
    });
    sent.extend_from_slice(&get("GET", ""));
    assert_eq!(world.exchange(&sent).matches("HTTP/1.1 200 OK").count(), 51);
    assert_eq!(world.count(Event::Opened), 1);
}

/// Old clients send a line end after the body of a POST (RFC 9112 2.2); the answer must not wait for what comes after it.
#[test]
fn o12_an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let world = world(Limits::default());
    for extra in ["\r\n", "GET / HT"] {
        let mut client = world.connect();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let sent = [&post(request(5).len(), "")[..], &request(5), extra.as_bytes()].concat();
        client.write_all(&sent).unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}

#[test]
fn what_clients_should_not_send_is_told_them() {
    let world = world(Limits { max_header_bytes: 8192, ..Limits::default() });
    let status = |sent: &[u8]| world.exchange(sent).split(' ').nth(1).map(str::to_owned);
    assert_eq!(status(&get("DELETE", "")).as_deref(), Some("405"));
    assert_eq!(status(&post(MAX_REQUEST_BYTES + 1, "")).as_deref(), Some("413"));
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").as_deref(), Some("400"));
    assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n").as_deref(), Some("400"));
    assert_eq!(status(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9000)).as_bytes()).as_deref(), Some("431"));
    let mut chunked = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    (0..5).for_each(|_| chunked.extend_from_slice(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()));
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(status(&chunked).as_deref(), Some("413"), "chunked bodies are bounded too");
    wait_until(|| world.count(Event::NotHttp) == 3 && world.running().statistics().open_connections() == 0);
    assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"), "and everybody else is served");
}

#[test]
fn a_connection_ends_with_its_last_request() {
    let world = world(Limits { max_requests_per_connection: 3, ..Limits::default() });
    let plain = get("GET", "").strip_suffix(b"Connection: close\r\n\r\n").map(|kept| [kept, b"\r\n"].concat()).unwrap();
    for request in [&plain[..], b"GET /ca/test.cer HTTP/1.1\r\nHost: test\r\n\r\n"] {
        let answers = world.exchange(&[&plain[..], &request.repeat(3)].concat());
        assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), answers.matches("connection: close").count()), (3, 1), "{answers}");
    }
}

#[test]
fn every_thread_gets_its_share() {
    let world = world(Limits::default());
    let clients: Vec<_> = (0..64).map(|_| world.connect()).collect();
    wait_until(|| world.count(Event::Opened) == clients.len() as u64);
    assert!(world.running().statistics().threads().iter().all(|thread| thread.get(Event::Opened) > 0));
}

#[test]
fn garbage_never_stops_the_service() {
    let world = world(Limits { header_read_timeout: Duration::from_millis(50), ..Limits::default() });
    let strategy = proptest::collection::vec(proptest::prelude::any::<u8>(), 1..400);
    let config = proptest::test_runner::Config { cases: 40, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let sent = runner.run(&strategy, |octets| {
        world.exchange(&octets);
        world.exchange(&[b"GET /M", &octets[..], b" HTTP/1.1\r\nConnection: close\r\n\r\n"].concat());
        Ok(())
    });
    sent.unwrap();
    assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"));
}

#[test]
fn slow_headers_and_slow_bodies_are_ended() {
    let quick = Duration::from_millis(200);
    let world = world(Limits { header_read_timeout: quick, body_read_timeout: quick, ..Limits::default() });
    let start = Instant::now();
    assert_eq!(world.exchange(b"GET / HTTP/1.1\r\nHost:"), "");
    assert!(world.exchange(&post(100, "")).starts_with("HTTP/1.1 408 "));
    assert_eq!(world.exchange(b""), "", "idle");
    assert!(start.elapsed() < Duration::from_secs(10));
    wait_until(|| world.count(Event::TimedOut) == 2);
}

#[test]
fn connections_beyond_the_cap_are_closed_at_once() {
    let world = world(Limits { max_connections: 2, ..Limits::default() });
    let kept = [world.connect(), world.connect()];
    wait_until(|| world.count(Event::Opened) == 2);
    assert_eq!(world.exchange(b""), "");
    wait_until(|| world.count(Event::Refused) == 1);
    drop(kept);
    wait_until(|| world.running().statistics().open_connections() == 0);
    assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_stop_finishes_requests_in_flight_and_closes_idle_connections() {
    let mut world = world(Limits::default());
    let (mut in_flight, mut idle, mut silent) = (world.connect(), world.connect(), world.connect());
    idle.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    wait_until(|| world.count(Event::Http200) == 1);
    let body = request(5);
    in_flight.write_all(&post(body.len(), "")).unwrap();
    in_flight.write_all(&body[..20]).unwrap();
    wait_until(|| world.count(Event::Opened) == 3);
    std::thread::sleep(Duration::from_millis(50));
    world.stop.stop();
    assert!(read_all(&mut idle).ends_with(".\n"), "the idle connection is closed");
    assert_eq!(read_all(&mut silent), "", "so is one that never asked");
    let address = world.running().addresses()[0];
    wait_until(|| Client::connect(address).is_err());
    std::thread::sleep(Duration::from_millis(60));
    in_flight.write_all(&body[20..]).unwrap();
    let response = read_all(&mut in_flight);
    assert!(response.starts_with("HTTP/1.1 200 OK") && header(&response, "connection") == Some("close"), "{response}");
    let start = Instant::now();
    world.end();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_drain_ends_with_its_time_out() {
    let mut world = world(Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut client = world.connect();
    client.write_all(&post(100, "")).unwrap();
    wait_until(|| world.count(Event::Opened) == 1);
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    world.end();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_address_in_use_is_an_error_even_where_it_could_be_shared() {
    let bind = |address| Server::bind(&[address], NonZeroUsize::new(2).unwrap(), Limits::default());
    let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(matches!(bind(first.local_addr()), Err(BindError::InUse(_))), "sockets of ours");
    let sharing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    sharing.set_reuse_port(true).unwrap();
    sharing.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    sharing.listen(1).unwrap();
    let error = bind(sharing.local_addr().unwrap().as_socket().unwrap()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert!(matches!(Server::bind(&[], NonZeroUsize::MIN, Limits::default()), Err(BindError::NoAddress)));
    let narrow = Limits { max_header_bytes: 100, ..Limits::default() };
    assert!(matches!(Server::bind(&[first.local_addr()], NonZeroUsize::MIN, narrow), Err(BindError::HeaderBytes(100))));
}
