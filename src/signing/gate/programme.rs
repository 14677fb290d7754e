//! Which programmes an issuer follows. A rule that differs between them is looked up here, never decided by compromise.

use std::collections::BTreeSet;

/// A root programme or a standard with rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Programme {
    /// CA/Browser Forum Baseline Requirements for TLS server certificates, with Mozilla's policy on top.
    BaselineRequirements,
    /// Microsoft Trusted Root Program (rules T2, C8).
    Microsoft,
    /// CA/Browser Forum Code Signing Baseline Requirements (rules T6, C6).
    CodeSigning,
    /// ETSI EN 319 411-1 (rule T6).
    Etsi,
    /// ETSI EN 319 411-2: what has expired stays listed (rules C6, T6).
    EtsiQualified,
    /// The Japanese public certification service (rule T6).
    Jpki,
    /// US Federal PKI Common Policy (rule T6).
    Fpki,
}

/// The programmes that an issuer follows; none of them: what the RFCs say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile(BTreeSet<Programme>);

impl Profile {
    /// The profile of these programmes.
    pub fn new(programmes: impl IntoIterator<Item = Programme>) -> Profile {
        Profile(programmes.into_iter().collect())
    }

    /// Whether the issuer follows `programme`. Who follows EN 319 411-2 follows EN 319 411-1.
    pub fn has(&self, programme: Programme) -> bool {
        self.0.contains(&programme) || programme == Programme::Etsi && self.0.contains(&Programme::EtsiQualified)
    }
}
