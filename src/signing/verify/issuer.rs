//! An issuer, prepared for looking at what is published for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::VerifyError;
use super::report::TaskReport;
use crate::pki::certificate::CertificateError;
use crate::pki::ocsp_response::ResponseTemplate;
use crate::pki::{CertificateInfo, HashAlgorithm, IssuerHashes};
use crate::registry::{CrlScope, Issuer, Registry};
use crate::signing::CrlPolicy;
use crate::signing::gate::{self, FactsError, IssuerFacts, Profile, SignerFacts};

/// An issuer whose publications are to be verified.
#[derive(Clone, Debug)]
pub struct IssuerToVerify {
    /// As registered.
    pub issuer: Issuer,
    /// Which programmes' rules apply to it.
    pub profile: Profile,
    /// How its CRLs are made.
    pub crl_policy: CrlPolicy,
    /// The URL that distribution points begin with.
    pub base_url: String,
}

/// A signer: what the gate goes by, and the template of its responses for each CertID hash.
pub(super) struct PreparedSigner {
    pub(super) facts: SignerFacts,
    templates: BTreeMap<HashAlgorithm, ResponseTemplate>,
}

impl PreparedSigner {
    /// The template for a CertID hash that the issuer publishes.
    pub(super) fn template(&self, hash: HashAlgorithm) -> &ResponseTemplate {
        &self.templates[&hash]
    }
}

/// An issuer with all that follows from its registration.
pub(super) struct Prepared {
    pub(super) issuer: Issuer,
    pub(super) facts: IssuerFacts,
    pub(super) crl_policy: CrlPolicy,
    pub(super) base_url: String,
    pub(super) hashes: BTreeMap<HashAlgorithm, IssuerHashes>,
    pub(super) signers: BTreeMap<u32, PreparedSigner>,
    /// Those whose signatures occur in packs.
    signed: Mutex<BTreeSet<u32>>,
}

impl Prepared {
    pub(super) fn new(registry: &dyn Registry, wanted: IssuerToVerify) -> Result<Prepared, VerifyError> {
        let IssuerToVerify { issuer, profile, crl_policy, base_url } = wanted;
        let name = issuer.name.clone();
        let failed = |e: FactsError| VerifyError::Certificate { issuer: name.clone(), detail: e.to_string() };
        let facts = IssuerFacts::new(&issuer.certificate, profile).map_err(failed)?;
        let unreadable = |e: CertificateError| VerifyError::Certificate { issuer: name.clone(), detail: e.to_string() };
        let certificate = CertificateInfo::from_der(&issuer.certificate).map_err(unreadable)?;
        let hashes: BTreeMap<_, _> =
            issuer.publication.cert_id_hashes.iter().map(|hash| (*hash, IssuerHashes::of(&certificate, *hash))).collect();
        let mut signers = BTreeMap::new();
        for (id, signer) in registry.signers(issuer.id)? {
            let templates = hashes.iter().map(|(hash, names)| (*hash, signer.template(names))).collect();
            signers.insert(id.0, PreparedSigner { facts: SignerFacts::new(&signer, &facts).map_err(failed)?, templates });
        }
        Ok(Prepared { issuer, facts, crl_policy, base_url, hashes, signers, signed: Mutex::default() })
    }

    /// The scopes in which it publishes CRLs.
    pub(super) fn scopes(&self) -> impl Iterator<Item = CrlScope> + use<> {
        self.issuer.publication.crl_scopes()
    }

    /// Notes that signatures of these signers were seen.
    pub(super) fn note_signers(&self, signers: impl Iterator<Item = u32>) {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).extend(signers);
    }

    /// Looks at the CA's certificate, and at those of the responders whose signatures were seen.
    pub(super) fn certificates(&self) -> TaskReport {
        let mut report = TaskReport::default();
        report.note(&self.issuer.name, || "CA certificate".to_owned(), gate::check_ca_certificate(&self.facts));
        for id in self.signed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let delegate = self.signers.get(id).and_then(|signer| signer.facts.delegate());
            let findings = delegate.map(|der| gate::check_responder_certificate(der, &self.facts)).unwrap_or_default();
            report.note(&self.issuer.name, || format!("certificate of response signer {id}"), findings);
        }
        report
    }
}
