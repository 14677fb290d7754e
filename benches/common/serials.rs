//! Serial numbers that are spread like those of a CA, and the same in every run.

use kakunin::pki::Serial;

/// A well-mixed number (splitmix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The serial of a certificate: 16 octets, as the issuing core makes them.
pub(crate) fn serial(number: u64) -> Serial {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&(mixed(2 * number) >> 1 | 1 << 62).to_be_bytes());
    octets[8..].copy_from_slice(&mixed(2 * number + 1).to_be_bytes());
    Serial::from_der_content(&octets).expect("sixteen octets that begin with 0x40 to 0x7f are a serial")
}
