//! Signing the answers to questions while somebody waits for them.
//!
//! Threads of its own take questions from a bounded queue; whoever asks is never blocked. Each issuer has a budget of signatures a second, so that a flood of
//! questions takes no more of the token than was set aside for it; on a PKCS#11 token the threads have sessions beside the worker's. Revocations and refresh
//! never wait behind a question: they are the worker's, on other threads.
//!
//! The first answer of each key, and one in [`SAMPLE_ONE_IN`] after it, are read again and held against the rules before they are given. After a finding every
//! answer is, until one passes.

mod budget;
mod check;
mod queue;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::error;

use super::gate::{Finding, Refusal};
use super::{IssuerSigning, ResponseSigner, SigningError, Timing, schedule};
use crate::pki::Timestamp;
use crate::pki::ocsp_live::{LiveTemplate, Question, SignedAnswer, UnsignedAnswer, tag_of};

pub use budget::Budget;
use queue::Queue;

/// One answer in so many is checked, after the first of its key.
pub const SAMPLE_ONE_IN: u64 = 128;
/// Validity of an answer about a serial that was never issued: the certificate may be issued yet, so it is the least that rule T1 allows.
const UNKNOWN_VALIDITY: Duration = Duration::from_secs(8 * 3600);
/// How long such an answer may be given again.
const UNKNOWN_KEPT: Duration = Duration::from_secs(3600);
/// How long an answer may be held back while others are signed, but for the time of one signature.
const HELD: Duration = Duration::from_millis(1);

/// Who waits for an answer.
pub trait Waiter: Send {
    /// Whether there is still somebody.
    fn is_waiting(&self) -> bool;

    /// The answer, or why there is none, at this time. Must not block.
    fn done(self: Box<Self>, answer: Result<SignedAnswer, NotSigned>, now: Timestamp);
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSigned {
    /// The issuer's budget is used up.
    Budget,
    /// The queue is full.
    Queue,
    /// Nobody waited any more when its turn came.
    Abandoned,
    /// The token failed, the signer's certificate has ended, or the answer broke a rule: see the log.
    Failed,
}

/// One issuer, and what may be signed for it.
pub struct LiveSigning {
    name: String,
    responder: ResponseSigner,
    timing: Timing,
    budget: NonZeroU32,
}

impl LiveSigning {
    /// What is needed to sign answers for an issuer, at most `budget` a second; `None` where nobody here signs its OCSP responses.
    pub fn of(signing: &IssuerSigning, budget: NonZeroU32) -> Option<LiveSigning> {
        let ResponseSigner { key, signer, id, not_after } = signing.responder.as_ref()?;
        let responder = ResponseSigner { key: key.clone(), signer: signer.clone(), id: *id, not_after: *not_after };
        Some(LiveSigning { name: signing.issuer.name.clone(), responder, timing: signing.ocsp_timing, budget })
    }
}

/// Answers questions on threads of its own.
#[derive(Clone)]
pub struct LiveSigner(Arc<Shared>);

struct Shared {
    issuers: ArcSwap<HashMap<String, Arc<IssuerLane>>>,
    queue: Queue<Job>,
    /// What budgets count from.
    started: Instant,
    /// The second in which a failure was last logged.
    logged_at: AtomicU64,
}

struct IssuerLane {
    signing: LiveSigning,
    template: LiveTemplate,
    budget: Budget,
    signed: AtomicU64,
    /// Whether an answer has passed, and none has failed since.
    passed: AtomicBool,
}

/// An answer on its way to who waits for it.
struct Given {
    waiter: Box<dyn Waiter>,
    answer: Result<SignedAnswer, NotSigned>,
    now: Timestamp,
}

fn give(held: &mut Vec<Given>) {
    held.drain(..).for_each(|Given { waiter, answer, now }| waiter.done(answer, now));
}

struct Job {
    issuer: Arc<IssuerLane>,
    question: Arc<Question>,
    draft: Draft,
    waiter: Box<dyn Waiter>,
}

/// All of an answer but its signature, if it is signed at the time for which it was written.
struct Draft {
    unsigned: UnsignedAnswer,
    this_update: Timestamp,
    next_update: Timestamp,
    due: Timestamp,
}

impl LiveSigner {
    /// For no issuer yet, with a queue of `queue` questions.
    pub fn new(queue: usize) -> LiveSigner {
        let (issuers, queue) = (ArcSwap::default(), Queue::new(queue));
        LiveSigner(Arc::new(Shared { issuers, queue, started: Instant::now(), logged_at: AtomicU64::new(0) }))
    }

    /// Answers questions about this issuer too, from now on.
    pub fn add(&self, signing: LiveSigning) {
        let issuer = Arc::new(IssuerLane::new(signing));
        self.0.issuers.rcu(|before| {
            let mut issuers = HashMap::clone(before);
            issuers.insert(issuer.signing.name.clone(), issuer.clone());
            issuers
        });
    }

    /// Starts so many threads, which tell the time by `clock`.
    pub fn start(&self, threads: usize, clock: fn() -> Timestamp) -> std::io::Result<Vec<JoinHandle<()>>> {
        let spawn = |number| {
            let shared = self.0.clone();
            std::thread::Builder::new().name(format!("live-{number}")).spawn(move || shared.work(clock))
        };
        (0..threads).map(spawn).collect()
    }

    /// Whether questions about this issuer are answered here.
    pub fn signs_for(&self, issuer: &str) -> bool {
        self.0.issuers.load().contains_key(issuer)
    }

    /// Takes a question on, to be answered on behalf of `issuer`. Never blocks: where it cannot be taken on, the waiter is told so at once.
    pub fn submit(&self, issuer: &str, question: Arc<Question>, waiter: Box<dyn Waiter>, now: Timestamp) {
        let Some(issuer) = self.0.issuers.load().get(issuer).cloned() else { return waiter.done(Err(NotSigned::Failed), now) };
        if !issuer.budget.take(self.0.started.elapsed()) {
            return waiter.done(Err(NotSigned::Budget), now);
        }
        // Whoever signs has nothing to do but that, as long as it comes to it within the second.
        let draft = issuer.draft(&question, now);
        if let Err(job) = self.0.queue.push(Job { issuer, question, draft, waiter }) {
            job.waiter.done(Err(NotSigned::Queue), now);
        }
    }

    /// Ends the threads. What was not answered is dropped.
    pub fn stop(&self) {
        self.0.queue.close();
    }
}

impl Shared {
    /// Signs what comes, until the end. Answers are given some at a time while at least as many questions wait: to wake somebody takes a good part of what a
    /// signature does, and on a virtual machine what comes after it is slower for a while.
    fn work(&self, clock: fn() -> Timestamp) {
        let (mut held, mut held_since) = (Vec::new(), Instant::now());
        loop {
            let next = self.queue.pop_now().or_else(|| {
                give(&mut held);
                self.queue.pop()
            });
            let Some((job, waiting)) = next else { return };
            if held.is_empty() {
                held_since = Instant::now();
            }
            held.push(self.answer(job, clock()));
            if held.len() > waiting || held_since.elapsed() >= HELD {
                give(&mut held);
            }
        }
    }

    fn answer(&self, Job { issuer, question, draft, waiter }: Job, now: Timestamp) -> Given {
        if !waiter.is_waiting() {
            return Given { waiter, answer: Err(NotSigned::Abandoned), now };
        }
        let answer = issuer.sign(&question, draft, now).map_err(|failure| {
            self.log(&issuer.signing.name, &failure, now);
            NotSigned::Failed
        });
        Given { waiter, answer, now }
    }

    /// At most one line a second: whoever asks decides how often something fails.
    fn log(&self, issuer: &str, failure: &SigningError, now: Timestamp) {
        if self.logged_at.swap(now.unix(), Relaxed) != now.unix() {
            error!("live lane, issuer '{issuer}': {failure}");
        }
    }
}

impl IssuerLane {
    fn new(signing: LiveSigning) -> IssuerLane {
        let template = signing.responder.signer.live_template();
        let budget = Budget::new(signing.budget);
        IssuerLane { signing, template, budget, signed: AtomicU64::new(0), passed: AtomicBool::new(false) }
    }

    /// The answer as it is if it is signed at that time.
    fn draft(&self, question: &Question, at: Timestamp) -> Draft {
        let LiveSigning { responder, timing, .. } = &self.signing;
        let (next_update, due) = times(question.is_about_issued(), *timing, responder.not_after, at);
        Draft { unsigned: self.template.unsigned(question, at, next_update), this_update: at, next_update, due }
    }

    fn sign(&self, question: &Question, draft: Draft, now: Timestamp) -> Result<SignedAnswer, SigningError> {
        let responder = &self.signing.responder;
        let draft = if draft.this_update == now { draft } else { self.draft(question, now) };
        let Draft { unsigned, this_update, next_update, due } = draft;
        if next_update <= now {
            let what = format!("the signer's certificate has ended at {}", responder.not_after);
            return Err(refused(check::finding("T3", what)));
        }
        let signature = responder.key.sign(unsigned.to_be_signed())?;
        let der = self.template.response(unsigned, &signature);
        let answer = SignedAnswer { der, this_update, next_update, due, tag: tag_of(&signature) };
        let sampled = self.signed.fetch_add(1, Relaxed).is_multiple_of(SAMPLE_ONE_IN);
        if sampled || !self.passed.load(Relaxed) {
            let checked = check::check(question, &answer, responder);
            self.passed.store(checked.is_ok(), Relaxed);
            checked.map_err(refused)?;
        }
        Ok(answer)
    }
}

fn refused(finding: Finding) -> SigningError {
    Refusal { artefact: "live answer".to_owned(), findings: vec![finding] }.into()
}

/// nextUpdate of an answer that is signed now (rules T1, T3), and until when it may be given again: as long as a pre-signed one would be, and where its
/// validity was cut because the signer's certificate is about to end, until half of what was left.
fn times(issued: bool, timing: Timing, not_after: Timestamp, now: Timestamp) -> (Timestamp, Timestamp) {
    let (validity, kept) = if issued { (timing.validity, timing.refresh) } else { (UNKNOWN_VALIDITY.min(timing.validity), UNKNOWN_KEPT) };
    let next_update = schedule::next_update(now, validity, not_after);
    let left = next_update.since(now);
    let kept = if left + Duration::from_secs(1) < validity { kept.min(left / 2) } else { kept };
    (next_update, now.saturating_add(kept))
}

#[cfg(test)]
mod tests;
