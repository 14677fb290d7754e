//! Kakunin: a validation authority.

pub mod config;
pub mod issuance;
pub mod pack;
pub mod pki;
pub mod registry;
pub mod signing;
pub mod sources;
pub mod token;
