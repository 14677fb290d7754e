//! Orders of kind `issue-with-keys` (S4.9): keys that are made for applicants, handed over with their certificates as PKCS#12 under a passphrase.
//!
//! A private key is in memory and, encrypted, in its file; nowhere else. The file is whole and on disk before its certificate is registered, under a name that
//! says that it is not to be handed out, and gets its own when the certificate's status is published. One whose certificate was never registered is made anew.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use serde::Deserialize;

use super::issue::{Batch, batch_profile, run_batch};
use super::run::{Done, Job};
use super::{allowed, claim, release};
use crate::commands::{durable_file, setup};
use crate::issuance::order::{self, Item};
use crate::issuance::pkcs12;
use crate::issuance::profile::Profile;
use crate::issuance::vetting::{CertificationRequest, Rejection, RequestedName, read_json_line};
use crate::pki::{CertificateInfo, KeyAlgorithm};
use crate::registry::work::WorkRegistry;
use crate::token::SigningKey;
use crate::token::software::SoftwareKey;

/// An applicant: a line of the inputs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Applicant {
    /// RFC 4514 text.
    subject: String,
    #[serde(default)]
    dns: Vec<String>,
}

pub(super) fn run(job: &Job<'_>, task: &order::IssueWithKeys) -> Result<Done> {
    for directory in [&task.output, &task.passphrases] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).with_context(|| directory.display().to_string())?;
    }
    // Once more: now they are there, and so is what their names lead to.
    if let Some(overlap) = allowed::overlaps(&job.order.task).first() {
        bail!("{overlap}");
    }
    claim::take(&task.passphrases, job.order)?;
    let issuer = job.config.issuer(&task.issuer).with_context(|| format!("no [[issuer]] named '{}'", task.issuer))?;
    let ca = setup::read_certificate(&issuer.certificate)?;
    let profile = batch_profile(&task.profile)?;
    let maker = Maker { task, ca, profile: &profile, keys: Mutex::default() };
    let batch = Batch {
        issuer: &task.issuer,
        profile: &task.profile,
        inputs: &task.inputs,
        output: &task.output,
        on_rejection: task.on_rejection,
        valid_for: task.valid_for,
        renewal: false,
        read: &|item| maker.request(item),
        signed: Some(&|item, der| maker.write(item, der).map_err(|e| format!("{e:#}"))),
        hand_out: &|_, items| {
            let (mut named, mut failed) = (0, Ok(()));
            job.registry.visit_issued(job.work, items, &mut |item, _, _| {
                if failed.is_ok() {
                    failed = maker.hand_out(item);
                    named += 1;
                }
            })?;
            // Those of applicants who were rejected are for nobody.
            maker.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
            failed.map(|()| named)
        },
    };
    run_batch(job, &batch)
}

/// Makes keys, and their files.
struct Maker<'a> {
    task: &'a order::IssueWithKeys,
    ca: CertificateInfo,
    profile: &'a Profile,
    /// Of inputs whose certificates are being made.
    keys: Mutex<HashMap<u64, SoftwareKey>>,
}

impl Maker<'_> {
    /// A request for a new key, as the applicant would have made it.
    fn request(&self, item: &Item) -> Result<CertificationRequest, Rejection> {
        let applicant: Applicant = read_json_line(&item.content, "a string 'subject'")?;
        let subject = self.profile.subject(&applicant.subject).map_err(|finding| Rejection::new("profile", finding.to_string()))?;
        let algorithm: KeyAlgorithm = self.task.key_algorithm;
        let key = SoftwareKey::generate(algorithm).map_err(|e| Rejection::new("key", e.to_string()))?;
        let names = applicant.dns.into_iter().map(RequestedName::Dns).collect();
        let request = CertificationRequest::made_here(subject, key.public_key().to_vec(), algorithm.into(), names)?;
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(item.number, key);
        Ok(request)
    }

    /// Writes key and certificate under a name that says that they are not to be handed out, and the passphrase beside nothing of them.
    fn write(&self, item: &Item, der: &[u8]) -> Result<()> {
        let key = self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&item.number);
        let key = key.with_context(|| format!("{}: its key is not there", item.place))?;
        release::refuse_stranger(&self.path(item.number), None)?;
        let random = SystemRandom::new();
        let passphrase = pkcs12::random_passphrase(&random)?;
        let file = pkcs12::encode(&key.to_pkcs8()?, &[der, &self.ca.der], &passphrase, &random)?;
        durable_file::write_secret(&self.passphrase_path(item.number), format!("{}\n", *passphrase).as_bytes())?;
        durable_file::write_secret(&self.pending_path(item.number), &file)
    }

    fn hand_out(&self, item: u64) -> Result<()> {
        let (pending, path) = (self.pending_path(item), self.path(item));
        if path.exists() && !pending.exists() {
            return Ok(());
        }
        fs::rename(&pending, &path).with_context(|| path.display().to_string())
    }

    fn path(&self, item: u64) -> PathBuf {
        self.task.output.join(format!("line-{:09}.p12", item + 1))
    }

    fn pending_path(&self, item: u64) -> PathBuf {
        self.task.output.join(format!("line-{:09}.not-issued", item + 1))
    }

    fn passphrase_path(&self, item: u64) -> PathBuf {
        self.task.passphrases.join(format!("line-{:09}.passphrase", item + 1))
    }
}
