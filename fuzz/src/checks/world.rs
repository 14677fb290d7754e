//! A small world to ask about: three issuers, a slot that is not loaded, two signings, and what the answer about every certificate is.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use der::{Decode, Encode};
use kakunin::pack::{Entry, Pack, PackBuilder, Signing};
use kakunin::pki::ocsp_response::{ResponseTemplate, SingleResponse};
use kakunin::pki::{
    CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, Revocation, RevocationReason, Serial, SignatureAlgorithm, SlotHash,
    SlotRange, Timestamp,
};
use kakunin::registry::{CrlHead, CrlRecord, CrlScope, IssuerId, SignerId, crl_path};
use kakunin::responder::Content;
use kakunin::responder::documents::{Document, certificate_path};
use kakunin::responder::ocsp::{Definitive, TAG_BYTES};
use kakunin::responder::status_map::{IssuerStatus, SlotTable, Templates};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

/// When the older signing was made; the newer one half an hour later.
pub const THIS_UPDATE: u64 = 1_800_000_000;
/// When the newer signing ends; the older one an hour later.
const NEXT_UPDATE: u64 = THIS_UPDATE + 7200;
/// Times at which something changes, the instants before, and one between.
pub const TIMES: [u64; 8] = [
    THIS_UPDATE - 1,
    THIS_UPDATE,
    THIS_UPDATE + 1799,
    THIS_UPDATE + 3600,
    NEXT_UPDATE - 1,
    NEXT_UPDATE,
    NEXT_UPDATE + 3599,
    NEXT_UPDATE + 3600,
];
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/responder.der");

/// An issuer of the world.
pub struct WorldIssuer {
    /// Its name in URLs.
    pub name: &'static str,
    /// What stands for its subject and its key.
    subject: &'static str,
    algorithm: SignatureAlgorithm,
    signature_length: usize,
    /// Whether its responses carry a responder's certificate.
    delegated: bool,
    bits: u8,
    /// The slot whose packs are not in memory.
    missing_slot: Option<u32>,
    /// Under which CertID hashes it is served.
    pub hashes: &'static [HashAlgorithm],
    numbers: std::ops::Range<u32>,
}

/// In the order in which the map asks them.
pub const ISSUERS: [WorldIssuer; 3] = [
    WorldIssuer {
        name: "alpha",
        subject: "alpha",
        algorithm: SignatureAlgorithm::EcdsaSha256,
        signature_length: 64,
        delegated: true,
        bits: 3,
        missing_slot: Some(6),
        hashes: &[HashAlgorithm::Sha1, HashAlgorithm::Sha256],
        numbers: 0..60,
    },
    // A renewed CA certificate: the same subject and key.
    WorldIssuer {
        name: "renewed",
        subject: "alpha",
        algorithm: SignatureAlgorithm::EcdsaSha256,
        signature_length: 64,
        delegated: false,
        bits: 0,
        missing_slot: None,
        hashes: &[HashAlgorithm::Sha1],
        numbers: 60..70,
    },
    // Its name begins like a request in base64.
    WorldIssuer {
        name: "MyCA",
        subject: "beta",
        algorithm: SignatureAlgorithm::RsaSha256,
        signature_length: 256,
        delegated: false,
        bits: 1,
        missing_slot: None,
        hashes: &[HashAlgorithm::Sha256, HashAlgorithm::Sha384],
        numbers: 0..20,
    },
];

/// What is served, and what is known of it.
pub struct World {
    /// What the responder answers from.
    pub content: Arc<Content>,
    /// The answer about each certificate in memory, by issuer, CertID hash and serial.
    pub answers: Answers,
}

/// A signed response, and what is known of it.
#[derive(Debug)]
pub struct Signed {
    /// What caches are told.
    pub definitive: Definitive,
    /// All its octets.
    pub body: Vec<u8>,
}

type Answers = BTreeMap<(&'static str, HashAlgorithm, Serial), Signed>;

/// The only one.
pub static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A point in time.
pub fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).expect("a time before the year 10000")
}

impl WorldIssuer {
    /// The hashes that name it.
    pub fn names(&self, algorithm: HashAlgorithm) -> IssuerHashes {
        let hash = |what: &str| algorithm.hash(format!("{what} of {}", self.subject).as_bytes()).as_ref().to_vec();
        IssuerHashes { algorithm, name_hash: hash("the name"), key_hash: hash("the key") }
    }

    /// The serials of its certificates: of sixteen octets where it signs with ECDSA, short ones otherwise.
    pub fn serials(&self) -> impl Iterator<Item = Serial> {
        self.numbers.clone().map(|number| {
            let long = HashAlgorithm::Sha256.hash(&number.to_be_bytes());
            let magnitude = if self.algorithm.is_ecdsa() { long.as_ref()[..16].to_vec() } else { (number * 17).to_be_bytes().to_vec() };
            Serial::from_magnitude(&magnitude).expect("at most 17 octets")
        })
    }

    /// Whether the pack that would know of a serial is in memory.
    pub fn is_loaded(&self, serial: &[u8]) -> bool {
        Some(SlotHash::of_content(serial).slot(self.bits)) != self.missing_slot
    }

    fn status(&self, position: usize, algorithm: HashAlgorithm, answers: &mut Answers) -> IssuerStatus {
        let status = IssuerStatus::new(IssuerId(position as i64), self.name, self.names(algorithm));
        let certificate = self.delegated.then_some(CERTIFICATE);
        let template = ResponseTemplate::new(status.hashes(), &[9; 20], self.algorithm, certificate, None);
        let table = SlotTable::empty(self.bits);
        for slot in (0..1 << self.bits).filter(|slot| Some(*slot) != self.missing_slot) {
            let range = SlotRange { bits: self.bits, slot };
            let mut builder = PackBuilder::new(status.place(range), 1, time(THIS_UPDATE + 3600));
            for serial in self.serials().filter(|serial| SlotHash::from(serial).slot(self.bits) == slot) {
                let raw_signature = self.signature(serial);
                let entry = Entry { raw_signature: &raw_signature, ..entry(&serial) };
                builder.push(&entry);
                answers.insert((self.name, algorithm, serial), answer(&entry, &template, status.hashes()));
            }
            let blob = builder.build().expect("a pack");
            table.insert(Arc::new(Pack::from_blob(blob, status.place(range)).expect("a pack that was just built")));
        }
        status.replace_templates(Templates::new(vec![(SignerId(0), template)]));
        status.replace_table(table);
        status
    }

    /// Octets that stand for a signature, different for each serial; as an ECDSA signature both halves are of full length.
    fn signature(&self, serial: Serial) -> Vec<u8> {
        let digest = HashAlgorithm::Sha512.hash(serial.as_der_content());
        let octets = digest.as_ref().iter().cycle().take(self.signature_length);
        octets.enumerate().map(|(at, octet)| if at % 32 == 0 { octet & 0x7f | 0x40 } else { *octet }).collect()
    }
}

/// Every fifth certificate is revoked, every third has the newer signing.
fn entry(serial: &Serial) -> Entry<'_> {
    let chance = SlotHash::from(serial).0;
    let reason = RevocationReason::ALL.get(chance as usize % 8).copied();
    let revocation = Revocation { at: time(THIS_UPDATE - 86_400), reason };
    let signing = match chance % 3 {
        0 => {
            Signing { this_update: time(THIS_UPDATE + 1800), next_update: time(NEXT_UPDATE), signer: 0, refresh_at: time(NEXT_UPDATE - 1) }
        }
        _ => Signing { this_update: time(THIS_UPDATE), next_update: time(NEXT_UPDATE + 3600), signer: 0, refresh_at: time(NEXT_UPDATE) },
    };
    let status = if chance.is_multiple_of(5) { CertificateStatus::Revoked(revocation) } else { CertificateStatus::Good };
    Entry { serial: serial.as_der_content(), status, signing, raw_signature: &[] }
}

/// What is to be answered, seen to be right by another decoder.
fn answer(entry: &Entry<'_>, template: &ResponseTemplate, issuer: &IssuerHashes) -> Signed {
    let Signing { this_update, next_update, refresh_at, .. } = entry.signing;
    let single = SingleResponse { serial: entry.serial, status: entry.status, this_update, next_update };
    let body = template.response(&single, entry.raw_signature);
    let revoked = entry.status != CertificateStatus::Good;

    let response = OcspResponse::from_der(&body).expect("an OCSP response").response_bytes.expect("a signed one");
    let basic = BasicOcspResponse::from_der(response.response.as_bytes()).expect("a basic one");
    let [said] = &basic.tbs_response_data.responses[..] else { panic!("one response for one certificate") };
    assert_eq!(said.cert_id.to_der().expect("a CertID"), issuer.cert_id(entry.serial));
    assert_eq!(matches!(said.cert_status, CertStatus::Revoked(_)), revoked);
    let times = [Some(said.this_update), said.next_update, Some(basic.tbs_response_data.produced_at)];
    let seconds = times.map(|time| time.map(|time| time.0.to_unix_duration().as_secs()));
    assert_eq!(seconds, [this_update, next_update, this_update].map(|time| Some(time.unix())));
    let tag = *entry.raw_signature.first_chunk::<TAG_BYTES>().expect("a signature");
    Signed { definitive: Definitive { this_update, next_update, refresh_at, tag, revoked }, body }
}

impl World {
    fn new() -> World {
        let (content, mut answers) = (Content::new(), Answers::new());
        for (position, issuer) in ISSUERS.iter().enumerate() {
            let status = |algorithm: &HashAlgorithm| Arc::new(issuer.status(position, *algorithm, &mut answers));
            let statuses: Vec<_> = issuer.hashes.iter().map(status).collect();
            content.status.replace_issuer(IssuerId(position as i64), &statuses);
        }
        let certificate = CertificateInfo::from_der(CERTIFICATE).expect("a certificate");
        let mut documents = vec![(certificate_path("alpha"), Document::ca_certificate(&certificate))];
        for scope in [CrlScope::Full, CrlScope::Partition(0), CrlScope::Partition(7)] {
            let head = CrlHead {
                scope,
                number: 3,
                this_update: time(THIS_UPDATE),
                next_update: time(NEXT_UPDATE),
                refresh_at: time(THIS_UPDATE + 3600),
                entries: 0,
                scheduled: true,
                reflects: 0,
                distribution_point: None,
                has_delta: false,
                base: None,
            };
            let crl = CrlRecord { head, der: format!("The CRL for {scope:?}").into() };
            documents.push((crl_path("alpha", scope), Document::crl(IssuerId(0), crl)));
        }
        content.documents.publish(documents);
        World { content: Arc::new(content), answers }
    }
}
