//! Requests and their responses, without a socket.

use super::super::testing::{self, NOW, serial, time};
use super::*;
use crate::pki::HashAlgorithm;
use crate::pki::ocsp_request::encode_request;
use hyper::header::{ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED};

fn service() -> Service {
    Service::new(Arc::new(testing::content()), Arc::default(), Limits::default(), || time(NOW))
}

fn ask(service: &Service, request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (head, body) = service.respond(request).await.into_parts();
        (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
    })
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

fn post(path: &str, content_type: Option<&str>, body: Vec<u8>) -> Request<Full<Bytes>> {
    let request = Request::post(path);
    let request = if let Some(t) = content_type { request.header(CONTENT_TYPE, t) } else { request };
    request.body(Full::from(body)).unwrap()
}

fn request(number: u64) -> Vec<u8> {
    encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number))
}

#[test]
fn o12_get_and_post_say_the_same_under_every_base() {
    let service = service();
    let encoded = get_path::encode(&request(5));
    let (head, body) = ask(&service, get(&format!("/{encoded}")));
    assert_eq!((head.status(), &head.headers()[CONTENT_TYPE]), (StatusCode::OK, &HeaderValue::from_static(OCSP_RESPONSE)));
    assert!(body.len() > 200);
    for path in [format!("/ocsp/{encoded}"), format!("/ocsp/test/{encoded}"), format!("//{encoded}")] {
        assert_eq!(ask(&service, get(&path)).1, body, "{path}");
    }
    for path in ["/", "/ocsp", "/ocsp/test"] {
        for content_type in [None, Some("application/ocsp-request"), Some("Application/OCSP-Request; charset=utf-8")] {
            assert_eq!(ask(&service, post(path, content_type, request(5))).1, body, "{path}");
        }
    }
    assert_eq!(service.counters.get(Event::Good), 13);
    assert_eq!(ask(&service, get(&format!("/{}", get_path::encode(&request(testing::REVOKED))))).0.status(), 200);
    assert_eq!(service.counters.get(Event::Revoked), 1);
}

#[test]
fn o13_an_answer_carries_its_times_and_a_conditional_get_is_304() {
    let service = service();
    let path = format!("/{}", get_path::encode(&request(5)));
    let (head, _) = ask(&service, get(&path));
    assert_eq!(head.headers()[LAST_MODIFIED], headers::http_date(time(testing::THIS_UPDATE))[..]);
    assert_eq!(head.headers()[EXPIRES], headers::http_date(time(testing::NEXT_UPDATE))[..]);
    assert_eq!(head.headers()[CACHE_CONTROL], "max-age=3600, public, no-transform, must-revalidate");
    let mut again = get(&path);
    again.headers_mut().insert(IF_NONE_MATCH, head.headers()[ETAG].clone());
    let (unmodified, body) = ask(&service, again);
    assert_eq!((unmodified.status(), body.len()), (StatusCode::NOT_MODIFIED, 0));
    for name in [ETAG, EXPIRES, LAST_MODIFIED, CACHE_CONTROL] {
        assert_eq!(unmodified.headers()[&name], head.headers()[&name]);
    }
    let mut posted = post("/", None, request(5));
    posted.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    assert_eq!(ask(&service, posted).0.status(), StatusCode::OK, "only a GET is conditional here");
}

#[test]
fn o1_o13_errors_are_http_200_and_not_stored() {
    let service = service();
    let is = |request, status: ErrorStatus| {
        let (head, body) = ask(&service, request);
        assert_eq!((head.status(), &body[..]), (StatusCode::OK, status.response()));
        assert_eq!((&head.headers()[CONTENT_TYPE], &head.headers()[CACHE_CONTROL]), (&HeaderValue::from_static(OCSP_RESPONSE), &NO_STORE));
    };
    is(get("/M!!!"), ErrorStatus::MalformedRequest);
    is(get("/MAAA"), ErrorStatus::MalformedRequest);
    is(post("/", None, vec![]), ErrorStatus::MalformedRequest);
    is(post("/", None, request(1_000_000)), ErrorStatus::Unauthorized);
    is(post("/ocsp/other", None, request(5)), ErrorStatus::Unauthorized);
    let late = Service { clock: || time(testing::NEXT_UPDATE), ..service };
    let (_, body) = ask(&late, post("/", None, request(5)));
    assert_eq!(&body[..], ErrorStatus::TryLater.response());
    assert_eq!((late.counters.get(Event::TryLater), late.counters.get(Event::NotCurrent)), (1, 1));
    assert_eq!(ask(&late, get("/crl/test.crl")).0.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((late.counters.get(Event::CrlWithheld), late.counters.get(Event::Http503)), (1, 1));
}

#[test]
fn what_is_not_for_us_gets_its_status_code() {
    let service = service();
    let status = |request| ask(&service, request).0.status().as_u16();
    assert_eq!(status(post("/", Some("text/plain"), request(5))), 415);
    assert_eq!(status(post("/", None, vec![0; MAX_REQUEST_BYTES + 1])), 413);
    assert_eq!(status(post("/elsewhere", None, request(5))), 404);
    assert_eq!(status(get("/favicon.ico")), 404);
    assert_eq!(status(get("/crl/other.crl")), 404);
    assert_eq!(status(get("/")), 200);
    let (head, _) = ask(&service, Request::delete("/").body(Full::default()).unwrap());
    assert_eq!((head.status().as_u16(), &head.headers()[ALLOW]), (405, &ALL_METHODS));
    for (path, allowed) in [("/", ALL_METHODS), ("/ocsp", ALL_METHODS), ("*", ALL_METHODS), ("/crl/test.crl", READING_METHODS)] {
        let (head, body) = ask(&service, Request::options(path).body(Full::default()).unwrap());
        assert_eq!((head.status().as_u16(), &head.headers()[ALLOW], body.len()), (204, &allowed, 0), "{path}");
    }
    let (head, _) = ask(&service, post("/crl/test.crl", None, vec![]));
    assert_eq!((head.status().as_u16(), &head.headers()[ALLOW]), (405, &READING_METHODS));
}

#[test]
fn c10_crls_and_ca_certificates_are_served() {
    let service = service();
    for (path, content_type) in
        [("/crl/test.crl", "application/pkix-crl"), ("/crl/test/1.crl", "application/pkix-crl"), ("/ca/test.cer", "application/pkix-cert")]
    {
        let (head, body) = ask(&service, get(path));
        assert_eq!((head.status(), &head.headers()[CONTENT_TYPE]), (StatusCode::OK, &HeaderValue::from_static(content_type)));
        assert!(!body.is_empty());
    }
    assert_eq!((service.counters.get(Event::Crl), service.counters.get(Event::CaCertificate)), (2, 1));
}
