//! Makes a registry of synthetic certificates' packs: a real CA with a delegated responder, its CRL, and every pack, published as the signing worker does.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use kakunin::issuance::{Issuer, Order, RootOrder, Validity, random_serial, responder_certificate, self_signed_root};
use kakunin::pack::{PackBuilder, PackPlace, Signing};
use kakunin::pki::{CertificateInfo, SlotHash, SlotRange, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CrlScope, IssuerId, IssuerMode, NewIssuer, PackHead, PackRecord, Publication, Registry};
use kakunin::signing::gate::Profile;
use kakunin::signing::{CrlPolicy, IssuerSigning, ResponseSigner, Timing, crl, describe_signer};
use kakunin::token::Key;
use kakunin::token::software::SoftwareKey;
use serde::{Deserialize, Serialize};

use super::world::{self, HASH, VALIDITY, World};
use super::{Job, job, machine, say};

/// What the issuer is called.
const NAME: &str = "capacity";
/// Packs published at once.
const PACKS_AT_ONCE: usize = 64;
/// A registry that is older is made anew: its responses have a day left.
const FRESH: Duration = Duration::from_secs(6 * 86_400);
/// Written last: what has none is not whole.
const WHOLE: &str = "whole";
/// The number of a certificate is kept in four octets while they are sorted.
const NUMBER_OCTETS: u64 = 4;

/// What came of making a registry.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Built {
    packs: usize,
}

/// Makes the world's registry, or takes the one that is there.
pub(crate) fn ensure(world: &World) -> Result<()> {
    let whole = world.directory.join(WHOLE);
    let age = fs::metadata(&whole).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age < FRESH) {
        return say(&format!("takes the registry in {}", world.directory.display()));
    }
    if world.directory.exists() {
        fs::remove_dir_all(&world.directory)?;
    }
    fs::create_dir_all(&world.directory).with_context(|| format!("--directory: {}", world.directory.display()))?;
    machine::require_memory(world.certificates * NUMBER_OCTETS)?;
    machine::require_disk(&world.directory, world.pack_octets())?;
    say(&format!("makes a registry of {} certificates ({}) in {}", world.certificates, world.key, world.directory.display()))?;
    let built: Result<Built> = job(Job::Build, world, 1);
    if let Err(e) = built {
        fs::remove_dir_all(&world.directory)?;
        return Err(e);
    }
    Ok(fs::write(whole, "")?)
}

/// Does it.
pub(crate) fn build(world: &World) -> Result<Built> {
    let registry = SqliteRegistry::create(&world.registry())?;
    let (now, signing) = found(world, &registry)?;
    let empty_crl = crl::issue(&registry, &signing, signing.crl_key.as_deref().context("the CA has a key")?, CrlScope::Full, now)?;
    registry.publish_crls(signing.issuer.id, &empty_crl, u32::MAX)?;
    let bits = SlotRange::bits_for(world.certificates);
    registry.regroup_packs(signing.issuer.id, 0, bits, 0, &mut std::iter::empty())?;
    publish(world, &registry, &signing, bits, now)?;
    let configuration = "base_url = \"http://127.0.0.1\"\n[registry]\nsqlite = \"registry.sqlite\"\n\
        [responder]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(world.config(), configuration)?;
    Ok(Built { packs: 1 << bits })
}

/// A CA and its responder, registered.
fn found(world: &World, registry: &dyn Registry) -> Result<(Timestamp, IssuerSigning)> {
    let random = SystemRandom::new();
    let now = Timestamp::now();
    let validity = |years: u32| Validity { not_before: now, not_after: now.saturating_add(Duration::from_secs(365 * 86_400) * years) };
    let ca_key = Arc::new(SoftwareKey::generate(world.key)?);
    let order =
        RootOrder { subject: "CN=Capacity CA,O=Kakunin,C=JP", serial: random_serial(&random)?, validity: validity(2), signs_ocsp: false };
    let ca = CertificateInfo::from_der(&self_signed_root(&order, ca_key.as_ref())?)?;
    let responder_key = SoftwareKey::generate(world.key)?;
    responder_key.create_file(&world.responder_key())?;
    let spki = kakunin::token::SigningKey::public_key(&responder_key);
    let order =
        Order { subject: "CN=Capacity OCSP Responder,O=Kakunin,C=JP", spki, serial: random_serial(&random)?, validity: validity(1) };
    let responder = CertificateInfo::from_der(&responder_certificate(&Issuer::new(ca.clone(), ca_key.clone())?, &order)?)?;

    let publication = Publication { cert_id_hashes: [HASH].into(), crl_partitions: 0, crl_extras: Default::default() };
    let id =
        registry.register_issuer(&NewIssuer { name: NAME.into(), certificate: ca.der.clone(), mode: IssuerMode::Open, publication })?;
    let key: Key = Arc::new(responder_key);
    registry.register_signer(id, &describe_signer(&key, &ca, Some(&responder), &Profile::default(), Default::default())?)?;
    let signing = opened(registry, key, Some(ca_key))?;
    Ok((now, signing))
}

/// What signs for the world's issuer: the key is the responder's.
pub(crate) fn opened(registry: &dyn Registry, key: Key, crl_key: Option<Key>) -> Result<IssuerSigning> {
    let issuer = registry.issuers()?.into_iter().next().context("the registry has an issuer")?;
    let certificate = CertificateInfo::from_der(&issuer.certificate)?;
    let (id, signer) = registry.signers(issuer.id)?.into_iter().next().context("the registry has a signer")?;
    let timing = Timing { validity: VALIDITY + Duration::from_secs(1), refresh: VALIDITY / 2 };
    let responder = Some(ResponseSigner { key, signer, id, not_after: certificate.not_after });
    let base_url = "http://127.0.0.1".to_owned();
    let profile = Profile::default();
    Ok(IssuerSigning {
        issuer,
        certificate,
        responder,
        crl_key,
        ocsp_timing: timing,
        crl_policy: CrlPolicy::new(timing),
        base_url,
        profile,
        replaces_future: false,
    })
}

/// Opens the key of the world's responder.
pub(crate) fn responder_key(path: &Path) -> Result<Key> {
    Ok(Arc::new(SoftwareKey::open(path, None)?))
}

fn publish(world: &World, registry: &dyn Registry, signing: &IssuerSigning, bits: u8, now: Timestamp) -> Result<()> {
    let place = PackPlace::new(&world::hashes(&signing.certificate.der)?, SlotRange::ALL);
    let responder = signing.responder.as_ref().context("there is a responder")?;
    let (next_update, signer) = (now.saturating_add(VALIDITY), responder.id.0);
    let refresh_at = now.saturating_add(VALIDITY / 2);
    let (ends, numbers) = by_slot(world, bits)?;
    let record = |slot: u32| {
        let start = slot.checked_sub(1).map_or(0, |before| ends[before as usize] as usize);
        let mut builder = PackBuilder::new(place.with_slot(SlotRange { bits, slot }), 1, refresh_at);
        for number in &numbers[start..ends[slot as usize] as usize] {
            world.push(&mut builder, u64::from(*number), Signing { this_update: now, next_update, signer, refresh_at });
        }
        let head = PackHead { cert_id_hash: HASH, slot, generation: 1, this_update: now, next_update, refresh_at };
        Ok(PackRecord { head, blob: builder.build()? })
    };
    let slots: Vec<u32> = (0..1 << bits).collect();
    let tenth = slots.len().div_ceil(10).next_multiple_of(PACKS_AT_ONCE);
    for some in slots.chunks(PACKS_AT_ONCE) {
        if (some[0] as usize).is_multiple_of(tenth) {
            say(&format!("publishes packs: {} of {}", some[0], slots.len()))?;
        }
        let packs = some.iter().map(|slot| record(*slot)).collect::<Result<Vec<_>>>()?;
        publish_some(registry, signing.issuer.id, bits, &packs)?;
    }
    Ok(())
}

fn publish_some(registry: &dyn Registry, issuer: IssuerId, bits: u8, packs: &[PackRecord]) -> Result<()> {
    registry.publish_packs(issuer, bits, packs).context("publishing packs")
}

/// The numbers of all certificates, slot after slot, and where each slot ends.
fn by_slot(world: &World, bits: u8) -> Result<(Vec<u32>, Vec<u32>)> {
    let Ok(count) = u32::try_from(world.certificates) else { bail!("--certificates: found {}, wanted less than 2^32", world.certificates) };
    let slot = |number: u32| SlotHash::from(&world::serial(number.into())).slot(bits) as usize;
    let mut ends = vec![0u32; 1 << bits];
    (0..count).for_each(|number| ends[slot(number)] += 1);
    let mut before = 0;
    for end in &mut ends {
        (*end, before) = (before, before + *end);
    }
    let mut numbers = vec![0; count as usize];
    for number in 0..count {
        let place = &mut ends[slot(number)];
        numbers[*place as usize] = number;
        *place += 1;
    }
    Ok((ends, numbers))
}
