//! Packs of every kind, for the issuer to which all packs of the fuzz target belong.

use kakunin::pack::{Entry, MAX_SIGNINGS, PackBuilder, Signing};
use kakunin::pki::{CertificateStatus, HashAlgorithm, Revocation, RevocationReason, Serial, SlotHash, SlotRange};

use crate::Seed;
use crate::checks::pack::place;
use crate::checks::world::{THIS_UPDATE, time};

struct Kind {
    slot: SlotRange,
    certificates: u32,
    signature_length: usize,
    signings: u32,
    /// The octets of serials vary between 1 and this.
    longest_serial: usize,
    same_length: bool,
    /// Every so many certificates are revoked; 0 for none.
    revoked_every: u32,
}

const USUAL: Kind = Kind {
    slot: SlotRange::ALL,
    certificates: 12,
    signature_length: 64,
    signings: 2,
    longest_serial: 16,
    same_length: true,
    revoked_every: 3,
};

impl Kind {
    fn serial(&self, number: u32) -> Serial {
        let random = HashAlgorithm::Sha512.hash(&number.to_be_bytes());
        let octets = random.as_ref();
        let length = if self.same_length { self.longest_serial } else { 1 + usize::from(octets[63]) % self.longest_serial };
        let mut magnitude = octets[..length].to_vec();
        magnitude[0] = magnitude[0] & 0x7f | 1;
        Serial::from_magnitude(&magnitude).unwrap()
    }

    fn encoded(&self) -> Vec<u8> {
        let slot = self.slot;
        let mut builder = PackBuilder::new(place(slot), 7, time(THIS_UPDATE + 3600));
        let mut serials: Vec<Serial> = (0..)
            .map(|number| self.serial(number))
            .filter(|s| SlotHash::from(s).slot(slot.bits) == slot.slot)
            .take(self.certificates as usize)
            .collect();
        serials.sort_unstable();
        serials.dedup();
        for (number, serial) in (0u32..).zip(&serials) {
            let signed_at = THIS_UPDATE + u64::from(number % self.signings);
            let refresh_at = time(signed_at + 3600);
            let signing = Signing {
                this_update: time(signed_at),
                next_update: time(signed_at + 7200),
                signer: number % self.signings % 2,
                refresh_at,
            };
            let reason = RevocationReason::ALL.get(number as usize / 3 % 8).copied();
            let revoked = self.revoked_every > 0 && number.is_multiple_of(self.revoked_every);
            let revocation = Revocation { at: time(THIS_UPDATE - u64::from(number)), reason };
            let status = if revoked { CertificateStatus::Revoked(revocation) } else { CertificateStatus::Good };
            let raw_signature = vec![number as u8 | 1; self.signature_length];
            builder.push(&Entry { serial: serial.as_der_content(), status, signing, raw_signature: &raw_signature });
        }
        builder.build().unwrap()
    }
}

/// With the serial number 01, and 0100 too: one is the beginning of the other.
fn one_serial_begins_another() -> Vec<u8> {
    let mut builder = PackBuilder::new(place(SlotRange::ALL), 7, time(THIS_UPDATE + 3600));
    let signing =
        Signing { this_update: time(THIS_UPDATE), next_update: time(THIS_UPDATE + 7200), signer: 0, refresh_at: time(THIS_UPDATE + 3600) };
    for serial in [&[1][..], &[1, 0]] {
        builder.push(&Entry { serial, status: CertificateStatus::Good, signing, raw_signature: &[1; 8] });
    }
    builder.build().unwrap()
}

/// For the reader.
pub(crate) fn of_every_kind() -> Vec<Seed> {
    let p256 = USUAL.encoded();
    let mut damaged = p256.clone();
    damaged[200] ^= 4;
    let slot = |bits, slot| SlotRange { bits, slot };
    let kinds = [
        ("p256", USUAL),
        ("rsa-2048", Kind { signature_length: 256, ..USUAL }),
        ("rsa-4096", Kind { signature_length: 512, certificates: 2, ..USUAL }),
        ("empty", Kind { certificates: 0, ..USUAL }),
        ("one", Kind { certificates: 1, ..USUAL }),
        ("all-revoked", Kind { revoked_every: 1, certificates: 25, signature_length: 8, ..USUAL }),
        ("serials-of-every-length", Kind { same_length: false, longest_serial: 20, certificates: 40, signature_length: 8, ..USUAL }),
        ("slot", Kind { slot: slot(3, 5), ..USUAL }),
        ("slot-serials-of-every-length", Kind { slot: slot(5, 9), same_length: false, longest_serial: 20, signature_length: 8, ..USUAL }),
        ("finest-slot", Kind { slot: slot(SlotRange::MAX_BITS, (1 << SlotRange::MAX_BITS) - 1), certificates: 0, ..USUAL }),
        ("most-signings", Kind { signings: MAX_SIGNINGS as u32, certificates: MAX_SIGNINGS as u32, signature_length: 8, ..USUAL }),
        ("large", Kind { certificates: 200, signature_length: 8, ..USUAL }),
    ];
    let made = kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind.encoded()));
    let others = [
        ("one-serial-begins-another", one_serial_begins_another()),
        ("damaged", damaged),
        ("cut", p256[..p256.len() / 2].to_vec()),
        ("header", p256[..64].to_vec()),
    ];
    made.chain(others.into_iter().map(|(name, seed)| (name.to_owned(), seed))).collect()
}
