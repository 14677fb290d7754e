//! Reasons of revocations. What could not be published is not recorded, whoever asks for it: it would keep everything else in its slot and on its CRL from
//! being published.

use anyhow::Result;

use super::setup;
use crate::config::IssuerConfig;
use crate::pki::RevocationReason;
use crate::signing::gate::IssuerFacts;

/// What decides about the reasons of an issuer of the configuration: its certificate, its programmes and its CRLs.
pub(super) struct Reasons {
    issuer: String,
    facts: IssuerFacts,
    /// Whether some CRL is of end entities, or of CAs, alone.
    kinds_apart: bool,
}

impl Reasons {
    pub(super) fn of(issuer: &IssuerConfig) -> Result<Reasons> {
        let publication = issuer.publication();
        Ok(Reasons {
            issuer: issuer.name.clone(),
            facts: IssuerFacts::of(&setup::read_certificate(&issuer.certificate)?, issuer.profile())?,
            kinds_apart: publication.crl_partitions > 0 || publication.crl_extras.arl,
        })
    }

    /// What stands against revoking a certificate for a reason, a CA's or an end entity's; `None` is unspecified (rule C3). For all certificates of the issuer
    /// it is that of an end entity's.
    pub(super) fn objection(&self, reason: Option<RevocationReason>, is_ca: bool) -> Option<String> {
        let allows = |reason: &Option<RevocationReason>| self.facts.allows_reason(*reason, is_ca || !self.kinds_apart);
        if allows(&reason) {
            return None;
        }
        let allowed = RevocationReason::ALL.into_iter().map(Some).filter(allows);
        let wanted: Vec<&str> = std::iter::once(None).chain(allowed).map(name).collect();
        let (found, wanted) = (name(reason), wanted.join(", "));
        Some(format!("found {found}, wanted one of {wanted}: issuer '{}' keeps the Baseline Requirements (C3)", self.issuer))
    }
}

/// As people write it.
pub(super) fn name(reason: Option<RevocationReason>) -> &'static str {
    reason.map_or("unspecified", RevocationReason::name)
}
