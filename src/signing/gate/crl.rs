//! A CRL as the gate sees it: taken apart by `der` and `x509-cert`, entry by entry, so that memory does not grow with it; beside what it is meant to say.

use der::asn1::{BitStringRef, GeneralizedTime};
use der::{Decode, Tag};
use x509_cert::ext::pkix::CrlReason;

use super::facts::IssuerFacts;
use super::revoked_set::RevokedSet;
use super::shape::{Extension, Fields, Tlv, oid};
use super::{Difference, Finding, Verdict, differs};
use crate::pki::certificate::key_algorithm_of_spki;
use crate::pki::der_reading::Reader;
use crate::pki::{KeyAlgorithm, SignatureAlgorithm, Timestamp};

/// What a CRL is held against. Nothing in it comes from the encoder.
#[derive(Clone, Copy, Debug)]
pub struct CrlContext<'a> {
    /// Whose.
    pub issuer: &'a IssuerFacts,
    /// Which of its certificates it covers.
    pub coverage: Coverage,
    /// The distribution point in the certificates that it covers, where it is to have one (rule C4).
    pub distribution_point: Option<&'a str>,
    /// The complete CRL that a delta builds on, in DER; `None` for a complete CRL (rule C5).
    pub base: Option<&'a [u8]>,
    /// Where the deltas to this complete CRL are, where there are some (rule C5).
    pub freshest: Option<&'a str>,
    /// Number and times that it is to have.
    pub meant: MeantCrl,
    /// Algorithm of its signature.
    pub algorithm: SignatureAlgorithm,
    /// What is to be on it; `None` where that is compared elsewhere.
    pub truth: Option<RevokedSet>,
    /// The CRL of the same scope that it replaces.
    pub previous: Option<NumberedCrl>,
    /// The newest CRL of the other kind in the same sequence of numbers: the complete one for a delta, and the other way round (rule C2).
    pub companion: Option<NumberedCrl>,
    /// Whether all certificates that it covers say where OCSP is answered (rules C8, T5).
    pub aia_ocsp: bool,
    /// Whether no CRL follows it: its nextUpdate is then 9999-12-31 (rule T6).
    pub last: bool,
    /// Whether the signature is verified too.
    pub verify_signature: bool,
    /// The present time.
    pub now: Timestamp,
}

/// Which certificates of an issuer a CRL covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of them.
    All,
    /// Those of end entities.
    EndEntities,
    /// Those of CAs: an ARL.
    Cas,
}

/// What was reserved for a CRL before it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeantCrl {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
}

/// A CRL that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedCrl {
    /// Its cRLNumber.
    pub number: u64,
    /// Its thisUpdate.
    pub this_update: Timestamp,
}

/// Tag of a CRLReason.
const ENUMERATED: u8 = 0x0a;

/// Why a CRL cannot even be looked at by the lints (rule C10).
pub(super) const READING: [(&str, &str); 2] = [("C10", "one CRL in DER"), ("C10", "every entry is DER")];

/// A `Time`: its octets, and the time, where they are a proper one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    tlv: Tlv<'a>,
    pub(super) at: Option<Timestamp>,
}

impl<'a> Time<'a> {
    fn of(tlv: Tlv<'a>) -> Time<'a> {
        // As `der` reads them, but in a few nanoseconds: every entry has one.
        let at = match tlv.tag {
            Tag::UtcTime => tlv.value.try_into().ok().and_then(Timestamp::from_utc),
            Tag::GeneralizedTime => tlv.value.try_into().ok().and_then(Timestamp::from_generalized),
            _ => None,
        };
        Time { tlv, at }
    }

    /// Passes where it is a UTCTime to 2049 and a GeneralizedTime from 2050 on.
    pub(super) fn form(&self) -> Verdict {
        let wanted_tag = |at| if at < Timestamp::GENERALIZED_FROM { Tag::UtcTime } else { Tag::GeneralizedTime };
        match self.at {
            Some(at) if self.tlv.tag == wanted_tag(at) => None,
            Some(at) => differs(format!("{} {at}", self.tlv.tag), wanted_tag(at)),
            None => differs(format!("'{}'", self.tlv.value.escape_ascii()), "UTCTime YYMMDDHHMMSSZ, from 2050 on YYYYMMDDHHMMSSZ"),
        }
    }
}

/// A CRL, taken apart.
pub(super) struct Crl<'a> {
    pub(super) der: &'a [u8],
    /// DER of the TBSCertList: what is signed.
    pub(super) to_be_signed: &'a [u8],
    /// Content octets of version; `None` for version 1.
    pub(super) version: Option<&'a [u8]>,
    pub(super) inner_algorithm: &'a [u8],
    pub(super) outer_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// DER of the issuer's Name.
    pub(super) issuer: &'a [u8],
    pub(super) this_update: Time<'a>,
    pub(super) next_update: Option<Time<'a>>,
    /// Content octets of revokedCertificates, where it is present.
    pub(super) entries: Option<&'a [u8]>,
    pub(super) extensions: Vec<Extension<'a>>,
}

fn is_time(tag: Tag) -> bool {
    matches!(tag, Tag::UtcTime | Tag::GeneralizedTime)
}

impl<'a> Crl<'a> {
    /// Takes a CRL apart; the finding where it is none, or more than one.
    pub(super) fn read(der: &'a [u8]) -> Result<Crl<'a>, Finding> {
        Self::of(der).map_err(|e| unread(0, e))
    }

    fn of(der: &'a [u8]) -> der::Result<Crl<'a>> {
        let mut fields = Tlv::whole(der)?.fields(Tag::Sequence)?;
        let tbs = fields.next()?;
        let outer_algorithm = fields.next()?.raw;
        let signature = fields.next()?.decode::<BitStringRef<'a>>()?.raw_bytes();
        fields.end()?;
        let mut body = tbs.fields(Tag::Sequence)?;
        let crl = Crl {
            der,
            to_be_signed: tbs.raw,
            version: body.next_if(|tag| tag == Tag::Integer)?.map(|tlv| tlv.value),
            inner_algorithm: body.next()?.raw,
            outer_algorithm,
            signature,
            issuer: body.next()?.raw,
            this_update: Time::of(body.next()?),
            next_update: body.next_if(is_time)?.map(Time::of),
            entries: body.next_if(|tag| tag == Tag::Sequence)?.map(|tlv| tlv.value),
            extensions: body.explicit_if(0)?.map(Extension::read_all).transpose()?.unwrap_or_default(),
        };
        body.end()?;
        Ok(crl)
    }

    /// The extension with that OID.
    pub(super) fn extension(&self, id: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|e| e.id == id)
    }

    /// `entries` in parts of about `size` octets, in their order. What follows an entry that is not DER is in the same part.
    pub(super) fn parts(entries: &'a [u8], size: usize) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = entries;
        std::iter::from_fn(move || {
            let (mut reader, mut length) = (Reader::new(rest), 0);
            while length < size && length < rest.len() {
                length = reader.any_whole().map_or(rest.len(), |(_, _, raw)| length + raw.len());
            }
            let (part, next) = rest.split_at(length);
            rest = next;
            (!part.is_empty()).then_some(part)
        })
    }

    /// Gives each entry of a part to `visit`, in their order; the finding where one is not DER.
    pub(super) fn visit_entries(part: &'a [u8], visit: &mut dyn FnMut(&Entry<'a>)) -> Result<(), Finding> {
        let walk = |visit: &mut dyn FnMut(&Entry<'a>)| -> der::Result<()> {
            let mut fields = Fields::of(part);
            while !fields.is_empty() {
                visit(&Entry::of(fields.next()?)?);
            }
            Ok(())
        };
        walk(visit).map_err(|e| unread(1, e))
    }
}

fn unread(reading: usize, error: der::Error) -> Finding {
    let (rule, what) = READING[reading];
    Finding::new(rule, what, Difference { found: error.to_string(), wanted: "DER as in RFC 5280 5.1".to_owned() })
}

/// What a CRL says of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Content octets of the serial number.
    pub serial: &'a [u8],
    /// revocationDate; `None` where it is not a time.
    pub revoked_at: Option<Timestamp>,
    /// Code of the reason, where there is one that RFC 5280 knows.
    pub reason: Option<u8>,
    /// invalidityDate, where there is one.
    pub invalidity_date: Option<Timestamp>,
}

/// The algorithm with which a published CRL is to be signed, as far as its own key tells: the one that it names, where the key can make it, else the key's
/// own.
pub fn signature_algorithm(der: &[u8], issuer: &IssuerFacts) -> SignatureAlgorithm {
    let named = Crl::read(der).ok().and_then(|crl| SignatureAlgorithm::ALL.into_iter().find(|a| a.identifier() == crl.outer_algorithm));
    let key = key_algorithm_of_spki(&issuer.spki);
    let own = key.map_or(SignatureAlgorithm::RsaSha256, KeyAlgorithm::default_signature);
    named.filter(|named| key.is_some_and(|key| key.can_sign(*named))).unwrap_or(own)
}

/// One entry of a CRL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Content octets of the serial number.
    pub(super) serial: &'a [u8],
    pub(super) revoked_at: Time<'a>,
    pub(super) reason: Option<Extension<'a>>,
    pub(super) invalidity: Option<Extension<'a>>,
    /// Whether any extension is critical.
    pub(super) critical: bool,
    /// Whether any extension writes a default out.
    pub(super) writes_default: bool,
}

impl<'a> Entry<'a> {
    fn of(tlv: Tlv<'a>) -> der::Result<Entry<'a>> {
        let mut fields = tlv.fields(Tag::Sequence)?;
        let serial = fields.next()?;
        serial.tag.assert_eq(Tag::Integer)?;
        let revoked_at = Time::of(fields.next()?);
        let mut entry = Entry { serial: serial.value, revoked_at, reason: None, invalidity: None, critical: false, writes_default: false };
        if let Some(list) = fields.next_if(|tag| tag == Tag::Sequence)? {
            let mut extensions = list.fields(Tag::Sequence)?;
            while !extensions.is_empty() {
                entry.note(Extension::read(extensions.next()?)?);
            }
        }
        fields.end()?;
        Ok(entry)
    }

    fn note(&mut self, extension: Extension<'a>) {
        self.critical |= extension.critical;
        self.writes_default |= extension.writes_default;
        match extension.id {
            oid::REASON_CODE => self.reason = Some(extension),
            oid::INVALIDITY_DATE => self.invalidity = Some(extension),
            _ => {}
        }
    }

    /// The reason; `None` where there is none, or none that RFC 5280 knows.
    pub(super) fn reason(&self) -> Option<CrlReason> {
        // Asked for by many rules, of every entry.
        match self.reason?.value {
            [ENUMERATED, 1, code] => CrlReason::try_from(u32::from(*code)).ok(),
            _ => None,
        }
    }

    /// What it says.
    pub(super) fn listed(&self) -> Listed<'a> {
        let reason = self.reason().map(|reason| reason as u8);
        Listed { serial: self.serial, revoked_at: self.revoked_at.at, reason, invalidity_date: self.invalidity_date() }
    }

    /// invalidityDate, where it is present and a time.
    pub(super) fn invalidity_date(&self) -> Option<Timestamp> {
        let read = self.invalidity.and_then(|e| GeneralizedTime::from_der(e.value).ok());
        read.map(|t| Timestamp::from(t.to_date_time()))
    }
}
