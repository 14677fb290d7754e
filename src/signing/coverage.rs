//! Which certificates have a published status: what issuance asks before it hands them out (rule O16, RFC 7633).

use std::collections::{BTreeMap, BTreeSet};

use super::SigningError;
use crate::pack::{Pack, PackPlace};
use crate::pki::{CertificateInfo, IssuerHashes, Serial, SlotHash, SlotRange, Timestamp};
use crate::registry::{Issuer, Registry};

/// Those of `serials` that some published pack lacks, of any CertID hash of the issuer's, or has a response for that is over at `now`. Reads the packs of their
/// slots and no others.
pub fn uncovered(
    registry: &dyn Registry,
    issuer: &Issuer,
    certificate: &CertificateInfo,
    serials: &[Serial],
    now: Timestamp,
) -> Result<BTreeSet<Serial>, SigningError> {
    let mut by_slot: BTreeMap<u32, Vec<&Serial>> = BTreeMap::new();
    for serial in serials {
        by_slot.entry(SlotHash::from(serial).slot(issuer.slot_bits)).or_default().push(serial);
    }
    let mut uncovered = BTreeSet::new();
    for hash in &issuer.publication.cert_id_hashes {
        let place = PackPlace::new(&IssuerHashes::of(certificate, *hash), SlotRange::ALL);
        for (slot, serials) in &by_slot {
            let range = SlotRange { bits: issuer.slot_bits, slot: *slot };
            let pack = match registry.pack(issuer.id, *hash, *slot)? {
                Some(record) => Some(
                    Pack::from_blob(record.blob, place.with_slot(range)).map_err(|source| SigningError::Pack { slot: *slot, source })?,
                ),
                None => None,
            };
            let is_covered = |serial: &Serial| {
                let entry = pack.as_ref().and_then(|pack| pack.lookup(SlotHash::from(serial), serial.as_der_content()));
                entry.is_some_and(|entry| entry.signing.next_update > now)
            };
            uncovered.extend(serials.iter().copied().filter(|serial| !is_covered(serial)).copied());
        }
    }
    Ok(uncovered)
}
