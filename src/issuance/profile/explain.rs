//! A profile in words.

use std::fmt::Write;

use super::contents::{Extensions, PathLength};
use super::{Kind, Profile, keys};

/// Some lines for a person to read, each on one subject.
pub(super) fn explain(profile: &Profile) -> String {
    let document = &profile.document;
    let mut text = format!("{}: {}\n  after {}\n", profile.name(), profile.title(), profile.source());
    let mut line = |what: &str, says: String| {
        if !says.is_empty() {
            let _ = writeln!(text, "  {what:<12} {says}");
        }
    };
    line("kind", what(profile.kind()).to_owned());
    line(
        "LEGACY",
        if profile.is_legacy() {
            format!("{}: relying parties refuse these", profile.legacy_algorithms().join(", "))
        } else {
            String::new()
        },
    );
    line("keys", keys::list(profile.keys()));
    line("signed with", document.signatures.iter().map(|s| s.name()).collect::<Vec<_>>().join(", "));
    line("valid", document.validity.map_or("as the certificates that it links".to_owned(), |length| length.to_string()));
    line("issued", issued(profile));
    line("serial", format!("{} random octets", document.serial_octets));
    line("subject", subject(profile));
    for (name, critical, says) in extensions(&document.extensions) {
        line("extension", format!("{name}{}{}{says}", if critical { ", critical" } else { "" }, if says.is_empty() { "" } else { ": " }));
    }
    text
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::SelfSigned => "self-signed: a root",
        Kind::SubCa => "sub-ca: a CA below the issuer",
        Kind::Cross => "cross: another PKI's CA",
        Kind::OldWithNew => "old-with-new: a CA's old key, certified with its new one",
        Kind::NewWithOld => "new-with-old: a CA's new key, certified with its old one",
        Kind::OcspResponder => "ocsp-responder: signs OCSP responses for the issuer",
        Kind::EndEntity => "end-entity",
    }
}

fn issued(profile: &Profile) -> String {
    let from = profile.document.issued_from.map(|time| format!("from {time}"));
    let until = profile.document.issued_until.map(|time| format!("until {time}"));
    from.into_iter().chain(until).collect::<Vec<_>>().join(" ")
}

fn subject(profile: &Profile) -> String {
    let rules = &profile.document.subject;
    let attributes: Vec<_> = rules.attributes.iter().map(ToString::to_string).collect();
    let mut says = if attributes.is_empty() { "any attributes".to_owned() } else { attributes.join(", ") };
    says.push_str(match rules.strings {
        super::subject::StringType::Utf8 => "; UTF-8",
        super::subject::StringType::Printable => "; PrintableString",
    });
    if let Some(characters) = &rules.characters {
        let _ = write!(says, "; characters {characters}");
    }
    if rules.unique {
        says.push_str("; unique in the CA");
    }
    says
}

/// Name, whether critical, value.
fn extensions(e: &Extensions) -> Vec<(&'static str, bool, String)> {
    let flags = [
        ("authorityKeyIdentifier", e.authority_key_identifier),
        ("subjectKeyIdentifier", e.subject_key_identifier),
        ("id-pkix-ocsp-nocheck", e.ocsp_no_check),
        ("noRevAvail", e.no_rev_avail),
    ];
    let mut all: Vec<_> = flags.into_iter().filter_map(|(name, flag)| Some((name, flag?.critical, String::new()))).collect();
    all.extend(e.key_usage.as_ref().map(|rule| {
        let names = |usages: &[super::Usage]| usages.iter().map(|usage| usage.name()).collect::<Vec<_>>().join(", ");
        let optional = if rule.optional.is_empty() { String::new() } else { format!("; as ordered {}", names(&rule.optional)) };
        ("keyUsage", rule.critical, names(&rule.values) + &optional)
    }));
    all.extend(e.extended_key_usage.as_ref().map(|rule| {
        let names = rule.values.iter().map(|purpose| purpose.name()).collect::<Vec<_>>().join(", ");
        ("extKeyUsage", rule.critical, names + if rule.optional { ", as ordered" } else { "" })
    }));
    all.extend(e.certificate_policies.as_ref().map(|rule| {
        let policy = |policy: &super::contents::Policy| {
            policy.cps.as_ref().map_or_else(|| policy.oid.0.to_string(), |cps| format!("{} (CPS {cps})", policy.oid.0))
        };
        ("certificatePolicies", rule.critical, rule.policies.iter().map(policy).collect::<Vec<_>>().join(", "))
    }));
    all.extend(e.policy_mappings.as_ref().map(|rule| {
        let mapping = |m: &super::contents::Mapping| format!("{} as {}", m.subject.0, m.issuer.0);
        ("policyMappings", rule.critical, rule.mappings.iter().map(mapping).collect::<Vec<_>>().join(", "))
    }));
    all.extend(e.basic_constraints.as_ref().map(|rule| {
        let length = match rule.path_length {
            PathLength::Absent => String::new(),
            PathLength::Fixed(length) => format!(", path length {length}"),
            PathLength::Ordered => ", path length as ordered".to_owned(),
        };
        ("basicConstraints", rule.critical, format!("a CA{length}"))
    }));
    all.extend(e.subject_alt_name.as_ref().map(|rule| ("subjectAltName", rule.critical, format!("{:?}", rule.types).to_lowercase())));
    let link = |url: Option<&String>, optional: bool| {
        let place = url.cloned().unwrap_or_else(|| "the issuer's".to_owned());
        place + if optional { ", as ordered" } else { "" }
    };
    all.extend(
        e.crl_distribution_points.as_ref().map(|rule| ("cRLDistributionPoints", rule.critical, link(rule.url.as_ref(), rule.optional))),
    );
    all.extend(e.authority_info_access.as_ref().map(|rule| {
        let places = [("OCSP", &rule.ocsp), ("caIssuers", &rule.ca_issuers)];
        let says = |(name, rule): (&str, &Option<super::contents::LinkRule>)| {
            rule.as_ref().map(|rule| format!("{name} {}", link(rule.url.as_ref(), rule.optional)))
        };
        ("authorityInfoAccess", rule.critical, places.into_iter().filter_map(says).collect::<Vec<_>>().join("; "))
    }));
    all.extend(e.netscape_cert_type.as_ref().map(|rule| {
        let names: Vec<_> = rule.values.iter().map(|value| value.name()).collect();
        ("netscape-cert-type", rule.critical, names.join(", "))
    }));
    all
}
