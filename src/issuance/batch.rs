//! Batches of end-entity certificates, in chunks: signed on all threads, registered in one transaction a chunk, and only then released.

use std::ops::Range;

use aws_lc_rs::rand::SecureRandom;

use super::{EndEntityOrder, EndEntityTemplate, IssuanceError, Validity, pipeline, random_serial};
use crate::pki::{CertificateStatus, KeyAlgorithm, Timestamp};
use crate::registry::{CertificateRecord, IssuerId, OnConflict, Registry, RegistryError};
use crate::token::SigningKey;
use crate::token::software::SoftwareKey;

/// Why a batch stopped. What was released before stays issued.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A certificate was not issued.
    #[error(transparent)]
    Issuance(#[from] IssuanceError),
    /// A chunk was not registered; none of it was released.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Certificates signed between two transactions.
const CHUNK: usize = 1000;

/// A batch of certificates for generated keys, host names numbered.
pub struct Batch<'a> {
    /// Whose.
    pub issuer: IssuerId,
    /// One template a CRL partition, in the order of the partitions: certificates take them in turn.
    pub templates: &'a [EndEntityTemplate],
    /// The domain below which the host names are.
    pub domain: &'a str,
    /// Validity of all of them.
    pub validity: Validity,
    /// How many.
    pub count: u64,
    /// Threads to sign on.
    pub threads: usize,
}

/// A certificate that has been registered.
pub struct Issued {
    /// What the registry knows.
    pub record: CertificateRecord,
    /// The certificate.
    pub der: Vec<u8>,
}

/// Issues one certificate for a key, without registering it: the caller does, before it lets go of the certificate.
pub fn prepare(
    template: &EndEntityTemplate,
    partition: u32,
    host: &str,
    key: &dyn SigningKey,
    validity: Validity,
    random: &dyn SecureRandom,
) -> Result<Issued, IssuanceError> {
    let serial = random_serial(random)?;
    let der = template.issue(&EndEntityOrder { dns_names: &[host], spki: key.public_key(), serial, validity })?;
    let record = CertificateRecord {
        serial,
        not_before: Some(validity.not_before),
        not_after: validity.not_after,
        is_ca: false,
        partition: Some(partition),
        status: CertificateStatus::Good,
        invalidity_date: None,
    };
    Ok(Issued { record, der })
}

/// Issues a batch. `released` sees each chunk once it is registered; when the call fails, chunks that were released stay issued.
pub fn issue(
    batch: &Batch<'_>,
    registry: &dyn Registry,
    random: &(dyn SecureRandom + Sync),
    now: Timestamp,
    released: &mut dyn FnMut(&[Issued]),
) -> Result<(), BatchError> {
    let mut chunks = (0..batch.count).step_by(CHUNK).map(|first| first..batch.count.min(first + CHUNK as u64));
    let sign = |chunk: Range<u64>| Ok(chunk.map(|number| sign_one(batch, number, random)).collect::<Result<Vec<_>, _>>()?);
    let mut register = |chunk: Vec<Issued>| {
        registry.add_certificates(batch.issuer, &mut chunk.iter().map(|issued| Ok(issued.record)), OnConflict::Refuse, now)?;
        released(&chunk);
        Ok(())
    };
    pipeline::run(batch.threads, &mut || Ok(chunks.next()), &sign, &mut register)
}

fn sign_one(batch: &Batch<'_>, number: u64, random: &dyn SecureRandom) -> Result<Issued, IssuanceError> {
    let partition = (number % batch.templates.len() as u64) as u32;
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256)?;
    let host = format!("host-{number}.{}", batch.domain);
    prepare(&batch.templates[partition as usize], partition, &host, &key, batch.validity, random)
}
