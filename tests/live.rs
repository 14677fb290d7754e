//! The live lane as relying parties see it: nonces, other CertID hashes, several certificates, serials that were never issued, a flood of all that, and a
//! node without keys in front of one with keys.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::http::{self, Connection};
use common::ocsp::{Answer, Asker, Hash, serial_of};
use common::openssl_ca::{OpensslCa, P256, RSA, TakeOver};
use common::peers::{Authority, Expected};
use common::{PATIENCE, Service, World, fail, run, succeed, succeed_with_all, text, tool, until, with_config};
use der::Decode;
use x509_ocsp::{CertStatus, OcspResponseStatus};

/// Everything that can be answered live.
const ALL: &str = "\n[issuer.ocsp.live]\nnonce = true\nother_hashes = true\nseveral = true\nunknown = \"unknown\"\nbudget = 1000\n";

/// What `openssl ocsp` says, which must succeed, with these arguments.
fn openssl(authority: &Authority, arguments: &[&str]) -> String {
    let mut command = tool("openssl");
    command.args(["ocsp", "-issuer"]).arg(&authority.issuer).arg("-CAfile").arg(&authority.chain).arg("-url").arg(&authority.url);
    let said = succeed_with_all(command.args(arguments));
    assert!(said.contains("Response verify OK"), "{said}");
    said
}

const NO_NONCE: &str = "WARNING: no nonce in response";

/// The value of a metric, such as `kakunin_ocsp_live_total{kind="signed"}`.
fn metric(service: &Service, name: &str) -> u64 {
    let text = http::get(&service.admin, "/metrics", &[]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().unwrap()
}

fn live(service: &Service, kind: &str) -> u64 {
    metric(service, &format!("kakunin_ocsp_live_total{{kind=\"{kind}\"}}"))
}

fn dropped(service: &Service, kind: &str) -> u64 {
    metric(service, &format!("kakunin_ocsp_live_dropped_total{{kind=\"{kind}\"}}"))
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn o4_o5_o9_o11_openssl_and_gnutls_get_what_they_ask_for() {
    let world = World::new("200");
    let service = world.serve(&world.config("live.toml", "", ALL), &[]);
    let authority = world.authority(&service);
    let (good, revoked) = (world.good(), world.revoked());
    let (good_name, revoked_name) = (text_of(&good), text_of(&revoked));

    let said = openssl(&authority, &["-nonce", "-cert", good_name]);
    assert!(said.contains(&format!("{good_name}: good")) && !said.contains(NO_NONCE), "{said}");
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        authority.openssl_agrees(&good, hash, true, Expected::Good);
        authority.openssl_agrees(&revoked, hash, false, Expected::Revoked("keyCompromise"));
    }
    let several =
        ["-sha1", "-cert", good_name, "-sha512", "-cert", revoked_name, "-sha384", "-cert", good_name, "-serial", "0x1234", "-nonce"];
    let said = openssl(&authority, &several);
    let lines = [format!("{good_name}: good"), format!("{revoked_name}: revoked"), "0x1234: unknown".to_owned()];
    assert!(lines.iter().all(|line| said.contains(line)) && !said.contains(NO_NONCE), "{said}");

    let chain = authority.scratch.join("gnutls.pem");
    fs::write(&chain, [fs::read(&good).unwrap(), fs::read(&authority.issuer).unwrap()].concat()).unwrap();
    let output = run(tool("ocsptool").arg(format!("--ask={}", authority.url)).arg("--nonce").arg("--load-chain").arg(&chain));
    let said = text(&output);
    assert!(
        said.contains("Certificate Status: good") && said.contains("Verifying OCSP Response: Success.") && said.contains("Nonce: "),
        "{said}"
    );
    assert_eq!(dropped(&service, "late") + dropped(&service, "failed"), 0);
    service.stop();
}

#[test]
fn o10_o11_o13_answers_keep_to_the_letter() {
    let world = World::new("100");
    let config = world.config("live.toml", "", &ALL.replace("\"unknown\"", "\"extended-revoke\""));
    let said = fail(&mut with_config("serve", &config, &[]));
    assert!(said.contains("ocsp.live.unknown: found 'extended-revoke'") && said.contains("(O10, baseline-requirements)"), "{said}");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"baseline-requirements\", ", "")).unwrap();
    let service = world.serve(&config, &[]);
    let (asker, authority, good) = (world.asker(), world.authority(&service), serial_of(&world.good()));
    let post = |request: &[u8]| http::post(&service.ocsp, "/ocsp", request);
    let pre_signed = asker.ask(&service.ocsp, &good, Hash::Sha1);
    for length in [1, 15, 16, 32, 33, 128] {
        let nonce = vec![length as u8; length];
        let reply = post(&asker.request_with_nonce(&good, Hash::Sha1, &nonce));
        let answer = Answer::of(&reply);
        assert!(answer.is_good());
        if (16..=32).contains(&length) {
            assert_eq!((answer.nonce(), reply.expect("cache-control")), (Some(nonce), "no-store"));
            authority.response_is_clean(&reply.body);
        } else {
            assert_eq!(answer, pre_signed, "{length} octets");
        }
    }
    for length in [0, 129] {
        let answer = Answer::of(&post(&asker.request_with_nonce(&good, Hash::Sha1, &vec![1; length])));
        assert_eq!(answer.status, OcspResponseStatus::MalformedRequest);
    }
    let (first, second) = (post(&asker.request(&good, Hash::Sha384)), post(&asker.request(&good, Hash::Sha384)));
    assert_eq!(first.body, second.body, "kept until due");
    assert!(first.expect("cache-control").starts_with("max-age="), "{:?}", first.headers);
    assert_eq!((live(&service, "cached"), first.expect("etag")), (1, second.expect("etag")));
    authority.response_is_clean(&first.body);

    let never = post(&asker.request("1234", Hash::Sha256));
    assert_eq!(never.expect("cache-control"), "no-store");
    let answer = Answer::of(&never);
    let CertStatus::Revoked(info) = answer.single().cert_status else { panic!("{answer:?}") };
    assert_eq!(info.revocation_time.0.to_unix_duration(), Duration::ZERO);
    let said = openssl(&authority, &["-serial", "0x1234", "-nonce"]);
    assert!(said.contains("0x1234: revoked") && said.contains("Reason: certificateHold") && !said.contains(NO_NONCE), "{said}");
    let printed = openssl(&authority, &["-serial", "0x1234", "-no_nonce", "-resp_text"]);
    // OpenSSL has an older name for 1.3.6.1.5.5.7.48.1.9.
    assert!(printed.contains("Response Extensions:\n        valid: "), "{printed}");
    service.stop();
}

#[test]
fn o9_without_a_policy_everything_is_as_before() {
    let world = World::new("100");
    let service = world.serve(&world.config("plain.toml", "", ""), &[]);
    let (asker, good) = (world.asker(), serial_of(&world.good()));
    let said = openssl(&world.authority(&service), &["-nonce", "-cert", text_of(&world.good())]);
    assert!(said.contains(NO_NONCE), "{said}");
    for (serial, hash) in [(good.as_str(), Hash::Sha384), ("1234", Hash::Sha1)] {
        assert_eq!(asker.ask(&service.ocsp, serial, hash).status, OcspResponseStatus::Unauthorized);
    }
    service.stop();
}

/// Octets that differ each time.
fn random(number: usize) -> [u8; 16] {
    (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).rotate_left(61).to_be_bytes().map(|octet| octet & 0x7f | 1)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn s2_2_a_flood_of_random_serials_and_nonces_delays_no_revocation_and_no_refresh() {
    let world = World::new("4000");
    // Of four slots one is signed anew every fifteen seconds.
    let last = format!("\n[issuer.ocsp]\nrefresh = \"1m\"\n{}", ALL.replace("1000", "50"));
    let config = world.config("flood.toml", "", &last);
    let service = world.serve(&config, &[]);
    let (asker, good) = (world.asker(), serial_of(&world.good()));
    let (done, sent, answered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(&service.ocsp).unwrap();
                while !done.load(Relaxed) {
                    let number = sent.fetch_add(1, Relaxed);
                    let (serial, nonce) =
                        if number % 2 == 0 { (hex(&random(number)), random(number)) } else { (good.clone(), random(number)) };
                    let body = asker.request_with_nonce(&serial, Hash::Sha384, &nonce);
                    let request = http::request("POST", "/ocsp", &[("Content-Type", "application/ocsp-request")], Some(&body));
                    let answer = Answer::of(&connection.exchange(&request).unwrap());
                    match answer.status {
                        OcspResponseStatus::Successful => {
                            assert_eq!(answer.nonce(), Some(nonce.to_vec()));
                            answered.fetch_add(1, Relaxed);
                        }
                        status => assert_eq!(status, OcspResponseStatus::TryLater),
                    }
                }
            });
        }
        let flood = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(PATIENCE, "a flood", || (sent.load(Relaxed) > 2000).then_some(()));
            succeed(&mut with_config("revoke", &config, &["--issuer", "issuing", "--reason", "superseded", "--serial", &good]));
            until(Duration::from_secs(10), "the revocation", || asker.ask(&service.ocsp, &good, Hash::Sha1).is_revoked().then_some(()));
            until(Duration::from_secs(10), "the revocation, live", || {
                let answer = asker.ask(&service.ocsp, &good, Hash::Sha512);
                (answer.status == OcspResponseStatus::Successful).then(|| assert!(answer.is_revoked()))
            });
            let packs = metric(&service, "kakunin_signing_packs_published_total ");
            until(PATIENCE, "a refresh", || (metric(&service, "kakunin_signing_packs_published_total ") >= packs + 2).then_some(()));
        }));
        done.store(true, Relaxed);
        if let Err(failure) = flood {
            std::panic::resume_unwind(failure);
        }
    });
    assert!(sent.load(Relaxed) > 2000 && answered.load(Relaxed) > 50, "{answered:?} of {sent:?}");
    assert!(dropped(&service, "budget") > 1000);
    service.stop();
}

#[test]
fn a_node_without_keys_passes_questions_on() {
    let world = World::new("200");
    let mut behind = world.serve(&world.config("behind.toml", "", ALL), &[]);
    let upstream = |url: &str| format!("[live]\nupstream = \"{url}\"\n");
    let front = world.serve(&world.config("front.toml", &upstream(&behind.ocsp), ALL), &["--roles", "responder"]);
    let authority = world.authority(&front);
    let said = openssl(&authority, &["-nonce", "-cert", text_of(&world.good())]);
    assert!(!said.contains(NO_NONCE), "{said}");
    authority.openssl_agrees(&world.revoked(), Hash::Sha512, false, Expected::Revoked("keyCompromise"));
    authority.openssl_agrees(&world.revoked(), Hash::Sha512, false, Expected::Revoked("keyCompromise"));
    let said = openssl(&authority, &["-cert", text_of(&world.good()), "-serial", "0x1234", "-nonce"]);
    assert!(said.contains("0x1234: unknown") && !said.contains(NO_NONCE), "{said}");
    assert_eq!((live(&front, "signed"), live(&front, "cached")), (3, 1));
    assert_eq!(live(&behind, "signed"), 3);

    behind.process.kill();
    let said = openssl(&authority, &["-nonce", "-cert", text_of(&world.good())]);
    assert!(said.contains(NO_NONCE), "the pre-signed answer: {said}");
    authority.openssl_agrees(&world.revoked(), Hash::Sha512, false, Expected::Revoked("keyCompromise"));
    let answer = world.asker().ask(&front.ocsp, &serial_of(&world.good()), Hash::Sha384);
    assert_eq!(answer.status, OcspResponseStatus::TryLater);
    assert_eq!(dropped(&front, "failed"), 2);
    front.stop();
}

#[test]
fn nodes_that_ask_each_other_go_round_in_no_circle() {
    let world = World::new("100");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = world.config("self.toml", &format!("[live]\nupstream = \"http://{free}\"\n"), ALL);
    let text = fs::read_to_string(&config).unwrap().replacen("127.0.0.1:0", &free.to_string(), 1);
    fs::write(&config, text).unwrap();
    let service = world.serve(&config, &["--roles", "responder"]);
    let said = openssl(&world.authority(&service), &["-nonce", "-cert", text_of(&world.good())]);
    assert!(said.contains(NO_NONCE), "{said}");
    assert_eq!(dropped(&service, "failed"), 1, "as asked; what was passed on is answered as without a live lane");
    service.stop();
}

#[test]
fn s1_4_keys_on_a_token_answer_live_beside_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let [rsa, p256] = [RSA, P256].map(|kind| OpensslCa::create(&directory.path().join(kind.name), kind));
    let taken_over = TakeOver::prepare(directory.path(), &[&rsa, &p256]);
    let text = fs::read_to_string(&taken_over.config).unwrap();
    fs::write(
        &taken_over.config,
        text.replace("[issuer.crl]\n", &format!("{ALL}[issuer.crl]\n")).replace("pin_file", "sessions = 1\npin_file"),
    )
    .unwrap();
    for ca in [&rsa, &p256] {
        taken_over.import(ca, "index.txt");
    }
    let service = taken_over.serve();
    for ca in [&rsa, &p256] {
        let (issuer, chain) = (ca.path("ca.pem"), ca.path("ca.pem"));
        let authority = Authority { issuer, chain, url: service.ocsp.clone(), scratch: directory.path().to_owned() };
        let (good, revoked) = (ca.leaf(1), ca.leaf(3));
        let said = openssl(&authority, &["-nonce", "-sha384", "-cert", text_of(&good), "-sha256", "-cert", text_of(&revoked)]);
        let lines = [format!("{}: good", text_of(&good)), format!("{}: revoked", text_of(&revoked))];
        assert!(lines.iter().all(|line| said.contains(line)) && !said.contains(NO_NONCE), "{said}");
    }
    assert_eq!(live(&service, "signed"), 2);
    service.stop();
}

#[test]
fn o9_a_strangers_certificate_beside_ours_makes_the_whole_request_unauthorized() {
    let world = World::new("100");
    let service = world.serve(&world.config("live.toml", "", ALL), &[]);
    let request = |asker: &Asker, path: &Path| x509_ocsp::OcspRequest::from_der(&asker.request(&serial_of(path), Hash::Sha1)).unwrap();
    let mut both = request(&world.asker(), &world.good());
    let other = request(&Asker::new(&world.path("root.pem")), &world.path("issuing.pem"));
    both.tbs_request.request_list.extend(other.tbs_request.request_list);
    let reply = http::post(&service.ocsp, "/ocsp", &der::Encode::to_der(&both).unwrap());
    assert_eq!(Answer::of(&reply).status, OcspResponseStatus::Unauthorized);
    service.stop();
}
