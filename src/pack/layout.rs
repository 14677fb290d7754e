//! The octets of an encoded pack, version 2. All numbers are little-endian.
//!
//! ```text
//!  0  magic "KKNPACK2"                         8
//!  8  xxh3_64 of everything after this field   8
//! 16  issuer tag                               8
//! 24  generation                               8
//! 32  refresh_at, seconds                      8
//! 40  slot                                     4
//! 44  certificates                             4
//! 48  revoked certificates                     4
//! 52  octets of a signature                    2
//! 54  octets of a serial column                1   n: every serial has n octets; 0x80 | n: a length octet and n octets, zero-padded
//! 55  slot bits                                1
//! 56  directory bits                           1
//! 57  signings                                 1   0 stands for none
//! 58  zero                                     6
//! 64  signings:    thisUpdate 8, nextUpdate 8, signer 4, seconds from thisUpdate to the next signing 4 (0: at refresh_at)
//!     revocations: time 8, index 4, reason 1 (0: unspecified), zero 3, in the order of index
//!     directory:   2^bits + 1 of 2: the first entry of each bucket, and the number of entries
//!     records:     one a certificate, in the order of (hash, serial):
//!                  serial column, mark 1 (0x80 revoked | index of its signing), signature
//! ```
//!
//! A look-up among gigabytes waits for memory and for little else, so what it needs lies side by side: one place in the directory, and from there the one or
//! two records of a bucket.

use std::time::Duration;

use super::prefetch::prefetch;
use super::{CertificateStatus, Entry, MAX_CERTIFICATES, MAX_SIGNINGS, PackPlace, Signing};
use crate::pki::{Revocation, RevocationReason, Serial, SlotHash, SlotRange, Timestamp};

pub(super) const MAGIC: [u8; 8] = *b"KKNPACK2";
pub(super) const HEADER_BYTES: usize = 64;
pub(super) const CHECKED_FROM: usize = 16;
pub(super) const SIGNING_BYTES: usize = 24;
pub(super) const REVOCATION_BYTES: usize = 16;
pub(super) const REVOKED_MARK: u8 = 0x80;
pub(super) const VARIABLE_SERIALS: u8 = 0x80;
/// Octets that memory brings at once.
const CACHE_LINE: usize = 64;
/// At most 2^15 buckets of one or two: enough for [`MAX_CERTIFICATES`].
pub(super) const MAX_DIRECTORY_BITS: u8 = 15;

/// Why an encoded pack is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Not a pack, or one of another version.
    #[error("not a response pack of version 2")]
    Magic,
    /// The octets are not those that were written.
    #[error("checksum is {found:016x}, wanted {wanted:016x}: the pack is damaged")]
    Checksum {
        /// Computed over what is there.
        found: u64,
        /// As noted in the pack.
        wanted: u64,
    },
    /// The pack of another issuer, CertID hash or slot.
    #[error("the pack belongs to another issuer, CertID hash or slot ({0})")]
    Place(String),
    /// A field has a value that no writer produces.
    #[error("{field}: found {found}, wanted {wanted}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The bound.
        wanted: String,
    },
}

fn field(field: &'static str, found: usize, wanted: impl ToString) -> PackError {
    PackError::Field { field, found: found as u64, wanted: wanted.to_string() }
}

/// Where everything is in one encoded pack. Every offset was checked against the length of the blob.
pub(super) struct Layout {
    generation: u64,
    refresh_at: Timestamp,
    slot: SlotRange,
    count: u32,
    revoked: u32,
    signature_length: u16,
    serial_stride: u8,
    variable_serials: bool,
    directory_bits: u8,
    signings: u8,
    directory: u32,
    records: u32,
}

fn u16_at(blob: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([blob[at], blob[at + 1]])
}

fn u32_at(blob: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(blob[at..at + 4].try_into().expect("four octets"))
}

fn u64_at(blob: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(blob[at..at + 8].try_into().expect("eight octets"))
}

fn time_at(blob: &[u8], at: usize) -> Result<Timestamp, PackError> {
    let seconds = u64_at(blob, at);
    Timestamp::from_unix(seconds).ok_or_else(|| field("time", seconds as usize, "a second before the year 10000"))
}

impl Layout {
    /// Checks everything that later accesses rely on.
    pub(super) fn read(blob: &[u8], place: PackPlace) -> Result<Layout, PackError> {
        if blob.len() < HEADER_BYTES || blob[..8] != MAGIC {
            return Err(PackError::Magic);
        }
        let (found, wanted) = (xxhash_rust::xxh3::xxh3_64(&blob[CHECKED_FROM..]), u64_at(blob, 8));
        if found != wanted {
            return Err(PackError::Checksum { found, wanted });
        }
        let slot = SlotRange { bits: blob[55], slot: u32_at(blob, 40) };
        if u64_at(blob, 16) != place.issuer_tag || slot != place.slot {
            let name = |slot: SlotRange| format!("slot {} of 2^{}", slot.slot, slot.bits);
            let issuer = if u64_at(blob, 16) == place.issuer_tag { "" } else { " and another tag of issuer and hash" };
            return Err(PackError::Place(format!("found {}{issuer}, wanted {}", name(slot), name(place.slot))));
        }
        let layout = Self::measure(blob, slot)?;
        layout.check_tables(blob)?;
        Ok(layout)
    }

    fn measure(blob: &[u8], slot: SlotRange) -> Result<Layout, PackError> {
        let count = u32_at(blob, 44) as usize;
        let revoked = u32_at(blob, 48) as usize;
        let signature_length = u16_at(blob, 52) as usize;
        let variable_serials = blob[54] & VARIABLE_SERIALS != 0;
        let longest = usize::from(blob[54] & !VARIABLE_SERIALS);
        let (directory_bits, signings) = (blob[56], usize::from(blob[57]));
        if count > MAX_CERTIFICATES {
            return Err(field("certificates", count, format!("at most {MAX_CERTIFICATES}")));
        }
        if revoked > count {
            return Err(field("revoked certificates", revoked, format!("at most {count}")));
        }
        if longest > Serial::MAX_LENGTH || (longest == 0 && count > 0) {
            return Err(field("octets of a serial", longest, "1 to 20"));
        }
        if directory_bits > MAX_DIRECTORY_BITS {
            return Err(field("directory bits", directory_bits.into(), format!("at most {MAX_DIRECTORY_BITS}")));
        }
        if signings > MAX_SIGNINGS {
            return Err(field("signings", signings, format!("at most {MAX_SIGNINGS}")));
        }
        let serial_stride = longest + usize::from(variable_serials);
        let directory = HEADER_BYTES + signings * SIGNING_BYTES + revoked * REVOCATION_BYTES;
        let records = directory + 2 * ((1 << directory_bits) + 1);
        let length = records + count * (serial_stride + 1 + signature_length);
        if blob.len() != length {
            return Err(field("octets of the pack", blob.len(), length));
        }
        Ok(Layout {
            generation: u64_at(blob, 24),
            refresh_at: time_at(blob, 32)?,
            slot,
            count: count as u32,
            revoked: revoked as u32,
            signature_length: signature_length as u16,
            serial_stride: serial_stride as u8,
            variable_serials,
            directory_bits,
            signings: signings as u8,
            directory: directory as u32,
            records: records as u32,
        })
    }

    fn check_tables(&self, blob: &[u8]) -> Result<(), PackError> {
        for index in 0..usize::from(self.signings) {
            let at = HEADER_BYTES + index * SIGNING_BYTES;
            time_at(blob, at)?;
            time_at(blob, at + 8)?;
        }
        let mut revocations = 0;
        for index in 0..self.count() {
            let record = self.record(blob, index);
            let mark = record[usize::from(self.serial_stride)];
            if mark & !REVOKED_MARK >= self.signings {
                return Err(field("index of a signing", (mark & !REVOKED_MARK).into(), format!("below {}", self.signings)));
            }
            if mark & REVOKED_MARK != 0 {
                self.check_revocation(blob, revocations, index)?;
                revocations += 1;
            }
            if self.variable_serials && (record[0] == 0 || record[0] >= self.serial_stride) {
                return Err(field("octets of a serial", record[0].into(), format!("1 to {}", self.serial_stride - 1)));
            }
        }
        if revocations != self.revoked() {
            return Err(field("certificates marked revoked", revocations, self.revoked));
        }
        self.check_directory(blob)
    }

    fn check_revocation(&self, blob: &[u8], revocation: usize, index: usize) -> Result<(), PackError> {
        if revocation >= self.revoked() {
            return Err(field("certificates marked revoked", revocation + 1, self.revoked));
        }
        let at = self.revocation_at(revocation);
        time_at(blob, at)?;
        let (found, reason) = (u32_at(blob, at + 8) as usize, blob[at + 12]);
        if found != index {
            return Err(field("index of a revoked certificate", found, index));
        }
        if reason != 0 && RevocationReason::from_code(reason).is_none() {
            return Err(field("revocation reason", reason.into(), "a code of RFC 5280 5.3.1"));
        }
        Ok(())
    }

    fn check_directory(&self, blob: &[u8]) -> Result<(), PackError> {
        let bounds = |bucket: usize| usize::from(u16_at(blob, self.directory as usize + 2 * bucket));
        let buckets = 1usize << self.directory_bits;
        let ordered = (0..buckets).all(|b| bounds(b) <= bounds(b + 1)) && bounds(0) == 0;
        if !ordered || bounds(buckets) != self.count() {
            return Err(field("end of the directory", bounds(buckets), self.count));
        }
        Ok(())
    }

    /// Indices of the entries that share a directory bucket with `hash`.
    #[inline]
    pub(super) fn bucket(&self, blob: &[u8], hash: SlotHash) -> std::ops::Range<usize> {
        let at = self.bucket_at(hash);
        usize::from(u16_at(blob, at))..usize::from(u16_at(blob, at + 2))
    }

    #[inline]
    fn bucket_at(&self, hash: SlotHash) -> usize {
        self.directory as usize + 2 * bucket_of(hash, self.slot.bits, self.directory_bits)
    }

    #[inline]
    pub(super) fn prefetch_directory(&self, blob: &[u8], hash: SlotHash) {
        prefetch(blob, self.bucket_at(hash));
        prefetch(blob, HEADER_BYTES);
    }

    /// The first record of the bucket, or what lies behind the bucket where it is empty.
    #[inline]
    pub(super) fn prefetch_record(&self, blob: &[u8], hash: SlotHash) {
        let length = self.record_length();
        let at = self.records as usize + self.bucket(blob, hash).start * length;
        (0..length).step_by(CACHE_LINE).for_each(|line| prefetch(blob, at + line));
        prefetch(blob, at + length - 1);
    }

    #[inline]
    fn record_length(&self) -> usize {
        usize::from(self.serial_stride) + 1 + usize::from(self.signature_length)
    }

    /// Serial column, mark and signature of one certificate.
    #[inline]
    fn record<'a>(&self, blob: &'a [u8], index: usize) -> &'a [u8] {
        let length = self.record_length();
        let at = self.records as usize + index * length;
        &blob[at..at + length]
    }

    #[inline]
    pub(super) fn serial<'a>(&self, blob: &'a [u8], index: usize) -> &'a [u8] {
        let record = self.record(blob, index);
        if self.variable_serials { &record[1..1 + usize::from(record[0])] } else { &record[..usize::from(self.serial_stride)] }
    }

    pub(super) fn entry<'a>(&self, blob: &'a [u8], index: usize) -> Entry<'a> {
        let (mark, raw_signature) = match self.record(blob, index)[usize::from(self.serial_stride)..] {
            [mark, ref signature @ ..] => (mark, signature),
            [] => unreachable!("a record is longer than its serial column"),
        };
        let status =
            if mark & REVOKED_MARK == 0 { CertificateStatus::Good } else { CertificateStatus::Revoked(self.revocation(blob, index)) };
        Entry { serial: self.serial(blob, index), status, signing: self.signing(blob, usize::from(mark & !REVOKED_MARK)), raw_signature }
    }

    pub(super) fn signing(&self, blob: &[u8], index: usize) -> Signing {
        let at = HEADER_BYTES + index * SIGNING_BYTES;
        let time = |at| time_at(blob, at).expect("checked when the pack was read");
        let this_update = time(at);
        let refresh_at = match u32_at(blob, at + 20) {
            0 => self.refresh_at,
            seconds => this_update.saturating_add(Duration::from_secs(seconds.into())),
        };
        Signing { this_update, next_update: time(at + 8), signer: u32_at(blob, at + 16), refresh_at }
    }

    fn revocation_at(&self, revocation: usize) -> usize {
        HEADER_BYTES + usize::from(self.signings) * SIGNING_BYTES + revocation * REVOCATION_BYTES
    }

    /// The revocation of a certificate that is marked revoked, by binary search for its index.
    fn revocation(&self, blob: &[u8], index: usize) -> Revocation {
        let (mut low, mut high) = (0, self.revoked());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if u32_at(blob, self.revocation_at(middle) + 8) as usize <= index { low = middle } else { high = middle }
        }
        let at = self.revocation_at(low);
        Revocation { at: time_at(blob, at).expect("checked when the pack was read"), reason: RevocationReason::from_code(blob[at + 12]) }
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn revoked(&self) -> usize {
        self.revoked as usize
    }

    pub(super) fn signings(&self) -> usize {
        self.signings.into()
    }

    pub(super) fn slot(&self) -> SlotRange {
        self.slot
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn refresh_at(&self) -> Timestamp {
        self.refresh_at
    }

    pub(super) fn signature_length(&self) -> usize {
        self.signature_length.into()
    }
}

/// The bucket of a hash: the bits that follow those of the slot.
#[inline]
pub(super) fn bucket_of(hash: SlotHash, slot_bits: u8, directory_bits: u8) -> usize {
    if directory_bits == 0 { 0 } else { ((hash.0 << slot_bits) >> (64 - u32::from(directory_bits))) as usize }
}
