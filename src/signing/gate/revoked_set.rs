//! What is to be on a CRL, in a few octets however many certificates are revoked: how many, and a fingerprint that every one of them is in.

use xxhash_rust::xxh3::xxh3_128;

use super::crl::Listed;
use crate::pki::crl::CrlEntry;
use crate::pki::{RevocationReason, Timestamp};

/// A set of revoked certificates. Two sets with the same number of members and the same fingerprint are the same, in whatever order they were noted.
///
/// The fingerprint is a sum of hashes: it finds mistakes. Nobody who wants to deceive it has access to what it compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevokedSet {
    /// How many certificates are in it.
    pub count: u64,
    fingerprint: u128,
}

impl RevokedSet {
    /// Adds a revoked certificate, as the registry says it.
    pub fn note(&mut self, CrlEntry { serial, revocation, invalidity_date }: &CrlEntry) {
        let (serial, reason) = (serial.as_der_content(), revocation.reason.map(RevocationReason::code));
        self.add(&Listed { serial, revoked_at: Some(revocation.at), reason, invalidity_date: *invalidity_date });
    }

    /// Adds what an entry of a CRL says.
    pub(super) fn add(&mut self, listed: &Listed<'_>) {
        let mut octets = [0; 64];
        let seconds = |t: Option<Timestamp>| t.map_or(u64::MAX, Timestamp::unix).to_le_bytes();
        let length = listed.serial.len().min(40);
        octets[..8].copy_from_slice(&seconds(listed.revoked_at));
        octets[8..16].copy_from_slice(&seconds(listed.invalidity_date));
        octets[16] = listed.reason.unwrap_or(0);
        octets[17..17 + length].copy_from_slice(&listed.serial[..length]);
        self.count += 1;
        self.fingerprint = self.fingerprint.wrapping_add(xxh3_128(&octets[..17 + length]));
    }

    /// Adds what another set has.
    pub(super) fn merge(&mut self, other: &RevokedSet) {
        self.count += other.count;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }

    /// Whether both have the same members.
    pub(super) fn same_members(&self, other: &RevokedSet) -> bool {
        self.fingerprint == other.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[(&[u8], u64, Option<u8>)]) -> RevokedSet {
        let mut set = RevokedSet::default();
        for (serial, at, reason) in entries {
            set.add(&Listed { serial, revoked_at: Timestamp::from_unix(*at), reason: *reason, invalidity_date: None });
        }
        set
    }

    #[test]
    fn c9_the_same_members_in_any_order_and_nothing_else() {
        let wanted = set(&[(b"\x01", 1, None), (b"\x02", 2, Some(4))]);
        assert_eq!(wanted, set(&[(b"\x02", 2, Some(4)), (b"\x01", 1, None)]));
        for other in [
            set(&[(b"\x01", 1, None)]),
            set(&[(b"\x01", 1, None), (b"\x02", 3, Some(4))]),
            set(&[(b"\x01", 1, None), (b"\x02", 2, None)]),
            set(&[(b"\x01", 1, None), (b"\x03", 2, Some(4))]),
            set(&[(b"\x01", 1, None), (b"\x01", 1, None)]),
        ] {
            assert!(!wanted.same_members(&other), "{other:?}");
        }
    }
}
