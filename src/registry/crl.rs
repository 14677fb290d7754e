//! CRLs as the registry knows them: their scopes, their paths, what is known of one without reading it, and which certificates stand on one.

use bytes::Bytes;

use super::{CertificateRecord, Publication};
use crate::pki::Timestamp;
use crate::pki::extension::{Contents, IssuingDistributionPoint};

/// What a CRL covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrlScope {
    /// Every revoked certificate of the issuer; where its ARL is alone, those of end entities.
    Full,
    /// The end-entity certificates whose distribution point names this partition.
    Partition(u32),
    /// The revoked CA certificates of the issuer: its ARL (rule C4).
    Authorities,
    /// What has changed since an earlier full CRL (rule C5).
    FullDelta,
    /// What has changed since an earlier CRL of this partition.
    PartitionDelta(u32),
}

impl CrlScope {
    /// The complete CRL that a delta goes with; itself where it is complete. Both share one sequence of numbers (rule C2).
    pub const fn base(self) -> CrlScope {
        match self {
            CrlScope::FullDelta => CrlScope::Full,
            CrlScope::PartitionDelta(n) => CrlScope::Partition(n),
            complete => complete,
        }
    }

    /// The delta that goes with a complete CRL; an ARL, always small, has none.
    pub const fn delta(self) -> Option<CrlScope> {
        match self {
            CrlScope::Full => Some(CrlScope::FullDelta),
            CrlScope::Partition(n) => Some(CrlScope::PartitionDelta(n)),
            CrlScope::Authorities | CrlScope::FullDelta | CrlScope::PartitionDelta(_) => None,
        }
    }

    /// Whether it is a delta.
    pub const fn is_delta(self) -> bool {
        matches!(self, CrlScope::FullDelta | CrlScope::PartitionDelta(_))
    }
}

impl std::fmt::Display for CrlScope {
    /// `full`, `partition 7`, `arl`, `full delta`, `partition 7 delta`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CrlScope::Full => f.write_str("full"),
            CrlScope::Partition(n) => write!(f, "partition {n}"),
            CrlScope::Authorities => f.write_str("arl"),
            CrlScope::FullDelta => f.write_str("full delta"),
            CrlScope::PartitionDelta(n) => write!(f, "partition {n} delta"),
        }
    }
}

/// The path of an issuer's CRL: `/crl/{issuer}.crl`, `/crl/{issuer}/{partition}.crl`, `/crl/{issuer}/arl.crl`, `/crl/{issuer}/delta.crl`,
/// `/crl/{issuer}/{partition}-delta.crl`. Who serves it and who writes it into certificates and CRLs agree on it octet for octet (rule C4).
pub fn crl_path(issuer: &str, scope: CrlScope) -> String {
    match scope {
        CrlScope::Full => format!("/crl/{issuer}.crl"),
        CrlScope::Partition(n) => format!("/crl/{issuer}/{n}.crl"),
        CrlScope::Authorities => format!("/crl/{issuer}/arl.crl"),
        CrlScope::FullDelta => format!("/crl/{issuer}/delta.crl"),
        CrlScope::PartitionDelta(n) => format!("/crl/{issuer}/{n}-delta.crl"),
    }
}

/// The path of the list of an issuer's CRL partitions, a JSON array of their URLs for the CCADB (rule C7): `/crl/{issuer}/partitions.json`.
pub fn partition_list_path(issuer: &str) -> String {
    format!("/crl/{issuer}/partitions.json")
}

/// In which scopes an issuer publishes CRLs, beside the full one and its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrlExtras {
    /// An ARL: CA certificates stand on it, and on no partition (rule C4).
    pub arl: bool,
    /// Whether they stand on the ARL alone: the full CRL is then one of end entities, and says so.
    pub arl_alone: bool,
    /// A delta of the full CRL (rule C5).
    pub full_delta: bool,
    /// A delta of every partition.
    pub partition_deltas: bool,
}

impl Publication {
    /// Every scope in which CRLs are published.
    pub fn crl_scopes(&self) -> impl Iterator<Item = CrlScope> + use<> {
        let CrlExtras { arl, full_delta, partition_deltas, .. } = self.crl_extras;
        let partitions = 0..self.crl_partitions;
        let deltas = partitions.clone().filter(move |_| partition_deltas).map(CrlScope::PartitionDelta);
        std::iter::once(CrlScope::Full)
            .chain(partitions.map(CrlScope::Partition))
            .chain(arl.then_some(CrlScope::Authorities))
            .chain(full_delta.then_some(CrlScope::FullDelta))
            .chain(deltas)
    }

    /// Whose certificates stand on a CRL (rule C4). A full CRL of everybody has no issuingDistributionPoint, and covers certificates wherever they say that it is.
    pub fn crl_contents(&self, scope: CrlScope) -> Contents {
        match scope {
            CrlScope::Full | CrlScope::FullDelta if !self.has_arl_alone() => Contents::All,
            CrlScope::Authorities => Contents::CaCertificates,
            _ => Contents::UserCertificates,
        }
    }

    /// Whether there is an ARL, and CA certificates stand on no other CRL.
    pub fn has_arl_alone(&self) -> bool {
        self.crl_extras.arl && self.crl_extras.arl_alone
    }

    /// Whether a certificate, where it is revoked, belongs on the CRLs of this scope.
    pub fn lists(&self, scope: CrlScope, certificate: &CertificateRecord) -> bool {
        let of_its_kind = match self.crl_contents(scope) {
            Contents::All => true,
            contents => certificate.is_ca == (contents == Contents::CaCertificates),
        };
        let partition = if let CrlScope::Partition(n) = scope.base() { Some(n) } else { None };
        of_its_kind && (partition.is_none() || certificate.partition == partition)
    }

    /// Whether CRLs of this scope are published.
    pub fn has_crl(&self, scope: CrlScope) -> bool {
        match scope {
            CrlScope::Full => true,
            CrlScope::Partition(n) => n < self.crl_partitions,
            CrlScope::Authorities => self.crl_extras.arl,
            CrlScope::FullDelta => self.crl_extras.full_delta,
            CrlScope::PartitionDelta(n) => self.crl_extras.partition_deltas && n < self.crl_partitions,
        }
    }
}

/// What is known of a CRL without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlHead {
    /// What it covers.
    pub scope: CrlScope,
    /// cRLNumber (rule C2).
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate: not to be served from then on.
    pub next_update: Timestamp,
    /// When the next one is planned: caches need not ask before.
    pub refresh_at: Timestamp,
    /// How many certificates it lists.
    pub entries: u64,
    /// Whether it was issued because its time had come, and not because of a revocation before that (rule C6).
    pub scheduled: bool,
    /// Every change of the feed up to here is reflected in it, and none after.
    pub reflects: u64,
    /// What its issuingDistributionPoint says, if it has one.
    pub distribution_point: Option<IssuingDistributionPoint>,
    /// Whether its freshestCRL names a delta (rule C5).
    pub has_delta: bool,
    /// The number of its base, where it is a delta (rule C5).
    pub base: Option<u64>,
}

/// A CRL, ready to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlRecord {
    /// Its description.
    pub head: CrlHead,
    /// The signed CRL; none of its octets where what is kept of it is damaged: the others of its issuer can be read all the same.
    pub der: Bytes,
}

/// Which revoked certificates stand on a CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlSelection {
    /// Those that the complete CRL of this scope covers,
    pub scope: CrlScope,
    /// as far as they are what the CRL contains,
    pub contents: Contents,
    /// and whose notAfter is not before this,
    pub not_after_from: Timestamp,
    /// or that were recorded as revoked after this change, whatever their notAfter (rule C6);
    pub or_recorded_after: u64,
    /// on a delta: of these, the ones that were recorded after the one change and up to the other.
    pub changed: Option<ChangeRange>,
}

/// The changes after one and up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRange {
    /// The last one before them.
    pub after: u64,
    /// The last of them.
    pub up_to: u64,
}
