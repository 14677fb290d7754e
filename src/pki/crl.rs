//! CRL encoding in one pass: entries are written once, into the buffer that is signed, published and served. No object per revoked certificate.

use bytes::Bytes;

use super::der_encoding::{header_length, push_header, push_tlv, tag, tlv};
use super::extension::{self, IssuingDistributionPoint};
use super::{Revocation, RevocationReason, Serial, SignatureAlgorithm, Timestamp};

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
    /// deltaCRLIndicator of a delta: the number of its base (rule C5).
    pub base: Option<u64>,
    /// issuingDistributionPoint; `None` for a CRL that covers everything (rule C4).
    pub distribution_point: Option<IssuingDistributionPoint>,
    /// freshestCRL of a complete CRL: the URL of its delta (rule C5).
    pub freshest: Option<String>,
    /// expiredCertsOnCRL: entries of certificates that expired since then are kept (rule C6).
    pub expired_since: Option<Timestamp>,
}

/// A CRL to which entries are being appended.
///
/// Memory: the CRL itself, once. The lengths in front of the entries are known last, so room is left for them and filled from behind; what is left over of
/// it, at most [`HEAD_ROOM`] octets, stays in front of the finished CRL.
#[derive(Clone, Debug)]
pub struct CrlEncoder {
    buffer: Vec<u8>,
    /// What stands in front of revokedCertificates in the TBSCertList.
    head: Vec<u8>,
    /// The extensions behind the entries.
    tail: Vec<u8>,
    algorithm: SignatureAlgorithm,
    /// Where the entries begin.
    entries: usize,
    count: u64,
    times: Times,
}

/// Tag and length of CertificateList, TBSCertList and revokedCertificates.
const HEAD_ROOM: usize = 3 * header_length(u32::MAX as usize);
/// The greatest signature (RSA-4096) with its AlgorithmIdentifier.
const SIGNATURE_ROOM: usize = 600;
/// An ordinary entry: a serial of 16 octets, a UTCTime, reasonCode.
const USUAL_ENTRY: usize = 49;
/// The most entries for which memory is reserved beforehand.
const MAX_EXPECTED: u64 = 1 << 26;
/// Octets of a reasonCode extension.
const REASON_EXTENSION: usize = 12;
/// How many days the encoder remembers. Each costs 12 octets.
const REMEMBERED_DAYS: usize = 1024;
const SECONDS_A_DAY: u32 = 86_400;
/// The most octets of entries: what is around them fits beside them into a length of four octets.
const MAX_ENTRIES_LENGTH: usize = 0xfff0_0000;

impl CrlEncoder {
    /// Begins a CRL. `expected` is about how many entries will come: memory is reserved for them, and taken as they come.
    pub fn new(header: &CrlHeader<'_>, expected: u64) -> CrlEncoder {
        let mut head = vec![tag::INTEGER, 1, 1];
        head.extend_from_slice(header.algorithm.identifier());
        head.extend_from_slice(header.issuer);
        push_time(&mut head, header.this_update);
        push_time(&mut head, header.next_update);
        let tail = extensions(header);
        let entries = HEAD_ROOM + head.len();
        let expected = usize::try_from(expected.min(MAX_EXPECTED)).unwrap_or(0);
        let mut buffer = Vec::with_capacity(entries + expected * USUAL_ENTRY + tail.len() + SIGNATURE_ROOM);
        buffer.resize(entries, 0);
        CrlEncoder { buffer, head, tail, algorithm: header.algorithm, entries, count: 0, times: Times::default() }
    }

    /// Appends an entry (RFC 5280 5.1.2.6; reasonCode by rule C3: absent for unspecified, never critical).
    #[inline]
    pub fn push(&mut self, entry: &CrlEntry) {
        let (serial, serial_length) = entry.serial.padded_der_content();
        let (time, time_length) = self.times.encode(entry.revocation.at);
        let extensions = match (entry.revocation.reason, entry.invalidity_date) {
            (None, None) => EntryExtensions::None,
            (Some(reason), None) => EntryExtensions::Reason(reason_extension(reason)),
            (reason, Some(at)) => EntryExtensions::List(extension_list(reason, at)),
        };
        let length = 2 + serial_length + time_length + extensions.length();
        debug_assert!(length < 0x80, "the longest entry, of 81 octets, has a length of one octet");
        let out = &mut self.buffer;
        push_cut(out, &[tag::SEQUENCE, length as u8, tag::INTEGER, serial_length as u8], 4);
        push_cut(out, serial, serial_length);
        push_cut(out, &time, time_length);
        match extensions {
            EntryExtensions::None => {}
            EntryExtensions::Reason(der) => {
                push_cut(out, &[tag::SEQUENCE, REASON_EXTENSION as u8], 2);
                push_cut(out, &der, REASON_EXTENSION);
            }
            EntryExtensions::List(der) => push_tlv(out, tag::SEQUENCE, &der),
        }
        self.count += 1;
    }

    /// The entries that were appended, one after the other.
    pub fn entries(&self) -> &[u8] {
        &self.buffer[self.entries..]
    }

    /// How many entries were appended.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Closes the TBSCertList; no entries, no revokedCertificates (rule C1). Fails with its length where DER here has no length for it.
    pub fn finish(mut self) -> Result<UnsignedCrl, CrlTooLong> {
        let revoked = self.buffer.len() - self.entries;
        if revoked > MAX_ENTRIES_LENGTH {
            return Err(CrlTooLong(revoked));
        }
        self.buffer.extend_from_slice(&self.tail);
        if revoked > 0 {
            push_header(&mut self.head, tag::SEQUENCE, revoked);
        }
        let mut front = Vec::with_capacity(HEAD_ROOM + self.head.len());
        push_header(&mut front, tag::SEQUENCE, self.head.len() + revoked + self.tail.len());
        front.extend_from_slice(&self.head);
        let start = fill_from_behind(&mut self.buffer, self.entries, &front);
        Ok(UnsignedCrl { buffer: self.buffer, start, algorithm: self.algorithm })
    }
}

/// The extensions of an entry, as far as they need not be allocated.
enum EntryExtensions {
    None,
    Reason([u8; REASON_EXTENSION]),
    List(Vec<u8>),
}

impl EntryExtensions {
    /// Octets of the whole list.
    fn length(&self) -> usize {
        match self {
            EntryExtensions::None => 0,
            EntryExtensions::Reason(der) => 2 + der.len(),
            EntryExtensions::List(der) => 2 + der.len(),
        }
    }
}

/// More entries than fit into a CRL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entries of a CRL take {0} octets: wanted at most {MAX_ENTRIES_LENGTH}; divide the issuer's certificates into CRL partitions")]
pub struct CrlTooLong(usize);

/// A CRL that lacks its signature.
#[derive(Clone, Debug)]
pub struct UnsignedCrl {
    buffer: Vec<u8>,
    /// Where the TBSCertList begins.
    start: usize,
    algorithm: SignatureAlgorithm,
}

impl UnsignedCrl {
    /// The DER TBSCertList: what is signed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The DER CertificateList, in the same memory. `signature` is the content of the BIT STRING.
    pub fn with_signature(mut self, signature: &[u8]) -> Bytes {
        self.buffer.extend_from_slice(self.algorithm.identifier());
        push_header(&mut self.buffer, tag::BIT_STRING, signature.len() + 1);
        self.buffer.push(0);
        self.buffer.extend_from_slice(signature);
        let mut front = Vec::with_capacity(HEAD_ROOM);
        push_header(&mut front, tag::SEQUENCE, self.buffer.len() - self.start);
        let start = fill_from_behind(&mut self.buffer, self.start, &front);
        Bytes::from(self.buffer).slice(start..)
    }
}

/// Puts `front` right before `end`; returns where it begins.
fn fill_from_behind(buffer: &mut [u8], end: usize, front: &[u8]) -> usize {
    let start = end - front.len();
    buffer[start..end].copy_from_slice(front);
    start
}

/// Appends the first `length` octets of `piece`. A copy of a known number of octets is a few instructions, and cutting off is one.
#[inline]
fn push_cut<const N: usize>(out: &mut Vec<u8>, piece: &[u8; N], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(piece);
    out.truncate(end);
}

fn extensions(header: &CrlHeader<'_>) -> Vec<u8> {
    let list = [
        Some(extension::authority_key_identifier(header.authority_key_identifier)),
        Some(extension::crl_number(header.number)),
        header.base.map(extension::delta_crl_indicator),
        header.distribution_point.as_ref().map(extension::issuing_distribution_point),
        header.freshest.as_deref().map(extension::freshest_crl),
        header.expired_since.map(extension::expired_certs_on_crl),
    ];
    let list: Vec<u8> = list.into_iter().flatten().flatten().collect();
    tlv(tag::constructed(0), &tlv(tag::SEQUENCE, &list))
}

/// The same octets as [`extension::reason_code`], without an allocation per entry.
#[inline]
fn reason_extension(reason: RevocationReason) -> [u8; REASON_EXTENSION] {
    [0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, reason.code()]
}

#[cold]
fn extension_list(reason: Option<RevocationReason>, invalidity_date: Timestamp) -> Vec<u8> {
    let mut list = reason.map(extension::reason_code).unwrap_or_default();
    list.extend_from_slice(&extension::invalidity_date(invalidity_date));
    list
}

/// Octets of the longer form of `Time`.
const MAX_TIME: usize = 17;

/// Encodes times: the date of a day once, the time of day by table.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// Days since 1970, and their `YYMMDD`.
    days: Box<[(u32, [u8; 6]); REMEMBERED_DAYS]>,
}

impl Default for Times {
    fn default() -> Times {
        Times { days: Box::new([(u32::MAX, *b"000000"); REMEMBERED_DAYS]) }
    }
}

impl Times {
    /// A `Time`, and how many octets it has: UTCTime to 2049, GeneralizedTime from 2050 (rule C1).
    #[inline]
    pub(super) fn encode(&mut self, t: Timestamp) -> ([u8; MAX_TIME], usize) {
        if t >= Timestamp::GENERALIZED_FROM {
            let mut time = [tag::GENERALIZED_TIME, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            time[2..].copy_from_slice(&t.generalized());
            return (time, 17);
        }
        // Before 2050: 32 bits hold the seconds, and the days with them.
        let seconds = t.unix() as u32;
        let (day, second) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
        let remembered = &mut self.days[day as usize % REMEMBERED_DAYS];
        if remembered.0 != day {
            *remembered = (day, date_of(t));
        }
        let [y0, y1, m0, m1, d0, d1] = remembered.1;
        let [h0, h1] = TWO_DIGITS[(second / 3600) as usize];
        let [n0, n1] = TWO_DIGITS[(second / 60 % 60) as usize];
        let [s0, s1] = TWO_DIGITS[(second % 60) as usize];
        ([tag::UTC_TIME, 13, y0, y1, m0, m1, d0, d1, h0, h1, n0, n1, s0, s1, b'Z', 0, 0], 15)
    }
}

/// `YYMMDD` of a time before 2050.
#[cold]
fn date_of(t: Timestamp) -> [u8; 6] {
    let text = t.utc().unwrap_or(*b"000000000000Z");
    [text[0], text[1], text[2], text[3], text[4], text[5]]
}

/// The numbers to 59.
const TWO_DIGITS: [[u8; 2]; 60] = {
    let mut digits = [[b'0'; 2]; 60];
    let mut n = 0;
    while n < digits.len() {
        digits[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    digits
};

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
    use x509_cert::ext::pkix::crl::CrlDistributionPoints;
    use x509_cert::ext::pkix::crl::dp::DistributionPoint;
    use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason, IssuingDistributionPoint as OwnedPoint};

    use crate::pki::extension::Contents;

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
        /// Days that share a place in the memory, in any order.
        #[test]
        fn c1_remembered_dates_are_those_of_their_days(days in proptest::collection::vec((0u64..30, 0u64..2), 1..50), second in 0u64..86_400) {
            let mut times = Times::default();
            for (round, day) in days {
                let t = Timestamp::from_unix((round * REMEMBERED_DAYS as u64 + day) * 86_400 + second).unwrap();
                let (time, length) = times.encode(t);
                let mut expected = Vec::new();
                push_time(&mut expected, t);
                prop_assert_eq!(&time[..length], expected);
            }
        }

        #[test]
        fn c1_c2_c3_c4_c5_c6_the_oracle_reads_what_was_meant_and_writes_the_same(
            entries in prop_oneof![proptest::collection::vec(entry_strategy(), 0..20), proptest::collection::vec(entry_strategy(), 300..320)],
            times in (0..=Timestamp::MAX.unix(), 0..=Timestamp::MAX.unix()),
            number: u64,
            contents in proptest::option::of(proptest::sample::select(vec![Contents::All, Contents::UserCertificates, Contents::CaCertificates])),
            others: (Option<u64>, bool, bool),
            algorithm in 0usize..6,
            expected in 0u64..40,
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
                base: others.0,
                distribution_point: contents.map(|contents| IssuingDistributionPoint { uri: uri.clone(), contents }),
                freshest: others.1.then(|| uri.clone()),
                expired_since: others.2.then(|| Timestamp::from_unix(times.0).unwrap()),
            };
            let mut encoder = CrlEncoder::new(&header, expected);
            entries.iter().for_each(|e| encoder.push(e));
            prop_assert_eq!(encoder.count(), entries.len() as u64);
            let unsigned = encoder.finish().unwrap();
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
            prop_assert_eq!(point.is_some(), contents.is_some());
            let full_name = Some(DistributionPointName::FullName(vec![GeneralName::UniformResourceIdentifier(Ia5String::new(&uri).unwrap())]));
            if let (Some(point), Some(contents)) = (point, contents) {
                prop_assert!(point.critical);
                let owned = OwnedPoint::from_der(point.extn_value.as_bytes()).unwrap();
                prop_assert_eq!(owned.only_contains_user_certs, contents == Contents::UserCertificates);
                prop_assert_eq!(owned.only_contains_ca_certs, contents == Contents::CaCertificates);
                prop_assert_eq!(owned.distribution_point, full_name.clone());
            }

            let (base, freshest, expired) = (find("2.5.29.27"), find("2.5.29.46"), find("2.5.29.60"));
            prop_assert_eq!((base.is_some(), freshest.is_some(), expired.is_some()), (others.0.is_some(), others.1, others.2));
            prop_assert!(base.is_none_or(|e| e.critical) && freshest.is_none_or(|e| !e.critical) && expired.is_none_or(|e| !e.critical));
            prop_assert_eq!(base.map(|e| e.extn_value.as_bytes().to_vec()), others.0.map(|n| n.to_der().unwrap()));
            if let Some(freshest) = freshest {
                let points = CrlDistributionPoints::from_der(freshest.extn_value.as_bytes()).unwrap().0;
                prop_assert_eq!(points, vec![DistributionPoint { distribution_point: full_name, reasons: None, crl_issuer: None }]);
            }
            let since = expired.map(|e| Timestamp::from(GeneralizedTime::from_der(e.extn_value.as_bytes()).unwrap().to_date_time()));
            prop_assert_eq!(since, header.expired_since);
        }
    }
}
