//! Certificates by number, with synthetic signatures: a million of them come out the same whenever they are asked for, and nothing keeps them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kakunin::pack::{Entry, Pack, PackBuilder, Signing};
use kakunin::pki::ocsp_request::encode_request;
use kakunin::pki::ocsp_response::{ResponseTemplate, SingleResponse};
use kakunin::pki::{
    CertificateInfo, CertificateStatus, HashAlgorithm, IssuerHashes, Revocation, RevocationReason, Serial, SignatureAlgorithm, SlotHash,
    SlotRange, Timestamp,
};
use kakunin::registry::{IssuerId, SignerId};
use kakunin::responder::StatusMap;
use kakunin::responder::status_map::{IssuerStatus, SlotTable, Templates};

use super::serials::mixed;
pub(crate) use super::serials::serial;

/// How many certificates the maps hold.
pub(crate) const CERTIFICATES: u64 = 1_000_000;
const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/responder.der");
/// One of so many is revoked.
const REVOKED: u64 = 50;

pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds).expect("a time before the year 10000")
}

/// When everything happens.
pub(crate) fn now() -> Timestamp {
    time(1_800_000_000)
}

/// What is asked for next: certificates all over the map, in no order.
pub(crate) struct Walk(u64);

impl Walk {
    pub(crate) fn new(start: u64) -> Walk {
        Walk(start)
    }

    /// The number of a certificate that is in the maps.
    pub(crate) fn hit(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mixed(self.0) % CERTIFICATES
    }

    /// The number of one that is not.
    pub(crate) fn miss(&mut self) -> u64 {
        CERTIFICATES + self.hit()
    }
}

pub(crate) fn hashes() -> IssuerHashes {
    let certificate = CertificateInfo::from_der(CERTIFICATE).expect("the test data has a certificate");
    IssuerHashes::of(&certificate, HashAlgorithm::Sha1)
}

pub(crate) fn request(number: u64) -> Vec<u8> {
    encode_request(&hashes(), &serial(number))
}

/// A template as of a delegated responder, whose certificate goes with every response.
pub(crate) fn template() -> ResponseTemplate {
    ResponseTemplate::new(&hashes(), &[9; 20], SignatureAlgorithm::EcdsaSha256, Some(CERTIFICATE), None)
}

fn signing() -> Signing {
    let now = now().unix();
    Signing { this_update: time(now - 3600), next_update: time(now + 7 * 86_400), signer: 0, refresh_at: time(now + 86_400) }
}

pub(crate) fn status(number: u64) -> CertificateStatus {
    match number % REVOKED {
        0 => CertificateStatus::Revoked(Revocation { at: time(1_700_000_000), reason: Some(RevocationReason::KeyCompromise) }),
        _ => CertificateStatus::Good,
    }
}

pub(crate) fn signature(number: u64) -> [u8; 64] {
    let mut octets = [0; 64];
    for (place, chunk) in octets.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&mixed(number ^ (place as u64 + 1) << 56).to_le_bytes());
    }
    octets
}

/// The whole response about a certificate.
pub(crate) fn response(template: &ResponseTemplate, number: u64) -> Vec<u8> {
    let (serial, signing) = (serial(number), signing());
    let single = SingleResponse {
        serial: serial.as_der_content(),
        status: status(number),
        this_update: signing.this_update,
        next_update: signing.next_update,
    };
    template.response(&single, &signature(number))
}

/// A pack of `numbers`.
pub(crate) fn pack(status: &IssuerStatus, slot: SlotRange, numbers: &[u64]) -> Arc<Pack> {
    let refresh_at = signing().this_update.saturating_add(Duration::from_secs(84 * 3600));
    let mut builder = PackBuilder::new(status.place(slot), 1, refresh_at);
    for number in numbers {
        let (serial, signature) = (serial(*number), signature(*number));
        let entry = Entry { serial: serial.as_der_content(), status: self::status(*number), signing: signing(), raw_signature: &signature };
        builder.push(&entry);
    }
    let blob = builder.build().expect("a slot's certificates fit into a pack");
    Arc::new(Pack::from_blob(blob, status.place(slot)).expect("a pack that was just built"))
}

/// The numbers of the certificates in each slot.
pub(crate) fn numbers_by_slot() -> (u8, Vec<Vec<u64>>) {
    let bits = SlotRange::bits_for(CERTIFICATES);
    let mut slots = vec![Vec::new(); 1 << bits];
    (0..CERTIFICATES).for_each(|number| slots[SlotHash::from(&serial(number)).slot(bits) as usize].push(number));
    (bits, slots)
}

/// The packs of all certificates, in a status map.
pub(crate) fn status_map() -> StatusMap {
    let status = IssuerStatus::new(IssuerId(1), "bench", hashes());
    status.replace_templates(Templates::new(vec![(SignerId(0), template())]));
    let (bits, slots) = numbers_by_slot();
    let table = SlotTable::empty(bits);
    for (slot, numbers) in slots.iter().enumerate() {
        table.insert(pack(&status, SlotRange { bits, slot: slot as u32 }, numbers));
    }
    status.replace_table(table);
    let map = StatusMap::new();
    map.replace_issuer(IssuerId(1), &[Arc::new(status)]);
    map
}

/// Every certificate with its whole response.
pub(crate) fn responses() -> impl Iterator<Item = (Serial, Bytes)> {
    let template = template();
    (0..CERTIFICATES).map(move |number| (serial(number), Bytes::from(response(&template, number))))
}
