//! What certificates that were issued before say against a key, whoever issued them.

use super::names::subject_identity;
use super::vetting::Rejection;
use crate::pki::{Fingerprint, Timestamp};
use crate::registry::work::{Holder, WorkRegistry};
use crate::registry::{IssuerId, RegistryError};

/// Whether a key that is to be certified on its own, for a subject in DER, is neither compromised nor somebody else's. The same subject may have it again: whoever
/// approves such an order knows why.
pub fn check_holders(registry: &dyn WorkRegistry, spki: &[u8], subject: &[u8]) -> Result<Result<(), Rejection>, RegistryError> {
    let key = [Fingerprint::of(spki)];
    if let Some(holder) = registry.compromised_holders(&key)?.first().copied().flatten() {
        return Ok(Err(key_compromised(&holder)));
    }
    // Older registries name subjects by their encoding.
    let subjects = [subject_identity(subject), Fingerprint::of(subject)];
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
    let subjects = [subject_identity(subject), Fingerprint::of(subject)];
    let holders = registry.subject_holders(issuer, &subjects, now)?;
    let other = holders.into_iter().flatten().find(|holder| holder.public_key != Fingerprint::of(spki));
    Ok(other.map_or(Ok(()), |holder| {
        let why = format!("certificate {} has the subject, with another key: wanted another subject, or renewal = true", holder.serial);
        Err(Rejection::new("unique-subject", why))
    }))
}

/// Whatever an order says of renewals: who else has the key can use the new certificate as well.
pub(super) fn key_compromised(holder: &Holder) -> Rejection {
    Rejection::new("compromised-key", format!("certificate {} has the key, and is revoked for its compromise (BR 6.1.1.3)", holder.serial))
}

/// Two subjects with one key are one, or one of them has not proved to have it.
pub(super) fn other_subject(holder: &Holder) -> Rejection {
    Rejection::new("shared-key", format!("certificate {} has the key, and another subject", holder.serial))
}
