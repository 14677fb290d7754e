//! Response packs: one opaque blob for each issuer, CertID hash and slot.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, Outcome};
use super::values::{Number, number};
use super::{feed, issuers};
use crate::pki::{HashAlgorithm, SlotRange};
use crate::registry::{ChangeKind, IssuerId, PackHead, PackRecord, RegistryError};

fn head(row: &Row<'_>) -> rusqlite::Result<PackHead> {
    Ok(PackHead {
        cert_id_hash: row.get(0)?,
        slot: row.get(1)?,
        generation: number(row, 2)?,
        this_update: row.get(3)?,
        next_update: row.get(4)?,
        refresh_at: row.get(5)?,
    })
}

fn pack(row: &Row<'_>) -> rusqlite::Result<PackRecord> {
    Ok(PackRecord { head: head(row)?, blob: row.get(6)? })
}

/// The three ways to a pack, each through the index of its key.
const ONE: &str = "SELECT cert_id_hash, slot, generation, this_update, next_update, refresh_at, blob FROM response_pack
    WHERE issuer = ?1 AND cert_id_hash = ?2 AND slot = ?3";
const FROM_SLOT: &str = "SELECT cert_id_hash, slot, generation, this_update, next_update, refresh_at, blob, issuer FROM response_pack
    WHERE (issuer, cert_id_hash, slot) >= (?1, ?2, ?3) ORDER BY issuer, cert_id_hash, slot";
const REPLACE: &str = "UPDATE response_pack SET generation = ?4, this_update = ?5, next_update = ?6, refresh_at = ?7, blob = ?8
    WHERE issuer = ?1 AND cert_id_hash = ?2 AND slot = ?3";

/// Fails where there is no slot of that number among `2^bits`.
pub(super) fn check_slot(bits: u8, slot: u32) -> Outcome<()> {
    if bits > SlotRange::MAX_BITS {
        return Err(RegistryError::OutOfRange {
            field: "slot bits",
            found: bits.to_string(),
            wanted: format!("at most {}", SlotRange::MAX_BITS),
        }
        .into());
    }
    if u64::from(slot) >> bits != 0 {
        return Err(RegistryError::OutOfRange { field: "slot", found: slot.to_string(), wanted: format!("less than 2^{bits}") }.into());
    }
    Ok(())
}

/// The heads of all packs of an issuer, by CertID hash and slot.
pub(super) fn heads(connection: &Connection, issuer: IssuerId) -> Outcome<Vec<PackHead>> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(
        "SELECT cert_id_hash, slot, generation, this_update, next_update, refresh_at FROM response_pack INDEXED BY response_pack_head
         WHERE issuer = ?1 ORDER BY cert_id_hash, slot",
    )?;
    Ok(statement.query_map([issuer], head)?.collect::<rusqlite::Result<_>>()?)
}

/// One pack.
pub(super) fn one(connection: &Connection, issuer: IssuerId, hash: HashAlgorithm, slot: u32) -> Outcome<Option<PackRecord>> {
    issuers::require(connection, issuer)?;
    Ok(connection.prepare_cached(ONE)?.query_row(params![issuer, hash, slot], pack).optional()?)
}

/// See [`crate::registry::Registry::visit_packs`].
pub(super) fn visit(
    connection: &Connection,
    issuer: IssuerId,
    hash: HashAlgorithm,
    slots: Range<u32>,
    visit: &mut dyn FnMut(PackRecord),
) -> Outcome<()> {
    issuers::require(connection, issuer)?;
    let mut statement = connection.prepare_cached(FROM_SLOT)?;
    let mut rows = statement.query(params![issuer, hash, slots.start])?;
    while let Some(row) = rows.next()? {
        let head = head(row)?;
        if row.get::<_, IssuerId>(7)? != issuer || head.cert_id_hash != hash || head.slot >= slots.end {
            break;
        }
        visit(PackRecord { head, blob: row.get(6)? });
    }
    Ok(())
}

/// See [`crate::registry::Registry::publish_packs`].
pub(super) fn publish(connection: &Connection, issuer: IssuerId, slot_bits: u8, packs: &[PackRecord]) -> Outcome<()> {
    check_bits(connection, issuer, slot_bits)?;
    let mut slots: BTreeMap<HashAlgorithm, Vec<u32>> = BTreeMap::new();
    let mut generation = connection.prepare_cached(
        "SELECT generation FROM response_pack INDEXED BY response_pack_head WHERE issuer = ?1 AND cert_id_hash = ?2 AND slot = ?3",
    )?;
    for pack in packs {
        let head = &pack.head;
        check_slot(slot_bits, head.slot)?;
        let hash = head.cert_id_hash;
        let found: u64 = generation.query_row(params![issuer, hash, head.slot], |row| number(row, 0)).optional()?.unwrap_or(0);
        if found.checked_add(1) != Some(head.generation) {
            return stale(format!("pack of slot {} ({hash:?})", head.slot), found, head.generation.wrapping_sub(1));
        }
        if found == 0 {
            insert(connection, issuer, pack)?
        } else {
            replace(connection, issuer, pack)?
        }
        slots.entry(hash).or_default().push(head.slot);
    }
    slots.into_iter().try_for_each(|(hash, slots)| feed::append(connection, issuer, &ChangeKind::Packs(hash, slots)))
}

/// Removes all packs of a CertID hash.
pub(super) fn forget(connection: &Connection, issuer: IssuerId, hash: HashAlgorithm) -> Outcome<()> {
    connection.prepare_cached("DELETE FROM response_pack WHERE issuer = ?1 AND cert_id_hash = ?2")?.execute(params![issuer, hash])?;
    Ok(())
}

fn insert(connection: &Connection, issuer: IssuerId, pack: &PackRecord) -> Outcome<()> {
    write(connection, issuer, pack, "INSERT INTO response_pack VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
}

/// Not by INSERT OR REPLACE: before that SQLite notes every page that it changes in a temporary file, to undo the statement alone, and who commits then waits
/// for the file system to forget that file.
fn replace(connection: &Connection, issuer: IssuerId, pack: &PackRecord) -> Outcome<()> {
    write(connection, issuer, pack, REPLACE)
}

fn write(connection: &Connection, issuer: IssuerId, pack: &PackRecord, statement: &str) -> Outcome<()> {
    let PackHead { cert_id_hash, slot, generation, this_update, next_update, refresh_at } = pack.head;
    let mut statement = connection.prepare_cached(statement)?;
    statement.execute(params![issuer, cert_id_hash, slot, Number(generation), this_update, next_update, refresh_at, pack.blob])?;
    Ok(())
}

/// See [`crate::registry::Registry::regroup_packs`].
pub(super) fn regroup(
    connection: &Connection,
    issuer: IssuerId,
    from_bits: u8,
    to_bits: u8,
    generations: u64,
    packs: &mut dyn Iterator<Item = crate::registry::Result<PackRecord>>,
) -> Outcome<()> {
    check_bits(connection, issuer, from_bits)?;
    check_slot(to_bits, 0)?;
    let found = heads(connection, issuer)?.iter().map(|head| head.generation).sum();
    if found != generations {
        return stale("a pack (sum of generations)".into(), found, generations);
    }
    connection.prepare_cached("DELETE FROM response_pack WHERE issuer = ?1")?.execute([issuer])?;
    for pack in packs {
        let pack = pack?;
        check_slot(to_bits, pack.head.slot)?;
        insert(connection, issuer, &pack)?;
    }
    connection.prepare_cached("UPDATE issuer SET slot_bits = ?2 WHERE id = ?1")?.execute(params![issuer, to_bits])?;
    feed::append(connection, issuer, &ChangeKind::Issuer)
}

fn check_bits(connection: &Connection, issuer: IssuerId, expected: u8) -> Outcome<()> {
    let found = issuers::slot_bits(connection, issuer)?;
    if found == expected { Ok(()) } else { stale("another division into slots (bits)".into(), u64::from(found), u64::from(expected)) }
}

fn stale(what: String, found: u64, expected: u64) -> Outcome<()> {
    Err(Fault::Refused(RegistryError::Stale { what, found, expected }))
}

#[cfg(test)]
mod tests {
    use super::super::connection::Database;
    use super::*;

    /// Where the rows themselves are searched, SQLite reads the whole of each pack whose key it compares.
    #[test]
    fn a_pack_is_found_by_an_index_without_reading_others() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::create(&directory.path().join("r")).unwrap();
        let plan = |sql: &str| {
            let explain = |c: &Connection| -> Outcome<String> {
                Ok(c.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?
                    .raw_query()
                    .mapped(|row| row.get::<_, String>(3))
                    .collect::<rusqlite::Result<_>>()?)
            };
            database.read(explain).unwrap()
        };
        let by_index = "SEARCH response_pack USING INDEX sqlite_autoindex_response_pack_1 (issuer=? AND cert_id_hash=? AND slot=?)";
        assert_eq!([plan(ONE), plan(REPLACE)], [by_index, by_index]);
        assert_eq!(
            plan(FROM_SLOT),
            "SEARCH response_pack USING INDEX sqlite_autoindex_response_pack_1 ((issuer,cert_id_hash,slot)>(?,?,?))"
        );
    }
}
