//! The rules that a CRL obeys as a whole, one row each. Those of single entries are in [`super::entry_lints`], those of its scope and of deltas in
//! [`super::scope_lints`].

use std::time::Duration;

use der::Decode;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber};

use super::crl::{Coverage, Crl, CrlContext};
use super::response_lints::{TWELVE_MONTHS, at_most, in_time};
use super::shape::oid;
use super::{Lint, Programme, Verdict, differs, expect, hex, same_octets};
use crate::pki::Timestamp;

/// A row of the table.
pub(super) type CrlLint = Lint<fn(&Crl<'_>, &CrlContext<'_>) -> Verdict>;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
/// Microsoft's limit for a CRL where there is no OCSP.
const MICROSOFT_BYTES: usize = 10_000_000;
/// What a critical extension of a CRL may be; nothing else is understood by everyone.
const CRITICAL: [&[u8]; 2] = [oid::ISSUING_DISTRIBUTION_POINT, oid::DELTA_CRL_INDICATOR];

/// Rules for the CRL as a whole. That the signature verifies comes last: it costs the most.
pub(super) const CRL_LINTS: &[CrlLint] = &[
    Lint { rule: "C1", what: "version 2", check: |crl, _| same_octets(crl.version.unwrap_or_default(), &[1]) },
    Lint {
        rule: "C1",
        what: "inner and outer algorithm are the same",
        check: |crl, _| same_octets(crl.inner_algorithm, crl.outer_algorithm),
    },
    Lint { rule: "C1", what: "the signature algorithm is the key's", check: algorithm },
    Lint {
        rule: "C1",
        what: "the issuer is the CA's subject, octet for octet",
        check: |crl, c| same_octets(crl.issuer, &c.issuer.subject),
    },
    Lint { rule: "C1", what: "thisUpdate has the form of its year", check: |crl, _| crl.this_update.form() },
    Lint { rule: "C1", what: "nextUpdate has the form of its year", check: |crl, _| crl.next_update?.form() },
    Lint { rule: "C1", what: "nextUpdate is present", check: next_update_present },
    Lint { rule: "C1", what: "nextUpdate is later than thisUpdate", check: next_update_later },
    Lint { rule: "C1", what: "thisUpdate is what was meant", check: |crl, c| same_time(crl.this_update.at?, c.meant.this_update) },
    Lint { rule: "C1", what: "nextUpdate is what was meant", check: |crl, c| same_time(crl.next_update?.at?, c.meant.next_update) },
    Lint { rule: "C1", what: "thisUpdate is not in the future", check: not_in_the_future },
    Lint { rule: "C1", what: "an empty revokedCertificates is absent", check: no_empty_list },
    Lint { rule: "C1", what: "authorityKeyIdentifier is the CA's key identifier", check: authority_key_identifier },
    Lint { rule: "C1", what: "no extension occurs twice", check: no_extension_twice },
    Lint { rule: "C1", what: "no unknown extension is critical", check: no_unknown_critical },
    Lint { rule: "C2", what: "cRLNumber is present", check: number_present },
    Lint { rule: "C2", what: "cRLNumber is not critical", check: number_not_critical },
    Lint { rule: "C2", what: "cRLNumber is below 2^159", check: number_in_range },
    Lint { rule: "C2", what: "cRLNumber is what was reserved", check: number_as_meant },
    Lint { rule: "C2", what: "cRLNumber is greater than that of the CRL before", check: number_grows },
    Lint { rule: "C2", what: "thisUpdate is not older than that of the CRL before", check: time_goes_on },
    Lint { rule: "C2", what: "complete and delta share one sequence of numbers", check: one_sequence },
    Lint { rule: "C6", what: "EN 319 411-2: with expiredCertsOnCRL, not critical", check: expired_certs_on_crl },
    Lint { rule: "C8", what: "Microsoft: below 10 MB where there is no OCSP", check: size },
    Lint { rule: "C10", what: "no default is written out", check: no_default },
    Lint { rule: "P2", what: "the CA's keyUsage has cRLSign", check: may_sign_crls },
    Lint { rule: "T5", what: "a subscriber CRL is valid for 10 days at most (BR)", check: subscriber_validity },
    Lint { rule: "T5", what: "valid for 12 months at most", check: ca_validity },
    Lint { rule: "T5", what: "issued anew before nextUpdate", check: not_expired },
    Lint { rule: "T5", what: "a subscriber CRL is issued every 7 days, or 4 without AIA-OCSP (BR)", check: subscriber_interval },
    Lint { rule: "T6", what: "JPKI: every 24 h, valid for 72 h", check: |crl, c| programme(crl, c, Programme::Jpki, 24 * HOUR, 72 * HOUR) },
    Lint { rule: "T6", what: "ETSI: every 24 h", check: |crl, c| programme(crl, c, Programme::Etsi, DAY, TWELVE_MONTHS) },
    Lint { rule: "T6", what: "ETSI: nextUpdate of the last CRL is 99991231235959Z", check: last_crl },
    Lint {
        rule: "T6",
        what: "FPKI: every 18 h, valid for 180 h at most",
        check: |crl, c| programme(crl, c, Programme::Fpki, 18 * HOUR, 180 * HOUR),
    },
    Lint { rule: "T6", what: "code signing: every 7 days", check: |crl, c| programme(crl, c, Programme::CodeSigning, 7 * DAY, 10 * DAY) },
    Lint { rule: "C1", what: "the signature verifies with the CA's key", check: signature },
];

fn algorithm(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    same_octets(crl.outer_algorithm, c.algorithm.identifier())
}

fn next_update_present(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(crl.next_update.is_some(), || "none".to_owned(), || "nextUpdate".to_owned())
}

/// thisUpdate and nextUpdate, where both can be read.
fn times(crl: &Crl<'_>) -> Option<(Timestamp, Timestamp)> {
    Some((crl.this_update.at?, crl.next_update?.at?))
}

fn next_update_later(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    let (this, next) = times(crl)?;
    expect(next > this, || next.to_string(), || format!("later than {this}"))
}

fn same_time(found: Timestamp, wanted: Timestamp) -> Verdict {
    expect(found == wanted, || found.to_string(), || wanted.to_string())
}

fn not_in_the_future(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let this = crl.this_update.at?;
    expect(this <= c.now, || this.to_string(), || format!("at most {}", c.now))
}

fn no_empty_list(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(crl.entries.is_none_or(|e| !e.is_empty()), || "an empty SEQUENCE".to_owned(), || "none".to_owned())
}

fn authority_key_identifier(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let Some(extension) = crl.extension(oid::AUTHORITY_KEY_IDENTIFIER) else { return differs("none", hex(&c.issuer.key_identifier)) };
    let read = AuthorityKeyIdentifier::from_der(extension.value).ok().and_then(|aki| aki.key_identifier);
    let found = read.as_ref().map_or(&[][..], |id| id.as_bytes());
    if extension.critical { differs("critical", "not critical") } else { same_octets(found, &c.issuer.key_identifier) }
}

fn no_extension_twice(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    let mut ids: Vec<&[u8]> = crl.extensions.iter().map(|e| e.id).collect();
    ids.sort_unstable();
    let repeated = ids.windows(2).find(|pair| pair[0] == pair[1])?;
    differs(format!("two with OID octets {}", hex(repeated[0])), "one of each")
}

fn no_unknown_critical(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    // Those whose criticality is another rule's business are not unknown.
    let known = [oid::AUTHORITY_KEY_IDENTIFIER, oid::CRL_NUMBER, oid::FRESHEST_CRL, oid::EXPIRED_CERTS_ON_CRL];
    let unknown = crl.extensions.iter().find(|e| e.critical && !CRITICAL.contains(&e.id) && !known.contains(&e.id))?;
    differs(format!("critical, with OID octets {}", hex(unknown.id)), "issuingDistributionPoint and deltaCRLIndicator only")
}

/// Content octets of cRLNumber, where it is one.
fn number<'a>(crl: &Crl<'a>) -> Option<Vec<u8>> {
    let extension = crl.extension(oid::CRL_NUMBER)?;
    CrlNumber::from_der(extension.value).ok().map(|n| n.0.as_bytes().to_vec())
}

/// cRLNumber, where it is below 2^64: those of this program are.
fn small_number(crl: &Crl<'_>) -> Option<u64> {
    let octets = number(crl)?;
    (octets.len() <= 8).then(|| octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet)))
}

fn number_present(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    match crl.extension(oid::CRL_NUMBER) {
        Some(extension) => CrlNumber::from_der(extension.value).err().and_then(|e| differs(e, "a non-negative INTEGER")),
        None => differs("none", "cRLNumber"),
    }
}

fn number_not_critical(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(!crl.extension(oid::CRL_NUMBER)?.critical, || "critical".to_owned(), || "not critical".to_owned())
}

fn number_in_range(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    let octets = number(crl)?;
    let fits = octets.len() < 20 || octets.len() == 20 && octets[0] < 0x80;
    expect(fits, || format!("{} octets", octets.len()), || "below 2^159".to_owned())
}

fn number_as_meant(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let octets = number(crl).filter(|octets| octets.len() <= 20)?;
    expect(small_number(crl) == Some(c.meant.number), || format!("{} (hexadecimal)", hex(&octets)), || format!("{:x}", c.meant.number))
}

fn number_grows(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (found, before) = (small_number(crl)?, c.previous?.number);
    expect(found > before, || found.to_string(), || format!("greater than {before}"))
}

fn time_goes_on(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (found, before) = (crl.this_update.at?, c.previous?.this_update);
    expect(found >= before, || found.to_string(), || format!("{before} or later"))
}

fn one_sequence(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (found, this_update, other) = (small_number(crl)?, crl.this_update.at?, c.companion?);
    let holds = found > other.number || found == other.number && this_update == other.this_update;
    let wanted = || format!("greater than {}, or the same and issued at {} together with it", other.number, other.this_update);
    expect(holds, || format!("{found}, issued at {this_update}"), wanted)
}

fn expired_certs_on_crl(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    if !c.issuer.profile.has(Programme::EtsiQualified) {
        return None;
    }
    match crl.extension(oid::EXPIRED_CERTS_ON_CRL) {
        Some(e) if !e.critical => der::asn1::GeneralizedTime::from_der(e.value).err().and_then(|e| differs(e, "a GeneralizedTime")),
        Some(_) => differs("critical", "not critical"),
        None => differs("none", "expiredCertsOnCRL"),
    }
}

fn size(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let applies = c.issuer.profile.has(Programme::Microsoft) && !c.aia_ocsp;
    expect(!applies || crl.der.len() < MICROSOFT_BYTES, || format!("{} octets", crl.der.len()), || format!("below {MICROSOFT_BYTES}"))
}

fn no_default(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    let extension = crl.extensions.iter().find(|e| e.writes_default)?;
    differs(format!("critical FALSE in the extension with OID octets {}", hex(extension.id)), "absent, as DER wants defaults")
}

fn may_sign_crls(_: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let br = c.issuer.profile.has(Programme::BaselineRequirements);
    let found = || if c.issuer.may_sign_crls.is_none() { "no keyUsage".to_owned() } else { "a keyUsage without it".to_owned() };
    expect(c.issuer.may_sign_crls.unwrap_or(!br), found, || "cRLSign".to_owned())
}

/// The validity, measured inclusively; `None` for the last CRL, whose nextUpdate has a rule of its own.
fn validity(crl: &Crl<'_>, c: &CrlContext<'_>) -> Option<Duration> {
    let (this, next) = times(crl)?;
    (next > this && !c.last).then(|| next.since(this) + SECOND)
}

/// Whether it covers certificates of end entities, and the BR say how soon they must know.
fn subscriber_of_the_br(c: &CrlContext<'_>) -> bool {
    let subscribers = match c.coverage {
        Coverage::EndEntities => true,
        Coverage::Cas => false,
        Coverage::All => c.issuer.end_entities_only,
    };
    subscribers && c.issuer.profile.has(Programme::BaselineRequirements)
}

fn subscriber_validity(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    at_most(validity(crl, c).filter(|_| subscriber_of_the_br(c))?, 10 * DAY)
}

fn ca_validity(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    at_most(validity(crl, c)?, TWELVE_MONTHS)
}

fn not_expired(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (this, next) = times(crl)?;
    expect(next <= this || c.now < next, || format!("nextUpdate {next}, and it is {}", c.now), || "a CRL that is valid".to_owned())
}

fn subscriber_interval(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    validity(crl, c).filter(|_| subscriber_of_the_br(c))?;
    at_most(c.now.since(crl.this_update.at?), if c.aia_ocsp { 7 * DAY } else { 4 * DAY })
}

/// A programme's limits for age and validity. An hour's grace for the age: signing takes its time once a turn has come.
fn programme(crl: &Crl<'_>, c: &CrlContext<'_>, programme: Programme, interval: Duration, longest: Duration) -> Verdict {
    let (validity, this) = (validity(crl, c).filter(|_| c.issuer.profile.has(programme))?, crl.this_update.at?);
    let age = c.now.since(this);
    let found = || format!("valid for {}, issued {} ago", in_time(validity), in_time(age));
    expect(age <= interval + HOUR && validity <= longest, found, || format!("{} and {}", in_time(longest), in_time(interval)))
}

fn last_crl(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let next = crl.next_update?.at.filter(|_| c.last && c.issuer.profile.has(Programme::Etsi))?;
    expect(next == Timestamp::MAX, || next.to_string(), || Timestamp::MAX.to_string())
}

fn signature(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    if !c.verify_signature || crl.outer_algorithm != c.algorithm.identifier() {
        return None;
    }
    let verifies = c.algorithm.verify(&c.issuer.spki, crl.to_be_signed, crl.signature);
    expect(verifies, || "it does not".to_owned(), || format!("a signature by the key {}", hex(&c.issuer.key_identifier)))
}
