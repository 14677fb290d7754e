//! The signing worker: reads from the registry what is due, signs it, checks it, and publishes it to the registry.
//!
//! [`schedule`] decides, as a pure function of state and time; [`ocsp`] and [`crl`] make the artefacts; [`gate`] lets no artefact pass that it finds to break a rule;
//! [`worker`] ties them to the registry and to threads; [`live`] answers questions while somebody waits; [`verify`] holds what is published against the gate
//! again; [`ending`] tells what a CA that ends has not published. Nothing here knows HTTP or files.

mod agenda;
pub mod coverage;
mod crew;
pub mod crl;
mod crl_agenda;
pub mod crl_policy;
pub mod ending;
pub mod gate;
mod growth;
mod housekeeping;
mod lane;
pub mod live;
pub mod metrics;
mod news;
pub mod ocsp;
mod pass_report;
pub mod schedule;
pub mod verify;
mod watermarks;
pub mod worker;

use std::time::Duration;

use crate::pack::PackError;
use crate::pki::{CertificateInfo, Timestamp, crl as crl_encoder, ocsp_response};
use crate::registry::{CrlScope, Issuer, IssuerMode, Registry, RegistryError, Signer, SignerId, crl_path};
use crate::token::{Key, TokenError, verify_pair};

use gate::{IssuerFacts, Refusal};

pub use crew::REVOCATION_THREADS;
pub use crl_policy::{CrlPolicy, ExpiredEntries};
pub use pass_report::PassReport;
pub use worker::{Clock, SignerUpdates, Stopped, Worker};

/// How often and for how long something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// nextUpdate − thisUpdate + 1 s, as the rules measure it (rule T1).
    pub validity: Duration,
    /// The longest time between two signings.
    pub refresh: Duration,
}

/// Why something could not be signed or published. What was published before stays.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The token failed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A published pack cannot be read.
    #[error("published pack of slot {slot}: {source}")]
    Pack {
        /// Which slot.
        slot: u32,
        /// What is wrong with it.
        source: PackError,
    },
    /// The signer's certificate has ended.
    #[error("the certificate of the OCSP signer ended at {0}: nothing can be signed with it any more (rule T3)")]
    SignerEnded(Timestamp),
    /// The program ends.
    #[error("interrupted: the program ends")]
    Stopped,
    /// The issuer has another mode by now.
    #[error("the mode of issuer '{0}' was changed by somebody else in the meantime")]
    IssuerChanged(String),
    /// There are too many entries for one CRL.
    #[error(transparent)]
    CrlTooLong(#[from] crl_encoder::CrlTooLong),
    /// The gate refused what was signed.
    #[error("refused by the gate: {0}")]
    Gate(#[from] gate::Refusal),
    /// A certificate cannot be read by the gate.
    #[error(transparent)]
    Facts(#[from] gate::FactsError),
    /// The clock shows a time before what is published.
    #[error(
        "{what} was signed at {published}, and the clock shows {now}: nothing is signed that would look older than what is published; if the clock was ahead then, and is right now: kakunin sign --once --replace-future"
    )]
    ClockWentBack {
        /// What was to be signed.
        what: String,
        /// Its published thisUpdate.
        published: Timestamp,
        /// The present time.
        now: Timestamp,
    },
}

impl SigningError {
    /// Whether nothing is wrong but that somebody else was first: what is left to do is to be done anew.
    fn is_forestalled(&self) -> bool {
        matches!(self, SigningError::Stopped | SigningError::IssuerChanged(_) | SigningError::Registry(RegistryError::Stale { .. }))
    }
}

/// A key that signs OCSP responses, and what the responses say of it.
#[derive(Clone)]
pub struct ResponseSigner {
    /// The key.
    pub key: Key,
    /// What the responder needs to know.
    pub signer: Signer,
    /// Its number in the registry.
    pub id: SignerId,
    /// The end of its certificate's validity, or of the CA's where the CA signs: no nextUpdate is later (rule T3).
    pub not_after: Timestamp,
}

/// Everything needed to sign for one issuer.
#[derive(Clone)]
pub struct IssuerSigning {
    /// As registered.
    pub issuer: Issuer,
    /// Its certificate.
    pub certificate: CertificateInfo,
    /// Who signs OCSP responses; `None`: nobody here.
    pub responder: Option<ResponseSigner>,
    /// Who signs CRLs; `None`: nobody here.
    pub crl_key: Option<Key>,
    /// When OCSP responses are signed.
    pub ocsp_timing: Timing,
    /// How CRLs are made.
    pub crl_policy: CrlPolicy,
    /// The URL that distribution points begin with.
    pub base_url: String,
    /// Which programmes' rules the gate applies.
    pub profile: gate::Profile,
    /// Whether what was published with a thisUpdate that is still to come is signed anew: somebody has said that the clock was ahead then, and is right now.
    /// Otherwise it stays, since nobody knows when the clock was wrong.
    pub replaces_future: bool,
}

impl IssuerSigning {
    /// The keys that sign here.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.responder.iter().map(|responder| &responder.key).chain(&self.crl_key)
    }

    /// Whether CRLs that are issued now are the last of their scopes: the CA has ended (rule T6, S5.2).
    pub fn crls_are_last(&self) -> bool {
        self.issuer.mode == IssuerMode::Closed && self.crl_policy.last_crl
    }

    /// Whether CRLs are issued at all: one that has ended may have its last ones before it (S5.2).
    fn issues_crls(&self) -> bool {
        self.issuer.mode != IssuerMode::Closed || self.crl_policy.last_crl
    }

    /// Refuses to sign for an issuer whose mode is no longer the one that is known here: a CRL that is to be followed would take the place of the last (rule T6).
    fn same_mode(&self, registry: &dyn Registry) -> Result<(), SigningError> {
        let registered = registry.issuers()?.into_iter().find(|issuer| issuer.id == self.issuer.id);
        match registered {
            Some(issuer) if issuer.mode != self.issuer.mode => Err(SigningError::IssuerChanged(issuer.name)),
            _ => Ok(()),
        }
    }

    /// Refuses to sign at `now` what was published with a later thisUpdate.
    fn not_before(&self, published: Option<Timestamp>, now: Timestamp, what: impl FnOnce() -> String) -> Result<(), SigningError> {
        match published {
            Some(published) if published > now && !self.replaces_future => {
                Err(SigningError::ClockWentBack { what: what(), published, now })
            }
            _ => Ok(()),
        }
    }
}

/// Where OCSP is answered for an issuer's certificates, as they say it. Each issuer has its own: whoever asks for a whole chain puts into one request what he would
/// send to one URL, and no response speaks for two CAs.
pub fn ocsp_url(base_url: &str, issuer: &str) -> String {
    format!("{base_url}/ocsp/{issuer}")
}

/// The URL of a CRL: in the certificates' CDP and in the CRL's IDP, byte for byte (rule C4).
pub fn crl_url(base_url: &str, issuer: &str, scope: CrlScope) -> String {
    format!("{base_url}{}", crl_path(issuer, scope))
}

/// The URL of a CRL partition.
pub fn partition_url(base_url: &str, issuer: &str, partition: u32) -> String {
    crl_url(base_url, issuer, CrlScope::Partition(partition))
}

/// What the registry is told of a response signer: the CA itself, or a delegate whose certificate the gate holds against rules O7, P1, P3 and P4. Where
/// `expired` certificates are kept for ever, its responses say so with ArchiveCutoff, as the CRLs do (rule C6).
///
/// Makes a trial signature: a key that does not belong to its certificate is found here.
pub fn describe_signer(
    key: &Key,
    ca: &CertificateInfo,
    delegate: Option<&CertificateInfo>,
    profile: &gate::Profile,
    expired: ExpiredEntries,
) -> Result<Signer, SigningError> {
    let certificate = delegate.unwrap_or(ca);
    verify_pair(key.as_ref(), &certificate.spki)?;
    if let Some(delegate) = delegate {
        let issuer = IssuerFacts::of(ca, profile.clone())?;
        let findings = gate::check_responder_certificate(&delegate.der, &issuer);
        Refusal::unless_clean(findings, || format!("responder certificate {}", delegate.subject_text))?;
    }
    Ok(Signer {
        key_hash: ocsp_response::responder_key_hash(&certificate.public_key_bits),
        algorithm: key.signature_algorithm(),
        certificate: delegate.map(|d| d.der.clone()),
        archive_cutoff: kept_since(ca, expired),
    })
}

/// Since when the status of expired certificates is kept, where it is kept for ever: since there have been any (EN 319 411-1 CSS-6.3.10).
fn kept_since(ca: &CertificateInfo, expired: ExpiredEntries) -> Option<Timestamp> {
    matches!(expired, ExpiredEntries::ForEver).then_some(ca.not_before)
}

#[cfg(test)]
mod tests;
