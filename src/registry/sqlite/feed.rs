//! The change feed: rows are numbered by the one writer at a time that SQLite allows, so their order is the order of commits.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Outcome;
use super::values::number;
use crate::pki::{HashAlgorithm, SlotHash};
use crate::registry::{Change, ChangeKind, CrlPlace, CrlScope, IssuerId, RegistryError};

/// Items of one row: bounds what a consumer must hold (768 KiB).
const ROW_ITEMS: usize = 65_536;
/// Stand for [`CrlPlace::Nowhere`] and [`CrlPlace::Authorities`] in a packed revocation.
const NOWHERE: u32 = u32::MAX;
const AUTHORITIES: u32 = u32::MAX - 1;
/// The greatest partition that can be told of.
pub(super) const MAX_PARTITION: u32 = u32::MAX - 2;
/// The name under which it is noted, among the watermarks, how far the feed has been forgotten.
const PRUNED: &str = "registry/pruned";

const ISSUER: u8 = 1;
const CERTIFICATES: u8 = 2;
const REVOCATIONS: u8 = 3;
const PACKS: u8 = 4;
const CRL: u8 = 5;
const SIGNER: u8 = 6;
/// Nobody writes it; whatever is none of the others is read as if it were this.
const UNREADABLE: u8 = 0;
/// First octets of the payload of a CRL that is neither full nor a partition's.
const ARL: u8 = 1;
const DELTA: u8 = 2;

/// Appends a change, in as many rows as its items need; none where it has room for items and holds none.
pub(super) fn append(connection: &Connection, issuer: IssuerId, kind: &ChangeKind) -> Outcome<()> {
    let row = |code: u8, payload: Vec<u8>| -> Outcome<()> {
        let mut insert = connection.prepare_cached("INSERT INTO change (issuer, kind, payload) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![issuer, code, payload])?;
        Ok(())
    };
    match kind {
        ChangeKind::Issuer => row(ISSUER, Vec::new()),
        ChangeKind::Signer => row(SIGNER, Vec::new()),
        ChangeKind::Unreadable => row(UNREADABLE, Vec::new()),
        ChangeKind::Crl(CrlScope::Full) => row(CRL, Vec::new()),
        ChangeKind::Crl(CrlScope::Partition(n)) => row(CRL, n.to_be_bytes().to_vec()),
        ChangeKind::Crl(CrlScope::Authorities) => row(CRL, vec![ARL]),
        ChangeKind::Crl(CrlScope::FullDelta) => row(CRL, vec![DELTA]),
        ChangeKind::Crl(CrlScope::PartitionDelta(n)) => row(CRL, [&[DELTA][..], &n.to_be_bytes()].concat()),
        ChangeKind::Certificates(hashes) => {
            hashes.chunks(ROW_ITEMS).try_for_each(|chunk| row(CERTIFICATES, chunk.iter().flat_map(|hash| hash.0.to_be_bytes()).collect()))
        }
        ChangeKind::Revocations(items) => items.chunks(ROW_ITEMS).try_for_each(|chunk| {
            let place = |place: &CrlPlace| match place {
                CrlPlace::Nowhere => NOWHERE,
                CrlPlace::Partition(n) => *n,
                CrlPlace::Authorities => AUTHORITIES,
            };
            let item = |(hash, at): &(SlotHash, CrlPlace)| hash.0.to_be_bytes().into_iter().chain(place(at).to_be_bytes());
            row(REVOCATIONS, chunk.iter().flat_map(item).collect())
        }),
        ChangeKind::Packs(hash, slots) => slots
            .chunks(ROW_ITEMS)
            .try_for_each(|chunk| row(PACKS, [hash.code()].into_iter().chain(chunk.iter().flat_map(|slot| slot.to_be_bytes())).collect())),
    }
}

/// Gathers the certificate changes of one transaction and writes a row whenever one is full.
pub(super) struct Collector<'c> {
    connection: &'c Connection,
    issuer: IssuerId,
    added: Vec<SlotHash>,
    revoked: Vec<(SlotHash, CrlPlace)>,
}

impl<'c> Collector<'c> {
    /// An empty one.
    pub(super) fn new(connection: &'c Connection, issuer: IssuerId) -> Collector<'c> {
        Collector { connection, issuer, added: Vec::new(), revoked: Vec::new() }
    }

    /// A certificate was added as good.
    pub(super) fn added(&mut self, hash: SlotHash) -> Outcome<()> {
        self.added.push(hash);
        if self.added.len() == ROW_ITEMS { self.finish() } else { Ok(()) }
    }

    /// A certificate became revoked or was added as revoked.
    pub(super) fn revoked(&mut self, hash: SlotHash, place: CrlPlace) -> Outcome<()> {
        self.revoked.push((hash, place));
        if self.revoked.len() == ROW_ITEMS { self.finish() } else { Ok(()) }
    }

    /// Writes what has been gathered.
    pub(super) fn finish(&mut self) -> Outcome<()> {
        append(self.connection, self.issuer, &ChangeKind::Certificates(std::mem::take(&mut self.added)))?;
        append(self.connection, self.issuer, &ChangeKind::Revocations(std::mem::take(&mut self.revoked)))
    }
}

fn decode(code: u8, payload: &[u8]) -> Option<ChangeKind> {
    Some(match (code, payload) {
        (ISSUER, []) => ChangeKind::Issuer,
        (SIGNER, []) => ChangeKind::Signer,
        (CRL, []) => ChangeKind::Crl(CrlScope::Full),
        (CRL, [ARL]) => ChangeKind::Crl(CrlScope::Authorities),
        (CRL, [DELTA]) => ChangeKind::Crl(CrlScope::FullDelta),
        (CRL, [DELTA, partition @ ..]) if partition.len() == 4 => ChangeKind::Crl(CrlScope::PartitionDelta(be_u32(partition)?)),
        (CRL, partition) => ChangeKind::Crl(CrlScope::Partition(be_u32(partition)?)),
        (CERTIFICATES, hashes) => {
            let (hashes, []) = hashes.as_chunks() else { return None };
            ChangeKind::Certificates(hashes.iter().map(|hash| SlotHash(u64::from_be_bytes(*hash))).collect())
        }
        (REVOCATIONS, items) => {
            let (items, []) = items.as_chunks::<12>() else { return None };
            ChangeKind::Revocations(items.iter().map(|item| revocation(*item)).collect())
        }
        (PACKS, [hash, slots @ ..]) => {
            let (slots, []) = slots.as_chunks() else { return None };
            ChangeKind::Packs(HashAlgorithm::from_code(*hash)?, slots.iter().map(|slot| u32::from_be_bytes(*slot)).collect())
        }
        _ => return None,
    })
}

fn be_u32(octets: &[u8]) -> Option<u32> {
    octets.try_into().ok().map(u32::from_be_bytes)
}

fn revocation([a, b, c, d, e, f, g, h, place @ ..]: [u8; 12]) -> (SlotHash, CrlPlace) {
    let place = match u32::from_be_bytes(place) {
        NOWHERE => CrlPlace::Nowhere,
        AUTHORITIES => CrlPlace::Authorities,
        partition => CrlPlace::Partition(partition),
    };
    (SlotHash(u64::from_be_bytes([a, b, c, d, e, f, g, h])), place)
}

/// The sequence number of the newest change, pruned or not; 0 where there never was one.
pub(super) fn last(connection: &Connection) -> Outcome<u64> {
    let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'change'")?;
    Ok(statement.query_row([], |row| number(row, 0)).optional()?.unwrap_or(0))
}

/// See [`crate::registry::Registry::changes_after`].
pub(super) fn after(connection: &Connection, sequence: u64, limit: usize) -> Outcome<Vec<Change>> {
    // Two statements would take twice the time: nearly all of it goes into taking and leaving a snapshot.
    let mut statement = connection.prepare_cached(
        "SELECT * FROM (SELECT sequence, issuer, kind, payload FROM change WHERE sequence > ?1 ORDER BY sequence LIMIT ?2)
         UNION ALL SELECT sequence, NULL, NULL, NULL FROM watermark WHERE consumer = ?3",
    )?;
    let mut rows = statement.query(params![clamp(sequence), i64::try_from(limit).unwrap_or(i64::MAX), PRUNED])?;
    let (mut changes, mut pruned) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (sequence, code) = (number(row, 0)?, row.get(2)?);
        let Some(code) = code else {
            pruned = sequence;
            continue;
        };
        let payload = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let kind = decode(code, payload).unwrap_or_else(|| {
            tracing::error!("change {sequence} of kind {code} cannot be read: whatever it told of is looked at again");
            ChangeKind::Unreadable
        });
        changes.push(Change { sequence, issuer: row.get(1)?, kind });
    }
    if sequence < pruned {
        return Err(RegistryError::FeedPruned { asked: sequence, pruned }.into());
    }
    Ok(changes)
}

/// How far a consumer has come.
pub(super) fn watermark(connection: &Connection, consumer: &str) -> Outcome<u64> {
    let mut statement = connection.prepare_cached("SELECT sequence FROM watermark WHERE consumer = ?1")?;
    Ok(statement.query_row([consumer], |row| number(row, 0)).optional()?.unwrap_or(0))
}

/// See [`crate::registry::Registry::watermarks`].
pub(super) fn watermarks(connection: &Connection) -> Outcome<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached("SELECT consumer, sequence FROM watermark WHERE consumer <> ?1 ORDER BY consumer")?;
    Ok(statement.query_map([PRUNED], |row| Ok((row.get(0)?, number(row, 1)?)))?.collect::<rusqlite::Result<_>>()?)
}

/// Moves a consumer forward, never back.
pub(super) fn set_watermark(connection: &Connection, consumer: &str, sequence: u64) -> Outcome<()> {
    let Ok(sequence) = i64::try_from(sequence) else {
        return Err(RegistryError::OutOfRange { field: "watermark", found: sequence.to_string(), wanted: "at most 2^63 - 1".into() }.into());
    };
    connection
        .prepare_cached(
            "INSERT INTO watermark (consumer, sequence) VALUES (?1, ?2)
             ON CONFLICT (consumer) DO UPDATE SET sequence = excluded.sequence WHERE excluded.sequence > sequence",
        )?
        .execute(params![consumer, sequence])?;
    Ok(())
}

/// Forgets changes up to `sequence`. AUTOINCREMENT never gives their numbers again.
pub(super) fn prune(connection: &Connection, sequence: u64) -> Outcome<()> {
    connection.prepare_cached("DELETE FROM change WHERE sequence <= ?1")?.execute([clamp(sequence)])?;
    set_watermark(connection, PRUNED, sequence.min(last(connection)?))
}

/// See [`crate::registry::Registry::pruned_changes`].
pub(super) fn pruned(connection: &Connection) -> Outcome<u64> {
    watermark(connection, PRUNED)
}

/// No sequence number is greater than the greatest that the column holds.
pub(super) fn clamp(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
