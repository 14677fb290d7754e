//! The demo over HTTP: every way to ask (rule O12), every header (rule O13), and what is said where there is nothing to say (rule O9).

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::http::{self, Connection, Reply, get, post};
use common::ocsp::{Answer, Asker, HASHES, Hash, UNAUTHORIZED, base64, request_for, serial_of, url_encoded};
use common::{Service, list, peers, run, text, tool};
use der::Encode;
use tempfile::TempDir;

struct Demo {
    service: Service,
    asker: Asker,
    directory: TempDir,
}

impl Demo {
    fn start() -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let service = Service::demo(directory.path(), &["--certificates", "200", "--revoked", "20"]);
        Demo { service, asker: Asker::new(&directory.path().join("issuing.pem")), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn url(&self) -> &str {
        &self.service.ocsp
    }

    fn good(&self) -> String {
        serial_of(&self.path("certificates/good.pem"))
    }

    /// A request whose base64 holds each of these.
    fn request_with(&self, wanted: &[&str]) -> Vec<u8> {
        let certificates = list(&self.path("kakunin.toml"), "issuing");
        let requests = certificates.iter().flat_map(|c| HASHES.map(|hash| self.asker.request(&c.serial, hash)));
        let fits = |request: &Vec<u8>| wanted.iter().all(|part| base64(request).contains(part));
        requests.into_iter().find(fits).unwrap_or_else(|| panic!("no request holds {wanted:?} in base64"))
    }
}

#[test]
fn o12_s3_5_get_in_every_form_gives_the_answer_of_the_post_octet_for_octet() {
    let demo = Demo::start();
    let request = demo.request_with(&["+", "/", "="]);
    let posted = post(demo.url(), "/ocsp", &request).body;
    assert!(Answer::decode(&posted).unwrap().basic.is_some());
    let (raw, encoded) = (base64(&request), url_encoded(&request));
    let unpadded = raw.trim_end_matches('=');
    for base in ["", "/ocsp", "/ocsp/issuing"] {
        let forms = [
            ("as RFC 6960 wants it", format!("{base}/{encoded}")),
            (
                "percent-encoded in lower case",
                format!("{base}/{}", encoded.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")),
            ),
            ("raw", format!("{base}/{raw}")),
            ("doubled slash", format!("{base}//{encoded}")),
            ("doubled slash, raw", format!("{base}//{raw}")),
            ("space for plus", format!("{base}/{}", encoded.replace("%2B", "%20"))),
            ("base64url", format!("{base}/{}", raw.replace('+', "-").replace('/', "_"))),
            ("base64url without padding", format!("{base}/{}", unpadded.replace('+', "-").replace('/', "_"))),
            ("no padding", format!("{base}/{unpadded}")),
            ("no padding, encoded", format!("{base}/{}", encoded.trim_end_matches("%3D"))),
        ];
        for (form, path) in forms {
            let reply = get(demo.url(), &path, &[]);
            assert_eq!((reply.status, &reply.body), (200, &posted), "{form}: {path}: {}", reply.text());
            assert_eq!(reply.expect("content-type"), "application/ocsp-response", "{form}");
        }
    }
    assert_eq!(peers::curl(&[&format!("{}/ocsp/{encoded}", demo.url())]), posted, "curl");
}

#[test]
fn http2_with_prior_knowledge_says_the_same() {
    let demo = Demo::start();
    let request = demo.asker.request(&demo.good(), Hash::Sha1);
    let (expected, url) = (post(demo.url(), "/", &request).body, format!("{}/{}", demo.url(), url_encoded(&request)));
    assert_eq!(peers::curl(&["--http2-prior-knowledge", &url]), expected);
    let file = demo.directory.path().join("request.der");
    std::fs::write(&file, &request).unwrap();
    let (body, media_type) = (format!("@{}", file.display()), "Content-Type: application/ocsp-request");
    assert_eq!(peers::curl(&["--http2-prior-knowledge", "-H", media_type, "--data-binary", &body, demo.url()]), expected);
    let many = run(tool("h2load").args(["-n", "400", "-c", "2", "-m", "16", &url]));
    assert!(text(&many).contains(" 400 succeeded, 0 failed, 0 errored, 0 timeout"), "{}", text(&many));
}

#[test]
fn o12_slashes_inside_a_request_are_never_collapsed() {
    let demo = Demo::start();
    let request = demo.asker.request_with_nonce(&demo.good(), Hash::Sha1, &[0xff; 32]);
    assert!(base64(&request).contains("////"), "{}", base64(&request));
    for path in [format!("/{}", base64(&request)), format!("/ocsp/{}", base64(&request)), format!("/ocsp//{}", url_encoded(&request))] {
        let answer = Answer::of(&get(demo.url(), &path, &[]));
        assert!(answer.is_good(), "{path}");
    }
}

#[test]
fn o12_post_works_at_every_base_and_minds_its_content_type() {
    let demo = Demo::start();
    let request = demo.asker.request(&demo.good(), Hash::Sha256);
    let expected = post(demo.url(), "/", &request).body;
    assert!(Answer::decode(&expected).unwrap().is_good());
    for path in ["/ocsp", "/ocsp/", "/ocsp/issuing"] {
        assert_eq!(post(demo.url(), path, &request).body, expected, "{path}");
    }
    let plain = http::exchange(demo.url(), "POST", "/ocsp", &[("Content-Type", "text/plain")], Some(&request));
    assert!((400..500).contains(&plain.status), "{}", plain.status);
    let options = http::exchange(demo.url(), "OPTIONS", "/ocsp", &[], None);
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
    for method in ["PUT", "DELETE", "PATCH"] {
        let refused = http::exchange(demo.url(), method, "/ocsp", &[], Some(b""));
        assert_eq!(refused.status, 405, "{method}");
        assert!(refused.expect("allow").contains("GET"), "{method}");
    }
    let elsewhere = post(demo.url(), "/ocsp/nobody", &request);
    let refused = elsewhere.status == 404 || (elsewhere.status == 200 && elsewhere.body == UNAUTHORIZED);
    assert!(refused, "an issuer that there is not: {} {}", elsewhere.status, elsewhere.text());
}

/// Content-Type, Content-Length, Date, Last-Modified, Expires, ETag and Cache-Control as rule O13 wants them.
fn check_authoritative(reply: &Reply, this_update: SystemTime, next_update: Option<SystemTime>) {
    let date = |name: &str| {
        let text = reply.expect(name);
        let time = httpdate::parse_http_date(text).unwrap_or_else(|e| panic!("{name}: {text}: {e}"));
        assert_eq!(httpdate::fmt_http_date(time), text, "{name}: IMF-fixdate");
        time
    };
    let now = date("date");
    let off = SystemTime::now().duration_since(now).unwrap_or_default();
    assert!(off < Duration::from_secs(5), "Date: {}", reply.expect("date"));
    assert_eq!(date("last-modified"), this_update);
    let etag = reply.expect("etag");
    assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");
    let directives: Vec<&str> = reply.expect("cache-control").split(',').map(str::trim).collect();
    for wanted in ["public", "no-transform", "must-revalidate"] {
        assert!(directives.contains(&wanted), "{directives:?}");
    }
    assert!(!directives.contains(&"no-cache") && !directives.contains(&"no-store"), "{directives:?}");
    let max_age = directives.iter().find_map(|d| d.strip_prefix("max-age=")).unwrap().parse().unwrap();
    assert!(max_age > 0, "{directives:?}");
    if let Some(next_update) = next_update {
        assert_eq!(date("expires"), next_update);
        assert!(now + Duration::from_secs(max_age) < next_update, "now + {max_age} s comes before nextUpdate");
    }
}

#[test]
fn o13_authoritative_answers_carry_what_caches_need() {
    let demo = Demo::start();
    for serial in [demo.good(), serial_of(&demo.path("certificates/revoked.pem"))] {
        for hash in HASHES {
            let request = demo.asker.request(&serial, hash);
            for reply in [post(demo.url(), "/ocsp", &request), get(demo.url(), &format!("/ocsp/{}", url_encoded(&request)), &[])] {
                let answer = Answer::of(&reply);
                let (this_update, next_update) = answer.times();
                assert_eq!(answer.basic.as_ref().unwrap().tbs_response_data.produced_at.0.to_system_time(), this_update, "producedAt");
                check_authoritative(&reply, this_update, Some(next_update));
                let validity = next_update.duration_since(this_update).unwrap() + Duration::from_secs(1);
                assert!(validity >= Duration::from_secs(8 * 3600) && validity <= Duration::from_secs(10 * 86_400), "T1: {validity:?}");
            }
        }
    }
}

#[test]
fn o13_what_a_cache_has_is_not_sent_again() {
    let demo = Demo::start();
    let request = demo.asker.request(&demo.good(), Hash::Sha1);
    for path in [
        format!("/ocsp/{}", url_encoded(&request)),
        "/crl/issuing.crl".to_owned(),
        "/crl/issuing/3.crl".to_owned(),
        "/ca/issuing.cer".to_owned(),
    ] {
        let first = get(demo.url(), &path, &[]);
        assert_eq!(first.status, 200, "{path}");
        let (etag, modified) = (first.expect("etag"), first.expect("last-modified"));
        for condition in [("If-None-Match", etag), ("If-None-Match", "*"), ("If-Modified-Since", modified)] {
            let again = get(demo.url(), &path, &[condition]);
            assert_eq!((again.status, again.body.len()), (304, 0), "{path}: {condition:?}");
            assert_eq!((again.expect("etag"), again.header("cache-control").is_some()), (etag, true), "{path}: {condition:?}");
        }
        for condition in
            [("If-None-Match", "\"other\""), ("If-Modified-Since", "Thu, 01 Jan 1970 00:16:40 GMT"), ("If-Modified-Since", "nonsense")]
        {
            assert_eq!(get(demo.url(), &path, &[condition]).body, first.body, "{path}: {condition:?}");
        }
        let head = http::exchange(demo.url(), "HEAD", &path, &[], None);
        let but_date =
            |reply: &Reply| reply.headers.iter().filter(|(name, _)| name != "date" && name != "cache-control").cloned().collect::<Vec<_>>();
        assert_eq!((head.status, head.body.len(), but_date(&head)), (200, 0, but_date(&first)), "{path}: HEAD is GET without a body");
    }
}

#[test]
fn o9_s3_7_unknown_serials_and_foreign_issuers_are_unauthorized_and_never_cached() {
    let demo = Demo::start();
    let mut foreign = demo.asker.cert_id(&demo.good(), Hash::Sha1);
    foreign.issuer_key_hash = der::asn1::OctetString::new([7u8; 20]).unwrap();
    let mut misnamed = demo.asker.cert_id(&demo.good(), Hash::Sha256);
    misnamed.issuer_name_hash = der::asn1::OctetString::new([7u8; 32]).unwrap();
    let mut requests = vec![request_for(foreign, None), request_for(misnamed, None)];
    for serial in ["01", "7fffffffffffffffffffffffffffffffffffffff", "00ff", "1000"] {
        requests.extend(HASHES.map(|hash| demo.asker.request(serial, hash)));
    }
    for request in requests {
        for reply in [post(demo.url(), "/ocsp", &request), get(demo.url(), &format!("/{}", url_encoded(&request)), &[])] {
            assert_eq!(Answer::of(&reply).basic, None, "O1: unsigned");
            assert_eq!(reply.body, UNAUTHORIZED);
            let caching = reply.expect("cache-control");
            assert!(caching.contains("no-store"), "{caching}");
            assert!(reply.header("etag").is_none() && reply.header("expires").is_none(), "{:?}", reply.headers);
        }
    }
}

/// Rule O11: nothing and more than 128 octets are malformed; 16 to 32 are accepted; the rest may be answered without.
#[test]
fn o11_nonces() {
    let demo = Demo::start();
    for length in [1, 15, 16, 32, 33, 128] {
        let answer = Answer::of(&post(demo.url(), "/", &demo.asker.request_with_nonce(&demo.good(), Hash::Sha1, &vec![9; length])));
        assert!(answer.is_good(), "{length} octets");
        assert_eq!(answer.basic.unwrap().tbs_response_data.response_extensions, None, "O8: a pre-produced answer has none");
    }
    for length in [0, 129, 200] {
        let reply = post(demo.url(), "/", &demo.asker.request_with_nonce(&demo.good(), Hash::Sha1, &vec![9; length]));
        assert_eq!(reply.body, [0x30, 0x03, 0x0a, 0x01, 0x01], "{length} octets: malformedRequest");
        assert!(reply.expect("cache-control").contains("no-store"));
    }
}

#[test]
fn o3_o14_the_response_is_what_rfc_9919_wants() {
    let demo = Demo::start();
    let responder = common::ocsp::certificate(&demo.path("issuing-ocsp.pem"));
    let answer = Answer::of(&post(demo.url(), "/", &demo.asker.request(&demo.good(), Hash::Sha1)));
    assert_eq!(answer.single().single_extensions, None, "O14: no reasonCode, S3.5");
    let basic = answer.basic.unwrap();
    assert_eq!(basic.certs, Some(vec![responder.clone()]), "O7");
    let key = responder.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &key);
    assert!(
        matches!(basic.tbs_response_data.responder_id, x509_ocsp::ResponderId::ByKey(by_key) if by_key.as_bytes() == hash.as_ref()),
        "O3"
    );
}

#[test]
fn c10_crls_and_ca_certificates_have_their_types_and_times() {
    let demo = Demo::start();
    for path in ["/crl/issuing.crl", "/crl/issuing/0.crl", "/crl/root.crl"] {
        let reply = get(demo.url(), path, &[]);
        assert_eq!((reply.status, reply.expect("content-type")), (200, "application/pkix-crl"), "{path}");
        let crl = <x509_cert::crl::CertificateList as der::Decode>::from_der(&reply.body).unwrap();
        let tbs = &crl.tbs_cert_list;
        check_authoritative(&reply, tbs.this_update.to_system_time(), Some(tbs.next_update.unwrap().to_system_time()));
        let part = get(demo.url(), path, &[("Range", "bytes=10-19")]);
        assert_eq!((part.status, &part.body[..]), (206, &reply.body[10..20]), "{path}: Range");
    }
    for name in ["issuing", "root"] {
        let reply = get(demo.url(), &format!("/ca/{name}.cer"), &[]);
        assert_eq!((reply.status, reply.expect("content-type")), (200, "application/pkix-cert"), "{name}");
        assert_eq!(reply.body, common::ocsp::certificate(&demo.path(&format!("{name}.pem"))).to_der().unwrap(), "{name}");
    }
    for path in ["/crl/nobody.crl", "/crl/issuing/99.crl", "/crl/issuing/x.crl", "/ca/nobody.cer", "/crl/../kakunin.toml", "/favicon.ico"] {
        assert_eq!(get(demo.url(), path, &[]).status, 404, "{path}");
    }
}

#[test]
fn many_requests_on_one_connection_and_ahead_of_their_answers() {
    let demo = Demo::start();
    let certificates = list(&demo.path("kakunin.toml"), "issuing");
    let wire: Vec<Vec<u8>> = certificates
        .iter()
        .map(|c| {
            http::request("POST", "/", &[("Content-Type", "application/ocsp-request")], Some(&demo.asker.request(&c.serial, Hash::Sha1)))
        })
        .collect();
    let mut connection = Connection::open(demo.url()).unwrap();
    for batch in wire.chunks(20).zip(certificates.chunks(20)) {
        connection.send(&batch.0.concat()).unwrap();
        for certificate in batch.1 {
            let answer = Answer::of(&connection.receive(false).unwrap());
            assert_eq!(
                answer.single().cert_id,
                demo.asker.cert_id(&certificate.serial, Hash::Sha1),
                "answers come in the order of the questions"
            );
            assert_eq!(answer.is_revoked(), certificate.is_revoked());
        }
    }
}
