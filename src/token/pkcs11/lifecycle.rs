//! The beginning and the end of a key on a token: made there, never to leave it, and destroyed there. Only ceremonies do this.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::key::KeyRequest;
use super::{Pkcs11Token, public_key};
use crate::pki::{Fingerprint, KeyAlgorithm};
use crate::token::TokenError;

/// F4, the public exponent of RSA keys that are made here.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// What came of looking before and after.
enum Made {
    Yes,
    /// So many objects have the label already.
    Taken(usize),
    /// The token made a key that can be read or taken out: it was destroyed again.
    Extractable,
}

impl Pkcs11Token {
    /// How many private keys have this label (and id, where it is given).
    pub fn count_keys(&self, request: &KeyRequest) -> Result<usize, TokenError> {
        self.sessions.run("look for keys", |session, _| Ok(session.find_objects(&request.template(ObjectClass::PRIVATE_KEY))?.len()))
    }

    /// Makes a key pair with `request`'s label, under its id, or one that follows from the label. No object on the token may have the label. The private key
    /// is sensitive, cannot be extracted, and signs; a token that makes another is refused, and its key destroyed.
    pub fn generate(&self, request: &KeyRequest, algorithm: KeyAlgorithm) -> Result<(), TokenError> {
        let label = request.label.clone().unwrap_or_default();
        let id = request.id.clone().unwrap_or_else(|| Fingerprint::of(label.as_bytes()).0[..8].to_vec());
        let mechanism = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => Mechanism::EccKeyPairGen,
            KeyAlgorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
            _ => Mechanism::RsaPkcsKeyPairGen,
        };
        let common = [Attribute::Token(true), Attribute::Label(label.clone().into_bytes()), Attribute::Id(id)];
        let mut public = [&common[..], &[Attribute::Private(false), Attribute::Verify(true)]].concat();
        public.extend(parameters(algorithm));
        let secret = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Sign(true)];
        let private = [&common[..], &secret].concat();
        let made = self.sessions.run_writing("make a key", |session| {
            let with_label = [Attribute::Label(label.clone().into_bytes())];
            match session.find_objects(&with_label)?.len() {
                0 => {}
                count => return Ok(Made::Taken(count)),
            }
            let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
            if stays(session, private)? {
                return Ok(Made::Yes);
            }
            session.destroy_object(private)?;
            session.destroy_object(public)?;
            Ok(Made::Extractable)
        })?;
        let place = format!("token '{}', key with {request}", self.label());
        match made {
            Made::Yes => Ok(()),
            Made::Taken(count) => Err(TokenError::UnusableKey { place, found: format!("{count} objects with that label already") }),
            Made::Extractable => {
                Err(TokenError::UnusableKey { place, found: "a key that is not kept sensitive and on the token".to_owned() })
            }
        }
    }

    /// Destroys a key pair: the one private key that `request` describes, and the public keys of the same description.
    pub fn destroy(&self, request: &KeyRequest) -> Result<(), TokenError> {
        let found = self.sessions.run_writing("destroy a key", |session| {
            let private = session.find_objects(&request.template(ObjectClass::PRIVATE_KEY))?;
            let [key] = private[..] else { return Ok(private.len()) };
            session.destroy_object(key)?;
            session
                .find_objects(&request.template(ObjectClass::PUBLIC_KEY))?
                .into_iter()
                .try_for_each(|key| session.destroy_object(key))?;
            Ok(1)
        })?;
        let key = request.to_string();
        if found == 1 { Ok(()) } else { Err(TokenError::KeyCount { token: self.label().to_owned(), key, count: found, found: Vec::new() }) }
    }
}

/// What the public half is made with.
fn parameters(algorithm: KeyAlgorithm) -> Vec<Attribute> {
    let rsa = |bits: u32| vec![Attribute::ModulusBits(u64::from(bits).into()), Attribute::PublicExponent(RSA_EXPONENT.to_vec())];
    let curve = |oid: &[u8]| vec![Attribute::EcParams(oid.to_vec())];
    match algorithm {
        KeyAlgorithm::Rsa2048 => rsa(2048),
        KeyAlgorithm::Rsa3072 => rsa(3072),
        KeyAlgorithm::Rsa4096 => rsa(4096),
        KeyAlgorithm::EcdsaP256 => curve(public_key::P256),
        KeyAlgorithm::EcdsaP384 => curve(public_key::P384),
        KeyAlgorithm::Ed25519 => curve(public_key::ED25519_NAME),
    }
}

/// Whether the token says that the key was made there, and can neither be read nor taken out, now or ever.
fn stays(session: &Session, private: ObjectHandle) -> Result<bool, Error> {
    let asked = [
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Extractable,
        AttributeType::Local,
    ];
    let wanted = |attribute: &Attribute| match attribute {
        Attribute::Sensitive(is) | Attribute::AlwaysSensitive(is) | Attribute::NeverExtractable(is) | Attribute::Local(is) => *is,
        Attribute::Extractable(is) => !*is,
        _ => false,
    };
    let found = session.get_attributes(private, &asked)?;
    Ok(found.len() == asked.len() && found.iter().all(wanted))
}
