//! Certificates and their revocation.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Rows, named_params, params};

use super::fault::{Fault, Outcome};
use super::values::Number;
use super::{feed, issuers};
use crate::pki::crl::CrlEntry;
use crate::pki::extension::Contents;
use crate::pki::{CertificateStatus, Revocation, RevocationReason, Serial, SlotHash, SlotRange, Timestamp};
use crate::registry::{
    AddReport, CertificateRecord, CertificateStream, ChangeKind, ChangeRange, CrlScope, CrlSelection, IssuerId, OnConflict, RegistryError,
    RevokeOutcome,
};

const GOOD: u8 = 0;
const REVOKED: u8 = 1;

const INSERT: &str = "INSERT INTO certificate (issuer, slot_hash, serial, not_before, not_after, partition, status, revoked_at, reason,
    invalidity_date, recorded_at, is_ca, recorded_change)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING";
const FIND: &str = "SELECT serial, not_before, not_after, partition, revoked_at, reason, invalidity_date, status, is_ca
    FROM certificate WHERE issuer = ?1 AND slot_hash = ?2 AND serial = ?3";
const OF_SLOT: &str = "SELECT serial, not_before, not_after, partition, revoked_at, reason, invalidity_date, status, is_ca
    FROM certificate WHERE issuer = ?1 AND slot_hash BETWEEN ?2 AND ?3 ORDER BY slot_hash, serial";
/// The entries of CRLs: of everything, of end entities, of a partition, of CAs. `?2`, `?3` and `?4` as in [`CrlSelection`].
const ON_FULL: &str = "SELECT serial, revoked_at, reason, invalidity_date FROM certificate INDEXED BY certificate_revoked
    WHERE status = 1 AND issuer = ?1 AND (not_after >= ?2 OR recorded_change > ?3)";
const ON_FULL_OF_USERS: &str = "SELECT serial, revoked_at, reason, invalidity_date FROM certificate INDEXED BY certificate_revoked
    WHERE status = 1 AND issuer = ?1 AND is_ca = 0 AND (not_after >= ?2 OR recorded_change > ?3)";
const ON_PARTITION: &str = "SELECT serial, revoked_at, reason, invalidity_date FROM certificate INDEXED BY certificate_revoked
    WHERE status = 1 AND issuer = ?1 AND partition = ?5 AND is_ca = 0 AND (not_after >= ?2 OR recorded_change > ?3)";
const ON_ARL: &str = "SELECT serial, revoked_at, reason, invalidity_date FROM certificate INDEXED BY certificate_revoked_ca
    WHERE status = 1 AND issuer = ?1 AND is_ca = 1 AND (not_after >= ?2 OR recorded_change > ?3)";
const ON_DELTA: &str = "SELECT serial, revoked_at, reason, invalidity_date FROM certificate INDEXED BY certificate_recorded
    WHERE status = 1 AND issuer = ?1 AND recorded_change > ?4 AND recorded_change <= ?7 AND (not_after >= ?2 OR recorded_change > ?3)
    AND (?5 IS NULL OR partition = ?5) AND (?6 IS NULL OR is_ca = ?6)";
const REVOKE: &str = "UPDATE certificate
    SET status = 1, revoked_at = :at, reason = :reason, invalidity_date = :invalidity_date, recorded_at = :now, recorded_change = :change
    WHERE issuer = :issuer AND slot_hash = :hash AND serial = :serial AND status = 0";
/// A revocation that comes to another CRL is new there, as one is whose reason is learnt, and the feed tells of it.
const FILL_IN: &str =
    "UPDATE certificate SET not_before = coalesce(not_before, ?4), partition = coalesce(partition, ?5), is_ca = max(is_ca, ?6),
    reason = coalesce(?8, reason), recorded_change = CASE
        WHEN (partition IS NULL AND ?5 IS NOT NULL AND is_ca = 0) OR is_ca < ?6 OR ?8 IS NOT NULL THEN ?7
        ELSE recorded_change END
    WHERE issuer = ?1 AND slot_hash = ?2 AND serial = ?3";

fn record(row: &Row<'_>) -> rusqlite::Result<CertificateRecord> {
    let status = match row.get(7)? {
        GOOD => CertificateStatus::Good,
        REVOKED => CertificateStatus::Revoked(Revocation { at: row.get(4)?, reason: row.get(5)? }),
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(7, i64::from(other))),
    };
    Ok(CertificateRecord {
        serial: row.get(0)?,
        not_before: row.get(1)?,
        not_after: row.get(2)?,
        is_ca: row.get(8)?,
        partition: row.get(3)?,
        status,
        invalidity_date: row.get(6)?,
    })
}

/// One call's worth of additions, inside its transaction.
struct Addition<'c> {
    connection: &'c Connection,
    issuer: IssuerId,
    now: Timestamp,
    /// The first change that this call may append.
    change: u64,
    insert: CachedStatement<'c>,
    feed: feed::Collector<'c>,
    report: AddReport,
    good_delta: i64,
    revoked_delta: i64,
}

/// See [`crate::registry::Registry::add_certificates`]. Memory does not grow with the stream.
pub(super) fn add(
    connection: &Connection,
    issuer: IssuerId,
    records: CertificateStream<'_>,
    on_conflict: OnConflict,
    now: Timestamp,
) -> Outcome<AddReport> {
    issuers::require(connection, issuer)?;
    let mut addition = Addition {
        connection,
        issuer,
        now,
        change: feed::last(connection)? + 1,
        insert: connection.prepare_cached(INSERT)?,
        feed: feed::Collector::new(connection, issuer),
        report: AddReport::default(),
        good_delta: 0,
        revoked_delta: 0,
    };
    for record in records {
        let record = record.map_err(RegistryError::Source)?;
        if let Some(found) = record.partition.filter(|n| *n > feed::MAX_PARTITION) {
            let wanted = format!("at most {}", feed::MAX_PARTITION);
            return Err(RegistryError::OutOfRange { field: "partition", found: found.to_string(), wanted }.into());
        }
        match (addition.insert(&record)?, on_conflict) {
            (true, _) => {}
            (false, OnConflict::Refuse) => return Err(RegistryError::SerialRepeats(record.serial).into()),
            (false, OnConflict::Merge) => addition.merge(&record)?,
        }
    }
    addition.feed.finish()?;
    issuers::count(connection, issuer, addition.good_delta, addition.revoked_delta)?;
    Ok(addition.report)
}

impl Addition<'_> {
    /// Whether the record was new.
    fn insert(&mut self, record: &CertificateRecord) -> Outcome<bool> {
        let hash = SlotHash::from(&record.serial);
        let (status, revocation) = match record.status {
            CertificateStatus::Good => (GOOD, None),
            CertificateStatus::Revoked(revocation) => (REVOKED, Some(revocation)),
        };
        let rows = self.insert.execute(params![
            self.issuer,
            hash,
            record.serial,
            record.not_before,
            record.not_after,
            record.partition,
            status,
            revocation.map(|r| r.at),
            revocation.and_then(|r| r.reason),
            record.invalidity_date,
            self.now,
            record.is_ca,
            Number(self.change),
        ])?;
        if rows == 0 {
            return Ok(false);
        }
        self.report.added += 1;
        if status == GOOD {
            self.good_delta += 1;
            self.feed.added(hash)?;
        } else {
            self.revoked_delta += 1;
            self.feed.revoked(hash, record.crl_place())?;
        }
        Ok(true)
    }

    /// Keeps what is known; adds what is not: a revocation, its reason, a notBefore, a partition.
    fn merge(&mut self, record: &CertificateRecord) -> Outcome<()> {
        let hash = SlotHash::from(&record.serial);
        let known = find(self.connection, self.issuer, &record.serial)?
            .ok_or_else(|| Fault::Damaged(format!("serial {} is in the way but cannot be found", record.serial)))?;
        let learnt = learnt_reason(known.status, record.status);
        let status = match (known.status, learnt) {
            (CertificateStatus::Revoked(revocation), Some(_)) => CertificateStatus::Revoked(Revocation { reason: learnt, ..revocation }),
            (status, _) => status,
        };
        let (partition, is_ca) = (known.partition.or(record.partition), known.is_ca || record.is_ca);
        let merged = CertificateRecord { partition, is_ca, status, ..known };
        if merged != known || known.not_before.is_none() && record.not_before.is_some() {
            fill_in(self.connection, self.issuer, record, self.change, learnt)?;
        }
        match (known.status, record.status) {
            (CertificateStatus::Good, CertificateStatus::Revoked(revocation)) => {
                let time = Recorded { now: self.now, change: self.change };
                set_revoked(self.connection, self.issuer, &record.serial, revocation, record.invalidity_date, time)?;
                self.good_delta -= 1;
                self.revoked_delta += 1;
                self.report.revoked += 1;
                self.feed.revoked(hash, merged.crl_place())
            }
            (CertificateStatus::Revoked(_), _) if learnt.is_some() || known.crl_place() != merged.crl_place() => {
                self.report.unchanged += 1;
                // The partition's CRL, or the ARL, lacks it so far; or what is published lacks its reason.
                self.feed.revoked(hash, merged.crl_place())
            }
            _ => {
                self.report.unchanged += 1;
                Ok(())
            }
        }
    }
}

/// The reason that is new of a revocation that was known: it had none, or its key turns out to be compromised (BR 7.2.2, C3).
fn learnt_reason(known: CertificateStatus, told: CertificateStatus) -> Option<RevocationReason> {
    use RevocationReason::{CaCompromise, KeyCompromise};
    let (CertificateStatus::Revoked(known), CertificateStatus::Revoked(told)) = (known, told) else { return None };
    match (known.reason, told.reason) {
        (None, reason) => reason,
        (Some(KeyCompromise | CaCompromise), _) => None,
        (Some(_), reason) => reason.filter(|reason| *reason == KeyCompromise),
    }
}

/// When something is recorded.
#[derive(Clone, Copy)]
struct Recorded {
    now: Timestamp,
    /// The first change that the present transaction may append.
    change: u64,
}

/// Adds what is told of a known certificate, see [`FILL_IN`].
fn fill_in(
    connection: &Connection,
    issuer: IssuerId,
    told: &CertificateRecord,
    change: u64,
    learnt: Option<RevocationReason>,
) -> Outcome<()> {
    let CertificateRecord { serial, not_before, partition, is_ca, .. } = told;
    let hash = SlotHash::from(serial);
    connection.prepare_cached(FILL_IN)?.execute(params![issuer, hash, serial, not_before, partition, is_ca, Number(change), learnt])?;
    Ok(())
}

fn set_revoked(
    connection: &Connection,
    issuer: IssuerId,
    serial: &Serial,
    revocation: Revocation,
    invalidity_date: Option<Timestamp>,
    recorded: Recorded,
) -> Outcome<()> {
    connection.prepare_cached(REVOKE)?.execute(named_params! {
        ":at": revocation.at,
        ":reason": revocation.reason,
        ":invalidity_date": invalidity_date,
        ":now": recorded.now,
        ":change": Number(recorded.change),
        ":issuer": issuer,
        ":hash": SlotHash::from(serial),
        ":serial": serial,
    })?;
    Ok(())
}

/// See [`crate::registry::Registry::revoke`].
pub(super) fn revoke(
    connection: &Connection,
    issuer: IssuerId,
    serial: &Serial,
    revocation: Revocation,
    invalidity_date: Option<Timestamp>,
    now: Timestamp,
) -> Outcome<RevokeOutcome> {
    issuers::require(connection, issuer)?;
    let Some(known) = find(connection, issuer, serial)? else {
        return Ok(RevokeOutcome::NotFound);
    };
    let change = feed::last(connection)? + 1;
    let outcome = match (known.status, learnt_reason(known.status, CertificateStatus::Revoked(revocation))) {
        (CertificateStatus::Good, _) => {
            set_revoked(connection, issuer, serial, revocation, invalidity_date, Recorded { now, change })?;
            issuers::count(connection, issuer, -1, 1)?;
            RevokeOutcome::Revoked
        }
        (CertificateStatus::Revoked(before), Some(_)) => {
            let learnt = CertificateRecord { status: CertificateStatus::Revoked(revocation), ..known };
            fill_in(connection, issuer, &learnt, change, revocation.reason)?;
            RevokeOutcome::ReasonLearnt(before)
        }
        (CertificateStatus::Revoked(before), None) => return Ok(RevokeOutcome::AlreadyRevoked(before)),
    };
    feed::append(connection, issuer, &ChangeKind::Revocations(vec![(SlotHash::from(serial), known.crl_place())]))?;
    Ok(outcome)
}

fn find(connection: &Connection, issuer: IssuerId, serial: &Serial) -> Outcome<Option<CertificateRecord>> {
    let mut statement = connection.prepare_cached(FIND)?;
    Ok(statement.query_row(params![issuer, SlotHash::from(serial), serial], record).optional()?)
}

/// One certificate of a registered issuer.
pub(super) fn one(connection: &Connection, issuer: IssuerId, serial: &Serial) -> Outcome<Option<CertificateRecord>> {
    issuers::require(connection, issuer)?;
    find(connection, issuer, serial)
}

/// See [`crate::registry::Registry::visit_certificates`].
pub(super) fn visit_slot(
    connection: &Connection,
    issuer: IssuerId,
    slot: SlotRange,
    visit: &mut dyn FnMut(CertificateRecord),
) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    super::packs::check_slot(slot.bits, slot.slot)?;
    let (first, last) = slot.bounds();
    let mut statement = connection.prepare_cached(OF_SLOT)?;
    for certificate in statement.query_map(params![issuer, first, last], record)? {
        visit(certificate?);
    }
    Ok(())
}

/// See [`crate::registry::Registry::visit_revoked`].
pub(super) fn visit_revoked(
    connection: &Connection,
    issuer: IssuerId,
    selection: &CrlSelection,
    visit: &mut dyn FnMut(&CrlEntry),
) -> Outcome<u64> {
    issuers::require(connection, issuer)?;
    let partition = if let CrlScope::Partition(n) = selection.scope.base() { Some(n) } else { None };
    let (since, recorded_after) = (selection.not_after_from, feed::clamp(selection.or_recorded_after));
    let is_ca = match selection.contents {
        Contents::All => None,
        contents => Some(contents == Contents::CaCertificates),
    };
    if let Some(ChangeRange { after, up_to }) = selection.changed {
        let mut statement = connection.prepare_cached(ON_DELTA)?;
        let (after, up_to) = (feed::clamp(after), feed::clamp(up_to));
        visit_entries(statement.query(params![issuer, since, recorded_after, after, partition, is_ca, up_to])?, visit)?;
    } else if partition.is_some() {
        let mut statement = connection.prepare_cached(ON_PARTITION)?;
        visit_entries(statement.query(params![issuer, since, recorded_after, None::<i64>, partition])?, visit)?;
    } else {
        let mut statement = connection.prepare_cached(match is_ca {
            None => ON_FULL,
            Some(false) => ON_FULL_OF_USERS,
            Some(true) => ON_ARL,
        })?;
        visit_entries(statement.query(params![issuer, since, recorded_after])?, visit)?;
    }
    feed::last(connection)
}

fn visit_entries(mut rows: Rows<'_>, visit: &mut dyn FnMut(&CrlEntry)) -> Outcome<()> {
    while let Some(row) = rows.next()? {
        visit(&CrlEntry {
            serial: row.get(0)?,
            revocation: Revocation { at: row.get(1)?, reason: row.get(2)? },
            invalidity_date: row.get(3)?,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::connection::Database;
    use super::*;

    #[test]
    fn a_crl_is_built_from_the_index_alone_and_a_slot_by_one_range_scan() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::create(&directory.path().join("r")).unwrap();
        let explain = |c: &Connection, sql: &str| -> rusqlite::Result<String> {
            let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            statement.raw_query().mapped(|row| row.get::<_, String>(3)).collect()
        };
        let plan = |sql| database.read(|c| Ok(explain(c, sql)?)).unwrap();
        assert_eq!(plan(ON_FULL), "SEARCH certificate USING COVERING INDEX certificate_revoked (issuer=?)");
        assert_eq!(plan(ON_FULL_OF_USERS), "SEARCH certificate USING COVERING INDEX certificate_revoked (issuer=?)");
        assert_eq!(
            plan(ON_PARTITION),
            "SEARCH certificate USING COVERING INDEX certificate_revoked (issuer=? AND partition=? AND is_ca=?)"
        );
        assert_eq!(plan(ON_ARL), "SEARCH certificate USING INDEX certificate_revoked_ca (issuer=?)");
        assert_eq!(
            plan(ON_DELTA),
            "SEARCH certificate USING INDEX certificate_recorded (issuer=? AND recorded_change>? AND recorded_change<?)"
        );
        assert_eq!(plan(OF_SLOT), "SEARCH certificate USING PRIMARY KEY (issuer=? AND slot_hash>? AND slot_hash<?)");
    }
}
