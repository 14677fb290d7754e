//! Encoding alone: no registry, no hash, no signature.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use kakunin::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use kakunin::pki::{CertificateInfo, SignatureAlgorithm};

use super::world::now;

/// Seconds that each has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Octets of the CRL.
    pub(crate) octets: usize,
    /// From entries in memory to the finished CRL.
    pub(crate) encode: f64,
    /// Copying the finished CRL into new memory, as encoding writes it into new memory.
    pub(crate) copy: f64,
}

/// Encodes once and copies once.
pub(crate) fn measure(entries: &[CrlEntry]) -> Result<Sample> {
    let certificate = CertificateInfo::from_der(include_bytes!("../../tests/data/responder.der"))?;
    let header = CrlHeader {
        issuer: &certificate.subject,
        authority_key_identifier: &certificate.key_identifier,
        algorithm: SignatureAlgorithm::EcdsaSha256,
        number: 1,
        this_update: now(),
        next_update: now().saturating_add(Duration::from_secs(86_400)),
        base: None,
        distribution_point: None,
        freshest: None,
        expired_since: None,
    };
    let start = Instant::now();
    let mut encoder = CrlEncoder::new(&header, entries.len() as u64);
    entries.iter().for_each(|entry| encoder.push(entry));
    let der = black_box(encoder.finish()?.with_signature(&[1; 70]));
    let encode = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let copied = black_box(der.to_vec());
    let copy = start.elapsed().as_secs_f64();
    Ok(Sample { octets: copied.len(), encode, copy })
}
