//! How an issuer's CRLs are made: how often, for how long, at once or together, and what stays on them.

use std::time::Duration;

use super::Timing;
use crate::pki::Timestamp;
use crate::registry::{CrlHead, CrlScope};

/// A great CRL is never held back longer because of revocations: within 24 h of each of them it is published (rule T5).
pub const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// The policy of one issuer. Every scope has times of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlPolicy {
    /// Of the full CRL.
    pub full: Timing,
    /// Of every partition.
    pub partition: Timing,
    /// Of the ARL.
    pub arl: Timing,
    /// Of every delta.
    pub delta: Timing,
    /// A CRL with fewer entries is issued at once after a revocation.
    pub at_once_below: u64,
    /// A greater one no more often than this, because of revocations; where it has a delta, than [`LONGEST_WAIT`]. The first after a quiet time is issued at
    /// once.
    pub coalesce: Duration,
    /// How long entries of expired certificates stay.
    pub expired: ExpiredEntries,
    /// How many superseded CRLs of a scope the registry keeps, beside those that are still needed.
    pub superseded: u32,
    /// Whether every certificate says where OCSP is answered (rules C8, T5).
    pub aia_ocsp: bool,
    /// Whether a CA that has ended issues one last CRL of each scope, with nextUpdate 99991231235959Z (rule T6, S5.2). Otherwise it issues none any more.
    pub last_crl: bool,
}

/// When the entry of an expired certificate leaves a CRL (rule C6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredEntries {
    /// Once it has stood on one scheduled CRL after the certificate's expiry.
    #[default]
    UntilListed,
    /// The same, but no earlier than so long after the certificate's expiry.
    For(Duration),
    /// Never; the CRL says so with expiredCertsOnCRL, and every OCSP response with ArchiveCutoff (EN 319 411-2).
    ForEver,
}

impl CrlPolicy {
    /// The same times for every scope, and for the rest what suits most: small CRLs at once, great ones a quarter of an hour apart.
    pub const fn new(timing: Timing) -> CrlPolicy {
        CrlPolicy {
            full: timing,
            partition: timing,
            arl: timing,
            delta: timing,
            at_once_below: 10_000,
            coalesce: Duration::from_secs(900),
            expired: ExpiredEntries::UntilListed,
            superseded: 30,
            aia_ocsp: true,
            last_crl: false,
        }
    }

    /// When CRLs of this scope are signed.
    pub const fn timing(&self, scope: CrlScope) -> Timing {
        match scope {
            CrlScope::Full => self.full,
            CrlScope::Partition(_) => self.partition,
            CrlScope::Authorities => self.arl,
            CrlScope::FullDelta | CrlScope::PartitionDelta(_) => self.delta,
        }
    }

    /// From when on a revocation brings the CRL that follows this one forward. One that is great leaves some time for others to come; more of it where a
    /// delta tells meanwhile (rule T5: on a complete CRL within 24 h all the same).
    pub fn urgent_from(&self, head: &CrlHead) -> Timestamp {
        match () {
            () if head.entries < self.at_once_below => Timestamp::default(),
            () if head.has_delta => head.this_update.saturating_add(LONGEST_WAIT),
            () => head.this_update.saturating_add(self.coalesce.min(LONGEST_WAIT)),
        }
    }
}
