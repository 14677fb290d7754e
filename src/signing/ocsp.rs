//! Signing the OCSP responses of one slot.

use std::collections::{BTreeMap, HashMap};

use super::gate::sampling::{self, Look};
use super::gate::{self, CertificateTruth, IssuerFacts, PreviousResponse, Refusal, ResponseContext, SignerFacts};
use super::schedule::{self, Phase, SlotTurns};
use super::{IssuerSigning, ResponseSigner, SigningError, Stopped};
use crate::pack::{Entry, MAX_SIGNINGS, Pack, PackBuilder, PackPlace, Signing};
use crate::pki::ocsp_response::{ResponseTemplate, SingleResponse};
use crate::pki::{HashAlgorithm, IssuerHashes, Serial, SlotHash, SlotRange, Timestamp, ecdsa};
use crate::registry::{PackHead, PackRecord, Registry};

/// How much of a slot is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// What is new or has another status, and as many of the others as are signed at one of its turns: the oldest ([`SlotTurns::wanted`]).
    Turn,
    /// What is new or has another status than published; the other responses stay as they are.
    Changed,
    /// The same, because of new certificates, or of what nobody knows: a revocation that is known of does not wait for it.
    New,
}

/// The pack of one slot, ready to publish.
pub struct SignedPack {
    /// The pack.
    pub record: PackRecord,
    /// How many responses were signed for it.
    pub signatures: u64,
}

/// What is to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotJob {
    /// For which CertID hash.
    pub cert_id_hash: HashAlgorithm,
    /// Which slot.
    pub slot: SlotRange,
    /// How much of it.
    pub extent: Extent,
}

/// Signs the responses of one slot for one CertID hash.
///
/// The published pack is read *before* the certificates: whoever publishes in between makes [`Registry::publish_packs`] refuse this one, so that no status
/// that was read earlier ever replaces one that was read later. Between two signatures it is asked whether to stop: then nothing comes of it.
pub fn sign_slot(
    registry: &dyn Registry,
    signing: &IssuerSigning,
    responder: &ResponseSigner,
    job: SlotJob,
    now: Timestamp,
    stopped: Stopped<'_>,
) -> Result<SignedPack, SigningError> {
    let hashes = IssuerHashes::of(&signing.certificate, job.cert_id_hash);
    let place = PackPlace::new(&hashes, job.slot);
    let published = registry.pack(signing.issuer.id, job.cert_id_hash, job.slot.slot)?;
    let generation = published.as_ref().map_or(0, |p| p.head.generation) + 1;
    // A pack that cannot be read is replaced as a whole.
    let old = published.and_then(|record| Pack::from_blob(record.blob, place).ok());
    let newest = old.as_ref().and_then(|pack| pack.signings().map(|s| s.this_update).max());
    signing.not_before(newest, now, || format!("slot {} of issuer '{}'", job.slot.slot, signing.issuer.name))?;

    if responder.not_after <= now {
        return Err(SigningError::SignerEnded(responder.not_after));
    }
    let turns = SlotTurns::new(job.slot, Phase::of_issuer(&signing.issuer.name), signing.ocsp_timing);
    let next_update = schedule::next_update(now, signing.ocsp_timing.validity, responder.not_after);
    let issuer = IssuerFacts::of(&signing.certificate, signing.profile.clone())?;
    let signer = SlotSigner {
        signing,
        responder,
        old: old.as_ref(),
        signed_by: SignerFacts::new(&responder.signer, &issuer)?,
        issuer,
        cert_id_hash: job.cert_id_hash,
        template: responder.signer.template(&hashes),
        fresh: Signing { this_update: now, next_update, signer: responder.id.0, refresh_at: now },
        turns,
        stopped,
    };
    let reusable = match old.as_ref().filter(|pack| pack.signings().len() < MAX_SIGNINGS) {
        Some(pack) => reusable(pack, job.extent, &turns, responder, now),
        // Unreadable, or with a full table of signings: everything is signed.
        None => HashMap::new(),
    };
    let mut parts = Vec::new();
    registry.visit_certificates(signing.issuer.id, job.slot, &mut |record| {
        let kept = reusable.get(record.serial.as_der_content()).filter(|entry| entry.status == record.status);
        let truth = CertificateTruth { status: record.status, is_ca: record.is_ca };
        parts.push(kept.map_or(Part::Fresh(record.serial, truth), |entry| Part::Kept(*entry)));
    })?;
    signer.pack(&parts, job, place, generation)
}

/// One response of the slot.
enum Part<'a> {
    /// Stays as it was published.
    Kept(Entry<'a>),
    /// Is signed.
    Fresh(Serial, CertificateTruth),
}

/// The published responses that may stay, each until its turn, whoever signed it: not those that have ended or not begun, nor those whose signature is of
/// another length.
fn reusable<'a>(
    old: &'a Pack,
    extent: Extent,
    turns: &SlotTurns,
    responder: &ResponseSigner,
    now: Timestamp,
) -> HashMap<&'a [u8], Entry<'a>> {
    let mut entries: Vec<Entry<'_>> = old.entries().collect();
    let wanted = match extent {
        Extent::Changed | Extent::New => 0,
        Extent::Turn => {
            entries.sort_by_key(|entry| entry.signing.this_update);
            let times: Vec<_> = entries.iter().map(|entry| (entry.signing.this_update, entry.signing.next_update)).collect();
            turns.wanted(&times, now)
        }
    };
    let length = responder.key.key_algorithm().raw_signature_length();
    let is_valid = |signing: &Signing| signing.this_update <= now && now < signing.next_update;
    let may_stay = |entry: &Entry<'_>| is_valid(&entry.signing) && entry.raw_signature.len() == length;
    entries.into_iter().skip(wanted).filter(may_stay).map(|entry| (entry.serial, entry)).collect()
}

/// What tells one signing from another: thisUpdate comes first.
type SigningOrder = (Timestamp, Timestamp, u32);

fn order(signing: &Signing) -> SigningOrder {
    (signing.this_update, signing.next_update, signing.signer)
}

struct SlotSigner<'a> {
    signing: &'a IssuerSigning,
    responder: &'a ResponseSigner,
    /// What is published.
    old: Option<&'a Pack>,
    cert_id_hash: HashAlgorithm,
    /// What the gate goes by.
    issuer: IssuerFacts,
    signed_by: SignerFacts,
    template: ResponseTemplate,
    fresh: Signing,
    turns: SlotTurns,
    stopped: Stopped<'a>,
}

impl SlotSigner<'_> {
    fn pack(&self, parts: &[Part<'_>], job: SlotJob, place: PackPlace, generation: u64) -> Result<SignedPack, SigningError> {
        let plan = self.plan(parts);
        let earliest = |time: fn(&Signing) -> Timestamp| plan.values().map(time).min().unwrap_or(time(&self.fresh));
        let (this_update, next_update) = (earliest(|s| s.this_update), earliest(|s| s.next_update));
        let latest = self.turns.latest(self.fresh.this_update, self.fresh.next_update);
        let refresh_at = plan.values().map(|s| s.refresh_at).min().unwrap_or(latest);
        let mut builder = PackBuilder::new(place, generation, refresh_at);
        let mut signatures = 0;
        for part in parts {
            match part {
                Part::Kept(entry) => builder.push(&Entry { signing: plan[&order(&entry.signing)], ..*entry }),
                Part::Fresh(..) if (self.stopped)() => return Err(SigningError::Stopped),
                Part::Fresh(serial, truth) => {
                    let raw_signature = self.sign(serial, *truth, signatures == 0)?;
                    builder.push(&Entry {
                        serial: serial.as_der_content(),
                        status: truth.status,
                        signing: plan[&order(&self.fresh)],
                        raw_signature: &raw_signature,
                    });
                    signatures += 1;
                }
            }
        }
        let slot = job.slot.slot;
        let blob = builder.build().map_err(|source| SigningError::Pack { slot, source })?;
        let head = PackHead { cert_id_hash: job.cert_id_hash, slot, generation, this_update, next_update, refresh_at };
        Ok(SignedPack { record: PackRecord { head, blob }, signatures })
    }

    /// Every signing of the pack, the oldest first, each with its turn: the turn of its first response, unless that cannot wait so long.
    fn plan(&self, parts: &[Part<'_>]) -> BTreeMap<SigningOrder, Signing> {
        let signing_of = |part: &Part<'_>| if let Part::Kept(entry) = part { entry.signing } else { self.fresh };
        let mut numbers: BTreeMap<SigningOrder, (Signing, usize)> = BTreeMap::new();
        for signing in parts.iter().map(signing_of) {
            numbers.entry(order(&signing)).or_insert((signing, 0)).1 += 1;
        }
        let mut older = 0;
        let planned = numbers.into_iter().map(|(order, (signing, number))| {
            let turn = self.turns.next_of(older, parts.len(), self.fresh.this_update);
            older += number;
            (order, Signing { refresh_at: turn.min(self.turns.latest(signing.this_update, signing.next_update)), ..signing })
        });
        planned.collect()
    }

    /// Signs one response, and lets the gate see it where [`sampling`] says so.
    fn sign(&self, serial: &Serial, truth: CertificateTruth, first: bool) -> Result<Vec<u8>, SigningError> {
        let single = SingleResponse {
            serial: serial.as_der_content(),
            status: truth.status,
            this_update: self.fresh.this_update,
            next_update: self.fresh.next_update,
        };
        let algorithm = self.responder.signer.algorithm;
        let signature = self.responder.key.sign(&self.template.to_be_signed(&single))?;
        let raw = if algorithm.is_ecdsa() {
            let length = self.responder.key.key_algorithm().raw_signature_length();
            ecdsa::raw_from_der(&signature, length).ok_or_else(|| gate::unusable_signature(algorithm))?
        } else {
            signature
        };
        self.pass_gate(&single, truth, &raw, first)?;
        Ok(raw)
    }

    fn pass_gate(&self, single: &SingleResponse<'_>, truth: CertificateTruth, raw_signature: &[u8], first: bool) -> Result<(), Refusal> {
        let hash = SlotHash::of_content(single.serial);
        let published = self.old.and_then(|pack| pack.lookup(hash, single.serial));
        let look = sampling::look(first, hash, single.status, published.map(|entry| entry.status), self.fresh.this_update);
        if look == Look::None {
            return Ok(());
        }
        let context = ResponseContext {
            issuer: &self.issuer,
            signer: &self.signed_by,
            cert_id_hash: self.cert_id_hash,
            serial: single.serial,
            truth: Some(truth),
            previous: published
                .map(|e| PreviousResponse { this_update: e.signing.this_update.min(self.fresh.this_update), status: e.status }),
            timing: Some(self.signing.ocsp_timing),
            pre_produced: true,
            verify_signature: look == Look::RulesAndSignature,
            now: self.fresh.this_update,
        };
        let findings = gate::check_response(&self.template.response(single, raw_signature), &context);
        Refusal::unless_clean(findings, || {
            format!("OCSP response ({}) for serial {}", self.cert_id_hash.name(), serial_text(single.serial))
        })
    }
}

fn serial_text(content: &[u8]) -> String {
    Serial::from_der_content(content).map_or_else(|e| e.to_string(), |serial| serial.to_string())
}
