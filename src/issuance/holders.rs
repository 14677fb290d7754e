//! What certificates that were issued before say against a key, whoever issued them.

use std::collections::HashMap;

use super::vetting::Rejection;
use crate::pki::certificate::key_identity;
use crate::pki::name::subject_identity;
use crate::pki::{CertificateInfo, Fingerprint, Timestamp};
use crate::registry::work::{Holder, WorkRegistry};
use crate::registry::{IssuerId, RegistryError};

/// The keys of the registry's CAs, by their identity: whose they are, and the subject's. One of them is nobody else's, though no order has had it certified.
pub fn authorities(registry: &dyn WorkRegistry) -> Result<HashMap<Fingerprint, Vec<(String, Fingerprint)>>, RegistryError> {
    let mut keys: HashMap<_, Vec<_>> = HashMap::new();
    for issuer in registry.issuers()? {
        if let Ok(certificate) = CertificateInfo::from_der(&issuer.certificate) {
            keys.entry(key_identity(&certificate.spki)).or_default().push((issuer.name, subject_identity(&certificate.subject)));
        }
    }
    Ok(keys)
}

/// Whether a key that is to be certified on its own, for a subject in DER, is neither compromised nor somebody else's. The same subject may have it again: whoever
/// approves such an order knows why.
pub fn check_holders(registry: &dyn WorkRegistry, spki: &[u8], subject: &[u8]) -> Result<Result<(), Rejection>, RegistryError> {
    let key = [key_identity(spki)];
    if let Some(holder) = registry.compromised_holders(&key)?.first().copied().flatten() {
        return Ok(Err(key_compromised(&holder)));
    }
    let subjects = names_of(subject);
    let authorities = authorities(registry)?.remove(&key[0]).unwrap_or_default();
    if !authorities.is_empty() && !authorities.iter().any(|(_, own)| subjects.contains(own)) {
        return Ok(Err(authority(&authorities[0].0)));
    }
    let others = registry.key_holders(&key)?.first().copied().flatten().filter(|holder| !subjects.contains(&holder.subject));
    Ok(others.map_or(Ok(()), |holder| Err(other_subject(&holder))))
}

/// Whether the subject of a profile with unique ones has no other key certified by the issuer, live at `now` (S3.1).
pub fn check_subject(
    registry: &dyn WorkRegistry,
    issuer: IssuerId,
    spki: &[u8],
    subject: &[u8],
    now: Timestamp,
) -> Result<Result<(), Rejection>, RegistryError> {
    let holders = registry.subject_holders(issuer, &names_of(subject), now)?;
    let other = holders.into_iter().flatten().find(|holder| holder.public_key != key_identity(spki));
    Ok(other.map_or(Ok(()), |holder| {
        let why = format!("certificate {} has the subject, with another key: wanted another subject, or renewal = true", holder.serial);
        Err(Rejection::new("unique-subject", why))
    }))
}

/// How a registry may name a subject: older ones do it by its encoding.
fn names_of(subject: &[u8]) -> [Fingerprint; 2] {
    [subject_identity(subject), Fingerprint::of(subject)]
}

/// Whatever an order says of renewals: who else has the key can use the new certificate as well.
pub(super) fn key_compromised(holder: &Holder) -> Rejection {
    Rejection::new("compromised-key", format!("certificate {} has the key, and is revoked for its compromise (BR 6.1.1.3)", holder.serial))
}

/// A CA's key is for its own certificates.
pub(super) fn authority(name: &str) -> Rejection {
    Rejection::new("shared-key", format!("it is the key of the CA '{name}'"))
}

/// Two subjects with one key are one, or one of them has not proved to have it.
pub(super) fn other_subject(holder: &Holder) -> Rejection {
    Rejection::new("shared-key", format!("certificate {} has the key, and another subject", holder.serial))
}
