//! Issuing CRLs: full ones, and partitions with a critical issuingDistributionPoint.

use super::gate::{self, Coverage, CrlContext, IssuerFacts, MeantCrl, NumberedCrl, Refusal, RevokedSet};
use super::schedule::{self, Turn};
use super::{IssuerSigning, SigningError};
use crate::pki::Timestamp;
use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::pki::{CertificateStatus, Revocation};
use crate::registry::{CertificateRecord, CrlRecord, CrlScope, Registry};
use crate::token::SigningKey;

/// Makes the next CRL of a scope, checked and ready to publish. `previous` is the one before: what had expired by its thisUpdate has stood on a CRL after its
/// expiry, and leaves (rule C6).
pub fn issue(
    registry: &dyn Registry,
    signing: &IssuerSigning,
    key: &dyn SigningKey,
    scope: CrlScope,
    previous: Option<NumberedCrl>,
    now: Timestamp,
) -> Result<CrlRecord, SigningError> {
    // The number is asked for before the entries: whoever publishes in between makes `publish_crl` refuse this CRL.
    let number = registry.next_crl_number(signing.issuer.id, scope)?;
    let distribution_point = distribution_point(signing, scope);
    let next_update = schedule::next_update(now, signing.crl_timing.validity, Timestamp::MAX);
    let header = CrlHeader {
        issuer: &signing.certificate.subject,
        authority_key_identifier: &signing.certificate.key_identifier,
        algorithm: key.signature_algorithm(),
        number,
        this_update: now,
        next_update,
        base: None,
        distribution_point: distribution_point.clone(),
        freshest: None,
        expired_since: None,
    };
    let mut crl = CrlEncoder::new(&header, registry.counts(signing.issuer.id)?.revoked);
    let mut truth = RevokedSet::default();
    let on_crl_since = previous.map(|crl| crl.this_update).unwrap_or_default();
    registry.visit_revoked(signing.issuer.id, scope, on_crl_since, &mut |record| {
        truth.note(&record);
        if let Some(entry) = entry_of(&record) {
            crl.push(&entry);
        }
    })?;
    let unsigned = crl.finish()?;
    let signature = key.sign(unsigned.to_be_signed())?;
    let der = unsigned.with_signature(&signature);
    let issuer = IssuerFacts::of(&signing.certificate, signing.profile.clone())?;
    let context = CrlContext {
        issuer: &issuer,
        coverage: coverage(scope),
        distribution_point: distribution_point.as_ref().map(|p| p.uri.as_str()),
        base: None,
        freshest: None,
        meant: MeantCrl { number, this_update: now, next_update },
        algorithm: header.algorithm,
        truth: Some(truth),
        previous,
        companion: None,
        ocsp: signing.responder.is_some(),
        last: false,
        verify_signature: true,
        now,
    };
    Refusal::unless_clean(gate::check_crl(&der, &context), || format!("CRL {scope:?}, number {number}"))?;
    let refresh_at = schedule::refresh_at(turn(signing, scope), signing.crl_timing, now, next_update);
    Ok(CrlRecord { scope, number, this_update: now, next_update, refresh_at, der })
}

/// The scopes in which an issuer publishes CRLs.
pub fn scopes(signing: &IssuerSigning) -> impl Iterator<Item = CrlScope> + use<> {
    let partitions = signing.issuer.publication.crl_partitions;
    std::iter::once(CrlScope::Full).chain((0..partitions).map(CrlScope::Partition))
}

fn entry_of(record: &CertificateRecord) -> Option<CrlEntry> {
    let CertificateStatus::Revoked(revocation @ Revocation { .. }) = record.status else { return None };
    Some(CrlEntry { serial: record.serial, revocation, invalidity_date: record.invalidity_date })
}

/// Which certificates a CRL of that scope covers.
pub fn coverage(scope: CrlScope) -> Coverage {
    match scope {
        CrlScope::Full => Coverage::All,
        CrlScope::Partition(_) => Coverage::EndEntities,
    }
}

fn distribution_point(signing: &IssuerSigning, scope: CrlScope) -> Option<IssuingDistributionPoint> {
    match scope {
        CrlScope::Full => None,
        CrlScope::Partition(n) => Some(IssuingDistributionPoint { uri: signing.partition_url(n), contents: Contents::UserCertificates }),
    }
}

/// Partitions are refreshed in turn; the full CRL takes the place after the last of them.
pub(super) fn turn(signing: &IssuerSigning, scope: CrlScope) -> Turn {
    let of = signing.issuer.publication.crl_partitions + 1;
    match scope {
        CrlScope::Full => Turn { index: of - 1, of },
        CrlScope::Partition(index) => Turn { index: index.min(of - 1), of },
    }
}
