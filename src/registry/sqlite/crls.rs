//! CRLs: their numbers never go back (rule C2), whatever is forgotten of them. Their octets are kept in pieces ([`compact_crl`]), each in a row: no value is as
//! great as a CRL.

use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, Rows, named_params, params};
use xxhash_rust::xxh3::xxh3_64;

use super::fault::{Fault, Outcome};
use super::values::{Number, number};
use super::{feed, issuers};
use crate::pki::compact_crl::{self, Restorer};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::registry::{ChangeKind, CrlHead, CrlRecord, CrlScope, IssuerId, RegistryError};

/// How the chunks of a CRL are to be read: as they are, from an earlier version; as pieces of a compact CRL.
const PLAIN: u8 = 0;
const COMPACT: u8 = 1;

/// From so many octets on the pieces of a CRL are made ahead of who stores them, and how many at most: 2 MB.
const MAKE_AHEAD_FROM: usize = 4 << 20;
const PIECES_AHEAD: usize = 2;

const COLUMNS: &str = "scope, number, this_update, next_update, refresh_at, entries, scheduled, reflects, point, contents, has_delta,
    base, crl.id, octets, layout, checksum FROM crl";
const NEWEST: &str = "WHERE issuer = ?1 AND scope = ?2 ORDER BY number DESC LIMIT ?3";
const SCHEDULED: &str = "WHERE issuer = ?1 AND scope = ?2 AND scheduled = 1 ORDER BY number DESC LIMIT ?3";
const INSERT: &str = "INSERT INTO crl
    (issuer, scope, number, this_update, next_update, refresh_at, entries, octets, scheduled, reflects, point, contents,
    has_delta, base, layout, checksum)
    VALUES (:issuer, :scope, :number, :this_update, :next_update, :refresh_at, :entries, :octets, :scheduled, :reflects, :point, :contents,
    :has_delta, :base, :layout, :checksum)";
/// What [`forget_superseded`] forgets.
const SUPERSEDED: &str = "FROM crl WHERE issuer = ?1 AND scope = ?2
    AND number < (SELECT number FROM crl WHERE issuer = ?1 AND scope = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)
    AND number NOT IN (SELECT number FROM crl WHERE issuer = ?1 AND scope = ?2 AND scheduled = 1 ORDER BY number DESC LIMIT 2)";

/// Has a CRL issued again as soon as can be, whatever was planned when it was published.
pub(super) fn make_due(connection: &Connection, issuer: IssuerId, scope: CrlScope) -> Outcome<()> {
    connection.prepare_cached("UPDATE crl SET refresh_at = 0 WHERE issuer = ?1 AND scope = ?2")?.execute(params![issuer, scope])?;
    Ok(())
}

/// See [`crate::registry::Registry::forget_distribution_points`].
pub(super) fn forget_distribution_points(connection: &Connection, issuer: IssuerId) -> Outcome<()> {
    connection.prepare_cached("UPDATE crl SET point = NULL WHERE issuer = ?1")?.execute([issuer])?;
    feed::append(connection, issuer, &ChangeKind::Issuer)?;
    Ok(())
}

/// A CRL without its octets: where they are, how many, and how they are kept.
struct Stored {
    head: CrlHead,
    id: i64,
    octets: usize,
    layout: u8,
    checksum: Option<i64>,
}

/// The newest of each scope. Jumps from scope to scope through the index, instead of reading every CRL that is kept.
fn latest_of_each() -> String {
    format!(
        "WITH RECURSIVE present (present_scope) AS (
            SELECT min(scope) FROM crl WHERE issuer = ?1
            UNION ALL
            SELECT (SELECT min(scope) FROM crl WHERE issuer = ?1 AND scope > present_scope) FROM present WHERE present_scope IS NOT NULL)
        SELECT {COLUMNS} JOIN present ON crl.issuer = ?1 AND crl.scope = present_scope
        WHERE number = (SELECT max(number) FROM crl WHERE issuer = ?1 AND scope = present_scope) ORDER BY crl.scope"
    )
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let (point, contents): (Option<String>, Contents) = (row.get(8)?, row.get(9)?);
    let head = CrlHead {
        scope: row.get(0)?,
        number: number(row, 1)?,
        this_update: row.get(2)?,
        next_update: row.get(3)?,
        refresh_at: row.get(4)?,
        entries: number(row, 5)?,
        scheduled: row.get(6)?,
        reflects: number(row, 7)?,
        distribution_point: point.map(|uri| IssuingDistributionPoint { uri, contents }),
        has_delta: row.get(10)?,
        base: row.get::<_, Option<Number>>(11)?.map(|Number(base)| base),
    };
    Ok(Stored { head, id: row.get(12)?, octets: number(row, 13)? as usize, layout: row.get(14)?, checksum: row.get(15)? })
}

/// Reads the octets of a CRL into memory of exactly their size, once it is known that there can be so many.
fn with_octets(connection: &Connection, stored: Stored) -> Outcome<CrlRecord> {
    let Stored { head, id, octets, layout, checksum } = stored;
    let mut lengths = connection.prepare_cached("SELECT coalesce(sum(length(der)), 0) FROM crl_chunk WHERE crl = ?1")?;
    let kept = lengths.query_row([id], |row| number(row, 0))? as usize;
    let mut statement = connection.prepare_cached("SELECT der FROM crl_chunk WHERE crl = ?1 ORDER BY place")?;
    let rows = statement.query([id])?;
    let der = match layout {
        PLAIN if kept == octets => joined(rows, octets)?,
        COMPACT if octets / compact_crl::MOST_RESTORED > kept => Vec::new(),
        COMPACT => {
            let is_as_published = |der: &Vec<u8>| checksum == Some(xxh3_64(der).cast_signed());
            restored(rows, octets)?.filter(is_as_published).unwrap_or_default()
        }
        _ => {
            let found = format!("found {kept} octets, wanted {octets}");
            return Err(Fault::Damaged(format!("CRL {} number {}: {found} (layout {layout})", head.scope, head.number)));
        }
    };
    Ok(CrlRecord { head, der: Bytes::from(der) })
}

/// Octets that are kept as they are.
fn joined(mut rows: Rows<'_>, octets: usize) -> Outcome<Vec<u8>> {
    let mut der = Vec::with_capacity(octets);
    while let Some(row) = rows.next()? {
        der.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
    }
    Ok(der)
}

/// Octets that are kept in pieces; `None` where these are damaged.
fn restored(mut rows: Rows<'_>, octets: usize) -> Outcome<Option<Vec<u8>>> {
    let mut restorer = Restorer::new(octets);
    while let Some(row) = rows.next()? {
        let piece = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        if restorer.push(piece).is_err() {
            return Ok(None);
        }
    }
    Ok(restorer.finish().ok())
}

fn latest_stored(connection: &Connection, issuer: IssuerId) -> Outcome<Vec<Stored>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(&latest_of_each())?;
    Ok(statement.query_map([issuer], stored)?.collect::<rusqlite::Result<_>>()?)
}

/// The newest CRL of each scope.
pub(super) fn latest(connection: &Connection, issuer: IssuerId) -> Outcome<Vec<CrlRecord>> {
    latest_stored(connection, issuer)?.into_iter().map(|stored| with_octets(connection, stored)).collect()
}

/// The head of the newest CRL of each scope.
pub(super) fn heads(connection: &Connection, issuer: IssuerId) -> Outcome<Vec<CrlHead>> {
    Ok(latest_stored(connection, issuer)?.into_iter().map(|stored| stored.head).collect())
}

/// The newest CRL of one scope.
pub(super) fn latest_of(connection: &Connection, issuer: IssuerId, scope: CrlScope) -> Outcome<Option<CrlRecord>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} {NEWEST}"))?;
    let found = statement.query_row(params![issuer, scope, 1], stored).optional()?;
    found.map(|stored| with_octets(connection, stored)).transpose()
}

/// See [`crate::registry::Registry::crl`].
pub(super) fn one(connection: &Connection, issuer: IssuerId, scope: CrlScope, number: u64) -> Outcome<Option<CrlRecord>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE issuer = ?1 AND scope = ?2 AND number = ?3"))?;
    let found = statement.query_row(params![issuer, scope, Number(number)], stored).optional()?;
    found.map(|stored| with_octets(connection, stored)).transpose()
}

/// See [`crate::registry::Registry::newest_crl_heads`].
pub(super) fn newest_heads(
    connection: &Connection,
    issuer: IssuerId,
    scope: CrlScope,
    scheduled_only: bool,
    limit: usize,
) -> Outcome<Vec<CrlHead>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} {}", if scheduled_only { SCHEDULED } else { NEWEST }))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(statement.query_map(params![issuer, scope, limit], |row| Ok(stored(row)?.head))?.collect::<rusqlite::Result<_>>()?)
}

/// See [`crate::registry::Registry::visit_crls`].
pub(super) fn visit(connection: &Connection, issuer: IssuerId, visit: &mut dyn FnMut(CrlHead)) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE issuer = ?1 ORDER BY scope, number"))?;
    for crl in statement.query_map([issuer], stored)? {
        visit(crl?.head);
    }
    Ok(())
}

/// See [`crate::registry::Registry::next_crl_number`].
pub(super) fn next_number(connection: &Connection, issuer: IssuerId, scope: CrlScope) -> Outcome<u64> {
    let mut floor = connection.prepare_cached("SELECT crl_floor FROM issuer WHERE id = ?1")?;
    let floor: u64 = floor.query_row([issuer], |row| number(row, 0)).optional()?.ok_or(RegistryError::UnknownIssuer(issuer.0))?;
    let mut newest = connection.prepare_cached("SELECT max(number) FROM crl WHERE issuer = ?1 AND scope = ?2")?;
    let mut newest = |scope| newest.query_row(params![issuer, scope], |row| row.get(0)).map(|n: Option<Number>| n.map_or(0, |Number(n)| n));
    let complete = newest(scope.base())?;
    let delta = scope.base().delta().map(newest).transpose()?.unwrap_or(0);
    let next = floor.max(complete).max(delta) + 1;
    check(next).map(|()| next)
}

/// See [`crate::registry::Registry::publish_crls`].
pub(super) fn publish(connection: &Connection, issuer: IssuerId, crls: &[CrlRecord]) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    let Some(first) = crls.first().map(|crl| &crl.head) else { return Ok(()) };
    check(first.number)?;
    let together =
        |head: &CrlHead| (head.scope.base(), head.number, head.this_update) == (first.scope.base(), first.number, first.this_update);
    let pair = crls.len() == 1 || crls.len() == 2 && crls[0].head.scope != crls[1].head.scope;
    if !pair || !crls.iter().all(|crl| together(&crl.head)) {
        let found = crls.iter().map(|crl| format!("{} number {}", crl.head.scope, crl.head.number)).collect::<Vec<_>>().join(", ");
        let wanted = "one CRL, or a complete one and its delta of the same number and thisUpdate (C2)".to_owned();
        return Err(RegistryError::OutOfRange { field: "CRLs published together", found, wanted }.into());
    }
    let next = next_number(connection, issuer, first.scope)?;
    if first.number != next {
        let what = format!("the CRL ({})", first.scope);
        // In the error's words: the number that is there, and the one that the caller took to be there.
        return Err(RegistryError::Stale { what, found: next - 1, expected: first.number.saturating_sub(1) }.into());
    }
    crls.iter().try_for_each(|crl| insert(connection, issuer, crl))
}

fn insert(connection: &Connection, issuer: IssuerId, CrlRecord { head, der }: &CrlRecord) -> Outcome<()> {
    let point = head.distribution_point.as_ref();
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":issuer": issuer,
        ":scope": head.scope,
        ":number": Number(head.number),
        ":this_update": head.this_update,
        ":next_update": head.next_update,
        ":refresh_at": head.refresh_at,
        ":entries": Number(head.entries),
        ":octets": Number(der.len() as u64),
        ":scheduled": head.scheduled,
        ":reflects": Number(head.reflects),
        ":point": point.map(|point| &point.uri),
        ":contents": point.map_or(Contents::All, |point| point.contents),
        ":has_delta": head.has_delta,
        ":base": head.base.map(Number),
        ":layout": COMPACT,
        ":checksum": xxh3_64(der).cast_signed(),
    })?;
    let id = connection.last_insert_rowid();
    let mut chunk = connection.prepare_cached("INSERT INTO crl_chunk (crl, place, der) VALUES (?1, ?2, ?3)")?;
    visit_pieces(der, |place, piece| chunk.execute(params![id, place as i64, piece]).map(drop))?;
    feed::append(connection, issuer, &ChangeKind::Crl(head.scope))
}

/// Gives the pieces of a CRL to `visit`, until it fails. Those of a great one are made by a thread of their own: whoever waits for the writer waits less.
fn visit_pieces(der: &[u8], mut visit: impl FnMut(usize, Vec<u8>) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let mut pieces = compact_crl::pieces(der);
    if der.len() < MAKE_AHEAD_FROM {
        return pieces.enumerate().try_for_each(|(place, piece)| visit(place, piece));
    }
    std::thread::scope(|scope| {
        let (made, coming) = sync_channel(PIECES_AHEAD);
        // Ends where nobody takes them any more: `visit` has failed.
        scope.spawn(move || pieces.try_for_each(|piece| made.send(piece)));
        coming.into_iter().enumerate().try_for_each(|(place, piece)| visit(place, piece))
    })
}

/// Forgets what is superseded in the scopes of these CRLs, with so many kept before the newest. The newest is never forgotten, and with it the number that the
/// next must exceed.
pub(super) fn forget_superseded(connection: &Connection, issuer: IssuerId, crls: &[CrlRecord], kept: u32) -> Outcome<()> {
    let mut delete = connection.prepare_cached(&format!("DELETE {SUPERSEDED}"))?;
    crls.iter().try_for_each(|crl| Ok(delete.execute(params![issuer, crl.head.scope, kept]).map(drop)?))
}

/// Makes every later CRL of the issuer carry a number greater than `number`: for a CA that published CRLs elsewhere before. Never lowers it.
pub(super) fn raise_number(connection: &Connection, issuer: IssuerId, number: u64) -> Outcome<()> {
    // There must be a number after it.
    check(number.saturating_add(1))?;
    connection
        .prepare_cached("UPDATE issuer SET crl_floor = ?2 WHERE id = ?1 AND crl_floor < ?2")?
        .execute(params![issuer, Number(number)])?;
    Ok(())
}

/// Fails where the column cannot hold the number.
fn check(number: u64) -> Outcome<()> {
    if i64::try_from(number).is_ok() {
        return Ok(());
    }
    Err(RegistryError::OutOfRange { field: "CRL number", found: number.to_string(), wanted: "at most 2^63 - 1".into() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_are_made_ahead_are_the_same_and_end_with_who_stores_them() {
        for octets in [0, MAKE_AHEAD_FROM - 1, MAKE_AHEAD_FROM + 5_000_000] {
            let der: Vec<u8> = (0..octets).map(|n| (n % 251) as u8).collect();
            let mut stored = Vec::new();
            let store = |place, piece| {
                stored.push((place, piece));
                Ok(())
            };
            visit_pieces(&der, store).unwrap();
            assert!(stored.into_iter().eq(compact_crl::pieces(&der).enumerate()), "{octets}");
        }
        let (der, mut visited) = (vec![0; 4 * MAKE_AHEAD_FROM], 0);
        let full = visit_pieces(&der, |place, _| {
            visited += 1;
            if place < 2 { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
        });
        assert_eq!((full, visited), (Err(rusqlite::Error::InvalidQuery), 3));
    }
}
