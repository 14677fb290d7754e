//! Making certificates by a profile. What certificates of one issuer share is encoded once.

use super::subject::EMPTY;
use super::{Choices, Finding, Kind, Profile, Programme, Request, public_names};
use crate::issuance::certificate::{Body, Unsigned};
use crate::issuance::{AlternativeName, IssuanceError, Issuer, Validity, check_path_length, extensions};
use crate::pki::{CertificateInfo, Serial, SignatureAlgorithm};
use crate::token::{SigningKey, verify_pair};

/// Issues certificates of one profile and one issuer, all with the same choices. Costs some microseconds a certificate beside the signature; may be used
/// from many threads.
pub struct Template<'a> {
    profile: &'a Profile,
    issuer: Issuer,
    /// Extensions that all have, encoded one after the other.
    shared: Vec<u8>,
}

/// A certificate that has been checked and wants its signature only.
pub struct Prepared(Unsigned);

impl<'a> Template<'a> {
    pub(super) fn new(profile: &'a Profile, issuer: &Issuer, choices: &Choices<'_>) -> Result<Template<'a>, IssuanceError> {
        let shared = encode_shared(profile, &issuer.certificate, issuer.key.signature_algorithm(), choices)?;
        Ok(Template { profile, issuer: issuer.clone(), shared })
    }

    /// The DER certificate: everything about the request is checked first, and nothing in it is changed.
    pub fn certificate(&self, request: &Request<'_>) -> Result<Vec<u8>, IssuanceError> {
        self.sign(&self.prepare(request)?)
    }

    /// Checks everything about the request, and signs nothing yet: what is wrong with it is found here.
    pub fn prepare(&self, request: &Request<'_>) -> Result<Prepared, IssuanceError> {
        self.issuer.check_validity(&request.validity)?;
        check(self.profile, request)?;
        let signature = self.issuer.key.signature_algorithm();
        assemble(self.profile, &self.issuer.certificate.subject, &self.shared, signature, request).map(Prepared)
    }

    /// The DER certificate of what this template, or another of the same issuer, has prepared. Fails where the key does not sign.
    pub fn sign(&self, prepared: &Prepared) -> Result<Vec<u8>, IssuanceError> {
        prepared.0.sign(&*self.issuer.key)
    }

    /// The profile.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }
}

/// The extensions that all certificates have which `ca` issues by a profile, signed with such an algorithm.
pub(super) fn encode_shared(
    profile: &Profile,
    ca: &CertificateInfo,
    signature: SignatureAlgorithm,
    choices: &Choices<'_>,
) -> Result<Vec<u8>, IssuanceError> {
    if profile.kind() == Kind::SelfSigned || profile.kind().is_link() {
        return Err(Finding::error("kind", "profile", profile.kind().name(), "sub-ca, cross, ocsp-responder or end-entity").into());
    }
    check_signature(profile, signature)?;
    let own = &profile.document.extensions;
    if profile.kind().is_ca() {
        check_path_length(ca, own.path_length(choices)?)?;
    }
    own.encode_shared(&ca.key_identifier, choices)
}

/// See [`Profile::self_signed`].
pub(super) fn self_signed(
    profile: &Profile,
    key: &dyn SigningKey,
    choices: &Choices<'_>,
    request: &Request<'_>,
) -> Result<Vec<u8>, IssuanceError> {
    if profile.kind() != Kind::SelfSigned {
        return Err(Finding::error("kind", "profile", profile.kind().name(), Kind::SelfSigned.name()).into());
    }
    check_signature(profile, key.signature_algorithm())?;
    request.validity.check()?;
    check(profile, request)?;
    verify_pair(key, request.spki)?;
    let shared = profile.document.extensions.encode_shared(&extensions::key_identifier(key.public_key())?, choices)?;
    assemble(profile, request.subject, &shared, key.signature_algorithm(), request)?.sign(key)
}

/// See [`Profile::link`].
pub(super) fn link(
    profile: &Profile,
    signer: &Issuer,
    certified: &CertificateInfo,
    choices: &Choices<'_>,
    serial: Serial,
) -> Result<Vec<u8>, IssuanceError> {
    let own = signer.certificate();
    let (old, new) = match profile.kind() {
        Kind::OldWithNew => (certified, own),
        Kind::NewWithOld => (own, certified),
        other => return Err(Finding::error("kind", "profile", other.name(), "old-with-new or new-with-old").into()),
    };
    for (field, certificate) in [("old certificate", old), ("new certificate", new)] {
        if certificate.issuer != certificate.subject || !certificate.is_ca || !certificate.is_signed_by(&certificate.spki) {
            let found = certificate.subject_text.clone();
            return Err(IssuanceError::field(field, found, "a CA's self-signed certificate"));
        }
    }
    if old.subject != new.subject {
        return Err(IssuanceError::field("subject", certified.subject_text.clone(), format!("{}, octet for octet", own.subject_text)));
    }
    if old.spki == new.spki {
        return Err(IssuanceError::field("public key", "the same in both certificates", "two keys"));
    }
    if old.not_before > new.not_before {
        let found = format!("an old certificate from {}, and a new one from {}", old.not_before, new.not_before);
        return Err(IssuanceError::field("link", found, "the older one as the old"));
    }
    check_signature(profile, signer.key.signature_algorithm())?;
    let validity = Validity { not_before: certified.not_before, not_after: old.not_after };
    validity.check()?;
    let request = Request {
        subject: &certified.subject,
        spki: &certified.spki,
        serial,
        validity,
        alternative_names: &[],
        key_identifier: Some(&certified.key_identifier),
    };
    check(profile, &request)?;
    let shared = profile.document.extensions.encode_shared(&own.key_identifier, choices)?;
    assemble(profile, &own.subject, &shared, signer.key.signature_algorithm(), &request)?.sign(&*signer.key)
}

/// Everything that the profile fixes about a request.
fn check(profile: &Profile, request: &Request<'_>) -> Result<(), IssuanceError> {
    profile.check_key(request.spki)?;
    profile.check_subject(request.subject)?;
    profile.check_validity(&request.validity)?;
    let octets = request.serial.as_der_content().len();
    let wanted = profile.document.serial_octets;
    if octets != wanted {
        return Err(
            Finding::error("serial_octets", "serial", format!("{octets} octets"), format!("{wanted}, from a random source (P3)")).into()
        );
    }
    if profile.has_programme(Programme::BaselineRequirements) {
        public_names::check(request.alternative_names)?;
    }
    if request.subject == EMPTY && request.alternative_names.is_empty() {
        return Err(Finding::error("RFC 5280 4.1.2.6", "subject", "empty, without a subjectAltName", "one of them").into());
    }
    if let Some(name) = profile.document.subject.names_itself(request.subject)
        && !request.alternative_names.iter().any(|other| is_same_name(&name, other))
    {
        return Err(Finding::error("subject.attributes", "subject CN", format!("'{name}'"), "one of the subjectAltNames").into());
    }
    Ok(())
}

fn is_same_name(name: &str, other: &AlternativeName<'_>) -> bool {
    match other {
        AlternativeName::Dns(dns) => *dns == name,
        AlternativeName::Ip(address) => address.to_string() == name,
    }
}

fn check_signature(profile: &Profile, found: SignatureAlgorithm) -> Result<(), Finding> {
    let allowed = &profile.document.signatures;
    if allowed.contains(&found) {
        return Ok(());
    }
    let wanted = allowed.iter().map(|signature| signature.name()).collect::<Vec<_>>().join(" or ");
    Err(Finding::error("signatures", "issuer's signature algorithm", found, wanted))
}

fn assemble(
    profile: &Profile,
    issuer: &[u8],
    shared: &[u8],
    signature: SignatureAlgorithm,
    request: &Request<'_>,
) -> Result<Unsigned, IssuanceError> {
    let identifier = match request.key_identifier {
        Some(given) => given.to_vec(),
        None => extensions::key_identifier(request.spki)?,
    };
    let mut extensions = Vec::with_capacity(shared.len() + 128);
    extensions.extend_from_slice(shared);
    profile.document.extensions.push_own(&mut extensions, &identifier, request.alternative_names, request.subject == EMPTY)?;
    let body = Body {
        issuer,
        subject: request.subject,
        spki: request.spki,
        serial: &request.serial,
        validity: &request.validity,
        extensions: &extensions,
    };
    Unsigned::new(&body, signature)
}
