//! Kakunin, a validation authority: it answers by OCSP and by CRL whether certificates of any number of CAs are good, revoked or unknown.
//!
//! # The map
//!
//! Data flows one way, and the registry is the only meeting place:
//!
//! ```text
//! issuance, sources ─► registry ─► signing ─► registry ─► responder
//! ```
//!
//! | module | what it is for | start reading at |
//! |---|---|---|
//! | [`pki`] | encode and decode: CertIDs, OCSP requests and responses, CRLs, times; names and keys as comparisons see them; pure | [`pki::ocsp_response::ResponseTemplate`], [`pki::crl::CrlEncoder`] |
//! | [`pack`] | the signed responses of one slot in a few octets a certificate | [`pack::Pack`], the layout in `pack/layout.rs` |
//! | [`token`] | signing keys: files, PKCS#11 | [`token::SigningKey`] |
//! | [`registry`] | the truth, its change feed, and its contract | [`registry::Registry`] |
//! | [`issuance`] | certificates by profiles, from orders under dual control: vetting, batches, ceremonies, renewal | [`issuance::order`], [`issuance::control`], [`issuance::requests`], [`issuance::profile`] |
//! | [`sources`] | what other CA software knows, as records | [`sources::openssl_index`] |
//! | [`signing`] | what is due, signing it, checking it, publishing it | [`signing::Worker`], [`signing::schedule`], [`signing::crl`], [`signing::gate`], [`signing::live`], [`signing::ending`] |
//! | [`responder`] | the status map, the answers, HTTP | [`responder::ocsp::answer`], [`responder::follow`], [`responder::live`] |
//! | [`admin`] | health and metrics | [`admin::Part`] |
//! | [`config`] | the configuration file and its bounds | [`config::Config`] |
//! | [`commands`] | the command line: wires everything together | [`commands::Cli`] |
//!
//! Imports go downwards only: `commands` → {`signing`, `responder`, `issuance`, `sources`, `admin`} → {`registry`, `token`, `pack`} → `pki`. The responder
//! imports neither keys nor what signs (a test holds that): a front end without keys and without write access is a configuration.
//!
//! # How a status reaches a relying party
//!
//! 1. `kakunin revoke` commits a [`registry::ChangeKind::Revocations`] with the certificate's new status.
//! 2. The worker sees the change within milliseconds. Threads that do nothing else sign the one response of the slot that is no longer right (one for each
//!    CertID hash) and keep the others, another publishes the packs, whatever refresh is under way; beside them the CRLs of the scopes concerned are signed. The
//!    gate has read the new response and the CRLs again before.
//! 3. The responder sees the published pack and swaps the one slot. The next request is answered from it.
//!
//! # Time
//!
//! Only the edges read a clock ([`pki::Timestamp::now`]); schedule, signing, answering and encoding take the time as an argument, and tests let weeks pass
//! in milliseconds.

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
