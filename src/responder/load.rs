//! Brings issuers, signers, packs and CRLs from the registry into the content. Everything is checked before it is taken into use; what fails its check is
//! refused by name, and what was served before stays. Loading again what is loaded already costs little: this is also how a node is set right.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tracing::{debug, error, info};

use crate::pack::Pack;
use crate::pki::{CertificateInfo, HashAlgorithm, IssuerHashes, SlotRange, Timestamp};
use crate::registry::{CrlRecord, CrlScope, Issuer, IssuerId, Registry, RegistryError, SignerId};

use super::content::Content;
use super::documents::{Document, DocumentKind, certificate_path};
use super::status_map::{self, IssuerStatus, SlotTable, Templates};
use crate::registry::{crl_path, partition_list_path};

type Result<T> = std::result::Result<T, RegistryError>;

/// A thread loads 2^8 slots at a time, a hundred thousand certificates and more. An issuer that has more slots is loaded by several.
const PART_BITS: u8 = 8;
/// As many threads load at most, each with a connection to the registry and the memory that this takes.
const MAX_THREADS: usize = 16;

/// The way from a registry to a content.
#[derive(Clone, Copy)]
pub(super) struct Loader<'a> {
    pub(super) registry: &'a dyn Registry,
    pub(super) content: &'a Content,
    pub(super) now: Timestamp,
}

impl Loader<'_> {
    /// Everything of every issuer: the small ones in parallel, those of many slots one after the other and each in parallel.
    pub(super) fn everything(&self) -> Result<()> {
        let (large, small): (Vec<_>, Vec<_>) = self.registry.issuers()?.into_iter().partition(|issuer| issuer.slot_bits > PART_BITS);
        let large = large.iter().map(|issuer| self.issuer(issuer)).fold(Ok(()), Result::and);
        large.and(in_parallel(&small, |issuer| self.issuer(issuer)).map(drop))
    }

    /// Everything of one issuer.
    pub(super) fn issuer(&self, issuer: &Issuer) -> Result<()> {
        let certificate = match check(issuer) {
            Ok(certificate) => certificate,
            Err(reason) => {
                // It counts as registered all the same: without the packs that there are the node is not ready.
                self.content.replace_issuer(issuer);
                self.note_what_is_published(issuer.id)?;
                self.content.feed.document_refused();
                error!(issuer = issuer.name, "the issuer is refused, what was served of it stays in use: {reason}");
                return Ok(());
            }
        };
        let status_of = |algorithm: &HashAlgorithm| {
            let hashes = IssuerHashes::of(&certificate, *algorithm);
            let known = self.content.status.get(issuer.id, *algorithm).filter(|s| *s.hashes() == hashes && s.name() == issuer.name);
            known.unwrap_or_else(|| Arc::new(IssuerStatus::new(issuer.id, &issuer.name, hashes)))
        };
        let statuses: Vec<_> = issuer.publication.cert_id_hashes.iter().map(status_of).collect();
        self.load_templates(issuer.id, &statuses)?;
        let is_loaded = statuses.iter().all(|s| s.table().bits() == issuer.slot_bits && s.table().packs().any(|p| p.is_some()));
        let outdated = if is_loaded { self.outdated(issuer.id, &statuses)? } else { None };
        let outdated = match outdated {
            Some(outdated) => outdated,
            None => self.load_tables(issuer, &statuses)?,
        };
        self.content.status.replace_issuer(issuer.id, &statuses);
        self.content.replace_issuer(issuer);
        for (algorithm, slot) in outdated {
            self.pack(issuer.id, algorithm, slot)?;
        }
        self.content.documents.publish(vec![(certificate_path(&issuer.name), Document::ca_certificate(&certificate))]);
        self.crls(issuer.id)
    }

    /// For an issuer of whom nothing else is read.
    fn note_what_is_published(&self, issuer: IssuerId) -> Result<()> {
        if self.content.is_published(issuer) {
            return Ok(());
        }
        if !self.registry.pack_heads(issuer)?.is_empty() || !self.registry.latest_crls(issuer)?.is_empty() {
            self.content.note_published(issuer);
        }
        Ok(())
    }

    /// The templates of all signers of one issuer.
    pub(super) fn signers(&self, issuer: IssuerId) -> Result<()> {
        let statuses: Vec<_> = self.content.status.directory().statuses().filter(|s| s.issuer() == issuer).cloned().collect();
        self.load_templates(issuer, &statuses)
    }

    fn load_templates(&self, issuer: IssuerId, statuses: &[Arc<IssuerStatus>]) -> Result<()> {
        let signers = self.registry.signers(issuer)?;
        for status in statuses {
            let templates = signers.iter().map(|(id, signer)| (*id, signer.template(status.hashes()))).collect();
            status.replace_templates(Templates::new(templates));
        }
        Ok(())
    }

    /// Which packs are of another generation in the registry than in memory; `None` where some in memory are in the registry no more.
    fn outdated(&self, issuer: IssuerId, statuses: &[Arc<IssuerStatus>]) -> Result<Option<Vec<(HashAlgorithm, u32)>>> {
        let heads = self.registry.pack_heads(issuer)?;
        let (mut outdated, mut kept) = (Vec::new(), 0);
        for head in heads {
            let Some(status) = statuses.iter().find(|s| s.hashes().algorithm == head.cert_id_hash) else { continue };
            let loaded = status.table().pack(head.slot).map(|pack| pack.generation());
            kept += usize::from(loaded.is_some());
            if loaded != Some(head.generation) {
                outdated.push((head.cert_id_hash, head.slot));
            }
        }
        let in_memory: usize = statuses.iter().map(|status| status.table().packs().flatten().count()).sum();
        Ok((kept == in_memory).then_some(outdated))
    }

    /// Replaces whole tables, as at the start and after growth. Returns which packs were not usable as they came.
    fn load_tables(&self, issuer: &Issuer, statuses: &[Arc<IssuerStatus>]) -> Result<Vec<(HashAlgorithm, u32)>> {
        let bits = issuer.slot_bits;
        let mut unusable = Vec::new();
        for status in statuses {
            let table = SlotTable::empty(bits);
            let again = in_parallel(&parts(bits), |slots| self.load_slots(status, &table, slots.clone()))?.concat();
            let old = status.table();
            for slot in again {
                if let Some(pack) = narrowed(status, &old, SlotRange { bits, slot }) {
                    table.insert(pack);
                }
                unusable.push((status.hashes().algorithm, slot));
            }
            status.replace_table(table);
        }
        Ok(unusable)
    }

    /// Puts the packs of some slots into a table. Returns the slots of those that are not usable as they came.
    fn load_slots(&self, status: &IssuerStatus, table: &SlotTable, slots: Range<u32>) -> Result<Vec<u32>> {
        let (mut packs, mut again) = (Vec::with_capacity(slots.len()), Vec::new());
        self.registry.visit_packs(status.issuer(), status.hashes().algorithm, slots, &mut |record| {
            let slot = record.head.slot;
            match Pack::from_blob(record.blob, status.place(SlotRange { bits: table.bits(), slot })) {
                Ok(pack) if knows_signers(status, &pack) => {
                    self.content.feed.pack_loaded();
                    self.look_at_time(status.issuer(), status.name(), "an OCSP response", status_map::this_update(&pack));
                    packs.push(pack);
                }
                _ => again.push(slot),
            }
        })?;
        if !packs.is_empty() || !again.is_empty() {
            self.content.note_published(status.issuer());
        }
        // Only now, so that they lie side by side and not each beside its blob: a look-up touches one, and some hundred share a page of memory.
        packs.into_iter().for_each(|pack| table.insert(Arc::new(pack)));
        Ok(again)
    }

    /// One pack.
    pub(super) fn pack(&self, issuer: IssuerId, algorithm: HashAlgorithm, slot: u32) -> Result<()> {
        self.content.note_published(issuer);
        // A hash that is not in the issuer's publication is not served.
        let Some(status) = self.content.status.get(issuer, algorithm) else { return Ok(()) };
        let bits = status.table().bits();
        let Some(record) = self.registry.pack(issuer, algorithm, slot)? else { return Ok(()) };
        let reason = match Pack::from_blob(record.blob, status.place(SlotRange { bits, slot })) {
            Ok(pack) => {
                if !knows_signers(&status, &pack) {
                    self.signers(issuer)?;
                }
                let this_update = status_map::this_update(&pack);
                if knows_signers(&status, &pack) && status.replace_pack(Arc::new(pack)) {
                    self.content.feed.pack_loaded();
                    self.look_at_time(issuer, status.name(), "an OCSP response", this_update);
                    return Ok(());
                }
                "it names a signer that is not registered".to_owned()
            }
            Err(e) => e.to_string(),
        };
        let issuers = self.registry.issuers()?;
        if issuers.iter().any(|known| known.id == issuer && known.slot_bits != bits) {
            // Growth: the feed is about to tell, and everything is loaded then.
            debug!(issuer = status.name(), slot, "the issuer's slots are being divided anew");
            return Ok(());
        }
        self.content.feed.pack_refused();
        error!(
            issuer = status.name(),
            cert_id_hash = ?algorithm,
            slot,
            generation = record.head.generation,
            "a response pack is refused, the last good one stays in use: {reason}"
        );
        Ok(())
    }

    /// Says of an issuer, once, that what was loaded is not valid yet.
    fn look_at_time(&self, issuer: IssuerId, name: &str, what: &str, this_update: Timestamp) {
        if this_update.is_ahead_of(self.now) && self.content.note_ahead(issuer) {
            error!(
                issuer = name,
                "{what} is not valid before {this_update}, the clock shows {}, and until then nobody gets it; if the clock was ahead when it was signed, and is right now: kakunin sign --once --replace-future",
                self.now
            );
        }
    }

    /// The newest CRLs of one issuer.
    fn crls(&self, issuer: IssuerId) -> Result<()> {
        self.withdraw_crls(issuer);
        self.serve_crls(issuer, self.registry.latest_crls(issuer)?);
        Ok(())
    }

    /// The newest CRL of one scope.
    pub(super) fn crl(&self, issuer: IssuerId, scope: CrlScope) -> Result<()> {
        self.serve_crls(issuer, self.registry.latest_crl(issuer, scope)?);
        Ok(())
    }

    /// Takes out the CRLs of scopes that the issuer publishes no more: nobody issues their successors, and what is revoked from now on would be missing (rule C9).
    fn withdraw_crls(&self, issuer: IssuerId) {
        let Some(issuer) = self.content.issuer(issuer) else { return };
        let is_meant = |document: &Document| match document.kind {
            DocumentKind::Crl { issuer: of, scope, .. } => of == issuer.id && !issuer.publication.has_crl(scope),
            _ => false,
        };
        if self.content.documents.withdraw(|_, document| is_meant(document)) {
            info!(issuer = issuer.name, "CRLs of scopes that the issuer publishes no more are served no more");
            self.list_partitions(&issuer);
        }
    }

    /// Of the scopes that the issuer publishes. A number never goes back (rule C2).
    fn serve_crls(&self, issuer: IssuerId, crls: impl IntoIterator<Item = CrlRecord>) {
        let Some(issuer) = self.content.issuer(issuer) else { return };
        let (mut documents, mut partitions_changed) = (Vec::new(), false);
        for crl in crls {
            self.content.note_published(issuer.id);
            if !issuer.publication.has_crl(crl.head.scope) {
                continue;
            }
            let (path, number) = (crl_path(&issuer.name, crl.head.scope), crl.head.number);
            let served = self.content.documents.get(&path);
            match served.as_ref().map(|document| document.kind) {
                Some(DocumentKind::Crl { number: served, .. }) if served == number => {}
                Some(DocumentKind::Crl { number: served, .. }) if served > number => {
                    self.content.feed.document_refused();
                    error!(path, "CRL number {number} is refused, number {served} is served already and stays");
                }
                _ if crl.der.is_empty() => {
                    self.content.feed.document_refused();
                    error!(path, "CRL number {number} is refused, its octets in the registry are damaged: what is served stays");
                }
                _ => {
                    self.look_at_time(issuer.id, &issuer.name, &path, crl.head.this_update);
                    let document = Document::crl(issuer.id, crl);
                    partitions_changed |= served.is_none_or(|served| served.distribution_point() != document.distribution_point());
                    documents.push((path, document));
                }
            }
        }
        if !documents.is_empty() {
            self.content.documents.publish(documents);
        }
        if partitions_changed {
            self.list_partitions(&issuer);
        }
    }

    /// The list of an issuer's CRL partitions, from what is served of them (rule C7).
    fn list_partitions(&self, issuer: &Issuer) {
        let partition = |document: Arc<Document>| match document.kind {
            DocumentKind::Crl { issuer: of, scope: CrlScope::Partition(n), .. } if of == issuer.id => Some((n, document)),
            _ => None,
        };
        let partitions = self.content.documents.all().into_iter().filter_map(|(_, document)| partition(document));
        let path = partition_list_path(&issuer.name);
        match Document::partition_list(&partitions.collect()) {
            Some(list) => self.content.documents.publish(vec![(path, list)]),
            None => {
                self.content.documents.withdraw(|listed, _| listed == path);
            }
        }
    }
}

/// Does `work` for each of `items`, on as many threads as there are cores. Returns what came of it, in no order, or the first failure.
fn in_parallel<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> Result<T> + Sync) -> Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(items.len());
    let next = AtomicUsize::new(0);
    let some = || std::iter::from_fn(|| Some(work(items.get(next.fetch_add(1, Relaxed))?))).collect::<Result<Vec<T>>>();
    std::thread::scope(|scope| {
        // Where no more threads can be had, those that there are do it.
        let others: Vec<_> = (1..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, some).ok()).collect();
        let mut outcome = some();
        for other in others {
            let theirs = other.join().unwrap_or_else(|_| Err(RegistryError::Engine("a loading thread panicked".into())));
            outcome = outcome.and_then(|mut all| {
                all.extend(theirs?);
                Ok(all)
            });
        }
        outcome
    })
}

/// All slots in parts, each of which is loaded at once.
fn parts(bits: u8) -> Vec<Range<u32>> {
    let (count, slots) = (1 << bits.saturating_sub(PART_BITS), 1 << bits.min(PART_BITS));
    (0..count).map(|part| part * slots..(part + 1) * slots).collect()
}

fn check(issuer: &Issuer) -> std::result::Result<CertificateInfo, String> {
    if issuer.slot_bits > SlotRange::MAX_BITS {
        return Err(format!("slot_bits: found {}, wanted at most {}", issuer.slot_bits, SlotRange::MAX_BITS));
    }
    CertificateInfo::from_der(&issuer.certificate).map_err(|e| e.to_string())
}

fn knows_signers(status: &IssuerStatus, pack: &Pack) -> bool {
    let templates = status.templates();
    pack.signings().all(|signing| templates.get(SignerId(signing.signer)).is_some())
}

/// What the old table has for a slot of a finer division, or of the same.
fn narrowed(status: &IssuerStatus, old: &SlotTable, slot: SlotRange) -> Option<Arc<Pack>> {
    let finer = slot.bits.checked_sub(old.bits())?;
    let mut pack = old.pack(slot.slot >> finer)?;
    for bits in old.bits() + 1..=slot.bits {
        let half = slot.slot >> (slot.bits - bits);
        let [low, high] = pack.split(status.place(pack.slot())).ok()?;
        let blob = if half & 1 == 0 { low } else { high };
        pack = Arc::new(Pack::from_blob(blob, status.place(SlotRange { bits, slot: half })).ok()?);
    }
    Some(pack)
}
