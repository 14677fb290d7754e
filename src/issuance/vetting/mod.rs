//! Vetting in software (S3.1): what stands against a certification request before anything is signed for it.
//!
//! Pure: what a request says, what its key is, and what the issuer's own certificate allows. What the registry knows of keys and subjects is asked where
//! requests are issued for, and what a profile wants of a subject is for the profile to say.

mod armour;
mod blocked;
mod constraints;
mod fermat;
mod key;
mod request;

pub use armour::read_json_line;
pub use blocked::{BlockedKeys, BlockedKeysError};
pub use constraints::Constraints;
pub use key::check_key;
pub use request::{CertificationRequest, RequestedName, read_csr_line};

/// Why a request is rejected: the rule by name, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{rule}: {why}")]
pub struct Rejection {
    /// The rule: `proof-of-possession`, `key`, `known-weak-key`, `shared-key`, `subject`, `name-constraints`, `profile` ….
    pub rule: &'static str,
    /// What was found, and what was wanted.
    pub why: String,
}

impl Rejection {
    /// What was found is shown only up to a length.
    pub fn new(rule: &'static str, why: impl Into<String>) -> Rejection {
        Rejection { rule, why: why.into().chars().take(400).collect() }
    }
}
