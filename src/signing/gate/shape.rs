//! The shape of an artefact: which TLV stands where, so that each rule can look at its own part and say what is wrong with that part alone.
//!
//! Headers are read by [`der_reading`](crate::pki::der_reading), which a property test holds against the `der` crate and which shares nothing with what writes
//! DER here: a great CRL has ten million of them. Values are read by `der`, but for those that every entry of a CRL has.

use der::{Decode, ErrorKind, Tag};

use crate::pki::der_reading::{NotDer, Reader};

/// One TLV.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tlv<'a> {
    /// All of its octets.
    pub(super) raw: &'a [u8],
    pub(super) tag: Tag,
    /// Its content.
    pub(super) value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads a TLV and nothing after it.
    pub(super) fn whole(raw: &'a [u8]) -> der::Result<Tlv<'a>> {
        let mut fields = Fields::of(raw);
        let tlv = fields.next()?;
        fields.end()?;
        Ok(tlv)
    }

    /// The TLVs in it; fails where its tag is another one.
    pub(super) fn fields(self, tag: Tag) -> der::Result<Fields<'a>> {
        self.tag.assert_eq(tag)?;
        Ok(Fields::of(self.value))
    }

    /// The one TLV in an EXPLICIT tag.
    pub(super) fn explicit(self) -> der::Result<Tlv<'a>> {
        Tlv::whole(self.value)
    }

    /// Its number, where its tag is context-specific.
    pub(super) fn number(&self) -> Option<u8> {
        match self.tag {
            Tag::ContextSpecific { number, .. } => Some(number.value()),
            _ => None,
        }
    }

    /// All of it as a value of another crate's type.
    pub(super) fn decode<T: Decode<'a>>(self) -> der::Result<T> {
        T::from_der(self.raw)
    }
}

/// TLVs, one after the other.
pub(super) struct Fields<'a>(Reader<'a>);

fn no_tlv(_: NotDer) -> der::Error {
    ErrorKind::Failed.into()
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn of(content: &'a [u8]) -> Fields<'a> {
        Fields(Reader::new(content))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn next(&mut self) -> der::Result<Tlv<'a>> {
        let (tag, value, raw) = self.0.any_whole().map_err(no_tlv)?;
        Ok(Tlv { raw, tag: tag.try_into()?, value })
    }

    /// The next TLV, where there is one that is wanted.
    pub(super) fn next_if(&mut self, wanted: impl Fn(Tag) -> bool) -> der::Result<Option<Tlv<'a>>> {
        match self.0.next_tag() {
            Some(tag) if wanted(tag.try_into()?) => self.next().map(Some),
            _ => Ok(None),
        }
    }

    /// The content of the next TLV, where that is EXPLICIT `[number]`.
    pub(super) fn explicit_if(&mut self, number: u8) -> der::Result<Option<Tlv<'a>>> {
        let wanted = |tag| matches!(tag, Tag::ContextSpecific { constructed: true, number: found } if found.value() == number);
        self.next_if(wanted)?.map(Tlv::explicit).transpose()
    }

    /// Fails where something is left.
    pub(super) fn end(self) -> der::Result<()> {
        self.0.finish().map_err(no_tlv)
    }
}

/// An extension, of whatever it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension<'a> {
    /// Content octets of its OID.
    pub(super) id: &'a [u8],
    pub(super) critical: bool,
    /// `critical` is written out although it is FALSE, which DER forbids.
    pub(super) writes_default: bool,
    /// Content of extnValue: DER of its own.
    pub(super) value: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Reads one.
    pub(super) fn read(tlv: Tlv<'a>) -> der::Result<Extension<'a>> {
        let mut fields = tlv.fields(Tag::Sequence)?;
        let id = fields.next()?;
        id.tag.assert_eq(Tag::ObjectIdentifier)?;
        let critical = fields.next_if(|tag| tag == Tag::Boolean)?.map(Tlv::decode::<bool>).transpose()?;
        let value = fields.next()?;
        value.tag.assert_eq(Tag::OctetString)?;
        fields.end()?;
        Ok(Extension { id: id.value, critical: critical == Some(true), writes_default: critical == Some(false), value: value.value })
    }

    /// Reads a SEQUENCE OF them.
    pub(super) fn read_all(tlv: Tlv<'a>) -> der::Result<Vec<Extension<'a>>> {
        let mut fields = tlv.fields(Tag::Sequence)?;
        let mut all = Vec::new();
        while !fields.is_empty() {
            all.push(Extension::read(fields.next()?)?);
        }
        Ok(all)
    }
}

/// Content octets of the OIDs that rules speak of.
pub(super) mod oid {
    pub(crate) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
    pub(crate) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
    pub(crate) const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
    pub(crate) const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
    pub(crate) const FRESHEST_CRL: &[u8] = &[0x55, 0x1d, 0x2e];
    pub(crate) const EXPIRED_CERTS_ON_CRL: &[u8] = &[0x55, 0x1d, 0x3c];
    pub(crate) const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
    pub(crate) const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];
    pub(crate) const OCSP_CRL_ID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x03];
    pub(crate) const OCSP_ARCHIVE_CUTOFF: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x06];
    pub(crate) const OCSP_EXTENDED_REVOKE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x09];
}
