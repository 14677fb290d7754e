//! The lanes of an issuer: its OCSP responses for each CertID hash, and its CRLs, as far as there are keys for them here.

use super::agenda::{Agenda, Published, Work};
use super::schedule::Phase;
use super::{IssuerSigning, SigningError, crl};
use crate::pki::HashAlgorithm;
use crate::registry::Registry;

/// One lane.
pub(super) struct Lane {
    /// No other lane has or had it.
    pub(super) number: u64,
    /// Index of its issuer.
    pub(super) issuer: usize,
    /// The token that its key is on.
    pub(super) token: String,
    /// The name under which its place in the feed is stored. Only who signs in a lane moves it: a process without the key passes over nothing.
    pub(super) consumer: String,
    /// Its work.
    pub(super) agenda: Agenda,
}

/// The lanes of an issuer, from what is published. `made` counts all lanes.
pub(super) fn lanes_of(registry: &dyn Registry, issuer: usize, signing: &IssuerSigning, made: &mut u64) -> Result<Vec<Lane>, SigningError> {
    let hashes = |key| signing.issuer.publication.cert_id_hashes.iter().map(move |hash| (Some(*hash), key));
    let responses = signing.responder.iter().flat_map(|responder| hashes(&responder.key));
    let crls = signing.crl_key.iter().filter(|_| signing.issues_crls()).map(|key| (None, key));
    let numbered = responses.chain(crls).map(|(hash, key)| {
        *made += 1;
        lane(registry, signing, hash).map(|(consumer, agenda)| Lane {
            number: *made,
            issuer,
            token: key.token().to_owned(),
            consumer,
            agenda,
        })
    });
    numbered.collect()
}

/// The name and the work of the lane of the responses for a CertID hash, or of the CRLs.
fn lane(registry: &dyn Registry, signing: &IssuerSigning, hash: Option<HashAlgorithm>) -> Result<(String, Agenda), SigningError> {
    let (id, name) = (signing.issuer.id, &signing.issuer.name);
    let consumer = hash.map_or_else(|| format!("signing/{name}/crl"), |hash| format!("signing/{name}/ocsp-{}", hash.name()));
    // The watermark is read first: what changes while the rest is read is then seen twice, never missed.
    let (watermark, pruned) = (registry.watermark(&consumer)?, registry.pruned_changes()?);
    let heads = if hash.is_some() { registry.pack_heads(id)? } else { Vec::new() };
    let crls = if hash.is_none() { registry.crl_heads(id)? } else { Vec::new() };
    let crls: Vec<_> = crls.iter().map(|head| (head.scope, crl::planned(signing, head))).collect();
    let work = Work {
        slot_bits: signing.issuer.slot_bits,
        cert_id_hash: hash,
        crl_scopes: if hash.is_none() { signing.issuer.publication.crl_scopes().collect() } else { Vec::new() },
        has_arl_alone: signing.issuer.publication.has_arl_alone(),
        phase: Phase::of_issuer(name),
        timing: signing.ocsp_timing,
    };
    let published = Published { heads: &heads, crls: &crls, watermark, pruned, distrusted: signing.replaces_future };
    Ok((consumer, Agenda::new(work, &published)))
}
