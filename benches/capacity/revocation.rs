//! What a revocation costs in a map of many: the map's side of it, and the whole way from the registry to the first answer that says revoked.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use kakunin::pack::{Entry, Pack, PackBuilder};
use kakunin::pki::{CertificateStatus, Revocation, RevocationReason, SlotHash, SlotRange, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CertificateRecord, OnConflict, Registry, RevokeOutcome, SignerId};
use kakunin::responder::status_map::IssuerStatus;
use kakunin::signing::IssuerSigning;
use kakunin::signing::ocsp::{Extent, SlotJob, sign_slot};
use serde::{Deserialize, Serialize};

use super::content::Loaded;
use super::report::{BESIDE, Report, Wanted};
use super::world::{self, HASH, World};
use super::{Job, job, machine, registry};

/// Revocations that only the map sees.
const IN_MAP: usize = 9_000;
/// Revocations that go the whole way.
const WHOLE_WAY: usize = 300;

/// More than anything may take.
const LONGEST_NANOSECONDS: u64 = 60_000_000_000;

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

/// What was seen, in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Revoked {
    map: Percentiles,
    rewrite: Percentiles,
    commit: Percentiles,
    sign: Percentiles,
    publish: Percentiles,
    follow: Percentiles,
}

/// Adds the figures to the report.
pub(crate) fn measure(world: &World, _: u64, report: &mut Report) -> Result<()> {
    machine::require_memory(world.pack_octets())?;
    machine::require_disk(&world.directory, world.pack_octets())?;
    let revoked: Revoked = job(Job::Revoke, world, 1)?;
    let wanted = Wanted { must: "≤ 1", goal: "≤ 0.1" };
    let mut add = |name: &str, wanted, values: Percentiles| {
        report.add(format!("{name}, p50"), "ms", wanted, [values.p50]);
        report.add("  p99", "ms", wanted, [values.p99]);
    };
    add(&format!("from a changed pack's octets to the first answer `revoked` ({IN_MAP}×)"), wanted, revoked.map);
    add("before that, alone: the pack's octets written anew", BESIDE, revoked.rewrite);
    add(&format!("the whole way ({WHOLE_WAY}×): the revocation committed"), BESIDE, revoked.commit);
    add("  then: its slot signed (read, one P-256 signature, gate, pack)", BESIDE, revoked.sign);
    add("  then: the pack committed", BESIDE, revoked.publish);
    add("  then: the follower's step (feed, pack, map) and the answer", BESIDE, revoked.follow);
    Ok(())
}

/// Does it, on a copy of the registry.
pub(crate) fn work(world: &World) -> Result<Revoked> {
    let copy = world.directory.join("revocation.sqlite");
    let files = ["", "-wal", "-shm"].map(|suffix| world.directory.join(format!("revocation.sqlite{suffix}")));
    files.iter().filter(|file| file.exists()).try_for_each(fs::remove_file)?;
    fs::copy(world.registry(), &copy)?;
    let outcome = SqliteRegistry::open(&copy).map_err(Into::into).and_then(|registry| revoke(world, Arc::new(registry)));
    files.iter().filter(|file| file.exists()).try_for_each(fs::remove_file)?;
    outcome
}

fn revoke(world: &World, registry: Arc<dyn Registry>) -> Result<Revoked> {
    let mut loaded = Loaded::from(registry.clone())?;
    let (chosen, others) = chosen(world);
    let signing = registry::opened(registry.as_ref(), registry::responder_key(&world.responder_key())?, None)?;
    register(world, registry.as_ref(), &signing, &chosen)?;
    while loaded.follower.step(Timestamp::now())? {}
    let mut whole = [(); 4].map(|()| Times::default());
    for number in &chosen {
        revoke_whole_way(registry.as_ref(), &signing, &mut loaded, *number, &mut whole)?;
    }
    let (mut map, mut rewrite) = (Times::default(), Times::default());
    for number in others {
        revoke_in_map(world, &loaded, number, &mut rewrite, &mut map)?;
    }
    let [commit, sign, publish, follow] = whole.map(|times| times.percentiles());
    Ok(Revoked { map: map.percentiles(), rewrite: rewrite.percentiles(), commit, sign, publish, follow })
}

/// Certificates to revoke the whole way, and in the map only. No certificate is in both, and they come in no order.
fn chosen(world: &World) -> (Vec<u64>, Vec<u64>) {
    let mut seen = BTreeSet::new();
    let good = (0..).map(|index| world.some(index << 32)).filter(|number| world::status(*number) == CertificateStatus::Good);
    let mut chosen: Vec<u64> = good.filter(|number| seen.insert(*number)).take(WHOLE_WAY + IN_MAP).collect();
    let others = chosen.split_off(WHOLE_WAY);
    (chosen, others)
}

/// Makes the registry know the certificates of the slots that are to be signed: the rows of all others are nobody's concern here.
fn register(world: &World, registry: &dyn Registry, signing: &IssuerSigning, chosen: &[u64]) -> Result<()> {
    let bits = signing.issuer.slot_bits;
    let slot = |number: u64| SlotHash::from(&world::serial(number)).slot(bits);
    let slots: BTreeSet<u32> = chosen.iter().map(|number| slot(*number)).collect();
    let not_after = Timestamp::now().saturating_add(world::VALIDITY * 10);
    let record = |number| CertificateRecord {
        serial: world::serial(number),
        not_before: None,
        not_after,
        is_ca: false,
        partition: None,
        status: world::status(number),
        invalidity_date: None,
    };
    let mut records = (0..world.certificates).filter(|number| slots.contains(&slot(*number))).map(|number| Ok(record(number)));
    registry.add_certificates(signing.issuer.id, &mut records, OnConflict::Refuse, Timestamp::now())?;
    Ok(())
}

/// Every step as the signing worker and the follower take it, without their pauses (5 and 10 ms).
fn revoke_whole_way(
    registry: &dyn Registry,
    signing: &IssuerSigning,
    loaded: &mut Loaded,
    number: u64,
    [commit, sign, publish, follow]: &mut [Times; 4],
) -> Result<()> {
    let (serial, request, issuer) = (world::serial(number), world::request(&loaded.hashes, number), signing.issuer.id);
    ensure!(!loaded.is_revoked(&request)?, "certificate {number} is revoked already");
    let slot = SlotRange { bits: signing.issuer.slot_bits, slot: SlotHash::from(&serial).slot(signing.issuer.slot_bits) };
    let job = SlotJob { cert_id_hash: HASH, slot, extent: Extent::Changed };
    let revocation = Revocation { at: Timestamp::now(), reason: Some(RevocationReason::KeyCompromise) };
    let outcome = commit.time(|| registry.revoke(issuer, &serial, revocation, None, revocation.at))?;
    ensure!(outcome == RevokeOutcome::Revoked, "certificate {number}: {outcome:?}");
    let responder = signing.responder.as_ref().context("there is a responder")?;
    let signed = sign.time(|| sign_slot(registry, signing, responder, job, Timestamp::now(), &|| false))?;
    ensure!(signed.signatures == 1, "{} responses were signed instead of one", signed.signatures);
    publish.time(|| registry.publish_packs(issuer, slot.bits, &[signed.record]))?;
    follow.time(|| {
        while loaded.follower.step(Timestamp::now())? {}
        ensure!(loaded.is_revoked(&request)?, "certificate {number} is still good");
        Ok(())
    })
}

/// The map's side: the new octets are checked, the pack replaced and the old one freed, and the next request answered.
fn revoke_in_map(world: &World, loaded: &Loaded, number: u64, rewrite: &mut Times, map: &mut Times) -> Result<()> {
    let (status, request) = (loaded.status()?, world::request(&loaded.hashes, number));
    let slot = SlotHash::from(&world::serial(number)).slot(status.table().bits());
    let old = status.table().pack(slot).context("every slot has a pack")?;
    let blob = rewrite.time(|| rewritten(world, &status, &old, number))?;
    drop(old);
    ensure!(!loaded.is_revoked(&request)?, "certificate {number} is revoked already");
    map.time(|| {
        let pack = Pack::from_blob(blob, status.place(SlotRange { bits: status.table().bits(), slot }))?;
        let templates = status.templates();
        ensure!(pack.signings().all(|signing| templates.get(SignerId(signing.signer)).is_some()), "a pack by an unknown signer");
        ensure!(status.replace_pack(Arc::new(pack)), "the division has changed");
        ensure!(loaded.is_revoked(&request)?, "certificate {number} is still good");
        Ok(())
    })
}

/// A pack with one certificate revoked, by the same signing.
fn rewritten(world: &World, status: &IssuerStatus, old: &Pack, number: u64) -> Result<Vec<u8>> {
    let (serial, signature) = (world::serial(number), world.signature(number + 1));
    let revocation = Revocation { at: Timestamp::now(), reason: Some(RevocationReason::KeyCompromise) };
    let mut builder = PackBuilder::new(status.place(old.slot()), old.generation() + 1, old.refresh_at());
    for entry in old.entries() {
        let is_it = entry.serial == serial.as_der_content();
        let revoked = Entry { status: CertificateStatus::Revoked(revocation), raw_signature: &signature, ..entry };
        builder.push(if is_it { &revoked } else { &entry });
    }
    Ok(builder.build()?)
}

/// How long things took.
struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, 3).expect("the bounds are in order"))
    }
}

impl Times {
    fn time<T, E>(&mut self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = Instant::now();
        let value = work()?;
        self.0.saturating_record(start.elapsed().as_nanos() as u64);
        Ok(value)
    }

    fn percentiles(&self) -> Percentiles {
        let milliseconds = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        Percentiles { p50: milliseconds(0.5), p99: milliseconds(0.99) }
    }
}
