//! Clients that ask and never read the answers.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::common::ocsp::{Hash, url_encoded};
use super::common::{PATIENCE, http, until};
use super::{OPEN_CONNECTIONS, World, connect};

/// Clients of each kind.
const EACH: usize = 100;
/// Buffers of each client in the kernel.
const BUFFER_BYTES: usize = 16 << 10;
/// The most that a client sends, should the service go on taking it.
const SENT_BYTES: usize = 8 << 20;
/// What such a connection may keep of the server's memory: see `Limits`.
const BYTES_EACH: u64 = 48 << 10;

/// A client that sends a request again and again until it can send no more.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    failed: bool,
}

impl Client {
    fn open(url: &str, request: Vec<u8>) -> Client {
        Client { stream: connect(url, Some(BUFFER_BYTES)), request, sent: 0, failed: false }
    }

    /// Sends what can be sent.
    fn press(&mut self) {
        while !self.failed && self.sent < SENT_BYTES {
            match self.stream.write(&self.request[self.sent % self.request.len()..]) {
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.failed = true,
            }
        }
    }
}

/// Sends until nobody can send any more.
fn press_all(clients: &mut [Client]) {
    let (start, mut moved) = (Instant::now(), Instant::now());
    while moved.elapsed() < Duration::from_secs(3) && start.elapsed() < Duration::from_secs(20) {
        let before: usize = clients.iter().map(|client| client.sent).sum();
        clients.iter_mut().for_each(Client::press);
        if clients.iter().map(|client| client.sent).sum::<usize>() > before {
            moved = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The test of this file.
pub(super) fn clients_that_never_read_are_bounded_and_cut_off() {
    let world = World::new("2000", "1900");
    let mut service = world.serve("write_stall_timeout = \"10s\"");
    (0..200).for_each(|number| world.ask(&service.ocsp, number));
    let crl = http::get(&service.ocsp, "/crl/issuing.crl", &[]).body.len();
    let ocsp = url_encoded(&world.asker.request(&world.statuses[0].0, Hash::Sha1));
    let paths = [format!("/ocsp/{ocsp}"), "/crl/issuing.crl".to_owned()];
    let before = service.process.resident_bytes();
    let open = |path: &String| (0..EACH).map(|_| Client::open(&service.ocsp, http::request("GET", path, &[], None))).collect::<Vec<_>>();
    let mut clients: Vec<Client> = paths.iter().flat_map(open).collect();

    let (after, asked) = world.while_others_ask(&service.ocsp, || {
        press_all(&mut clients);
        let after = service.process.resident_bytes();
        until(PATIENCE, "who never reads is cut off", || (service.metric(OPEN_CONNECTIONS) <= 8).then_some(()));
        after
    });
    let (each, sent) = (after.saturating_sub(before) / clients.len() as u64, clients.iter().map(|client| client.sent));
    println!(
        "{each} octets for each client; {} to {} octets of requests; {asked} others asked",
        sent.clone().min().unwrap(),
        sent.clone().max().unwrap()
    );
    assert!(each < BYTES_EACH, "{each} octets, wanted less than {BYTES_EACH}");
    assert!(sent.max().unwrap() < SENT_BYTES, "the service takes requests from clients that do not take its answers");
    assert!(crl > 60_000, "a CRL of {crl} octets is longer than what is gathered before it is sent");
    assert!(service.process.is_running());
    service.stop();
}
