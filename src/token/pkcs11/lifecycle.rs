//! The beginning and the end of a key on a token: made there, never to leave it, and destroyed there. Only ceremonies do this.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::Pkcs11Token;
use super::key::KeyRequest;
use super::public_key::{self, PublicNumbers};
use crate::pki::KeyAlgorithm;
use crate::token::TokenError;

/// F4, the public exponent of RSA keys that are made here.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// What both halves of a key pair are called, and nothing else on the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairName {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
}

impl PairName {
    fn attributes(&self) -> [Attribute; 2] {
        [Attribute::Label(self.label.clone().into_bytes()), Attribute::Id(self.id.clone())]
    }

    /// How to look for the private key.
    pub fn request(&self) -> KeyRequest {
        KeyRequest { label: Some(self.label.clone()), id: Some(self.id.clone()), ..KeyRequest::default() }
    }

    fn find(&self, session: &Session, class: ObjectClass) -> Result<Vec<ObjectHandle>, Error> {
        session.find_objects(&self.request().template(class))
    }
}

/// What is there under the name of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// No key.
    Nothing,
    /// One half, or one that nothing is in yet: no use to anybody.
    Half,
    /// A private key that was made there and cannot be taken out, with its public key.
    Pair,
}

/// What came of looking before and after.
enum Made {
    Yes,
    /// So many objects have the label or the id already.
    Taken(usize),
    /// The token made a key that can be read or taken out: it was destroyed again.
    Extractable,
}

impl Pkcs11Token {
    /// How many private keys have this label (and id, where it is given).
    pub fn count_keys(&self, request: &KeyRequest) -> Result<usize, TokenError> {
        self.sessions.run("look for keys", |session, _| Ok(session.find_objects(&request.template(ObjectClass::PRIVATE_KEY))?.len()))
    }

    /// How many objects of any kind have the label or the id of a pair.
    pub fn count_named(&self, name: &PairName) -> Result<usize, TokenError> {
        self.sessions.run("look for objects", |session, _| count_named(session, name))
    }

    /// The name of the one private key that `request` describes.
    pub fn name_of(&self, request: &KeyRequest) -> Result<PairName, TokenError> {
        let name = self.sessions.run("look for the key", |session, _| {
            let private = session.find_objects(&request.template(ObjectClass::PRIVATE_KEY))?;
            let [key] = private[..] else { return Ok(Err(private.len())) };
            let mut name = PairName { label: String::new(), id: Vec::new() };
            for attribute in session.get_attributes(key, &[AttributeType::Label, AttributeType::Id])? {
                match attribute {
                    Attribute::Label(label) => name.label = String::from_utf8_lossy(&label).into_owned(),
                    Attribute::Id(id) => name.id = id,
                    _ => {}
                }
            }
            Ok(Ok(name))
        })?;
        let (token, key) = (self.label().to_owned(), request.to_string());
        name.map_err(|count| TokenError::KeyCount { token, key, count, found: Vec::new() })
    }

    /// Makes a key pair. No object on the token may have the label, or the id. The private key is sensitive, cannot be extracted, and signs; a token that makes
    /// another is refused, and its key destroyed. Interrupted, it may leave half a pair: see [`Pkcs11Token::left`].
    pub fn generate(&self, name: &PairName, algorithm: KeyAlgorithm) -> Result<(), TokenError> {
        let mechanism = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => Mechanism::EccKeyPairGen,
            KeyAlgorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
            _ => Mechanism::RsaPkcsKeyPairGen,
        };
        let common = [&name.attributes()[..], &[Attribute::Token(true)]].concat();
        let mut public = [&common[..], &[Attribute::Private(false), Attribute::Verify(true)]].concat();
        public.extend(parameters(algorithm));
        let secret = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Sign(true)];
        let private = [&common[..], &secret].concat();
        let made = self.sessions.run_writing("make a key", |session| {
            match count_named(session, name)? {
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
        let place = format!("token '{}', key with {}", self.label(), name.request());
        match made {
            Made::Yes => Ok(()),
            Made::Taken(count) => Err(TokenError::UnusableKey { place, found: format!("{count} objects with that label or id already") }),
            Made::Extractable => {
                Err(TokenError::UnusableKey { place, found: "a key that is not kept sensitive and on the token".to_owned() })
            }
        }
    }

    /// What an interrupted [`Pkcs11Token::generate`] has left under a name that nothing had before.
    pub fn left(&self, name: &PairName) -> Result<Left, TokenError> {
        self.sessions.run("look for what is left of a key", |session, _| left(session, name))
    }

    /// Destroys a key pair, the private key first; and what an interrupted call has left of it.
    pub fn destroy(&self, name: &PairName) -> Result<(), TokenError> {
        self.sessions.run_writing("destroy a key", |session| destroy(session, name))
    }
}

fn count_named(session: &Session, name: &PairName) -> Result<usize, Error> {
    let [label, id] = name.attributes();
    let with = |attributes: &[Attribute]| session.find_objects(attributes).map(|found| found.len());
    let both = with(&[label.clone(), id.clone()])?;
    Ok(with(&[label])? + with(&[id])? - both)
}

/// A token may write the halves one after the other, and the description of each before what is in it.
fn left(session: &Session, name: &PairName) -> Result<Left, Error> {
    let (private, public) = (name.find(session, ObjectClass::PRIVATE_KEY)?, name.find(session, ObjectClass::PUBLIC_KEY)?);
    if private.is_empty() && public.is_empty() {
        return Ok(Left::Nothing);
    }
    for private in &private {
        for public in &public {
            if stays(session, *private)? && tells_its_numbers(session, *public)? {
                return Ok(Left::Pair);
            }
        }
    }
    Ok(Left::Half)
}

fn tells_its_numbers(session: &Session, public: ObjectHandle) -> Result<bool, Error> {
    for attribute in session.get_attributes(public, &[AttributeType::KeyType])? {
        if let Attribute::KeyType(key_type) = attribute {
            return Ok(PublicNumbers::read(session, public, key_type)?.spki().is_some());
        }
    }
    Ok(false)
}

fn destroy(session: &Session, name: &PairName) -> Result<(), Error> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        name.find(session, class)?.into_iter().try_for_each(|key| session.destroy_object(key))?;
    }
    Ok(())
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
