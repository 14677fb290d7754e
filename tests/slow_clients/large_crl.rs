//! A CRL of 50 MB that a hundred slow clients take at once.

use std::fs;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::common::http;
use super::common::openssl_ca::write_secret;
use super::common::random::Random;
use super::common::{PATIENCE, Process, Service, crl_numbers, succeed, succeed_with_all, tool, until, with_config};
use super::{World, connect};

/// With serials of 20 octets, reason and invalidity date an entry has 79 octets.
const REVOKED: usize = 640_000;
const CRL_BYTES: usize = 50_000_000;
const PATH: &str = "/crl/large.crl";
const CLIENTS: usize = 100;
/// Clients that never take anything of it.
const NEVER_READING: usize = 20;
/// Buffers of each client in the kernel.
const BUFFER_BYTES: usize = 64 << 10;
/// How long all clients are slow at least, and what each then takes in a tenth of a second.
const SLOW: Duration = Duration::from_secs(4);
const SLOW_BYTES: usize = 16 << 10;
/// What all of them together may cost: not even one more copy.
const GROWTH_BYTES: u64 = CRL_BYTES as u64;

impl World {
    /// A world with a second CA, taken over from `openssl ca`, which has revoked more than anybody should.
    fn with_large_crl() -> World {
        let world = World::new("200", "40");
        let directory = world.directory.path();
        let mut command = tool("openssl");
        command.current_dir(directory).args(["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-keyout", "large.key.pem", "-out", "large.pem", "-days", "365", "-subj", "/CN=Large"]);
        succeed(command.args(["-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"]));
        write_secret(&directory.join("large.key.pem"), &fs::read_to_string(directory.join("large.key.pem")).unwrap());
        write_index(&directory.join("index.txt"));
        let issuer = "[[issuer]]\nname = \"large\"\ncertificate = \"large.pem\"\nkey = { file = \"large.key.pem\" }\n";
        fs::write(world.config(), fs::read_to_string(world.config()).unwrap() + issuer).unwrap();
        let mut import = with_config("import", &world.config(), &["--issuer", "large", "--openssl-index"]);
        let imported = succeed(import.arg(directory.join("index.txt")));
        assert!(imported.starts_with(&format!("{REVOKED} added")), "{imported}");
        // OCSP responses for all of them would take minutes; nobody asks for them here, and a worker may be killed at any time.
        let mut signer = Process::start(&mut with_config("sign", &world.config(), &["--once"]));
        let large = ("large".to_owned(), "full".to_owned());
        until(PATIENCE, "the CRL is published", || crl_numbers(&world.config()).contains_key(&large).then_some(()));
        signer.kill();
        world
    }
}

/// The index of an `openssl ca` that has revoked all its certificates.
fn write_index(path: &Path) {
    let (mut random, mut index) = (Random::new(7), BufWriter::new(fs::File::create(path).unwrap()));
    for _ in 0..REVOKED {
        let serial = u128::from(random.number()) << 64 | u128::from(random.number());
        writeln!(index, "R\t301231235959Z\t260101000000Z,keyTime,20251201000000Z\t5EED5EED{serial:032X}\tunknown\t/CN=x").unwrap();
    }
    index.flush().unwrap();
}

/// A client that holds what it receives against what it should receive, and keeps nothing of it.
struct Client {
    stream: TcpStream,
    /// What was received before the body.
    head: Vec<u8>,
    /// How much of the body has come.
    taken: usize,
}

impl Client {
    fn open(url: &str, request: &[u8]) -> Client {
        let mut stream = connect(url, Some(BUFFER_BYTES));
        stream.write_all(request).unwrap();
        Client { stream, head: Vec::new(), taken: 0 }
    }

    /// Takes what is there, up to the length of `buffer`.
    fn take(&mut self, crl: &[u8], buffer: &mut [u8]) {
        let mut received = match self.stream.read(buffer) {
            Ok(0) => panic!("the connection was closed after {} octets of the CRL", self.taken),
            Ok(length) => &buffer[..length],
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(e) => panic!("{e} after {} octets of the CRL", self.taken),
        };
        if self.taken == 0 && !self.head.ends_with(b"\r\n\r\n") {
            let end = received.windows(4).position(|octets| octets == b"\r\n\r\n").expect("the head comes at once") + 4;
            self.head.extend_from_slice(&received[..end]);
            assert!(self.head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&self.head));
            received = &received[end..];
        }
        assert!(crl[self.taken..].starts_with(received), "other octets after {} right ones", self.taken);
        self.taken += received.len();
    }
}

/// All clients take the CRL slowly for a while, then as fast as they can. In between, when each is somewhere in the middle, `meanwhile` is done.
fn take_slowly(mut clients: Vec<Client>, crl: &[u8], meanwhile: impl FnOnce()) {
    let (start, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    while start.elapsed() < SLOW || clients.iter().any(|client| client.taken == 0) {
        assert!(start.elapsed() < PATIENCE, "nothing of the CRL comes");
        clients.iter_mut().for_each(|client| client.take(crl, &mut buffer[..SLOW_BYTES]));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(clients.iter().all(|client| client.taken < crl.len()), "each is somewhere in the middle");
    meanwhile();
    while !clients.is_empty() {
        assert!(start.elapsed() < PATIENCE, "{} clients still take the CRL", clients.len());
        clients.iter_mut().for_each(|client| client.take(crl, &mut buffer));
        clients.retain(|client| client.taken < crl.len());
    }
}

/// Conditional requests and requests for parts, as somebody sends them who was interrupted.
fn parts_and_conditions(url: &str, crl: &[u8]) {
    let whole = http::exchange(url, "HEAD", PATH, &[], None);
    assert_eq!((whole.status, whole.expect("content-length")), (200, &*crl.len().to_string()));
    let (etag, modified) = (whole.expect("etag"), whole.expect("last-modified"));
    for condition in [("If-None-Match", etag), ("If-Modified-Since", modified)] {
        let unmodified = http::get(url, PATH, &[condition]);
        assert_eq!((unmodified.status, unmodified.body.len(), unmodified.expect("etag")), (304, 0, etag));
    }
    let (length, half) = (crl.len(), crl.len() / 2);
    let parts =
        [("bytes=0-0".to_owned(), 0..1), (format!("bytes={half}-"), half..length), ("bytes=-1000".to_owned(), length - 1000..length)];
    for (range, octets) in parts {
        let part = http::get(url, PATH, &[("Range", &range), ("If-Range", etag)]);
        assert_eq!((part.status, part.expect("content-range")), (206, &*format!("bytes {}-{}/{length}", octets.start, octets.end - 1)));
        assert!(part.body == crl[octets], "{range}");
    }
    assert_eq!(http::get(url, PATH, &[("Range", &format!("bytes={length}-"))]).status, 416);
    let other = http::get(url, PATH, &[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]);
    assert!(other.status == 200 && other.body == crl, "a part of another CRL is not wanted: all of this one");
}

/// The CRL, and that OpenSSL finds it right.
fn fetch(world: &World, service: &Service) -> Vec<u8> {
    let crl = http::fetch(&service.ocsp, PATH);
    assert!(crl.len() >= CRL_BYTES, "{} octets", crl.len());
    fs::write(world.directory.path().join("large.crl"), &crl).unwrap();
    let mut command = tool("openssl");
    command.current_dir(world.directory.path()).args([
        "crl",
        "-inform",
        "DER",
        "-in",
        "large.crl",
        "-noout",
        "-verify",
        "-CAfile",
        "large.pem",
    ]);
    let said = succeed_with_all(&mut command);
    assert!(said.contains("verify OK"), "{said}");
    crl
}

#[test]
fn a_hundred_slow_clients_share_one_crl_in_memory() {
    let world = World::with_large_crl();
    let mut service = world.serve("");
    let crl = fetch(&world, &service);
    (0..200).for_each(|number| world.ask(&service.ocsp, number));
    let before = service.process.resident_bytes();
    service.process.forget_peak();
    let request = http::request("GET", PATH, &[], None);
    let open = |count: usize| (0..count).map(|_| Client::open(&service.ocsp, &request)).collect::<Vec<_>>();
    let (never_reading, clients) = (open(NEVER_READING), open(CLIENTS));
    let (start, url) = (Instant::now(), &service.ocsp);
    let ((), asked) = world.while_others_ask(url, || take_slowly(clients, &crl, || parts_and_conditions(url, &crl)));
    let growth = service.process.peak_bytes().saturating_sub(before);
    println!(
        "{} octets to each of {CLIENTS} clients in {:?}: {growth} octets more at the peak than {before}; {asked} others asked",
        crl.len(),
        start.elapsed()
    );
    assert!(growth < GROWTH_BYTES, "grown by {growth} octets, wanted less than {GROWTH_BYTES}");
    drop(never_reading);
    assert!(service.process.is_running());
    service.stop();
}
