//! What the responder's tests work on: one issuer, a hundred certificates, eight slots, and a registry that keeps all of it in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use der::asn1::OctetString;
use der::{Decode, Encode};

use super::content::Content;
use super::documents::{Document, certificate_path};
use super::status_map::{IssuerStatus, SlotTable, Templates};
use crate::pack::{Entry, Pack, PackBuilder, PackPlace, Signing};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::pki::*;
use crate::registry::crl_path;
use crate::registry::*;

/// The time at which the tests take place.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(super) const THIS_UPDATE: u64 = NOW - 3600;
pub(crate) const NEXT_UPDATE: u64 = NOW + 7200;
pub(super) const ISSUER: &str = "test";
pub(super) const BITS: u8 = 3;
/// The serial that is revoked.
pub(super) const REVOKED: u64 = 7;
pub(super) const HASHES: [HashAlgorithm; 2] = [HashAlgorithm::Sha1, HashAlgorithm::Sha256];
const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

pub(super) fn serial(number: u64) -> Serial {
    Serial::from_magnitude(&number.to_be_bytes()).unwrap()
}

pub(super) fn hashes(algorithm: HashAlgorithm) -> IssuerHashes {
    IssuerHashes::of(&CertificateInfo::from_der(CERTIFICATE).unwrap(), algorithm)
}

fn signing(now: u64, signer: u32) -> Signing {
    let next_update = now + (NEXT_UPDATE - NOW);
    Signing { this_update: time(now - (NOW - THIS_UPDATE)), next_update: time(next_update), signer, refresh_at: time(next_update - 3600) }
}

fn blob(place: PackPlace, numbers: Range<u64>, signing: Signing, generation: u64) -> Vec<u8> {
    blob_revoking(place, numbers, signing, generation, [REVOKED; 2])
}

fn blob_revoking(place: PackPlace, numbers: Range<u64>, signing: Signing, generation: u64, revoked: [u64; 2]) -> Vec<u8> {
    let mut builder = PackBuilder::new(place, generation, signing.refresh_at);
    for serial in numbers.map(serial).filter(|s| SlotHash::from(s).slot(place.slot.bits) == place.slot.slot) {
        let revocation = Revocation { at: time(1_700_000_000), reason: Some(RevocationReason::KeyCompromise) };
        let revoked = revoked.map(self::serial).contains(&serial);
        let status = if revoked { CertificateStatus::Revoked(revocation) } else { CertificateStatus::Good };
        let raw_signature: Vec<u8> = (0..64).map(|i| serial.as_der_content()[0].wrapping_mul(31) ^ i | 1).collect();
        builder.push(&Entry { serial: serial.as_der_content(), status, signing, raw_signature: &raw_signature });
    }
    builder.build().unwrap()
}

/// The packs of a division, with one certificate more revoked.
pub(super) fn table_revoking(status: &IssuerStatus, bits: u8, numbers: Range<u64>, revoked: u64) -> SlotTable {
    let table = SlotTable::empty(bits);
    for slot in (0..1 << bits).map(|slot| SlotRange { bits, slot }) {
        let blob = blob_revoking(status.place(slot), numbers.clone(), signing(NOW, 0), 2, [REVOKED, revoked]);
        table.insert(Arc::new(Pack::from_blob(blob, status.place(slot)).unwrap()));
    }
    table
}

pub(super) fn pack(status: &IssuerStatus, slot: SlotRange, numbers: Range<u64>) -> Pack {
    Pack::from_blob(blob(status.place(slot), numbers, signing(NOW, 0), 1), status.place(slot)).unwrap()
}

pub(super) fn table(status: &IssuerStatus, bits: u8, numbers: Range<u64>) -> SlotTable {
    let table = SlotTable::empty(bits);
    (0..1 << bits).for_each(|slot| table.insert(Arc::new(pack(status, SlotRange { bits, slot }, numbers.clone()))));
    table
}

fn signer() -> Signer {
    Signer { key_hash: [9; 20], algorithm: SignatureAlgorithm::EcdsaSha256, certificate: Some(CERTIFICATE.to_vec()), archive_cutoff: None }
}

pub(super) fn templates(status: &IssuerStatus) -> Templates {
    Templates::new(vec![(SignerId(0), signer().template(status.hashes()))])
}

fn issuer() -> Issuer {
    Issuer {
        id: IssuerId(1),
        name: ISSUER.into(),
        certificate: CERTIFICATE.to_vec(),
        mode: IssuerMode::Open,
        publication: Publication { cert_id_hashes: HASHES.into(), crl_partitions: 2, crl_extras: Default::default() },
        slot_bits: BITS,
    }
}

fn crl(scope: CrlScope, number: u64, now: u64) -> CrlRecord {
    let Signing { this_update, next_update, .. } = signing(now, 0);
    let refresh_at = time(next_update.unix() - 3600);
    let uri = format!("http://va.example{}", crl_path(ISSUER, scope));
    let distribution_point = (scope != CrlScope::Full).then_some(IssuingDistributionPoint { uri, contents: Contents::UserCertificates });
    let head = CrlHead {
        scope,
        number,
        this_update,
        next_update,
        refresh_at,
        entries: 0,
        scheduled: true,
        reflects: 0,
        distribution_point,
        has_delta: false,
        base: None,
    };
    CrlRecord { head, der: format!("crl {number}").into() }
}

const SCOPES: [CrlScope; 3] = [CrlScope::Full, CrlScope::Partition(0), CrlScope::Partition(1)];

/// Everything that a responder serves, as of [`NOW`].
pub(crate) fn content() -> Content {
    content_at(NOW)
}

/// The same, as of another time.
pub(super) fn content_at(now: u64) -> Content {
    let content = Content::new();
    let issuer = issuer();
    let statuses = HASHES.map(|algorithm| {
        let status = IssuerStatus::new(issuer.id, ISSUER, hashes(algorithm));
        status.replace_templates(templates(&status));
        let table = SlotTable::empty(BITS);
        for slot in (0..1 << BITS).map(|slot| SlotRange { bits: BITS, slot }) {
            let blob = blob(status.place(slot), 0..100, signing(now, 0), 1);
            table.insert(Arc::new(Pack::from_blob(blob, status.place(slot)).unwrap()));
        }
        status.replace_table(table);
        Arc::new(status)
    });
    content.status.replace_issuer(issuer.id, &statuses);
    content.replace_issuer(&issuer);
    content.note_published(issuer.id);
    let mut documents: Vec<_> =
        SCOPES.iter().map(|scope| (crl_path(ISSUER, *scope), Document::crl(issuer.id, crl(*scope, 1, now)))).collect();
    let certificate = CertificateInfo::from_der(CERTIFICATE).unwrap();
    documents.push((certificate_path(ISSUER), Document::ca_certificate(&certificate)));
    content.documents.publish(documents);
    content.feed.advanced(1);
    content
}

/// The request with a nonce of `length` octets.
pub(super) fn with_nonce(request: &[u8], length: usize, critical: bool) -> Vec<u8> {
    let mut request = x509_ocsp::OcspRequest::from_der(request).unwrap();
    let nonce = OctetString::new(vec![7; length]).unwrap().to_der().unwrap();
    let extension = x509_cert::ext::Extension {
        extn_id: const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE,
        critical,
        extn_value: OctetString::new(nonce).unwrap(),
    };
    request.tbs_request.request_extensions = Some(vec![extension]);
    request.to_der().unwrap()
}

/// Waits for something that another thread brings about.
pub(super) fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A registry in memory: as much of it as the responder reads, and knobs for what may go wrong.
pub(super) struct FakeRegistry {
    state: Mutex<State>,
    failing: AtomicBool,
}

struct State {
    issuer: Issuer,
    signers: Vec<(SignerId, Signer)>,
    packs: BTreeMap<(HashAlgorithm, u32), PackRecord>,
    crls: BTreeMap<CrlScope, CrlRecord>,
    feed: Vec<Change>,
    sequence: u64,
    pruned: u64,
}

impl State {
    fn note(&mut self, kind: ChangeKind) {
        self.sequence += 1;
        let change = Change { sequence: self.sequence, issuer: self.issuer.id, kind };
        self.feed.push(change);
    }

    fn fill(&mut self, numbers: Range<u64>, signer: u32) {
        let bits = self.issuer.slot_bits;
        for cert_id_hash in HASHES {
            for slot in 0..1 << bits {
                let generation = self.packs.get(&(cert_id_hash, slot)).map_or(1, |p| p.head.generation + 1);
                let signing = signing(NOW, signer);
                let Signing { this_update, next_update, refresh_at, .. } = signing;
                let head = PackHead { cert_id_hash, slot, generation, this_update, next_update, refresh_at };
                let place = PackPlace::new(&hashes(cert_id_hash), SlotRange { bits, slot });
                self.packs.insert((cert_id_hash, slot), PackRecord { head, blob: blob(place, numbers.clone(), signing, generation) });
            }
        }
    }
}

impl FakeRegistry {
    pub(super) fn filled() -> FakeRegistry {
        let crls = SCOPES.iter().map(|scope| (*scope, crl(*scope, 1, NOW))).collect();
        let signers = vec![(SignerId(0), signer())];
        let mut state = State { issuer: issuer(), signers, packs: BTreeMap::new(), crls, feed: Vec::new(), sequence: 0, pruned: 0 };
        state.fill(0..100, 0);
        state.note(ChangeKind::Issuer);
        FakeRegistry { state: Mutex::new(state), failing: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn read(&self) -> Result<MutexGuard<'_, State>> {
        if self.failing.load(Relaxed) { Err(RegistryError::Engine("out of order".into())) } else { Ok(self.state()) }
    }

    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Relaxed);
    }

    pub(super) fn publish(&self, numbers: Range<u64>) {
        self.publish_signed_by(0, numbers);
    }

    pub(super) fn publish_signed_by(&self, signer: u32, numbers: Range<u64>) {
        let mut state = self.state();
        state.fill(numbers, signer);
        let slots: Vec<u32> = (0..1 << state.issuer.slot_bits).collect();
        HASHES.iter().for_each(|hash| state.note(ChangeKind::Packs(*hash, slots.clone())));
    }

    /// Adds a signer of whom the feed does not tell yet.
    pub(super) fn add_signer(&self, id: u32) {
        self.state().signers.push((SignerId(id), signer()));
    }

    pub(super) fn tell_of_signers(&self) {
        self.state().note(ChangeKind::Signer);
    }

    pub(super) fn regroup(&self, bits: u8, numbers: Range<u64>) {
        let mut state = self.state();
        state.issuer.slot_bits = bits;
        state.packs.clear();
        state.fill(numbers, 0);
        state.note(ChangeKind::Issuer);
    }

    pub(super) fn change_issuer(&self, change: impl FnOnce(&mut Issuer)) {
        let mut state = self.state();
        change(&mut state.issuer);
        state.note(ChangeKind::Issuer);
    }

    /// As where a CertID hash was taken out and put back.
    pub(super) fn forget_packs(&self, algorithm: HashAlgorithm) {
        let mut state = self.state();
        state.packs.retain(|(hash, _), _| *hash != algorithm);
        state.note(ChangeKind::Issuer);
    }

    pub(super) fn damage(&self, algorithm: HashAlgorithm, slot: u32) {
        let mut state = self.state();
        let record = state.packs.get_mut(&(algorithm, slot)).unwrap();
        record.head.generation += 1;
        *record.blob.last_mut().unwrap() ^= 1;
        state.note(ChangeKind::Packs(algorithm, vec![slot]));
    }

    pub(super) fn publish_crl_number(&self, number: u64) {
        self.publish_crl_of(CrlScope::Full, number);
    }

    /// A CRL of a scope, whether the issuer publishes it or not.
    pub(super) fn publish_crl_of(&self, scope: CrlScope, number: u64) {
        let mut state = self.state();
        state.crls.insert(scope, crl(scope, number, NOW));
        state.note(ChangeKind::Crl(scope));
    }

    pub(super) fn forget_feed(&self) {
        self.state().feed.clear();
    }

    /// What it told, but nobody can read it any more.
    pub(super) fn spoil_feed(&self) {
        self.state().feed.iter_mut().for_each(|change| change.kind = ChangeKind::Unreadable);
    }

    /// Forgets it as a registry does, so that whoever asks is told.
    pub(super) fn prune_feed(&self) {
        let mut state = self.state();
        state.feed.clear();
        state.pruned = state.sequence;
    }

    pub(super) fn publish_partition_at(&self, partition: u32, uri: &str) {
        let (mut state, scope) = (self.state(), CrlScope::Partition(partition));
        let mut record = crl(scope, state.crls.get(&scope).map_or(1, |crl| crl.head.number + 1), NOW);
        record.head.distribution_point = Some(IssuingDistributionPoint { uri: uri.into(), contents: Contents::UserCertificates });
        state.crls.insert(scope, record);
        state.note(ChangeKind::Crl(scope));
    }
}

/// What the responder never calls.
fn not_for_reading<T>() -> Result<T> {
    Err(RegistryError::Engine("the responder writes nothing".into()))
}

impl Registry for FakeRegistry {
    fn issuers(&self) -> Result<Vec<Issuer>> {
        Ok(vec![self.read()?.issuer.clone()])
    }

    fn last_change(&self) -> Result<u64> {
        Ok(self.read()?.sequence)
    }

    fn changes_after(&self, sequence: u64, limit: usize) -> Result<Vec<Change>> {
        let state = self.read()?;
        if sequence < state.pruned {
            return Err(RegistryError::FeedPruned { asked: sequence, pruned: state.pruned });
        }
        Ok(state.feed.iter().filter(|c| c.sequence > sequence).take(limit).cloned().collect())
    }

    fn signers(&self, _: IssuerId) -> Result<Vec<(SignerId, Signer)>> {
        Ok(self.read()?.signers.clone())
    }

    fn pack_heads(&self, _: IssuerId) -> Result<Vec<PackHead>> {
        Ok(self.read()?.packs.values().map(|p| p.head).collect())
    }

    fn pack(&self, _: IssuerId, cert_id_hash: HashAlgorithm, slot: u32) -> Result<Option<PackRecord>> {
        Ok(self.read()?.packs.get(&(cert_id_hash, slot)).cloned())
    }

    fn visit_packs(&self, _: IssuerId, hash: HashAlgorithm, slots: Range<u32>, visit: &mut dyn FnMut(PackRecord)) -> Result<()> {
        self.read()?.packs.range((hash, slots.start)..(hash, slots.end)).for_each(|(_, pack)| visit(pack.clone()));
        Ok(())
    }

    fn latest_crls(&self, _: IssuerId) -> Result<Vec<CrlRecord>> {
        Ok(self.read()?.crls.values().cloned().collect())
    }

    fn latest_crl(&self, _: IssuerId, scope: CrlScope) -> Result<Option<CrlRecord>> {
        Ok(self.read()?.crls.get(&scope).cloned())
    }

    fn register_issuer(&self, _: &NewIssuer) -> Result<IssuerId> {
        not_for_reading()
    }

    fn add_certificates(&self, _: IssuerId, _: CertificateStream<'_>, _: OnConflict, _: Timestamp) -> Result<AddReport> {
        not_for_reading()
    }

    fn take_over(&self, _: &NewIssuer, _: u64, _: TakenOverStream<'_>, _: Timestamp) -> Result<AddReport> {
        not_for_reading()
    }

    fn revoke(&self, _: IssuerId, _: &Serial, _: Revocation, _: Option<Timestamp>, _: Timestamp) -> Result<RevokeOutcome> {
        not_for_reading()
    }

    fn revoke_all(&self, _: IssuerId, _: Revocation, _: Timestamp, _: &mut dyn FnMut(u64)) -> Result<u64> {
        not_for_reading()
    }

    fn certificate(&self, _: IssuerId, _: &Serial) -> Result<Option<CertificateRecord>> {
        not_for_reading()
    }

    fn visit_certificates(&self, _: IssuerId, _: SlotRange, _: &mut dyn FnMut(CertificateRecord)) -> Result<()> {
        not_for_reading()
    }

    fn visit_revoked(&self, _: IssuerId, _: &CrlSelection, _: &mut dyn RevokedVisitor) -> Result<u64> {
        not_for_reading()
    }

    fn counts(&self, _: IssuerId) -> Result<Counts> {
        not_for_reading()
    }

    fn watermark(&self, _: &str) -> Result<u64> {
        not_for_reading()
    }

    fn set_watermark(&self, _: &str, _: u64) -> Result<()> {
        not_for_reading()
    }

    fn forget_distribution_points(&self, _: IssuerId) -> Result<()> {
        not_for_reading()
    }

    fn prune_changes(&self, _: u64) -> Result<()> {
        not_for_reading()
    }

    fn pruned_changes(&self) -> Result<u64> {
        not_for_reading()
    }

    fn watermarks(&self) -> Result<Vec<(String, u64)>> {
        not_for_reading()
    }

    fn register_signer(&self, _: IssuerId, _: &Signer) -> Result<SignerId> {
        not_for_reading()
    }

    fn publish_packs(&self, _: IssuerId, _: u8, _: &[PackRecord]) -> Result<()> {
        not_for_reading()
    }

    fn regroup_packs(&self, _: IssuerId, _: u8, _: u8, _: u64, _: &mut dyn Iterator<Item = Result<PackRecord>>) -> Result<()> {
        not_for_reading()
    }

    fn crl(&self, _: IssuerId, _: CrlScope, _: u64) -> Result<Option<CrlRecord>> {
        not_for_reading()
    }

    fn visit_crls(&self, _: IssuerId, _: &mut dyn FnMut(CrlHead)) -> Result<()> {
        not_for_reading()
    }

    fn next_crl_number(&self, _: IssuerId, _: CrlScope) -> Result<u64> {
        not_for_reading()
    }

    fn crl_heads(&self, _: IssuerId) -> Result<Vec<CrlHead>> {
        not_for_reading()
    }

    fn newest_crl_heads(&self, _: IssuerId, _: CrlScope, _: bool, _: usize) -> Result<Vec<CrlHead>> {
        not_for_reading()
    }

    fn publish_crls(&self, _: IssuerId, _: &[CrlRecord], _: u32) -> Result<()> {
        not_for_reading()
    }
}
