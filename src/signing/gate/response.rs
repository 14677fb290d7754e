//! An OCSP response as the gate sees it: taken apart by `der`, its parts read by `x509-ocsp`, beside what it is meant to say.

use const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC;
use der::Tag;
use der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef};
use x509_ocsp::{CertId, CertStatus, OcspGeneralizedTime, OcspResponseStatus};

use super::facts::{IssuerFacts, SignerFacts};
use super::shape::{Extension, Fields, Tlv};
use super::{Difference, Finding, Verdict, differs};
use crate::pki::{CertificateStatus, HashAlgorithm, Timestamp};
use crate::signing::Timing;

/// What a response is held against. Nothing in it comes from the encoder.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext<'a> {
    /// Whose certificate it is about.
    pub issuer: &'a IssuerFacts,
    /// Who signs.
    pub signer: &'a SignerFacts,
    /// The CertID hash under which it is published, or that was asked for.
    pub cert_id_hash: HashAlgorithm,
    /// Content octets of the serial number.
    pub serial: &'a [u8],
    /// What the registry says of the certificate; `None` for one that was never issued.
    pub truth: Option<CertificateTruth>,
    /// What was published for the certificate before, where that is known.
    pub previous: Option<PreviousResponse>,
    /// As configured, for a response about to be published; `None` for one that is: it may have been signed under another configuration.
    pub timing: Option<Timing>,
    /// Signed before it is asked for; not an answer to one request.
    pub pre_produced: bool,
    /// Whether the signature is verified too.
    pub verify_signature: bool,
    /// The present time.
    pub now: Timestamp,
}

/// What the registry says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateTruth {
    /// Good or revoked.
    pub status: CertificateStatus,
    /// Whether it is a CA's: other times and reasons are allowed.
    pub is_ca: bool,
}

/// The response that a new one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousResponse {
    /// Its thisUpdate.
    pub this_update: Timestamp,
    /// What it says.
    pub status: CertificateStatus,
}

/// Why a response cannot even be looked at by the lints: each with its rule (all O1).
pub(super) const READING: [(&str, &str); 4] = [
    ("O1", "an OCSPResponse"),
    ("O1", "responseStatus is successful"),
    ("O1", "responseBytes hold an id-pkix-ocsp-basic response"),
    ("O1", "a BasicOCSPResponse"),
];

/// A GeneralizedTime: its octets, and the time, where they are a proper one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    tlv: Tlv<'a>,
    pub(super) at: Option<Timestamp>,
}

impl<'a> Time<'a> {
    pub(super) fn of(tlv: Tlv<'a>) -> Time<'a> {
        let read = tlv.decode::<OcspGeneralizedTime>().ok().filter(|_| tlv.value.len() == 15);
        Time { tlv, at: read.map(|t| Timestamp::from(t.0.to_date_time())) }
    }

    /// Passes where it is `YYYYMMDDHHMMSSZ`.
    pub(super) fn form(&self) -> Verdict {
        match self.at {
            Some(_) => None,
            None => differs(format!("'{}'", self.tlv.value.escape_ascii()), "YYYYMMDDHHMMSSZ"),
        }
    }
}

/// What a response says of one certificate.
pub(super) struct Single<'a> {
    pub(super) cert_id: CertId,
    pub(super) status: CertStatus,
    pub(super) this_update: Time<'a>,
    pub(super) next_update: Option<Time<'a>>,
    pub(super) extensions: Option<Vec<Extension<'a>>>,
}

/// A successful basic response, taken apart.
pub(super) struct Response<'a> {
    /// DER of the ResponseData: what is signed.
    pub(super) to_be_signed: &'a [u8],
    pub(super) responder_id: Tlv<'a>,
    pub(super) produced_at: Time<'a>,
    pub(super) singles: Vec<Single<'a>>,
    pub(super) extensions: Option<Vec<Extension<'a>>>,
    /// DER of the AlgorithmIdentifier.
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// DER of each certificate.
    pub(super) certs: Vec<&'a [u8]>,
}

impl<'a> Response<'a> {
    /// Takes a response apart; the finding where it is not a successful basic response.
    pub(super) fn read(der: &'a [u8]) -> Result<Response<'a>, Finding> {
        let (status, bytes) = outer(der).map_err(|e| unread(0, e, "DER of an OCSPResponse"))?;
        if status != OcspResponseStatus::Successful {
            return Err(unread(1, format!("{status:?}"), "successful"));
        }
        let found = |e| unread(2, e, "id-pkix-ocsp-basic");
        let basic = match bytes {
            Some(bytes) => basic_octets(bytes).map_err(|e| found(e.to_string()))?,
            None => return Err(found("none".to_owned())),
        };
        let Some(basic) = basic else { return Err(found("another response type".to_owned())) };
        Self::of(basic).map_err(|e| unread(3, e, "DER of a BasicOCSPResponse"))
    }

    fn of(basic: &'a [u8]) -> der::Result<Response<'a>> {
        let mut fields = Tlv::whole(basic)?.fields(Tag::Sequence)?;
        let tbs = fields.next()?;
        let signature_algorithm = fields.next()?.raw;
        let signature = fields.next()?.decode::<BitStringRef<'a>>()?.raw_bytes();
        let certs = fields.explicit_if(0)?.map(elements).transpose()?.unwrap_or_default();
        fields.end()?;
        let mut data = tbs.fields(Tag::Sequence)?;
        data.explicit_if(0)?;
        let responder_id = data.next()?;
        let produced_at = Time::of(data.next()?);
        let singles = elements(data.next()?)?.into_iter().map(single).collect::<der::Result<_>>()?;
        let extensions = data.explicit_if(1)?.map(Extension::read_all).transpose()?;
        data.end()?;
        Ok(Response { to_be_signed: tbs.raw, responder_id, produced_at, singles, extensions, signature_algorithm, signature, certs })
    }

    /// What it says of the certificate in question: the SingleResponse with the right hash and serial, else the first one.
    pub(super) fn single(&self, context: &ResponseContext<'_>) -> Option<&Single<'a>> {
        let oid = context.cert_id_hash.oid();
        let wanted =
            |s: &&Single<'_>| s.cert_id.hash_algorithm.oid.as_bytes() == oid && s.cert_id.serial_number.as_bytes() == context.serial;
        match &self.singles[..] {
            [only] => Some(only),
            several => several.iter().find(wanted).or(several.first()),
        }
    }
}

fn unread(reading: usize, found: impl ToString, wanted: &str) -> Finding {
    let (rule, what) = READING[reading];
    Finding::new(rule, what, Difference { found: found.to_string(), wanted: wanted.to_owned() })
}

/// Status and, where there are some, the content of responseBytes' EXPLICIT tag.
fn outer(der: &[u8]) -> der::Result<(OcspResponseStatus, Option<Tlv<'_>>)> {
    let mut fields = Tlv::whole(der)?.fields(Tag::Sequence)?;
    let status = fields.next()?.decode()?;
    let bytes = fields.explicit_if(0)?;
    fields.end()?;
    Ok((status, bytes))
}

/// DER of the basic response; `None` where it is of another type.
fn basic_octets(bytes: Tlv<'_>) -> der::Result<Option<&[u8]>> {
    let mut fields = bytes.fields(Tag::Sequence)?;
    let kind = fields.next()?.decode::<ObjectIdentifier>()?;
    let octets = fields.next()?.decode::<OctetStringRef<'_>>()?.as_bytes();
    fields.end()?;
    Ok((kind == ID_PKIX_OCSP_BASIC).then_some(octets))
}

/// DER of each element of a SEQUENCE.
fn elements(tlv: Tlv<'_>) -> der::Result<Vec<&[u8]>> {
    let mut fields: Fields<'_> = tlv.fields(Tag::Sequence)?;
    let mut all = Vec::with_capacity(1);
    while !fields.is_empty() {
        all.push(fields.next()?.raw);
    }
    Ok(all)
}

fn single(der: &[u8]) -> der::Result<Single<'_>> {
    let mut fields = Tlv::whole(der)?.fields(Tag::Sequence)?;
    let single = Single {
        cert_id: fields.next()?.decode()?,
        status: fields.next()?.decode()?,
        this_update: Time::of(fields.next()?),
        next_update: fields.explicit_if(0)?.map(Time::of),
        extensions: fields.explicit_if(1)?.map(Extension::read_all).transpose()?,
    };
    fields.end()?;
    Ok(single)
}
