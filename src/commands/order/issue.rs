//! Orders of kind `issue`, and what all batches have in common: certificates for inputs, in rounds. In each, certificates are issued and registered, their status
//! is signed and published, and only then they are written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;

use super::claim;
use super::files;
use super::release;
use super::run::{Done, Job};
use crate::commands::durable_file;
use crate::commands::output::progress;
use crate::commands::setup::{self, KeyRing};
use crate::config::{Config, IssuerConfig};
use crate::issuance::order::{self, CHUNK, Inputs, Item, OnRejection};
use crate::issuance::profile::{Choices, Kind, Period, Profile, Template};
use crate::issuance::requests::{ChunkDone, ReadRequest, Requests, Signed};
use crate::issuance::vetting::{BlockedKeys, CertificationRequest, Constraints, Rejection, read_csr_line};
use crate::issuance::{IssuanceError, Issuer, Links, Validity};
use crate::pki::Timestamp;
use crate::registry::work::WorkEvent;
use crate::registry::{CrlScope, IssuerMode, Publication};
use crate::signing::{IssuerSigning, crl_url, ocsp_url};

/// Certificates between two signings of their status: some seconds' worth of signatures, and what a file of output holds.
const ROUND_CHUNKS: usize = 200;
/// The greatest list of blocked keys.
const MAX_BLOCKED_BYTES: u64 = 80 << 20;

/// What an order of either kind says.
pub(super) struct Batch<'a> {
    pub(super) issuer: &'a str,
    pub(super) profile: &'a order::Bound,
    pub(super) inputs: &'a order::InputsConfig,
    pub(super) output: &'a Path,
    pub(super) on_rejection: OnRejection,
    pub(super) valid_for: Option<Period>,
    pub(super) renewal: bool,
    pub(super) read: &'a ReadRequest<'a>,
    pub(super) signed: Option<&'a Signed<'a>>,
    /// Hands out what was issued for some of the inputs; how many.
    pub(super) hand_out: &'a dyn Fn(&Inputs, Range<u64>) -> Result<u64>,
}

pub(super) fn run(job: &Job<'_>, task: &order::Issue) -> Result<Done> {
    let is_lines = task.inputs.lines.is_some();
    let read = |item: &Item| -> Result<CertificationRequest, Rejection> {
        if is_lines { read_csr_line(&item.content) } else { CertificationRequest::read(&item.content) }
    };
    let batch = Batch {
        issuer: &task.issuer,
        profile: &task.profile,
        inputs: &task.inputs,
        output: &task.output,
        on_rejection: task.on_rejection,
        valid_for: task.valid_for,
        renewal: task.renewal,
        read: &read,
        signed: None,
        hand_out: &|inputs, items| release::write(job, inputs, &task.output, items),
    };
    run_batch(job, &batch)
}

/// Issues what is missing, in rounds: registered, its status published, and then handed out.
pub(super) fn run_batch(job: &Job<'_>, batch: &Batch<'_>) -> Result<Done> {
    let profile = batch_profile(batch.profile)?;
    let mut ring = KeyRing::new(job.config);
    let (config, signing) = open_issuer(job, &mut ring, batch.issuer)?;
    let key = ring.issuing_key(config, &signing.certificate, &profile)?;
    let issuer = Issuer::new(signing.certificate.clone(), key)?;
    let templates = templates(job, &signing, &issuer, &profile)?;
    let constraints = Constraints::of(&signing.certificate.der)?;
    let blocked = blocked_keys(job)?;
    let mut inputs = Inputs::open(batch.inputs)?;
    claim::take(batch.output, job.order)?;
    let valid_for = batch.valid_for;
    let validity = |now| validity(&profile, issuer.certificate().not_after, valid_for, now);
    let requests = Requests {
        registry: job.registry.as_ref(),
        issuer: signing.issuer.id,
        work: job.work,
        templates: &templates,
        is_partitioned: signing.issuer.publication.crl_partitions > 0,
        constraints: &constraints,
        blocked: &blocked,
        validity: &validity,
        read: batch.read,
        signed: batch.signed,
        renewal: batch.renewal,
        on_rejection: batch.on_rejection,
        vetters: job.config.issuing.threads,
        signers: job.config.signing.threads,
    };
    let mut report = Report::create(batch.output)?;
    let stopped = rounds(job, batch, &signing, &requests, &mut inputs, &mut report)?;
    report.finish(batch.output)?;
    let event = if stopped { WorkEvent::Stopped } else { WorkEvent::Done };
    Ok(Done { event, did: report.text(stopped) })
}

fn rounds(
    job: &Job<'_>,
    batch: &Batch<'_>,
    signing: &IssuerSigning,
    requests: &Requests<'_>,
    inputs: &mut Inputs,
    report: &mut Report,
) -> Result<bool> {
    let count = inputs.count();
    let bar = progress(count, "issuing");
    let mut stopped = false;
    for first in (0..count).step_by(ROUND_CHUNKS * CHUNK) {
        let items = first..count.min(first + (ROUND_CHUNKS * CHUNK) as u64);
        stopped = requests.issue(inputs, ROUND_CHUNKS, &SystemRandom::new(), &Timestamp::now, &mut |done| {
            bar.inc(done.issued + done.there_before + done.rejected.len() as u64);
            report.add(done).map_err(|e| format!("{e:#}"))
        })?;
        release::publish(job, signing, items.clone())?;
        report.written += (batch.hand_out)(inputs, items)?;
        if stopped {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(stopped)
}

/// Counts, and the file of what was rejected.
struct Report {
    issued: u64,
    there_before: u64,
    rejected: u64,
    written: u64,
    file: BufWriter<File>,
}

const REJECTED: &str = "rejected.jsonl";

impl Report {
    fn create(output: &Path) -> Result<Report> {
        let path = output.join(REJECTED);
        let file = BufWriter::new(durable_file::create(&path).with_context(|| path.display().to_string())?);
        Ok(Report { issued: 0, there_before: 0, rejected: 0, written: 0, file })
    }

    fn add(&mut self, done: ChunkDone) -> Result<()> {
        self.issued += done.issued;
        self.there_before += done.there_before;
        self.rejected += done.rejected.len() as u64;
        done.rejected.iter().try_for_each(|one| Ok(writeln!(self.file, "{}", serde_json::to_string(one)?)?))
    }

    fn finish(&mut self, output: &Path) -> Result<()> {
        let path = output.join(REJECTED);
        let finish = self.file.flush().and_then(|()| durable_file::finish(self.file.get_ref(), &path));
        finish.with_context(|| path.display().to_string())
    }

    fn text(&self, stopped: bool) -> String {
        let Report { issued, there_before, rejected, written, .. } = self;
        let stopped = if stopped { "; stopped at a rejection, as the order says" } else { "" };
        let before = if *there_before > 0 { format!(", {there_before} were there before") } else { String::new() };
        format!("issued {issued} certificates{before}, {written} are written, {rejected} requests were rejected ({REJECTED}){stopped}")
    }
}

/// The profile of a batch. What makes a CA, or who answers for one, is ordered as a ceremony, with a ceremony's approvals (S1.5).
pub(super) fn batch_profile(bound: &order::Bound) -> Result<Profile> {
    let profile = profile(bound)?;
    let found = match profile.kind() {
        Kind::EndEntity if profile.names_responders() => "a profile with the purpose OCSPSigning".to_owned(),
        Kind::EndEntity => return Ok(profile),
        other => format!("the kind {}", other.name()),
    };
    bail!(
        "profile {}: found {found}, wanted the kind end-entity: a batch makes neither CAs nor their responders (S1.5)",
        bound.file.display()
    )
}

/// A profile that an order is bound to.
pub(super) fn profile(bound: &order::Bound) -> Result<Profile> {
    let name = bound.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Profile::from_toml(&name, &files::bound(bound)?)?)
}

/// An issuer of the configuration with its keys; it must still issue (S5.2).
pub(super) fn open_issuer<'c>(job: &Job<'c>, ring: &mut KeyRing<'c>, name: &str) -> Result<(&'c IssuerConfig, IssuerSigning)> {
    let config = job.config.issuer(name).with_context(|| format!("no [[issuer]] named '{name}' in the configuration"))?;
    let opened = setup::open_issuer(ring, job.config, config, job.registry.as_ref()).with_context(|| format!("issuer '{name}'"))?;
    let mode = opened.as_ref().map_or(IssuerMode::Closed, |signing| signing.issuer.mode);
    match opened.filter(|_| mode == IssuerMode::Open) {
        Some(signing) => Ok((config, signing)),
        None => bail!("issuer '{name}' is in mode {mode:?} and issues nothing any more (S5.2)"),
    }
}

/// What certificates of an issuer say of where its status is published.
pub(super) struct IssuerLinks {
    ocsp: String,
    ca_issuers: String,
    crl: String,
}

impl IssuerLinks {
    /// Those of certificates that are in no partition: CAs' name the ARL, where there is one (C4).
    pub(super) fn unpartitioned(config: &Config, issuer: &str, publication: &Publication, profile: &Profile) -> IssuerLinks {
        let on_arl = profile.kind().is_ca() && publication.crl_extras.arl;
        IssuerLinks::of(config, issuer, if on_arl { CrlScope::Authorities } else { CrlScope::Full })
    }

    fn of(config: &Config, issuer: &str, scope: CrlScope) -> IssuerLinks {
        let base = &config.base_url;
        IssuerLinks { ocsp: ocsp_url(base, issuer), ca_issuers: format!("{base}/ca/{issuer}.cer"), crl: crl_url(base, issuer, scope) }
    }

    /// As certificates of a profile say them, which may fix some.
    pub(super) fn links<'a>(&'a self, profile: &'a Profile) -> Links<'a> {
        profile.links(Links { ocsp: Some(&self.ocsp), ca_issuers: Some(&self.ca_issuers), crl: Some(&self.crl) })
    }
}

/// One a CRL partition.
fn templates<'p>(job: &Job<'_>, signing: &IssuerSigning, issuer: &Issuer, profile: &'p Profile) -> Result<Vec<Template<'p>>> {
    let partitions = signing.issuer.publication.crl_partitions;
    let template = |partition| {
        let scope = if partitions == 0 { CrlScope::Full } else { CrlScope::Partition(partition) };
        let links = IssuerLinks::of(job.config, &signing.issuer.name, scope);
        Ok(profile.template(issuer, &Choices { links: links.links(profile), ..Choices::default() })?)
    };
    (0..partitions.max(1)).map(template).collect()
}

/// From now on, as long as the order or else the profile says, of an issuer that ends at `end`. What the order says must be within the profile and the issuer's own
/// validity; what the profile says ends with the issuer where the profile allows less.
pub(super) fn validity(profile: &Profile, end: Timestamp, valid_for: Option<Period>, now: Timestamp) -> Result<Validity, IssuanceError> {
    let validity = match valid_for {
        Some(period) => profile.limited_validity(period, end, now)?,
        None => {
            let longest = profile.validity(now).unwrap_or(Validity { not_before: now, not_after: end });
            Validity { not_after: longest.not_after.min(end), ..longest }
        }
    };
    profile.check_validity(&validity)?;
    Ok(validity)
}

/// Keys that get no certificate, of whatever kind.
pub(super) fn blocked_keys(job: &Job<'_>) -> Result<BlockedKeys> {
    let Some(path) = &job.config.issuing.blocked_keys else { return Ok(BlockedKeys::default()) };
    let text = files::read_text(path, MAX_BLOCKED_BYTES)?;
    BlockedKeys::parse(&text).with_context(|| format!("blocked keys {}", path.display()))
}
