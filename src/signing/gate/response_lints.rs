//! The rules that an OCSP response obeys, one row each.

use std::time::Duration;

use der::{Decode, Encode};
use x509_cert::ext::pkix::CrlReason;
use x509_ocsp::{CertStatus, ResponderId, ResponseData, RevokedInfo};

use super::response::{CertificateTruth, Response, ResponseContext, Single, Time};
use super::shape::{Tlv, oid};
use super::{Lint, Programme, Verdict, differs, expect, hex, same_octets};
use crate::pki::{CertificateStatus, Revocation, RevocationReason, Timestamp};

/// A row of the table.
pub(super) type ResponseLint = Lint<fn(&Response<'_>, &ResponseContext<'_>) -> Verdict>;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
/// What "every 12 months" is measured with: no twelve months are shorter.
pub(super) const TWELVE_MONTHS: Duration = Duration::from_secs(365 * 86_400);
/// NULL, as the parameters of a CertID's hash algorithm.
const NULL: &[u8] = &[0x05, 0x00];

/// Every rule for OCSP responses. That the signature verifies comes last: it costs the most.
pub(super) const RESPONSE_LINTS: &[ResponseLint] = &[
    Lint { rule: "O2", what: "issuerNameHash is the hash of the CA's subject", check: issuer_name_hash },
    Lint { rule: "O2", what: "issuerKeyHash is the hash of the CA's key", check: issuer_key_hash },
    Lint { rule: "O3", what: "the ResponderID is byKey", check: by_key },
    Lint { rule: "O3", what: "the ResponderID is the SHA-1 of the signer's key", check: responder_key },
    Lint { rule: "O4", what: "one SingleResponse, or SHA-1 and SHA-256 for the same certificate", check: one_single_response },
    Lint { rule: "O5", what: "the CertID has the hash algorithm asked for", check: cert_id_hash },
    Lint { rule: "O5", what: "the CertID has NULL parameters, as clients write it", check: cert_id_parameters },
    Lint { rule: "O5", what: "the CertID has the serial number asked for", check: cert_id_serial },
    Lint { rule: "O6", what: "nextUpdate is present", check: next_update_present },
    Lint { rule: "O6", what: "nextUpdate is later than thisUpdate", check: next_update_later },
    Lint { rule: "O6", what: "thisUpdate is a time without fractions", check: |r, c| r.single(c)?.this_update.form() },
    Lint { rule: "O6", what: "nextUpdate is a time without fractions", check: |r, c| r.single(c)?.next_update?.form() },
    Lint { rule: "O6", what: "producedAt is a time without fractions", check: |r, _| r.produced_at.form() },
    Lint { rule: "O7", what: "certs holds the delegated responder's certificate, or nothing", check: certs },
    Lint { rule: "O8", what: "a pre-produced response has no responseExtensions", check: no_response_extensions },
    Lint { rule: "O9", what: "a certificate that was never issued is not good", check: not_issued_is_not_good },
    Lint { rule: "O10", what: "revoked for a certificate that was never issued: not in the BR profile", check: not_issued_in_br },
    Lint { rule: "O10", what: "revoked for a certificate that was never issued: with extended-revoke", check: extended_revoke },
    Lint {
        rule: "O10",
        what: "revoked for a certificate that was never issued: certificateHold since 1970",
        check: never_issued_since_1970,
    },
    Lint { rule: "O10", what: "revoked for a certificate that was never issued: no CrlID", check: never_issued_without_crl_id },
    Lint { rule: "O13", what: "producedAt is thisUpdate in a pre-produced response", check: produced_at },
    Lint { rule: "O13", what: "thisUpdate is not in the future", check: not_in_the_future },
    Lint { rule: "O14", what: "no reasonCode in singleExtensions", check: no_reason_code },
    Lint { rule: "O14", what: "revocationReason is present for a CA's certificate", check: reason_of_a_ca },
    Lint { rule: "O14", what: "ArchiveCutoff and CrlID are in singleExtensions", check: single_extensions_elsewhere },
    Lint { rule: "O14", what: "singleExtensions hold ArchiveCutoff and CrlID only", check: known_single_extensions },
    Lint { rule: "C3", what: "revocationReason is never unspecified(0)", check: reason_not_unspecified },
    Lint { rule: "C3", what: "revocationReason is one that the BR allow", check: reason_of_the_br },
    Lint { rule: "C6", what: "EN 319 411-2: with ArchiveCutoff", check: archive_cutoff },
    Lint { rule: "C6", what: "ArchiveCutoff is a time without fractions", check: archive_cutoff_time },
    Lint { rule: "C9", what: "the status is the registry's", check: status },
    Lint { rule: "C9", what: "a revocation is never taken back", check: stays_revoked },
    Lint { rule: "C9", what: "thisUpdate is not older than what is published", check: not_older },
    Lint { rule: "T1", what: "valid for 10 days at most", check: valid_at_most },
    Lint { rule: "T1", what: "valid for 8 hours at least", check: valid_at_least },
    Lint { rule: "T1", what: "valid for as long as configured at most", check: valid_as_configured },
    Lint { rule: "T1", what: "signed anew in time", check: signed_in_time },
    Lint { rule: "T2", what: "Microsoft: valid for 7 days at most", check: microsoft_validity },
    Lint { rule: "T2", what: "Microsoft: signed anew at half of the validity", check: microsoft_refresh },
    Lint { rule: "T3", what: "nextUpdate is not later than the signer's notAfter", check: within_the_signer },
    Lint { rule: "O7", what: "thisUpdate is not earlier than the signer's notBefore", check: after_the_signer },
    Lint { rule: "T4", what: "a CA's status is signed every 12 months", check: ca_status },
    Lint { rule: "O15", what: "the signature algorithm is the signer's", check: signature_algorithm },
    Lint { rule: "O1", what: "x509-ocsp reads what is signed, and writes the same octets", check: read_and_written },
    Lint { rule: "O15", what: "the signature verifies", check: signature },
];

fn issuer_name_hash(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let id = &r.single(c)?.cert_id;
    same_octets(id.issuer_name_hash.as_bytes(), c.issuer.hashes(c.cert_id_hash).0)
}

fn issuer_key_hash(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let id = &r.single(c)?.cert_id;
    same_octets(id.issuer_key_hash.as_bytes(), c.issuer.hashes(c.cert_id_hash).1)
}

fn by_key(r: &Response<'_>, _: &ResponseContext<'_>) -> Verdict {
    expect(r.responder_id.number() == Some(2), || format!("{}", r.responder_id.tag), || "byKey [2]".to_owned())
}

fn responder_key(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    match r.responder_id.decode::<ResponderId>() {
        Ok(ResponderId::ByKey(hash)) => same_octets(hash.as_bytes(), &c.signer.key_hash),
        // By name: that is the rule before.
        Ok(ResponderId::ByName(_)) => None,
        Err(e) => differs(e, "a ResponderID"),
    }
}

fn one_single_response(r: &Response<'_>, _: &ResponseContext<'_>) -> Verdict {
    let ids: Vec<_> = r.singles.iter().map(|s| (&s.cert_id.serial_number, s.cert_id.hash_algorithm.oid)).collect();
    use const_oid::db::{rfc5912::ID_SHA_1, rfc5912::ID_SHA_256};
    let pair = |a, b| (a, b) == (ID_SHA_1, ID_SHA_256) || (a, b) == (ID_SHA_256, ID_SHA_1);
    let holds = match ids[..] {
        [_] => true,
        [(first, a), (second, b)] => first == second && pair(a, b),
        _ => false,
    };
    expect(holds, || format!("{} SingleResponses", ids.len()), || "1, or 2 for one certificate".to_owned())
}

fn cert_id_hash(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let found = r.single(c)?.cert_id.hash_algorithm.oid;
    expect(found.as_bytes() == c.cert_id_hash.oid(), || found.to_string(), || c.cert_id_hash.name().to_owned())
}

fn cert_id_parameters(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let parameters = &r.single(c)?.cert_id.hash_algorithm.parameters;
    let octets = parameters.as_ref().map(|p| p.to_der().unwrap_or_default()).unwrap_or_default();
    same_octets(&octets, NULL)
}

fn cert_id_serial(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    same_octets(r.single(c)?.cert_id.serial_number.as_bytes(), c.serial)
}

fn next_update_present(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    expect(r.single(c)?.next_update.is_some(), || "none".to_owned(), || "nextUpdate".to_owned())
}

fn next_update_later(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (this, next) = times(r, c)?;
    expect(next > this, || next.to_string(), || format!("later than {this}"))
}

fn certs(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    match (&c.signer.delegate, &r.certs[..]) {
        (Some(delegate), [found]) => same_octets(found, delegate),
        (None, []) => None,
        (delegate, found) => differs(format!("{} certificates", found.len()), format!("{}", usize::from(delegate.is_some()))),
    }
}

fn no_response_extensions(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    expect(!c.pre_produced || r.extensions.is_none(), || "responseExtensions".to_owned(), || "none".to_owned())
}

/// A certificate that was never issued, and the response says revoked.
fn never_issued(r: &Response<'_>, c: &ResponseContext<'_>) -> Option<RevokedInfo> {
    if c.truth.is_some() { None } else { revoked(r.single(c)?) }
}

fn not_issued_is_not_good(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let good = matches!(r.single(c)?.status, CertStatus::Good(_));
    expect(c.truth.is_some() || !good, || format!("good for {}", hex(c.serial)), || "unknown, or no response".to_owned())
}

fn not_issued_in_br(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    never_issued(r, c)?;
    let br = c.issuer.profile.has(Programme::BaselineRequirements);
    expect(!br, || "revoked".to_owned(), || "unknown, or no response".to_owned())
}

fn extended_revoke(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    never_issued(r, c)?;
    let there = response_extension(r, oid::OCSP_EXTENDED_REVOKE);
    expect(there, || "none".to_owned(), || "extended-revoke in responseExtensions".to_owned())
}

fn never_issued_since_1970(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let info = never_issued(r, c)?;
    let at = Timestamp::from(info.revocation_time.0.to_date_time());
    let holds = info.revocation_reason == Some(CrlReason::CertificateHold) && at == Timestamp::default();
    expect(holds, || format!("{:?} since {at}", info.revocation_reason), || "certificateHold since 1970-01-01".to_owned())
}

fn never_issued_without_crl_id(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    never_issued(r, c)?;
    let there = single_extension(r.single(c)?, oid::OCSP_CRL_ID);
    expect(!there, || "CrlID".to_owned(), || "none".to_owned())
}

fn produced_at(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (produced, this) = (r.produced_at.at?, r.single(c)?.this_update.at?);
    expect(!c.pre_produced || produced == this, || produced.to_string(), || this.to_string())
}

fn not_in_the_future(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let this = r.single(c)?.this_update.at?;
    expect(this <= c.now, || this.to_string(), || format!("at most {}", c.now))
}

fn no_reason_code(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    expect(!single_extension(r.single(c)?, oid::REASON_CODE), || "reasonCode".to_owned(), || "none".to_owned())
}

fn reason_of_a_ca(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let info = revoked(r.single(c)?)?;
    let holds = !is_ca(c) || info.revocation_reason.is_some();
    expect(holds, || "none".to_owned(), || "revocationReason".to_owned())
}

fn single_extensions_elsewhere(r: &Response<'_>, _: &ResponseContext<'_>) -> Verdict {
    let there = [oid::OCSP_ARCHIVE_CUTOFF, oid::OCSP_CRL_ID].into_iter().any(|id| response_extension(r, id));
    expect(!there, || "in responseExtensions".to_owned(), || "in singleExtensions, or not at all".to_owned())
}

fn known_single_extensions(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let known = [oid::OCSP_ARCHIVE_CUTOFF, oid::OCSP_CRL_ID, oid::REASON_CODE];
    let other = r.single(c)?.extensions.as_ref()?.iter().find(|e| !known.contains(&e.id))?;
    differs(format!("an extension with OID octets {}", hex(other.id)), "none")
}

fn reason_not_unspecified(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let reason = revoked(r.single(c)?)?.revocation_reason?;
    expect(reason != CrlReason::Unspecified, || "unspecified(0)".to_owned(), || "none".to_owned())
}

fn reason_of_the_br(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let reason = revoked(r.single(c)?)?.revocation_reason.filter(|reason| *reason != CrlReason::Unspecified)?;
    let applies = c.issuer.profile.has(Programme::BaselineRequirements) && c.truth.is_some();
    // A CA that may certify CAs: this may be one of them.
    let of_a_ca = is_ca(c) || !c.issuer.end_entities_only;
    expect(!applies || br_allows(reason, of_a_ca), || format!("{reason:?}"), || "1, 3, 4, 5 or 9".to_owned())
}

/// BR 7.2.2; the compromise of a CA is a reason to revoke a CA's certificate.
pub(super) fn br_allows(reason: CrlReason, of_a_ca: bool) -> bool {
    use CrlReason as R;
    match reason {
        R::KeyCompromise | R::AffiliationChanged | R::Superseded | R::CessationOfOperation | R::PrivilegeWithdrawn => true,
        R::CaCompromise => of_a_ca,
        _ => false,
    }
}

fn archive_cutoff(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let applies = c.issuer.profile.has(Programme::EtsiQualified);
    let there = single_extension(r.single(c)?, oid::OCSP_ARCHIVE_CUTOFF);
    expect(!applies || there, || "none".to_owned(), || "ArchiveCutoff in singleExtensions".to_owned())
}

fn archive_cutoff_time(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let extension = r.single(c)?.extensions.as_ref()?.iter().find(|e| e.id == oid::OCSP_ARCHIVE_CUTOFF)?;
    match Tlv::whole(extension.value) {
        Ok(tlv) => Time::of(tlv).form(),
        Err(e) => differs(e, "a GeneralizedTime"),
    }
}

fn status(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (found, truth) = (&r.single(c)?.status, c.truth?.status);
    let same = match (found, truth) {
        (CertStatus::Good(_), CertificateStatus::Good) => true,
        (CertStatus::Revoked(info), CertificateStatus::Revoked(revocation)) => {
            // unspecified(0) is another rule's business.
            let reason = info.revocation_reason.map(|r| r as u8).filter(|code| *code != 0);
            Timestamp::from(info.revocation_time.0.to_date_time()) == revocation.at && reason == revocation.reason.map(|r| r.code())
        }
        _ => false,
    };
    expect(same, || in_words(found), || truth.to_string())
}

fn in_words(status: &CertStatus) -> String {
    match status {
        CertStatus::Good(_) => "good".to_owned(),
        CertStatus::Revoked(info) => {
            let reason = info.revocation_reason.and_then(|reason| RevocationReason::from_code(reason as u8));
            Revocation { at: Timestamp::from(info.revocation_time.0.to_date_time()), reason }.to_string()
        }
        CertStatus::Unknown(_) => "unknown".to_owned(),
    }
}

fn stays_revoked(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (single, was_revoked) = (r.single(c)?, matches!(c.previous?.status, CertificateStatus::Revoked(_)));
    expect(!was_revoked || revoked(single).is_some(), || in_words(&single.status), || "revoked".to_owned())
}

fn not_older(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (this, before) = (r.single(c)?.this_update.at?, c.previous?.this_update);
    expect(this >= before, || this.to_string(), || format!("{before} or later"))
}

/// thisUpdate and nextUpdate, where both can be read.
fn times(r: &Response<'_>, c: &ResponseContext<'_>) -> Option<(Timestamp, Timestamp)> {
    let single = r.single(c)?;
    Some((single.this_update.at?, single.next_update?.at?))
}

/// The validity, measured inclusively, and whether the end of the signer's certificate has cut it short (rule T3).
fn validity(r: &Response<'_>, c: &ResponseContext<'_>) -> Option<(Duration, bool)> {
    let (this, next) = times(r, c)?;
    (next > this).then(|| (next.since(this) + SECOND, next == c.signer.not_after))
}

fn valid_at_most(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (found, _) = validity(r, c).filter(|_| !is_ca(c))?;
    at_most(found, 10 * DAY)
}

fn valid_at_least(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (found, cut) = validity(r, c).filter(|_| !is_ca(c))?;
    expect(cut || found >= 8 * HOUR, || in_time(found), || format!("at least {}", in_time(8 * HOUR)))
}

fn valid_as_configured(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let ((found, _), timing) = (validity(r, c)?, c.timing?);
    at_most(found, timing.validity)
}

fn signed_in_time(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let ((this, next), (validity, cut)) = (times(r, c)?, validity(r, c)?);
    let (age, left) = (c.now.since(this), next.since(c.now));
    let in_time = match () {
        () if next <= c.now => false,
        () if cut || is_ca(c) => true,
        () if validity < 16 * HOUR => 2 * age < validity,
        () => left + SECOND >= 8 * HOUR && age <= 4 * DAY,
    };
    let wanted = "before half of a validity below 16 h, otherwise 8 h before nextUpdate and 4 d after thisUpdate at the latest";
    expect(in_time, || format!("thisUpdate {this}, nextUpdate {next}, and it is {}", c.now), || wanted.to_owned())
}

fn microsoft_validity(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (found, _) = validity(r, c).filter(|_| c.issuer.profile.has(Programme::Microsoft) && !is_ca(c))?;
    at_most(found, 7 * DAY)
}

/// An hour's grace: signing takes its time once a turn has come.
fn microsoft_refresh(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let applies = c.issuer.profile.has(Programme::Microsoft) && !is_ca(c);
    let ((this, next), (validity, cut)) = (times(r, c)?, validity(r, c).filter(|_| applies)?);
    let age = c.now.since(this);
    let holds = cut || next <= c.now || age <= validity / 2 + HOUR;
    expect(holds, || format!("signed {} ago", in_time(age)), || format!("at most {}", in_time(validity / 2)))
}

fn within_the_signer(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (_, next) = times(r, c)?;
    expect(next <= c.signer.not_after, || next.to_string(), || format!("at most {}", c.signer.not_after))
}

fn after_the_signer(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (this, _) = times(r, c)?;
    expect(this >= c.signer.not_before, || this.to_string(), || format!("at least {}", c.signer.not_before))
}

fn ca_status(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    let (found, _) = validity(r, c).filter(|_| is_ca(c))?;
    at_most(found, TWELVE_MONTHS)
}

fn signature_algorithm(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    same_octets(r.signature_algorithm, c.signer.algorithm.identifier())
}

/// What is around it has no defaults that could be written out, and certificates are compared as octets. Where a time cannot be read, that is rule O6's
/// business.
fn read_and_written(r: &Response<'_>, _: &ResponseContext<'_>) -> Verdict {
    let times = r.singles.iter().flat_map(|s| [Some(s.this_update), s.next_update]).flatten().chain([r.produced_at]);
    if times.into_iter().any(|time| time.at.is_none()) {
        return None;
    }
    let data = ResponseData::from_der(r.to_be_signed).and_then(|data| data.to_der());
    match data {
        Ok(data) => expect(data == r.to_be_signed, || "another encoding".to_owned(), || "DER".to_owned()),
        Err(e) => differs(e, "DER of a ResponseData"),
    }
}

fn signature(r: &Response<'_>, c: &ResponseContext<'_>) -> Verdict {
    if !c.verify_signature || r.signature_algorithm != c.signer.algorithm.identifier() {
        return None;
    }
    let verifies = c.signer.algorithm.verify(&c.signer.spki, r.to_be_signed, r.signature);
    expect(verifies, || "it does not".to_owned(), || format!("a signature by the key {}", hex(&c.signer.key_hash)))
}

fn revoked(single: &Single<'_>) -> Option<RevokedInfo> {
    match single.status {
        CertStatus::Revoked(info) => Some(info),
        _ => None,
    }
}

fn is_ca(c: &ResponseContext<'_>) -> bool {
    c.truth.is_some_and(|CertificateTruth { is_ca, .. }| is_ca)
}

fn single_extension(single: &Single<'_>, id: &[u8]) -> bool {
    single.extensions.iter().flatten().any(|e| e.id == id)
}

fn response_extension(r: &Response<'_>, id: &[u8]) -> bool {
    r.extensions.iter().flatten().any(|e| e.id == id)
}

/// Passes where `found` is no longer than `limit`.
pub(super) fn at_most(found: Duration, limit: Duration) -> Verdict {
    expect(found <= limit, || in_time(found), || format!("at most {}", in_time(limit)))
}

/// A duration for people.
pub(super) fn in_time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
