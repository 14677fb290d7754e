//! The steps that make and destroy keys. What is on a token is written in more than one go, and the log after it: so a step notes beforehand under which name,
//! that nothing has, it makes a key. One that was interrupted takes up a pair that is whole, clears away a half, and touches nothing of another name.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::OneStep;
use crate::commands::setup;
use crate::issuance::order::TokenKey;
use crate::pki::{Fingerprint, KeyAlgorithm};
use crate::token::SigningKey;
use crate::token::pkcs11::{KeyRequest, Left, PairName};

/// Octets of a CKA_ID that follows from the order.
const ID_LENGTH: usize = 16;

/// How to look for the key of an order.
pub(super) fn request_of(key: &TokenKey) -> Result<KeyRequest> {
    let id = key.id.as_deref().map(setup::decode_id).transpose()?;
    Ok(KeyRequest { label: Some(key.label.clone()), id, signature: None, certificate_spki: None })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

impl OneStep<'_, '_> {
    /// What is noted before a key is made: its name, which nothing may have.
    pub(super) fn may_generate(&mut self, key: &TokenKey) -> Result<Value> {
        let name = self.name_of_new(key)?;
        let count = self.ring.token(&key.token)?.count_named(&name)?;
        if count > 0 {
            let id = hex(&name.id);
            bail!("token '{}': found {count} objects with the label '{}' or the id {id} already, wanted none", key.token, name.label);
        }
        Ok(json!({ "id": hex(&name.id) }))
    }

    /// What is noted before a key is destroyed: which.
    pub(super) fn may_destroy(&mut self, key: &TokenKey) -> Result<Value> {
        let (request, token) = (request_of(key)?, self.ring.token(&key.token)?);
        let count = token.count_keys(&request)?;
        if count != 1 {
            bail!("token '{}': found {count} keys '{}', wanted one", key.token, key.label);
        }
        let (found, id) = (token.key(&request)?, token.name_of(&request)?.id);
        self.refuse_needed(found.public_key())?;
        Ok(json!({ "id": hex(&id), "public_key": Fingerprint::of(found.public_key()) }))
    }

    /// The id is the one that the order gives, or follows from the order and the step: nobody else makes a key of that name.
    fn name_of_new(&self, key: &TokenKey) -> Result<PairName> {
        let id = match &key.id {
            Some(id) => setup::decode_id(id)?,
            None => {
                let parts = [b"kakunin: key of an order".as_slice(), &self.job.order.fingerprint.0, &self.item.to_be_bytes()];
                Fingerprint::of_parts(&parts).0[..ID_LENGTH].to_vec()
            }
        };
        Ok(PairName { label: key.label.clone(), id })
    }

    pub(super) fn generate(&mut self, key: &TokenKey, algorithm: KeyAlgorithm) -> Result<Value> {
        let name = self.name_of_new(key)?;
        let token = self.ring.token(&key.token)?;
        match token.left(&name)? {
            Left::Nothing => token.generate(&name, algorithm)?,
            Left::Pair => {}
            Left::Half if key.id.is_none() => {
                token.destroy(&name)?;
                token.generate(&name, algorithm)?;
            }
            Left::Half => bail!(
                "token '{}': found half a key pair with {}, an id that the order was given: destroy it by hand, where it is of this order's making",
                key.token,
                name.request()
            ),
        }
        let made = token.key(&name.request())?;
        if made.key_algorithm() != algorithm {
            bail!("token '{}', key '{}': found {}, wanted {algorithm}", key.token, key.label, made.key_algorithm());
        }
        crate::token::verify_pair(&made, made.public_key())?;
        Ok(json!({ "public_key": Fingerprint::of(made.public_key()), "id": hex(&name.id) }))
    }

    /// The key that was noted, and nothing else: after an interruption there may be a half of it, or nothing.
    pub(super) fn destroy(&mut self, key: &TokenKey) -> Result<Value> {
        let id = self.begun["id"].as_str().context("the log does not say which key is to be destroyed")?;
        let name = PairName { label: key.label.clone(), id: setup::decode_id(id)? };
        self.ring.token(&key.token)?.destroy(&name)?;
        Ok(json!({ "public_key": self.begun["public_key"] }))
    }
}
