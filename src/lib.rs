//! Kakunin: a validation authority.

pub mod pack;
pub mod pki;
pub mod registry;
pub mod token;
