//! Slots: an issuer's certificates, divided evenly by a hash of the serial number.
//!
//! The slot is the unit of signing, storing, distributing and swapping. The top `b` bits of the hash name the slot, so that `b + 1` bits split
//! every slot in two and move nothing between others.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Serial;

/// Fixed for ever: the registry's primary key and every stored pack depend on it.
const SEED: u64 = 0x6b61_6b75_6e69_6e01;

/// Where a serial number stands among all of an issuer's: `xxh3_64` of its DER content octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotHash(pub u64);

impl SlotHash {
    /// The hash of a serial's content octets.
    #[inline]
    pub fn of_content(serial_content: &[u8]) -> SlotHash {
        SlotHash(xxh3_64_with_seed(serial_content, SEED))
    }

    /// The slot that this hash falls into when there are `2^bits` of them. `bits` is at most [`SlotRange::MAX_BITS`].
    #[inline]
    pub fn slot(self, bits: u8) -> u32 {
        if bits == 0 { 0 } else { (self.0 >> (64 - u32::from(bits))) as u32 }
    }
}

impl From<&Serial> for SlotHash {
    fn from(serial: &Serial) -> SlotHash {
        SlotHash::of_content(serial.as_der_content())
    }
}

/// One slot out of `2^bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    /// How many top bits of the hash name the slot.
    pub bits: u8,
    /// Its number, below `2^bits`.
    pub slot: u32,
}

impl SlotRange {
    /// The finest division: 16 777 216 slots.
    pub const MAX_BITS: u8 = 24;
    /// All of an issuer's certificates.
    pub const ALL: SlotRange = SlotRange { bits: 0, slot: 0 };

    /// The first and the last hash of the slot.
    pub fn bounds(self) -> (SlotHash, SlotHash) {
        if self.bits == 0 {
            return (SlotHash(0), SlotHash(u64::MAX));
        }
        let shift = 64 - u32::from(self.bits);
        let first = u64::from(self.slot) << shift;
        (SlotHash(first), SlotHash(first | (u64::MAX >> self.bits)))
    }

    /// Bits for `certificates` of them so that a slot holds at most ~1000 on average, and more than ~500 where there is more than one slot.
    pub fn bits_for(certificates: u64) -> u8 {
        (0..Self::MAX_BITS).find(|bits| certificates >> bits <= 1000).unwrap_or(Self::MAX_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slot_holds_five_hundred_to_a_thousand() {
        assert_eq!(SlotRange::bits_for(0), 0);
        assert_eq!(SlotRange::bits_for(1000), 0);
        assert_eq!(SlotRange::bits_for(10_000), 4);
        assert_eq!(SlotRange::bits_for(100_000_000), 17);
        assert_eq!(SlotRange::bits_for(u64::MAX), SlotRange::MAX_BITS);
    }

    proptest! {
        #[test]
        fn a_hash_lies_in_its_slot_and_in_no_other(hash: u64, bits in 0..=SlotRange::MAX_BITS) {
            let slot = SlotHash(hash).slot(bits);
            let (first, last) = SlotRange { bits, slot }.bounds();
            prop_assert!(first.0 <= hash && hash <= last.0);
            if bits < SlotRange::MAX_BITS {
                prop_assert_eq!(SlotHash(hash).slot(bits + 1) >> 1, slot);
            }
        }
    }
}
