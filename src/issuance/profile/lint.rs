//! The rules held against a profile itself: RFC 5280, rules O15, P1, P2, P4, and the TLS Baseline Requirements where the profile names them.
//!
//! A row is a rule, to what it applies, and what it wants. It looks at the profile, not at certificates: those are for other people's linters.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_KP_CODE_SIGNING, ID_KP_EMAIL_PROTECTION, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING,
};

use super::contents::{Extensions, PathLength};
use super::period::{Length, Period};
use super::subject::{Attribute, Form};
use super::{Finding, Kind, Level, Profile, Programme, Usage};
use crate::pki::Timestamp;

/// The reserved policies of BR 7.1.6.1: domain-, organisation-, individual- and extended-validated.
const RESERVED_POLICIES: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.23.140.1.2.1"),
    ObjectIdentifier::new_unwrap("2.23.140.1.2.2"),
    ObjectIdentifier::new_unwrap("2.23.140.1.2.3"),
    ObjectIdentifier::new_unwrap("2.23.140.1.1"),
];

/// Everything found in a profile at `now`, the gravest first.
pub(super) fn lint(profile: &Profile, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings { found: Vec::new() };
    identifiers(profile, &mut findings);
    match profile.kind() {
        Kind::OcspResponder => responder(profile, &mut findings),
        Kind::EndEntity => end_entity(profile, &mut findings),
        _ => certification_authority(profile, &mut findings),
    }
    purposes(profile, &mut findings);
    no_rev_avail(profile, &mut findings);
    if profile.has_programme(Programme::BaselineRequirements) {
        baseline_requirements(profile, now, &mut findings);
    }
    legacy(profile, &mut findings);
    issued(profile, now, &mut findings);
    findings.found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings.found
}

struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    fn unless(&mut self, holds: bool, level: Level, rule: &'static str, field: &str, found: &str, wanted: &str) {
        if !holds {
            self.found.push(Finding::error(rule, field, found, wanted).at(level));
        }
    }

    fn error_unless(&mut self, holds: bool, rule: &'static str, field: &str, found: &str, wanted: &str) {
        self.unless(holds, Level::Error, rule, field, found, wanted);
    }

    fn warning_unless(&mut self, holds: bool, rule: &'static str, field: &str, found: &str, wanted: &str) {
        self.unless(holds, Level::Warning, rule, field, found, wanted);
    }
}

/// What a policy of a former time may lack: an error, but only a warning in a profile that says that it is legacy.
fn strict(profile: &Profile) -> Level {
    if profile.is_legacy() { Level::Warning } else { Level::Error }
}

fn identifiers(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    let needs_authority = profile.kind() != Kind::SelfSigned;
    let authority = e.authority_key_identifier;
    findings.error_unless(
        !needs_authority || authority.is_some(),
        "RFC 5280 4.2.1.1",
        "authority_key_identifier",
        "none",
        "in every certificate but a root's",
    );
    findings.error_unless(
        authority.is_none_or(|f| !f.critical),
        "RFC 5280 4.2.1.1",
        "authority_key_identifier",
        "critical",
        "not critical",
    );
    let own = e.subject_key_identifier;
    findings.error_unless(
        !profile.kind().is_ca() || own.is_some(),
        "RFC 5280 4.2.1.2",
        "subject_key_identifier",
        "none",
        "in every CA's certificate",
    );
    findings.error_unless(own.is_none_or(|f| !f.critical), "RFC 5280 4.2.1.2", "subject_key_identifier", "critical", "not critical");
    let access = e.authority_info_access.as_ref();
    findings.error_unless(
        access.is_none_or(|rule| !rule.critical),
        "RFC 5280 4.2.2.1",
        "authority_info_access",
        "critical",
        "not critical",
    );
    let points = e.crl_distribution_points.as_ref();
    findings.warning_unless(
        points.is_none_or(|rule| !rule.critical),
        "RFC 5280 4.2.1.13",
        "crl_distribution_points",
        "critical",
        "not critical",
    );
    let mappings = e.policy_mappings.as_ref();
    findings.error_unless(
        mappings.is_none() || profile.kind().is_ca(),
        "RFC 5280 4.2.1.5",
        "policy_mappings",
        "in no CA's certificate",
        "in a CA's only",
    );
    findings.warning_unless(mappings.is_none_or(|rule| rule.critical), "RFC 5280 4.2.1.5", "policy_mappings", "not critical", "critical");
}

fn certification_authority(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    let level = strict(profile);
    let is_critical = e.basic_constraints.as_ref().is_none_or(|rule| rule.critical);
    findings.unless(is_critical, level, "RFC 5280 4.2.1.9", "basic_constraints", "not critical", "critical");
    findings.error_unless(e.has_usage(Usage::KeyCertSign), "RFC 5280 4.2.1.3", "key_usage", "a CA without keyCertSign", "keyCertSign");
    findings.error_unless(e.has_usage(Usage::CrlSign), "P2", "key_usage", "a CA without cRLSign", "cRLSign");
    let is_critical = e.key_usage.as_ref().is_none_or(|rule| rule.critical);
    findings.unless(is_critical, level, "RFC 5280 4.2.1.3", "key_usage", "not critical", "critical");
    findings.error_unless(
        !e.has_purpose(ID_KP_OCSP_SIGNING),
        "RFC 6960 4.2.2.2",
        "extended_key_usage",
        "OCSPSigning in a CA's certificate",
        "a responder of its own",
    );
    findings.error_unless(e.ocsp_no_check.is_none(), "RFC 6960 4.2.2.2.1", "ocsp_no_check", "in a CA's certificate", "in responders' only");
    let may_be_empty = profile.document.subject.may_be_empty();
    findings.error_unless(
        !may_be_empty,
        "RFC 5280 4.1.2.6",
        "subject.attributes",
        "a CA whose subject may be empty",
        "one that is not optional",
    );
    let is_root = profile.kind() == Kind::SelfSigned;
    let limited = e.basic_constraints.as_ref().is_some_and(|rule| rule.path_length != PathLength::Absent);
    findings.warning_unless(
        !is_root || !limited,
        "RFC 5280 4.2.1.9",
        "basic_constraints.path_length",
        "given in a root",
        "none: relying parties need not look at it",
    );
}

fn responder(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    let usages: Vec<_> = e.key_usage.iter().flat_map(|rule| rule.values.iter().chain(&rule.optional)).collect();
    let only_signs = usages == [&Usage::DigitalSignature];
    findings.error_unless(only_signs, "P1", "key_usage", &format!("{usages:?}"), "digitalSignature only");
    findings.error_unless(e.key_usage.as_ref().is_some_and(|rule| rule.critical), "P1", "key_usage", "not critical", "critical");
    let purposes = e.extended_key_usage.as_ref();
    let only_ocsp = purposes.is_some_and(|rule| !rule.optional && rule.values.iter().map(|p| p.0).eq([ID_KP_OCSP_SIGNING]));
    findings.error_unless(only_ocsp, "P1", "extended_key_usage", "another set of purposes", "OCSPSigning only, always");
    findings.error_unless(e.ocsp_no_check.is_some_and(|f| !f.critical), "P1", "ocsp_no_check", "none, or critical", "not critical");
    for (field, is_there) in
        [("crl_distribution_points", e.crl_distribution_points.is_some()), ("subject_alt_name", e.subject_alt_name.is_some())]
    {
        findings.error_unless(!is_there, "P1", field, "in a responder's certificate", "none");
    }
    // Only the BR and what follows them forbid it; elsewhere a policy may ask for it.
    let level = if profile.has_programme(Programme::BaselineRequirements) { Level::Error } else { Level::Warning };
    findings.unless(e.certificate_policies.is_none(), level, "P1", "certificate_policies", "in a responder's certificate", "none");
}

fn end_entity(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    for usage in [Usage::KeyCertSign, Usage::CrlSign] {
        let optional = e.key_usage.as_ref().is_some_and(|rule| rule.optional.contains(&usage));
        findings.error_unless(!e.has_usage(usage) && !optional, "RFC 5280 4.2.1.3", "key_usage", usage.name(), "in CA's certificates only");
    }
    let is_critical = e.key_usage.as_ref().is_none_or(|rule| rule.critical);
    findings.warning_unless(is_critical, "RFC 5280 4.2.1.3", "key_usage", "not critical", "critical");
    findings.error_unless(
        !e.has_purpose(ID_KP_OCSP_SIGNING),
        "P1",
        "extended_key_usage",
        "OCSPSigning in an end entity",
        "kind = \"ocsp-responder\"",
    );
    findings.warning_unless(
        e.ocsp_no_check.is_none(),
        "RFC 6960 4.2.2.2.1",
        "ocsp_no_check",
        "in an end entity's certificate",
        "in responders' only",
    );
    let has_status = e.crl_distribution_points.is_some() || e.authority_info_access.as_ref().is_some_and(|rule| rule.ocsp.is_some());
    let told = has_status || e.no_rev_avail.is_some();
    findings.unless(
        told,
        Level::Notice,
        "RFC 5280 4.2.1.13",
        "extensions",
        "no place where the status is told",
        "a distribution point, an OCSP URL or noRevAvail",
    );
}

fn purposes(profile: &Profile, findings: &mut Findings) {
    let Some(rule) = &profile.document.extensions.extended_key_usage else { return };
    let e = &profile.document.extensions;
    let mut seen = rule.values.clone();
    seen.sort_by_key(|purpose| purpose.name());
    seen.dedup();
    findings.error_unless(seen.len() == rule.values.len(), "RFC 5280 4.2.1.12", "extended_key_usage", "a purpose twice", "each once");
    if profile.kind().is_ca() {
        return;
    }
    if e.has_purpose(ID_KP_TIME_STAMPING) {
        let fits = rule.critical && rule.values.len() == 1;
        findings.error_unless(
            fits,
            "RFC 3161 2.3",
            "extended_key_usage",
            "timeStamping not critical, or beside others",
            "critical, and timeStamping alone",
        );
    }
    let mixed = [ID_KP_SERVER_AUTH, ID_KP_CODE_SIGNING, ID_KP_EMAIL_PROTECTION].into_iter().filter(|p| e.has_purpose(*p)).count() > 1;
    findings.warning_unless(!mixed, "RFC 5280 4.2.1.12", "extended_key_usage", "purposes of several kinds of certificate", "one kind");
    let any = e.has_purpose(ANY_EXTENDED_KEY_USAGE);
    findings.error_unless(
        !any || !rule.critical,
        "RFC 5280 4.2.1.12",
        "extended_key_usage",
        "anyExtendedKeyUsage, critical",
        "not critical",
    );
}

/// Rule P4.
fn no_rev_avail(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    let Some(rule) = e.no_rev_avail else { return };
    findings.error_unless(!rule.critical, "P4", "no_rev_avail", "critical", "not critical");
    findings.error_unless(!profile.kind().is_ca(), "P4", "no_rev_avail", "in a CA's certificate", "in none");
    findings.error_unless(e.crl_distribution_points.is_none(), "P4", "no_rev_avail", "beside crl_distribution_points", "alone");
    let has_ocsp = e.authority_info_access.as_ref().is_some_and(|rule| rule.ocsp.is_some());
    findings.error_unless(!has_ocsp, "P4", "no_rev_avail", "beside an OCSP URL", "alone");
    let days = profile.length().map_or(0, |length| length.period().longest().as_secs().div_ceil(86_400));
    findings.warning_unless(days <= 30, "P4", "validity", &format!("{days} days without revocation"), "a short life");
}

fn baseline_requirements(profile: &Profile, now: Timestamp, findings: &mut Findings) {
    let e = &profile.document.extensions;
    findings.error_unless(!profile.is_legacy(), "BR 6.1.5", "legacy", "true", "neither SHA-1 nor RSA-1024");
    if matches!(profile.kind(), Kind::SelfSigned | Kind::SubCa | Kind::OcspResponder) {
        br_naming(profile, findings);
    }
    match profile.kind() {
        Kind::SelfSigned => br_root(profile, findings),
        Kind::EndEntity if e.has_purpose(ID_KP_SERVER_AUTH) => {
            br_server(profile, findings);
            br_validity(profile, now, findings);
        }
        Kind::SubCa | Kind::Cross => br_sub_ca(e, findings),
        _ => {}
    }
}

/// Names of CAs, and of their responders (BR 7.1.2.8).
fn br_naming(profile: &Profile, findings: &mut Findings) {
    for wanted in [Attribute::C, Attribute::O, Attribute::CN] {
        let is_in_all = profile.document.subject.attributes.iter().any(|rule| rule.kind == wanted && !rule.optional);
        let found = format!("subjects that may lack {}", wanted.name());
        findings.error_unless(is_in_all, "BR 7.1.2.10.2", "subject.attributes", &found, "C, O and CN in each");
    }
}

fn br_root(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    findings.error_unless(e.extended_key_usage.is_none(), "BR 7.1.2.1.2", "extended_key_usage", "in a root", "none");
    findings.warning_unless(e.certificate_policies.is_none(), "BR 7.1.2.1.2", "certificate_policies", "in a root", "none");
    let days = profile.length().map_or(0, |length| length.period().longest().as_secs() / 86_400);
    let is_short = matches!(profile.length(), Some(Length::Fixed(_))) && days < 2922;
    findings.error_unless(days <= 9132 && !is_short, "BR 7.1.2.1.1", "validity", &format!("{days} days"), "2922 to 9132 days");
}

fn br_sub_ca(e: &Extensions, findings: &mut Findings) {
    findings.error_unless(e.extended_key_usage.is_some(), "BR 7.1.2.10.6", "extended_key_usage", "none", "serverAuth");
    findings.error_unless(
        !e.has_purpose(ANY_EXTENDED_KEY_USAGE),
        "BR 7.1.2.10.6",
        "extended_key_usage",
        "anyExtendedKeyUsage",
        "serverAuth",
    );
    findings.error_unless(e.crl_distribution_points.is_some(), "BR 7.1.2.11.2", "crl_distribution_points", "none", "the CRL's URL");
    findings.error_unless(e.certificate_policies.is_some(), "BR 7.1.2.10.5", "certificate_policies", "none", "a reserved policy");
}

fn br_server(profile: &Profile, findings: &mut Findings) {
    let e = &profile.document.extensions;
    findings.error_unless(e.subject_alt_name.is_some(), "BR 7.1.2.7.12", "subject_alt_name", "none", "in every server's certificate");
    let policies = e.certificate_policies.iter().flat_map(|rule| &rule.policies);
    let reserved = policies.filter(|policy| RESERVED_POLICIES.contains(&policy.oid.0)).count();
    findings.error_unless(reserved == 1, "BR 7.1.2.7.9", "certificate_policies", &format!("{reserved} reserved policies"), "one");
    let usage = e.key_usage.as_ref();
    findings.error_unless(usage.is_none_or(|rule| rule.critical), "BR 7.1.2.7.11", "key_usage", "not critical", "critical");
    let bad = [Usage::NonRepudiation, Usage::KeyCertSign, Usage::CrlSign].into_iter().find(|usage| e.has_usage(*usage));
    findings.error_unless(
        bad.is_none(),
        "BR 7.1.2.7.11",
        "key_usage",
        bad.map_or("", Usage::name),
        "digitalSignature, with RSA perhaps keyEncipherment",
    );
    let other = e
        .extended_key_usage
        .iter()
        .flat_map(|rule| &rule.values)
        .find(|purpose| [ID_KP_CODE_SIGNING, ID_KP_EMAIL_PROTECTION, ID_KP_TIME_STAMPING, ANY_EXTENDED_KEY_USAGE].contains(&purpose.0));
    let found = other.map_or(String::new(), |purpose| purpose.name());
    findings.error_unless(other.is_none(), "BR 7.1.2.7.10", "extended_key_usage", &found, "serverAuth, perhaps clientAuth");
    let has_crl = e.crl_distribution_points.as_ref().is_some_and(|rule| !rule.optional);
    let has_ocsp = e.authority_info_access.as_ref().and_then(|rule| rule.ocsp.as_ref()).is_some_and(|rule| !rule.optional);
    let told = has_crl || has_ocsp || e.no_rev_avail.is_some();
    findings.error_unless(
        told,
        "BR 7.1.2.11.2",
        "crl_distribution_points",
        "none, and no OCSP URL",
        "one of them, or a short life with noRevAvail",
    );
    let attributes = &profile.document.subject.attributes;
    let free = attributes.is_empty() || attributes.iter().any(|a| a.kind.name() == "CN" && a.form != Some(Form::AlternativeName));
    findings.error_unless(!free, "BR 7.1.4.3", "subject.attributes", "a commonName that may be anything", "form = \"alternative-name\"");
}

/// Against what holds now, and in the coming year.
fn br_validity(profile: &Profile, now: Timestamp, findings: &mut Findings) {
    let Some(length) = profile.length() else { return };
    let seconds = length.period().longest().as_secs() + u64::from(matches!(length, Length::Fixed(_)));
    let in_a_year = Period::Years(1).after(now);
    for (level, when, field) in [(Level::Error, now, "validity"), (Level::Warning, in_a_year, "validity a year from now")] {
        if let Some(days) = profile.tls_maximum(when)
            && seconds > u64::from(days) * 86_400
        {
            findings.unless(false, level, "BR 6.3.2", field, &length.to_string(), &format!("at most {days}d at {when}"));
            return;
        }
    }
}

fn legacy(profile: &Profile, findings: &mut Findings) {
    let algorithms = profile.legacy_algorithms();
    let named = algorithms.join(", ");
    findings.warning_unless(algorithms.is_empty(), "O15", "LEGACY", &named, "an algorithm of this century: relying parties refuse these");
    let idle = profile.is_legacy() && algorithms.is_empty();
    findings.warning_unless(!idle, "O15", "legacy", "true, without a legacy algorithm", "only where one is named");
}

fn issued(profile: &Profile, now: Timestamp, findings: &mut Findings) {
    let document = &profile.document;
    if let Some(until) = document.issued_until.filter(|until| *until < now) {
        findings.unless(false, Level::Notice, "profile", "issued_until", &until.to_string(), "a later time: nothing is issued any more");
    }
    if let Some(from) = document.issued_from.filter(|from| *from > now) {
        findings.unless(false, Level::Notice, "profile", "issued_from", &from.to_string(), "an earlier time: nothing is issued yet");
    }
}
