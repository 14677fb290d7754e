//! Certificate profiles: one certificate of each, held against the tables of the policies; what a profile refuses; what other people's verifiers and
//! linters say. Needs `openssl`, SoftHSM2 and pkilint; without them the tests fail.

#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/softhsm.rs"]
mod softhsm_token;

mod commands;
mod expected;
mod paths;
mod pkilint;
mod refusals;
mod rules;
mod speed;
mod support;
mod tables;
