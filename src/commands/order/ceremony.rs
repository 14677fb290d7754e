//! Orders of kind `ceremony`: steps that concern a CA, one after the other. Each is noted in the log before it begins and when it is done, so that a ceremony
//! that was interrupted goes on at the step where it was, and takes up what that step had made already.

mod closing;
mod keys;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use serde_json::{Value, json};
use tracing::info;

use super::issue::{IssuerLinks, profile, validity};
use super::run::{Done, Job};
use super::show::step_text;
use super::{allowed, files, issue, release};
use crate::commands::setup::{self, KeyRing};
use crate::commands::{durable_file, output};
use crate::issuance::order::{Bound, CaSource, CrossCertificate, Linked, NewCertificate, Step, TokenKey};
use crate::issuance::profile::{Choices, Kind, Profile, Request, SubjectKey};
use crate::issuance::vetting::{CertificationRequest, Constraints, check_key};
use crate::issuance::{Issuer, Links, holders};
use crate::pki::certificate::key_identity;
use crate::pki::name::subject_identity;
use crate::pki::{CertificateInfo, CertificateStatus, Fingerprint, Revocation, SignatureAlgorithm, Timestamp};
use crate::registry::work::{IssuedRecord, WorkEvent, WorkRegistry};
use crate::registry::{CertificateRecord, IssuerId, IssuerMode, Registry};
use crate::token::pkcs11::{KeyRequest, Pkcs11Key};
use crate::token::{Key, SigningKey};

/// Certificates that one step can make, at most: numbers of what the registry keeps of it.
const PER_STEP: u64 = 2;

pub(super) fn run(job: &Job<'_>, steps: &[Step]) -> Result<Done> {
    let mut log: Vec<Value> = job.steps_done.iter().map(|detail| serde_json::from_str(detail)).collect::<Result<_, _>>()?;
    let mut ring = KeyRing::with_sessions(job.config, 1);
    for (index, step) in steps.iter().enumerate() {
        let noted = |what: &str| log.iter().find(|entry| entry["step"] == index + 1 && entry[what].is_string());
        if noted("did").is_some() {
            continue;
        }
        let text = step_text(step);
        let begun = noted("begins");
        let item = index as u64 * PER_STEP;
        let mut one = OneStep { job, ring: &mut ring, item, begun: begun.cloned().unwrap_or_default(), log: &log };
        if begun.is_none() {
            one.begun = one.check(step).with_context(|| format!("step {}: {text}", index + 1))?;
            one.begun["step"] = json!(index + 1);
            one.begun["begins"] = json!(text);
            job.note(WorkEvent::Step, &one.begun)?;
        }
        let made = one.carry_out(step).with_context(|| format!("step {}: {text}", index + 1))?;
        let done = json!({ "step": index + 1, "did": text, "made": made });
        job.note(WorkEvent::Step, &done)?;
        log.push(done);
        info!("step {} of {}: {text}", index + 1, steps.len());
    }
    Ok(Done { event: WorkEvent::Done, did: format!("{} steps are done", steps.len()) })
}

struct OneStep<'a, 'c> {
    job: &'a Job<'c>,
    ring: &'a mut KeyRing<'c>,
    /// The number of its first certificate in the registry.
    item: u64,
    /// What was noted when it began.
    begun: Value,
    /// What was noted of the steps before.
    log: &'a [Value],
}

/// A certificate that was made, and what is known of whom it is for.
struct Made<'a> {
    der: Vec<u8>,
    /// In whose name it is registered; `None`: a root's own, or that of a CA that is not in the registry.
    issuer: Option<&'a crate::registry::Issuer>,
    item: u64,
    is_responder: bool,
}

/// Who is to be certified.
struct Holder<'a> {
    /// DER of the name.
    subject: &'a [u8],
    spki: &'a [u8],
    /// By which its holder names it in what it issues; `None`: as is usual, by its SHA-1.
    identifier: Option<&'a [u8]>,
    /// Whether there may be a certificate for another key of it already, where the profile has unique subjects.
    renewal: bool,
}

impl OneStep<'_, '_> {
    /// What must hold before a step is begun for the first time; what is to be noted beside. Whatever is found here has left no trace.
    fn check(&mut self, step: &Step) -> Result<Value> {
        for path in step.certificates() {
            if fs::symlink_metadata(path).is_ok() {
                bail!("{}: exists already", path.display());
            }
        }
        match step {
            Step::GenerateKey { key, .. } => self.may_generate(key),
            Step::DestroyKey { key } => self.may_destroy(key),
            // Again: the issuer may be one that an earlier step has made.
            Step::RevokeAll { issuer, reason } => match allowed::reason_objection(self.job.config, issuer, *reason) {
                Some(objection) => bail!("{objection}"),
                None => Ok(json!({})),
            },
            _ => Ok(json!({})),
        }
    }

    /// Does it; what it made, for the log.
    fn carry_out(&mut self, step: &Step) -> Result<Value> {
        match step {
            Step::GenerateKey { key, algorithm } => self.generate(key, *algorithm),
            Step::DestroyKey { key } => self.destroy(key),
            Step::SelfSigned { new } => self.self_signed(new),
            Step::Certify { issuer, new, renewal } => self.certify(issuer, new, *renewal),
            Step::CrossCertify(new) => self.cross_certify(new),
            Step::LinkCertificates { old, new, old_with_new, new_with_old } => {
                let (old, new) = (self.ca(old, &new_with_old.profile)?, self.ca(new, &old_with_new.profile)?);
                let first = self.link(&new, old.certificate(), old_with_new, self.item)?;
                let second = self.link(&old, new.certificate(), new_with_old, self.item + 1)?;
                Ok(json!([first, second]))
            }
            Step::RunOff(named) => self.run_off(&named.issuer),
            Step::Close(named) => self.close(&named.issuer),
            Step::RevokeAll { issuer, reason } => {
                let issuer = self.registered(issuer)?;
                let now = Timestamp::now();
                let bar = output::progress(self.job.registry.counts(issuer.id)?.good, "revoking");
                let revocation = Revocation { at: now, reason: Some(*reason) };
                let revoked = self.job.registry.revoke_all(issuer.id, revocation, now, &mut |so_far| bar.set_position(so_far))?;
                bar.finish_and_clear();
                Ok(json!({ "revoked": revoked, "at": now }))
            }
        }
    }

    /// A key on a token, signing as a profile wants it.
    fn key(&mut self, key: &TokenKey, profile: &Profile) -> Result<Pkcs11Key> {
        let (request, token) = (keys::request_of(key)?, self.ring.token(&key.token)?);
        let found = token.key(&request)?;
        let wanted: Option<SignatureAlgorithm> = profile.signature_for(found.key_algorithm(), None);
        match wanted {
            Some(signature) if signature != found.signature_algorithm() => {
                Ok(token.key(&KeyRequest { signature: Some(signature), ..request })?)
            }
            _ => Ok(found),
        }
    }

    fn self_signed(&mut self, new: &NewCertificate) -> Result<Value> {
        let profile = profile(&new.profile)?;
        let key = self.key(&new.key, &profile)?;
        let made = |der| Made { der, issuer: None, item: self.item, is_responder: false };
        if let Some(der) = self.signed_before(self.item)? {
            return self.keep(&made(der), &new.certificate);
        }
        refuse_unknown(&new.certificate)?;
        self.refuse_ended(key.public_key())?;
        let now = Timestamp::now();
        let validity = profile.validity(now).with_context(|| format!("profile {}: has no validity of its own", profile.name()))?;
        profile.check_validity(&validity)?;
        let subject = profile.subject(&new.subject)?;
        self.check_key(&profile, key.public_key(), &subject)?;
        let request = Request {
            subject: &subject,
            spki: key.public_key(),
            serial: profile.serial(&SystemRandom::new())?,
            validity,
            alternative_names: &[],
            key_identifier: None,
        };
        let der = profile.self_signed(&key, &new.choices(), &request)?;
        self.keep(&made(der), &new.certificate)
    }

    fn certify(&mut self, name: &str, new: &NewCertificate, renewal: bool) -> Result<Value> {
        let profile = profile(&new.profile)?;
        let key = self.key(&new.key, &profile)?;
        crate::token::verify_pair(&key, key.public_key())?;
        let subject = profile.subject(&new.subject)?;
        let holder = Holder { subject: &subject, spki: key.public_key(), identifier: None, renewal };
        self.below(name, &profile, &holder, &new.choices(), &new.certificate)
    }

    /// The foreign CA proves with its request that it has its key (S3.1).
    fn cross_certify(&mut self, new: &CrossCertificate) -> Result<Value> {
        let profile = profile(&new.profile)?;
        let request = CertificationRequest::read(files::bound(&new.request)?.as_bytes())?;
        let subject = profile.subject_of(&request.subject)?;
        let identifier = request.key_identifier.as_deref();
        let holder = Holder { subject: &subject, spki: &request.spki, identifier, renewal: new.renewal };
        self.below(&new.issuer, &profile, &holder, &new.choices(), &new.certificate)
    }

    fn below(&mut self, name: &str, profile: &Profile, holder: &Holder<'_>, choices: &Choices<'_>, certificate: &Path) -> Result<Value> {
        let registered = self.registered(name)?;
        let is_responder = profile.kind() == Kind::OcspResponder;
        let item = self.item;
        let made = |der| Made { der, issuer: Some(&registered), item, is_responder };
        if let Some(der) = self.signed_before(self.item)? {
            return self.keep(&made(der), certificate);
        }
        refuse_unknown(certificate)?;
        if !is_responder {
            self.refuse_without_responder(name)?;
        }
        let Holder { subject, spki, identifier, renewal } = *holder;
        self.check_key(profile, spki, subject)?;
        let now = Timestamp::now();
        if profile.has_unique_subjects() && !renewal {
            holders::check_subject(self.job.registry.as_ref(), registered.id, spki, subject, now)??;
        }
        let issuer = self.issuer(name, profile)?;
        Constraints::of(&issuer.certificate().der)?.check(subject, None)?;
        let links = IssuerLinks::unpartitioned(self.job.config, name, &registered.publication, profile);
        let request = Request {
            subject,
            spki,
            serial: profile.serial(&SystemRandom::new())?,
            validity: validity(profile, issuer.certificate().not_after, None, now)?,
            alternative_names: &[],
            key_identifier: identifier,
        };
        let der = profile.certificate(&issuer, &Choices { links: links.links(profile), ..*choices }, &request)?;
        self.keep(&made(der), certificate)
    }

    /// Everything that stands against a key, whoever certifies it: kind, size, weakness, and what is known of it (S3.1).
    fn check_key(&self, profile: &Profile, spki: &[u8], subject: &[u8]) -> Result<()> {
        profile.check_key(spki)?;
        if let Some(key) = SubjectKey::of_spki(spki) {
            check_key(spki, key, &issue::blocked_keys(self.job)?)?;
        }
        Ok(holders::check_holders(self.job.registry.as_ref(), spki, subject)??)
    }

    fn link(&mut self, signer: &Issuer, certified: &CertificateInfo, linked: &Linked, item: u64) -> Result<Value> {
        let known = self.known(signer.certificate())?;
        if let Some(der) = self.signed_before(item)? {
            return self.keep(&Made { der, issuer: known.as_ref(), item, is_responder: false }, &linked.certificate);
        }
        if let Some(issuer) = &known
            && let Some(objection) = allowed::profile_objection(self.job.config, &issuer.name, &linked.profile)?
        {
            bail!("{objection}");
        }
        refuse_unknown(&linked.certificate)?;
        self.refuse_ended(&signer.certificate().spki)?;
        known.as_ref().map_or(Ok(()), |issuer| self.refuse_without_responder(&issuer.name))?;
        let profile = profile(&linked.profile)?;
        let links = known.as_ref().map(|issuer| IssuerLinks::unpartitioned(self.job.config, &issuer.name, &issuer.publication, &profile));
        let links = links.as_ref().map_or(Links::default(), |links| links.links(&profile));
        let serial = profile.serial(&SystemRandom::new())?;
        let der = profile.link(signer, certified, &Choices { links, ..Choices::default() }, serial)?;
        self.keep(&Made { der, issuer: known.as_ref(), item, is_responder: false }, &linked.certificate)
    }

    /// A CA that may be in no configuration, signing as a profile wants it.
    fn ca(&mut self, source: &CaSource, bound: &Bound) -> Result<Issuer> {
        let certificate = self.approved_certificate(source)?;
        let key: Key = std::sync::Arc::new(self.key(&source.key, &profile(bound)?)?);
        Ok(Issuer::new(certificate, key)?)
    }

    /// The very certificate that the order names by its hash, or that an earlier step of it has made.
    fn approved_certificate(&self, source: &CaSource) -> Result<CertificateInfo> {
        let file = source.certificate.display();
        if let Some(bound) = source.bound() {
            return CertificateInfo::from_pem(files::bound(&bound)?.as_bytes()).with_context(|| format!("certificate {file}"));
        }
        let certificate = setup::read_certificate(&source.certificate)?;
        let found = Fingerprint::of(&certificate.der);
        if !self.has_made(found) {
            bail!("{file}: found a certificate with the hash {found}, wanted the one that an earlier step of the order has made");
        }
        Ok(certificate)
    }

    /// Whether an earlier step has noted that it made a certificate of this hash.
    fn has_made(&self, certificate: Fingerprint) -> bool {
        let made = self.log.iter().map(|entry| &entry["made"]);
        made.flat_map(|made| made.as_array().map_or(std::slice::from_ref(made), Vec::as_slice))
            .any(|made| made["sha256"] == json!(certificate))
    }

    /// A CA of the configuration, registered if it was not.
    fn registered(&self, name: &str) -> Result<crate::registry::Issuer> {
        let config = self.job.config.issuer(name).with_context(|| format!("no [[issuer]] named '{name}' in the configuration"))?;
        Ok(setup::register_issuer(self.job.registry.as_ref(), config, &self.job.config.base_url)?.0)
    }

    /// The same with its key, signing as a profile wants it. It must still issue: in run-off nothing but certificates of its responders (S5.2).
    fn issuer(&mut self, name: &str, profile: &Profile) -> Result<Issuer> {
        let registered = self.registered(name)?;
        match registered.mode {
            IssuerMode::Open => {}
            IssuerMode::RunOff if profile.kind() == Kind::OcspResponder => {}
            mode => bail!("issuer '{name}' is in mode {mode:?} and issues nothing any more (S5.2)"),
        }
        let certificate = CertificateInfo::from_der(&registered.certificate)?;
        let config = self.job.config.issuer(name).with_context(|| format!("no [[issuer]] named '{name}' in the configuration"))?;
        let key = self.ring.issuing_key(config, &certificate, profile)?;
        Ok(Issuer::new(certificate, key)?)
    }

    /// The CA with this certificate, where the configuration or the registry has it: what it signs is to be revocable.
    fn known(&self, certificate: &CertificateInfo) -> Result<Option<crate::registry::Issuer>> {
        for config in self.job.config.issuers.iter().filter(|config| config.certificate.exists()) {
            if setup::read_certificate(&config.certificate)?.der == certificate.der {
                return self.registered(&config.name).map(Some);
            }
        }
        Ok(self.job.registry.issuers()?.into_iter().find(|issuer| issuer.certificate == certificate.der))
    }

    /// A certificate that this step has signed before it was interrupted: registered, or in the log where there is no issuer to register it with.
    fn signed_before(&self, item: u64) -> Result<Option<Vec<u8>>> {
        if let Some(der) = self.issued_before(item)? {
            return Ok(Some(der));
        }
        let noted = self.log.iter().filter(|entry| entry["item"] == item).find_map(|entry| entry["signed"].as_str());
        Ok(noted.map(|pem| CertificateInfo::from_pem(pem.as_bytes())).transpose()?.map(|certificate| certificate.der))
    }

    fn issued_before(&self, item: u64) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.job.registry.visit_issued(self.job.work, item..item + 1, &mut |_, _, der| found = Some(der))?;
        Ok(found)
    }

    /// Registers a certificate, or notes it, where that is not done already, has its status published (rule O16), and then writes it, over nothing: what is under
    /// its name and is not the very same is somebody else's.
    fn keep(&self, made: &Made<'_>, path: &Path) -> Result<Value> {
        let certificate = CertificateInfo::from_der(&made.der)?;
        let (mut described, pem) = (described(&certificate), certificate.to_pem());
        match made.issuer {
            Some(issuer) => {
                if self.issued_before(made.item)?.is_none() {
                    self.register(issuer.id, made, &certificate)?;
                }
                described["status"] = json!(self.publish(issuer, made)?);
            }
            None if self.signed_before(made.item)?.is_some() => {}
            None => self.job.note(WorkEvent::Step, &json!({ "step": self.begun["step"], "item": made.item, "signed": pem }))?,
        }
        durable_file::write_new(path, pem.as_bytes())?;
        Ok(described)
    }

    fn register(&self, issuer: IssuerId, made: &Made<'_>, certificate: &CertificateInfo) -> Result<()> {
        let record = CertificateRecord {
            serial: certificate.serial,
            not_before: Some(certificate.not_before),
            not_after: certificate.not_after,
            is_ca: certificate.is_ca,
            partition: None,
            status: CertificateStatus::Good,
            invalidity_date: None,
        };
        let (public_key, subject) = (key_identity(&certificate.spki), subject_identity(&certificate.subject));
        let issued =
            IssuedRecord { item: made.item, record, public_key, subject, certificate: made.der.clone(), is_responder: made.is_responder };
        Ok(self.job.registry.add_issued(issuer, self.job.work, &[issued], Timestamp::now())?)
    }

    /// Has the status of a certificate published; in words, what came of it. Nobody can sign that of the CA's responder before it is there, nor where the CA is not
    /// one of the configuration.
    fn publish(&self, issuer: &crate::registry::Issuer, made: &Made<'_>) -> Result<String> {
        let name = &issuer.name;
        let Some(config) = self.job.config.issuer(name) else {
            return Ok(format!("left to the service that has the CA '{name}' in its configuration"));
        };
        if let Some(file) = self.missing_responder(name).filter(|_| made.is_responder) {
            return Ok(format!("left to the service: {} is not there yet", file.display()));
        }
        let opened = setup::open_issuer(&mut KeyRing::new(self.job.config), self.job.config, config, self.job.registry.as_ref());
        let signing = opened.with_context(|| format!("issuer '{name}'"))?.with_context(|| format!("issuer '{name}' is closed"))?;
        release::publish(self.job, &signing, made.item..made.item + 1)?;
        Ok("published".to_owned())
    }

    /// The file of a responder's certificate that is not there yet.
    fn missing_responder(&self, name: &str) -> Option<&Path> {
        let responder = self.job.config.issuer(name)?.responder.as_ref()?;
        (!responder.certificate.exists()).then_some(&*responder.certificate)
    }

    /// Without a responder there is no status, and without a status nothing is handed out (O16): the first certificate of a CA is its responder's.
    fn refuse_without_responder(&self, name: &str) -> Result<()> {
        match self.missing_responder(name) {
            Some(file) => bail!("issuer '{name}', responder: found no {}, wanted its certificate first (O16)", file.display()),
            None => Ok(()),
        }
    }

    /// A CA that has ended signs nothing any more, under whatever certificate of its key (S5.2).
    fn refuse_ended(&self, spki: &[u8]) -> Result<()> {
        for issuer in self.job.registry.issuers()?.into_iter().filter(|issuer| issuer.mode != IssuerMode::Open) {
            if key_identity(&CertificateInfo::from_der(&issuer.certificate)?.spki) == key_identity(spki) {
                bail!("the key is that of issuer '{}', which is in mode {:?} and issues nothing any more (S5.2)", issuer.name, issuer.mode);
            }
        }
        Ok(())
    }

    fn run_off(&self, name: &str) -> Result<Value> {
        let issuer = self.registered(name)?;
        self.job.registry.run_off(issuer.id)?;
        Ok(json!({ "mode": IssuerMode::RunOff }))
    }
}

/// What a step that has noted no certificate finds under the name of its own is no certificate of the step's, and nothing is signed beside it.
fn refuse_unknown(path: &Path) -> Result<()> {
    if path.exists() {
        bail!("{}: found a file that the step has not noted, wanted none: move it away, or keep it and leave the step", path.display());
    }
    Ok(())
}

fn described(certificate: &CertificateInfo) -> Value {
    json!({ "subject": certificate.subject_text, "serial": certificate.serial, "sha256": Fingerprint::of(&certificate.der) })
}
