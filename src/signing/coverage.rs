//! Which certificates have a published status: what issuance asks before it hands them out (rule O16, RFC 7633).

use std::collections::BTreeSet;

use super::SigningError;
use crate::pack::{Pack, PackPlace};
use crate::pki::{CertificateInfo, IssuerHashes, Serial, SlotRange, Timestamp};
use crate::registry::{Issuer, Registry};

/// Those of `serials` that some published pack lacks, of any CertID hash of the issuer's, or has a response for that is over at `now`.
pub fn uncovered(
    registry: &dyn Registry,
    issuer: &Issuer,
    certificate: &CertificateInfo,
    serials: &[Serial],
    now: Timestamp,
) -> Result<BTreeSet<Serial>, SigningError> {
    let mut uncovered = BTreeSet::new();
    for hash in &issuer.publication.cert_id_hashes {
        let place = PackPlace::new(&IssuerHashes::of(certificate, *hash), SlotRange::ALL);
        let mut missing: BTreeSet<Serial> = serials.iter().copied().collect();
        let mut unreadable = None;
        registry.visit_packs(issuer.id, *hash, 0..1 << issuer.slot_bits, &mut |record| {
            let slot = SlotRange { bits: issuer.slot_bits, slot: record.head.slot };
            match Pack::from_blob(record.blob, place.with_slot(slot)) {
                Ok(pack) => pack.entries().filter(|entry| entry.signing.next_update > now).for_each(|entry| {
                    if let Ok(serial) = Serial::from_der_content(entry.serial) {
                        missing.remove(&serial);
                    }
                }),
                Err(source) => unreadable = Some(SigningError::Pack { slot: slot.slot, source }),
            }
        })?;
        if let Some(failure) = unreadable {
            return Err(failure);
        }
        uncovered.extend(missing);
    }
    Ok(uncovered)
}
