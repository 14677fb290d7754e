//! The plain lane against [`Service::respond`]: the same answer to the same request.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_LENGTH, DATE};
use hyper::{HeaderMap, Request, StatusCode};
use proptest::prelude::*;

use super::super::service::Limits;
use super::super::testing::{self, NOW, serial, time};
use super::*;
use crate::pki::HashAlgorithm;
use crate::pki::ocsp_request::encode_request;

fn service() -> Service {
    Service::new(Arc::new(testing::content()), Arc::default(), Limits::default(), || time(NOW))
}

fn request(number: u64) -> Vec<u8> {
    encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number))
}

/// What a client sends.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn get(number: u64) -> Sent {
        let path = format!("/{}", get_path::encode(&request(number)));
        Sent { method: "GET", path, headers: vec![("Host", "test".into())], body: Vec::new() }
    }

    fn post(number: u64) -> Sent {
        let body = request(number);
        let headers = vec![("Content-Type", "application/ocsp-request".into()), ("Content-Length", body.len().to_string())];
        Sent { method: "POST", path: "/ocsp".into(), headers, body }
    }

    fn with(mut self, name: &'static str, value: &str) -> Sent {
        self.headers.push((name, value.into()));
        self
    }

    fn octets(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut octets = format!("{} {} HTTP/1.1\r\n{headers}\r\n", self.method, self.path).into_bytes();
        octets.extend_from_slice(&self.body);
        octets
    }
}

/// Status code, headers and body.
type Answer = (StatusCode, HeaderMap, Vec<u8>);

fn by_respond(service: &Service, sent: &Sent) -> Answer {
    let mut request = Request::builder().method(sent.method).uri(&sent.path);
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (head, body) = service.respond(request.body(Full::new(Bytes::from(sent.body.clone()))).unwrap()).await.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    })
}

/// Answers a whole buffer, as a connection does.
fn turn(service: &Service, input: &[u8], left: u32) -> (Progress, Vec<u8>, u32) {
    let (mut output, mut body, mut left) = (Vec::new(), Vec::new(), left);
    let progress = service.answer_plain(input, &mut output, &mut body, &mut left);
    (progress, output, left)
}

/// Takes one response from the front.
fn parsed(octets: &mut &[u8]) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(head) = response.parse(octets).unwrap() else { panic!("half a head") };
    let mut map = HeaderMap::new();
    for header in response.headers.iter() {
        map.append(header.name.parse::<hyper::header::HeaderName>().unwrap(), header.value.try_into().unwrap());
    }
    let status = StatusCode::from_u16(response.code.unwrap()).unwrap();
    let length = map.remove(CONTENT_LENGTH).map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    assert_eq!(map.remove(DATE).unwrap(), &headers::http_date(time(NOW))[..]);
    let body = octets[head..head + length].to_vec();
    *octets = &octets[head + length..];
    (status, map, body)
}

fn a_request() -> impl Strategy<Value = Sent> {
    let number = prop::sample::select(vec![5, testing::REVOKED, 1_000_000]);
    let base = prop::sample::select(vec!["/", "//", "/ocsp/", "/ocsp/test/", "/ocsp/other/"]);
    let conditions = prop::sample::subsequence(vec![0, 1, 2, 3], 0..3);
    (number, base, any::<bool>(), conditions).prop_map(|(number, base, post, conditions)| {
        let etag = &by_respond(&service(), &Sent::get(number)).1.get("etag").map_or("*".into(), |value| value.to_str().unwrap().to_owned());
        let mut sent = if post { Sent::post(number) } else { Sent::get(number) };
        sent.path = if post { base.trim_end_matches('/').to_owned() } else { sent.path.replacen('/', base, 1) };
        if sent.path.is_empty() {
            sent.path.push('/');
        }
        for condition in conditions {
            sent = match condition {
                0 => sent.with("If-None-Match", &format!("\"x\", {etag}")),
                1 => sent.with("If-Modified-Since", &String::from_utf8(headers::http_date(time(testing::THIS_UPDATE)).into()).unwrap()),
                2 => sent.with("User-Agent", "test"),
                _ => sent.with("Connection", "keep-alive"),
            };
        }
        sent
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn o12_o13_a_plain_request_is_answered_as_any_other_is(requests in prop::collection::vec(a_request(), 1..6)) {
        let service = service();
        let input: Vec<u8> = requests.iter().flat_map(Sent::octets).collect();
        let (progress, output, left) = turn(&service, &input, 100);
        prop_assert_eq!(progress, Progress { consumed: input.len(), next: Next::Read });
        prop_assert_eq!(left as usize, 100 - requests.len());
        let mut rest = &output[..];
        for sent in &requests {
            prop_assert_eq!(parsed(&mut rest), by_respond(&service, sent));
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_cut_anywhere_changes_nothing_before_it(first in a_request(), second in a_request(), at in 0usize..2000) {
        let service = service();
        let (one, two) = (first.octets(), second.octets());
        let input = [&one[..], &two].concat();
        let cut = at.min(input.len() - 1);
        let (progress, output, _) = turn(&service, &input[..cut], 100);
        if cut < one.len() {
            prop_assert!(output.is_empty() && progress.consumed == 0);
        } else {
            prop_assert_eq!(progress.consumed, one.len());
            prop_assert_eq!(output, turn(&service, &one, 100).1);
        }
    }

    #[test]
    fn garbage_is_never_consumed(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let (progress, output, _) = turn(&service(), &octets, 100);
        prop_assert!(progress.consumed == 0 && output.is_empty());
    }
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let not_plain = |sent: Sent| {
        let service = service();
        let (progress, output, left) = turn(&service, &sent.octets(), 100);
        assert_eq!((progress, output.len(), left), (Progress { consumed: 0, next: Next::NotPlain }, 0, 100), "{sent:?}");
        assert_eq!(service.counters().get(Event::Http200), 0);
    };
    for (name, value) in [
        ("Expect", "100-continue"),
        ("Upgrade", "h2c"),
        ("Connection", "close, te"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        ("Content-Length", "+1"),
    ] {
        not_plain(Sent::get(5).with(name, value));
    }
    not_plain(Sent::post(5).with("Transfer-Encoding", "chunked"));
    not_plain(Sent::post(5).with("Content-Length", "83"));
    not_plain(Sent::post(5).with("Content-Type", "application/ocsp-request"));
    not_plain(Sent::get(5).with("If-None-Match", "*").with("If-None-Match", "*"));
    for (method, path) in [
        ("HEAD", "/MA"),
        ("OPTIONS", "*"),
        ("GET", "/"),
        ("GET", "/crl/test.crl"),
        ("GET", "/M!"),
        ("GET", "/MA?x"),
        ("GET", "http://x/MA"),
    ] {
        not_plain(Sent { method, path: path.into(), headers: vec![], body: vec![] });
    }
    for path in ["/?x", "/ocsp?x", "/ocsp/test?x", "/ocsp/test#x", "/ocsp/te`st", "/ocsp/te\u{e9}st", "/ocsp/te%73t"] {
        not_plain(Sent { path: path.into(), ..Sent::post(5) });
        let get = Sent::get(5);
        not_plain(Sent { path: path.to_owned() + &get.path, ..get });
    }
    let too_long = Sent { headers: vec![("Content-Length", (MAX_REQUEST_BYTES + 1).to_string())], ..Sent::post(5) };
    not_plain(too_long);
    not_plain(Sent { body: vec![], ..Sent::post(5) });
    not_plain(Sent { headers: vec![("Content-Type", "text/plain".into()), ("Content-Length", "0".into())], ..Sent::post(5) });
    for octets in [&b"GET /MA HTTP/1.0\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", &[b'a'; MAX_HEAD_BYTES]] {
        assert_eq!(turn(&service(), octets, 9).0, Progress { consumed: 0, next: Next::NotPlain });
    }
}

#[test]
fn the_last_request_of_a_connection_is_told_so() {
    let (service, closing) = (service(), Sent::get(5).with("Connection", "close"));
    let input = [closing.octets(), Sent::get(5).octets()].concat();
    let (progress, output, _) = turn(&service, &input, 100);
    assert_eq!(progress, Progress { consumed: closing.octets().len(), next: Next::Close });
    assert_eq!(parsed(&mut &output[..]).1["connection"], "close");
    let three = Sent::get(5).octets().repeat(3);
    let (progress, output, left) = turn(&service, &three, 2);
    assert_eq!((progress.consumed, progress.next, left), (three.len() / 3 * 2, Next::Close, 0));
    let mut rest = &output[..];
    assert!(!parsed(&mut rest).1.contains_key("connection"));
    assert_eq!(parsed(&mut rest).1["connection"], "close");
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let (service, one) = (service(), Sent::get(5).octets());
    let input = one.repeat(1000);
    let (progress, output, _) = turn(&service, &input, 10_000);
    assert_eq!(progress.next, Next::Again);
    assert!((MAX_WAITING_BYTES..MAX_WAITING_BYTES + 4096).contains(&output.len()));
    assert_eq!(progress.consumed % one.len(), 0);
}

#[test]
fn a_plain_request_takes_no_allocation() {
    let service = service();
    for sent in [Sent::get(5), Sent::post(5), Sent::get(testing::REVOKED), Sent::get(1_000_000), Sent::get(5).with("If-None-Match", "*")] {
        let input = sent.octets();
        let (mut output, mut body, mut left) = (Vec::with_capacity(4096), Vec::with_capacity(4096), 100);
        let allocations = allocation_counter::measure(|| {
            assert_eq!(service.answer_plain(&input, &mut output, &mut body, &mut left).consumed, input.len());
        });
        assert_eq!(allocations.count_total, 0, "{sent:?}");
    }
}
