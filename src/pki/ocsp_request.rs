//! Reading OCSP requests: borrowed, bounded, in one pass, without recursion.

use super::der_encoding::tag;
use super::der_reading::{NotDer, Reader};
use super::ocsp_live::NONCE;
use super::{CertId, HashAlgorithm};

/// The greatest request that is read, in octets of DER: room for a signed request with its certificates.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A nonce of more octets is malformed (RFC 9654 2.1, rule O11).
pub const MAX_NONCE_BYTES: usize = 128;

/// What an OCSP request asks, borrowed from its DER. Signature and requestorName are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspRequest<'a> {
    /// The first certificate asked about.
    pub cert_id: CertId<'a>,
    /// How many certificates are asked about; at least 1.
    pub certificates: usize,
    /// The value of the nonce extension, 1 to [`MAX_NONCE_BYTES`] octets; `None` also for one in the form of RFC 2560, which cannot be echoed.
    pub nonce: Option<&'a [u8]>,
    /// Whether an extension that this program does not know is marked critical.
    pub unknown_critical_extension: bool,
    /// requestList, of which every part was read once.
    list: Reader<'a>,
}

/// Not an OCSP request: the answer is malformedRequest (RFC 6960 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an OCSP request")]
pub struct MalformedRequest;

impl From<NotDer> for MalformedRequest {
    fn from(_: NotDer) -> MalformedRequest {
        MalformedRequest
    }
}

/// Version v1 as it is encoded against the rule that defaults are left out.
const EXPLICIT_VERSION_1: &[u8] = &[tag::INTEGER, 1, 0];

impl<'a> OcspRequest<'a> {
    /// Reads a DER request of at most [`MAX_REQUEST_BYTES`].
    pub fn from_der(der: &'a [u8]) -> Result<OcspRequest<'a>, MalformedRequest> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(MalformedRequest);
        }
        let mut outer = Reader::new(der);
        let mut request = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let tbs_request = request.enter(tag::SEQUENCE)?;
        request.optional(tag::constructed(0))?;
        request.finish()?;
        Self::from_tbs(tbs_request)
    }

    fn from_tbs(mut tbs: Reader<'a>) -> Result<OcspRequest<'a>, MalformedRequest> {
        if tbs.optional(tag::constructed(0))?.is_some_and(|version| version != EXPLICIT_VERSION_1) {
            return Err(MalformedRequest);
        }
        tbs.optional(tag::constructed(1))?;
        let mut list = tbs.enter(tag::SEQUENCE)?;
        let whole = list;
        let mut extensions = Extensions::default();
        let cert_id = read_single(&mut list, &mut extensions)?;
        let mut certificates = 1;
        while !list.is_empty() {
            read_single(&mut list, &mut extensions)?;
            certificates += 1;
        }
        if let Some(content) = tbs.optional(tag::constructed(2))? {
            extensions.read(content, true)?;
        }
        tbs.finish()?;
        let Extensions { nonce, unknown_critical: unknown_critical_extension } = extensions;
        Ok(OcspRequest { cert_id, certificates, nonce: nonce.flatten(), unknown_critical_extension, list: whole })
    }

    /// Every CertID that is asked about, in order: its whole DER, and what it says.
    pub fn cert_ids(&self) -> impl Iterator<Item = (&'a [u8], CertId<'a>)> {
        let mut list = self.list;
        std::iter::from_fn(move || {
            let mut single = list.enter(tag::SEQUENCE).ok()?;
            let (whole, content) = single.whole(tag::SEQUENCE).ok()?;
            Some((whole, read_cert_id(content).ok()?))
        })
    }
}

fn read_single<'a>(list: &mut Reader<'a>, extensions: &mut Extensions<'a>) -> Result<CertId<'a>, MalformedRequest> {
    let mut single = list.enter(tag::SEQUENCE)?;
    let cert_id = read_cert_id(single.enter(tag::SEQUENCE)?)?;
    if let Some(content) = single.optional(tag::constructed(0))? {
        // A nonce belongs to the request as a whole; in a single request it is an extension like any other.
        extensions.read(content, false)?;
    }
    single.finish()?;
    Ok(cert_id)
}

fn read_cert_id(mut fields: Reader<'_>) -> Result<CertId<'_>, MalformedRequest> {
    let mut algorithm = fields.enter(tag::SEQUENCE)?;
    let oid = algorithm.expect(tag::OID)?;
    if !algorithm.is_empty() {
        // Parameters: NULL or absent, and it does not matter which.
        algorithm.any()?;
    }
    algorithm.finish()?;
    let cert_id = CertId {
        hash_algorithm: HashAlgorithm::from_oid(oid),
        issuer_name_hash: fields.expect(tag::OCTET_STRING)?,
        issuer_key_hash: fields.expect(tag::OCTET_STRING)?,
        serial: fields.expect(tag::INTEGER)?,
    };
    fields.finish()?;
    if cert_id.serial.is_empty() { Err(MalformedRequest) } else { Ok(cert_id) }
}

#[derive(Default)]
struct Extensions<'a> {
    /// The nonce of the request, and its value where it has the form that is echoed.
    nonce: Option<Option<&'a [u8]>>,
    unknown_critical: bool,
}

impl<'a> Extensions<'a> {
    /// Reads `SEQUENCE OF Extension`, the content of an EXPLICIT tag.
    fn read(&mut self, content: &'a [u8], of_the_request: bool) -> Result<(), MalformedRequest> {
        let mut explicit = Reader::new(content);
        let mut list = explicit.enter(tag::SEQUENCE)?;
        explicit.finish()?;
        while !list.is_empty() {
            let mut extension = list.enter(tag::SEQUENCE)?;
            let oid = extension.expect(tag::OID)?;
            let critical = match extension.optional(tag::BOOLEAN)? {
                None | Some([0x00]) => false,
                Some([0xff]) => true,
                Some(_) => return Err(MalformedRequest),
            };
            let value = extension.expect(tag::OCTET_STRING)?;
            extension.finish()?;
            if of_the_request && oid == NONCE { self.read_nonce(value)? } else { self.unknown_critical |= critical }
        }
        Ok(())
    }

    fn read_nonce(&mut self, value: &'a [u8]) -> Result<(), MalformedRequest> {
        let wrapped = unwrap_nonce(value);
        let length = wrapped.unwrap_or(value).len();
        if length == 0 || length > MAX_NONCE_BYTES || self.nonce.is_some() {
            return Err(MalformedRequest);
        }
        self.nonce = Some(wrapped);
        Ok(())
    }
}

/// The nonce within its OCTET STRING (RFC 8954 2.1). RFC 2560 did not say that there is one, and clients that go by it send the bare octets.
fn unwrap_nonce(value: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(value);
    let nonce = reader.expect(tag::OCTET_STRING).ok()?;
    reader.finish().ok()?;
    Some(nonce)
}

/// A request for one certificate, as a client without options makes it. For tests, tools and the command line's examples.
pub fn encode_request(hashes: &super::IssuerHashes, serial: &super::Serial) -> Vec<u8> {
    use super::der_encoding::constructed;
    let single = constructed(tag::SEQUENCE, &[&hashes.cert_id(serial.as_der_content())]);
    let list = constructed(tag::SEQUENCE, &[&single]);
    constructed(tag::SEQUENCE, &[&constructed(tag::SEQUENCE, &[&list])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{IssuerHashes, Serial};
    use const_oid::ObjectIdentifier;
    use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
    use der::Decode;
    use der::Encode;
    use der::asn1::OctetString;
    use proptest::prelude::*;
    use x509_cert::ext::Extension as OwnedExtension;
    use x509_ocsp::{Request, TbsRequest as OwnedTbsRequest};

    fn hashes(algorithm: HashAlgorithm) -> IssuerHashes {
        let length = algorithm.output_length();
        IssuerHashes { algorithm, name_hash: vec![0xaa; length], key_hash: vec![0xbb; length] }
    }

    fn owned(algorithm: HashAlgorithm, serial: &Serial, extensions: Vec<OwnedExtension>) -> x509_ocsp::OcspRequest {
        let der = encode_request(&hashes(algorithm), serial);
        let mut request = x509_ocsp::OcspRequest::from_der(&der).unwrap();
        request.tbs_request.request_extensions = (!extensions.is_empty()).then_some(extensions);
        request
    }

    fn nonce_extension(nonce: &[u8]) -> OwnedExtension {
        let inner = OctetString::new(nonce).unwrap().to_der().unwrap();
        OwnedExtension { extn_id: ID_PKIX_OCSP_NONCE, critical: false, extn_value: OctetString::new(inner).unwrap() }
    }

    fn serial_strategy() -> impl Strategy<Value = Serial> {
        proptest::collection::vec(any::<u8>(), 0..=20).prop_filter_map("a serial", |m| Serial::from_magnitude(&m).ok())
    }

    #[test]
    fn o11_nonce_of_no_octets_or_more_than_128_is_malformed() {
        let serial: Serial = "01".parse().unwrap();
        for (length, accepted) in [(0, false), (1, true), (16, true), (32, true), (128, true), (129, false), (4000, false)] {
            let nonce = vec![7; length];
            let der = owned(HashAlgorithm::Sha1, &serial, vec![nonce_extension(&nonce)]).to_der().unwrap();
            let read = OcspRequest::from_der(&der);
            assert_eq!(read.is_ok(), accepted, "a nonce of {length} octets");
            assert!(read.map_or(true, |r| r.nonce == Some(&nonce[..])));
        }
    }

    #[test]
    fn o11_a_nonce_without_its_octet_string_is_read_and_not_echoed() {
        let bare =
            |value: &[u8]| OwnedExtension { extn_id: ID_PKIX_OCSP_NONCE, critical: false, extn_value: OctetString::new(value).unwrap() };
        let read = |extensions| owned(HashAlgorithm::Sha1, &"01".parse().unwrap(), extensions).to_der().unwrap();
        for (length, accepted) in [(0, false), (1, true), (16, true), (32, true), (128, true), (129, false)] {
            let der = read(vec![bare(&vec![7; length])]);
            let expected = if accepted { Ok(None) } else { Err(MalformedRequest) };
            assert_eq!(OcspRequest::from_der(&der).map(|request| request.nonce), expected, "a bare nonce of {length} octets");
        }
        // Octets of chance that begin as an OCTET STRING, and are none to the end.
        assert!(OcspRequest::from_der(&read(vec![bare(&[4, 2, 7, 7, 7])])).is_ok_and(|request| request.nonce.is_none()));
        for second in [bare(&[7; 16]), nonce_extension(&[7; 16])] {
            assert_eq!(OcspRequest::from_der(&read(vec![bare(&[8; 16]), second])), Err(MalformedRequest));
        }
    }

    #[test]
    fn o8_unknown_extensions_are_ignored_unless_critical() {
        let serial: Serial = "01".parse().unwrap();
        for critical in [false, true] {
            let unknown = OwnedExtension {
                extn_id: ObjectIdentifier::new_unwrap("1.2.3.4"),
                critical,
                extn_value: OctetString::new([5, 0]).unwrap(),
            };
            let der = owned(HashAlgorithm::Sha1, &serial, vec![unknown]).to_der().unwrap();
            assert_eq!(OcspRequest::from_der(&der).unwrap().unknown_critical_extension, critical);
        }
    }

    #[test]
    fn several_certificates_are_counted() {
        let mut request = owned(HashAlgorithm::Sha1, &"01".parse().unwrap(), vec![]);
        let another: Request = owned(HashAlgorithm::Sha256, &"02".parse().unwrap(), vec![]).tbs_request.request_list.remove(0);
        request.tbs_request.request_list.push(another);
        let der = request.to_der().unwrap();
        let read = OcspRequest::from_der(&der).unwrap();
        assert_eq!(read.certificates, 2);
        let owned: Vec<_> = request.tbs_request.request_list.iter().map(|r| r.req_cert.to_der().unwrap()).collect();
        assert_eq!(read.cert_ids().map(|(whole, _)| whole).collect::<Vec<_>>(), owned);
        let hashes: Vec<_> = read.cert_ids().map(|(_, cert_id)| cert_id.hash_algorithm).collect();
        assert_eq!(hashes, [Some(HashAlgorithm::Sha1), Some(HashAlgorithm::Sha256)]);
        request.tbs_request.request_list.clear();
        assert_eq!(OcspRequest::from_der(&request.to_der().unwrap()), Err(MalformedRequest));
    }

    #[test]
    fn another_version_is_malformed() {
        let tbs = OwnedTbsRequest {
            request_list: owned(HashAlgorithm::Sha1, &"01".parse().unwrap(), vec![]).tbs_request.request_list,
            ..Default::default()
        };
        let mut version_2 = vec![0xa0, 3, 2, 1, 1];
        let tbs_der = tbs.to_der().unwrap();
        version_2.extend_from_slice(&tbs_der[2..]);
        let inner = crate::pki::der_encoding::tlv(0x30, &version_2);
        assert_eq!(OcspRequest::from_der(&crate::pki::der_encoding::tlv(0x30, &inner)), Err(MalformedRequest));
    }

    proptest! {
        #[test]
        fn o2_what_the_oracle_encodes_is_read(serial in serial_strategy(), index in 0usize..4, nonce in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=128))) {
            let algorithm = HashAlgorithm::ALL[index];
            let extensions = nonce.iter().map(|n| nonce_extension(n)).collect();
            let der = owned(algorithm, &serial, extensions).to_der().unwrap();
            let read = OcspRequest::from_der(&der).unwrap();
            let expected = hashes(algorithm);
            prop_assert_eq!(read.cert_id.hash_algorithm, Some(algorithm));
            prop_assert_eq!(read.cert_id.issuer_name_hash, &expected.name_hash[..]);
            prop_assert_eq!(read.cert_id.issuer_key_hash, &expected.key_hash[..]);
            prop_assert_eq!(read.cert_id.serial, serial.as_der_content());
            prop_assert_eq!(read.nonce, nonce.as_deref());
            prop_assert_eq!(read.certificates, 1);
            prop_assert_eq!(read.cert_ids().map(|(_, cert_id)| cert_id).collect::<Vec<_>>(), [read.cert_id]);
        }

        #[test]
        fn a_damaged_request_is_read_as_the_oracle_reads_it_or_refused(at in 0usize..70, bit in 0u8..8, cut in 0usize..70) {
            let mut der = encode_request(&hashes(HashAlgorithm::Sha1), &"0123456789abcdef".parse().unwrap());
            let at = at % der.len();
            der[at] ^= 1 << bit;
            let der = &der[..der.len() - cut.saturating_sub(60)];
            if let (Ok(ours), Ok(theirs)) = (OcspRequest::from_der(der), x509_ocsp::OcspRequest::from_der(der)) {
                prop_assert_eq!(ours.cert_id.serial, theirs.tbs_request.request_list[0].req_cert.serial_number.as_bytes());
            }
        }
    }
}
