//! What can be said of a certificate: good, or revoked since a time and for a reason.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// The status of a certificate that its CA has issued. `unknown` is the absence of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Not revoked.
    Good,
    /// Revoked, for ever: a revocation is never undone (S4.4).
    Revoked(Revocation),
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// revocationDate of the CRL entry, revocationTime of the OCSP response.
    pub at: Timestamp,
    /// `None` stands for unspecified(0), which is expressed by absence (rule C3).
    pub reason: Option<RevocationReason>,
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateStatus::Good => f.write_str("good"),
            CertificateStatus::Revoked(revocation) => revocation.fmt(f),
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revoked at {} ({})", self.at, self.reason.map_or("unspecified", RevocationReason::name))
    }
}

/// CRLReason (RFC 5280 5.3.1) without unspecified(0), certificateHold(6) and removeFromCRL(8): the reasons of a permanent revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum RevocationReason {
    KeyCompromise = 1,
    CaCompromise = 2,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5,
    PrivilegeWithdrawn = 9,
    AaCompromise = 10,
}

/// Not a reason for which a certificate can be revoked here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a revocation reason: wanted one of unspecified, {}", RevocationReason::ALL.map(RevocationReason::name).join(", "))]
pub struct ReasonError {
    found: String,
}

impl RevocationReason {
    /// Every reason, in the order of its code.
    pub const ALL: [RevocationReason; 7] = [
        RevocationReason::KeyCompromise,
        RevocationReason::CaCompromise,
        RevocationReason::AffiliationChanged,
        RevocationReason::Superseded,
        RevocationReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn,
        RevocationReason::AaCompromise,
    ];

    /// The CRLReason code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason with that CRLReason code.
    pub fn from_code(code: u8) -> Option<RevocationReason> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }

    /// The name in RFC 5280: `keyCompromise` ….
    pub const fn name(self) -> &'static str {
        match self {
            RevocationReason::KeyCompromise => "keyCompromise",
            RevocationReason::CaCompromise => "cACompromise",
            RevocationReason::AffiliationChanged => "affiliationChanged",
            RevocationReason::Superseded => "superseded",
            RevocationReason::CessationOfOperation => "cessationOfOperation",
            RevocationReason::PrivilegeWithdrawn => "privilegeWithdrawn",
            RevocationReason::AaCompromise => "aACompromise",
        }
    }

    /// Reads a reason by name, any case; `unspecified` is `None`.
    pub fn parse_optional(text: &str) -> Result<Option<RevocationReason>, ReasonError> {
        if text.eq_ignore_ascii_case("unspecified") { Ok(None) } else { text.parse().map(Some) }
    }
}

impl FromStr for RevocationReason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<RevocationReason, ReasonError> {
        let same = |r: &RevocationReason| r.name().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(same).ok_or_else(|| ReasonError { found: text.chars().take(40).collect() })
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for RevocationReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for RevocationReason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<RevocationReason, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_hold_and_remove_from_crl_are_no_reasons_here() {
        for name in ["certificateHold", "removeFromCRL", "", "7"] {
            assert!(name.parse::<RevocationReason>().is_err(), "{name}");
        }
        assert_eq!(RevocationReason::from_code(0), None);
        assert_eq!(RevocationReason::from_code(6), None);
        assert_eq!(RevocationReason::parse_optional("Unspecified"), Ok(None));
    }

    #[test]
    fn every_reason_reads_back_by_name_and_code() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason.name().to_lowercase().parse(), Ok(reason));
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
        }
    }
}
