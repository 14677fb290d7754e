//! The PIN of a token's user. Comes from a file or the environment, never from a command line; wiped from memory when dropped, and never
//! printed.

use std::fmt;
use std::path::Path;

use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::token::{TokenError, secret_file};

/// A user PIN, and where it came from.
pub struct Pin {
    secret: AuthPin,
    place: String,
}

impl Pin {
    /// The greatest length in octets.
    pub const MAX_LENGTH: usize = 255;

    /// Reads the PIN from a file that group and others have no access to. One newline at the end is not part of it.
    pub fn from_file(path: &Path) -> Result<Pin, TokenError> {
        let content = secret_file::read(path, Self::MAX_LENGTH as u64 + 2)?;
        let place = path.display().to_string();
        let text = std::str::from_utf8(&content).map_err(|_| TokenError::Pin { place: place.clone(), found: "not UTF-8" })?;
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        Self::new(text, place)
    }

    /// Reads the PIN from an environment variable. The variable stays in the process's environment, where the same user and root can read
    /// it: a file is better.
    pub fn from_env(variable: &str) -> Result<Pin, TokenError> {
        let place = format!("environment variable {variable}");
        match std::env::var(variable).map(Zeroizing::new) {
            Ok(text) => Self::new(&text, place),
            Err(std::env::VarError::NotPresent) => Err(TokenError::Pin { place, found: "not set" }),
            Err(std::env::VarError::NotUnicode(_)) => Err(TokenError::Pin { place, found: "not UTF-8" }),
        }
    }

    fn new(text: &str, place: String) -> Result<Pin, TokenError> {
        let found = match text.len() {
            0 => Some("empty"),
            length if length > Self::MAX_LENGTH => Some("too long"),
            _ if text.contains(['\0', '\n', '\r']) => Some("more than one line"),
            _ => None,
        };
        match found {
            Some(found) => Err(TokenError::Pin { place, found }),
            None => Ok(Pin { secret: AuthPin::new(text.into()), place }),
        }
    }

    pub(super) fn secret(&self) -> &AuthPin {
        &self.secret
    }

    /// Where it came from, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for Pin {
    /// Says where it came from, and nothing of the PIN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin(from {})", self.place)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pin_is_one_line_of_a_closed_file_and_is_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        for (content, accepted) in [("1234\n", true), ("1234\r\n", true), ("1234", true), ("12\n34\n", false), ("\n", false), ("", false)] {
            let _ = std::fs::remove_file(&path);
            secret_file::create(&path, content.as_bytes()).unwrap();
            let pin = Pin::from_file(&path);
            assert_eq!(pin.is_ok(), accepted, "{content:?}");
            assert!(!format!("{pin:?}").contains("12"), "{pin:?}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Pin::from_file(&path), Err(TokenError::FileMode { found: 0o644, .. })));
        assert!(Pin::new(&"1".repeat(256), String::new()).is_err());
    }

    #[test]
    fn an_absent_variable_is_named() {
        let message = Pin::from_env("KAKUNIN_NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert_eq!(message, "PIN from environment variable KAKUNIN_NO_SUCH_VARIABLE: not set: wanted 1 to 255 octets of UTF-8");
    }
}
