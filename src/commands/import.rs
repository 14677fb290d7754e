//! `kakunin import`: takes over what another CA software knows about an issuer's certificates.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::output::Output;
use super::reasons::Reasons;
use super::{ConfigFile, setup};
use crate::pki::{CertificateStatus, Revocation, Serial, Timestamp};
use crate::registry::{AddReport, BoxError, CertificateRecord, CrlScope, NewIssuer, crl_path};
use crate::sources::openssl_index::{Certificates, Found, IndexReader};

/// Take over a CA that was run with `openssl ca`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: kakunin import --config kakunin.toml --issuer my-ca --openssl-index ca/index.txt --certificates ca/newcerts --openssl-crlnumber ca/crlnumber\n\n\
    The whole file is applied, or nothing of it, nor is the issuer registered then. Importing again changes only what is new; a revocation is never undone. Creates the registry where there is none."
)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the issuer in the configuration
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// The database of `openssl ca`: its index.txt
    #[arg(long, value_name = "FILE")]
    openssl_index: PathBuf,
    /// The directory of issued certificates (new_certs_dir): tells notBefore, CRL partition and key of each; nobody else gets a certificate for its key
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,
    /// The crlnumber file of `openssl ca`: CRL numbers go on from there
    #[arg(long, value_name = "FILE")]
    openssl_crlnumber: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let issuer_config =
            config.issuer(&self.issuer).with_context(|| format!("the configuration has no issuer named '{}'", self.issuer))?;
        let file = File::open(&self.openssl_index).with_context(|| format!("{}", self.openssl_index.display()))?;
        if let Some(directory) = &self.certificates {
            std::fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
        }
        let next_number = self.openssl_crlnumber.as_deref().map(read_crl_number).transpose()?;

        let registry = setup::open_or_create_registry(&config.registry.sqlite)?;
        let (described, certificate) = setup::describe_issuer(registry.as_ref(), issuer_config)?;
        // What is published of an issuer that is there already follows from the configuration of the service, which need not be this one.
        let known = registry.issuers()?.into_iter().find(|known| known.name == described.name);
        let partitions = described.publication.crl_partitions;
        let issuer = match known {
            Some(known) => NewIssuer { publication: known.publication, mode: known.mode, ..described },
            None => described,
        };
        let found = Found::default();
        let certificates = self.certificates.as_deref().map(|directory| Certificates {
            directory,
            issuer: &certificate,
            base_url: &config.base_url,
            partition_path: crl_path(&issuer.name, CrlScope::Partition(0)).trim_end_matches("0.crl").to_owned(),
            partitions,
            found: &found,
        });
        let reasons = Reasons::of(issuer_config)?;
        let now = Timestamp::now();
        let objection = |record: &CertificateRecord| objection(&reasons, record, now);
        let reader = IndexReader::new(BufReader::new(file), certificates).objecting(&objection);
        let mut records = reader.map(|record| record.map_err(BoxError::from));
        // Everything at once: a running signer would publish a CRL of what there is, with a number of its own (rule C2), and a responder would be asked
        // for an issuer of whom there is nothing (S1.1).
        let last_number = next_number.unwrap_or_default().saturating_sub(1);
        let report = registry
            .take_over(&issuer, last_number, &mut records, now)
            .with_context(|| format!("{}: nothing was imported", self.openssl_index.display()))?;
        if found.here.get() > 0 {
            setup::follow_base_url(registry.as_ref(), &issuer.name, &config.base_url)?;
        }
        let mut output = Output::new();
        let written = match self.json {
            true => output.json(&report),
            false => output.line(text(&report, self.certificates.is_some().then_some(&found))),
        };
        written.and_then(|()| output.finish()).context("standard output")
    }
}

fn text(AddReport { added, revoked, unchanged }: &AddReport, found: Option<&Found>) -> String {
    let files = found.map_or(String::new(), |found| {
        let (files, lines) = (found.files.get(), added + revoked + unchanged);
        format!("; {files} of {lines} have a certificate file, {} name a CRL partition", found.in_partitions.get())
    });
    format!("{added} added, {revoked} newly revoked, {unchanged} unchanged{files}")
}

/// What could not be published of a revocation, nor anything else in its slot and on its CRL: a reason that the issuer's rules do not have, and a CA's revocation
/// without one (rules C3, O14). One that is still to come is none for some who validate, and would never be put right: nothing is revoked a second time.
fn objection(reasons: &Reasons, record: &CertificateRecord, now: Timestamp) -> Option<String> {
    let CertificateStatus::Revoked(Revocation { reason, at }) = record.status else { return None };
    if at > now {
        return Some(format!("serial {}: found revoked at {at}, wanted a time that has come", record.serial));
    }
    if record.is_ca && reason.is_none() {
        let serial = record.serial;
        return Some(format!("serial {serial}: found revoked without a reason, wanted a reason: a CA's is published with one (C3, O14)"));
    }
    reasons.objection(reason, record.is_ca).map(|objection| format!("revocation reason of serial {}: {objection}", record.serial))
}

/// The number that `openssl ca` would give its next CRL.
fn read_crl_number(path: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let number: Serial = text.trim().parse().with_context(|| format!("{}", path.display()))?;
    let number = u64::from_str_radix(&number.to_string(), 16).ok().filter(|n| *n < i64::MAX as u64);
    number.with_context(|| format!("{}: found {}, wanted a CRL number below 2^63", path.display(), text.trim()))
}
