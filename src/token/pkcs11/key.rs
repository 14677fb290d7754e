//! A private key on a token: found by label and id, signing through the token's sessions. Sends digests to the token, never reads anything
//! private.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::public_key::PublicNumbers;
use super::sessions::Sessions;
use crate::pki::certificate::key_algorithm_of_spki;
use crate::pki::der_encoding::{constructed, tag, tlv};
use crate::pki::{HashAlgorithm, KeyAlgorithm, SignatureAlgorithm, ecdsa};
use crate::token::{SigningKey, TRIAL, TokenError, choose_signature};

/// Labels listed in a message at most.
const MAX_LABELS_SHOWN: usize = 50;

/// Which key of a token, and how it is to sign. `label` or `id` or both name the key; exactly one private key must match.
#[derive(Clone, Debug, Default)]
pub struct KeyRequest {
    /// CKA_LABEL.
    pub label: Option<String>,
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
    /// The algorithm to sign with; the key's own where it is `None` (rule O15).
    pub signature: Option<SignatureAlgorithm>,
    /// DER SubjectPublicKeyInfo of the key, taken from its certificate: used where the token itself does not tell the public key.
    pub certificate_spki: Option<Vec<u8>>,
}

impl KeyRequest {
    /// The attributes that an object of `class` must have.
    pub(super) fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let label = self.label.iter().map(|label| Attribute::Label(label.as_bytes().to_vec()));
        let id = self.id.iter().map(|id| Attribute::Id(id.clone()));
        [Attribute::Class(class)].into_iter().chain(label).chain(id).collect()
    }
}

impl fmt::Display for KeyRequest {
    /// `label 'x' and id 0a1b`, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |id: &Vec<u8>| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        match (&self.label, &self.id) {
            (Some(label), Some(id)) => write!(f, "label '{label}' and id {}", hex(id)),
            (Some(label), None) => write!(f, "label '{label}'"),
            (None, Some(id)) => write!(f, "id {}", hex(id)),
            (None, None) => write!(f, "any label and id"),
        }
    }
}

/// A private key on a token.
pub struct Pkcs11Key {
    sessions: Arc<Sessions>,
    request: KeyRequest,
    algorithm: KeyAlgorithm,
    signature: SignatureAlgorithm,
    spki: Vec<u8>,
    /// The key's handle, with the generation of the login that it belongs to.
    handle: Mutex<(u64, ObjectHandle)>,
}

/// What the token says of a request.
enum Found {
    One(Description),
    /// Not exactly one: how many, and the labels of all private keys.
    Other(usize, Vec<String>),
}

struct Description {
    handle: (u64, ObjectHandle),
    always_authenticate: bool,
    spki: Option<Vec<u8>>,
}

impl Pkcs11Key {
    pub(super) fn find(sessions: Arc<Sessions>, request: &KeyRequest) -> Result<Pkcs11Key, TokenError> {
        let (token, key) = (sessions.label().to_owned(), request.to_string());
        let description = match sessions.run("look for the key", |session, generation| look(session, request, generation))? {
            Found::One(description) => description,
            Found::Other(count, found) => return Err(TokenError::KeyCount { token, key, count, found }),
        };
        let place = format!("token '{token}', key with {key}");
        if description.always_authenticate {
            let found = "a key that wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)".to_owned();
            return Err(TokenError::UnusableKey { place, found });
        }
        let why = "the token has none that belongs to it, and no certificate was given".to_owned();
        let spki = description.spki.or_else(|| request.certificate_spki.clone()).ok_or(TokenError::PublicKey { token, key, why })?;
        let algorithm =
            key_algorithm_of_spki(&spki).ok_or(TokenError::UnusableKey { place, found: "another kind or size of key".to_owned() })?;
        let signature = choose_signature(algorithm, request.signature)?;
        Ok(Pkcs11Key { sessions, request: request.clone(), algorithm, signature, spki, handle: Mutex::new(description.handle) })
    }

    /// The key's handle in the login of `generation`; `None` where another key is in its place. It is looked for again after a new login, and tried: a token
    /// that was initialised again may have another key under the same label.
    fn handle(&self, session: &Session, generation: u64) -> Result<Option<ObjectHandle>, Error> {
        let mut known = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != generation {
            let [handle] = session.find_objects(&self.request.template(ObjectClass::PRIVATE_KEY))?[..] else {
                return Err(Error::Pkcs11(RvError::KeyHandleInvalid, Function::FindObjects));
            };
            let raw = session.sign(&self.mechanism(), handle, &self.token_input(TRIAL))?;
            if !self.signature_of(raw).is_ok_and(|signature| self.signature.verify(&self.spki, TRIAL, &signature)) {
                return Ok(None);
            }
            *known = (generation, handle);
        }
        Ok(Some(known.1))
    }

    /// The signature as X.509 carries it, of what the token returned.
    fn signature_of(&self, raw: Vec<u8>) -> Result<Vec<u8>, TokenError> {
        let wanted = self.algorithm.raw_signature_length();
        if raw.len() != wanted {
            let why = format!("token '{}' returned {} octets, wanted {wanted}", self.sessions.label(), raw.len());
            return Err(TokenError::Signing { key: self.algorithm, why });
        }
        if !self.signature.is_ecdsa() {
            return Ok(raw);
        }
        let mut signature = Vec::with_capacity(ecdsa::der_length(&raw));
        ecdsa::push_der(&mut signature, &raw);
        Ok(signature)
    }

    /// What the token signs for `message`.
    fn token_input(&self, message: &[u8]) -> Vec<u8> {
        match self.signature.hash() {
            None => message.to_vec(),
            Some(hash) if self.signature.is_ecdsa() => hash.hash(message).as_ref().to_vec(),
            Some(hash) => digest_info(hash, message),
        }
    }

    fn mechanism(&self) -> Mechanism<'static> {
        match self.signature {
            SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::RsaSha512 | SignatureAlgorithm::RsaSha1 => {
                Mechanism::RsaPkcs
            }
            SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 => Mechanism::Ecdsa,
            SignatureAlgorithm::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
        }
    }
}

impl SigningKey for Pkcs11Key {
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature
    }

    fn public_key(&self) -> &[u8] {
        &self.spki
    }

    fn token(&self) -> &str {
        self.sessions.label()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let input = self.token_input(message);
        let mechanism = self.mechanism();
        let raw = self.sessions.run("sign", |session, generation| {
            let handle = self.handle(session, generation)?;
            handle.map(|handle| session.sign(&mechanism, handle, &input)).transpose()
        })?;
        let changed = || TokenError::ChangedKey { token: self.sessions.label().to_owned(), key: self.request.to_string() };
        self.signature_of(raw.ok_or_else(changed)?)
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Key(token '{}', {}, {}, {})", self.sessions.label(), self.request, self.algorithm, self.signature)
    }
}

fn look(session: &Session, request: &KeyRequest, generation: u64) -> Result<Found, Error> {
    let matching = session.find_objects(&request.template(ObjectClass::PRIVATE_KEY))?;
    let [private] = matching[..] else { return Ok(Found::Other(matching.len(), private_key_labels(session)?)) };
    let (mut key_type, mut always_authenticate, mut id) = (None, false, Vec::new());
    for attribute in session.get_attributes(private, &[AttributeType::KeyType, AttributeType::AlwaysAuthenticate, AttributeType::Id])? {
        match attribute {
            Attribute::KeyType(found) => key_type = Some(found),
            Attribute::AlwaysAuthenticate(found) => always_authenticate = found,
            Attribute::Id(found) => id = found,
            _ => {}
        }
    }
    let spki = match key_type {
        Some(key_type) => {
            public_half(session, private, key_type, &KeyRequest { id: Some(id).filter(|id| !id.is_empty()), ..request.clone() })?
        }
        None => None,
    };
    Ok(Found::One(Description { handle: (generation, private), always_authenticate, spki }))
}

/// The public key that belongs to `private`: of the one public key object with the same id and label, else with the same id, else the
/// numbers in the private key object itself.
fn public_half(session: &Session, private: ObjectHandle, key_type: KeyType, request: &KeyRequest) -> Result<Option<Vec<u8>>, Error> {
    let by_id = KeyRequest { label: None, ..request.clone() };
    for request in [Some(request), by_id.id.is_some().then_some(&by_id)].into_iter().flatten() {
        let mut template = request.template(ObjectClass::PUBLIC_KEY);
        template.push(Attribute::KeyType(key_type));
        if let [public] = session.find_objects(&template)?[..] {
            return Ok(PublicNumbers::read(session, public, key_type)?.spki());
        }
    }
    Ok(PublicNumbers::read(session, private, key_type)?.spki())
}

fn private_key_labels(session: &Session) -> Result<Vec<String>, Error> {
    let mut labels = Vec::new();
    for object in session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])?.into_iter().take(MAX_LABELS_SHOWN) {
        for attribute in session.get_attributes(object, &[AttributeType::Label])? {
            if let Attribute::Label(label) = attribute {
                labels.push(String::from_utf8_lossy(&label).into_owned());
            }
        }
    }
    Ok(labels)
}

/// DER DigestInfo of the hash of `message` (RFC 8017 9.2): what CKM_RSA_PKCS pads and signs.
fn digest_info(hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    let algorithm = constructed(tag::SEQUENCE, &[&tlv(tag::OID, hash.oid()), &[0x05, 0x00]]);
    constructed(tag::SEQUENCE, &[&algorithm, &tlv(tag::OCTET_STRING, hash.hash(message).as_ref())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_info_is_as_rfc_8017_prints_it() {
        let prefix = [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
        let info = digest_info(HashAlgorithm::Sha256, b"message");
        assert_eq!(info[..19], prefix);
        assert_eq!(info[19..], *HashAlgorithm::Sha256.hash(b"message").as_ref());
        assert_eq!(
            digest_info(HashAlgorithm::Sha512, b"")[..19],
            [0x30, 0x51, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40]
        );
    }

    #[test]
    fn a_request_says_what_it_asks_for() {
        let mut request = KeyRequest { label: Some("ocsp".into()), ..Default::default() };
        assert_eq!(request.to_string(), "label 'ocsp'");
        request.id = Some(vec![0x0a, 0x1b]);
        assert_eq!(request.to_string(), "label 'ocsp' and id 0a1b");
    }
}
