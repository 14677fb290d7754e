//! The embedded registry: one SQLite file, no server.
//!
//! One connection writes (`synchronous=FULL` on a write-ahead log, so that what was acknowledged survives power loss); others read snapshots and never
//! wait for it; a third copies the log back into the file. Several processes may share the file on one host. This module never caches what is stored: every
//! answer comes from the file.

mod bell;
mod certificates;
mod checkpoint;
mod connection;
mod crls;
mod fault;
mod feed;
mod issuers;
mod packs;
mod read_ahead;
mod revoke_all;
mod values;
mod work;

use std::ops::Range;
use std::path::Path;

use connection::Database;
use read_ahead::read_ahead;

use super::{
    AddReport, CertificateRecord, CertificateStream, Change, Counts, CrlHead, CrlRecord, CrlScope, CrlSelection, Issuer, IssuerId,
    NewIssuer, OnConflict, PackHead, PackRecord, Registry, RegistryError, Result, RevokeOutcome, RevokedVisitor, Signer, SignerId,
    TakenOverStream, Watch,
};
use crate::pki::crl::CrlEntry;
use crate::pki::{HashAlgorithm, Revocation, Serial, SlotRange, Timestamp};

/// From so many revoked certificates of an issuer on, a CRL's entries are read ahead of who encodes them.
const READ_AHEAD_FROM: u64 = 20_000;

/// A registry in one SQLite file (with `-wal` and `-shm` beside it while in use).
///
/// Writers wait for each other: threads without limit, other processes up to 10 s. A stream given to [`Registry::add_certificates`] or
/// [`Registry::take_over`] is read while the write lock is held: it may read from the registry, but a write from within it never returns, and a long one
/// keeps revocations waiting.
#[derive(Debug)]
pub struct SqliteRegistry(Database);

impl SqliteRegistry {
    /// Creates a new registry, readable and writable by its owner only (0600; a front end under another user needs more, by `chmod`).
    ///
    /// Fails with [`super::RegistryError::Exists`] where there is a file of that name, or the log of one.
    pub fn create(path: &Path) -> Result<SqliteRegistry> {
        Database::create(path).map(SqliteRegistry)
    }

    /// Opens a registry for reading and writing, and brings its schema up to date.
    ///
    /// A file that is missing, damaged, read-only, too new or no registry is left as it was found.
    pub fn open(path: &Path) -> Result<SqliteRegistry> {
        Database::open(path).map(SqliteRegistry)
    }

    /// Opens a registry for reading only: every write fails with [`super::RegistryError::ReadOnly`]. Write access to the file is not needed, as long as
    /// its `-wal` and `-shm` files, which a writer leaves behind, are readable too.
    pub fn open_read_only(path: &Path) -> Result<SqliteRegistry> {
        Database::open_read_only(path).map(SqliteRegistry)
    }
}

impl Registry for SqliteRegistry {
    fn register_issuer(&self, issuer: &NewIssuer) -> Result<IssuerId> {
        self.0.write(|c| issuers::register(c, issuer))
    }

    fn issuers(&self) -> Result<Vec<Issuer>> {
        self.0.read(issuers::all)
    }

    fn add_certificates(
        &self,
        issuer: IssuerId,
        records: CertificateStream<'_>,
        on_conflict: OnConflict,
        now: Timestamp,
    ) -> Result<AddReport> {
        self.0.write_in_bulk(|c| certificates::add(c, issuer, records, on_conflict, now))
    }

    fn take_over(&self, issuer: &NewIssuer, crl_number: u64, certificates: TakenOverStream<'_>, now: Timestamp) -> Result<AddReport> {
        self.0.write_in_bulk(|c| {
            let id = issuers::register(c, issuer)?;
            crls::raise_number(c, id, crl_number)?;
            work::take_over(c, id, certificates, now)
        })
    }

    fn revoke(
        &self,
        issuer: IssuerId,
        serial: &Serial,
        revocation: Revocation,
        invalidity_date: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<RevokeOutcome> {
        self.0.write(|c| certificates::revoke(c, issuer, serial, revocation, invalidity_date, now))
    }

    fn revoke_all(&self, issuer: IssuerId, revocation: Revocation, now: Timestamp, progress: &mut dyn FnMut(u64)) -> Result<u64> {
        self.0.write_in_bulk(|c| revoke_all::revoke_all(c, issuer, revocation, now, progress))
    }

    fn certificate(&self, issuer: IssuerId, serial: &Serial) -> Result<Option<CertificateRecord>> {
        self.0.read(|c| certificates::one(c, issuer, serial))
    }

    fn visit_certificates(&self, issuer: IssuerId, slot: SlotRange, visit: &mut dyn FnMut(CertificateRecord)) -> Result<()> {
        self.0.read(|c| certificates::visit_slot(c, issuer, slot, visit))
    }

    fn visit_revoked(&self, issuer: IssuerId, selection: &CrlSelection, visitor: &mut dyn RevokedVisitor) -> Result<u64> {
        let read = |visit: &mut dyn FnMut(&CrlEntry)| self.0.read(|c| certificates::visit_revoked(c, issuer, selection, visit));
        if self.counts(issuer)?.revoked < READ_AHEAD_FROM { read(&mut |entry| visitor.visit(entry)) } else { read_ahead(read, visitor) }
    }

    fn counts(&self, issuer: IssuerId) -> Result<Counts> {
        self.0.read(|c| issuers::counts(c, issuer))
    }

    fn last_change(&self) -> Result<u64> {
        self.0.read_once(feed::last)
    }

    fn changes_after(&self, sequence: u64, limit: usize) -> Result<Vec<Change>> {
        self.0.read_once(|c| feed::after(c, sequence, limit))
    }

    fn watch(&self) -> Box<dyn Watch> {
        self.0.watch()
    }

    fn watermark(&self, consumer: &str) -> Result<u64> {
        self.0.read_once(|c| feed::watermark(c, consumer))
    }

    fn watermarks(&self) -> Result<Vec<(String, u64)>> {
        self.0.read(feed::watermarks)
    }

    fn set_watermark(&self, consumer: &str, sequence: u64) -> Result<()> {
        self.0.write(|c| feed::set_watermark(c, consumer, sequence))
    }

    fn forget_distribution_points(&self, issuer: IssuerId) -> Result<()> {
        self.0.write(|c| crls::forget_distribution_points(c, issuer))
    }

    fn prune_changes(&self, sequence: u64) -> Result<()> {
        self.0.write(|c| feed::prune(c, sequence))
    }

    fn pruned_changes(&self) -> Result<u64> {
        self.0.read(feed::pruned)
    }

    fn register_signer(&self, issuer: IssuerId, signer: &Signer) -> Result<SignerId> {
        self.0.write(|c| issuers::register_signer(c, issuer, signer))
    }

    fn signers(&self, issuer: IssuerId) -> Result<Vec<(SignerId, Signer)>> {
        self.0.read(|c| issuers::signers(c, issuer))
    }

    fn pack_heads(&self, issuer: IssuerId) -> Result<Vec<PackHead>> {
        self.0.read(|c| packs::heads(c, issuer))
    }

    fn pack(&self, issuer: IssuerId, cert_id_hash: HashAlgorithm, slot: u32) -> Result<Option<PackRecord>> {
        self.0.read(|c| packs::one(c, issuer, cert_id_hash, slot))
    }

    fn visit_packs(
        &self,
        issuer: IssuerId,
        cert_id_hash: HashAlgorithm,
        slots: Range<u32>,
        visit: &mut dyn FnMut(PackRecord),
    ) -> Result<()> {
        self.0.read(|c| packs::visit(c, issuer, cert_id_hash, slots, visit))
    }

    fn publish_packs(&self, issuer: IssuerId, slot_bits: u8, packs: &[PackRecord]) -> Result<()> {
        self.0.write(|c| packs::publish(c, issuer, slot_bits, packs))
    }

    fn regroup_packs(
        &self,
        issuer: IssuerId,
        from_bits: u8,
        to_bits: u8,
        generations: u64,
        packs: &mut dyn Iterator<Item = Result<PackRecord>>,
    ) -> Result<()> {
        self.0.write_in_bulk(|c| packs::regroup(c, issuer, from_bits, to_bits, generations, packs))
    }

    fn latest_crls(&self, issuer: IssuerId) -> Result<Vec<CrlRecord>> {
        self.0.read(|c| crls::latest(c, issuer))
    }

    fn latest_crl(&self, issuer: IssuerId, scope: CrlScope) -> Result<Option<CrlRecord>> {
        self.0.read(|c| crls::latest_of(c, issuer, scope))
    }

    fn crl(&self, issuer: IssuerId, scope: CrlScope, number: u64) -> Result<Option<CrlRecord>> {
        self.0.read(|c| crls::one(c, issuer, scope, number))
    }

    fn visit_crls(&self, issuer: IssuerId, visit: &mut dyn FnMut(CrlHead)) -> Result<()> {
        self.0.read(|c| crls::visit(c, issuer, visit))
    }

    fn crl_heads(&self, issuer: IssuerId) -> Result<Vec<CrlHead>> {
        self.0.read(|c| crls::heads(c, issuer))
    }

    fn newest_crl_heads(&self, issuer: IssuerId, scope: CrlScope, scheduled_only: bool, limit: usize) -> Result<Vec<CrlHead>> {
        self.0.read(|c| crls::newest_heads(c, issuer, scope, scheduled_only, limit))
    }

    fn next_crl_number(&self, issuer: IssuerId, scope: CrlScope) -> Result<u64> {
        self.0.read(|c| crls::next_number(c, issuer, scope))
    }

    fn publish_crls(&self, issuer: IssuerId, crls: &[CrlRecord], superseded: u32) -> Result<()> {
        let octets = crls.iter().map(|crl| crl.der.len()).sum();
        let mut is_forgetting = false;
        let both = self.0.write_octets(octets, |c| {
            crls::publish(c, issuer, crls)?;
            is_forgetting = true;
            crls::forget_superseded(c, issuer, crls, superseded)
        });
        match both {
            // Whatever is damaged among them: the CRLs that are published now are not.
            Err(failure) if is_forgetting && !matches!(failure, RegistryError::DiskFull(_)) => {
                tracing::warn!("superseded CRLs are still there: {failure}");
                self.0.write_octets(octets, |c| crls::publish(c, issuer, crls))
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests;
