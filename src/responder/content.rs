//! Everything that a responder answers from. Filled by [`super::follow`], read by everybody else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};

use crate::pki::Timestamp;
use crate::registry::{Issuer, IssuerId};

use super::documents::Documents;
use super::status_map::StatusMap;

/// What is served, and how well it follows the registry.
#[derive(Debug, Default)]
pub struct Content {
    /// The pre-signed OCSP responses.
    pub status: StatusMap,
    /// CRLs and CA certificates.
    pub documents: Documents,
    /// How well all of this follows the registry.
    pub feed: FeedState,
    issuers: ArcSwap<Vec<Arc<Issuer>>>,
    published: ArcSwap<BTreeSet<IssuerId>>,
    ahead: ArcSwap<BTreeSet<IssuerId>>,
}

impl Content {
    /// Nothing yet.
    pub fn new() -> Content {
        Content::default()
    }

    /// Every issuer that was read from the registry, by id.
    pub fn issuers(&self) -> Guard<Arc<Vec<Arc<Issuer>>>> {
        self.issuers.load()
    }

    /// One issuer as it was last read.
    pub fn issuer(&self, id: IssuerId) -> Option<Arc<Issuer>> {
        self.issuers().iter().find(|issuer| issuer.id == id).cloned()
    }

    /// Whether the registry was ever seen to hold a pack or a CRL of an issuer, be it one that could not be taken into use.
    pub fn is_published(&self, id: IssuerId) -> bool {
        self.published.load().contains(&id)
    }

    /// Whether [`Content::is_published`] holds for any issuer.
    pub fn has_published(&self) -> bool {
        !self.published.load().is_empty()
    }

    pub(super) fn note_published(&self, id: IssuerId) {
        if !self.is_published(id) {
            self.published.rcu(|old| old.iter().copied().chain([id]).collect::<BTreeSet<_>>());
        }
    }

    /// Something of this issuer is not valid yet. Returns whether nobody has noted that before.
    pub(super) fn note_ahead(&self, id: IssuerId) -> bool {
        let is_known = self.ahead.load().contains(&id);
        !is_known && !self.ahead.rcu(|old| old.iter().copied().chain([id]).collect::<BTreeSet<_>>()).contains(&id)
    }

    /// Forgets the issuers of whom nothing is that any more, and returns them.
    pub(super) fn forget_ahead(&self, still: impl Fn(IssuerId) -> bool) -> Vec<IssuerId> {
        let right: Vec<_> = self.ahead.load().iter().copied().filter(|id| !still(*id)).collect();
        if !right.is_empty() {
            self.ahead.rcu(|old| old.iter().copied().filter(|id| !right.contains(id)).collect::<BTreeSet<_>>());
        }
        right
    }

    pub(super) fn replace_issuer(&self, issuer: &Issuer) {
        let issuer = Arc::new(issuer.clone());
        self.issuers.rcu(|old| {
            let mut all: Vec<_> = old.iter().filter(|known| known.id != issuer.id).cloned().collect();
            all.push(Arc::clone(&issuer));
            all.sort_by_key(|issuer| issuer.id);
            all
        });
    }
}

/// How well the content follows the registry's change feed. Written by one thread, read by any.
#[derive(Debug, Default)]
pub struct FeedState {
    loaded: AtomicBool,
    sequence: AtomicU64,
    caught_up_at: AtomicU64,
    registry_errors: AtomicU64,
    packs_loaded: AtomicU64,
    packs_refused: AtomicU64,
    documents_refused: AtomicU64,
}

impl FeedState {
    /// Whether the registry was read once, completely.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Relaxed)
    }

    /// The newest change that is in effect here.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Relaxed)
    }

    /// When everything in the registry was last known to be in effect here; `None` before the first time.
    pub fn caught_up_at(&self) -> Option<Timestamp> {
        Timestamp::from_unix(self.caught_up_at.load(Relaxed)).filter(|t| t.unix() > 0)
    }

    /// Calls to the registry that failed.
    pub fn registry_errors(&self) -> u64 {
        self.registry_errors.load(Relaxed)
    }

    /// Packs that were taken into use.
    pub fn packs_loaded(&self) -> u64 {
        self.packs_loaded.load(Relaxed)
    }

    /// Packs that failed their check and were not taken into use.
    pub fn packs_refused(&self) -> u64 {
        self.packs_refused.load(Relaxed)
    }

    /// Issuer certificates and CRLs that could not be taken into use.
    pub fn documents_refused(&self) -> u64 {
        self.documents_refused.load(Relaxed)
    }

    pub(super) fn advanced(&self, sequence: u64) {
        self.sequence.store(sequence, Relaxed);
        self.loaded.store(true, Relaxed);
    }

    pub(super) fn caught_up(&self, now: Timestamp) {
        self.caught_up_at.store(now.unix(), Relaxed);
    }

    pub(super) fn registry_failed(&self) {
        self.registry_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn pack_loaded(&self) {
        self.packs_loaded.fetch_add(1, Relaxed);
    }

    pub(super) fn pack_refused(&self) {
        self.packs_refused.fetch_add(1, Relaxed);
    }

    pub(super) fn document_refused(&self) {
        self.documents_refused.fetch_add(1, Relaxed);
    }
}
