//! Clients of HTTP/2 that decide how much they are sent, frame by frame.

use super::super::super::documents::Document;
use super::*;
use crate::pki::CertificateInfo;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_OF_STREAM_AND_HEADERS: u8 = 5;

const PATIENCE: Duration = Duration::from_millis(300);
const TOO_LONG: Duration = Duration::from_secs(10);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client that allows nothing to be sent on any stream and asks for `path` on the first.
fn ask_and_take_nothing(world: &World, path: &str) -> Client {
    let mut client = world.connect();
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    // GET and http by their place in HPACK's table, :path and :authority by name.
    let fields = [&[0x82, 0x86, 0x04, path.len() as u8], path.as_bytes(), &[0x01, 4], b"test"].concat();
    let request = frame(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &fields);
    client.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &request].concat()).unwrap();
    client
}

/// Reads to the end, or for as long as nobody may take, and answers what must be answered. Returns the octets of data that came, and how many pings.
fn read_politely(client: &mut Client) -> (usize, usize) {
    let (mut data, mut pings, mut head) = (0, 0, [0; 9]);
    let end = Instant::now() + TOO_LONG;
    while Instant::now() < end && client.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if client.read_exact(&mut payload).is_err() {
            break;
        }
        match (head[3], head[4] & ACK) {
            (DATA, _) => data += payload.len(),
            (SETTINGS, 0) => drop(client.write_all(&frame(SETTINGS, ACK, 0, &[]))),
            (PING, 0) => {
                pings += 1;
                drop(client.write_all(&frame(PING, ACK, 0, &payload)));
            }
            _ => {}
        }
    }
    (data, pings)
}

fn impatient() -> Limits {
    Limits { header_read_timeout: PATIENCE, write_stall_timeout: PATIENCE, ..Limits::default() }
}

#[test]
fn who_lets_nothing_be_sent_is_cut_off_though_it_answers_every_ping() {
    let world = world(impatient());
    let start = Instant::now();
    let mut client = ask_and_take_nothing(&world, "/crl/test.crl");
    let (data, pings) = read_politely(&mut client);
    assert!(start.elapsed() < TOO_LONG, "it held its place for {:?}", start.elapsed());
    assert!(data == 0 && pings > 0, "{data} octets of data, {pings} pings");
    wait_until(|| world.count(Event::Closed) == 1);
}

#[test]
fn who_takes_little_at_a_time_gets_everything() {
    const LENGTH: usize = 200_000;
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], NonZeroUsize::MIN, impatient()).unwrap();
    let (stop, content) = (Stop::new(), Arc::new(testing::content_at(Timestamp::now().unix())));
    let large = CertificateInfo { der: vec![7; LENGTH], ..CertificateInfo::from_der(&content.issuers()[0].certificate).unwrap() };
    content.documents.publish(vec![("/ca/large.cer".into(), Document::ca_certificate(&large))]);
    let world = World { running: Some(server.run(&content, &stop).unwrap()), stop };
    let mut client = ask_and_take_nothing(&world, "/ca/large.cer");
    let mut taking = client.try_clone().unwrap();
    let (start, step) = (Instant::now(), 10_000u32);
    let taker = std::thread::spawn(move || {
        for _ in 0..LENGTH.div_ceil(step as usize) {
            std::thread::sleep(PATIENCE / 3);
            let both = [1, 0].map(|stream| frame(WINDOW_UPDATE, 0, stream, &step.to_be_bytes())).concat();
            taking.write_all(&both).unwrap();
        }
    });
    assert_eq!(read_politely(&mut client).0, LENGTH);
    assert!(start.elapsed() > 4 * PATIENCE, "longer than anybody is waited for who takes nothing");
    taker.join().unwrap();
}
