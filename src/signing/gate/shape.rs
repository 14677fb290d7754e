//! The shape of an artefact: which TLV stands where, so that each rule can look at its own part and say what is wrong with that part alone.
//!
//! Headers, tags and values are read by the `der` crate, never by this program's own reader or writer of DER.

use der::asn1::OctetStringRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged, asn1::AnyRef};

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
        let any = AnyRef::from_der(raw)?;
        Ok(Tlv { raw, tag: any.tag(), value: any.value() })
    }

    /// The TLVs in it; fails where its tag is another one.
    pub(super) fn fields(self, tag: Tag) -> der::Result<Fields<'a>> {
        self.tag.assert_eq(tag)?;
        Fields::of(self.value)
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
pub(super) struct Fields<'a>(SliceReader<'a>);

impl<'a> Fields<'a> {
    pub(super) fn of(content: &'a [u8]) -> der::Result<Fields<'a>> {
        SliceReader::new(content).map(Fields)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    pub(super) fn next(&mut self) -> der::Result<Tlv<'a>> {
        let header = self.0.peek_header()?;
        let raw = self.0.tlv_bytes()?;
        let value = &raw[raw.len() - usize::try_from(header.length)?..];
        Ok(Tlv { raw, tag: header.tag, value })
    }

    /// The next TLV, where there is one that is wanted.
    pub(super) fn next_if(&mut self, wanted: impl Fn(Tag) -> bool) -> der::Result<Option<Tlv<'a>>> {
        if self.is_empty() || !wanted(self.0.peek_header()?.tag) { Ok(None) } else { self.next().map(Some) }
    }

    /// The content of the next TLV, where that is EXPLICIT `[number]`.
    pub(super) fn explicit_if(&mut self, number: u8) -> der::Result<Option<Tlv<'a>>> {
        let wanted = |tag| matches!(tag, Tag::ContextSpecific { constructed: true, number: found } if found.value() == number);
        self.next_if(wanted)?.map(Tlv::explicit).transpose()
    }

    /// Fails where something is left.
    pub(super) fn end(self) -> der::Result<()> {
        self.0.finish(())
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
        let value = fields.next()?.decode::<OctetStringRef<'a>>()?.as_bytes();
        fields.end()?;
        Ok(Extension { id: id.value, critical: critical == Some(true), writes_default: critical == Some(false), value })
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
