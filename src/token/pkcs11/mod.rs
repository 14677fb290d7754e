//! Keys on a PKCS#11 token: a hardware security module, a smart card, SoftHSM2. Private keys never leave the token, and a wrong PIN is
//! never tried twice.
//!
//! A [`Pkcs11Token`] logs in once and keeps that session open; a [`Pkcs11Key`] signs on one of a bounded number of further sessions, so
//! that as many threads as there are sessions sign at the same time. Hashes are computed here; the token sees digests (`CKM_ECDSA`,
//! `CKM_RSA_PKCS`) except for Ed25519.

mod key;
mod lifecycle;
mod module;
mod pin;
mod public_key;
mod sessions;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cryptoki::slot::Slot;

pub use key::{KeyRequest, Pkcs11Key};
pub use lifecycle::{Left, PairName};
pub use pin::Pin;

use super::TokenError;
use sessions::Sessions;

/// A token that its user is logged in to. Cheap to clone; stays logged in until the last clone and the last key are dropped.
#[derive(Clone)]
pub struct Pkcs11Token {
    sessions: Arc<Sessions>,
}

impl Pkcs11Token {
    /// The greatest number of signing sessions of one token.
    pub const MAX_SESSIONS: u64 = 1024;

    /// Finds the token with this label behind the module (a shared library, by path) and logs in with exactly one try of the PIN.
    ///
    /// `sessions` (1 to [`Pkcs11Token::MAX_SESSIONS`]) are opened as they are needed: it is the number of signatures made at the same time.
    /// One session more is kept for the login. The module is initialised once per process and never finalised.
    pub fn open(module: &Path, label: &str, pin: Pin, sessions: usize) -> Result<Pkcs11Token, TokenError> {
        let context = module::load(module)?;
        let error =
            |e: cryptoki::error::Error| TokenError::Token { token: label.to_owned(), doing: "look at the token", error: e.to_string() };
        let slot = find_slot(&context, module, label)?;
        let information = context.get_token_info(slot).map_err(error)?;
        let limit = match information.max_session_count() {
            cryptoki::slot::Limit::Max(count) => count.saturating_sub(1).min(Self::MAX_SESSIONS),
            _ => Self::MAX_SESSIONS,
        };
        if sessions == 0 || sessions as u64 > limit {
            return Err(TokenError::Sessions { token: label.to_owned(), found: sessions, limit });
        }
        if information.user_pin_locked() {
            return Err(TokenError::PinLocked { token: label.to_owned() });
        }
        let place = sessions::Place { context, slot, label: label.to_owned() };
        Ok(Pkcs11Token { sessions: Arc::new(Sessions::log_in(place, pin, sessions)?) })
    }

    /// The private key that `request` describes. Exactly one must.
    pub fn key(&self, request: &KeyRequest) -> Result<Pkcs11Key, TokenError> {
        Pkcs11Key::find(self.sessions.clone(), request)
    }

    /// The token's label.
    pub fn label(&self) -> &str {
        self.sessions.label()
    }
}

impl fmt::Debug for Pkcs11Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Token({})", self.label())
    }
}

fn find_slot(context: &cryptoki::context::Pkcs11, module: &Path, label: &str) -> Result<Slot, TokenError> {
    let error = |e: cryptoki::error::Error| TokenError::Token { token: label.to_owned(), doing: "list the tokens", error: e.to_string() };
    let mut tokens = Vec::new();
    for slot in context.get_slots_with_initialized_token().map_err(error)? {
        tokens.push((slot, context.get_token_info(slot).map_err(error)?.label().trim_end().to_owned()));
    }
    let matching: Vec<Slot> = tokens.iter().filter(|(_, found)| found == label).map(|(slot, _)| *slot).collect();
    match matching[..] {
        [slot] => Ok(slot),
        _ => Err(TokenError::TokenLabel {
            module: module.to_owned(),
            label: label.to_owned(),
            count: matching.len(),
            found: tokens.into_iter().map(|(_, found)| found).collect(),
        }),
    }
}
