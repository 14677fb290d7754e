//! A CRL taken apart: what it says of itself, and of certificates whose status is known. Read by der and x509-cert. Reads no clock.

use std::time::SystemTime;

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::{ID_CE_DELTA_CRL_INDICATOR, ID_CE_ISSUING_DISTRIBUTION_POINT};
use der::{Decode, Header, Reader, SliceReader, Tag};
use spki::AlgorithmIdentifierRef;
use x509_cert::crl::RevokedCert;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{CrlReason, IssuingDistributionPoint};
use x509_cert::time::Time;

use crate::targets::Statuses;
use crate::truth::headers::Times;
use crate::truth::hexadecimal;

/// A CRL, as far as it matters here.
pub(super) struct Crl<'a> {
    pub(super) to_be_signed: &'a [u8],
    /// DER of the issuer's name.
    pub(super) issuer: &'a [u8],
    pub(super) times: Times,
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) signature: &'a [u8],
    /// DER of revokedCertificates and, without their outer tag, of crlExtensions, which are decoded only where something is held against them.
    entries: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Crl<'a> {
    /// CertificateList (RFC 5280 5.1).
    pub(super) fn read(der: &'a [u8]) -> der::Result<Crl<'a>> {
        let mut outer = SliceReader::new(der)?;
        Header::decode(&mut outer)?.tag.assert_eq(Tag::Sequence)?;
        let to_be_signed = outer.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierRef::decode(&mut outer)?;
        let signature = der::asn1::BitStringRef::decode(&mut outer)?;
        let mut inner = SliceReader::new(to_be_signed)?;
        Header::decode(&mut inner)?.tag.assert_eq(Tag::Sequence)?;
        if inner.peek_tag()? == Tag::Integer {
            inner.tlv_bytes()?;
        }
        AlgorithmIdentifierRef::decode(&mut inner)?;
        let issuer = inner.tlv_bytes()?;
        let this_update = Time::decode(&mut inner)?.to_system_time();
        let has_next = matches!(inner.peek_tag(), Ok(Tag::UtcTime | Tag::GeneralizedTime));
        let next_update = if has_next { Some(Time::decode(&mut inner)?.to_system_time()) } else { None };
        let entries = if matches!(inner.peek_tag(), Ok(Tag::Sequence)) { inner.tlv_bytes()? } else { &[] };
        if !inner.is_finished() {
            Header::decode(&mut inner)?;
        }
        let extensions = inner.read_slice(inner.remaining_len())?;
        let times = Times { this_update, next_update };
        Ok(Crl { to_be_signed, issuer, times, algorithm, signature: signature.raw_bytes(), entries, extensions })
    }

    /// What it says that is not so: a certificate that is good stands on it, or one that is revoked is missing where everything that is revoked must stand on it.
    ///
    /// # Errors
    ///
    /// Entries or extensions that are none.
    pub(super) fn contradictions(&self, statuses: &Statuses, now: SystemTime) -> der::Result<Vec<String>> {
        let scope = self.scope()?;
        if statuses.is_empty() || scope == Scope::OtherIssuers {
            return Ok(Vec::new());
        }
        let entries = if self.entries.is_empty() { Vec::new() } else { Vec::<RevokedCert>::from_der(self.entries)? };
        let mut revoked: Vec<&[u8]> =
            entries.iter().filter(|entry| !removes(entry)).map(|entry| magnitude(entry.serial_number.as_bytes())).collect();
        revoked.sort_unstable();
        let good = shown(revoked.iter().copied().filter(|serial| statuses.is_good(serial)));
        let is_missing = |serial: &&[u8]| scope == Scope::Everything && revoked.binary_search(serial).is_err();
        let missing = shown(statuses.revoked_at(now).filter(is_missing));
        let found = good.map(|serials| format!("entries: found {serials}, wanted none that is good"));
        let wanted = missing.map(|serials| format!("entries: found no {serials}, wanted every certificate that is revoked"));
        Ok(found.into_iter().chain(wanted).collect())
    }

    fn scope(&self) -> der::Result<Scope> {
        if self.extensions.is_empty() {
            return Ok(Scope::Everything);
        }
        let extensions = Extensions::from_der(self.extensions)?;
        let find = |oid| extensions.iter().find(|extension| extension.extn_id == oid);
        // x509-cert 0.2 gives the extension another one's OID.
        let point = find(ID_CE_ISSUING_DISTRIBUTION_POINT).map(|found| IssuingDistributionPoint::from_der(found.extn_value.as_bytes()));
        Ok(match point.transpose()? {
            Some(point) if point.indirect_crl => Scope::OtherIssuers,
            None if find(ID_CE_DELTA_CRL_INDICATOR).is_none() => Scope::Everything,
            _ => Scope::Part,
        })
    }
}

/// Whose certificates stand on a CRL (RFC 5280 5.2.4, 5.2.5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Each of the issuer's that is revoked.
    Everything,
    /// A partition, or what has changed.
    Part,
    /// Those of others too.
    OtherIssuers,
}

/// Whether an entry of a delta says that a certificate is on hold no more (RFC 5280 5.3.1).
fn removes(entry: &RevokedCert) -> bool {
    let mut extensions = entry.crl_entry_extensions.iter().flatten();
    let reason = extensions.find(|extension| extension.extn_id == CrlReason::OID);
    reason.is_some_and(|reason| CrlReason::from_der(reason.extn_value.as_bytes()) == Ok(CrlReason::RemoveFromCRL))
}

/// A serial without the octet that says that it is positive.
fn magnitude(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => serial,
    }
}

/// The first serial, and how many more there are; `None` where there is none.
fn shown<'a>(mut serials: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let first = hexadecimal(serials.next()?);
    Some(match serials.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}
