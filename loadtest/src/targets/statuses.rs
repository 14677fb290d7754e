//! What the list of certificates says of them, by serial: what CRLs are held against. Reads no clock.

use std::time::SystemTime;

use super::serials::Listed;

/// The certificates whose status the list tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// The magnitudes of the serials of good ones, in order.
    good: Vec<Vec<u8>>,
    /// Those of revoked ones, with the end of their validity.
    revoked: Vec<(Vec<u8>, Option<SystemTime>)>,
}

impl Statuses {
    /// Takes them from the list.
    pub fn of(listed: &[Listed]) -> Statuses {
        let with = |status| listed.iter().filter(move |certificate| certificate.revoked == Some(status));
        let mut good: Vec<Vec<u8>> = with(false).map(|certificate| certificate.serial.clone()).collect();
        good.sort_unstable();
        Statuses { good, revoked: with(true).map(|certificate| (certificate.serial.clone(), certificate.not_after)).collect() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.good.is_empty() && self.revoked.is_empty()
    }

    /// Whether the list says that the certificate with that serial is good.
    pub fn is_good(&self, serial: &[u8]) -> bool {
        self.good.binary_search_by(|known| known.as_slice().cmp(serial)).is_ok()
    }

    /// The serials of those that are revoked and have not expired: an expired one may have left the CRL (RFC 5280 3.3).
    pub fn revoked_at(&self, now: SystemTime) -> impl Iterator<Item = &[u8]> {
        self.revoked.iter().filter(move |(_, end)| end.is_none_or(|end| end > now)).map(|(serial, _)| serial.as_slice())
    }
}
