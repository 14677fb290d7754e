//! Asking a source: each question without a nonce once at a time, for no longer than a bound, and not at all where an answer is kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::{oneshot, watch};

use crate::pki::ocsp_live::{LiveStatus, Question, SignedAnswer};
use crate::pki::ocsp_request::OcspRequest;
use crate::pki::{CertificateStatus, Timestamp};

use super::super::content::Content;
use super::super::ocsp::Refusal;
use super::cache::{Answers, Key};
use super::index::Index;
use super::question::{self, Decision};
use super::{Kinds, Policy};

/// A node that has not seen all that the registry holds for so long says nothing new: it may have missed a revocation, and a fresh thisUpdate would hide that.
const MAX_LAG: Duration = Duration::from_secs(60);
/// Of the cache, the share of answers about serials that were never issued: whoever asks for random ones displaces no other answers.
const UNKNOWN_SHARE: usize = 4;

/// Who answers questions.
pub trait Source: Send + Sync {
    /// Whether there is anybody to answer on behalf of the issuer of that name. Where there is nobody, everything is as without a live lane.
    fn answers_for(&self, issuer: &str, relayed: bool) -> bool;

    /// Takes a question on, on behalf of the issuer of that name. Never blocks; the reply is given on any thread, at once or later. `relayed`: the question
    /// comes from another node, and is not to be passed on to a third.
    fn ask(&self, issuer: &str, question: Arc<Question>, relayed: bool, reply: Reply);
}

/// Bounds of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a request waits for its answer.
    pub timeout: Duration,
    /// Answers that are kept; 0: none.
    pub cached_answers: usize,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The issuer's signing budget is used up.
    Budget,
    /// Too many questions are waiting.
    Queue,
    /// The answer did not come in time.
    Late,
    /// Whoever signs could not, or what came back was not an answer.
    Failed,
    /// The registry has not been followed for a minute: nothing new is said.
    Behind,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was signed for this request.
    Signed,
    /// It was being signed for another request that asked the same.
    Shared,
    /// It was kept.
    Cached,
}

/// What the lane makes of a request.
#[derive(Clone, Debug)]
pub enum LiveOutcome {
    /// This is the answer.
    Answered(Arc<Answered>, Origin),
    /// The pre-signed response is the answer, or the refusal in its place.
    PreSigned,
    /// The request is refused.
    Refused(Refusal),
    /// There is no live answer now.
    Dropped(Dropped),
}

/// An answer, and the question with what the answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What is said of which certificate.
    pub question: Arc<Question>,
    /// The answer.
    pub answer: SignedAnswer,
}

type Landed = Result<Arc<Answered>, Dropped>;

/// The live lane of a node, for all its threads.
pub struct Lane {
    content: Arc<Content>,
    policies: HashMap<Box<str>, Policy>,
    kinds: Kinds,
    index: ArcSwap<Index>,
    source: Box<dyn Source>,
    timeout: Duration,
    shared: Arc<Shared>,
}

/// What answers without a nonce share.
#[derive(Debug)]
struct Shared {
    /// Questions that are being asked, as many as the source takes on; and whether they were passed on to this node, for these must not wait for one that is
    /// being passed on from here: it might be the same, come round.
    flights: DashMap<(bool, Key), watch::Receiver<Option<Landed>>>,
    issued: Answers,
    unknown: Answers,
}

/// The duty to answer one question. Dropped without an answer, it answers [`Dropped::Failed`].
#[derive(Debug)]
pub struct Reply(Waiting);

#[derive(Debug)]
enum Waiting {
    /// The one whose nonce it has.
    One(oneshot::Sender<Landed>),
    /// Everybody who asks the same meanwhile.
    All(Flight),
}

#[derive(Debug)]
struct Flight {
    shared: Arc<Shared>,
    key: (bool, Key),
    waiting: watch::Sender<Option<Landed>>,
    has_landed: bool,
}

impl Lane {
    /// A lane for certificates of the issuers with these names.
    pub fn new(content: Arc<Content>, policies: HashMap<Box<str>, Policy>, source: Box<dyn Source>, settings: Settings) -> Lane {
        let unknown = settings.cached_answers / UNKNOWN_SHARE;
        let shared =
            Shared { flights: DashMap::new(), issued: Answers::new(settings.cached_answers - unknown), unknown: Answers::new(unknown) };
        Lane {
            content,
            kinds: Kinds::of(policies.values().copied()),
            policies,
            index: ArcSwap::default(),
            source,
            timeout: settings.timeout,
            shared: Arc::new(shared),
        }
    }

    /// Which requests may be for this lane.
    pub(in super::super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Answers kept now.
    pub fn cached_answers(&self) -> usize {
        self.shared.issued.len() + self.shared.unknown.len()
    }

    /// Answers a request; `issuer` restricts the answer to certificates of the issuer of that name. `clock` is read again when the answer has come.
    pub async fn answer(
        &self,
        request: &OcspRequest<'_>,
        issuer: Option<&str>,
        relayed: bool,
        clock: impl Fn() -> Timestamp,
    ) -> LiveOutcome {
        let (name, question) = match self.decide(request, issuer, clock()) {
            Decision::PreSigned => return LiveOutcome::PreSigned,
            Decision::Refused(refusal) => return LiveOutcome::Refused(refusal),
            Decision::Live(name, _) if !self.source.answers_for(&name, relayed) => return LiveOutcome::PreSigned,
            Decision::Live(name, question) => (name, Arc::new(question)),
        };
        let now = clock();
        if self.content.feed.caught_up_at().is_none_or(|at| now.since(at) > MAX_LAG) {
            return LiveOutcome::Dropped(Dropped::Behind);
        }
        let (landed, origin) = if question.nonce.is_some() {
            (self.ask_alone(&name, question, relayed).await, Origin::Signed)
        } else {
            let key = key(&question);
            if let Some(answered) = self.shared.kept(&question).get(&key, &question, now) {
                return LiveOutcome::Answered(answered, Origin::Cached);
            }
            self.ask_together(&name, question, relayed, key).await
        };
        match landed {
            // It may have come while this was signed.
            Ok(answered) if self.hides_revocation(&answered.question, request, issuer, clock()) => LiveOutcome::Dropped(Dropped::Late),
            Ok(answered) => LiveOutcome::Answered(answered, origin),
            Err(dropped) => LiveOutcome::Dropped(dropped),
        }
    }

    /// Asks what nobody else does: with a nonce.
    async fn ask_alone(&self, issuer: &str, question: Arc<Question>, relayed: bool) -> Landed {
        let (waiting, landing) = oneshot::channel();
        self.source.ask(issuer, question, relayed, Reply(Waiting::One(waiting)));
        let landed = tokio::time::timeout(self.timeout, landing).await;
        landed.unwrap_or(Ok(Err(Dropped::Late))).unwrap_or(Err(Dropped::Failed))
    }

    /// Asks, or waits for the answer where the same is being asked.
    async fn ask_together(&self, issuer: &str, question: Arc<Question>, relayed: bool, key: Key) -> (Landed, Origin) {
        let (mut landing, flight) = self.shared.board((relayed, key));
        let origin = if flight.is_some() { Origin::Signed } else { Origin::Shared };
        if let Some(flight) = flight {
            self.source.ask(issuer, question, relayed, Reply(Waiting::All(flight)));
        }
        let landed = match tokio::time::timeout(self.timeout, landing.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone().unwrap_or(Err(Dropped::Failed)),
            Ok(Err(_)) => Err(Dropped::Failed),
            Err(_) => Err(Dropped::Late),
        };
        (landed, origin)
    }

    fn decide(&self, request: &OcspRequest<'_>, issuer: Option<&str>, now: Timestamp) -> Decision {
        let registered = self.content.issuers();
        let mut index = self.index.load();
        if !index.is_of(&registered) {
            self.index.store(Arc::new(Index::new(Arc::clone(&registered), &self.policies, &index)));
            index = self.index.load();
        }
        question::decide(request, issuer, &self.content.status, &index, now)
    }

    /// Whether the packs know of a revocation by now that an answer does not tell of.
    fn hides_revocation(&self, said: &Question, request: &OcspRequest<'_>, issuer: Option<&str>, now: Timestamp) -> bool {
        let revoked = |status: LiveStatus| matches!(status, LiveStatus::Issued(CertificateStatus::Revoked(_)));
        match self.decide(request, issuer, now) {
            Decision::Live(_, question) => {
                said.singles.iter().zip(&question.singles).any(|(said, now)| revoked(now.status) && said.status != now.status)
            }
            _ => true,
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("policies", &self.policies).finish_non_exhaustive()
    }
}

impl Shared {
    /// Where answers to a question are kept.
    fn kept(&self, question: &Question) -> &Answers {
        if question.is_about_issued() { &self.issued } else { &self.unknown }
    }

    /// Waits with others who ask the same, or is the first of them: then the flight is to land.
    fn board(self: &Arc<Shared>, key: (bool, Key)) -> (watch::Receiver<Option<Landed>>, Option<Flight>) {
        match self.flights.entry(key) {
            Entry::Occupied(present) => (present.get().clone(), None),
            Entry::Vacant(place) => {
                let (waiting, landing) = watch::channel(None);
                let key = place.key().clone();
                place.insert(landing.clone());
                (landing, Some(Flight { shared: self.clone(), key, waiting, has_landed: false }))
            }
        }
    }
}

impl Reply {
    /// Whether anybody still waits for it.
    pub fn is_awaited(&self) -> bool {
        match &self.0 {
            Waiting::One(waiting) => !waiting.is_closed(),
            // One receiver is kept for those who come to wait.
            Waiting::All(flight) => flight.waiting.receiver_count() > 1,
        }
    }

    /// Gives the answer, or the reason why there is none, at `now`.
    pub fn give(self, answered: Result<Answered, Dropped>, now: Timestamp) {
        let landed = answered.map(Arc::new);
        match self.0 {
            // Where nobody waits any more, nothing is lost.
            Waiting::One(waiting) => drop(waiting.send(landed)),
            Waiting::All(mut flight) => {
                if let Ok(answered) = &landed {
                    flight.shared.kept(&answered.question).insert(flight.key.1.clone(), answered.clone(), now);
                }
                flight.land(landed);
            }
        }
    }
}

impl Flight {
    fn land(&mut self, landed: Landed) {
        self.has_landed = true;
        self.shared.flights.remove(&self.key);
        self.waiting.send_replace(Some(landed));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.has_landed {
            self.land(Err(Dropped::Failed));
        }
    }
}

/// The CertIDs of a question without a nonce: each tells its own length, so no two questions have the same.
fn key(question: &Question) -> Key {
    question.singles.iter().flat_map(|single| single.cert_id.iter().copied()).collect()
}
