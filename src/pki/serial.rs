//! Certificate serial numbers.

use std::fmt;
use std::str::FromStr;

/// A certificate serial number: the content octets of its DER INTEGER, 1 to 20 of them (RFC 5280 4.1.2.2), not negative.
///
/// Stored inline and compared as bytes. The text form is lower-case hexadecimal of the magnitude, two digits an octet, as `openssl x509 -serial` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    length: u8,
    octets: [u8; Serial::MAX_LENGTH],
}

/// Not a serial number that a certificate can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Outside 1 to 20 content octets.
    #[error("a serial number of {0} octets: wanted 1 to 20 (RFC 5280 4.1.2.2)")]
    Length(usize),
    /// The first octet has its high bit set.
    #[error("a negative serial number (RFC 5280 4.1.2.2)")]
    Negative,
    /// A leading zero octet that DER does not allow.
    #[error("a serial number with a superfluous leading zero octet")]
    NotMinimal,
    /// Not hexadecimal.
    #[error("'{0}' is not a serial number: wanted hexadecimal digits")]
    NotHex(String),
}

impl Serial {
    /// The greatest number of content octets.
    pub const MAX_LENGTH: usize = 20;

    /// From the content octets of a DER INTEGER.
    pub fn from_der_content(content: &[u8]) -> Result<Serial, SerialError> {
        match content {
            [] => Err(SerialError::Length(0)),
            [first, ..] if *first >= 0x80 => Err(SerialError::Negative),
            [0, second, ..] if *second < 0x80 => Err(SerialError::NotMinimal),
            _ if content.len() > Self::MAX_LENGTH => Err(SerialError::Length(content.len())),
            _ => {
                let mut octets = [0; Self::MAX_LENGTH];
                octets[..content.len()].copy_from_slice(content);
                Ok(Serial { length: content.len() as u8, octets })
            }
        }
    }

    /// From a big-endian magnitude with any number of leading zeros.
    pub fn from_magnitude(magnitude: &[u8]) -> Result<Serial, SerialError> {
        let start = magnitude.iter().position(|b| *b != 0).unwrap_or(magnitude.len());
        let significant = &magnitude[start..];
        if significant.len() > Self::MAX_LENGTH {
            return Err(SerialError::Length(significant.len()));
        }
        let mut content = Vec::with_capacity(Self::MAX_LENGTH + 1);
        if significant.first().is_none_or(|b| *b >= 0x80) {
            content.push(0);
        }
        content.extend_from_slice(significant);
        Self::from_der_content(&content)
    }

    /// The content octets of the DER INTEGER.
    pub fn as_der_content(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// The same octets with zeros behind them, and how many they are: for encoders that copy a fixed number of octets.
    #[inline]
    pub(super) fn padded_der_content(&self) -> (&[u8; Self::MAX_LENGTH], usize) {
        (&self.octets, usize::from(self.length))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = self.as_der_content();
        let magnitude = if content.len() > 1 && content[0] == 0 { &content[1..] } else { content };
        magnitude.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    /// Reads hexadecimal digits of either case, with or without `0x`, with or without `:` between octets.
    fn from_str(text: &str) -> Result<Serial, SerialError> {
        let bad = || SerialError::NotHex(text.chars().take(64).collect());
        let digits: Vec<u8> = text.trim_start_matches("0x").bytes().filter(|b| *b != b':').collect();
        if digits.is_empty() || digits.len() > 4 * Self::MAX_LENGTH {
            return Err(bad());
        }
        let nibbles: Option<Vec<u8>> = digits.iter().map(|b| (*b as char).to_digit(16).map(|d| d as u8)).collect();
        let nibbles = nibbles.ok_or_else(bad)?;
        let octets: Vec<u8> = nibbles.rchunks(2).rev().map(|pair| pair.iter().fold(0, |value, nibble| value << 4 | nibble)).collect();
        Self::from_magnitude(&octets)
    }
}

impl serde::Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_the_magnitude_and_der_carries_the_sign_octet() {
        let serial: Serial = "80".parse().unwrap();
        assert_eq!(serial.as_der_content(), [0, 0x80]);
        assert_eq!(serial.to_string(), "80");
        assert_eq!("0".parse::<Serial>().unwrap().as_der_content(), [0]);
        assert_eq!("0x1:02".parse::<Serial>().unwrap().to_string(), "0102");
    }

    #[test]
    fn what_no_certificate_can_carry_is_refused() {
        assert_eq!(Serial::from_der_content(&[]), Err(SerialError::Length(0)));
        assert_eq!(Serial::from_der_content(&[0xff]), Err(SerialError::Negative));
        assert_eq!(Serial::from_der_content(&[0, 1]), Err(SerialError::NotMinimal));
        assert_eq!(Serial::from_der_content(&[1; 21]), Err(SerialError::Length(21)));
        assert!("80".repeat(20).parse::<Serial>().is_err(), "twenty octets with the high bit set need twenty-one");
        assert!("".parse::<Serial>().is_err());
        assert!("xyz".parse::<Serial>().is_err());
        assert!("-1".parse::<Serial>().is_err());
    }

    proptest! {
        #[test]
        fn s3_2_every_serial_reads_back(magnitude in proptest::collection::vec(any::<u8>(), 0..=20)) {
            if let Ok(serial) = Serial::from_magnitude(&magnitude) {
                prop_assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
                prop_assert_eq!(Serial::from_der_content(serial.as_der_content()).unwrap(), serial);
            }
        }
    }
}
