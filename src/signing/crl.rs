//! Issuing CRLs: full ones, and partitions with a critical issuingDistributionPoint.

use super::gate::{self, Coverage, CrlContext, IssuerFacts, MeantCrl, NumberedCrl, Refusal, RevokedSet};
use super::schedule::{self, Turn};
use super::{IssuerSigning, SigningError, crl_url};
use crate::pki::Timestamp;
use crate::pki::crl::{CrlEncoder, CrlHeader};
use crate::pki::extension::{Contents, IssuingDistributionPoint};
use crate::registry::{CrlHead, CrlRecord, CrlScope, CrlSelection, Issuer, Registry};
use crate::token::SigningKey;

/// Makes the next CRL of a scope, checked and ready to publish. `previous` is the one before: what had expired by its thisUpdate has stood on a CRL after its
/// expiry, and leaves (rule C6).
pub fn issue(
    registry: &dyn Registry,
    signing: &IssuerSigning,
    key: &dyn SigningKey,
    scope: CrlScope,
    previous: Option<&CrlHead>,
    now: Timestamp,
) -> Result<CrlRecord, SigningError> {
    // The number is asked for before the entries: whoever publishes in between makes `publish_crls` refuse this CRL.
    let number = registry.next_crl_number(signing.issuer.id, scope)?;
    let next_update = schedule::next_update(now, signing.crl_timing.validity, Timestamp::MAX);
    let header = CrlHeader {
        issuer: &signing.certificate.subject,
        authority_key_identifier: &signing.certificate.key_identifier,
        algorithm: key.signature_algorithm(),
        number,
        this_update: now,
        next_update,
        base: None,
        distribution_point: distribution_point(&signing.base_url, &signing.issuer, scope),
        freshest: None,
        expired_since: None,
    };
    let selection = CrlSelection {
        scope,
        contents: signing.issuer.publication.crl_contents(scope),
        not_after_from: previous.map(|crl| crl.this_update).unwrap_or_default(),
        or_recorded_after: previous.map_or(0, |crl| crl.reflects),
        changed: None,
    };
    let mut crl = CrlEncoder::new(&header, registry.counts(signing.issuer.id)?.revoked);
    let mut truth = RevokedSet::default();
    let reflects = registry.visit_revoked(signing.issuer.id, &selection, &mut |entry| {
        truth.note(entry);
        crl.push(entry);
    })?;
    let unsigned = crl.finish()?;
    let signature = key.sign(unsigned.to_be_signed())?;
    let der = unsigned.with_signature(&signature);
    let issuer = IssuerFacts::of(&signing.certificate, signing.profile.clone())?;
    let context = CrlContext {
        issuer: &issuer,
        coverage: coverage(selection.contents),
        distribution_point: header.distribution_point.as_ref().map(|point| point.uri.as_str()),
        base: None,
        freshest: None,
        meant: MeantCrl { number, this_update: now, next_update },
        algorithm: header.algorithm,
        truth: Some(truth),
        previous: previous.map(|crl| NumberedCrl { number: crl.number, this_update: crl.this_update }),
        companion: None,
        ocsp: signing.responder.is_some(),
        last: false,
        verify_signature: true,
        now,
    };
    Refusal::unless_clean(gate::check_crl(&der, &context), || format!("CRL ({scope}), number {number}"))?;
    let head = CrlHead {
        scope,
        number,
        this_update: now,
        next_update,
        refresh_at: schedule::refresh_at(turn(signing, scope), signing.crl_timing, now, next_update),
        entries: truth.count,
        scheduled: true,
        reflects,
        distribution_point: header.distribution_point,
        has_delta: false,
        base: None,
    };
    Ok(CrlRecord { head, der })
}

/// Which certificates a CRL with these contents covers, in the gate's words.
pub(super) fn coverage(contents: Contents) -> Coverage {
    match contents {
        Contents::All => Coverage::All,
        Contents::UserCertificates => Coverage::EndEntities,
        Contents::CaCertificates => Coverage::Cas,
    }
}

/// None for a CRL that covers everything; otherwise that of the complete CRL, for its delta too (RFC 5280 5.2.4: the same scope).
pub(super) fn distribution_point(base_url: &str, issuer: &Issuer, scope: CrlScope) -> Option<IssuingDistributionPoint> {
    match issuer.publication.crl_contents(scope) {
        Contents::All => None,
        contents => Some(IssuingDistributionPoint { uri: crl_url(base_url, &issuer.name, scope.base()), contents }),
    }
}

/// Where the delta of a complete CRL is, if it has one (rule C5).
pub(super) fn freshest(base_url: &str, issuer: &Issuer, scope: CrlScope) -> Option<String> {
    let delta = scope.delta().filter(|delta| issuer.publication.has_crl(*delta))?;
    Some(crl_url(base_url, &issuer.name, delta))
}

/// Partitions are refreshed in turn; the full CRL takes the place after the last of them.
pub(super) fn turn(signing: &IssuerSigning, scope: CrlScope) -> Turn {
    let of = signing.issuer.publication.crl_partitions + 1;
    match scope.base() {
        CrlScope::Partition(index) => Turn { index: index.min(of - 1), of },
        _ => Turn { index: of - 1, of },
    }
}
