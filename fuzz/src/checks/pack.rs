//! Reading response packs: as they come, and with place and checksum made to fit, as no accident could.
//!
//! What is read stays in bounds whatever it says. Its entries, put into a pack again, are found there, and after a division in one half each.

use std::collections::{BTreeMap, BTreeSet};

use kakunin::pack::{Entry, MAX_CERTIFICATES, MAX_SIGNINGS, Pack, PackBuilder, PackPlace};
use kakunin::pki::{CertificateStatus, HashAlgorithm, IssuerHashes, Serial, SlotHash, SlotRange, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::borrows;

/// Offsets in the header (`src/pack/layout.rs`).
const CHECKSUM: usize = 8;
const ISSUER_TAG: usize = 16;
const SLOT: usize = 40;
const SLOT_BITS: usize = 55;
const HEADER_BYTES: usize = 64;

/// One input: an encoded pack.
pub fn check(input: &[u8]) {
    let place = place(claimed_slot(input));
    if let Ok(pack) = Pack::from_blob(input, place) {
        assert_eq!(pack.as_bytes(), input);
        stays_in_bounds(&pack);
    }
    let Some(mended) = mended(input) else { return };
    let Ok(pack) = Pack::from_blob(&mended[..], place) else { return };
    stays_in_bounds(&pack);
    let _ = pack.split(place);
    refuses_damage(&mended, place);
    // What a builder takes: serials that hash into the slot, once each.
    let entries: BTreeMap<_, _> = pack.entries().map(|entry| ((SlotHash::of_content(entry.serial), entry.serial), entry)).collect();
    let slot = pack.slot();
    if entries.len() == pack.len() && entries.keys().all(|(hash, _)| hash.slot(slot.bits) == slot.slot) {
        goes_round(&pack, &entries.into_values().collect::<Vec<_>>(), place);
    }
}

/// The place of a slot of the issuer that every pack here belongs to.
pub fn place(slot: SlotRange) -> PackPlace {
    let issuer = IssuerHashes { algorithm: HashAlgorithm::Sha1, name_hash: vec![1; 20], key_hash: vec![2; 20] };
    PackPlace::new(&issuer, slot)
}

fn claimed_slot(input: &[u8]) -> SlotRange {
    let Some(header) = input.first_chunk::<HEADER_BYTES>() else { return SlotRange::ALL };
    let bits = header[SLOT_BITS] % (SlotRange::MAX_BITS + 1);
    let slot = u32::from_le_bytes([header[SLOT], header[SLOT + 1], header[SLOT + 2], header[SLOT + 3]]);
    SlotRange { bits, slot: slot & ((1 << bits) - 1) }
}

/// The input with the magic, place and checksum that it should have.
fn mended(input: &[u8]) -> Option<Vec<u8>> {
    let slot = claimed_slot(input);
    let empty = PackBuilder::new(place(slot), 0, Timestamp::default()).build().expect("an empty pack");
    let mut mended = input.to_vec();
    mended.get_mut(..CHECKSUM)?.copy_from_slice(&empty[..CHECKSUM]);
    mended.get_mut(ISSUER_TAG..ISSUER_TAG + 8)?.copy_from_slice(&empty[ISSUER_TAG..ISSUER_TAG + 8]);
    mended.get_mut(SLOT..SLOT + 4)?.copy_from_slice(&slot.slot.to_le_bytes());
    *mended.get_mut(SLOT_BITS)? = slot.bits;
    let checksum = xxh3_64(&mended[ISSUER_TAG..]);
    mended[CHECKSUM..ISSUER_TAG].copy_from_slice(&checksum.to_le_bytes());
    Some(mended)
}

fn stays_in_bounds(pack: &Pack) {
    let signings: BTreeSet<_> = pack.signings().collect();
    assert!(pack.len() <= MAX_CERTIFICATES && pack.signings().len() <= MAX_SIGNINGS && pack.is_empty() == pack.entries().next().is_none());
    assert_eq!((pack.entries().count(), pack.blob_bytes()), (pack.len(), pack.as_bytes().len()));
    let mut revoked = 0;
    for entry in pack.entries() {
        assert!((1..=Serial::MAX_LENGTH).contains(&entry.serial.len()) && borrows(pack.as_bytes(), entry.serial));
        assert!(entry.raw_signature.len() == pack.signature_length() && borrows(pack.as_bytes(), entry.raw_signature));
        assert!(signings.contains(&entry.signing));
        revoked += usize::from(entry.status != CertificateStatus::Good);
        let found = pack.lookup(SlotHash::of_content(entry.serial), entry.serial);
        assert!(found.is_none_or(|found| found.serial == entry.serial));
    }
    assert_eq!(revoked, pack.revoked());
}

/// One bit anywhere, or one octet less or more.
fn refuses_damage(good: &[u8], place: PackPlace) {
    let random = xxh3_64(good);
    let mut damaged = good.to_vec();
    damaged[random as usize % good.len()] ^= 1 << (random >> 61);
    assert!(Pack::from_blob(damaged, place).is_err());
    assert!(Pack::from_blob(&good[..good.len() - 1], place).is_err());
    assert!(Pack::from_blob([good, &[0]].concat(), place).is_err());
    let elsewhere = SlotRange { bits: place.slot.bits + 1, slot: place.slot.slot };
    assert!(Pack::from_blob(good, place.with_slot(elsewhere)).is_err());
}

fn built<'a>(entries: impl IntoIterator<Item = &'a Entry<'a>>, like: &Pack, place: PackPlace) -> Vec<u8> {
    let mut builder = PackBuilder::new(place, like.generation(), like.refresh_at());
    entries.into_iter().for_each(|entry| builder.push(entry));
    builder.build().expect("what was in a pack goes into one")
}

/// `entries`: those of `pack` in the order of (hash, serial).
fn goes_round(pack: &Pack, entries: &[Entry<'_>], place: PackPlace) {
    let blob = built(entries, pack, place);
    assert_eq!(blob, built(entries.iter().rev(), pack, place), "the order in which they come does not matter");
    let again = Pack::from_blob(blob, place).expect("what a builder wrote");
    holds(&again, entries);
    assert_eq!((again.generation(), again.refresh_at()), (pack.generation(), pack.refresh_at()));
    let halves = again.split(place).expect("halves hold less");
    let bits = pack.slot().bits + 1;
    for (blob, slot) in halves.into_iter().zip(pack.slot().slot * 2..) {
        let mine: Vec<_> = entries.iter().filter(|entry| SlotHash::of_content(entry.serial).slot(bits) == slot).copied().collect();
        let half_place = place.with_slot(SlotRange { bits, slot });
        assert_eq!(blob, built(&mine, pack, half_place));
        holds(&Pack::from_blob(blob, half_place).expect("half of a pack"), &mine);
    }
}

/// Finds all of `entries`, which are in the order of (hash, serial), and nothing else.
fn holds(pack: &Pack, entries: &[Entry<'_>]) {
    assert!(pack.entries().eq(entries.iter().copied()));
    for entry in entries {
        let hash = SlotHash::of_content(entry.serial);
        assert_eq!(pack.lookup(hash, entry.serial), Some(*entry));
        let longer = [entry.serial, &[0]].concat();
        let hash = SlotHash::of_content(&longer);
        let wanted = entries.binary_search_by_key(&(hash, &longer[..]), |other| (SlotHash::of_content(other.serial), other.serial));
        assert_eq!(pack.lookup(hash, &longer), wanted.ok().map(|at| entries[at]));
    }
}
