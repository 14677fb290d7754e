//! The rules that each entry of a CRL obeys, one row each. They are asked a million times for a great CRL: none allocates unless it finds something.

use x509_cert::ext::pkix::CrlReason;

use super::crl::{Coverage, CrlContext, Entry};
use super::response_lints::br_allows;
use super::{Lint, Programme, Verdict, differs, expect, hex};

/// A row of the table.
pub(super) type EntryLint = Lint<fn(&Entry<'_>, &CrlContext<'_>) -> Verdict>;

/// Every rule for entries.
pub(super) const ENTRY_LINTS: &[EntryLint] = &[
    Lint { rule: "P3", what: "BR: the serial number is positive and below 2^159", check: serial },
    Lint { rule: "C1", what: "revocationDate has the form of its year", check: |entry, _| entry.revoked_at.form() },
    Lint { rule: "C10", what: "an entry writes no default out", check: no_default },
    Lint { rule: "C3", what: "no entry extension is critical", check: not_critical },
    Lint { rule: "C3", what: "reasonCode is one of RFC 5280", check: known_reason },
    Lint { rule: "C3", what: "reasonCode is never unspecified(0)", check: |entry, _| unless(entry, CrlReason::Unspecified) },
    Lint { rule: "C3", what: "reasonCode is present for CA certificates", check: reason_of_a_ca },
    Lint { rule: "C3", what: "removeFromCRL in deltas only", check: remove_in_deltas_only },
    Lint { rule: "C3", what: "BR: no certificateHold", check: no_hold },
    Lint { rule: "C3", what: "BR: reasonCode 1, 3, 4, 5 or 9", check: reason_of_the_br },
    Lint { rule: "C3", what: "invalidityDate is a GeneralizedTime without fractions", check: invalidity_date },
];

fn serial(entry: &Entry<'_>, c: &CrlContext<'_>) -> Verdict {
    let positive = entry.serial.first().is_some_and(|first| *first < 0x80) && entry.serial != [0];
    let holds = !is_br(c) || positive && entry.serial.len() <= 20;
    expect(holds, || hex(entry.serial), || "positive, of at most 20 octets".to_owned())
}

fn no_default(entry: &Entry<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(!entry.writes_default, || "critical FALSE".to_owned(), || "absent, as DER wants defaults".to_owned())
}

fn not_critical(entry: &Entry<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(!entry.critical, || "a critical extension".to_owned(), || "none".to_owned())
}

fn known_reason(entry: &Entry<'_>, _: &CrlContext<'_>) -> Verdict {
    let extension = entry.reason?;
    expect(entry.reason().is_some(), || hex(extension.value), || "an ENUMERATED CRLReason".to_owned())
}

/// Passes unless the entry has this reason.
fn unless(entry: &Entry<'_>, reason: CrlReason) -> Verdict {
    expect(entry.reason() != Some(reason), || format!("{reason:?}"), || "another reason, or none".to_owned())
}

fn reason_of_a_ca(entry: &Entry<'_>, c: &CrlContext<'_>) -> Verdict {
    expect(c.coverage != Coverage::Cas || entry.reason.is_some(), || "none".to_owned(), || "reasonCode".to_owned())
}

fn remove_in_deltas_only(entry: &Entry<'_>, c: &CrlContext<'_>) -> Verdict {
    if c.base.is_some() { None } else { unless(entry, CrlReason::RemoveFromCRL) }
}

fn no_hold(entry: &Entry<'_>, c: &CrlContext<'_>) -> Verdict {
    if is_br(c) { unless(entry, CrlReason::CertificateHold) } else { None }
}

/// unspecified, certificateHold and removeFromCRL have rules of their own.
fn reason_of_the_br(entry: &Entry<'_>, c: &CrlContext<'_>) -> Verdict {
    use CrlReason::{CertificateHold, RemoveFromCRL, Unspecified};
    let reason = entry.reason().filter(|reason| !matches!(reason, Unspecified | CertificateHold | RemoveFromCRL))?;
    // A CRL of both kinds may list CAs.
    let of_a_ca = match c.coverage {
        Coverage::Cas => true,
        Coverage::EndEntities => false,
        Coverage::All => !c.issuer.end_entities_only,
    };
    expect(!is_br(c) || br_allows(reason, of_a_ca), || format!("{reason:?}"), || "1, 3, 4, 5 or 9".to_owned())
}

fn invalidity_date(entry: &Entry<'_>, _: &CrlContext<'_>) -> Verdict {
    let extension = entry.invalidity?;
    if entry.invalidity_date().is_some() { None } else { differs(hex(extension.value), "YYYYMMDDHHMMSSZ") }
}

fn is_br(c: &CrlContext<'_>) -> bool {
    c.issuer.profile.has(Programme::BaselineRequirements)
}
