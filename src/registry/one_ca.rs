//! One CA, one issuer: what stands against registering one beside those that are known.

use crate::pki::CertificateInfo;

/// What CertIDs and CRLs name a CA by.
#[derive(PartialEq, Eq)]
struct Ca {
    subject: Vec<u8>,
    spki: Vec<u8>,
    key_identifier: Vec<u8>,
}

impl Ca {
    fn of(certificate: &[u8]) -> Option<Ca> {
        let CertificateInfo { subject, spki, key_identifier, .. } = CertificateInfo::from_der(certificate).ok()?;
        Some(Ca { subject, spki, key_identifier })
    }

    /// Whether CertIDs for the one are CertIDs for the other (rule O2): they know name and key, and no key identifier.
    fn answers_for(&self, other: &Ca) -> bool {
        (&self.subject, &self.spki) == (&other.subject, &other.spki)
    }
}

/// A CA by the name that the registry has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The issuer's name.
    pub name: &'a str,
    /// DER of the CA certificate.
    pub certificate: &'a [u8],
}

/// Why an issuer cannot be registered beside `known` ones, or in the place of the one of its name: one CA has one status and one sequence of CRLs (rules O2, C9), and
/// a name is one CA's for good. `None` where it can.
pub fn conflict(known: &[Named<'_>], new: Named<'_>) -> Option<String> {
    if let Some(other) = known.iter().find(|known| known.name != new.name && known.certificate == new.certificate) {
        return Some(format!("its certificate is registered as '{}' already", other.name));
    }
    let ca = Ca::of(new.certificate);
    let answers_for = |known: &Named<'_>| Ca::of(known.certificate).zip(ca.as_ref()).is_some_and(|(known, new)| known.answers_for(new));
    let Some(named) = known.iter().find(|known| known.name == new.name) else {
        let other = known.iter().find(|known| answers_for(known))?;
        return Some(format!("it is the CA that is registered as '{}': one CA has one status and one sequence of CRLs", other.name));
    };
    if named.certificate == new.certificate || ca.is_some() && Ca::of(named.certificate) == ca {
        return None;
    }
    let found = if answers_for(named) { "a certificate with another subjectKeyIdentifier" } else { "another CA's certificate" };
    Some(format!("found {found}, wanted one of the same subject, key and key identifier"))
}
