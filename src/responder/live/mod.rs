//! The live lane: questions that no pre-signed response answers, asked of somebody who can sign.
//!
//! [`question`] decides, as a pure function of the request and of what is in memory, whether a request is one of them, and what its answer is to say: the
//! status comes from the pre-signed packs, so that both ways of answering agree (rule C9) and no database is asked. [`Lane`] asks a [`Source`], each question
//! without a nonce once at a time, and keeps the answers to these in [`cache`] until they are due. A [`relay`] is a source that asks another node by OCSP.
//!
//! Holds no key. A source never blocks; where none answers in time, the pre-signed response without the nonce is sent, or tryLater.
//!
//! # Nonces (rule O11)
//!
//! Nonces of 16 to 32 octets are echoed. Shorter ones (which RFC 9654 calls too short to mean anything) and longer ones (which would let strangers choose
//! what is signed at length) are answered as if there were none.

mod cache;
mod http;
mod index;
mod lane;
pub mod question;
pub mod relay;

use crate::pki::ocsp_request::OcspRequest;

use super::ocsp::Refusal;

pub use lane::{Answered, Dropped, Lane, LiveOutcome, Origin, Reply, Settings, Source};

/// The header of a request that another node passes on: it is not passed on to a third.
pub const RELAYED: &str = "kakunin-relayed";
/// Octets of the nonces that are echoed (rule O11).
pub const ECHOED_NONCE_BYTES: std::ops::RangeInclusive<usize> = 16..=32;
/// Certificates in one request that are answered for; more are unauthorized.
pub const MAX_CERTIFICATES: usize = 16;

/// What is answered live for the certificates of one issuer. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Nonces are echoed.
    pub nonce: bool,
    /// CertIDs with hashes that are not pre-signed are answered.
    pub cert_id_hashes: bool,
    /// Requests for several certificates are answered.
    pub several: bool,
    /// What a serial is answered that was never issued.
    pub unknown: UnknownSerial,
}

/// What is said of a serial that was never issued (rules O9, O10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownSerial {
    /// `unauthorized`, without a signature.
    #[default]
    Unauthorized,
    /// A signed `unknown`.
    Unknown,
    /// A signed `revoked`, with the extended-revoke extension.
    ExtendedRevoke,
}

/// Which requests some issuer answers live: all that the plain path needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    nonce: bool,
    cert_id_hashes: bool,
    several: bool,
    unknown: bool,
}

impl Kinds {
    /// Those of the policies.
    pub fn of(policies: impl IntoIterator<Item = Policy>) -> Kinds {
        policies.into_iter().fold(Kinds::default(), |kinds, policy| Kinds {
            nonce: kinds.nonce || policy.nonce,
            cert_id_hashes: kinds.cert_id_hashes || policy.cert_id_hashes,
            several: kinds.several || policy.several,
            unknown: kinds.unknown || policy.unknown != UnknownSerial::Unauthorized,
        })
    }

    /// Whether a request may be for the live lane, whatever the packs hold.
    #[inline]
    pub(super) fn claim(self, request: &OcspRequest<'_>) -> bool {
        self.nonce && request.nonce.is_some() || self.several && request.certificates > 1
    }

    /// Whether a request that no pre-signed response answers may be.
    pub(super) fn may_answer(self, request: &OcspRequest<'_>, refusal: Refusal) -> bool {
        match refusal {
            Refusal::UnusedSerial => self.unknown,
            Refusal::Unauthorized => self.cert_id_hashes && request.cert_id.hash_algorithm.is_some(),
            Refusal::Malformed | Refusal::NotLoaded | Refusal::NotCurrent => false,
        }
    }
}

#[cfg(test)]
mod tests;
