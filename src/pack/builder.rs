//! Writing packs.

use super::layout::{CHECKED_FROM, HEADER_BYTES, MAGIC, MAX_DIRECTORY_BITS, PackError, REVOKED_MARK, VARIABLE_SERIALS, bucket_of};
use super::{CertificateStatus, Entry, MAX_CERTIFICATES, MAX_SIGNINGS, PackPlace, Signing};
use crate::pki::{Revocation, Serial, SlotHash, Timestamp};

/// Collects the responses of one slot, in any order, and encodes them.
pub struct PackBuilder {
    place: PackPlace,
    generation: u64,
    refresh_at: Timestamp,
    entries: Vec<Owned>,
    signatures: Vec<u8>,
}

struct Owned {
    hash: SlotHash,
    serial: [u8; Serial::MAX_LENGTH],
    serial_length: u8,
    status: CertificateStatus,
    signing: Signing,
    signature: (u32, u16),
}

impl Owned {
    fn serial(&self) -> &[u8] {
        &self.serial[..usize::from(self.serial_length)]
    }
}

impl PackBuilder {
    /// An empty pack.
    pub fn new(place: PackPlace, generation: u64, refresh_at: Timestamp) -> PackBuilder {
        PackBuilder { place, generation, refresh_at, entries: Vec::new(), signatures: Vec::new() }
    }

    /// Adds a response. Its serial has 1 to 20 octets and its hash lies in the slot: both come from a registered certificate.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let mut serial = [0; Serial::MAX_LENGTH];
        serial[..entry.serial.len()].copy_from_slice(entry.serial);
        let at = self.signatures.len() as u32;
        self.signatures.extend_from_slice(entry.raw_signature);
        self.entries.push(Owned {
            hash: SlotHash::of_content(entry.serial),
            serial,
            serial_length: entry.serial.len() as u8,
            status: entry.status,
            signing: entry.signing,
            signature: (at, entry.raw_signature.len() as u16),
        });
    }

    /// Encodes the pack. Fails where there are more certificates or signings than a pack holds, or signatures of different lengths: the slot is then
    /// to be divided, or signed anew.
    pub fn build(mut self) -> Result<Vec<u8>, PackError> {
        self.entries.sort_unstable_by(|a, b| (a.hash, a.serial()).cmp(&(b.hash, b.serial())));
        let count = self.entries.len();
        let bound = |field, found: usize, limit: usize| {
            if found <= limit { Ok(()) } else { Err(PackError::Field { field, found: found as u64, wanted: format!("at most {limit}") }) }
        };
        bound("certificates", count, MAX_CERTIFICATES)?;
        let signings = self.signings();
        bound("signings", signings.len(), MAX_SIGNINGS)?;
        let signature_length = self.entries.first().map_or(0, |e| e.signature.1);
        if let Some(other) = self.entries.iter().find(|e| e.signature.1 != signature_length) {
            return Err(PackError::Field {
                field: "octets of a signature",
                found: other.signature.1.into(),
                wanted: signature_length.to_string(),
            });
        }
        Ok(self.encode(&signings, signature_length))
    }

    fn signings(&self) -> Vec<Signing> {
        let mut signings: Vec<Signing> = self.entries.iter().map(|e| e.signing).collect();
        signings.sort_unstable();
        signings.dedup();
        signings
    }

    fn encode(&self, signings: &[Signing], signature_length: u16) -> Vec<u8> {
        let count = self.entries.len();
        let longest = self.entries.iter().map(|e| e.serial_length).max().unwrap_or(0);
        let variable = self.entries.iter().any(|e| e.serial_length != longest);
        let directory_bits = (count / 2).checked_ilog2().map_or(0, |bits| (bits + 1) as u8).min(MAX_DIRECTORY_BITS);
        let slot = self.place.slot;

        let per_certificate = 1 + usize::from(longest) + usize::from(variable) + usize::from(signature_length);
        let mut out = Vec::with_capacity(HEADER_BYTES + signings.len() * 24 + count * per_certificate + (4 << directory_bits));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.place.issuer_tag.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.refresh_at.unix().to_le_bytes());
        out.extend_from_slice(&slot.slot.to_le_bytes());
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.extend_from_slice(&(self.revoked().count() as u32).to_le_bytes());
        out.extend_from_slice(&signature_length.to_le_bytes());
        let serial_form = if variable { VARIABLE_SERIALS | longest } else { longest };
        out.extend_from_slice(&[serial_form, slot.bits, directory_bits, signings.len() as u8, 0, 0, 0, 0, 0, 0]);
        self.push_tables(&mut out, signings, directory_bits);
        self.push_records(&mut out, signings, usize::from(longest), variable);
        let checksum = xxhash_rust::xxh3::xxh3_64(&out[CHECKED_FROM..]);
        out[8..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    fn revoked(&self) -> impl Iterator<Item = (usize, Revocation)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match entry.status {
            CertificateStatus::Good => None,
            CertificateStatus::Revoked(revocation) => Some((index, revocation)),
        })
    }

    fn push_tables(&self, out: &mut Vec<u8>, signings: &[Signing], directory_bits: u8) {
        for signing in signings {
            out.extend_from_slice(&signing.this_update.unix().to_le_bytes());
            out.extend_from_slice(&signing.next_update.unix().to_le_bytes());
            out.extend_from_slice(&signing.signer.to_le_bytes());
            let seconds = signing.refresh_at.since(signing.this_update).as_secs();
            out.extend_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_le_bytes());
        }
        for (index, revocation) in self.revoked() {
            out.extend_from_slice(&revocation.at.unix().to_le_bytes());
            out.extend_from_slice(&(index as u32).to_le_bytes());
            out.extend_from_slice(&[revocation.reason.map_or(0, |r| r.code()), 0, 0, 0]);
        }
        let bucket = |entry: &Owned| bucket_of(entry.hash, self.place.slot.bits, directory_bits);
        for boundary in 0..=1usize << directory_bits {
            let first = self.entries.partition_point(|e| bucket(e) < boundary);
            out.extend_from_slice(&(first as u16).to_le_bytes());
        }
    }

    fn push_records(&self, out: &mut Vec<u8>, signings: &[Signing], longest: usize, variable: bool) {
        for entry in &self.entries {
            if variable {
                out.push(entry.serial_length);
            }
            out.extend_from_slice(&entry.serial[..longest]);
            let index = signings.binary_search(&entry.signing).expect("the table holds every signing") as u8;
            let revoked = matches!(entry.status, CertificateStatus::Revoked(_));
            out.push(if revoked { REVOKED_MARK | index } else { index });
            let (at, length) = (entry.signature.0 as usize, usize::from(entry.signature.1));
            out.extend_from_slice(&self.signatures[at..at + length]);
        }
    }
}
