//! CRLs: every one ever issued is kept, and its number never goes back (rule C2).

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Outcome;
use super::values::{Number, number};
use super::{feed, issuers};
use crate::registry::{ChangeKind, CrlHead, CrlRecord, CrlScope, IssuerId, RegistryError};

/// Jumps from scope to scope through the index, instead of reading every CRL ever issued.
const LATEST: &str = "WITH RECURSIVE present (scope) AS (
        SELECT min(scope) FROM crl WHERE issuer = ?1
        UNION ALL
        SELECT (SELECT min(scope) FROM crl WHERE issuer = ?1 AND scope > present.scope) FROM present WHERE present.scope IS NOT NULL)
    SELECT crl.scope, number, this_update, next_update, refresh_at, der FROM present JOIN crl ON crl.issuer = ?1 AND crl.scope = present.scope
    WHERE number = (SELECT max(number) FROM crl WHERE issuer = ?1 AND scope = present.scope) ORDER BY crl.scope";

fn crl(row: &Row<'_>) -> rusqlite::Result<CrlRecord> {
    Ok(CrlRecord {
        scope: row.get(0)?,
        number: number(row, 1)?,
        this_update: row.get(2)?,
        next_update: row.get(3)?,
        refresh_at: row.get(4)?,
        der: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

/// The newest CRL of each scope: the full one first, then by partition.
pub(super) fn latest(connection: &Connection, issuer: IssuerId) -> Outcome<Vec<CrlRecord>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(LATEST)?;
    Ok(statement.query_map([issuer], crl)?.collect::<rusqlite::Result<_>>()?)
}

/// The newest CRL of one scope.
pub(super) fn latest_of(connection: &Connection, issuer: IssuerId, scope: CrlScope) -> Outcome<Option<CrlRecord>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(
        "SELECT scope, number, this_update, next_update, refresh_at, der FROM crl WHERE issuer = ?1 AND scope = ?2 ORDER BY number DESC LIMIT 1",
    )?;
    Ok(statement.query_row(params![issuer, scope], crl).optional()?)
}

/// Every CRL ever published, by scope and number, without reading the CRLs themselves.
pub(super) fn visit(connection: &Connection, issuer: IssuerId, visit: &mut dyn FnMut(CrlHead)) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    let mut statement =
        connection.prepare_cached("SELECT scope, number, this_update, next_update FROM crl WHERE issuer = ?1 ORDER BY scope, number")?;
    let head =
        |row: &Row<'_>| Ok(CrlHead { scope: row.get(0)?, number: number(row, 1)?, this_update: row.get(2)?, next_update: row.get(3)? });
    for crl in statement.query_map([issuer], head)? {
        visit(crl?);
    }
    Ok(())
}

/// See [`crate::registry::Registry::next_crl_number`].
pub(super) fn next_number(connection: &Connection, issuer: IssuerId, scope: CrlScope) -> Outcome<u64> {
    let mut floor = connection.prepare_cached("SELECT crl_floor FROM issuer WHERE id = ?1")?;
    let floor: u64 = floor.query_row([issuer], |row| number(row, 0)).optional()?.ok_or(RegistryError::UnknownIssuer(issuer.0))?;
    let mut newest = connection.prepare_cached("SELECT max(number) FROM crl WHERE issuer = ?1 AND scope = ?2")?;
    let newest: Option<Number> = newest.query_row(params![issuer, scope], |row| row.get(0))?;
    let next = floor.max(newest.map_or(0, |Number(newest)| newest)) + 1;
    check(next).map(|()| next)
}

/// See [`crate::registry::Registry::publish_crl`].
pub(super) fn publish(connection: &Connection, issuer: IssuerId, crl: &CrlRecord) -> Outcome<()> {
    check(crl.number)?;
    let next = next_number(connection, issuer, crl.scope)?;
    if crl.number != next {
        let what = match crl.scope {
            CrlScope::Full => "the full CRL".to_owned(),
            CrlScope::Partition(n) => format!("the CRL of partition {n}"),
        };
        // In the error's words: the number that is there, and the one that the caller took to be there.
        return Err(RegistryError::Stale { what, found: next - 1, expected: crl.number.saturating_sub(1) }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO crl (issuer, scope, number, this_update, next_update, refresh_at, der) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![issuer, crl.scope, Number(crl.number), crl.this_update, crl.next_update, crl.refresh_at, &crl.der[..]])?;
    feed::append(connection, issuer, &ChangeKind::Crl(crl.scope))
}

/// See [`crate::registry::Registry::raise_crl_number`].
pub(super) fn raise_number(connection: &Connection, issuer: IssuerId, number: u64) -> Outcome<()> {
    issuers::require(connection, issuer)?;
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
