//! Growth: when an issuer has more certificates than its slots should hold, the slots are doubled and the packs divided. Nothing is signed again.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::{IssuerSigning, SigningError};
use crate::pack::{Pack, PackError, PackPlace};
use crate::pki::{HashAlgorithm, IssuerHashes, SlotRange, Timestamp};
use crate::registry::{PackHead, PackRecord, Registry, RegistryError};

/// How long slots that could not be divided are left as they are.
const PAUSE: Duration = Duration::from_secs(60);
/// How long they wait for what is under way: a token may not answer (S1.1). What comes too late finds other slots, and is done again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The issuers, by their index, whose slots are about to be divided, or could not be.
#[derive(Debug, Default)]
pub(super) struct Divisions {
    waiting_since: BTreeMap<usize, Timestamp>,
    failed_at: BTreeMap<usize, Timestamp>,
}

impl Divisions {
    /// Whether the slots of an issuer could not be divided a short while ago.
    pub(super) fn failed_lately(&self, issuer: usize, now: Timestamp) -> bool {
        self.failed_at.get(&issuer).is_some_and(|at| *at <= now && now.since(*at) < PAUSE)
    }

    /// They could not be divided.
    pub(super) fn failed(&mut self, issuer: usize, now: Timestamp) {
        self.failed_at.insert(issuer, now);
    }

    /// Whether they are divided now, with so many tasks under way.
    pub(super) fn is_time(&mut self, issuer: usize, in_flight: usize, now: Timestamp) -> bool {
        let since = *self.waiting_since.entry(issuer).or_insert(now);
        // A time that is ahead is from before the clock was set back.
        let is_time = in_flight == 0 || now < since || now.since(since) >= PATIENCE;
        if is_time {
            self.waiting_since.remove(&issuer);
        }
        is_time
    }
}

/// How many bits the issuer's slots should have by now, where that is more than they have.
pub(super) fn wanted(registry: &dyn Registry, signing: &IssuerSigning) -> Result<Option<u8>, SigningError> {
    let counts = registry.counts(signing.issuer.id)?;
    let wanted = SlotRange::bits_for(counts.good + counts.revoked);
    Ok((wanted > signing.issuer.slot_bits).then_some(wanted))
}

/// Divides the issuer's packs into slots of `to` bits; `signing` then has the new division. Fails with [`RegistryError::Stale`] where a pack is published
/// meanwhile.
pub(super) fn grow(registry: &dyn Registry, signing: &mut IssuerSigning, to: u8) -> Result<(), SigningError> {
    let from = signing.issuer.slot_bits;
    let heads = registry.pack_heads(signing.issuer.id)?;
    let generations = heads.iter().map(|h| h.generation).sum();
    let mut packs = heads.iter().flat_map(|head| divided(registry, signing, head, to));
    registry.regroup_packs(signing.issuer.id, from, to, generations, &mut packs)?;
    info!(issuer = signing.issuer.name, from, to, "slots doubled");
    signing.issuer.slot_bits = to;
    Ok(())
}

/// The packs that replace one pack. One whose octets are damaged has none: its slots are then signed anew.
fn divided(registry: &dyn Registry, signing: &IssuerSigning, head: &PackHead, to: u8) -> Vec<Result<PackRecord, RegistryError>> {
    let hashes = IssuerHashes::of(&signing.certificate, head.cert_id_hash);
    let place = PackPlace::new(&hashes, SlotRange { bits: signing.issuer.slot_bits, slot: head.slot });
    let record = match registry.pack(signing.issuer.id, head.cert_id_hash, head.slot) {
        Ok(record) => record,
        Err(failure) => return vec![Err(failure)],
    };
    let whole = record.and_then(|record| Pack::from_blob(record.blob, place).inspect_err(|e| warn_of(signing, head, e)).ok());
    let mut packs: Vec<Pack> = whole.into_iter().collect();
    while packs.first().is_some_and(|pack| pack.slot().bits < to) {
        packs = packs.iter().flat_map(|pack| halves(pack, place)).collect();
    }
    packs.iter().map(|pack| Ok(record_of(pack, head.cert_id_hash, head))).collect()
}

fn warn_of(signing: &IssuerSigning, head: &PackHead, damage: &PackError) {
    warn!(issuer = signing.issuer.name, cert_id_hash = head.cert_id_hash.name(), slot = head.slot, "a pack is signed anew: {damage}");
}

fn halves(pack: &Pack, place: PackPlace) -> Vec<Pack> {
    let (bits, slot) = (pack.slot().bits + 1, pack.slot().slot * 2);
    let halves = pack.split(place).map(Vec::from).unwrap_or_default();
    let read = |(side, blob)| Pack::from_blob(blob, place.with_slot(SlotRange { bits, slot: slot + side })).ok();
    (0..).zip(halves).filter_map(read).collect()
}

fn record_of(pack: &Pack, cert_id_hash: HashAlgorithm, old: &PackHead) -> PackRecord {
    let head = PackHead {
        cert_id_hash,
        slot: pack.slot().slot,
        generation: pack.generation(),
        this_update: pack.signings().map(|s| s.this_update).min().unwrap_or(old.this_update),
        next_update: pack.signings().map(|s| s.next_update).min().unwrap_or(old.next_update),
        refresh_at: pack.refresh_at(),
    };
    PackRecord { head, blob: pack.as_bytes().to_vec() }
}
