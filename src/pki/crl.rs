//! CRL encoding by appended entries: one growing buffer of DER, no object per revoked certificate.

use super::der_encoding::{constructed, header_length, push_header, push_tlv, tag, tlv, tlv_length};
use super::extension::{self, IssuingDistributionPoint};
use super::{Revocation, RevocationReason, Serial, SignatureAlgorithm, Timestamp};

/// Octets of a reasonCode extension.
const REASON_EXTENSION_LENGTH: usize = 12;

/// The entries of a CRL, as they are appended.
#[derive(Clone, Debug, Default)]
pub struct CrlEntries {
    der: Vec<u8>,
    count: u64,
}

/// One revoked certificate on a CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlEntry {
    /// Its serial number.
    pub serial: Serial,
    /// Since when and why.
    pub revocation: Revocation,
    /// invalidityDate, where known.
    pub invalidity_date: Option<Timestamp>,
}

impl CrlEntries {
    /// Appends an entry (RFC 5280 5.1.2.6; reasonCode by rule C3: absent for unspecified, never critical).
    pub fn push(&mut self, entry: &CrlEntry) {
        let reason = entry.revocation.reason.map(reason_extension);
        let invalidity = entry.invalidity_date.map(extension::invalidity_date);
        let extensions = reason.map_or(0, |r| r.len()) + invalidity.as_ref().map_or(0, Vec::len);
        let serial = entry.serial.as_der_content();
        let extensions_length = if extensions > 0 { tlv_length(extensions) } else { 0 };
        push_header(&mut self.der, tag::SEQUENCE, tlv_length(serial.len()) + time_length(entry.revocation.at) + extensions_length);
        push_tlv(&mut self.der, tag::INTEGER, serial);
        push_time(&mut self.der, entry.revocation.at);
        if extensions > 0 {
            push_header(&mut self.der, tag::SEQUENCE, extensions);
            reason.iter().for_each(|r| self.der.extend_from_slice(r));
            invalidity.iter().for_each(|i| self.der.extend_from_slice(i));
        }
        self.count += 1;
    }

    /// How many were appended.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// What a CRL says besides its entries.
#[derive(Clone, Debug)]
pub struct CrlHeader<'a> {
    /// DER of the CA's subject, byte for byte (rule C1).
    pub issuer: &'a [u8],
    /// The CA's subjectKeyIdentifier.
    pub authority_key_identifier: &'a [u8],
    /// Algorithm of the signature, inside and outside.
    pub algorithm: SignatureAlgorithm,
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate (rule C1: always present).
    pub next_update: Timestamp,
    /// The scope of a partition; `None` for the full CRL (rule C4).
    pub distribution_point: Option<IssuingDistributionPoint>,
}

/// A CRL that lacks its signature.
#[derive(Clone, Debug)]
pub struct UnsignedCrl {
    to_be_signed: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl UnsignedCrl {
    /// Puts header and entries together: a v2 TBSCertList; no entries, no revokedCertificates (rule C1).
    pub fn new(header: &CrlHeader<'_>, entries: CrlEntries) -> UnsignedCrl {
        let mut before = vec![tag::INTEGER, 1, 1];
        before.extend_from_slice(header.algorithm.identifier());
        before.extend_from_slice(header.issuer);
        push_time(&mut before, header.this_update);
        push_time(&mut before, header.next_update);
        if !entries.der.is_empty() {
            push_header(&mut before, tag::SEQUENCE, entries.der.len());
        }
        let extensions = extensions(header);
        let length = before.len() + entries.der.len() + extensions.len();
        let mut to_be_signed = Vec::with_capacity(tlv_length(length));
        push_header(&mut to_be_signed, tag::SEQUENCE, length);
        for part in [before, entries.der, extensions] {
            to_be_signed.extend_from_slice(&part);
        }
        UnsignedCrl { to_be_signed, algorithm: header.algorithm }
    }

    /// The DER TBSCertList: what is signed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// The DER CertificateList. `signature` is the content of the BIT STRING.
    pub fn with_signature(self, signature: &[u8]) -> Vec<u8> {
        let identifier = self.algorithm.identifier();
        let length = self.to_be_signed.len() + identifier.len() + tlv_length(signature.len() + 1);
        let mut out = Vec::with_capacity(header_length(length) + length);
        push_header(&mut out, tag::SEQUENCE, length);
        out.extend_from_slice(&self.to_be_signed);
        out.extend_from_slice(identifier);
        push_header(&mut out, tag::BIT_STRING, signature.len() + 1);
        out.push(0);
        out.extend_from_slice(signature);
        out
    }
}

fn extensions(header: &CrlHeader<'_>) -> Vec<u8> {
    let point = header.distribution_point.as_ref().map(extension::issuing_distribution_point).unwrap_or_default();
    let aki = extension::authority_key_identifier(header.authority_key_identifier);
    let list = constructed(tag::SEQUENCE, &[&aki, &extension::crl_number(header.number), &point]);
    tlv(tag::constructed(0), &list)
}

/// The same octets as [`extension::reason_code`], without an allocation per entry.
fn reason_extension(reason: RevocationReason) -> [u8; REASON_EXTENSION_LENGTH] {
    [0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, reason.code()]
}

/// Octets of a `Time`: UTCTime to 2049, GeneralizedTime from 2050 (rule C1).
fn time_length(t: Timestamp) -> usize {
    if t < Timestamp::GENERALIZED_FROM { 15 } else { 17 }
}

fn push_time(out: &mut Vec<u8>, t: Timestamp) {
    match t.utc() {
        Some(utc) => push_tlv(out, tag::UTC_TIME, &utc),
        None => push_tlv(out, tag::GENERALIZED_TIME, &t.generalized()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::asn1::{GeneralizedTime, Ia5String};
    use der::{Decode, Encode};
    use proptest::prelude::*;
    use x509_cert::crl::CertificateList;
    use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason, IssuingDistributionPoint as OwnedPoint};

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");

    fn entry_strategy() -> impl Strategy<Value = CrlEntry> {
        let serial = proptest::collection::vec(any::<u8>(), 1..=20).prop_filter_map("a serial", |m| Serial::from_magnitude(&m).ok());
        let time = || (0..=Timestamp::MAX.unix()).prop_map(|s| Timestamp::from_unix(s).unwrap());
        let reason = (0usize..=7).prop_map(|i| RevocationReason::ALL.get(i).copied());
        (serial, time(), reason, proptest::option::of(time())).prop_map(|(serial, at, reason, invalidity_date)| CrlEntry {
            serial,
            revocation: Revocation { at, reason },
            invalidity_date,
        })
    }

    #[test]
    fn c3_the_short_cut_writes_the_same_reason_code() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason_extension(reason).to_vec(), extension::reason_code(reason));
        }
    }

    proptest! {
        #[test]
        fn c1_c2_c3_c4_the_oracle_reads_what_was_meant_and_writes_the_same(
            entries in proptest::collection::vec(entry_strategy(), 0..20),
            times in (0..=Timestamp::MAX.unix(), 0..=Timestamp::MAX.unix()),
            number: u64,
            partition: bool,
            algorithm in 0usize..6,
        ) {
            let issuer = crate::pki::CertificateInfo::from_der(CERTIFICATE).unwrap();
            let uri = "http://crl.example/crl/issuing/17.crl".to_owned();
            let header = CrlHeader {
                issuer: &issuer.subject,
                authority_key_identifier: &issuer.key_identifier,
                algorithm: SignatureAlgorithm::ALL[algorithm],
                number,
                this_update: Timestamp::from_unix(times.0).unwrap(),
                next_update: Timestamp::from_unix(times.1).unwrap(),
                distribution_point: partition.then_some(IssuingDistributionPoint { uri: uri.clone(), only_user_certificates: true }),
            };
            let mut appended = CrlEntries::default();
            entries.iter().for_each(|e| appended.push(e));
            prop_assert_eq!(appended.count(), entries.len() as u64);
            let unsigned = UnsignedCrl::new(&header, appended);
            let tbs = unsigned.to_be_signed().to_vec();
            let der = unsigned.with_signature(b"a signature");
            let list = CertificateList::from_der(&der).unwrap();
            prop_assert_eq!(list.to_der().unwrap(), der);
            prop_assert_eq!(list.tbs_cert_list.to_der().unwrap(), tbs);
            prop_assert_eq!(list.signature.raw_bytes(), b"a signature");
            prop_assert_eq!(&list.signature_algorithm, &list.tbs_cert_list.signature);

            let body = &list.tbs_cert_list;
            prop_assert_eq!(&body.issuer.to_der().unwrap(), &issuer.subject);
            prop_assert_eq!(Timestamp::from(body.this_update.to_date_time()), header.this_update);
            prop_assert_eq!(Timestamp::from(body.next_update.unwrap().to_date_time()), header.next_update);
            prop_assert_eq!(body.revoked_certificates.is_some(), !entries.is_empty());
            for (theirs, ours) in body.revoked_certificates.iter().flatten().zip(&entries) {
                prop_assert_eq!(theirs.serial_number.as_bytes(), ours.serial.as_der_content());
                prop_assert_eq!(Timestamp::from(theirs.revocation_date.to_date_time()), ours.revocation.at);
                let found = theirs.crl_entry_extensions.as_deref().unwrap_or(&[]);
                prop_assert!(found.iter().all(|e| !e.critical));
                let value = |oid: &str| found.iter().find(|e| e.extn_id.to_string() == oid).map(|e| e.extn_value.as_bytes());
                let reason = value("2.5.29.21").map(|v| CrlReason::from_der(v).unwrap() as u8);
                prop_assert_eq!(reason, ours.revocation.reason.map(|r| r.code()));
                let invalidity = value("2.5.29.24").map(|v| Timestamp::from(GeneralizedTime::from_der(v).unwrap().to_date_time()));
                prop_assert_eq!(invalidity, ours.invalidity_date);
            }

            let extensions = body.crl_extensions.as_deref().unwrap();
            let find = |oid: &str| extensions.iter().find(|e| e.extn_id.to_string() == oid);
            let aki = find("2.5.29.35").unwrap();
            prop_assert!(!aki.critical);
            let key_identifier = AuthorityKeyIdentifier::from_der(aki.extn_value.as_bytes()).unwrap().key_identifier.unwrap();
            prop_assert_eq!(key_identifier.as_bytes(), &issuer.key_identifier[..]);
            let crl_number = find("2.5.29.20").unwrap();
            prop_assert!(!crl_number.critical);
            let read = CrlNumber::from_der(crl_number.extn_value.as_bytes()).unwrap();
            let expected = number.to_be_bytes();
            let significant = &expected[expected.iter().position(|b| *b != 0).unwrap_or(7)..];
            prop_assert_eq!(read.0.as_bytes(), significant);
            let point = find("2.5.29.28");
            prop_assert_eq!(point.is_some(), partition);
            if let Some(point) = point {
                prop_assert!(point.critical);
                let owned = OwnedPoint::from_der(point.extn_value.as_bytes()).unwrap();
                prop_assert!(owned.only_contains_user_certs && !owned.only_contains_ca_certs);
                let names = match owned.distribution_point {
                    Some(DistributionPointName::FullName(names)) => names,
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                };
                prop_assert_eq!(names, vec![GeneralName::UniformResourceIdentifier(Ia5String::new(&uri).unwrap())]);
            }
        }
    }
}
