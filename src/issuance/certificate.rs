//! Putting a certificate together and having it signed. Parts that are DER already (the issuer's name above all, rules O2 and C1) go in
//! byte for byte.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, UintRef, UtcTime};
use der::{Decode, Encode, Sequence, Tag};
use x509_cert::time::Time;

use super::{IssuanceError, Validity};
use crate::pki::certificate::key_algorithm_of_spki;
use crate::pki::{Serial, SignatureAlgorithm, Timestamp};
use crate::token::SigningKey;

/// What is signed, in parts: DER where not said otherwise.
pub(super) struct Body<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) spki: &'a [u8],
    pub(super) serial: &'a Serial,
    pub(super) validity: &'a Validity,
    /// Encoded extensions, one after the other.
    pub(super) extensions: &'a [u8],
}

/// TBSCertificate (RFC 5280 4.1), version 3.
#[derive(Sequence)]
struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: UintRef<'a>,
    signature: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: x509_cert::time::Validity,
    subject: AnyRef<'a>,
    spki: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: AnyRef<'a>,
}

#[derive(Sequence)]
struct Certificate<'a> {
    tbs: AnyRef<'a>,
    signature_algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

/// The DER certificate of a key of a kind that is used here, signed with `key`.
pub(super) fn sign(body: &Body<'_>, key: &dyn SigningKey) -> Result<Vec<u8>, IssuanceError> {
    if key_algorithm_of_spki(body.spki).is_none() {
        return Err(IssuanceError::field("public key", "another kind or size of key", "RSA 2048/3072/4096, ECDSA P-256/P-384 or Ed25519"));
    }
    Unsigned::new(body, key.signature_algorithm())?.sign(key)
}

/// Everything of a certificate but its signature, for a key that was looked at before.
pub(super) struct Unsigned {
    tbs: Vec<u8>,
    signature: SignatureAlgorithm,
}

impl Unsigned {
    /// For a key that signs in this way.
    pub(super) fn new(body: &Body<'_>, signature: SignatureAlgorithm) -> Result<Unsigned, IssuanceError> {
        if body.serial.as_der_content() == [0] {
            return Err(IssuanceError::field("serial", "0", "a positive number (RFC 5280 4.1.2.2)"));
        }
        let tbs = TbsCertificate {
            version: 2,
            serial: UintRef::new(body.serial.as_der_content())?,
            signature: AnyRef::from_der(signature.identifier())?,
            issuer: AnyRef::from_der(body.issuer)?,
            validity: x509_cert::time::Validity { not_before: time(body.validity.not_before)?, not_after: time(body.validity.not_after)? },
            subject: AnyRef::from_der(body.subject)?,
            spki: AnyRef::from_der(body.spki)?,
            extensions: AnyRef::new(Tag::Sequence, body.extensions)?,
        };
        Ok(Unsigned { tbs: tbs.to_der()?, signature })
    }

    /// The DER certificate.
    pub(super) fn sign(&self, key: &dyn SigningKey) -> Result<Vec<u8>, IssuanceError> {
        let signature = key.sign(&self.tbs)?;
        let certificate = Certificate {
            tbs: AnyRef::from_der(&self.tbs)?,
            signature_algorithm: AnyRef::from_der(self.signature.identifier())?,
            signature: BitStringRef::from_bytes(&signature)?,
        };
        Ok(certificate.to_der()?)
    }
}

/// UTCTime to 2049, GeneralizedTime from 2050 on (RFC 5280 4.1.2.5).
fn time(t: Timestamp) -> Result<Time, IssuanceError> {
    if t < Timestamp::GENERALIZED_FROM {
        return Ok(Time::UtcTime(UtcTime::from_date_time(t.into())?));
    }
    Ok(Time::GeneralTime(GeneralizedTime::from_date_time(t.into())))
}
