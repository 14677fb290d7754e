//! CRL reading, one entry at a time and without copying: memory does not grow with the CRL. Shares no code with the encoder, so that what checks a CRL
//! makes no mistake twice.

use super::Timestamp;
use super::der_reading::{NotDer, Reader};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

/// A DER CertificateList (RFC 5280 5.1): everything in it but the entries, which [`CrlReader::entries`] reads.
#[derive(Clone, Debug)]
pub struct CrlReader<'a> {
    /// The whole TBSCertList: what is signed.
    pub to_be_signed: &'a [u8],
    /// The AlgorithmIdentifier within it.
    pub inner_algorithm: &'a [u8],
    /// The AlgorithmIdentifier beside it.
    pub outer_algorithm: &'a [u8],
    /// The issuer's Name.
    pub issuer: &'a [u8],
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Option<Timestamp>,
    /// crlExtensions, in their order.
    pub extensions: Vec<ExtensionRef<'a>>,
    /// Content of the signature's BIT STRING, which has no unused bits.
    pub signature: &'a [u8],
    entries: &'a [u8],
}

/// One entry of revokedCertificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Content of the serial number's INTEGER: minimal, of any length and sign.
    pub serial: &'a [u8],
    /// revocationDate.
    pub at: Timestamp,
    extensions: &'a [u8],
}

/// An extension, of the CRL or of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionRef<'a> {
    /// Content of its OID.
    pub oid: &'a [u8],
    /// Whether it is critical.
    pub critical: bool,
    /// Content of its extnValue.
    pub value: &'a [u8],
}

/// Not a version 2 CRL in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version 2 CRL in DER: {0} cannot be read")]
pub struct CrlError(&'static str);

impl<'a> CrlReader<'a> {
    /// Reads everything but the entries. Times are in the form that RFC 5280 5.1.2.4 wants: UTCTime to 2049, GeneralizedTime from 2050 (rule C1).
    pub fn from_der(der: &'a [u8]) -> Result<CrlReader<'a>, CrlError> {
        let at = |what: &'static str| move |_: NotDer| CrlError(what);
        let mut outer = Reader::new(der);
        let mut list = outer.enter(SEQUENCE).map_err(at("CertificateList"))?;
        outer.finish().map_err(at("CertificateList"))?;
        let to_be_signed = list.raw(SEQUENCE).map_err(at("tbsCertList"))?;
        let outer_algorithm = list.raw(SEQUENCE).map_err(at("signatureAlgorithm"))?;
        let signature = list.expect(BIT_STRING).and_then(without_unused_bits).map_err(at("signatureValue"))?;
        list.finish().map_err(at("CertificateList"))?;

        let mut body = Reader::new(to_be_signed).enter(SEQUENCE).map_err(at("tbsCertList"))?;
        let version = body.expect(INTEGER).map_err(at("version"))?;
        if version != [1] {
            return Err(CrlError("version"));
        }
        let inner_algorithm = body.raw(SEQUENCE).map_err(at("signature"))?;
        let issuer = body.raw(SEQUENCE).map_err(at("issuer"))?;
        let this_update = time(body.any()).map_err(at("thisUpdate"))?;
        let next_update = match body.next_tag() {
            Some(UTC_TIME | GENERALIZED_TIME) => Some(time(body.any()).map_err(at("nextUpdate"))?),
            _ => None,
        };
        let entries = body.optional(SEQUENCE).map_err(at("revokedCertificates"))?;
        if entries == Some(&[]) {
            return Err(CrlError("revokedCertificates without an entry"));
        }
        let extensions = body.optional(CONTEXT_0).map_err(at("crlExtensions"))?;
        body.finish().map_err(at("tbsCertList"))?;
        let extensions = extensions.map(all_extensions).transpose().map_err(at("crlExtensions"))?.unwrap_or_default();
        let entries = entries.unwrap_or_default();
        Ok(CrlReader { to_be_signed, inner_algorithm, outer_algorithm, issuer, this_update, next_update, extensions, signature, entries })
    }

    /// The entries, in their order. Ends after the first that cannot be read.
    pub fn entries(&self) -> impl Iterator<Item = Result<EntryRef<'a>, CrlError>> + use<'a> {
        let mut left = Some(Reader::new(self.entries));
        std::iter::from_fn(move || {
            let reader = left.as_mut().filter(|reader| !reader.is_empty())?;
            let entry = entry(reader).map_err(|_| CrlError("an entry of revokedCertificates"));
            if entry.is_err() {
                left = None;
            }
            Some(entry)
        })
    }

    /// The extension with this OID (content octets).
    pub fn extension(&self, oid: &[u8]) -> Option<&ExtensionRef<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }
}

impl<'a> EntryRef<'a> {
    /// Its extensions, in their order.
    pub fn extensions(&self) -> impl Iterator<Item = ExtensionRef<'a>> + use<'a> {
        let mut left = Reader::new(self.extensions);
        // They were read before: that none fails is certain.
        std::iter::from_fn(move || extension(&mut left).ok())
    }
}

#[inline]
fn entry<'a>(reader: &mut Reader<'a>) -> Result<EntryRef<'a>, NotDer> {
    let mut fields = reader.enter(SEQUENCE)?;
    let serial = fields.expect(INTEGER)?;
    let minimal = match serial {
        [] => false,
        [0, second, ..] => *second >= 0x80,
        [0xff, second, ..] => *second < 0x80,
        _ => true,
    };
    let at = time(fields.any())?;
    let extensions = fields.optional(SEQUENCE)?;
    fields.finish()?;
    if !minimal || extensions == Some(&[]) {
        return Err(NotDer);
    }
    let extensions = extensions.unwrap_or_default();
    let mut list = Reader::new(extensions);
    while !list.is_empty() {
        extension(&mut list)?;
    }
    Ok(EntryRef { serial, at, extensions })
}

#[inline]
fn extension<'a>(list: &mut Reader<'a>) -> Result<ExtensionRef<'a>, NotDer> {
    let mut fields = list.enter(SEQUENCE)?;
    let oid = fields.expect(OID)?;
    let critical = match fields.optional(BOOLEAN)? {
        None => false,
        // FALSE is the default, which DER leaves out.
        Some([0xff]) => true,
        Some(_) => return Err(NotDer),
    };
    let value = fields.expect(OCTET_STRING)?;
    fields.finish()?;
    if oid.is_empty() { Err(NotDer) } else { Ok(ExtensionRef { oid, critical, value }) }
}

fn all_extensions(content: &[u8]) -> Result<Vec<ExtensionRef<'_>>, NotDer> {
    let mut outer = Reader::new(content);
    let mut list = outer.enter(SEQUENCE)?;
    outer.finish()?;
    let mut extensions = Vec::new();
    while !list.is_empty() {
        extensions.push(extension(&mut list)?);
    }
    if extensions.is_empty() { Err(NotDer) } else { Ok(extensions) }
}

fn without_unused_bits(content: &[u8]) -> Result<&[u8], NotDer> {
    match content {
        [0, bits @ ..] => Ok(bits),
        _ => Err(NotDer),
    }
}

#[inline]
fn time(tlv: Result<(u8, &[u8]), NotDer>) -> Result<Timestamp, NotDer> {
    let time = match tlv? {
        (UTC_TIME, content) => content.try_into().ok().and_then(Timestamp::from_utc),
        (GENERALIZED_TIME, content) => {
            content.try_into().ok().and_then(Timestamp::from_generalized).filter(|t| *t >= Timestamp::GENERALIZED_FROM)
        }
        _ => None,
    };
    time.ok_or(NotDer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
    use crate::pki::{CertificateInfo, Revocation, RevocationReason, Serial, SignatureAlgorithm};
    use der::{Decode, Encode};
    use proptest::prelude::*;
    use x509_cert::crl::CertificateList;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

    fn crl(times: &[u64]) -> Vec<u8> {
        let issuer = CertificateInfo::from_der(CERTIFICATE).unwrap();
        let header = CrlHeader {
            issuer: &issuer.subject,
            authority_key_identifier: &[7; 20],
            algorithm: SignatureAlgorithm::EcdsaSha256,
            number: 5,
            this_update: Timestamp::from_unix(1_800_000_000).unwrap(),
            next_update: Timestamp::from_unix(1_800_086_400).unwrap(),
            base: Some(4),
            distribution_point: None,
            freshest: None,
            expired_since: None,
        };
        let mut encoder = CrlEncoder::new(&header, 0);
        for (n, at) in times.iter().enumerate() {
            let at = Timestamp::from_unix(*at).unwrap();
            let revocation = Revocation { at, reason: RevocationReason::ALL.get(n % 9).copied() };
            let serial = Serial::from_magnitude(&(n as u64 * 0x0123_4567_89ab).to_be_bytes()).unwrap();
            encoder.push(&CrlEntry { serial, revocation, invalidity_date: Some(at).filter(|_| n % 3 == 0) });
        }
        encoder.finish().unwrap().with_signature(b"signature").to_vec()
    }

    /// Asserts that both decoders read the same.
    fn agree(ours: &CrlReader<'_>, theirs: &CertificateList) -> Result<(), TestCaseError> {
        let body = &theirs.tbs_cert_list;
        prop_assert_eq!(ours.to_be_signed, body.to_der().unwrap());
        prop_assert_eq!(ours.issuer, body.issuer.to_der().unwrap());
        prop_assert_eq!(ours.inner_algorithm, body.signature.to_der().unwrap());
        prop_assert_eq!(ours.outer_algorithm, theirs.signature_algorithm.to_der().unwrap());
        prop_assert_eq!(ours.signature, theirs.signature.raw_bytes());
        prop_assert_eq!(ours.this_update, body.this_update.to_date_time().into());
        prop_assert_eq!(ours.next_update, body.next_update.map(|t| t.to_date_time().into()));
        let extension = |e: &x509_cert::ext::Extension| (e.extn_id.as_bytes().to_vec(), e.critical, e.extn_value.as_bytes().to_vec());
        let extension_of_ours = |e: ExtensionRef<'_>| (e.oid.to_vec(), e.critical, e.value.to_vec());
        let expected: Vec<_> = body.crl_extensions.iter().flatten().map(extension).collect();
        prop_assert_eq!(ours.extensions.iter().copied().map(extension_of_ours).collect::<Vec<_>>(), expected);
        let entries: Vec<_> = ours.entries().collect::<Result<_, _>>().map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(entries.len(), body.revoked_certificates.iter().flatten().count());
        for (entry, theirs) in entries.iter().zip(body.revoked_certificates.iter().flatten()) {
            prop_assert_eq!(entry.serial, theirs.serial_number.as_bytes());
            prop_assert_eq!(entry.at, theirs.revocation_date.to_date_time().into());
            let expected: Vec<_> = theirs.crl_entry_extensions.iter().flatten().map(extension).collect();
            prop_assert_eq!(entry.extensions().map(extension_of_ours).collect::<Vec<_>>(), expected);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn c1_what_another_decoder_reads_is_read_the_same(times in proptest::collection::vec(0..=Timestamp::MAX.unix(), 0..30)) {
            let der = crl(&times);
            agree(&CrlReader::from_der(&der).unwrap(), &CertificateList::from_der(&der).unwrap())?;
        }

        /// Damage is refused, or read as another decoder reads it; it never panics.
        #[test]
        fn damage_is_never_read_differently(at in 0usize..400, octet: u8, cut in proptest::option::of(0usize..400)) {
            let mut der = crl(&[5, 2_000_000_000, 3_000_000_000]);
            let place = at % der.len();
            der[place] = octet;
            der.truncate(cut.unwrap_or(der.len()));
            let Ok(ours) = CrlReader::from_der(&der) else { return Ok(()) };
            let all_read = ours.entries().all(|entry| entry.is_ok());
            // Names and algorithms are compared as they stand, never decoded: their damage is for `der` alone to find.
            if let Ok(theirs) = CertificateList::from_der(&der) && all_read {
                agree(&ours, &theirs)?;
            }
        }
    }

    #[test]
    fn c1_a_time_in_the_wrong_form_is_refused() {
        let der = crl(&[1_000_000_000]);
        let position = der.windows(13).position(|w| w == b"010909014640Z").unwrap();
        assert!(CrlReader::from_der(&der).unwrap().entries().next().unwrap().is_ok());
        let mut wrong = der.clone();
        wrong[position] = b'x';
        let entries: Vec<_> = CrlReader::from_der(&wrong).unwrap().entries().collect();
        assert!(matches!(entries[..], [Err(_)]), "{entries:?}");
        assert_eq!(time(Ok((GENERALIZED_TIME, b"20491231235959Z"))), Err(NotDer));
        assert_eq!(time(Ok((GENERALIZED_TIME, b"20500101000000Z"))), Ok(Timestamp::GENERALIZED_FROM));
    }
}
