//! The rules for what a CRL covers (C4), for deltas and their bases (C5), and for what is to be on it (C6, C9), one row each.

use der::{Decode, Encode};
use x509_cert::ext::pkix::crl::dp::{DistributionPoint, IssuingDistributionPoint};
use x509_cert::ext::pkix::crl::{BaseCrlNumber, CrlNumber, FreshestCrl};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::crl::{Coverage, Crl, CrlContext};
use super::crl_lints::CrlLint;
use super::revoked_set::RevokedSet;
use super::shape::{Extension, oid};
use super::{Lint, Programme, Verdict, differs, expect, hex, same_octets};

/// Rules for scope and deltas.
pub(super) const SCOPE_LINTS: &[CrlLint] = &[
    Lint { rule: "C4", what: "issuingDistributionPoint is there where the scope is limited, and only there", check: point_present },
    Lint { rule: "C4", what: "issuingDistributionPoint is critical", check: point_critical },
    Lint { rule: "C4", what: "issuingDistributionPoint is not empty", check: point_not_empty },
    Lint { rule: "C4", what: "the distribution point is the certificates' CDP, octet for octet", check: point_uri },
    Lint { rule: "C4", what: "onlyContainsUserCerts for end entities, onlyContainsCACerts for CAs", check: point_flags },
    Lint { rule: "C4", what: "neither some reasons, nor indirect, nor attribute certificates", check: point_restrictions },
    Lint { rule: "C4", what: "BR: fullName with http URIs only", check: point_of_the_br },
    Lint { rule: "C5", what: "deltaCRLIndicator on a delta, and only there", check: indicator_present },
    Lint { rule: "C5", what: "deltaCRLIndicator is critical", check: indicator_critical },
    Lint { rule: "C5", what: "BaseCRLNumber is the number of the published base", check: indicator_number },
    Lint { rule: "C5", what: "the base is a complete CRL", check: base_is_complete },
    Lint { rule: "C5", what: "delta and base have the same scope", check: same_scope },
    Lint { rule: "C5", what: "delta and base have the same key", check: same_key },
    Lint { rule: "C5", what: "a delta has no freshestCRL", check: no_freshest_on_a_delta },
    Lint { rule: "C5", what: "freshestCRL says where the deltas are, where there are some", check: freshest },
    Lint { rule: "C5", what: "freshestCRL is not critical", check: freshest_not_critical },
];

fn point<'c, 'a>(crl: &'c Crl<'a>) -> Option<&'c Extension<'a>> {
    crl.extension(oid::ISSUING_DISTRIBUTION_POINT)
}

/// The issuingDistributionPoint, where it is one.
fn read_point(crl: &Crl<'_>) -> Option<IssuingDistributionPoint> {
    IssuingDistributionPoint::from_der(point(crl)?.value).ok()
}

fn point_present(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let wanted = c.distribution_point.is_some() || c.coverage != Coverage::All;
    let word = |there| if there { "issuingDistributionPoint".to_owned() } else { "none".to_owned() };
    let Some(extension) = point(crl) else { return expect(!wanted, || word(false), || word(true)) };
    let same = IssuingDistributionPoint::from_der(extension.value).and_then(|point| point.to_der());
    match same {
        Ok(octets) if octets == extension.value => expect(wanted, || word(true), || word(false)),
        Ok(_) => differs(format!("the octets {}", hex(extension.value)), "DER"),
        Err(e) => differs(e, "an IssuingDistributionPoint"),
    }
}

fn point_critical(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(point(crl)?.critical, || "not critical".to_owned(), || "critical".to_owned())
}

fn point_not_empty(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(point(crl)?.value != [0x30, 0], || "an empty SEQUENCE".to_owned(), || "a scope".to_owned())
}

/// Whether the extension is there and says something: what it says is the rules' below.
fn said(crl: &Crl<'_>) -> Option<IssuingDistributionPoint> {
    point(crl).filter(|e| e.value != [0x30, 0])?;
    read_point(crl)
}

fn point_uri(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let said = said(crl)?;
    let names = full_name(said.distribution_point.as_ref());
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    match c.distribution_point {
        Some(wanted) => expect(uris.contains(&wanted), || format!("{uris:?}"), || wanted.to_owned()),
        None => expect(said.distribution_point.is_none(), || format!("{uris:?}"), || "none".to_owned()),
    }
}

fn point_flags(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let said = said(crl)?;
    let (user, ca) = (said.only_contains_user_certs, said.only_contains_ca_certs);
    let wanted = (c.coverage == Coverage::EndEntities, c.coverage == Coverage::Cas);
    let words = |(user, ca)| format!("onlyContainsUserCerts {user}, onlyContainsCACerts {ca}");
    expect((user, ca) == wanted, || words((user, ca)), || words(wanted))
}

fn point_restrictions(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    let said = said(crl)?;
    let none = said.only_some_reasons.is_none() && !said.indirect_crl && !said.only_contains_attribute_certs;
    expect(none, || "one of them".to_owned(), || "none of them".to_owned())
}

fn point_of_the_br(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let said = c.issuer.profile.has(Programme::BaselineRequirements).then(|| said(crl))??;
    let names = full_name(said.distribution_point.as_ref());
    let all_http = names.iter().all(|name| uri(name).is_some_and(|uri| uri.starts_with("http://")));
    // Where none is wanted, its absence is not this rule's business.
    let relative = matches!(said.distribution_point, Some(DistributionPointName::NameRelativeToCRLIssuer(_)));
    expect(all_http && !relative, || format!("{names:?}"), || "http URIs".to_owned())
}

fn full_name(point: Option<&DistributionPointName>) -> &[GeneralName] {
    match point {
        Some(DistributionPointName::FullName(names)) => names,
        _ => &[],
    }
}

fn uri(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        _ => None,
    }
}

fn indicator_present(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let there = crl.extension(oid::DELTA_CRL_INDICATOR).is_some();
    let word = |there| if there { "deltaCRLIndicator".to_owned() } else { "none".to_owned() };
    expect(there == c.base.is_some(), || word(there), || word(!there))
}

/// The base of a delta; `None` for a complete CRL, or where the base cannot be read.
fn base<'a>(c: &CrlContext<'a>) -> Option<Crl<'a>> {
    Crl::read(c.base?).ok()
}

fn indicator_critical(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(crl.extension(oid::DELTA_CRL_INDICATOR)?.critical, || "not critical".to_owned(), || "critical".to_owned())
}

fn indicator_number(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (indicator, base) = (crl.extension(oid::DELTA_CRL_INDICATOR)?, base(c)?);
    let found = BaseCrlNumber::from_der(indicator.value).map(|n| n.0.as_bytes().to_vec()).unwrap_or_default();
    let number = base.extension(oid::CRL_NUMBER).and_then(|e| CrlNumber::from_der(e.value).ok());
    same_octets(&found, number.as_ref().map_or(&[], |n| n.0.as_bytes()))
}

fn base_is_complete(_: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    match Crl::read(c.base?) {
        Ok(base) => expect(base.extension(oid::DELTA_CRL_INDICATOR).is_none(), || "a delta".to_owned(), || "a complete CRL".to_owned()),
        Err(finding) => differs(finding, "a complete CRL"),
    }
}

fn same_scope(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let (found, wanted) = (point(crl).map(|e| e.value), point(&base(c)?).map(|e| e.value));
    same_octets(found.unwrap_or_default(), wanted.unwrap_or_default())
}

fn same_key(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let identifier = |crl: &Crl<'_>| crl.extension(oid::AUTHORITY_KEY_IDENTIFIER).map(|e| e.value.to_vec()).unwrap_or_default();
    same_octets(&identifier(crl), &identifier(&base(c)?))
}

fn no_freshest_on_a_delta(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    let there = c.base.is_some() && crl.extension(oid::FRESHEST_CRL).is_some();
    expect(!there, || "freshestCRL".to_owned(), || "none".to_owned())
}

fn freshest(crl: &Crl<'_>, c: &CrlContext<'_>) -> Verdict {
    if c.base.is_some() {
        return None;
    }
    let points = crl.extension(oid::FRESHEST_CRL).map(|e| FreshestCrl::from_der(e.value).map(|f| f.0).unwrap_or_default());
    let uris = points.as_ref().map(|points| points.iter().flat_map(uris_of).collect::<Vec<_>>());
    let wanted = c.freshest.map(|uri| vec![uri.to_owned()]);
    expect(uris == wanted, || format!("{uris:?}"), || format!("{wanted:?}"))
}

fn uris_of(point: &DistributionPoint) -> impl Iterator<Item = String> {
    full_name(point.distribution_point.as_ref()).iter().filter_map(uri).map(str::to_owned)
}

fn freshest_not_critical(crl: &Crl<'_>, _: &CrlContext<'_>) -> Verdict {
    expect(!crl.extension(oid::FRESHEST_CRL)?.critical, || "critical".to_owned(), || "not critical".to_owned())
}

/// A row that compares what is on a CRL with what is to be on it.
pub(super) type ContentLint = Lint<fn(&RevokedSet, &RevokedSet) -> Verdict>;

/// Rules for what is on a CRL, as a whole: found, then wanted.
pub(super) const CONTENT_LINTS: &[ContentLint] = &[
    Lint { rule: "C6", what: "no revoked certificate that belongs on it is missing", check: nothing_missing },
    Lint { rule: "C9", what: "it lists what the registry says is revoked, and nothing else", check: nothing_else },
];

fn nothing_missing(found: &RevokedSet, wanted: &RevokedSet) -> Verdict {
    expect(found.count >= wanted.count, || format!("{} entries", found.count), || format!("{} revoked certificates", wanted.count))
}

fn nothing_else(found: &RevokedSet, wanted: &RevokedSet) -> Verdict {
    let holds = found.count < wanted.count || found.same_members(wanted);
    let found_words = || format!("{} entries, with another serial, time or reason among them", found.count);
    expect(holds, found_words, || format!("the registry's {} revoked certificates", wanted.count))
}
