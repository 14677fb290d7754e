//! Certificates for the inputs of an order: vetted, admitted, signed on all threads, and registered in one transaction a chunk.
//!
//! Nothing here hands a certificate out. What is registered is signed for by the signing worker, as the registry's feed tells it to, and handed out when its
//! status is published (rule O16). A run that was interrupted anywhere goes on with what is missing: the registry knows which inputs have a certificate.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SecureRandom;
use serde::Serialize;

use super::order::{InputError, Inputs, Item, OnRejection};
use super::profile::{Finding, Request, Template};
use super::vetting::{BlockedKeys, CertificationRequest, Constraints, Rejection, check_key};
use super::{IssuanceError, Validity, pipeline};
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
    /// Whether a key may be certified again for the same subject.
    pub renewal: bool,
    /// What becomes of the rest when one is rejected.
    pub on_rejection: OnRejection,
    /// Threads to vet and sign on.
    pub threads: usize,
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

/// A request that may be signed for.
struct Vetted {
    item: Item,
    request: CertificationRequest,
    /// The subject as the profile writes it.
    subject: Vec<u8>,
}

impl Requests<'_> {
    /// Issues what is missing of up to `chunks` chunks of the inputs. `done` is told of each chunk that is registered. Returns whether the order is to be
    /// stopped because of a rejection.
    pub fn issue(
        &self,
        inputs: &mut Inputs,
        chunks: usize,
        random: &(dyn SecureRandom + Sync),
        clock: &(dyn Fn() -> Timestamp + Sync),
        done: &mut dyn FnMut(ChunkDone) -> Result<(), String>,
    ) -> Result<bool, RequestsError> {
        let (stop, reserved) = (AtomicBool::new(false), Mutex::new(HashSet::new()));
        let mut left = chunks;
        let mut next = || {
            if left == 0 || stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            left -= 1;
            Ok(inputs.next_chunk()?)
        };
        let work = |items| self.work(items, &stop, &reserved, random, clock());
        let mut register = |chunk: Chunk| {
            self.registry.add_issued(self.issuer, self.work, &chunk.issued, clock())?;
            let mut reserved = reserved.lock().unwrap_or_else(PoisonError::into_inner);
            for name in &chunk.reserved {
                reserved.remove(name);
            }
            drop(reserved);
            done(chunk.done).map_err(RequestsError::Told)
        };
        pipeline::run(self.threads, &mut next, &work, &mut register)?;
        Ok(stop.into_inner())
    }

    fn work(
        &self,
        items: Vec<Item>,
        stop: &AtomicBool,
        reserved: &Mutex<HashSet<Fingerprint>>,
        random: &(dyn SecureRandom + Sync),
        now: Timestamp,
    ) -> Result<Chunk, RequestsError> {
        let mut chunk = Chunk::default();
        let missing = self.missing(items, &mut chunk)?;
        let mut vetted = Vec::with_capacity(missing.len());
        for item in missing {
            match self.vet(&item) {
                Ok((request, subject)) => vetted.push(Vetted { item, request, subject }),
                Err(rejection) => self.reject(item, rejection, &mut chunk, stop),
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let admitted = self.admit(vetted, reserved, &mut chunk, stop, now)?;
        let validity = (self.validity)(now)?;
        for vetted in admitted {
            match self.sign(&vetted, validity, random) {
                Ok(issued) => {
                    let told = self.signed.map_or(Ok(()), |signed| signed(&vetted.item, &issued.certificate));
                    told.map_err(RequestsError::Told)?;
                    chunk.issued.push(issued);
                }
                Err(IssuanceError::Profile(finding)) => self.reject(vetted.item, by_profile(finding), &mut chunk, stop),
                Err(failure @ IssuanceError::Field { .. }) => {
                    self.reject(vetted.item, Rejection::new("names", failure.to_string()), &mut chunk, stop)
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        chunk.done.issued = chunk.issued.len() as u64;
        Ok(chunk)
    }

    /// Those of a chunk that have no certificate yet.
    fn missing(&self, items: Vec<Item>, chunk: &mut Chunk) -> Result<Vec<Item>, RequestsError> {
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(items) };
        let there = self.registry.issued_items(self.work, first.number..last.number + 1)?;
        chunk.done.there_before = there.len() as u64;
        Ok(items.into_iter().filter(|item| !there.contains(&item.number)).collect())
    }

    fn reject(&self, item: Item, Rejection { rule, why }: Rejection, chunk: &mut Chunk, stop: &AtomicBool) {
        chunk.done.rejected.push(Rejected { item: item.number, place: item.place, rule, why });
        if self.on_rejection == OnRejection::Stop {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Everything that can be said of a request by itself, and the subject as the profile writes it.
    fn vet(&self, item: &Item) -> Result<(CertificationRequest, Vec<u8>), Rejection> {
        let request = (self.read)(item)?;
        let profile = self.templates[0].profile();
        check_key(&request.spki, request.key_algorithm, self.blocked)?;
        profile.check_key(&request.spki).map_err(by_profile)?;
        let subject = profile.subject_of(&request.subject).map_err(by_profile)?;
        self.constraints.check(&subject, request.alternative_names_der.as_deref())?;
        Ok((request, subject))
    }

    /// Those whose keys, and subjects where these are to be unique, nobody else has: neither in the registry nor in a chunk that is on its way there.
    fn admit(
        &self,
        vetted: Vec<Vetted>,
        reserved: &Mutex<HashSet<Fingerprint>>,
        chunk: &mut Chunk,
        stop: &AtomicBool,
        now: Timestamp,
    ) -> Result<Vec<Vetted>, RequestsError> {
        let keys: Vec<_> = vetted.iter().map(|one| one.request.key_fingerprint()).collect();
        let subjects: Vec<_> = vetted.iter().map(|one| Fingerprint::of(&one.subject)).collect();
        let unique_subjects = self.templates[0].profile().has_unique_subjects();
        // From here on: whoever comes later finds these in the set, or, where they are registered meanwhile, in the registry.
        let mut reserved = reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let key_holders = self.registry.key_holders(&keys)?;
        let subject_holders = if unique_subjects { self.registry.subject_holders(self.issuer, &subjects, now)? } else { Vec::new() };
        let mut admitted = Vec::with_capacity(vetted.len());
        for (index, one) in vetted.into_iter().enumerate() {
            let subject_holder = subject_holders.get(index).copied().flatten();
            let mut rejection = self.taken(&subjects[index], key_holders[index], subject_holder);
            let names = [Some(keys[index]), unique_subjects.then_some(subjects[index])];
            if names.iter().flatten().any(|name| reserved.contains(name)) {
                rejection =
                    rejection.or_else(|| Some(Rejection::new("shared-key", "another request of this order has the key, or the subject")));
            }
            match rejection {
                Some(rejection) => self.reject(one.item, rejection, chunk, stop),
                None => {
                    reserved.extend(names.into_iter().flatten());
                    chunk.reserved.extend(names.into_iter().flatten());
                    admitted.push(one);
                }
            }
        }
        Ok(admitted)
    }

    fn taken(&self, subject: &Fingerprint, key: Option<Holder>, of_subject: Option<Holder>) -> Option<Rejection> {
        let serial = |holder: Holder| format!("certificate {}", holder.serial);
        match key {
            Some(holder) if holder.subject != *subject => {
                return Some(Rejection::new("shared-key", format!("{} has the key, and another subject", serial(holder))));
            }
            Some(holder) if !self.renewal => {
                return Some(Rejection::new("shared-key", format!("{} has the key already, and the order is no renewal", serial(holder))));
            }
            _ => {}
        }
        let other = of_subject.filter(|_| !self.renewal);
        other.map(|holder| Rejection::new("unique-subject", format!("{} has the subject already (S3.1)", serial(holder))))
    }

    fn sign(&self, vetted: &Vetted, validity: Validity, random: &dyn SecureRandom) -> Result<IssuedRecord, IssuanceError> {
        let Vetted { item, request, subject } = vetted;
        let partition = (item.number % self.templates.len() as u64) as u32;
        let template = &self.templates[partition as usize];
        let serial = template.profile().serial(random)?;
        let names: Vec<_> = request.alternative_names.iter().map(|name| name.as_name()).collect();
        let certificate = template.certificate(&Request {
            subject,
            spki: &request.spki,
            serial,
            validity,
            alternative_names: &names,
            key_identifier: None,
        })?;
        let record = CertificateRecord {
            serial,
            not_before: Some(validity.not_before),
            not_after: validity.not_after,
            is_ca: template.profile().kind().is_ca(),
            partition: self.is_partitioned.then_some(partition),
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        let (public_key, subject) = (request.key_fingerprint(), Fingerprint::of(subject));
        Ok(IssuedRecord { item: item.number, record, public_key, subject, certificate })
    }
}

fn by_profile(finding: Finding) -> Rejection {
    Rejection::new("profile", finding.to_string())
}
