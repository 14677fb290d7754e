//! What clients send over a connection: requests of HTTP for the plain lane, and all others.

use kakunin::responder::get_path::encode;

use crate::Seed;
use crate::requests::for_paths;

/// The octet in front: when it is, and that seven requests may come.
const USUAL: u8 = b'3';
const SINCE: &str = "If-Modified-Since: Fri, 15 Jan 2027 09:00:00 GMT\r\n";

fn asked(request_line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("{request_line} HTTP/1.1\r\nHost: va\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn get(path: &str) -> Vec<u8> {
    asked(&format!("GET {path}"), "", &[])
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    asked(&format!("POST {path}"), &format!("{headers}Content-Length: {}\r\n", body.len()), body)
}

/// One request each.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let [short, long] = for_paths();
    let path = encode(&short);
    let raw = path.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=");
    let content_type = "Content-Type: application/ocsp-request\r\n";
    let conditional = |path: &str, headers: &str| asked(&format!("GET {path}"), headers, &[]);
    vec![
        ("get", get(&format!("/{path}"))),
        ("get-raw", get(&format!("//{raw}"))),
        ("get-of-issuer", get(&format!("/ocsp/alpha/{path}"))),
        ("get-of-nobody", get(&format!("/ocsp/nobody/{path}"))),
        ("get-since", conditional(&format!("/{path}"), SINCE)),
        ("get-none-match", conditional(&format!("/{path}"), "If-None-Match: \"00\", W/\"11\" ,*\r\n")),
        ("get-query", get(&format!("/{path}?x"))),
        ("get-absolute", get(&format!("http://va.example:80/{path}"))),
        ("get-http-1.0", format!("GET /{path} HTTP/1.0\r\n\r\n").into_bytes()),
        ("head", asked(&format!("HEAD /{path}"), "", &[])),
        ("greeting", get("/ocsp/")),
        ("crl", get("/crl/alpha.crl")),
        ("crl-since", asked("HEAD /crl/alpha/7.crl", SINCE, &[])),
        ("crl-range", conditional("/crl/alpha.crl", "Range: bytes=2-7\r\n")),
        ("crl-range-end", conditional("/crl/alpha.crl", "Range: bytes=-7\r\nIf-Range: Fri, 15 Jan 2027 08:00:00 GMT\r\n")),
        ("crl-resumed", conditional("/crl/alpha.crl", "Range: bytes=7-\r\nIf-Match: \"another\"\r\n")),
        ("crl-range-beyond", conditional("/crl/alpha.crl", "Range: bytes=99999999999999999999-\r\n")),
        ("ca", conditional("/ca/alpha.cer", "Range: bytes=0-\r\n")),
        ("options", asked("OPTIONS *", "", &[])),
        ("post", post("/", content_type, &short)),
        ("post-of-issuer", post("/ocsp/alpha", "content-type: application/OCSP-request; x=y\r\n", &short)),
        ("post-of-improper-name", post("/ocsp/alph`", content_type, &short)),
        ("get-of-improper-name", get(&format!("/ocsp/alph\u{e9}/{path}"))),
        ("post-without-type", post("/ocsp/", "", &long)),
        ("post-garbage", post("/", content_type, b"garbage")),
        ("post-nowhere", post("/ocsp/alpha/x", content_type, &short)),
        ("post-wrong-type", post("/", "Content-Type: text/html\r\n", b"x")),
        ("post-chunked", asked("POST /", "Transfer-Encoding: chunked\r\n", b"2\r\nxx\r\n0\r\n\r\n")),
        ("post-two-lengths", post("/", "Content-Length: 3\r\n", &short)),
        ("upgrade", conditional(&format!("/{path}"), "Connection: Upgrade\r\nUpgrade: h2c\r\n")),
        ("expect", post("/", "Expect: 100-continue\r\n", &short)),
        ("http-2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("cut", get(&format!("/{path}"))[..100].to_vec()),
    ]
}

/// Several requests.
fn pipelines() -> Vec<(&'static str, Vec<u8>)> {
    let [short, _] = for_paths();
    let (first, second) = (get(&format!("/{}", encode(&short))), post("/ocsp/alpha", "", &short));
    let closing = asked(&format!("GET /{}", encode(&short)), "Connection: close\r\n", &[]);
    vec![
        ("two-requests", [&first[..], &second].concat()),
        ("line-ends-between", [&second[..], b"\r\n\n", &first].concat()),
        ("a-crl-between", [&first[..], &get("/crl/alpha.crl"), &first].concat()),
        ("after-close", [&closing[..], &first].concat()),
        ("more-than-may-come", first.repeat(8)),
        ("second-cut", [&first[..], &second[..50]].concat()),
    ]
}

/// For the check of HTTP.
pub(crate) fn of_every_kind() -> Vec<Seed> {
    let [short, _] = for_paths();
    let get = get(&format!("/{}", encode(&short)));
    let at = |choice: u8, sent: &[u8]| [&[choice], sent].concat();
    let usual = requests().into_iter().chain(pipelines()).map(|(name, sent)| (name.to_owned(), at(USUAL, &sent)));
    let others = [
        ("get-too-late", at(b'7', &get)),
        ("crl-expired", at(b'6', &self::get("/crl/alpha.crl"))),
        ("only-one-may-come", at(3, &get)),
        ("more-than-is-sent-at-once", at(0xfb, &post("/", "", &short).repeat(20))),
    ];
    usual.chain(others.into_iter().map(|(name, seed)| (name.to_owned(), seed))).collect()
}
