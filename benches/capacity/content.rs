//! A content that the real follower has filled from a world's registry.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kakunin::pki::{IssuerHashes, Timestamp};
use kakunin::registry::Registry;
use kakunin::responder::ocsp::{Definitive, answer};
use kakunin::responder::status_map::IssuerStatus;
use kakunin::responder::{Content, Follower, Readiness};

use super::world::{self, HASH};

/// What is loaded.
pub(crate) struct Loaded {
    pub(crate) content: Arc<Content>,
    pub(crate) follower: Follower,
    pub(crate) hashes: IssuerHashes,
}

impl Loaded {
    /// Loads everything, and is ready.
    pub(crate) fn from(registry: Arc<dyn Registry>) -> Result<Loaded> {
        let content = Arc::new(Content::new());
        let mut follower = Follower::new(registry, content.clone());
        while follower.step(Timestamp::now())? {}
        let readiness = Readiness::of(&content, Timestamp::now());
        ensure!(readiness.is_ready(), "not ready: {}", readiness.reasons.join("; "));
        let issuer = content.issuers().first().context("the registry has an issuer")?.clone();
        Ok(Loaded { hashes: world::hashes(&issuer.certificate)?, content, follower })
    }

    /// The status of the only issuer.
    pub(crate) fn status(&self) -> Result<Arc<IssuerStatus>> {
        let issuer = self.content.issuers().first().context("the registry has an issuer")?.id;
        self.content.status.get(issuer, HASH).context("the issuer has a status")
    }

    /// Puts the answer about a certificate, which is there, into `body`.
    pub(crate) fn ask(&self, request: &[u8], now: Timestamp, body: &mut Vec<u8>) -> Result<Definitive> {
        body.clear();
        answer(request, &self.content.status, None, now, body).map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))
    }

    /// Whether the certificate that the request is about is revoked.
    pub(crate) fn is_revoked(&self, request: &[u8]) -> Result<bool> {
        Ok(self.ask(request, Timestamp::now(), &mut Vec::new())?.revoked)
    }
}
