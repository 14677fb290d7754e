//! Kakunin: a validation authority.

pub mod pki;
