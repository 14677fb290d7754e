//! Ten thousand requests that nobody should send. Each is answered by an OCSP error, a right answer, HTTP 4xx, or the end of the connection where what was
//! sent is no HTTP; nothing panics, nothing leaks, and the service goes on. The seed is printed; KAKUNIN_TEST_SEED repeats a run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use common::http::{self, Connection, Reply};
use common::ocsp::{Answer, Asker, Hash, base64, hex, url_encoded};
use common::random::Random;
use common::{Service, list};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 4;
/// Growth of the resident memory that is no leak: buffers of connections, allocator.
const GROWTH_BYTES: u64 = 24 << 20;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    OcspError,
    RightAnswer,
    ClientError,
    Closed,
}

/// What the clients know.
struct Target {
    url: String,
    asker: Asker,
    /// Serial and whether it is revoked.
    statuses: BTreeMap<String, bool>,
}

impl Target {
    fn random_request(&self, random: &mut Random) -> Vec<u8> {
        let serials: Vec<&String> = self.statuses.keys().collect();
        let (serial, hash) = (*random.pick(&serials), *random.pick(&[Hash::Sha1, Hash::Sha256]));
        let nonce = [0, 1, 16, 32, 128, 129][random.below(6)];
        match random.below(3) {
            0 => self.asker.request_with_nonce(serial, hash, &random.octets(nonce)),
            _ => self.asker.request(serial, hash),
        }
    }

    /// An HTTP answer must be an OCSP error, a right answer or a client error.
    fn judge(&self, reply: &Reply, sent: &[u8]) -> Outcome {
        if (400..500).contains(&reply.status) {
            return Outcome::ClientError;
        }
        let context = || format!("{} {:?} for {}", reply.status, reply.headers, String::from_utf8_lossy(&sent[..sent.len().min(2000)]));
        assert_eq!(reply.status, 200, "{}", context());
        if reply.header("content-type").is_some_and(|value| value.starts_with("text/plain")) {
            // A damaged path that is only a base: the greeting. Not about a certificate, so nothing can be wrong with it.
            return Outcome::ClientError;
        }
        let answer = Answer::decode(&reply.body).unwrap_or_else(|e| panic!("{e}: {}", context()));
        if answer.basic.is_none() {
            assert!(reply.expect("cache-control").contains("no-store"), "{}", context());
            return Outcome::OcspError;
        }
        let id = &answer.single().cert_id;
        let serial = hex(&id.serial_number);
        let revoked =
            self.statuses.get(&serial).unwrap_or_else(|| panic!("an answer about {serial}, which was never issued: {}", context()));
        assert_eq!((answer.is_revoked(), answer.is_good()), (*revoked, !*revoked), "{}", context());
        assert!([Hash::Sha1, Hash::Sha256].iter().any(|hash| self.asker.cert_id(&serial, *hash) == *id), "{}", context());
        Outcome::RightAnswer
    }
}

fn flip_bits(mut request: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = random.below(request.len());
        request[at] ^= 1 << random.below(8);
    }
    request
}

/// Nested to a depth that overflows the stack of whoever recurses.
fn nested(random: &mut Random) -> Vec<u8> {
    let mut request = Vec::new();
    match random.below(3) {
        // Indefinite lengths, all the way down.
        0 => request = [0x30, 0x80].repeat(1 + random.below(2000)),
        // Definite lengths that fit.
        1 => {
            for _ in 0..1 + random.below(1200) {
                let length = request.len();
                let header = match length {
                    0..128 => vec![0x30, length as u8],
                    128..256 => vec![0x30, 0x81, length as u8],
                    _ => vec![0x30, 0x82, (length >> 8) as u8, length as u8],
                };
                request.splice(0..0, header);
            }
        }
        // A length that promises more than there is.
        _ => request = [&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff], &[0xa0; 300][..]].concat(),
    }
    request
}

/// The octets of an OCSP request that is none.
fn body(target: &Target, random: &mut Random) -> Vec<u8> {
    let request = target.random_request(random);
    match random.below(6) {
        0 | 1 => flip_bits(request, random),
        2 => request[..random.below(request.len())].to_vec(),
        3 => nested(random),
        4 => {
            let count = random.below(400);
            random.octets(count)
        }
        _ => {
            let count = 1 + random.below(64);
            [request, random.octets(count)].concat()
        }
    }
}

/// A POST or a GET of it, sometimes with a wrong type or a damaged path.
fn wrapped(body: &[u8], random: &mut Random) -> Vec<u8> {
    const POST: [(&str, &str); 1] = [("Content-Type", "application/ocsp-request")];
    let path = *random.pick(&["/", "/ocsp", "/ocsp/issuing", "//", "/ocsp/nobody"]);
    match random.below(8) {
        0..4 => http::request("POST", path, &POST, Some(body)),
        4 => {
            let types = ["text/html", "application/octet-stream", "application/ocsp-response", "", "x"];
            http::request("POST", path, &[("Content-Type", *random.pick(&types))], Some(body))
        }
        5 => http::request("GET", &format!("/ocsp/{}", url_encoded(body)), &[], None),
        6 => http::request("GET", &format!("{}/{}", path.trim_end_matches('/'), base64(body)), &[], None),
        _ => {
            let mut target = url_encoded(body).into_bytes();
            for _ in 0..random.below(4) {
                let at = random.below(target.len().max(1));
                if let Some(octet) = target.get_mut(at) {
                    *octet = *random.pick(b"%!~$&'()*,;:@%%gG=.+-_/AZ09");
                }
            }
            http::request("GET", &format!("/{}", String::from_utf8(target).unwrap()), &[], None)
        }
    }
}

/// What is no proper HTTP, or far too much of it.
fn wild(target: &Target, random: &mut Random) -> Vec<u8> {
    let request = target.random_request(random);
    let post = http::request("POST", "/", &[("Content-Type", "application/ocsp-request")], Some(&request));
    match random.below(8) {
        0 => http::request("GET", "/", &[("X-Long", &"x".repeat(20_000 + random.below(40_000)))], None),
        1 => http::request("GET", &format!("/{}", "M".repeat(20_000 + random.below(40_000))), &[], None),
        2 => {
            let many: Vec<(String, String)> = (0..300).map(|n| (format!("X-{n}"), "y".repeat(100))).collect();
            let headers: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            http::request("GET", "/", &headers, None)
        }
        3 => {
            let length = 64 * 1024 + random.below(1 << 20);
            let huge = [&request[..], &vec![0; length]].concat();
            http::request("POST", "/", &[("Content-Type", "application/ocsp-request")], Some(&huge))
        }
        4 => random.octets(600),
        5 => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: -1\r\n\r\n".to_vec(),
        6 => b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nfffffffffffffffffff\r\n".to_vec(),
        _ => flip_bits(post, random),
    }
}

/// Sends something on a connection of its own and judges every answer until the end of it: the first and the last outcome.
fn send_wild(target: &Target, sent: &[u8]) -> (Outcome, Outcome) {
    let mut connection = Connection::open(&target.url).unwrap();
    let unsent = connection.send(sent).is_err();
    connection.finish();
    let mut outcomes = Vec::new();
    loop {
        match connection.receive(false) {
            Ok(reply) => outcomes.push(target.judge(&reply, sent)),
            Err(e) => {
                assert!(!matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "left waiting ({unsent}): {sent:02x?}");
                let outcome = |found: Option<&Outcome>| found.copied().unwrap_or(Outcome::Closed);
                return (outcome(outcomes.first()), outcome(outcomes.last()));
            }
        }
    }
}

/// A kept connection, opened again where the other side has closed it.
fn send_kept(target: &Target, connection: &mut Option<Connection>, sent: &[u8]) -> Outcome {
    for attempt in 0..2 {
        let open = connection.take().map_or_else(|| Connection::open(&target.url), Ok);
        let mut open = open.unwrap();
        match open.exchange(sent) {
            Ok(reply) => {
                *connection = (!reply.closes()).then_some(open);
                return target.judge(&reply, sent);
            }
            Err(e) => assert!(attempt == 0, "no answer to {}: {e}", String::from_utf8_lossy(sent)),
        }
    }
    unreachable!("the second attempt returns or fails")
}

fn client(target: &Target, mut random: Random, count: usize) -> BTreeMap<Outcome, usize> {
    let (mut outcomes, mut connection) = (BTreeMap::new(), None);
    for _ in 0..count {
        let outcome = match random.below(10) {
            0 => send_wild(target, &wild(target, &mut random)).1,
            1 => {
                // Pipelined: a proper request, then garbage, which must not take the answer away.
                let proper =
                    http::request("POST", "/", &[("Content-Type", "application/ocsp-request")], Some(&target.random_request(&mut random)));
                let (first, last) = send_wild(target, &[proper, random.octets(100)].concat());
                assert!(matches!(first, Outcome::RightAnswer | Outcome::OcspError), "{first:?}");
                last
            }
            _ => send_kept(target, &mut connection, &wrapped(&body(target, &mut random), &mut random)),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    outcomes
}

/// Clients that send an octet now and then: each is cut off or answered within the limits, and none of them holds up anybody else.
fn slow_senders(target: &Target) -> Vec<io::Result<Connection>> {
    let request = target.asker.request(target.statuses.keys().next().unwrap(), Hash::Sha1);
    let post = http::request("POST", "/", &[("Content-Type", "application/ocsp-request")], Some(&request));
    let get = http::request("GET", &format!("/{}", url_encoded(&request)), &[], None);
    let cuts = [&post[..1], &post[..30], &post[..post.len() - 1], &post[..post.len() - 40], &get[..10], &get[..get.len() - 2]];
    cuts.iter().map(|part| Connection::open(&target.url).and_then(|mut c| c.send(part).map(|()| c))).collect()
}

fn all(target: &Target, random: &mut Random, count: usize) -> BTreeMap<Outcome, usize> {
    let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.number()).collect();
    let mut outcomes = BTreeMap::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = seeds.iter().map(|seed| scope.spawn(|| client(target, Random::new(*seed), count / CLIENTS))).collect();
        for client in clients {
            client.join().unwrap().into_iter().for_each(|(outcome, count)| *outcomes.entry(outcome).or_insert(0) += count);
        }
    });
    outcomes
}

#[test]
fn ten_thousand_malformed_requests_are_refused_one_by_one() {
    let mut random = Random::seeded("malformed");
    let directory = tempfile::tempdir().unwrap();
    let mut service = Service::demo(directory.path(), &["--certificates", "200", "--revoked", "40"]);
    let statuses = list(&directory.path().join("kakunin.toml"), "issuing").into_iter().map(|c| (c.revoked_at.is_some(), c.serial));
    let target = Target {
        url: service.ocsp.clone(),
        asker: Asker::new(&directory.path().join("issuing.pem")),
        statuses: statuses.map(|(revoked, serial)| (serial, revoked)).collect(),
    };
    let slow = slow_senders(&target);
    all(&target, &mut random, REQUESTS / 10);
    let before = service.process.resident_bytes();
    let (start, outcomes) = (Instant::now(), all(&target, &mut random, REQUESTS));
    let after = service.process.resident_bytes();
    println!("{outcomes:?} in {:?}; resident {} KiB before, {} KiB after", start.elapsed(), before >> 10, after >> 10);
    assert_eq!(outcomes.values().sum::<usize>(), REQUESTS);
    for (outcome, least) in [(Outcome::OcspError, 1000), (Outcome::RightAnswer, 10), (Outcome::ClientError, 1000)] {
        assert!(outcomes.get(&outcome).is_some_and(|count| *count > least), "{outcome:?} is among what came back: {outcomes:?}");
    }
    assert!(after < before + GROWTH_BYTES, "resident memory grew from {before} to {after} octets");

    // The service cuts slow senders off, or answers 408, before the client's own limit for one read.
    for connection in slow {
        match connection.unwrap().receive(false) {
            Ok(reply) => assert_eq!(target.judge(&reply, b"slow sender"), Outcome::ClientError),
            Err(e) => assert!(!matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "a slow sender is never cut off"),
        }
    }
    for (serial, revoked) in &target.statuses {
        assert_eq!(target.asker.ask(&target.url, serial, Hash::Sha1).is_revoked(), *revoked, "the service goes on");
    }
    assert!(service.process.is_running());
    assert!(start.elapsed() < Duration::from_secs(300));
    service.stderr();
    service.stop();
}
