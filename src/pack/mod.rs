//! Response packs: the signed OCSP responses of one slot in a few octets a certificate.
//!
//! A pack stores per certificate only its serial, its status, an index into a small table of signing times, and the signature; everything else is the same for
//! all of them and lives in a [`crate::pki::ocsp_response::ResponseTemplate`]. The encoded pack is what the registry keeps and what the responder looks
//! things up in: nothing is unpacked. This module knows neither keys nor the registry nor HTTP.

mod builder;
mod layout;
mod prefetch;

use std::fmt;

use crate::pki::{CertificateStatus, HashAlgorithm, IssuerHashes, SlotHash, SlotRange, Timestamp};
use layout::Layout;

pub use builder::PackBuilder;
pub use layout::PackError;

/// The greatest number of certificates in one pack.
pub const MAX_CERTIFICATES: usize = u16::MAX as usize;

/// The greatest number of different signings (times and signer) in one pack: beyond it, the whole slot is to be signed anew.
pub const MAX_SIGNINGS: usize = 128;

/// When and by whom a response was signed, and when it is planned to be signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signing {
    /// thisUpdate and producedAt.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// The registry's number of the signer.
    pub signer: u32,
    /// The first turn at which one of these responses may be signed again; at most 2^32 - 1 seconds after thisUpdate.
    pub refresh_at: Timestamp,
}

/// One certificate's response, borrowed from a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Content octets of the serial number.
    pub serial: &'a [u8],
    /// Good or revoked.
    pub status: CertificateStatus,
    /// When and by whom it was signed.
    pub signing: Signing,
    /// r ‖ s for ECDSA, the signature itself otherwise.
    pub raw_signature: &'a [u8],
}

/// Which responses a pack holds: a pack that turns up in another place is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackPlace {
    /// Stands for the issuer and the CertID hash: see [`PackPlace::new`].
    issuer_tag: u64,
    /// The slot.
    pub slot: SlotRange,
}

impl PackPlace {
    /// The place of the responses for `issuer`'s certificates in `slot`.
    pub fn new(issuer: &IssuerHashes, slot: SlotRange) -> PackPlace {
        let algorithm: HashAlgorithm = issuer.algorithm;
        let mut named = vec![algorithm.code()];
        named.extend_from_slice(&issuer.name_hash);
        named.extend_from_slice(&issuer.key_hash);
        PackPlace { issuer_tag: xxhash_rust::xxh3::xxh3_64(&named), slot }
    }

    /// The place of another slot of the same issuer and hash.
    pub fn with_slot(self, slot: SlotRange) -> PackPlace {
        PackPlace { slot, ..self }
    }
}

/// A pack that was checked when it was read: looking something up in it cannot fail.
///
/// One cache line, of which a look-up needs nearly everything.
#[repr(align(64))]
pub struct Pack {
    blob: Box<[u8]>,
    layout: Layout,
}

impl Pack {
    /// Checks an encoded pack (version, checksum, place, every index) and keeps it as it is.
    pub fn from_blob(blob: impl Into<Box<[u8]>>, place: PackPlace) -> Result<Pack, PackError> {
        let blob = blob.into();
        let layout = Layout::read(&blob, place)?;
        Ok(Pack { blob, layout })
    }

    /// The response for a serial (content octets) whose hash is `hash`. Touches the directory and the one or two records of a bucket.
    #[inline]
    pub fn lookup(&self, hash: SlotHash, serial: &[u8]) -> Option<Entry<'_>> {
        let index = self.layout.bucket(&self.blob, hash).find(|index| self.layout.serial(&self.blob, *index) == serial)?;
        Some(self.layout.entry(&self.blob, index))
    }

    /// Sends for what [`Pack::lookup`] reads first, for callers who have other things to do meanwhile: the hash's place in the directory, and the signings.
    #[inline]
    pub fn prefetch_directory(&self, hash: SlotHash) {
        self.layout.prefetch_directory(&self.blob, hash);
    }

    /// Reads the directory, and sends for the record that it names.
    #[inline]
    pub fn prefetch_record(&self, hash: SlotHash) {
        self.layout.prefetch_record(&self.blob, hash);
    }

    /// Every entry, in the order of (hash, serial).
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        (0..self.layout.count()).map(|index| self.layout.entry(&self.blob, index))
    }

    /// How many certificates it holds.
    pub fn len(&self) -> usize {
        self.layout.count()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are revoked.
    pub fn revoked(&self) -> usize {
        self.layout.revoked()
    }

    /// Which slot it holds.
    pub fn slot(&self) -> SlotRange {
        self.layout.slot()
    }

    /// Grows with every publication of the slot.
    pub fn generation(&self) -> u64 {
        self.layout.generation()
    }

    /// When the slot is planned to be signed again: caches need not ask before.
    pub fn refresh_at(&self) -> Timestamp {
        self.layout.refresh_at()
    }

    /// The signings that occur in it, oldest first.
    pub fn signings(&self) -> impl ExactSizeIterator<Item = Signing> {
        (0..self.layout.signings()).map(|index| self.layout.signing(&self.blob, index))
    }

    /// Octets of a signature.
    pub fn signature_length(&self) -> usize {
        self.layout.signature_length()
    }

    /// Octets in memory, without this struct itself.
    pub fn blob_bytes(&self) -> usize {
        self.blob.len()
    }

    /// The encoded pack.
    pub fn as_bytes(&self) -> &[u8] {
        &self.blob
    }

    /// This pack divided into the two slots of one more bit. No signature is made: the responses are the same.
    pub fn split(&self, place: PackPlace) -> Result<[Vec<u8>; 2], PackError> {
        let bits = self.slot().bits + 1;
        let half = |side: u32| {
            let slot = SlotRange { bits, slot: self.slot().slot * 2 + side };
            let mut builder = PackBuilder::new(place.with_slot(slot), self.generation(), self.refresh_at());
            self.entries().filter(|e| SlotHash::of_content(e.serial).slot(bits) == slot.slot).for_each(|e| builder.push(&e));
            builder.build()
        };
        Ok([half(0)?, half(1)?])
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pack({:?}, generation {}, {} certificates)", self.slot(), self.generation(), self.len())
    }
}

#[cfg(test)]
mod tests;
