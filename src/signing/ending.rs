//! What a CA that ends has not published yet. When its key is gone nobody can make up for it, so this is asked before (rules T4, T5, T6, C9; S5.2).
//!
//! What is published is looked at itself, not how far somebody says that he has come.

use super::SigningError;
use crate::pack::{Pack, PackPlace};
use crate::pki::crl::CrlEntry;
use crate::pki::{CertificateInfo, HashAlgorithm, IssuerHashes, SlotHash, SlotRange, Timestamp};
use crate::registry::{ChangeRange, CrlHead, CrlScope, CrlSelection, Issuer, Registry, RegistryError};

/// What an issuer publishes. What it has published before is up to date in any case.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// OCSP responses.
    pub responses: bool,
    /// CRLs.
    pub crls: bool,
    /// The last CRL of every scope, with nextUpdate 99991231235959Z (rule T6).
    pub last_crls: bool,
}

/// What is not published of an issuer, in words: an item for each CertID hash and for each CRL. Reads every pack.
pub fn unpublished(
    registry: &dyn Registry,
    issuer: &Issuer,
    certificate: &CertificateInfo,
    wanted: Wanted,
) -> Result<Vec<String>, SigningError> {
    let mut lacking = Vec::new();
    if wanted.responses || !registry.pack_heads(issuer.id)?.is_empty() {
        for hash in &issuer.publication.cert_id_hashes {
            let count = without_response(registry, issuer, certificate, *hash)?;
            lacking.extend((count > 0).then(|| format!("the OCSP status ({}) of {count} certificates", hash.name())));
        }
    }
    let heads = registry.crl_heads(issuer.id)?;
    if wanted.crls || wanted.last_crls || !heads.is_empty() {
        for scope in issuer.publication.crl_scopes() {
            let head = heads.iter().find(|head| head.scope == scope);
            lacking.extend(lacking_crl(registry, issuer, scope, head, wanted.last_crls)?);
        }
    }
    Ok(lacking)
}

/// Certificates without a response that says what the registry says. A pack is read before its certificates: what is revoked meanwhile counts.
fn without_response(
    registry: &dyn Registry,
    issuer: &Issuer,
    certificate: &CertificateInfo,
    hash: HashAlgorithm,
) -> Result<u64, SigningError> {
    let place = PackPlace::new(&IssuerHashes::of(certificate, hash), SlotRange::ALL);
    let mut count = 0;
    for slot in 0..1u32 << issuer.slot_bits {
        let range = SlotRange { bits: issuer.slot_bits, slot };
        let record = registry.pack(issuer.id, hash, slot)?;
        let pack = record.map(|record| Pack::from_blob(record.blob, place.with_slot(range))).transpose();
        let pack = pack.map_err(|source| SigningError::Pack { slot, source })?;
        registry.visit_certificates(issuer.id, range, &mut |record| {
            let entry = pack.as_ref().and_then(|pack| pack.lookup(SlotHash::from(&record.serial), record.serial.as_der_content()));
            count += u64::from(entry.is_none_or(|entry| entry.status != record.status));
        })?;
    }
    Ok(count)
}

fn lacking_crl(
    registry: &dyn Registry,
    issuer: &Issuer,
    scope: CrlScope,
    head: Option<&CrlHead>,
    is_last: bool,
) -> Result<Option<String>, RegistryError> {
    let selection = CrlSelection {
        scope,
        contents: issuer.publication.crl_contents(scope),
        not_after_from: Timestamp::default(),
        or_recorded_after: 0,
        changed: Some(ChangeRange { after: head.map_or(0, |head| head.reflects), up_to: u64::MAX }),
    };
    let mut count = 0;
    registry.visit_revoked(issuer.id, &selection, &mut |_: &CrlEntry| count += 1)?;
    Ok(match head {
        _ if count > 0 => Some(format!("{count} revocations on the CRL ({scope})")),
        Some(head) if is_last && head.next_update < Timestamp::MAX => {
            Some(format!("the last CRL ({scope}): found one until {}, wanted one until {}", head.next_update, Timestamp::MAX))
        }
        None if is_last => Some(format!("the last CRL ({scope}): found none")),
        _ => None,
    })
}
