//! The log of work orders, and what they have had issued.

use std::collections::BTreeSet;
use std::ops::Range;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::fault::{Fault, Outcome};
use super::feed::clamp;
use super::values::{Number, number};
use super::{SqliteRegistry, certificates, feed, issuers};
use crate::pki::{CertificateStatus, Fingerprint, Revocation, RevocationReason, Serial, SlotHash, Timestamp};
use crate::registry::work::{
    CHAIN_START, Holder, IssuedRecord, MAX_ORDER_ID, MAX_WORK_DETAIL, NewWork, WorkEntry, WorkEvent, WorkId, WorkRegistry, WorkState, chain,
};
use crate::registry::{
    AddReport, CertificateRecord, ChangeKind, HeldKey, IssuerId, IssuerMode, OnConflict, RegistryError, Result, TakenOver, TakenOverStream,
};

/// Who has a key by a certificate that no order has had issued.
const HELD: &str = "SELECT issuer, serial, public_key, subject, 0 FROM held_key WHERE public_key = ?1";

impl WorkRegistry for SqliteRegistry {
    fn append_work(&self, entry: &NewWork<'_>) -> Result<WorkEntry> {
        self.0.write(|c| append(c, entry))
    }

    fn visit_work(&self, visit: &mut dyn FnMut(WorkEntry)) -> Result<u64> {
        self.0.read(|c| visit_log(c, visit))
    }

    fn work(&self, order: &str) -> Result<Option<WorkState>> {
        self.0.read(|c| state(c, order))
    }

    fn operators_in_force(&self) -> Result<Option<String>> {
        self.0.read(|c| {
            let mut statement = c.prepare_cached("SELECT detail FROM work_log WHERE event = ?1 ORDER BY sequence DESC LIMIT 1")?;
            Ok(statement.query_row([WorkEvent::Operators.code()], |row| row.get(0)).optional()?)
        })
    }

    fn add_issued(&self, issuer: IssuerId, work: WorkId, certificates: &[IssuedRecord], now: Timestamp) -> Result<()> {
        self.0.write_batch(|c| add_issued(c, issuer, work, certificates, now))
    }

    fn issued_items(&self, work: WorkId, items: Range<u64>) -> Result<BTreeSet<u64>> {
        self.0.read(|c| {
            let mut statement = c.prepare_cached("SELECT item FROM issued WHERE work = ?1 AND item >= ?2 AND item < ?3")?;
            let rows = statement.query_map(params![Number(work.0), clamp(items.start), clamp(items.end)], |row| number(row, 0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn visit_issued(&self, work: WorkId, items: Range<u64>, visit: &mut dyn FnMut(u64, Serial, Vec<u8>)) -> Result<()> {
        self.0.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT item, serial, certificate FROM issued WHERE work = ?1 AND item >= ?2 AND item < ?3 ORDER BY item",
            )?;
            let mut rows = statement.query(params![Number(work.0), clamp(items.start), clamp(items.end)])?;
            while let Some(row) = rows.next()? {
                visit(number(row, 0)?, row.get(1)?, row.get(2)?);
            }
            Ok(())
        })
    }

    fn key_holders(&self, public_keys: &[Fingerprint]) -> Result<Vec<Option<Holder>>> {
        self.0.read(|c| {
            let mut issued = c.prepare_cached(
                "SELECT issuer, serial, public_key, subject, work FROM issued WHERE public_key = ?1 ORDER BY id DESC LIMIT 1",
            )?;
            let mut held = c.prepare_cached(&format!("{HELD} LIMIT 1"))?;
            let mut holder = |key: &Fingerprint| match holder_of(&mut issued, params![&key.0[..]])? {
                None => holder_of(&mut held, params![&key.0[..]]),
                found => Ok(found),
            };
            public_keys.iter().map(&mut holder).collect()
        })
    }

    fn compromised_holders(&self, public_keys: &[Fingerprint]) -> Result<Vec<Option<Holder>>> {
        self.0.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT issuer, serial, public_key, subject, work FROM issued WHERE public_key = ?1 ORDER BY id DESC")?;
            let mut held = c.prepare_cached(HELD)?;
            let mut compromised = |key: &Fingerprint| match newest_of(c, &mut statement, params![&key.0[..]], &is_compromised)? {
                None => newest_of(c, &mut held, params![&key.0[..]], &is_compromised),
                found => Ok(found),
            };
            public_keys.iter().map(&mut compromised).collect()
        })
    }

    fn subject_holders(&self, issuer: IssuerId, subjects: &[Fingerprint], from: Timestamp) -> Result<Vec<Option<Holder>>> {
        self.0.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT issuer, serial, public_key, subject, work FROM issued WHERE issuer = ?1 AND subject = ?2 AND not_after >= ?3
                 ORDER BY id DESC",
            )?;
            let is_good = |known: &CertificateRecord| known.status == CertificateStatus::Good;
            let live = |subject: &Fingerprint| newest_of(c, &mut statement, params![issuer, &subject.0[..], from], &is_good);
            subjects.iter().map(live).collect()
        })
    }

    fn run_off(&self, issuer: IssuerId) -> Result<()> {
        self.0.write(|c| advance_mode(c, issuer, IssuerMode::RunOff))
    }

    fn close(&self, issuer: IssuerId, now: Timestamp) -> Result<u64> {
        self.0.write(|c| {
            let mut live = c.prepare_cached("SELECT count(*) FROM certificate WHERE issuer = ?1 AND status = 0 AND not_after >= ?2")?;
            match live.query_row(params![issuer, now], |row| number(row, 0))? {
                0 => advance_mode(c, issuer, IssuerMode::Closed).map(|()| 0),
                live => Ok(live),
            }
        })
    }
}

fn append(connection: &Connection, entry: &NewWork<'_>) -> Outcome<WorkEntry> {
    let NewWork { order, event, at, detail } = *entry;
    bound("name of the order", order.len(), MAX_ORDER_ID)?;
    bound("detail of an entry of the work log", detail.len(), MAX_WORK_DETAIL)?;
    refuse_out_of_turn(connection, order, event)?;
    let mut newest = connection.prepare_cached("SELECT sequence, chain FROM work_log ORDER BY sequence DESC LIMIT 1")?;
    let newest = newest.query_row([], |row| Ok((number(row, 0)?, fingerprint(row, 1)?))).optional()?;
    let (last, before) = newest.unwrap_or((0, CHAIN_START));
    let (sequence, chain) = (last + 1, chain(&before, last + 1, entry));
    connection
        .prepare_cached("INSERT INTO work_log (sequence, order_id, event, at, detail, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![Number(sequence), order, event.code(), at, detail, &chain.0[..]])?;
    Ok(WorkEntry { sequence, order: order.to_owned(), event, at, detail: detail.to_owned(), chain })
}

fn bound(field: &'static str, found: usize, most: usize) -> Outcome<()> {
    if found <= most {
        return Ok(());
    }
    Err(RegistryError::OutOfRange { field, found: format!("{found} octets"), wanted: format!("at most {most}") }.into())
}

/// An order is begun once, nothing happens to it before, and nothing after its end; that a try was refused may be said at any time.
fn refuse_out_of_turn(connection: &Connection, order: &str, event: WorkEvent) -> Outcome<()> {
    if matches!(event, WorkEvent::Refused | WorkEvent::Operators) {
        return Ok(());
    }
    let over = |why: String| Err(RegistryError::WorkOver { order: order.to_owned(), why }.into());
    match state(connection, order)? {
        Some(WorkState { end: Some((end, at)), .. }) => over(format!("it ended at {at} ({end:?})")),
        Some(_) if event == WorkEvent::Begun => over("it was begun before".to_owned()),
        None if event != WorkEvent::Begun => over("it was never begun".to_owned()),
        _ => Ok(()),
    }
}

fn entry(row: &Row<'_>) -> Outcome<WorkEntry> {
    let event = event(row, 2)?;
    let (sequence, chain) = (number(row, 0)?, fingerprint(row, 5)?);
    Ok(WorkEntry { sequence, order: row.get(1)?, event, at: row.get(3)?, detail: row.get(4)?, chain })
}

fn event(row: &Row<'_>, column: usize) -> Outcome<WorkEvent> {
    let code: i64 = row.get(column)?;
    let event = WorkEvent::ALL.into_iter().find(|event| i64::from(event.code()) == code);
    event.ok_or_else(|| Fault::Damaged(format!("an entry of the work log of kind {code} cannot be read")))
}

fn fingerprint(row: &Row<'_>, column: usize) -> rusqlite::Result<Fingerprint> {
    let octets = row.get_ref(column)?.as_blob()?;
    Fingerprint::from_octets(octets).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, octets.len() as i64))
}

fn visit_log(connection: &Connection, visit: &mut dyn FnMut(WorkEntry)) -> Outcome<u64> {
    let mut statement = connection.prepare_cached("SELECT sequence, order_id, event, at, detail, chain FROM work_log ORDER BY sequence")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(entry(row)?);
    }
    let mut ever = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'work_log'")?;
    Ok(ever.query_row([], |row| number(row, 0)).optional()?.unwrap_or(0))
}

fn state(connection: &Connection, order: &str) -> Outcome<Option<WorkState>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, order_id, event, at, detail, chain FROM work_log WHERE order_id = ?1 AND event IN (1, 3, 4, 5) ORDER BY sequence",
    )?;
    let mut rows = statement.query([order])?;
    let mut state: Option<WorkState> = None;
    while let Some(row) = rows.next()? {
        let entry = entry(row)?;
        match (&mut state, entry.event) {
            (None, WorkEvent::Begun) => {
                state = Some(WorkState { id: WorkId(entry.sequence), begun: entry.detail, end: None, steps: Vec::new() })
            }
            (Some(state), WorkEvent::Step) => state.steps.push(entry.detail),
            (Some(state), end) if end.is_end() => state.end = Some((end, entry.at)),
            _ => return Err(Fault::Damaged(format!("entry {} of the work log is out of turn", entry.sequence))),
        }
    }
    Ok(state)
}

fn add_issued(connection: &Connection, issuer: IssuerId, work: WorkId, issued: &[IssuedRecord], now: Timestamp) -> Outcome<()> {
    refuse_closed(connection, issuer, issued.iter().all(|one| one.is_responder))?;
    let mut records: Vec<CertificateRecord> = issued.iter().map(|one| one.record).collect();
    // As they stand in the table: neighbours are on pages that were just looked at.
    records.sort_unstable_by_key(|record| SlotHash::from(&record.serial));
    certificates::add(connection, issuer, &mut records.into_iter().map(Ok), OnConflict::Refuse, now)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO issued (work, item, issuer, serial, public_key, subject, not_after, certificate) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO NOTHING",
    )?;
    for IssuedRecord { item, record, public_key, subject, certificate, .. } in issued {
        let CertificateRecord { serial, not_after, .. } = record;
        let rows = insert.execute(params![
            Number(work.0),
            Number(*item),
            issuer,
            serial,
            &public_key.0[..],
            &subject.0[..],
            not_after,
            certificate
        ])?;
        if rows == 0 {
            return Err(RegistryError::ItemRepeats(*item).into());
        }
    }
    Ok(())
}

/// Adds certificates that were issued elsewhere, and remembers who has their keys.
pub(super) fn take_over(
    connection: &Connection,
    issuer: IssuerId,
    certificates: TakenOverStream<'_>,
    now: Timestamp,
) -> Outcome<AddReport> {
    let mut remember = connection
        .prepare_cached("INSERT INTO held_key (public_key, issuer, serial, subject) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
    let mut failed = None;
    let mut records = certificates.map(|certificate| {
        let TakenOver { record, key } = certificate?;
        if let Some(HeldKey { public_key, subject }) = key
            && let Err(error) = remember.execute(params![&public_key.0[..], issuer, record.serial, &subject.0[..]])
        {
            failed = Some(error);
            return Err("its key was not remembered".into());
        }
        Ok(record)
    });
    let added = certificates::add(connection, issuer, &mut records, OnConflict::Merge, now);
    failed.map_or(added, |error| Err(error.into()))
}

/// S5.2, in the same transaction as what it forbids.
fn refuse_closed(connection: &Connection, issuer: IssuerId, only_responders: bool) -> Outcome<()> {
    let mut statement = connection.prepare_cached("SELECT name, mode FROM issuer WHERE id = ?1")?;
    let found: Option<(String, IssuerMode)> = statement.query_row([issuer], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match found {
        None => Err(RegistryError::UnknownIssuer(issuer.0).into()),
        Some((_, IssuerMode::Open)) => Ok(()),
        Some((_, IssuerMode::RunOff)) if only_responders => Ok(()),
        Some((name, mode)) => Err(RegistryError::IssuerClosed { name, mode }.into()),
    }
}

fn holder_of(statement: &mut CachedStatement<'_>, parameters: &[&dyn rusqlite::ToSql]) -> Outcome<Option<Holder>> {
    Ok(statement.query_row(parameters, holder).optional()?)
}

fn holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    let (public_key, subject) = (fingerprint(row, 2)?, fingerprint(row, 3)?);
    Ok(Holder { issuer: row.get(0)?, serial: row.get(1)?, public_key, subject, work: WorkId(number(row, 4)?) })
}

/// Whether its own key is: an end entity's whose CA is compromised says nothing of the end entity's.
fn is_compromised(known: &CertificateRecord) -> bool {
    let CertificateStatus::Revoked(Revocation { reason, .. }) = known.status else { return false };
    reason == Some(RevocationReason::KeyCompromise) || known.is_ca && reason == Some(RevocationReason::CaCompromise)
}

/// The first of the rows whose certificate is such a one.
fn newest_of(
    connection: &Connection,
    statement: &mut CachedStatement<'_>,
    parameters: &[&dyn rusqlite::ToSql],
    wanted: &dyn Fn(&CertificateRecord) -> bool,
) -> Outcome<Option<Holder>> {
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        let holder = holder(row)?;
        if certificates::one(connection, holder.issuer, &holder.serial)?.is_some_and(|known| wanted(&known)) {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

fn advance_mode(connection: &Connection, issuer: IssuerId, mode: IssuerMode) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    let changed = connection
        .prepare_cached("UPDATE issuer SET mode = max(mode, ?2), mode_floor = max(mode_floor, ?2) WHERE id = ?1 AND mode_floor < ?2")?
        .execute(params![issuer, mode])?;
    if changed > 0 { feed::append(connection, issuer, &ChangeKind::Issuer) } else { Ok(()) }
}
