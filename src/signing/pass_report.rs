//! What the worker tells of what it has done.

/// What one pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PassReport {
    /// OCSP responses signed.
    pub responses: u64,
    /// Packs published.
    pub packs: u64,
    /// CRLs published.
    pub crls: u64,
    /// What failed, in words. What was published before stays.
    pub failures: Vec<String>,
}

impl PassReport {
    pub(super) fn add(&mut self, other: PassReport) {
        self.responses += other.responses;
        self.packs += other.packs;
        self.crls += other.crls;
        self.failures.extend(other.failures);
    }
}
