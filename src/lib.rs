//! Kakunin: a validation authority.

pub mod issuance;
pub mod pack;
pub mod pki;
pub mod registry;
pub mod token;
