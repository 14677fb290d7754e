//! What the issuer's own certificate allows: names (RFC 5280 4.2.1.10). A certificate that breaks its issuer's name constraints is one that no path is built to.

use const_oid::db::rfc3280::EMAIL_ADDRESS;
use der::Decode;
use der::asn1::Ia5String;
use x509_cert::Certificate;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{NameConstraints, SubjectAltName};
use x509_cert::name::Name;

use super::Rejection;
use crate::pki::name::{self, rdn_identity};

const RULE: &str = "name-constraints";

/// The name constraints in a CA's certificate.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    permitted: Vec<GeneralName>,
    excluded: Vec<GeneralName>,
}

impl Constraints {
    /// Those of a DER certificate; none where it has no such extension.
    pub fn of(certificate: &[u8]) -> Result<Constraints, Rejection> {
        let malformed = |e: der::Error| Rejection::new(RULE, format!("the issuer's certificate cannot be read: {e}"));
        let certificate = Certificate::from_der(certificate).map_err(malformed)?;
        let Some((_, found)) = certificate.tbs_certificate.get::<NameConstraints>().map_err(malformed)? else {
            return Ok(Constraints::default());
        };
        let bases = |subtrees: Option<Vec<GeneralSubtree>>| subtrees.unwrap_or_default().into_iter().map(|subtree| subtree.base).collect();
        Ok(Constraints { permitted: bases(found.permitted_subtrees), excluded: bases(found.excluded_subtrees) })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// What stands against a subject (DER Name) and a subjectAltName (DER, where there is one).
    pub fn check(&self, subject: &[u8], alternative_names: Option<&[u8]>) -> Result<(), Rejection> {
        if self.is_empty() {
            return Ok(());
        }
        let malformed = |e: der::Error| Rejection::new(RULE, format!("a name cannot be read: {e}"));
        let subject = Name::from_der(subject).map_err(malformed)?;
        if !subject.0.is_empty() {
            mail_addresses(&subject).map_err(malformed)?.iter().try_for_each(|address| self.check_name(address))?;
            self.check_name(&GeneralName::DirectoryName(subject))?;
        }
        let names = alternative_names.map(SubjectAltName::from_der).transpose().map_err(malformed)?;
        names.iter().flat_map(|names| &names.0).try_for_each(|name| self.check_name(name))
    }

    fn check_name(&self, name: &GeneralName) -> Result<(), Rejection> {
        let rejected = |why: &str| Err(Rejection::new(RULE, format!("{} {why}", describe(name))));
        let same_kind = |base: &&GeneralName| std::mem::discriminant(*base) == std::mem::discriminant(name);
        let mut permitted = self.permitted.iter().filter(same_kind).peekable();
        if permitted.peek().is_none() && !self.excluded.iter().any(|base| same_kind(&base)) {
            return Ok(());
        }
        if !is_understood(name) {
            return rejected("is of a kind that the issuer's certificate constrains in a way not known here");
        }
        if self.excluded.iter().any(|base| is_within(name, base) || stands_for_one_within(name, base)) {
            return rejected("is excluded by the issuer's certificate");
        }
        if permitted.peek().is_some() && !permitted.any(|base| is_within(name, base)) {
            return rejected("is not among those that the issuer's certificate permits");
        }
        Ok(())
    }
}

/// Addresses in a subject, as old certificates have them: constraints of mail addresses are theirs, too (RFC 5280 4.2.1.10).
fn mail_addresses(subject: &Name) -> der::Result<Vec<GeneralName>> {
    let attributes = subject.0.iter().flat_map(|rdn| rdn.0.iter()).filter(|attribute| attribute.oid == EMAIL_ADDRESS);
    attributes.map(|attribute| name::text(attribute).and_then(Ia5String::new).map(GeneralName::Rfc822Name)).collect()
}

fn is_understood(name: &GeneralName) -> bool {
    matches!(name, GeneralName::DnsName(_) | GeneralName::DirectoryName(_) | GeneralName::Rfc822Name(_) | GeneralName::IpAddress(_))
}

fn is_within(name: &GeneralName, base: &GeneralName) -> bool {
    match (name, base) {
        (GeneralName::DnsName(name), GeneralName::DnsName(base)) => is_below(name.as_str(), base.as_str()),
        (GeneralName::Rfc822Name(name), GeneralName::Rfc822Name(base)) => mail_is_within(name.as_str(), base.as_str()),
        (GeneralName::DirectoryName(name), GeneralName::DirectoryName(base)) => {
            name.0.len() >= base.0.len() && name.0.iter().zip(&base.0).all(|(name, base)| rdn_identity(name) == rdn_identity(base))
        }
        (GeneralName::IpAddress(name), GeneralName::IpAddress(base)) => {
            let (name, base) = (name.as_bytes(), base.as_bytes());
            let (network, mask) = base.split_at(base.len() / 2);
            base.len() == 2 * name.len() && name.iter().zip(network.iter().zip(mask)).all(|(octet, (n, m))| octet & m == n & m)
        }
        _ => false,
    }
}

/// Whether one of the hosts that a wildcard stands for is within a constraint, be it that others are not: `secret.example.com` is one of `*.example.com`.
fn stands_for_one_within(name: &GeneralName, base: &GeneralName) -> bool {
    let (GeneralName::DnsName(name), GeneralName::DnsName(base)) = (name, base) else { return false };
    let one_label_more = base.as_str().split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
    name.as_str().strip_prefix("*.").is_some_and(|hosts| one_label_more.is_some_and(|parent| parent.eq_ignore_ascii_case(hosts)))
}

/// `www.example.com` is below `example.com`, and so are `*.example.com` and `example.com`; below `.example.com` only the former.
fn is_below(host: &str, base: &str) -> bool {
    let (host, base) = (host.to_ascii_lowercase(), base.to_ascii_lowercase());
    let below = |base: &str| host.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'));
    match base.strip_prefix('.') {
        Some(base) => below(base),
        None => base.is_empty() || host == base || below(&base),
    }
}

/// A mailbox is itself only, its host in whatever case (RFC 5280 7.5); a host has all its mailboxes, and `.example.com` those of the hosts below it.
fn mail_is_within(address: &str, base: &str) -> bool {
    let Some((mailbox, host)) = address.rsplit_once('@') else { return false };
    match base.rsplit_once('@') {
        Some((base_mailbox, base_host)) => mailbox == base_mailbox && host.eq_ignore_ascii_case(base_host),
        None if base.starts_with('.') => is_below(host, base),
        None => host.eq_ignore_ascii_case(base),
    }
}

fn describe(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => format!("the host name '{}'", name.as_str()),
        GeneralName::Rfc822Name(name) => format!("the mail address '{}'", name.as_str()),
        GeneralName::DirectoryName(name) => format!("the name '{name}'"),
        GeneralName::IpAddress(_) => "an IP address".to_owned(),
        _ => "a name of another kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use der::Encode;
    use der::asn1::OctetString;

    use super::*;

    fn dns(name: &str) -> GeneralName {
        GeneralName::DnsName(Ia5String::new(name).unwrap())
    }

    fn check(constraints: &Constraints, subject: &str, names: Vec<GeneralName>) -> bool {
        let names = SubjectAltName(names).to_der().unwrap();
        let subject = if subject.is_empty() { Name::default() } else { Name::from_str(subject).unwrap() };
        constraints.check(&subject.to_der().unwrap(), Some(&names)).is_ok()
    }

    #[test]
    fn s3_1_names_outside_the_issuers_constraints_are_rejected() {
        let ip = |octets: &[u8]| GeneralName::IpAddress(OctetString::new(octets).unwrap());
        let directory = |text: &str| GeneralName::DirectoryName(Name::from_str(text).unwrap());
        let constraints = Constraints {
            permitted: vec![dns("example.com"), directory("O=Example,C=JP"), ip(&[192, 0, 2, 0, 255, 255, 255, 0])],
            excluded: vec![dns("secret.example.com")],
        };
        let subject = "CN=www.example.com,O=Example,C=JP";
        assert!(check(
            &constraints,
            subject,
            vec![dns("www.example.com"), dns("Example.COM"), dns("*.www.example.com"), ip(&[192, 0, 2, 7])]
        ));
        for outside in [
            dns("example.org"),
            dns("badexample.com"),
            dns("a.secret.example.com"),
            dns("secret.example.com"),
            dns("*.example.com"),
            dns("*.secret.example.com"),
            ip(&[192, 0, 3, 7]),
        ] {
            assert!(!check(&constraints, subject, vec![dns("www.example.com"), outside.clone()]), "{outside:?}");
        }
        assert!(check(&constraints, "CN=www.example.com,O=EXAMPLE,C=JP", vec![]), "the same name (RFC 5280 7.1)");
        assert!(!check(&constraints, "CN=www.example.com,O=Other,C=JP", vec![dns("www.example.com")]));
        assert!(check(&constraints, "", vec![dns("www.example.com")]), "no subject is no directoryName");
        let mail = |text: &str| GeneralName::Rfc822Name(Ia5String::new(text).unwrap());
        assert!(check(&constraints, subject, vec![mail("a@example.org")]), "mail is not constrained");
        let constraints = Constraints { permitted: vec![mail("example.com"), mail(".example.org"), dns(".example.net")], excluded: vec![] };
        assert!(check(&constraints, "", vec![mail("a@example.com"), mail("a@b.example.org"), dns("a.example.net")]));
        for outside in [mail("a@b.example.com"), mail("a@example.org"), mail("nobody"), dns("example.net")] {
            assert!(!check(&constraints, "", vec![outside.clone()]), "{outside:?}");
        }
    }

    #[test]
    fn s3_1_a_name_is_excluded_in_whatever_letters_it_is_written() {
        let constraints = Constraints {
            permitted: vec![],
            excluded: vec![GeneralName::DirectoryName(Name::from_str("O=Example Org,C=JP").unwrap()), dns(".example.net")],
        };
        for subject in ["CN=a,O=Example Org,C=JP", "CN=a,O=EXAMPLE  org,C=JP"] {
            assert!(!check(&constraints, subject, vec![]), "{subject}");
        }
        assert!(check(&constraints, "CN=a,O=Example,C=JP", vec![dns("example.net")]));
        assert!(!check(&constraints, "", vec![dns("*.example.net")]) && !check(&constraints, "", vec![dns("*.a.example.net")]));
    }

    #[test]
    fn s3_1_a_mail_address_in_the_subject_is_a_mail_address() {
        let mail = |text: &str| GeneralName::Rfc822Name(Ia5String::new(text).unwrap());
        let constraints = Constraints { permitted: vec![mail("example.com")], excluded: vec![mail("root@example.com")] };
        assert!(check(&constraints, "CN=a,emailAddress=a@example.com", vec![]));
        for outside in ["CN=a,emailAddress=a@example.org", "CN=a,emailAddress=root@example.com", "emailAddress=a@example.org,CN=a"] {
            assert!(!check(&constraints, outside, vec![]), "{outside}");
        }
        for (address, is_excluded) in [("root@EXAMPLE.COM", true), ("root@Example.com", true), ("Root@example.com", false)] {
            assert_eq!(check(&constraints, "", vec![mail(address)]), !is_excluded, "{address}: the host in any case (RFC 5280 7.5)");
            assert_eq!(check(&constraints, &format!("CN=a,emailAddress={address}"), vec![]), !is_excluded, "{address}");
        }
    }

    #[test]
    fn a_constraint_that_is_not_understood_lets_nothing_of_its_kind_pass() {
        let uri = |text: &str| GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap());
        let constraints = Constraints { permitted: vec![], excluded: vec![uri(".example.com")] };
        assert!(!check(&constraints, "", vec![uri("http://example.org/")]));
        assert!(check(&constraints, "", vec![dns("example.com")]));
    }
}
