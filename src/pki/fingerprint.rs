//! SHA-256 of something, as a name for it: orders, files, public keys.

use std::fmt;
use std::str::FromStr;

/// A SHA-256 hash. Its text form is 64 lower-case hexadecimal digits, as `sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not a SHA-256 hash: wanted 64 hexadecimal digits")]
pub struct FingerprintError {
    found: String,
}

impl Fingerprint {
    /// That of some octets.
    pub fn of(octets: &[u8]) -> Fingerprint {
        Fingerprint::of_parts(&[octets])
    }

    /// That of the concatenation of some parts.
    pub fn of_parts(parts: &[&[u8]]) -> Fingerprint {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        Fingerprint::from_octets(context.finish().as_ref()).unwrap_or(Fingerprint([0; 32]))
    }

    /// From the hash itself; `None` where it is not 32 octets long.
    pub fn from_octets(octets: &[u8]) -> Option<Fingerprint> {
        octets.try_into().ok().map(Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let digits: Option<Vec<u8>> = text.bytes().map(|b| char::from(b).to_digit(16).map(|d| d as u8)).collect();
        let octets = digits.filter(|digits| digits.len() == 64).map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
        let found = || FingerprintError { found: text.chars().take(80).collect() };
        octets.and_then(|octets: Vec<u8>| Fingerprint::from_octets(&octets)).ok_or_else(found)
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_sha256sum_prints_and_reads_back() {
        let of_abc = Fingerprint::of(b"abc");
        assert_eq!(of_abc.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of_abc.to_string().to_uppercase().parse(), Ok(of_abc));
        assert_eq!(Fingerprint::of_parts(&[b"a", b"", b"bc"]), of_abc);
        for wrong in ["", "ba", &"g".repeat(64), &"a".repeat(65)] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
