//! Real keys, real threads, and waiters that only note what they are told.

use std::sync::mpsc::{Receiver, Sender, channel};

use aws_lc_rs::rand::SystemRandom;

use super::*;
use crate::issuance::{RootOrder, Validity, random_serial, self_signed_root};
use crate::pki::ocsp_live::{LiveSingle, LiveStatus};
use crate::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, KeyAlgorithm, Revocation, RevocationReason};
use crate::registry::SignerId;
use crate::signing::{ExpiredEntries, describe_signer};
use crate::token::software::SoftwareKey;
use crate::token::{Key, SigningKey, TokenError};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TIMING: Timing = Timing { validity: Duration::from_secs(7 * 86_400), refresh: Duration::from_secs(84 * 3600) };

fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// A CA that signs its own OCSP responses, until so long from now.
fn ca(algorithm: KeyAlgorithm, left: Duration) -> (Key, CertificateInfo) {
    let key: Key = Arc::new(SoftwareKey::generate(algorithm).unwrap());
    let validity = Validity { not_before: now(), not_after: now().saturating_add(left) };
    let serial = random_serial(&SystemRandom::new()).unwrap();
    let order = RootOrder { subject: "CN=Live CA", serial, validity, signs_ocsp: true };
    let certificate = CertificateInfo::from_der(&self_signed_root(&order, key.as_ref()).unwrap()).unwrap();
    (key, certificate)
}

fn signing(key: Key, certificate: &CertificateInfo, budget: u32) -> LiveSigning {
    signing_of(key, certificate, budget, ExpiredEntries::UntilListed)
}

fn signing_of(key: Key, certificate: &CertificateInfo, budget: u32, expired: ExpiredEntries) -> LiveSigning {
    let signer = describe_signer(&key, certificate, None, &Default::default(), expired).unwrap();
    let responder = ResponseSigner { key, signer, id: SignerId(1), not_after: certificate.not_after };
    LiveSigning { name: "ca".into(), responder, timing: TIMING, budget: NonZeroU32::new(budget).unwrap() }
}

const STATUSES: [LiveStatus; 4] = [
    LiveStatus::Issued(CertificateStatus::Good),
    LiveStatus::Issued(CertificateStatus::Revoked(Revocation {
        at: Timestamp::GENERALIZED_FROM,
        reason: Some(RevocationReason::KeyCompromise),
    })),
    LiveStatus::Unknown,
    LiveStatus::NeverIssued,
];

fn question(certificate: &CertificateInfo, statuses: &[LiveStatus], nonce: Option<u8>) -> Arc<Question> {
    let hashes = IssuerHashes::of(certificate, HashAlgorithm::Sha512);
    let single =
        |(number, status): (usize, &LiveStatus)| LiveSingle { cert_id: hashes.cert_id(&[number as u8 + 1]).into(), status: *status };
    Arc::new(Question { singles: statuses.iter().enumerate().map(single).collect(), nonce: nonce.map(|octet| [octet; 16].into()) })
}

/// Signs what has been written at the same time.
fn sign(lane: &IssuerLane, question: &Question, now: Timestamp) -> Result<SignedAnswer, SigningError> {
    lane.sign(question, lane.draft(question, now), now)
}

/// Tells what it was told.
struct Note {
    sender: Sender<Result<SignedAnswer, NotSigned>>,
    waiting: bool,
}

impl Waiter for Note {
    fn is_waiting(&self) -> bool {
        self.waiting
    }

    fn done(self: Box<Self>, answer: Result<SignedAnswer, NotSigned>, _: Timestamp) {
        let _ = self.sender.send(answer);
    }
}

struct Asked(Receiver<Result<SignedAnswer, NotSigned>>);

impl Asked {
    fn ask(signer: &LiveSigner, question: &Arc<Question>, waiting: bool) -> Asked {
        let (sender, receiver) = channel();
        signer.submit("ca", question.clone(), Box::new(Note { sender, waiting }), now());
        Asked(receiver)
    }

    fn answer(&self) -> Result<SignedAnswer, NotSigned> {
        self.0.recv_timeout(Duration::from_secs(60)).expect("every waiter is told")
    }
}

#[test]
fn o4_o10_o11_o14_t1_t3_every_kind_of_answer_passes_its_check_with_every_key() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519] {
        let (key, certificate) = ca(algorithm, 365 * DAY);
        let expired = if algorithm == KeyAlgorithm::EcdsaP384 { ExpiredEntries::ForEver } else { ExpiredEntries::UntilListed };
        let lane = IssuerLane::new(signing_of(key, &certificate, 100, expired));
        for statuses in [&STATUSES[..1], &STATUSES[1..2], &STATUSES[2..3], &STATUSES[3..], &STATUSES] {
            for nonce in [None, Some(7)] {
                let question = question(&certificate, statuses, nonce);
                lane.passed.store(false, Relaxed);
                let answer = sign(&lane, &question, now()).unwrap();
                let validity = if question.is_about_issued() { TIMING.validity } else { UNKNOWN_VALIDITY };
                assert_eq!(answer.next_update.since(answer.this_update), validity - Duration::from_secs(1));
                assert!(answer.due < answer.next_update);
            }
        }
    }
}

#[test]
fn a_wrong_answer_is_found() {
    let (key, certificate) = ca(KeyAlgorithm::EcdsaP256, 365 * DAY);
    let lane = IssuerLane::new(signing(key, &certificate, 100));
    let asked = question(&certificate, &STATUSES[..1], Some(7));
    let answer = sign(&lane, &asked, now()).unwrap();
    let rule = |question: &Question, answer: &SignedAnswer| check::check(question, answer, &lane.signing.responder).unwrap_err().rule;
    assert_eq!(rule(&question(&certificate, &STATUSES[..1], Some(8)), &answer), "O11");
    assert_eq!(rule(&question(&certificate, &STATUSES[..1], None), &answer), "O11");
    assert_eq!(rule(&question(&certificate, &STATUSES[1..2], Some(7)), &answer), "C9");
    assert_eq!(rule(&question(&certificate, &STATUSES[3..], Some(7)), &answer), "O10");
    assert_eq!(rule(&question(&certificate, &STATUSES[..2], Some(7)), &answer), "O4");
    let mut other = Question::clone(&asked);
    other.singles[0].cert_id = IssuerHashes::of(&certificate, HashAlgorithm::Sha1).cert_id(&[1]).into();
    assert_eq!(rule(&other, &answer), "O5");
    assert_eq!(rule(&asked, &SignedAnswer { next_update: now().saturating_add(DAY), ..answer.clone() }), "O6");
    assert_eq!(rule(&asked, &SignedAnswer { this_update: now().saturating_add(HOUR), ..answer.clone() }), "O13");
    let (mut octets, forged) = (answer.der.to_vec(), |octets: &[u8]| SignedAnswer { der: octets.to_vec().into(), ..answer.clone() });
    *octets.last_mut().unwrap() ^= 1;
    assert_eq!(rule(&asked, &forged(&octets)), "O15");
    assert_eq!(rule(&asked, &forged(&octets[..40])), "O1");
    let strangers = ca(KeyAlgorithm::EcdsaP256, 365 * DAY);
    let stranger = signing(strangers.0, &strangers.1, 1);
    assert_eq!(check::check(&asked, &answer, &stranger.responder).unwrap_err().rule, "O3");
    let mut ended = signing(lane.signing.responder.key.clone(), &certificate, 1);
    ended.responder.not_after = now().saturating_add(HOUR);
    assert_eq!(check::check(&asked, &answer, &ended.responder).unwrap_err().rule, "T3");
    let archiving = signing_of(lane.signing.responder.key.clone(), &certificate, 1, ExpiredEntries::ForEver);
    assert_eq!(check::check(&asked, &answer, &archiving.responder).unwrap_err().rule, "C6", "there is no ArchiveCutoff");
    let answer = sign(&IssuerLane::new(archiving), &asked, now()).unwrap();
    assert_eq!(rule(&asked, &answer), "C6", "there is an ArchiveCutoff");
}

#[test]
fn t1_t3_times_follow_the_policy_and_the_certificate() {
    let at = |time: Timestamp| time.since(now());
    let (next_update, due) = times(true, TIMING, Timestamp::MAX, now());
    assert_eq!((at(next_update), at(due)), (TIMING.validity - Duration::from_secs(1), TIMING.refresh));
    let (next_update, due) = times(true, TIMING, now().saturating_add(2 * HOUR), now());
    assert_eq!((at(next_update), at(due)), (2 * HOUR, HOUR));
    let (next_update, due) = times(false, TIMING, Timestamp::MAX, now());
    assert_eq!((at(next_update), at(due)), (8 * HOUR - Duration::from_secs(1), HOUR));
}

#[test]
fn t3_a_signer_whose_certificate_has_ended_signs_nothing() {
    let (key, certificate) = ca(KeyAlgorithm::EcdsaP256, HOUR);
    let lane = IssuerLane::new(signing(key, &certificate, 100));
    let question = question(&certificate, &STATUSES[..1], None);
    assert!(sign(&lane, &question, now()).is_ok());
    // Whether it had ended when the question came, or has since.
    for drafted_at in [now().saturating_add(HOUR), now()] {
        let signed = lane.sign(&question, lane.draft(&question, drafted_at), now().saturating_add(HOUR));
        assert!(matches!(signed, Err(SigningError::Gate(refusal)) if refusal.findings[0].rule == "T3"));
    }
}

#[test]
fn o13_an_answer_has_the_time_at_which_it_is_signed() {
    let (key, certificate) = ca(KeyAlgorithm::EcdsaP256, 365 * DAY);
    let lane = IssuerLane::new(signing(key, &certificate, 100));
    let question = question(&certificate, &STATUSES[..1], Some(7));
    let later = now().saturating_add(Duration::from_secs(1));
    let answer = lane.sign(&question, lane.draft(&question, now()), later).unwrap();
    assert_eq!((answer.this_update, answer.next_update.since(later)), (later, TIMING.validity - Duration::from_secs(1)));
    check::check(&question, &answer, &lane.signing.responder).unwrap();
}

#[test]
fn who_does_not_fit_into_budget_or_queue_is_told_at_once() {
    let (key, certificate) = ca(KeyAlgorithm::EcdsaP256, 365 * DAY);
    let question = question(&certificate, &STATUSES[..1], Some(7));
    let signer = LiveSigner::new(3);
    assert_eq!(Asked::ask(&signer, &question, true).answer(), Err(NotSigned::Failed), "no such issuer");
    signer.add(signing(key.clone(), &certificate, 2));
    assert!(signer.signs_for("ca") && !signer.signs_for("other"));
    let taken: Vec<_> = (0..2).map(|_| Asked::ask(&signer, &question, true)).collect();
    assert_eq!(Asked::ask(&signer, &question, true).answer(), Err(NotSigned::Budget));
    signer.add(signing(key, &certificate, 100));
    let (third, full) = (Asked::ask(&signer, &question, false), Asked::ask(&signer, &question, true));
    assert_eq!(full.answer(), Err(NotSigned::Queue));
    let threads = signer.start(2, now).unwrap();
    assert!(taken.iter().all(|asked| asked.answer().is_ok()));
    assert_eq!(third.answer(), Err(NotSigned::Abandoned), "nobody waited any more");
    signer.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(Asked::ask(&signer, &question, true).answer(), Err(NotSigned::Queue), "stopped");
}

/// A token that makes no signature, or a wrong one.
struct Broken(SoftwareKey, bool);

impl SigningKey for Broken {
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.0.key_algorithm()
    }

    fn signature_algorithm(&self) -> crate::pki::SignatureAlgorithm {
        self.0.signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn token(&self) -> &str {
        ""
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let trial = message.starts_with(b"kakunin");
        let failed = || TokenError::Signing { key: self.0.key_algorithm(), why: "out of order".to_owned() };
        if self.1 || trial { self.0.sign(if trial { message } else { b"something else" }) } else { Err(failed()) }
    }
}

#[test]
fn a_token_that_fails_or_signs_something_else_answers_nothing() {
    for wrong in [false, true] {
        let (_, certificate) = ca(KeyAlgorithm::EcdsaP256, 365 * DAY);
        let real = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let certificate = CertificateInfo { spki: real.public_key().to_vec(), ..certificate };
        let signer = LiveSigner::new(10);
        signer.add(signing(Arc::new(Broken(real, wrong)), &certificate, 100));
        let threads = signer.start(1, now).unwrap();
        let question = question(&certificate, &STATUSES[..1], Some(7));
        for _ in 0..3 {
            assert_eq!(Asked::ask(&signer, &question, true).answer(), Err(NotSigned::Failed));
        }
        signer.stop();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
