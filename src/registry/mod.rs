//! The registry: the truth about certificates, and the only way from one part of the program to the next.
//!
//! Issuance and imports write certificates and revocations; the signing worker reads what is due and writes response packs and CRLs; the responder reads
//! those and nothing else. Every back end keeps this contract, and one suite of tests (`contract`) holds each of them to it:
//!
//! - **Durable**: a call that returned `Ok` survives `kill -9` and power loss. A call that returned `Err` has changed nothing.
//! - **Atomic**: each call is one transaction. Readers see all of it or nothing.
//! - **A revocation is never undone**, and a CRL number never goes back (S4.4, rule C2).
//! - **The feed is in commit order**: a consumer that has read up to a sequence number never misses a change with a smaller one.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::pki::crl::CrlEntry;
use crate::pki::ocsp_live::LiveTemplate;
use crate::pki::ocsp_response::ResponseTemplate;
use crate::pki::{
    CertificateStatus, Fingerprint, HashAlgorithm, IssuerHashes, Revocation, Serial, SignatureAlgorithm, SlotHash, SlotRange, Timestamp,
};

#[cfg(test)]
mod contract;
mod crl;
mod error;
pub mod one_ca;
pub mod sqlite;
mod watch;
pub mod work;

pub use crl::{ChangeRange, CrlExtras, CrlHead, CrlRecord, CrlScope, CrlSelection, crl_path, partition_list_path};
pub use error::{BoxError, RegistryError};
pub use watch::{Polling, Watch};

/// Result of a registry call.
pub type Result<T> = std::result::Result<T, RegistryError>;

/// Names a registered issuer within one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerId(pub i64);

/// What a CA still does (S5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerMode {
    /// Issues, revokes, and answers.
    Open,
    /// Issues nothing any more; revokes and answers.
    RunOff,
    /// Ended: its last certificate has expired or is revoked.
    Closed,
}

/// How an issuer's status is published: what the signing side promises and the responder may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// CertID hashes for which every response is pre-signed; not empty.
    pub cert_id_hashes: BTreeSet<HashAlgorithm>,
    /// CRL partitions, numbered from 0; 0 of them: the full CRL only.
    pub crl_partitions: u32,
    /// Which CRLs there are beside these.
    pub crl_extras: CrlExtras,
}

/// An issuer to register.
#[derive(Clone, Debug)]
pub struct NewIssuer {
    /// Unique; names it in URLs and on the command line.
    pub name: String,
    /// DER of the CA certificate.
    pub certificate: Vec<u8>,
    /// Open, run-off or closed.
    pub mode: IssuerMode,
    /// How its status is published.
    pub publication: Publication,
}

/// A registered issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its key in this registry.
    pub id: IssuerId,
    /// Unique name.
    pub name: String,
    /// DER of the CA certificate.
    pub certificate: Vec<u8>,
    /// Open, run-off or closed.
    pub mode: IssuerMode,
    /// How its status is published.
    pub publication: Publication,
    /// Its packs are divided into `2^slot_bits` slots.
    pub slot_bits: u8,
}

/// A certificate as the registry knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Its serial number.
    pub serial: Serial,
    /// First instant of validity; `None` where an import did not say.
    pub not_before: Option<Timestamp>,
    /// Last instant of validity.
    pub not_after: Timestamp,
    /// Whether it is a CA's: then it stands on the ARL, where the issuer has one, and on no partition.
    pub is_ca: bool,
    /// The CRL partition written into its CRL distribution point; `None`: listed in the full CRL only.
    pub partition: Option<u32>,
    /// Good or revoked.
    pub status: CertificateStatus,
    /// invalidityDate of the CRL entry (RFC 5280 5.3.2).
    pub invalidity_date: Option<Timestamp>,
}

/// What to do with a serial number that is registered already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Fail the whole call: issuance must never repeat a serial (rule P3).
    Refuse,
    /// Keep what is known, and add a revocation where the record brings one that is not: an import may run twice, and never undoes a revocation.
    Merge,
}

/// What a call to [`Registry::add_certificates`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AddReport {
    /// Certificates that were not known before (revoked ones included).
    pub added: u64,
    /// Known certificates that became revoked.
    pub revoked: u64,
    /// Known certificates that stayed as they were.
    pub unchanged: u64,
}

/// What a call to [`Registry::revoke`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// The certificate is revoked from now on.
    Revoked,
    /// It was revoked before, as given here; nothing was changed.
    AlreadyRevoked(Revocation),
    /// It was revoked before, as given here; its reason is the one of this call from now on, its time stays.
    ReasonLearnt(Revocation),
    /// No such certificate.
    NotFound,
}

/// How many certificates an issuer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Not revoked (expired ones included).
    pub good: u64,
    /// Revoked (expired ones included).
    pub revoked: u64,
}

/// One entry of the change feed. The feed is strictly in commit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place: greater than that of every change committed before.
    pub sequence: u64,
    /// Whose.
    pub issuer: IssuerId,
    /// What.
    pub kind: ChangeKind,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The issuer was registered, or its mode, publication or slot count changed.
    Issuer,
    /// Certificates with these hashes were added as good.
    Certificates(Vec<SlotHash>),
    /// Certificates with these hashes became revoked or were added as revoked, or are revoked and were found to be in a CRL partition; with the place of
    /// each.
    Revocations(Vec<(SlotHash, CrlPlace)>),
    /// Packs were published for one CertID hash in these slots (of the `slot_bits` that were in force).
    Packs(HashAlgorithm, Vec<u32>),
    /// A CRL was published.
    Crl(CrlScope),
    /// A signer was added.
    Signer,
    /// What changed can no longer be read: it may have been anything.
    Unreadable,
}

/// On which CRL a certificate's revocation stands, beside the full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrlPlace {
    /// None: an end entity's without a partition.
    Nowhere,
    /// The partition's.
    Partition(u32),
    /// The ARL, where the issuer has one; the full CRL too, unless the ARL is alone.
    Authorities,
}

impl CrlPlace {
    /// Where a certificate stands.
    pub const fn of(is_ca: bool, partition: Option<u32>) -> CrlPlace {
        match partition {
            _ if is_ca => CrlPlace::Authorities,
            Some(n) => CrlPlace::Partition(n),
            None => CrlPlace::Nowhere,
        }
    }
}

impl CertificateRecord {
    /// On which CRL it would stand.
    pub const fn crl_place(&self) -> CrlPlace {
        CrlPlace::of(self.is_ca, self.partition)
    }
}

/// Names a registered response signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerId(pub u32);

/// Who signs OCSP responses for an issuer, and how: what the responder needs to assemble them as they were signed, whatever is configured by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// SHA-1 of the signer's public key: the ResponderID byKey (rule O3).
    pub key_hash: [u8; 20],
    /// Algorithm of its signatures.
    pub algorithm: SignatureAlgorithm,
    /// DER of the delegated responder certificate that goes into `certs` (rule O7); `None` where the CA's own key signs.
    pub certificate: Option<Vec<u8>>,
    /// ArchiveCutoff of its responses: the status of certificates that expired since then is kept (rule C6); `None`: they have none.
    pub archive_cutoff: Option<Timestamp>,
}

impl Signer {
    /// The template of its responses for certificates that `issuer` names.
    pub fn template(&self, issuer: &IssuerHashes) -> ResponseTemplate {
        ResponseTemplate::new(issuer, &self.key_hash, self.algorithm, self.certificate.as_deref(), self.archive_cutoff)
    }

    /// The template of its answers to single questions.
    pub fn live_template(&self) -> LiveTemplate {
        LiveTemplate::new(&self.key_hash, self.algorithm, self.certificate.as_deref(), self.archive_cutoff)
    }
}

/// What is known of a pack without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHead {
    /// CertID hash of its responses.
    pub cert_id_hash: HashAlgorithm,
    /// Its slot, of the issuer's `2^slot_bits`.
    pub slot: u32,
    /// Grows with every publication of this slot.
    pub generation: u64,
    /// The oldest thisUpdate in it.
    pub this_update: Timestamp,
    /// The earliest nextUpdate in it: from then on something in it may not be served.
    pub next_update: Timestamp,
    /// When something in it is planned to be signed again; [`Timestamp::default`] where that is not known.
    pub refresh_at: Timestamp,
}

/// A pack to publish, or one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// Its description.
    pub head: PackHead,
    /// The encoded pack: opaque to the registry.
    pub blob: Vec<u8>,
}

/// Records to add, or the reason why the source of them failed: an `Err` in the stream undoes the whole call.
pub type CertificateStream<'a> = &'a mut dyn Iterator<Item = std::result::Result<CertificateRecord, BoxError>>;

/// A certificate that is taken over: its record, and what is known of its key where its file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// What is known of it as a certificate.
    pub record: CertificateRecord,
    /// Its key.
    pub key: Option<HeldKey>,
}

/// A key that somebody has a certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Names it, see [`crate::pki::certificate::key_identity`].
    pub public_key: Fingerprint,
    /// Names the subject, see [`crate::pki::name::subject_identity`].
    pub subject: Fingerprint,
}

impl From<CertificateRecord> for TakenOver {
    fn from(record: CertificateRecord) -> TakenOver {
        TakenOver { record, key: None }
    }
}

/// What is to be taken over, or the reason why the source of it failed, as in a [`CertificateStream`].
pub type TakenOverStream<'a> = &'a mut dyn Iterator<Item = std::result::Result<TakenOver, BoxError>>;

/// Who is shown revoked certificates, one after the other.
pub trait RevokedVisitor {
    /// Is shown the next.
    fn visit(&mut self, entry: &CrlEntry);

    /// May do something else, for a millisecond at most, while the next ones are being read. Returns whether there was something to do.
    fn meanwhile(&mut self) -> bool {
        false
    }
}

impl<F: FnMut(&CrlEntry)> RevokedVisitor for F {
    fn visit(&mut self, entry: &CrlEntry) {
        self(entry);
    }
}

/// The truth about certificates. The module's documentation holds the contract.
pub trait Registry: Send + Sync {
    /// Registers an issuer, or updates mode, publication and certificate of one registered before under the same name: the certificate to another of the same CA,
    /// with its name, key and identifier. The mode is never earlier than [`work::WorkRegistry`] has made it.
    ///
    /// Fails with [`RegistryError::IssuerConflict`] where the name is taken by another CA, or the CA by another name.
    fn register_issuer(&self, issuer: &NewIssuer) -> Result<IssuerId>;

    /// Every issuer, in the order of registration.
    fn issuers(&self) -> Result<Vec<Issuer>>;

    /// Adds certificates in one transaction; `now` is kept as the time of record. Nothing is added where the stream fails, a serial repeats under
    /// [`OnConflict::Refuse`], or the disk does.
    fn add_certificates(
        &self,
        issuer: IssuerId,
        records: CertificateStream<'_>,
        on_conflict: OnConflict,
        now: Timestamp,
    ) -> Result<AddReport>;

    /// Takes over an issuer and its certificates in one transaction: registers it as [`Registry::register_issuer`] does, makes every later CRL of it carry a
    /// number greater than `crl_number` (which never lowers what an earlier call said; 0 says nothing), and adds the certificates under
    /// [`OnConflict::Merge`], with their keys, which nobody else gets a certificate for. Where any of it fails, the stream included, nothing is registered.
    fn take_over(&self, issuer: &NewIssuer, crl_number: u64, certificates: TakenOverStream<'_>, now: Timestamp) -> Result<AddReport>;

    /// Revokes one certificate, for ever. `now` is kept as the time of record. One that was revoked before learns its reason where it had none, and in any
    /// case that its key is compromised (BR 7.2.2); an import does the same.
    fn revoke(
        &self,
        issuer: IssuerId,
        serial: &Serial,
        revocation: Revocation,
        invalidity_date: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<RevokeOutcome>;

    /// Revokes every certificate of an issuer that is good, for ever and in one transaction: all of them or none (S4.4, S5.10). Those that are revoked already
    /// stay as they are. `progress` is told from time to time how many it is so far; it must not call the registry. Returns how many it was.
    fn revoke_all(&self, issuer: IssuerId, revocation: Revocation, now: Timestamp, progress: &mut dyn FnMut(u64)) -> Result<u64>;

    /// One certificate.
    fn certificate(&self, issuer: IssuerId, serial: &Serial) -> Result<Option<CertificateRecord>>;

    /// Every certificate of a slot, in the order of (hash, serial). Streams: memory does not grow with the slot. The visitor must not call the registry.
    fn visit_certificates(&self, issuer: IssuerId, slot: SlotRange, visit: &mut dyn FnMut(CertificateRecord)) -> Result<()>;

    /// The entry of every revoked certificate of the selection, from one snapshot. Streams. Returns the newest change that the snapshot reflects.
    fn visit_revoked(&self, issuer: IssuerId, selection: &CrlSelection, visitor: &mut dyn RevokedVisitor) -> Result<u64>;

    /// How many certificates an issuer has.
    fn counts(&self, issuer: IssuerId) -> Result<Counts>;

    /// The sequence number of the newest change; 0 where there is none.
    fn last_change(&self) -> Result<u64>;

    /// Up to `limit` changes after `sequence`, in order. Fails with [`RegistryError::FeedPruned`] where some of them have been forgotten: the state is to be
    /// read anew.
    fn changes_after(&self, sequence: u64, limit: usize) -> Result<Vec<Change>>;

    /// Tells of what is committed from now on. Who has a watch looks, waits, looks again, and so on, and then learns soon of everything.
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Polling)
    }

    /// How far `consumer` has come in the feed; 0 at first.
    fn watermark(&self, consumer: &str) -> Result<u64>;

    /// Every consumer that has a watermark, with it.
    fn watermarks(&self) -> Result<Vec<(String, u64)>>;

    /// Notes that `consumer` has dealt with everything up to `sequence`. A watermark never goes back.
    fn set_watermark(&self, consumer: &str, sequence: u64) -> Result<()>;

    /// Forgets where the CRLs of an issuer say that they are (rule C4): the next ones say what the configuration does, and are due at once.
    fn forget_distribution_points(&self, issuer: IssuerId) -> Result<()>;

    /// Forgets changes up to `sequence`. Whoever had not read them is told by [`Registry::changes_after`].
    fn prune_changes(&self, sequence: u64) -> Result<()>;

    /// Up to which change the feed has been forgotten; 0 where it never was.
    fn pruned_changes(&self) -> Result<u64>;

    /// Registers a response signer; the same signer gets the same id.
    fn register_signer(&self, issuer: IssuerId, signer: &Signer) -> Result<SignerId>;

    /// Every signer of an issuer.
    fn signers(&self, issuer: IssuerId) -> Result<Vec<(SignerId, Signer)>>;

    /// The heads of all packs of an issuer.
    fn pack_heads(&self, issuer: IssuerId) -> Result<Vec<PackHead>>;

    /// One pack.
    fn pack(&self, issuer: IssuerId, cert_id_hash: HashAlgorithm, slot: u32) -> Result<Option<PackRecord>>;

    /// The packs of some slots, in order, one at a time. The visitor must not call the registry.
    fn visit_packs(
        &self,
        issuer: IssuerId,
        cert_id_hash: HashAlgorithm,
        slots: Range<u32>,
        visit: &mut dyn FnMut(PackRecord),
    ) -> Result<()>;

    /// Publishes packs, with a change in the feed for each CertID hash among them. `slot_bits` must be the issuer's, and each generation exactly one more than
    /// the one it replaces (1 where there is none); otherwise nothing is published and the call fails with [`RegistryError::Stale`]: read again, sign again.
    fn publish_packs(&self, issuer: IssuerId, slot_bits: u8, packs: &[PackRecord]) -> Result<()>;

    /// Replaces all packs of an issuer by packs of another division, in one transaction: growth without signing again. `packs` is asked for each new
    /// pack in turn; an `Err` among them undoes the whole call. Fails with [`RegistryError::Stale`] where the issuer's `slot_bits` are not `from_bits` or `generations` (the sum over all heads) has changed.
    fn regroup_packs(
        &self,
        issuer: IssuerId,
        from_bits: u8,
        to_bits: u8,
        generations: u64,
        packs: &mut dyn Iterator<Item = Result<PackRecord>>,
    ) -> Result<()>;

    /// The newest CRL of each scope.
    fn latest_crls(&self, issuer: IssuerId) -> Result<Vec<CrlRecord>>;

    /// The newest CRL of one scope.
    fn latest_crl(&self, issuer: IssuerId, scope: CrlScope) -> Result<Option<CrlRecord>>;

    /// The CRL of one scope that has this number; `None` where there never was one, or where it is forgotten.
    fn crl(&self, issuer: IssuerId, scope: CrlScope, number: u64) -> Result<Option<CrlRecord>>;

    /// The head of every CRL that is kept, by scope and number. Streams. The visitor must not call the registry.
    fn visit_crls(&self, issuer: IssuerId, visit: &mut dyn FnMut(CrlHead)) -> Result<()>;

    /// The head of the newest CRL of each scope.
    fn crl_heads(&self, issuer: IssuerId) -> Result<Vec<CrlHead>>;

    /// The heads of the newest `limit` CRLs of one scope, the newest first; where `scheduled_only`, of its scheduled ones.
    fn newest_crl_heads(&self, issuer: IssuerId, scope: CrlScope, scheduled_only: bool, limit: usize) -> Result<Vec<CrlHead>>;

    /// The number that the next CRL of `scope` must have: greater than every number published for it, for its base or delta, and than every
    /// [`Registry::take_over`] (rule C2).
    fn next_crl_number(&self, issuer: IssuerId, scope: CrlScope) -> Result<u64>;

    /// Publishes a CRL, or a complete CRL and its delta together, of one number and thisUpdate (rule C2). The number must be exactly
    /// [`Registry::next_crl_number`]; otherwise nothing is published and the call fails with [`RegistryError::Stale`].
    ///
    /// Forgets, in the same transaction, all CRLs of the same scopes but the newest, the `superseded` before it, and the two newest scheduled ones. No number
    /// is ever given again. What cannot be forgotten keeps nothing from being published: it is tried again with the next CRL.
    fn publish_crls(&self, issuer: IssuerId, crls: &[CrlRecord], superseded: u32) -> Result<()>;
}
