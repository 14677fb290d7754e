//! The status map: from the names in a CertID to the signed response, without a lock on the way.
//!
//! CertID hashes → issuer ([`IssuerStatus`]) → slot → [`Pack`] → entry. One slot is replaced while readers read; on growth the whole table of slots is.
//! This module does not know where packs come from, nor what time it is.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::pack::{Entry, Pack, PackPlace};
use crate::pki::ocsp_response::ResponseTemplate;
use crate::pki::{HashAlgorithm, IssuerHashes, SlotHash, SlotRange, Timestamp};
use crate::registry::{IssuerId, SignerId};

/// Every pre-signed response of every issuer.
#[derive(Debug, Default)]
pub struct StatusMap {
    directory: ArcSwap<Directory>,
}

/// Who is in the map. It changes when issuers come, not when certificates do.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// In the order of [`sort_key`], so that a look-up is a binary search. Two issuers may share name and key (a renewed CA certificate).
    statuses: Vec<Arc<IssuerStatus>>,
    /// Sorted.
    names: Vec<Arc<str>>,
}

/// One issuer's pre-signed responses for one CertID hash.
#[derive(Debug)]
pub struct IssuerStatus {
    issuer: IssuerId,
    name: Arc<str>,
    hashes: IssuerHashes,
    place: PackPlace,
    table: ArcSwap<SlotTable>,
    templates: ArcSwap<Templates>,
}

/// The packs of all `2^bits` slots.
#[derive(Debug)]
pub struct SlotTable {
    bits: u8,
    slots: Box<[ArcSwapOption<Pack>]>,
}

/// What the responses of each signer have in common.
#[derive(Debug, Default)]
pub struct Templates(Vec<(SignerId, ResponseTemplate)>);

/// Where a signed response will be, if there is one: its memory is on the way.
pub struct Sought<'a> {
    status: &'a IssuerStatus,
    pack: Guard<Option<Arc<Pack>>>,
    hash: SlotHash,
}

/// A signed response that was found, in parts.
#[derive(Debug)]
pub struct Hit<'a> {
    /// What distinguishes it.
    pub entry: Entry<'a>,
    /// What it shares with others.
    pub template: &'a ResponseTemplate,
}

/// Why no signed response was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The slot's pack is not in memory: nothing can be said of the serial.
    NotLoaded,
    /// The slot's pack does not have the serial.
    Unknown,
}

/// Key hashes come first: they differ in their first octets.
fn sort_key(hashes: &IssuerHashes) -> (&[u8], &[u8], HashAlgorithm) {
    (&hashes.key_hash, &hashes.name_hash, hashes.algorithm)
}

impl StatusMap {
    /// An empty map.
    pub fn new() -> StatusMap {
        StatusMap::default()
    }

    /// The present directory, for as long as the guard is held. Never blocks.
    #[inline]
    pub fn directory(&self) -> Guard<Arc<Directory>> {
        self.directory.load()
    }

    /// What is known of an issuer under one CertID hash.
    pub fn get(&self, issuer: IssuerId, algorithm: HashAlgorithm) -> Option<Arc<IssuerStatus>> {
        self.directory().statuses.iter().find(|s| s.issuer == issuer && s.hashes.algorithm == algorithm).cloned()
    }

    /// Puts `statuses` in the place of everything that is known of `issuer`.
    pub fn replace_issuer(&self, issuer: IssuerId, statuses: &[Arc<IssuerStatus>]) {
        self.directory.rcu(|old| {
            let others = old.statuses.iter().filter(|s| s.issuer != issuer);
            let mut all: Vec<_> = others.chain(statuses).cloned().collect();
            all.sort_by(|a, b| sort_key(&a.hashes).cmp(&sort_key(&b.hashes)));
            let mut names: Vec<_> = all.iter().map(|s| Arc::clone(&s.name)).collect();
            names.sort();
            names.dedup();
            Directory { statuses: all, names }
        });
    }
}

impl Directory {
    /// The issuers that a CertID may mean: as a rule one, or none.
    pub fn named(&self, algorithm: HashAlgorithm, name_hash: &[u8], key_hash: &[u8]) -> &[Arc<IssuerStatus>] {
        let wanted = (key_hash, name_hash, algorithm);
        let first = self.statuses.partition_point(|s| sort_key(&s.hashes) < wanted);
        let count = self.statuses[first..].iter().take_while(|s| sort_key(&s.hashes) == wanted).count();
        &self.statuses[first..first + count]
    }

    /// Whether an issuer of this name is in the map.
    pub fn has_issuer(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// Everything in the map.
    pub fn statuses(&self) -> impl Iterator<Item = &Arc<IssuerStatus>> {
        self.statuses.iter()
    }
}

impl IssuerStatus {
    /// An issuer without any pack or template.
    pub fn new(issuer: IssuerId, name: &str, hashes: IssuerHashes) -> IssuerStatus {
        IssuerStatus {
            issuer,
            name: name.into(),
            place: PackPlace::new(&hashes, SlotRange::ALL),
            hashes,
            table: ArcSwap::from_pointee(SlotTable::empty(0)),
            templates: ArcSwap::default(),
        }
    }

    /// Whose responses.
    pub fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// The issuer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hashes that name the issuer in a CertID.
    pub fn hashes(&self) -> &IssuerHashes {
        &self.hashes
    }

    /// The place that a pack must be made for to go into `slot` here.
    pub fn place(&self, slot: SlotRange) -> PackPlace {
        self.place.with_slot(slot)
    }

    /// The present table, for as long as the guard is held.
    pub fn table(&self) -> Guard<Arc<SlotTable>> {
        self.table.load()
    }

    /// The present templates, for as long as the guard is held.
    pub fn templates(&self) -> Guard<Arc<Templates>> {
        self.templates.load()
    }

    /// Replaces the pack of one slot; readers see the old one or the new one. `false`, and nothing is done, where the table has another division.
    pub fn replace_pack(&self, pack: Arc<Pack>) -> bool {
        let slot = pack.slot();
        let table = self.table.load();
        match table.slots.get(slot.slot as usize) {
            Some(place) if table.bits == slot.bits => place.store(Some(pack)),
            _ => return false,
        }
        true
    }

    /// Replaces all slots at once, as after growth.
    pub fn replace_table(&self, table: SlotTable) {
        self.table.store(Arc::new(table));
    }

    /// Replaces the templates.
    pub fn replace_templates(&self, templates: Templates) {
        self.templates.store(Arc::new(templates));
    }

    /// Finds the signed response for a serial (content octets) whose hash is `hash`.
    #[inline]
    pub fn look_up<R>(&self, hash: SlotHash, serial: &[u8], visit: impl FnOnce(Hit<'_>) -> R) -> Result<R, Miss> {
        self.seek(hash).find(serial, visit)
    }

    /// The first part of [`Self::look_up`]: finds the pack, and sends for the memory that is read next.
    #[inline]
    pub fn seek(&self, hash: SlotHash) -> Sought<'_> {
        let table = self.table.load();
        let pack = table.slots[hash.slot(table.bits) as usize].load();
        if let Some(pack) = pack.as_ref() {
            pack.prefetch_directory(hash);
        }
        Sought { status: self, pack, hash }
    }
}

impl<'a> Sought<'a> {
    /// Whose response.
    pub fn status(&self) -> &'a IssuerStatus {
        self.status
    }

    /// Sends for the record, some time before [`Self::find`].
    #[inline]
    pub fn approach(&self) {
        if let Some(pack) = self.pack.as_ref() {
            pack.prefetch_record(self.hash);
        }
    }

    /// The response for the serial (content octets) whose hash was sought.
    #[inline]
    pub fn find<R>(&self, serial: &[u8], visit: impl FnOnce(Hit<'_>) -> R) -> Result<R, Miss> {
        let pack = self.pack.as_ref().ok_or(Miss::NotLoaded)?;
        let entry = pack.lookup(self.hash, serial).ok_or(Miss::Unknown)?;
        let templates = self.status.templates.load();
        let template = templates.get(SignerId(entry.signing.signer)).ok_or(Miss::NotLoaded)?;
        Ok(visit(Hit { entry, template }))
    }
}

impl SlotTable {
    /// `2^bits` slots without packs. `bits` is at most [`SlotRange::MAX_BITS`].
    pub fn empty(bits: u8) -> SlotTable {
        SlotTable { bits, slots: (0..1u32 << bits).map(|_| ArcSwapOption::empty()).collect() }
    }

    /// How many bits of the hash name a slot.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Puts a pack into its slot, before the table is in use.
    pub fn insert(&self, pack: Arc<Pack>) {
        if let Some(place) = self.slots.get(pack.slot().slot as usize) {
            place.store(Some(pack));
        }
    }

    /// The pack of a slot.
    pub fn pack(&self, slot: u32) -> Option<Arc<Pack>> {
        self.slots.get(slot as usize)?.load_full()
    }

    /// The packs of all slots, in order.
    pub fn packs(&self) -> impl ExactSizeIterator<Item = Option<Arc<Pack>>> {
        self.slots.iter().map(|slot| slot.load_full())
    }
}

impl Templates {
    /// The templates of these signers.
    pub fn new(templates: Vec<(SignerId, ResponseTemplate)>) -> Templates {
        Templates(templates)
    }

    /// The template of a signer. There are one or two of them: nothing is faster than looking at each.
    #[inline]
    pub fn get(&self, signer: SignerId) -> Option<&ResponseTemplate> {
        self.0.iter().find(|(id, _)| *id == signer).map(|(_, template)| template)
    }
}

/// The earliest nextUpdate in a pack: from then on something in it may not be served. [`Timestamp::MAX`] for an empty pack.
pub fn next_update(pack: &Pack) -> Timestamp {
    pack.signings().map(|signing| signing.next_update).min().unwrap_or(Timestamp::MAX)
}

/// The latest thisUpdate in a pack: before that something in it may not be served. The epoch for an empty pack.
pub fn this_update(pack: &Pack) -> Timestamp {
    pack.signings().map(|signing| signing.this_update).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, serial, time};
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn status() -> IssuerStatus {
        IssuerStatus::new(IssuerId(1), "test", testing::hashes(HashAlgorithm::Sha1))
    }

    fn look_up(status: &IssuerStatus, number: u64) -> Result<(), Miss> {
        let serial = serial(number);
        status.look_up((&serial).into(), serial.as_der_content(), |hit| assert_eq!(hit.entry.serial, serial.as_der_content()))
    }

    #[test]
    fn a_slot_without_a_pack_is_not_an_unknown_serial() {
        let status = status();
        assert_eq!(look_up(&status, 1), Err(Miss::NotLoaded));
        assert!(status.replace_pack(Arc::new(testing::pack(&status, SlotRange::ALL, 1..10))));
        assert_eq!(look_up(&status, 1), Err(Miss::NotLoaded), "its signer has no template yet");
        status.replace_templates(testing::templates(&status));
        assert_eq!(look_up(&status, 1), Ok(()));
        assert_eq!(look_up(&status, 10), Err(Miss::Unknown));
        let other_division = testing::pack(&status, SlotRange { bits: 2, slot: 1 }, 1..10);
        assert!(!status.replace_pack(Arc::new(other_division)));
    }

    #[test]
    fn issuers_are_found_by_all_three_of_their_names() {
        let map = StatusMap::new();
        let [a, b] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256].map(testing::hashes);
        let statuses = [&a, &b].map(|h| Arc::new(IssuerStatus::new(IssuerId(1), "one", h.clone())));
        map.replace_issuer(IssuerId(1), &statuses);
        map.replace_issuer(IssuerId(2), &[Arc::new(IssuerStatus::new(IssuerId(2), "renewed", a.clone()))]);
        let directory = map.directory();
        let names = |h: &IssuerHashes| {
            directory.named(h.algorithm, &h.name_hash, &h.key_hash).iter().map(|s| s.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&a), ["one", "renewed"]);
        assert_eq!(names(&b), ["one"]);
        assert!(directory.named(HashAlgorithm::Sha1, &b.name_hash, &b.key_hash).is_empty());
        assert!(directory.named(a.algorithm, &a.name_hash, &[]).is_empty());
        assert!(directory.has_issuer("renewed") && !directory.has_issuer("two"));
        drop(directory);
        map.replace_issuer(IssuerId(1), &[]);
        assert_eq!(map.directory().statuses().count(), 1);
    }

    /// Readers never see a serial vanish while slots are replaced and the table grows.
    #[test]
    fn readers_find_everything_while_slots_are_swapped_and_regrouped() {
        let status = status();
        status.replace_templates(testing::templates(&status));
        status.replace_pack(Arc::new(testing::pack(&status, SlotRange::ALL, 0..200)));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        (0..200).for_each(|n| assert_eq!(look_up(&status, n), Ok(())));
                    }
                });
            }
            for bits in [1, 2, 3, 4, 2, 0, 5] {
                status.replace_table(testing::table(&status, bits, 0..200));
                for slot in 0..1 << bits {
                    assert!(status.replace_pack(Arc::new(testing::pack(&status, SlotRange { bits, slot }, 0..200))));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn an_empty_pack_never_expires() {
        let status = status();
        assert_eq!(next_update(&testing::pack(&status, SlotRange::ALL, 0..0)), Timestamp::MAX);
        assert_eq!(next_update(&testing::pack(&status, SlotRange::ALL, 0..1)), time(testing::NEXT_UPDATE));
        assert_eq!(this_update(&testing::pack(&status, SlotRange::ALL, 0..0)), Timestamp::default());
        assert_eq!(this_update(&testing::pack(&status, SlotRange::ALL, 0..1)), time(testing::THIS_UPDATE));
    }
}
