//! Issuers and the signers of their responses.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, Outcome};
use super::values::{HashSet, number};
use super::{crls, feed, packs};
use crate::registry::one_ca::{self, Named};
use crate::registry::{
    ChangeKind, Counts, CrlExtras, CrlScope, Issuer, IssuerId, IssuerMode, NewIssuer, Publication, RegistryError, Signer, SignerId,
};

const SELECT: &str = "SELECT id, name, certificate, mode, cert_id_hashes, crl_partitions, slot_bits, arl, full_delta, partition_deltas, arl_alone FROM issuer";

fn issuer(row: &Row<'_>) -> rusqlite::Result<Issuer> {
    let HashSet(cert_id_hashes) = row.get(4)?;
    let crl_extras = CrlExtras { arl: row.get(7)?, arl_alone: row.get(10)?, full_delta: row.get(8)?, partition_deltas: row.get(9)? };
    Ok(Issuer {
        id: row.get(0)?,
        name: row.get(1)?,
        certificate: row.get(2)?,
        mode: row.get(3)?,
        publication: Publication { cert_id_hashes, crl_partitions: row.get(5)?, crl_extras },
        slot_bits: row.get(6)?,
    })
}

/// See [`crate::registry::Registry::register_issuer`].
pub(super) fn register(connection: &Connection, new: &NewIssuer) -> Outcome<IssuerId> {
    if new.publication.cert_id_hashes.is_empty() {
        return Err(RegistryError::OutOfRange { field: "cert_id_hashes", found: "none".into(), wanted: "at least one".into() }.into());
    }
    let known = all(connection)?;
    let named: Vec<_> = known.iter().map(|known| Named { name: &known.name, certificate: &known.certificate }).collect();
    if let Some(conflict) = one_ca::conflict(&named, Named { name: &new.name, certificate: &new.certificate }) {
        return Err(RegistryError::IssuerConflict { name: new.name.clone(), conflict }.into());
    }
    let Some(known) = known.iter().find(|known| known.name == new.name) else { return insert(connection, new) };
    let mode = new.mode.max(mode_floor(connection, known.id)?);
    if known.mode != mode || known.publication != new.publication || known.certificate != new.certificate {
        let Publication { cert_id_hashes, crl_partitions, crl_extras } = &new.publication;
        let CrlExtras { arl, arl_alone, full_delta, partition_deltas } = crl_extras;
        connection
            .prepare_cached(
                "UPDATE issuer SET mode = ?2, cert_id_hashes = ?3, crl_partitions = ?4, arl = ?5, full_delta = ?6, partition_deltas = ?7,
                certificate = ?8, arl_alone = ?9 WHERE id = ?1",
            )?
            .execute(params![
                known.id,
                mode,
                HashSet(cert_id_hashes.clone()),
                crl_partitions,
                arl,
                full_delta,
                partition_deltas,
                new.certificate,
                arl_alone
            ])?;
        follow_publication(connection, known, &new.publication)?;
        feed::append(connection, known.id, &ChangeKind::Issuer)?;
    }
    Ok(known.id)
}

/// What is not published any more is not kept up to date, and must not come back as it was (rule C9): responses under a CertID hash that goes are forgotten, or when
/// it comes, for a worker may have gone on with it; and an ARL that comes back is due at once.
fn follow_publication(connection: &Connection, known: &Issuer, new: &Publication) -> Outcome<()> {
    let changed = known.publication.cert_id_hashes.symmetric_difference(&new.cert_id_hashes);
    changed.into_iter().try_for_each(|hash| packs::forget(connection, known.id, *hash))?;
    if new.crl_extras.arl && !known.publication.crl_extras.arl {
        crls::make_due(connection, known.id, CrlScope::Authorities)?;
    }
    Ok(())
}

/// What an order has closed stays closed (S5.2).
fn mode_floor(connection: &Connection, id: IssuerId) -> Outcome<IssuerMode> {
    Ok(connection.prepare_cached("SELECT mode_floor FROM issuer WHERE id = ?1")?.query_row([id], |row| row.get(0))?)
}

fn insert(connection: &Connection, new: &NewIssuer) -> Outcome<IssuerId> {
    let Publication { cert_id_hashes, crl_partitions, crl_extras } = &new.publication;
    let CrlExtras { arl, arl_alone, full_delta, partition_deltas } = crl_extras;
    let hashes = HashSet(cert_id_hashes.clone());
    connection
        .prepare_cached(
            "INSERT INTO issuer (name, certificate, mode, cert_id_hashes, crl_partitions, arl, full_delta, partition_deltas, arl_alone)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![new.name, new.certificate, new.mode, hashes, crl_partitions, arl, full_delta, partition_deltas, arl_alone])?;
    let id = IssuerId(connection.last_insert_rowid());
    feed::append(connection, id, &ChangeKind::Issuer)?;
    Ok(id)
}

/// Every issuer, in the order of registration.
pub(super) fn all(connection: &Connection) -> Outcome<Vec<Issuer>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY id"))?;
    Ok(statement.query_map([], issuer)?.collect::<rusqlite::Result<_>>()?)
}

/// How many certificates an issuer has: counters, not a scan.
pub(super) fn counts(connection: &Connection, id: IssuerId) -> Outcome<Counts> {
    let mut statement = connection.prepare_cached("SELECT good, revoked FROM issuer WHERE id = ?1")?;
    let counts = statement.query_row([id], |row| Ok(Counts { good: number(row, 0)?, revoked: number(row, 1)? })).optional()?;
    counts.ok_or_else(|| unknown(id))
}

/// Adjusts the counters by what a transaction has done.
pub(super) fn count(connection: &Connection, id: IssuerId, good: i64, revoked: i64) -> Outcome<()> {
    let mut statement = connection.prepare_cached("UPDATE issuer SET good = good + ?2, revoked = revoked + ?3 WHERE id = ?1")?;
    statement.execute(params![id, good, revoked])?;
    Ok(())
}

/// Fails where there is no such issuer; otherwise the bits of its slots.
pub(super) fn slot_bits(connection: &Connection, id: IssuerId) -> Outcome<u8> {
    let mut statement = connection.prepare_cached("SELECT slot_bits FROM issuer WHERE id = ?1")?;
    statement.query_row([id], |row| row.get(0)).optional()?.ok_or_else(|| unknown(id))
}

/// Fails where there is no such issuer.
pub(super) fn require(connection: &Connection, id: IssuerId) -> Outcome<()> {
    slot_bits(connection, id).map(|_| ())
}

fn unknown(id: IssuerId) -> Fault {
    RegistryError::UnknownIssuer(id.0).into()
}

/// See [`crate::registry::Registry::register_signer`].
pub(super) fn register_signer(connection: &Connection, id: IssuerId, signer: &Signer) -> Outcome<SignerId> {
    require(connection, id)?;
    let values = params![id, signer.key_hash, signer.algorithm, signer.certificate, signer.archive_cutoff];
    let known = connection
        .prepare_cached(
            "SELECT id FROM signer WHERE issuer = ?1 AND key_hash = ?2 AND algorithm = ?3 AND certificate IS ?4 AND archive_cutoff IS ?5",
        )?
        .query_row(values, |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(SignerId(known));
    }
    connection
        .prepare_cached("INSERT INTO signer (issuer, key_hash, algorithm, certificate, archive_cutoff) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(values)?;
    let row = connection.last_insert_rowid();
    let new = u32::try_from(row).map_err(|_| RegistryError::OutOfRange {
        field: "signer",
        found: row.to_string(),
        wanted: "at most 2^32 - 1".into(),
    })?;
    feed::append(connection, id, &ChangeKind::Signer)?;
    Ok(SignerId(new))
}

/// Every signer of an issuer, in the order of registration.
pub(super) fn signers(connection: &Connection, id: IssuerId) -> Outcome<Vec<(SignerId, Signer)>> {
    require(connection, id)?;
    let mut statement = connection
        .prepare_cached("SELECT id, key_hash, algorithm, certificate, archive_cutoff FROM signer WHERE issuer = ?1 ORDER BY id")?;
    let signer = |row: &Row<'_>| {
        let signer = Signer { key_hash: row.get(1)?, algorithm: row.get(2)?, certificate: row.get(3)?, archive_cutoff: row.get(4)? };
        Ok((SignerId(row.get(0)?), signer))
    };
    Ok(statement.query_map([id], signer)?.collect::<rusqlite::Result<_>>()?)
}
