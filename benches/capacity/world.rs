//! Certificates by number, with synthetic signatures: however many there are, they come out the same whenever they are asked for, and nothing keeps them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use der::Decode;
use kakunin::pack::{Entry, PackBuilder, Signing};
use kakunin::pki::ocsp_request::encode_request;
use kakunin::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, KeyAlgorithm, Revocation, RevocationReason};
use kakunin::pki::{Timestamp, ecdsa};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

pub(crate) use super::serials::{mixed, serial};

/// The CertID hash of every response.
pub(crate) const HASH: HashAlgorithm = HashAlgorithm::Sha1;
/// One of so many certificates is revoked.
const REVOKED: u64 = 20;
/// What a certificate takes in a registry or in memory beside its signature is less.
const BESIDE_SIGNATURE: u64 = 22;
/// When they were revoked.
const REVOKED_AT: u64 = 1_700_000_000;
/// nextUpdate − thisUpdate.
pub(crate) const VALIDITY: Duration = Duration::from_secs(7 * 86_400 - 1);

/// One CA with its certificates, in a directory of its own.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) key: KeyAlgorithm,
    pub(crate) certificates: u64,
}

/// The status of a certificate.
pub(crate) fn status(number: u64) -> CertificateStatus {
    if !number.is_multiple_of(REVOKED) {
        return CertificateStatus::Good;
    }
    let at = Timestamp::from_unix(REVOKED_AT).unwrap_or_default();
    CertificateStatus::Revoked(Revocation { at, reason: Some(RevocationReason::CessationOfOperation) })
}

impl World {
    /// The world of so many certificates under `root`.
    pub(crate) fn new(root: &Path, key: KeyAlgorithm, certificates: u64) -> World {
        World { directory: root.join(format!("{key}-{certificates}")), key, certificates }
    }

    /// The registry's file.
    pub(crate) fn registry(&self) -> PathBuf {
        self.directory.join("registry.sqlite")
    }

    /// A configuration by which it is served.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("kakunin.toml")
    }

    /// The key of the OCSP responder.
    pub(crate) fn responder_key(&self) -> PathBuf {
        self.directory.join("responder.key.pem")
    }

    /// More than its packs take, on disk and in memory.
    pub(crate) fn pack_octets(&self) -> u64 {
        self.certificates * (self.key.raw_signature_length() as u64 + BESIDE_SIGNATURE)
    }

    /// The number of a certificate, by a random number.
    pub(crate) fn some(&self, random: u64) -> u64 {
        ((u128::from(mixed(random)) * u128::from(self.certificates)) >> 64) as u64
    }

    /// The signature of a response: octets that nothing tells from r ‖ s, or from an RSA signature.
    pub(crate) fn signature(&self, number: u64) -> Vec<u8> {
        let word = |place: usize| mixed(number ^ (place as u64 + 1) << 48).to_le_bytes();
        (0..self.key.raw_signature_length() / 8).flat_map(word).collect()
    }

    /// Adds the response about a certificate to a pack.
    pub(crate) fn push(&self, builder: &mut PackBuilder, number: u64, signing: Signing) {
        let (serial, signature) = (serial(number), self.signature(number));
        builder.push(&Entry { serial: serial.as_der_content(), status: status(number), signing, raw_signature: &signature });
    }

    /// Reads a response and holds it against what it should be.
    pub(crate) fn check(&self, number: u64, body: &[u8]) -> Result<()> {
        let response = OcspResponse::from_der(body).context("not an OCSPResponse")?;
        let bytes = response.response_bytes.context("an OCSP error instead of a response")?;
        let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).context("not a BasicOCSPResponse")?;
        let [single] = &basic.tbs_response_data.responses[..] else { anyhow::bail!("not one SingleResponse") };
        ensure!(single.cert_id.serial_number.as_bytes() == serial(number).as_der_content(), "the response is about another serial");
        let same = match (&single.cert_status, status(number)) {
            (CertStatus::Good(_), CertificateStatus::Good) => true,
            (CertStatus::Revoked(info), CertificateStatus::Revoked(meant)) => {
                info.revocation_time.0.to_unix_duration().as_secs() == meant.at.unix()
            }
            _ => false,
        };
        ensure!(same, "certificate {number} has another status");
        let (found, wanted) = (basic.signature.raw_bytes(), self.signature(number));
        let raw = if matches!(self.key, KeyAlgorithm::EcdsaP256) { ecdsa::raw_from_der(found, wanted.len()) } else { Some(found.to_vec()) };
        ensure!(raw.as_deref() == Some(&wanted), "certificate {number} has another signature");
        Ok(())
    }
}

/// What CertIDs call the CA.
pub(crate) fn hashes(ca_certificate: &[u8]) -> Result<IssuerHashes> {
    Ok(IssuerHashes::of(&CertificateInfo::from_der(ca_certificate)?, HASH))
}

/// A request for a certificate.
pub(crate) fn request(hashes: &IssuerHashes, number: u64) -> Vec<u8> {
    encode_request(hashes, &serial(number))
}
