//! Mass revocation: every certificate of an issuer at once.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::fault::Outcome;
use super::values::Number;
use super::{feed, issuers};
use crate::pki::{Revocation, SlotHash, Timestamp};
use crate::registry::{CrlPlace, IssuerId};

/// Certificates that are revoked between two reports of progress; bounds what is held in memory.
const AT_ONCE: u32 = 10_000;

/// The hash of the last certificate of a step that begins with a hash; none where the step would not be full.
const LAST_OF_STEP: &str = "SELECT slot_hash FROM certificate WHERE issuer = ?1 AND slot_hash >= ?2 ORDER BY slot_hash LIMIT 1 OFFSET ?3";
const GOOD_OF_STEP: &str =
    "SELECT slot_hash, is_ca, partition FROM certificate WHERE issuer = ?1 AND slot_hash BETWEEN ?2 AND ?3 AND status = 0";
const REVOKE_STEP: &str =
    "UPDATE certificate SET status = 1, revoked_at = :at, reason = :reason, recorded_at = :now, recorded_change = :change
    WHERE issuer = :issuer AND slot_hash BETWEEN :first AND :last AND status = 0";

/// See [`crate::registry::Registry::revoke_all`].
pub(super) fn revoke_all(
    connection: &Connection,
    issuer: IssuerId,
    revocation: Revocation,
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Outcome<u64> {
    issuers::require(connection, issuer)?;
    let change = feed::last(connection)? + 1;
    let mut feed = feed::Collector::new(connection, issuer);
    let (mut first, mut revoked) = (SlotHash(0), 0);
    loop {
        let full: Option<SlotHash> =
            connection.prepare_cached(LAST_OF_STEP)?.query_row(params![issuer, first, AT_ONCE - 1], |row| row.get(0)).optional()?;
        let last = full.unwrap_or(SlotHash(u64::MAX));
        let mut good = connection.prepare_cached(GOOD_OF_STEP)?;
        for certificate in good.query_map(params![issuer, first, last], |row| Ok((row.get(0)?, CrlPlace::of(row.get(1)?, row.get(2)?))))? {
            let (hash, place) = certificate?;
            feed.revoked(hash, place)?;
        }
        revoked += connection.prepare_cached(REVOKE_STEP)?.execute(named_params! {
            ":at": revocation.at,
            ":reason": revocation.reason,
            ":now": now,
            ":change": Number(change),
            ":issuer": issuer,
            ":first": first,
            ":last": last,
        })? as u64;
        progress(revoked);
        match last.0.checked_add(1) {
            Some(next) if full.is_some() => first = SlotHash(next),
            _ => break,
        }
    }
    feed.finish()?;
    issuers::count(connection, issuer, -(revoked as i64), revoked as i64)?;
    Ok(revoked)
}
