//! Which certificates there are: serials in hexadecimal, one a line, or the output of `kakunin list` (a JSON object a line).

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::question::Expected;
use super::read_bounded;

/// Certificates at most.
const MAX_CERTIFICATES: usize = 10_000_000;
/// Octets of the file at most.
const MAX_BYTES: u64 = 4 << 30;
/// Octets of a serial at most (RFC 5280 4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;

/// A certificate of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The magnitude of its serial, big-endian.
    pub serial: Vec<u8>,
    /// Whether it is revoked; `None` where the file does not say.
    pub revoked: Option<bool>,
    /// The end of its validity, where the file says it.
    pub not_after: Option<SystemTime>,
}

impl Listed {
    /// What an answer about it must say.
    pub fn expected(&self) -> Expected {
        match self.revoked {
            Some(true) => Expected::Revoked,
            Some(false) => Expected::Good,
            None => Expected::Issued,
        }
    }
}

/// What matters of a line of `kakunin list`. It has more fields, and may get others.
#[derive(Deserialize)]
struct Line<'a> {
    serial: &'a str,
    status: &'a str,
    not_after: Option<&'a str>,
}

/// Reads the file.
///
/// # Errors
///
/// A line that is neither, with its number; a file without certificates, or with too many.
pub fn read(path: &Path) -> Result<Vec<Listed>> {
    let octets = read_bounded(path, MAX_BYTES).context("--serials")?;
    let text = String::from_utf8(octets).with_context(|| format!("--serials: {}: wanted text", path.display()))?;
    parse(&text).with_context(|| format!("--serials: {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        ensure!(all.len() < MAX_CERTIFICATES, "found more than {MAX_CERTIFICATES} certificates");
        all.push(certificate(line).with_context(|| format!("line {}", number + 1))?);
    }
    ensure!(!all.is_empty(), "found no certificate, wanted a serial in hexadecimal or an object of kakunin list a line");
    Ok(all)
}

fn certificate(line: &str) -> Result<Listed> {
    if !line.starts_with('{') {
        return Ok(Listed { serial: serial(line)?, revoked: None, not_after: None });
    }
    let line: Line<'_> = serde_json::from_str(line).context("wanted an object with the strings serial and status")?;
    let revoked = match line.status {
        "good" => false,
        "revoked" => true,
        other => bail!("status: found '{other}', wanted good or revoked"),
    };
    let not_after = line.not_after.map(humantime::parse_rfc3339).transpose();
    let not_after = not_after.with_context(|| format!("not_after: found '{}', wanted a time", line.not_after.unwrap_or_default()))?;
    Ok(Listed { serial: serial(line.serial)?, revoked: Some(revoked), not_after })
}

fn serial(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let shown: String = text.chars().take(60).collect();
    let wanted = "wanted up to 40 hexadecimal digits";
    ensure!(!digits.is_empty() && digits.len() <= 2 * MAX_SERIAL_BYTES + 2, "serial: found '{shown}', {wanted}");
    ensure!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "serial: found '{shown}', {wanted}");
    let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let octets = (0..even.len()).step_by(2).map(|at| u8::from_str_radix(&even[at..at + 2], 16));
    let octets = octets.collect::<Result<Vec<u8>, _>>()?;
    let significant = &octets[octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1)..];
    let content = significant.len() + usize::from(significant[0] >= 0x80);
    ensure!(content <= MAX_SERIAL_BYTES, "serial: found '{shown}', {wanted} (20 octets in DER)");
    Ok(significant.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_and_the_output_of_kakunin_list_are_read() {
        let text = "# ours\n0A1b\n\n0xabc\n00\n{\"serial\":\"556b\",\"status\":\"revoked\",\"not_before\":null,\"reason\":\"superseded\",\"not_after\":\"1970-01-01T00:00:09Z\"}\n\
            {\"serial\":\"01\",\"status\":\"good\",\"partition\":7}\n";
        let listed = |serial: &[u8], revoked| Listed { serial: serial.to_vec(), revoked, not_after: None };
        let wanted = [
            listed(&[0x0a, 0x1b], None),
            listed(&[0x0a, 0xbc], None),
            listed(&[0], None),
            Listed { not_after: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9)), ..listed(&[0x55, 0x6b], Some(true)) },
            listed(&[1], Some(false)),
        ];
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_found() {
        let message = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert!(message("01\nxyz\n").starts_with("line 2: serial: found 'xyz'"), "{}", message("01\nxyz\n"));
        assert!(message("{\"serial\":\"01\",\"status\":\"held\"}").contains("found 'held'"));
        let line = "{\"serial\":\"01\",\"status\":\"good\",\"not_after\":\"soon\"}";
        assert!(message(line).contains("not_after: found 'soon'"), "{}", message(line));
        assert!(message("{\"serial\":1}").starts_with("line 1: wanted an object"));
        assert!(message(&"f".repeat(41)).contains("wanted up to 40"));
        assert!(message(&"f".repeat(40)).contains("20 octets in DER"));
        assert!(message("\n\n").starts_with("found no certificate"));
    }
}
