//! What the worker tidies up from time to time: the feed, of which everybody has read the older part.

use std::time::Duration;

use tracing::info;

use super::SigningError;
use crate::registry::Registry;

/// How often the worker looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(3600);
/// What is kept of the feed.
pub(super) const KEPT: Kept = Kept { newest: 10_000, at_most: 1_000_000 };
/// So many changes are forgotten in one transaction: revocations wait for it.
const AT_ONCE: u64 = 20_000;

/// How many changes are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The newest ones, always: for those who read without a stored place. A responder reads a hundred times a second.
    newest: u64,
    /// All in all, even for somebody with a stored place who does not come back: should he do so, he reads the state anew.
    at_most: u64,
}

/// Forgets changes that everybody has read, and those that are too many. Returns whether there is more to forget.
pub(super) fn prune_feed(registry: &dyn Registry, kept: Kept) -> Result<bool, SigningError> {
    let (last, pruned) = (registry.last_change()?, registry.pruned_changes()?);
    let slowest = registry.watermarks()?.into_iter().map(|(_, sequence)| sequence).min();
    let wanted = kept.prune_up_to(last, slowest);
    if wanted <= pruned {
        return Ok(false);
    }
    let now = wanted.min(pruned + AT_ONCE);
    registry.prune_changes(now)?;
    info!(from = pruned + 1, up_to = now, newest = last, "changes forgotten");
    Ok(now < wanted)
}

impl Kept {
    /// Up to which change the feed may be forgotten; `slowest` is the least of all stored places in it.
    fn prune_up_to(self, last: u64, slowest: Option<u64>) -> u64 {
        let read_by_all = slowest.unwrap_or(0).min(last.saturating_sub(self.newest));
        read_by_all.max(last.saturating_sub(self.at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::HashAlgorithm;
    use crate::registry::sqlite::SqliteRegistry;
    use crate::registry::{IssuerMode, NewIssuer, Publication};

    #[test]
    fn what_somebody_has_not_read_is_kept_within_bounds() {
        assert_eq!(KEPT.prune_up_to(50_000, None), 0, "nobody has said what he has read");
        assert_eq!(KEPT.prune_up_to(50_000, Some(7)), 7);
        assert_eq!(KEPT.prune_up_to(50_000, Some(50_000)), 40_000, "the newest are kept for those without a stored place");
        assert_eq!(KEPT.prune_up_to(9_000, Some(9_000)), 0);
        assert_eq!(KEPT.prune_up_to(3_000_000, Some(7)), 2_000_000, "and somebody who never comes back holds up nothing for ever");
    }

    #[test]
    fn the_feed_of_a_registry_is_kept_short() {
        let directory = tempfile::tempdir().unwrap();
        let registry = SqliteRegistry::create(&directory.path().join("registry.sqlite")).unwrap();
        let register = |n: u8| {
            let publication =
                Publication { cert_id_hashes: [HashAlgorithm::Sha256].into(), crl_partitions: 0, crl_extras: Default::default() };
            let issuer = NewIssuer { name: format!("ca {n}"), certificate: vec![n], mode: IssuerMode::Open, publication };
            registry.register_issuer(&issuer).unwrap();
        };
        (0..30).for_each(register);
        let kept = Kept { newest: 5, at_most: 20 };
        assert!(!prune_feed(&registry, kept).unwrap());
        assert_eq!(registry.pruned_changes().unwrap(), 10);
        for (name, sequence) in [("a", 28), ("b", 17)] {
            registry.set_watermark(name, sequence).unwrap();
        }
        prune_feed(&registry, kept).unwrap();
        assert_eq!(registry.pruned_changes().unwrap(), 17, "what the slowest has read");
        registry.set_watermark("b", 29).unwrap();
        prune_feed(&registry, kept).unwrap();
        assert_eq!(registry.changes_after(25, 99).unwrap().len(), 5);
        assert_eq!(registry.pruned_changes().unwrap(), 25);
    }
}
