//! Questions, policies and the lane, on the responder's test content and with sources that answer as they are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::content::Content;
use super::super::ocsp::Refusal;
use super::super::status_map::SlotTable;
use super::super::testing::{self, ISSUER, NEXT_UPDATE, NOW, REVOKED, serial, time};
use super::index::Index;
use super::question::{Decision, decide};
use super::*;
use crate::pki::ocsp_live::{LiveStatus, Question, SignedAnswer};
use crate::pki::ocsp_request::encode_request;
use crate::pki::{CertificateStatus, HashAlgorithm, IssuerHashes, Timestamp};
use der::{Decode, Encode};

const GOOD: LiveStatus = LiveStatus::Issued(CertificateStatus::Good);
const ALL: Policy = Policy { nonce: true, cert_id_hashes: true, several: true, unknown: UnknownSerial::Unknown };

fn request(algorithm: HashAlgorithm, number: u64) -> Vec<u8> {
    encode_request(&testing::hashes(algorithm), &serial(number))
}

/// One request for all certificates of several.
fn together(requests: &[Vec<u8>]) -> Vec<u8> {
    let mut all = requests.iter().map(|der| x509_ocsp::OcspRequest::from_der(der).unwrap());
    let mut first = all.next().unwrap();
    all.for_each(|mut request| first.tbs_request.request_list.append(&mut request.tbs_request.request_list));
    first.to_der().unwrap()
}

fn policies(policy: Policy) -> HashMap<Box<str>, Policy> {
    [(ISSUER.into(), policy)].into()
}

fn decided_with(content: &Content, der: &[u8], policy: Policy, now: u64) -> Decision {
    let index = Index::new(Arc::clone(&content.issuers()), &policies(policy), &Index::default());
    decide(&OcspRequest::from_der(der).unwrap(), None, &content.status, &index, time(now))
}

fn decided(der: &[u8], policy: Policy) -> Decision {
    decided_with(&testing::content(), der, policy, NOW)
}

fn live(decision: Decision) -> Question {
    match decision {
        Decision::Live(name, question) if name == ISSUER => question,
        other => panic!("{other:?}"),
    }
}

fn statuses(question: &Question) -> Vec<LiveStatus> {
    question.singles.iter().map(|single| single.status).collect()
}

#[test]
fn without_a_policy_nothing_is_asked() {
    let plain = request(HashAlgorithm::Sha1, 5);
    assert_eq!(decided(&plain, Policy::default()), Decision::PreSigned);
    assert_eq!(decided(&testing::with_nonce(&plain, 16, false), Policy::default()), Decision::PreSigned);
    assert_eq!(decided(&request(HashAlgorithm::Sha384, 5), Policy::default()), Decision::Refused(Refusal::Unauthorized));
    assert_eq!(decided(&request(HashAlgorithm::Sha1, 1000), Policy::default()), Decision::Refused(Refusal::UnusedSerial));
    assert_eq!(decided(&together(&[plain.clone(), plain]), Policy::default()), Decision::Refused(Refusal::Unauthorized));
    assert_eq!(Kinds::of([Policy::default()]), Kinds::default());
}

#[test]
fn o11_nonces_of_16_to_32_octets_are_echoed_and_others_are_not() {
    let plain = request(HashAlgorithm::Sha1, 5);
    assert_eq!(decided(&plain, ALL), Decision::PreSigned);
    for (length, echoed) in [(1, false), (15, false), (16, true), (32, true), (33, false), (128, false)] {
        match decided(&testing::with_nonce(&plain, length, false), ALL) {
            Decision::Live(_, question) => assert!(echoed && question.nonce == Some(vec![7; length].into()), "{length}"),
            decision => assert!(!echoed && decision == Decision::PreSigned, "{length}: {decision:?}"),
        }
    }
    let elsewhere = live(decided(&testing::with_nonce(&request(HashAlgorithm::Sha512, 5), 8, false), ALL));
    assert_eq!(elsewhere.nonce, None, "asked for another reason, without a nonce that is too short");
}

#[test]
fn c9_o5_the_status_is_that_of_the_packs_under_every_hash() {
    for algorithm in HashAlgorithm::ALL {
        for (number, status) in [(5, "good"), (REVOKED, "revoked")] {
            let der = testing::with_nonce(&request(algorithm, number), 16, false);
            let question = live(decided(&der, ALL));
            let said = if question.singles[0].status == GOOD { "good" } else { "revoked" };
            assert_eq!(said, status);
            let asked = x509_ocsp::OcspRequest::from_der(&der).unwrap().tbs_request.request_list.remove(0).req_cert;
            assert_eq!(*question.singles[0].cert_id, asked.to_der().unwrap());
        }
    }
    let mut bare = x509_ocsp::OcspRequest::from_der(&request(HashAlgorithm::Sha384, 5)).unwrap();
    bare.tbs_request.request_list[0].req_cert.hash_algorithm.parameters = None;
    let question = live(decided(&bare.to_der().unwrap(), ALL));
    assert_eq!(*question.singles[0].cert_id, bare.tbs_request.request_list[0].req_cert.to_der().unwrap(), "without parameters, as asked");
}

#[test]
fn c9_one_pack_that_knows_of_a_revocation_is_enough() {
    let content = testing::content();
    let sha256 = content.status.get(content.issuers()[0].id, HashAlgorithm::Sha256).unwrap();
    // Under one hash the revoked certificate is not known yet at all; under the other it is revoked.
    sha256.replace_table(testing::table(&sha256, testing::BITS, 0..REVOKED));
    let question = live(decided_with(&content, &request(HashAlgorithm::Sha512, REVOKED), ALL, NOW));
    assert!(matches!(question.singles[0].status, LiveStatus::Issued(CertificateStatus::Revoked(_))));
}

#[test]
fn o9_o10_a_serial_never_issued_is_answered_as_the_policy_says() {
    let der = request(HashAlgorithm::Sha256, 1_000_000);
    let with = |unknown| decided(&der, Policy { unknown, ..Policy::default() });
    assert_eq!(with(UnknownSerial::Unauthorized), Decision::Refused(Refusal::UnusedSerial));
    assert_eq!(statuses(&live(with(UnknownSerial::Unknown))), [LiveStatus::Unknown]);
    assert_eq!(statuses(&live(with(UnknownSerial::ExtendedRevoke))), [LiveStatus::NeverIssued]);
    let nonce = testing::with_nonce(&der, 16, false);
    let refused = decided(&nonce, Policy { nonce: true, ..Policy::default() });
    assert_eq!(refused, Decision::Refused(Refusal::UnusedSerial), "a nonce makes no certificate");
}

#[test]
fn o4_certificates_of_one_ca_are_answered_together_and_no_others() {
    let several = [(HashAlgorithm::Sha1, 5), (HashAlgorithm::Sha256, 6), (HashAlgorithm::Sha384, REVOKED), (HashAlgorithm::Sha1, 1000)];
    let requests: Vec<_> = several.iter().map(|(algorithm, number)| request(*algorithm, *number)).collect();
    let question = live(decided(&together(&requests), ALL));
    assert_eq!(question.singles.len(), 4);
    assert_eq!((question.singles[0].status, question.singles[3].status), (GOOD, LiveStatus::Unknown));
    let refused = Decision::Refused(Refusal::Unauthorized);
    assert_eq!(decided(&together(&requests[..3]), Policy { cert_id_hashes: false, ..ALL }), refused);
    assert_eq!(decided(&together(&requests[..2]), Policy { several: false, ..ALL }), refused);
    let mut stranger = requests[0].clone();
    let at = stranger.len() - 10;
    stranger[at] ^= 1;
    assert_eq!(decided(&together(&[requests[0].clone(), stranger]), ALL), refused);
    assert_eq!(live(decided(&together(&vec![requests[0].clone(); MAX_CERTIFICATES]), ALL)).singles.len(), MAX_CERTIFICATES);
    assert_eq!(decided(&together(&vec![requests[0].clone(); MAX_CERTIFICATES + 1]), ALL), refused);
}

#[test]
fn o13_what_the_packs_cannot_tell_now_is_try_later() {
    let (content, der) = (testing::content(), testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, false));
    let unused = request(HashAlgorithm::Sha1, 1000);
    let late = |der: &[u8]| decided_with(&content, der, ALL, NEXT_UPDATE);
    assert_eq!([late(&der), late(&unused)], [(); 2].map(|()| Decision::Refused(Refusal::NotCurrent)));
    content.status.directory().statuses().for_each(|status| status.replace_table(SlotTable::empty(3)));
    let unloaded = |der: &[u8]| decided_with(&content, der, ALL, NOW);
    assert_eq!([unloaded(&der), unloaded(&unused)], [(); 2].map(|()| Decision::Refused(Refusal::NotLoaded)));
}

#[test]
fn another_issuers_url_and_unknown_issuers_are_not_answered_live() {
    let (content, der) = (testing::content(), testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, false));
    let index = Index::new(Arc::clone(&content.issuers()), &policies(ALL), &Index::default());
    let request = OcspRequest::from_der(&der).unwrap();
    assert_eq!(decide(&request, Some("elsewhere"), &content.status, &index, time(NOW)), Decision::PreSigned);
    assert!(matches!(decide(&request, Some(ISSUER), &content.status, &index, time(NOW)), Decision::Live(..)));
    let again = Index::new(Arc::clone(&content.issuers()), &policies(ALL), &index);
    assert!(again.is_of(&content.issuers()) && matches!(decide(&request, None, &content.status, &again, time(NOW)), Decision::Live(..)));
    // The hashes of one algorithm under the name of another are nobody's.
    let hashes = IssuerHashes { algorithm: HashAlgorithm::Sha512, ..testing::hashes(HashAlgorithm::Sha1) };
    let mixed = encode_request(&hashes, &serial(5));
    assert_eq!(decide(&OcspRequest::from_der(&mixed).unwrap(), None, &content.status, &index, time(NOW)), Decision::PreSigned);
}

/// Keeps what it is asked until it is told to answer.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<Vec<Waiting>>>);

type Waiting = (Arc<Question>, Reply);

impl Source for Pending {
    fn answers_for(&self, _: &str, relayed: bool) -> bool {
        !relayed
    }

    fn ask(&self, issuer: &str, question: Arc<Question>, _: bool, reply: Reply) {
        assert_eq!(issuer, ISSUER);
        self.0.lock().unwrap().push((question, reply));
    }
}

impl Pending {
    fn answer(&self) -> usize {
        let pending = std::mem::take(&mut *self.0.lock().unwrap());
        let answered = pending.len();
        for (question, reply) in pending {
            let next_update = time(NOW + 5000);
            let answer = SignedAnswer { der: vec![1].into(), this_update: time(NOW), next_update, due: time(NOW + 1000), tag: [0; 12] };
            reply.give(Ok(Answered { question, answer }), time(NOW));
        }
        answered
    }
}

struct World {
    content: Arc<Content>,
    lane: Lane,
    pending: Pending,
}

fn world(timeout: Duration) -> World {
    let content = Arc::new(testing::content());
    content.feed.caught_up(time(NOW));
    let pending = Pending::default();
    let settings = Settings { timeout, cached_answers: 100 };
    World { lane: Lane::new(content.clone(), policies(ALL), Box::new(pending.clone()), settings), content, pending }
}

impl World {
    /// Asks each, all at once, and lets the source answer once everybody waits. Returns what came of it, and how many questions were asked.
    fn ask(&self, requests: &[Vec<u8>], now: u64) -> (Vec<LiveOutcome>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut asked = 0;
            let read: Vec<_> = requests.iter().map(|der| OcspRequest::from_der(der).unwrap()).collect();
            let waits: Vec<_> = read.iter().map(|request| Box::pin(self.lane.answer(request, None, false, move || time(now)))).collect();
            let mut outcomes = Vec::new();
            let mut waits: Vec<_> = waits.into_iter().map(Some).collect();
            for round in 0..2 {
                for wait in &mut waits {
                    let Some(future) = wait else { continue };
                    let polled = if round == 0 {
                        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
                    } else {
                        std::task::Poll::Ready(future.as_mut().await)
                    };
                    if let std::task::Poll::Ready(outcome) = polled {
                        outcomes.push(outcome);
                        *wait = None;
                    }
                }
                if round == 0 {
                    asked = self.pending.answer();
                }
            }
            (outcomes, asked)
        })
    }

    fn origin(&self, request: &[u8], now: u64) -> Origin {
        match self.ask(&[request.to_vec()], now).0.remove(0) {
            LiveOutcome::Answered(_, origin) => origin,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_same_question_is_asked_once_and_its_answer_is_kept_until_due() {
    let world = world(Duration::from_secs(20));
    let der = request(HashAlgorithm::Sha384, 5);
    let (outcomes, asked) = world.ask(&vec![der.clone(); 5], NOW);
    assert_eq!((outcomes.len(), asked), (5, 1));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, LiveOutcome::Answered(..))));
    assert_eq!(world.lane.cached_answers(), 1);
    assert_eq!(world.origin(&der, NOW + 59), Origin::Cached);
    world.content.feed.caught_up(time(NOW + 1000));
    assert_eq!(world.origin(&der, NOW + 1000), Origin::Signed, "due");
}

#[test]
fn o11_answers_with_a_nonce_are_not_kept() {
    let world = world(Duration::from_secs(20));
    let der = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, false);
    assert_eq!((world.origin(&der, NOW), world.origin(&der, NOW), world.lane.cached_answers()), (Origin::Signed, Origin::Signed, 0));
}

#[test]
fn c9_a_revocation_is_hidden_neither_by_a_kept_answer_nor_by_one_on_its_way() {
    let world = world(Duration::from_secs(20));
    let der = request(HashAlgorithm::Sha384, 5);
    assert_eq!(world.origin(&der, NOW), Origin::Signed);
    let revoke = |number| {
        for status in world.content.status.directory().statuses() {
            status.replace_table(testing::table_revoking(status, testing::BITS, 0..100, number));
        }
    };
    revoke(5);
    assert_eq!(world.origin(&der, NOW), Origin::Signed, "what is kept says good");
    // Between question and answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let other = request(HashAlgorithm::Sha384, 6);
    let other = OcspRequest::from_der(&other).unwrap();
    let outcome = runtime.block_on(async {
        let mut wait = Box::pin(world.lane.answer(&other, None, false, || time(NOW)));
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(wait.as_mut().poll(context).is_pending())).await);
        revoke(6);
        world.pending.answer();
        wait.await
    });
    assert!(matches!(outcome, LiveOutcome::Dropped(Dropped::Late)), "{outcome:?}");
}

#[test]
fn a_source_that_does_not_answer_is_waited_for_no_longer_than_the_bound() {
    let world = world(Duration::from_millis(10));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let der = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, false);
    let request = OcspRequest::from_der(&der).unwrap();
    let ask = || runtime.block_on(world.lane.answer(&request, None, false, || time(NOW)));
    assert!(matches!(ask(), LiveOutcome::Dropped(Dropped::Late)));
    assert!(!world.pending.0.lock().unwrap()[0].1.is_awaited());
    world.pending.0.lock().unwrap().clear();
    let waiting = std::thread::scope(|scope| {
        let answer = scope.spawn(|| {
            testing::wait_until(|| !world.pending.0.lock().unwrap().is_empty());
            world.pending.0.lock().unwrap().clear();
        });
        let outcome = ask();
        drop(answer);
        outcome
    });
    assert!(matches!(waiting, LiveOutcome::Dropped(Dropped::Failed | Dropped::Late)), "a reply that is dropped");
}

#[test]
fn o9_without_anybody_to_ask_everything_is_as_without_the_lane() {
    let world = world(Duration::from_secs(20));
    let der = request(HashAlgorithm::Sha384, 5);
    let request = OcspRequest::from_der(&der).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let outcome = runtime.block_on(world.lane.answer(&request, None, true, || time(NOW)));
    assert!(matches!(outcome, LiveOutcome::PreSigned), "{outcome:?}");
}

#[test]
fn c9_a_node_that_lags_behind_the_registry_says_nothing_new() {
    let world = world(Duration::from_secs(20));
    let der = request(HashAlgorithm::Sha384, 5);
    let (outcomes, asked) = world.ask(&[der], NOW + 61);
    assert!(matches!(outcomes[..], [LiveOutcome::Dropped(Dropped::Behind)]) && asked == 0, "{outcomes:?}");
}

/// Answers come over HTTP with the headers that fit them, and what the lane cannot answer is answered in its place.
#[test]
fn o11_o13_headers_and_what_is_answered_instead() {
    use super::super::service::{Limits, Service};
    use http_body_util::{BodyExt, Full};
    use hyper::Request;
    use hyper::header::CACHE_CONTROL;

    struct Fixed(Option<Dropped>);
    impl Source for Fixed {
        fn answers_for(&self, _: &str, _: bool) -> bool {
            true
        }

        fn ask(&self, _: &str, question: Arc<Question>, _: bool, reply: Reply) {
            let now = time(NOW);
            let answer = SignedAnswer {
                der: vec![0x30].into(),
                this_update: now,
                next_update: time(NOW + 5000),
                due: time(NOW + 1000),
                tag: [1; 12],
            };
            reply.give(self.0.map_or(Ok(Answered { question, answer }), Err), now);
        }
    }
    let ask = |source: Option<Dropped>, der: Vec<u8>| {
        let content = Arc::new(testing::content());
        content.feed.caught_up(time(NOW));
        let settings = Settings { timeout: Duration::from_secs(20), cached_answers: 10 };
        let lane = Arc::new(Lane::new(content.clone(), policies(ALL), Box::new(Fixed(source)), settings));
        let clock: fn() -> Timestamp = || time(NOW);
        let service = Service::new(content, Arc::default(), Limits::default(), clock).with_live(Some(lane));
        let (mut output, mut left) = (Vec::new(), 9);
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", der.len());
        let plain = service.answer_plain(&[head.as_bytes(), &der].concat(), &mut output, &mut Vec::new(), &mut left);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let response = service.respond(Request::post("/").body(Full::from(der)).unwrap()).await;
            let cache = response.headers()[CACHE_CONTROL].to_str().unwrap().to_owned();
            (cache, response.into_body().collect().await.unwrap().to_bytes().len(), plain.consumed > 0)
        })
    };
    let public = "max-age=1000, public, no-transform, must-revalidate";
    let nonce = testing::with_nonce(&request(HashAlgorithm::Sha1, 5), 16, false);
    assert_eq!(ask(None, nonce.clone()), ("no-store".into(), 1, false), "O11: for one client");
    assert_eq!(ask(None, request(HashAlgorithm::Sha384, 5)), (public.into(), 1, false));
    assert_eq!(ask(None, request(HashAlgorithm::Sha384, 1000)), ("no-store".into(), 1, false), "it may be issued yet");
    let (cache, length, plain) = ask(None, request(HashAlgorithm::Sha1, 5));
    assert!(cache.starts_with("max-age=3600") && length > 100 && plain, "pre-signed, and by the plain path");
    let (cache, length, _) = ask(Some(Dropped::Budget), nonce);
    assert!(cache.starts_with("max-age=3600") && length > 100, "the pre-signed answer without the nonce");
    assert_eq!(ask(Some(Dropped::Queue), request(HashAlgorithm::Sha384, 5)), ("no-store".into(), 5, false), "tryLater");
}
