//! Why a certificate was not issued.

use super::Validity;
use super::profile::Finding;
use crate::token::TokenError;

/// An order that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuanceError {
    /// A part of the order is out of bounds.
    #[error("{field}: found {found}, wanted {wanted}")]
    Field {
        /// The part.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        wanted: String,
    },
    /// A validity that is empty, or that the issuer's does not contain: whatever is asked for then, nothing can be issued.
    #[error("validity: found {found}, wanted {wanted}")]
    Validity {
        /// The validity.
        found: Validity,
        /// What it may be.
        wanted: String,
    },
    /// The profile does not allow it.
    #[error(transparent)]
    Profile(#[from] Finding),
    /// The issuer's key did not sign, or is not the key of the issuer's certificate.
    #[error("issuer's key: {0}")]
    Key(#[from] TokenError),
    /// The certificate could not be encoded.
    #[error("cannot encode the certificate: {0}")]
    Encoding(String),
    /// No random octets.
    #[error("the random source failed")]
    Random,
}

impl IssuanceError {
    pub(super) fn field(field: &'static str, found: impl Into<String>, wanted: impl Into<String>) -> IssuanceError {
        // What came from outside is shown only up to a length.
        IssuanceError::Field { field, found: found.into().chars().take(200).collect(), wanted: wanted.into() }
    }
}

impl From<der::Error> for IssuanceError {
    fn from(error: der::Error) -> IssuanceError {
        IssuanceError::Encoding(error.to_string())
    }
}
