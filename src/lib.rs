//! Kakunin: a validation authority.

pub mod pack;
pub mod pki;
