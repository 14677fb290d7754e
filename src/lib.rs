//! Kakunin: a validation authority.

pub mod admin;
pub mod commands;
pub mod config;
pub mod issuance;
pub mod pack;
pub mod pki;
pub mod registry;
pub mod responder;
pub mod signing;
pub mod sources;
pub mod token;
