//! Reasons of revocations. What could not be published is not recorded, whoever asks for it: it would keep everything else in its slot and on its CRL from
//! being published.

use anyhow::Result;

use super::setup;
use crate::config::IssuerConfig;
use crate::pki::RevocationReason;
use crate::signing::gate::IssuerFacts;

/// What decides about the reasons of an issuer of the configuration: its certificate and its programmes.
pub(super) fn facts(issuer: &IssuerConfig) -> Result<IssuerFacts> {
    Ok(IssuerFacts::of(&setup::read_certificate(&issuer.certificate)?, issuer.profile())?)
}

/// What stands against revoking certificates of an issuer for a reason; `None` is unspecified (rule C3).
pub(super) fn objection(facts: &IssuerFacts, issuer: &str, reason: Option<RevocationReason>) -> Option<String> {
    if facts.allows_reason(reason) {
        return None;
    }
    let allowed = RevocationReason::ALL.into_iter().map(Some).filter(|reason| facts.allows_reason(*reason));
    let wanted: Vec<&str> = std::iter::once(None).chain(allowed).map(name).collect();
    Some(format!("found {}, wanted one of {}: issuer '{issuer}' keeps the Baseline Requirements (C3)", name(reason), wanted.join(", ")))
}

/// As people write it.
pub(super) fn name(reason: Option<RevocationReason>) -> &'static str {
    reason.map_or("unspecified", RevocationReason::name)
}
