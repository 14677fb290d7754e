//! Certificates for the inputs of an order: vetted and admitted on some threads, signed on others, and registered some thousands in a transaction.
//!
//! Whatever can be said against a request is said before anything is signed for it, and inputs are admitted in their order: which of them get a certificate is
//! the same on any number of threads, and after any interruption.
//!
//! Nothing here hands a certificate out. What is registered is signed for by the signing worker, as the registry's feed tells it to, and handed out when its
//! status is published (rule O16). A run that was interrupted anywhere goes on with what is missing: the registry knows which inputs have a certificate.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SecureRandom;
use serde::Serialize;

use super::holders::{authorities, authority, key_compromised, other_subject};
use super::order::{InputError, Inputs, Item, OnRejection};
use super::pipeline::{self, Threads};
use super::profile::{Finding, Prepared, Request, Template};
use super::turns::Turns;
use super::vetting::{BlockedKeys, CertificationRequest, Constraints, Rejection, check_key};
use super::{IssuanceError, Validity};
use crate::pki::name::subject_identity;
use crate::pki::{CertificateStatus, Fingerprint, Timestamp};
use crate::registry::work::{Holder, IssuedRecord, WorkId, WorkRegistry};
use crate::registry::{CertificateRecord, IssuerId, RegistryError};

/// Reads one input.
pub type ReadRequest<'a> = dyn Fn(&Item) -> Result<CertificationRequest, Rejection> + Sync + 'a;
/// The validity of what is issued at a time.
pub type ValidityAt<'a> = dyn Fn(Timestamp) -> Result<Validity, IssuanceError> + Sync + 'a;

/// Told of each certificate that was signed, before it is registered.
pub type Signed<'a> = dyn Fn(&Item, &[u8]) -> Result<(), String> + Sync + 'a;

/// What all certificates of an order have in common.
pub struct Requests<'a> {
    /// Where they are registered.
    pub registry: &'a dyn WorkRegistry,
    /// Whose they are.
    pub issuer: IssuerId,
    /// For which order.
    pub work: WorkId,
    /// One a CRL partition, in the order of the partitions; one where there are none.
    pub templates: &'a [Template<'a>],
    /// Whether the issuer has CRL partitions.
    pub is_partitioned: bool,
    /// What the issuer's certificate allows.
    pub constraints: &'a Constraints,
    /// Keys that get none.
    pub blocked: &'a BlockedKeys,
    /// How long they are valid. Nothing is dated back (S3.1).
    pub validity: &'a ValidityAt<'a>,
    /// How inputs are read.
    pub read: &'a ReadRequest<'a>,
    /// Told of each certificate that was signed, before it is registered; what it makes of it, it must not hand out.
    pub signed: Option<&'a Signed<'a>>,
    /// Whether a key may be certified again for the same subject; not one that a certificate was revoked for.
    pub renewal: bool,
    /// What becomes of the rest when one is rejected.
    pub on_rejection: OnRejection,
    /// Threads to vet on.
    pub vetters: usize,
    /// Threads to sign on, each with a session of its own on a token.
    pub signers: usize,
}

/// An input that gets no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its number in the order.
    pub item: u64,
    /// Where it stands.
    pub place: String,
    /// Which rule it breaks.
    pub rule: &'static str,
    /// How.
    pub why: String,
}

/// What came of a chunk.
#[derive(Debug, Default)]
pub struct ChunkDone {
    /// Inputs that have a certificate now.
    pub issued: u64,
    /// Inputs that had one before.
    pub there_before: u64,
    /// Inputs that get none.
    pub rejected: Vec<Rejected>,
}

/// Why a run was interrupted. What was registered before stays; another run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// The inputs are not there any more, or others.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The token, or the random source, failed.
    #[error(transparent)]
    Issuance(#[from] IssuanceError),
    /// A chunk was not registered.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Whoever was told of a chunk failed.
    #[error("{0}")]
    Told(String),
}

/// A chunk on its way to the registry.
#[derive(Default)]
struct Chunk {
    issued: Vec<IssuedRecord>,
    done: ChunkDone,
    /// Keys and subjects that nobody else may get a certificate for before this chunk is registered.
    reserved: Vec<Fingerprint>,
}

/// An input, and what vetting has made of it.
struct Candidate {
    item: Item,
    found: Result<Vetted, Rejection>,
}

/// A request that nothing stands against by itself.
struct Vetted {
    public_key: Fingerprint,
    /// Who the subject is, however it is written.
    subject: Fingerprint,
    /// The subject as the profile writes it. Older registries name subjects by this.
    written: Fingerprint,
    record: CertificateRecord,
    prepared: Prepared,
}

/// What the threads of a run share.
struct Run<'a> {
    random: &'a (dyn SecureRandom + Sync),
    clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// In which chunks are admitted.
    turns: Turns,
    reserved: Mutex<HashSet<Fingerprint>>,
    /// The keys of CAs, see [`authorities`].
    authorities: HashMap<Fingerprint, Vec<(String, Fingerprint)>>,
}

impl Requests<'_> {
    /// Issues what is missing of up to `chunks` chunks of the inputs. `done` is told of each chunk that is registered. Returns whether the order is to be
    /// stopped because of a rejection: then exactly what comes before it in the inputs is issued.
    pub fn issue(
        &self,
        inputs: &mut Inputs,
        chunks: usize,
        random: &(dyn SecureRandom + Sync),
        clock: &(dyn Fn() -> Timestamp + Sync),
        done: &mut dyn FnMut(ChunkDone) -> Result<(), String>,
    ) -> Result<bool, RequestsError> {
        let authorities = authorities(self.registry)?;
        let run = Run { random, clock, turns: Turns::default(), reserved: Mutex::default(), authorities };
        let mut taken = 0;
        let mut next = || {
            if taken == chunks as u64 || run.turns.have_ended() {
                return Ok(None);
            }
            let chunk = inputs.next_chunk()?.map(|items| (taken, items));
            taken += 1;
            Ok(chunk)
        };
        let mut stopped = false;
        let mut register = |chunks: Vec<Chunk>| self.register(chunks, &run, &mut stopped, done);
        let threads = Threads { first: self.vetters, second: self.signers };
        pipeline::run_staged(threads, &mut next, &|chunk| self.prepare(chunk, &run), &|chunk| self.finish(chunk), &mut register)?;
        Ok(stopped)
    }

    /// Vets and admits a chunk. Nothing of it is admitted where the order has stopped before it.
    fn prepare(&self, (number, items): (u64, Vec<Item>), run: &Run<'_>) -> Result<(Chunk, Vec<(Item, Vetted)>), RequestsError> {
        let turn = run.turns.turn(number);
        let mut chunk = Chunk::default();
        let candidates = self.vet_all(self.missing(items, &mut chunk)?, run)?;
        if !turn.comes() {
            return Ok((Chunk::default(), Vec::new()));
        }
        let admitted = self.admit(candidates, run, &mut chunk)?;
        if !self.stops(&chunk) {
            turn.pass();
        }
        Ok((chunk, admitted))
    }

    /// Signs for what was admitted.
    fn finish(&self, (mut chunk, admitted): (Chunk, Vec<(Item, Vetted)>)) -> Result<Chunk, RequestsError> {
        for (item, vetted) in admitted {
            let certificate = self.templates[0].sign(&vetted.prepared)?;
            let told = self.signed.map_or(Ok(()), |signed| signed(&item, &certificate));
            told.map_err(RequestsError::Told)?;
            let Vetted { record, public_key, subject, .. } = vetted;
            chunk.issued.push(IssuedRecord { item: item.number, record, public_key, subject, certificate, is_responder: false });
        }
        chunk.done.issued = chunk.issued.len() as u64;
        Ok(chunk)
    }

    /// Registers what was signed, in one transaction, and tells of it.
    fn register(
        &self,
        chunks: Vec<Chunk>,
        run: &Run<'_>,
        stopped: &mut bool,
        done: &mut dyn FnMut(ChunkDone) -> Result<(), String>,
    ) -> Result<(), RequestsError> {
        let (mut issued, mut names, mut told) = (Vec::new(), Vec::new(), Vec::with_capacity(chunks.len()));
        for chunk in chunks {
            *stopped |= self.stops(&chunk);
            issued.extend(chunk.issued);
            names.extend(chunk.reserved);
            told.push(chunk.done);
        }
        self.registry.add_issued(self.issuer, self.work, &issued, (run.clock)())?;
        let mut reserved = run.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &names {
            reserved.remove(name);
        }
        drop(reserved);
        told.into_iter().try_for_each(|chunk| done(chunk).map_err(RequestsError::Told))
    }

    /// Whether nothing behind a chunk is issued any more.
    fn stops(&self, chunk: &Chunk) -> bool {
        self.on_rejection == OnRejection::Stop && !chunk.done.rejected.is_empty()
    }

    /// Those of a chunk that have no certificate yet.
    fn missing(&self, items: Vec<Item>, chunk: &mut Chunk) -> Result<Vec<Item>, RequestsError> {
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(items) };
        let there = self.registry.issued_items(self.work, first.number..last.number + 1)?;
        chunk.done.there_before = there.len() as u64;
        Ok(items.into_iter().filter(|item| !there.contains(&item.number)).collect())
    }

    /// Vets inputs, up to the first that is rejected where that is the end.
    fn vet_all(&self, items: Vec<Item>, run: &Run<'_>) -> Result<Vec<Candidate>, RequestsError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let validity = (self.validity)((run.clock)())?;
        // Nothing in a request makes this fail: the run is interrupted, and another has all of them before it.
        self.templates[0].issuer().check_validity(&validity)?;
        let mut candidates = Vec::with_capacity(items.len());
        for item in items {
            let found = match self.vet(&item) {
                Ok((request, subject)) => self.unsigned(&item, &request, &subject, validity, run.random)?,
                Err(rejection) => Err(rejection),
            };
            let is_last = found.is_err() && self.on_rejection == OnRejection::Stop;
            candidates.push(Candidate { item, found });
            if is_last {
                break;
            }
        }
        Ok(candidates)
    }

    /// Everything that can be said of a request by itself, and the subject as the profile writes it.
    fn vet(&self, item: &Item) -> Result<(CertificationRequest, Vec<u8>), Rejection> {
        let request = (self.read)(item)?;
        let profile = self.templates[0].profile();
        check_key(&request.spki, request.key, self.blocked)?;
        profile.check_key_kind(request.key).map_err(by_profile)?;
        let subject = profile.subject_of(&request.subject).map_err(by_profile)?;
        self.constraints.check(&subject, request.alternative_names_der.as_deref())?;
        Ok((request, subject))
    }

    /// Those whose keys, and subjects where these are to be unique, nobody else has: neither in the registry nor in what was admitted and is on its way there.
    fn admit(&self, candidates: Vec<Candidate>, run: &Run<'_>, chunk: &mut Chunk) -> Result<Vec<(Item, Vetted)>, RequestsError> {
        let vetted = || candidates.iter().filter_map(|candidate| candidate.found.as_ref().ok());
        let keys: Vec<_> = vetted().map(|vetted| vetted.public_key).collect();
        let subjects: Vec<_> = vetted().flat_map(|vetted| [vetted.subject, vetted.written]).collect();
        let is_unique = self.templates[0].profile().has_unique_subjects();
        // From here on: whoever comes later finds these in the set, or, where they are registered meanwhile, in the registry.
        let mut reserved = run.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let key_holders = self.registry.key_holders(&keys)?;
        let compromised = self.compromised(&key_holders)?;
        let mut key_holders = key_holders.into_iter();
        let subject_holders = if is_unique { self.registry.subject_holders(self.issuer, &subjects, (run.clock)())? } else { Vec::new() };
        let mut subject_holders = subject_holders.into_iter();
        let mut admitted = Vec::with_capacity(keys.len());
        for Candidate { item, found } in candidates {
            let admission = found.and_then(|vetted| {
                let of_subject = [subject_holders.next(), subject_holders.next()].into_iter().flatten().flatten().next();
                let of_key = key_holders.next().flatten();
                if let Some([(name, _), ..]) = run.authorities.get(&vetted.public_key).map(Vec::as_slice) {
                    return Err(authority(name));
                }
                self.check_holders(&vetted, of_key, of_subject)?;
                if let Some(holder) = of_key.and_then(|holder| compromised.get(&holder.public_key)) {
                    return Err(key_compromised(holder));
                }
                let subject = is_unique.then_some(vetted.subject);
                if reserved.contains(&vetted.public_key) {
                    return Err(key_repeats());
                }
                if subject.is_some_and(|subject| reserved.contains(&subject)) {
                    return Err(subject_repeats());
                }
                let names = [Some(vetted.public_key), subject];
                reserved.extend(names.into_iter().flatten());
                chunk.reserved.extend(names.into_iter().flatten());
                Ok(vetted)
            });
            match admission {
                Ok(vetted) => admitted.push((item, vetted)),
                Err(Rejection { rule, why }) => chunk.done.rejected.push(Rejected { item: item.number, place: item.place, rule, why }),
            }
            if self.stops(chunk) {
                break;
            }
        }
        Ok(admitted)
    }

    /// Of the keys that certificates have, those that a certificate was revoked for.
    fn compromised(&self, holders: &[Option<Holder>]) -> Result<HashMap<Fingerprint, Holder>, RegistryError> {
        let known: Vec<_> = holders.iter().flatten().map(|holder| holder.public_key).collect();
        let revoked = self.registry.compromised_holders(&known)?;
        Ok(revoked.into_iter().flatten().map(|holder| (holder.public_key, holder)).collect())
    }

    fn check_holders(&self, vetted: &Vetted, key: Option<Holder>, of_subject: Option<Holder>) -> Result<(), Rejection> {
        let serial = |holder: Holder| format!("certificate {}", holder.serial);
        match key {
            // Of a renewal, too: what is issued must not follow from how soon the first of them was registered.
            Some(holder) if holder.work == self.work => return Err(key_repeats()),
            Some(holder) if ![vetted.subject, vetted.written].contains(&holder.subject) => {
                return Err(other_subject(&holder));
            }
            Some(holder) if !self.renewal => {
                return Err(Rejection::new("shared-key", format!("{} has the key already, and the order is no renewal", serial(holder))));
            }
            _ => {}
        }
        match of_subject {
            Some(holder) if holder.work == self.work => Err(subject_repeats()),
            Some(holder) if !self.renewal => {
                Err(Rejection::new("unique-subject", format!("{} has the subject already (S3.1)", serial(holder))))
            }
            _ => Ok(()),
        }
    }

    /// The certificate but for its signature, or what the profile has against it.
    fn unsigned(
        &self,
        item: &Item,
        request: &CertificationRequest,
        subject: &[u8],
        validity: Validity,
        random: &dyn SecureRandom,
    ) -> Result<Result<Vetted, Rejection>, IssuanceError> {
        let partition = (item.number % self.templates.len() as u64) as u32;
        let template = &self.templates[partition as usize];
        let serial = template.profile().serial(random)?;
        let names: Vec<_> = request.alternative_names.iter().map(|name| name.as_name()).collect();
        let prepared =
            template.prepare(&Request { subject, spki: &request.spki, serial, validity, alternative_names: &names, key_identifier: None });
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(IssuanceError::Profile(finding)) => return Ok(Err(by_profile(finding))),
            Err(failure @ IssuanceError::Field { .. }) => return Ok(Err(Rejection::new("names", failure.to_string()))),
            Err(failure) => return Err(failure),
        };
        let record = CertificateRecord {
            serial,
            not_before: Some(validity.not_before),
            not_after: validity.not_after,
            is_ca: template.profile().kind().is_ca(),
            partition: self.is_partitioned.then_some(partition),
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        Ok(Ok(Vetted {
            public_key: request.key_identity(),
            subject: subject_identity(subject),
            written: Fingerprint::of(subject),
            record,
            prepared,
        }))
    }
}

fn key_repeats() -> Rejection {
    Rejection::new("shared-key", "another request of this order has the key")
}

fn subject_repeats() -> Rejection {
    Rejection::new("unique-subject", "another request of this order has the subject (S3.1)")
}

fn by_profile(finding: Finding) -> Rejection {
    Rejection::new("profile", finding.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_lc_rs::rand::SystemRandom;

    use super::super::order::{InputsConfig, input_fingerprint};
    use super::super::profile::{Choices, Profile, SubjectKey};
    use super::super::vetting::RequestedName;
    use super::super::{Issuer, Links, RootOrder, names, self_signed_root};
    use super::*;
    use crate::pki::{CertificateInfo, HashAlgorithm, KeyAlgorithm};
    use crate::registry::sqlite::SqliteRegistry;
    use crate::registry::work::{NewWork, WorkEvent};
    use crate::registry::{IssuerMode, NewIssuer, Publication, Registry};
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    const HOST: &str = "www.example.com";

    fn read(_: &Item) -> Result<CertificationRequest, Rejection> {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let names = vec![RequestedName::Dns(HOST.to_owned())];
        CertificationRequest::made_here(names::common_name(HOST).unwrap(), key.public_key().to_vec(), SubjectKey::EcdsaP256, names)
    }

    fn issuer(from: &str, to: &str) -> Issuer {
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let validity = Validity { not_before: from.parse().unwrap(), not_after: to.parse().unwrap() };
        let root = RootOrder { subject: "CN=Root", serial: "01".parse().unwrap(), validity, signs_ocsp: false };
        Issuer::new(CertificateInfo::from_der(&self_signed_root(&root, &*key).unwrap()).unwrap(), key).unwrap()
    }

    fn register(registry: &SqliteRegistry, issuer: &Issuer) -> (IssuerId, WorkId) {
        let publication = Publication { cert_id_hashes: [HashAlgorithm::Sha256].into(), crl_partitions: 0, crl_extras: Default::default() };
        let certificate = issuer.certificate().der.clone();
        let new = NewIssuer { name: "ca".to_owned(), certificate, mode: IssuerMode::Open, publication };
        let begun = NewWork { order: "one", event: WorkEvent::Begun, at: issuer.certificate().not_before, detail: "{}" };
        (registry.register_issuer(&new).unwrap(), WorkId(registry.append_work(&begun).unwrap().sequence))
    }

    #[test]
    fn s3_1_s4_8_a_clock_outside_the_issuers_validity_interrupts_a_run_and_rejects_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let lines = directory.path().join("in.jsonl");
        std::fs::write(&lines, "1\n2\n3\n").unwrap();
        let config = InputsConfig { directory: None, sha256: input_fingerprint(&lines).unwrap(), lines: Some(lines) };
        let issuer = issuer("2026-10-01T00:00:00Z", "2036-10-01T00:00:00Z");
        let registry = SqliteRegistry::create(&directory.path().join("registry.db")).unwrap();
        let (id, work) = register(&registry, &issuer);
        let profile = Profile::shipped("br-7.1.2.7-tls-server").unwrap();
        let links = Links { ocsp: Some("http://a.example/"), ca_issuers: Some("http://a.example/ca"), crl: Some("http://a.example/crl") };
        let templates = [profile.template(&issuer, &Choices { links, ..Choices::default() }).unwrap()];
        let requests = Requests {
            registry: &registry,
            issuer: id,
            work,
            templates: &templates,
            is_partitioned: false,
            constraints: &Constraints::default(),
            blocked: &BlockedKeys::default(),
            validity: &|now| Ok(profile.validity(now).unwrap()),
            read: &read,
            signed: None,
            renewal: false,
            on_rejection: OnRejection::GoOn,
            vetters: 1,
            signers: 1,
        };
        let run = |now: &str| {
            let (now, mut all) = (now.parse().unwrap(), ChunkDone::default());
            let outcome = requests.issue(&mut Inputs::open(&config).unwrap(), 1, &SystemRandom::new(), &|| now, &mut |done| {
                all = done;
                Ok(())
            });
            (outcome, all.issued, all.there_before, all.rejected)
        };
        for wrong in ["2026-09-30T23:59:59Z", "2036-09-30T00:00:00Z"] {
            let (outcome, issued, _, rejected) = run(wrong);
            assert!(matches!(outcome, Err(RequestsError::Issuance(IssuanceError::Validity { .. }))), "{wrong}: {outcome:?}");
            assert_eq!((issued, rejected), (0, Vec::new()));
        }
        let (outcome, issued, _, rejected) = run("2026-10-01T00:00:00Z");
        assert!(matches!(outcome, Ok(false)), "{outcome:?}");
        assert_eq!((issued, rejected), (3, Vec::new()));
        // What was issued before the clock was wrong is handed out whatever it says.
        let (outcome, _, there_before, rejected) = run("2026-09-30T23:59:59Z");
        assert!(matches!(outcome, Ok(false)), "{outcome:?}");
        assert_eq!((there_before, rejected), (3, Vec::new()));
    }
}
