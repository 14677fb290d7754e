//! What the gate knows of an issuer and of who signs its responses: computed once, from their certificates, by other decoders than the signing side's.

use der::{Decode, Tag};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};

use super::shape::Tlv;
use super::{Profile, Programme};
use crate::pki::{CertificateInfo, HashAlgorithm, RevocationReason, SignatureAlgorithm, Timestamp};
use crate::registry::Signer;

/// A CA's certificate cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {detail}")]
pub struct FactsError {
    what: &'static str,
    detail: String,
}

/// An issuer, as rules look at it.
#[derive(Clone, Debug)]
pub struct IssuerFacts {
    /// DER of its certificate.
    pub(super) certificate: Vec<u8>,
    /// DER of its subject (rules O2, C1).
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    /// Its subjectKeyIdentifier, or the SHA-1 of its key where it has none.
    pub(super) key_identifier: Vec<u8>,
    /// Whether its keyUsage has cRLSign; `None` where there is no keyUsage.
    pub(super) may_sign_crls: Option<bool>,
    /// Whether its pathLenConstraint lets it issue end-entity certificates only.
    pub(super) end_entities_only: bool,
    /// issuerNameHash and issuerKeyHash, by [`HashAlgorithm`].
    hashes: [(Vec<u8>, Vec<u8>); 4],
    pub(super) profile: Profile,
}

impl IssuerFacts {
    /// Whether a certificate of this issuer may be revoked for this reason: not so where what says it could not be published (rule C3). `may_be_a_ca`: whether
    /// it is a CA's, or stands on CRLs that list those of CAs and of end entities alike.
    pub fn allows_reason(&self, reason: Option<RevocationReason>, may_be_a_ca: bool) -> bool {
        use RevocationReason as R;
        match reason {
            _ if !self.profile.has(Programme::BaselineRequirements) => true,
            None => true,
            Some(R::CaCompromise) => may_be_a_ca && !self.end_entities_only,
            Some(R::KeyCompromise | R::AffiliationChanged | R::Superseded | R::CessationOfOperation | R::PrivilegeWithdrawn) => true,
            Some(_) => false,
        }
    }

    /// Reads a CA's certificate (DER).
    pub fn new(certificate: &[u8], profile: Profile) -> Result<IssuerFacts, FactsError> {
        let failed = |e: der::Error| FactsError { what: "CA certificate", detail: e.to_string() };
        let read = Certificate::from_der(certificate).map_err(failed)?;
        let octets = CertificateOctets::of(certificate).map_err(failed)?;
        let tbs = &read.tbs_certificate;
        let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
        let identifier = tbs.get::<SubjectKeyIdentifier>().map_err(failed)?;
        let constraints = tbs.get::<BasicConstraints>().map_err(failed)?;
        let hash = |algorithm: HashAlgorithm, octets: &[u8]| algorithm.hash(octets).as_ref().to_vec();
        Ok(IssuerFacts {
            certificate: certificate.to_vec(),
            spki: octets.spki.to_vec(),
            key_identifier: identifier.map_or_else(|| hash(HashAlgorithm::Sha1, key), |(_, id)| id.0.as_bytes().to_vec()),
            may_sign_crls: tbs.get::<KeyUsage>().map_err(failed)?.map(|(_, usage)| usage.crl_sign()),
            end_entities_only: constraints.is_some_and(|(_, c)| c.path_len_constraint == Some(0)),
            hashes: HashAlgorithm::ALL.map(|algorithm| (hash(algorithm, octets.subject), hash(algorithm, key))),
            subject: octets.subject.to_vec(),
            profile,
        })
    }

    /// The facts of a certificate that is read already.
    pub fn of(certificate: &CertificateInfo, profile: Profile) -> Result<IssuerFacts, FactsError> {
        IssuerFacts::new(&certificate.der, profile)
    }

    /// issuerNameHash and issuerKeyHash of CertIDs (rule O2).
    pub(super) fn hashes(&self, algorithm: HashAlgorithm) -> (&[u8], &[u8]) {
        let (name, key) = &self.hashes[usize::from(algorithm.code()) - 1];
        (name, key)
    }
}

/// Who signs OCSP responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerFacts {
    /// SHA-1 of the key in the certificate with which the signature is verified (rule O3).
    pub(super) key_hash: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) algorithm: SignatureAlgorithm,
    /// The beginning of that certificate.
    pub(super) not_before: Timestamp,
    /// The end of that certificate (rule T3).
    pub(super) not_after: Timestamp,
    /// DER of the delegate's certificate; `None` where the CA signs itself (rule O7).
    pub(super) delegate: Option<Vec<u8>>,
}

impl SignerFacts {
    /// A registered signer of `ca`. The key hash is computed from the certificate, not taken over.
    pub fn new(signer: &Signer, ca: &IssuerFacts) -> Result<SignerFacts, FactsError> {
        let failed = |e: der::Error| FactsError { what: "responder certificate", detail: e.to_string() };
        let der = signer.certificate.as_ref().unwrap_or(&ca.certificate);
        let certificate = Certificate::from_der(der).map_err(failed)?;
        let tbs = &certificate.tbs_certificate;
        let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
        Ok(SignerFacts {
            key_hash: HashAlgorithm::Sha1.hash(key).as_ref().to_vec(),
            spki: CertificateOctets::of(der).map_err(failed)?.spki.to_vec(),
            algorithm: signer.algorithm,
            not_before: tbs.validity.not_before.to_date_time().into(),
            not_after: tbs.validity.not_after.to_date_time().into(),
            delegate: signer.certificate.clone(),
        })
    }

    /// DER of the delegate's certificate; `None` where the CA signs itself.
    pub fn delegate(&self) -> Option<&[u8]> {
        self.delegate.as_deref()
    }
}

/// Parts of a certificate as they stand in it: nothing is encoded again.
#[derive(Clone, Copy, Debug)]
pub(super) struct CertificateOctets<'a> {
    /// DER of the TBSCertificate: what is signed.
    pub(super) to_be_signed: &'a [u8],
    /// DER of the issuer's Name.
    pub(super) issuer: &'a [u8],
    /// DER of the subject's Name.
    pub(super) subject: &'a [u8],
    /// DER of the SubjectPublicKeyInfo.
    pub(super) spki: &'a [u8],
}

impl<'a> CertificateOctets<'a> {
    pub(super) fn of(der: &'a [u8]) -> der::Result<CertificateOctets<'a>> {
        let tbs = Tlv::whole(der)?.fields(Tag::Sequence)?.next()?;
        let mut fields = tbs.fields(Tag::Sequence)?;
        fields.explicit_if(0)?;
        let (_serial, _signature, issuer, _validity) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (subject, spki) = (fields.next()?, fields.next()?);
        Ok(CertificateOctets { to_be_signed: tbs.raw, issuer: issuer.raw, subject: subject.raw, spki: spki.raw })
    }
}
