//! The index of a CA run with `openssl ca` (`index.txt`): one line a certificate, six fields separated by tabs.
//!
//! ```text
//! status  notAfter  revocation  serial  file  subject
//! R  270101000000Z  260301120000Z,keyCompromise  1F0C…  unknown  /C=JP/CN=…
//! ```
//!
//! Streams: one line is in memory at a time. Every refused line is named by its number.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use crate::pki::certificate::key_identity;
use crate::pki::name::subject_identity;
use crate::pki::{CertificateInfo, CertificateStatus, Revocation, RevocationReason, Serial, Timestamp};
use crate::registry::{CertificateRecord, HeldKey, TakenOver};

/// The longest line that is read.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// No issuer has more CRL partitions.
const MAX_PARTITIONS: u32 = 65_536;
/// The greatest certificate file that is read.
const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;

/// A line that cannot be taken over.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct IndexError {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("more than {MAX_LINE_BYTES} bytes, or no text")]
    TooLong,
    #[error("{0} fields: wanted 6, separated by tabs")]
    Fields(usize),
    #[error("status '{0}': wanted V, R or E")]
    Status(String),
    #[error("expiry: {0}")]
    Expiry(crate::pki::time::TimeError),
    #[error("a revocation date on a certificate that is not revoked: '{0}'")]
    Unrevoked(String),
    #[error("revocation date: {0}")]
    RevocationDate(crate::pki::time::TimeError),
    #[error("revocation reason: {0}")]
    Reason(#[from] crate::pki::status::ReasonError),
    #[error("serial: {0}")]
    Serial(#[from] crate::pki::serial::SerialError),
    #[error("certificate {file}: {detail}")]
    Certificate { file: PathBuf, detail: String },
    #[error("{0}")]
    Refused(String),
    #[error("no file SERIAL.pem for any certificate of the index in {0}")]
    NoCertificate(PathBuf),
}

/// Where the certificates of an index are, and what they must say.
#[derive(Clone, Debug)]
pub struct Certificates<'a> {
    /// A directory with a file `SERIAL.pem` for each certificate (`new_certs_dir` of `openssl ca`); those that are missing are done without.
    pub directory: &'a Path,
    /// The CA's certificate: each must name it as its issuer.
    pub issuer: &'a CertificateInfo,
    /// The URL that those of the CRLs begin with.
    pub base_url: &'a str,
    /// `/crl/{issuer}/`: a CRL distribution point of which this follows the base URL names a partition.
    pub partition_path: String,
    /// How many partitions there are.
    pub partitions: u32,
    /// What was found in them.
    pub found: &'a Found,
}

/// What an import has found in certificates so far.
#[derive(Debug, Default)]
pub struct Found {
    /// How many files there were.
    pub files: Cell<u64>,
    /// How many of them name a CRL partition.
    pub in_partitions: Cell<u64>,
    /// How many of them name a CRL that is one of the issuer's below the base URL.
    pub here: Cell<u64>,
}

/// What stands against taking a record over, where anything does.
pub type Objection<'a> = dyn Fn(&CertificateRecord) -> Option<String> + 'a;

/// Reads an index line by line.
pub struct IndexReader<'a, R> {
    reader: R,
    line: u64,
    /// How many records were read.
    records: u64,
    certificates: Option<Certificates<'a>>,
    objection: Option<&'a Objection<'a>>,
}

impl<'a, R: BufRead> IndexReader<'a, R> {
    /// Reads `reader`; with `certificates`, notBefore, CRL partition and whether it is a CA's are taken from them.
    pub fn new(reader: R, certificates: Option<Certificates<'a>>) -> IndexReader<'a, R> {
        IndexReader { reader, line: 0, records: 0, certificates, objection: None }
    }

    /// The same, but a line is refused whose record is objected to.
    pub fn objecting(self, objection: &'a Objection<'a>) -> IndexReader<'a, R> {
        IndexReader { objection: Some(objection), ..self }
    }

    /// Once, at the end: nothing was found where certificates should be.
    fn without_certificates(&mut self) -> Option<IndexError> {
        let certificates = self.certificates.take().filter(|certificates| self.records > 0 && certificates.found.files.get() == 0)?;
        Some(IndexError { line: self.line, problem: Problem::NoCertificate(certificates.directory.to_owned()) })
    }

    fn next_line(&mut self) -> Result<Option<String>, Problem> {
        loop {
            let mut line = Vec::new();
            self.line += 1;
            let read = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE_BYTES {
                return Err(Problem::TooLong);
            }
            let text = String::from_utf8(line).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
            let text = text.trim_end_matches(['\n', '\r']);
            if !text.is_empty() && !text.starts_with('#') {
                return Ok(Some(text.to_owned()));
            }
        }
    }

    fn certificate(&self, line: &str) -> Result<TakenOver, Problem> {
        // The subject may hold tabs behind a backslash; nothing after the fifth tab matters here.
        let fields: Vec<&str> = line.splitn(6, '\t').collect();
        let [status, expiry, revocation, serial, _file, _subject] = fields[..] else { return Err(Problem::Fields(fields.len())) };
        let not_after = Timestamp::from_asn1_text(expiry).map_err(Problem::Expiry)?;
        let (status, invalidity_date) = match (status, revocation) {
            ("V" | "E", "") => (CertificateStatus::Good, None),
            ("V" | "E", date) => return Err(Problem::Unrevoked(date.chars().take(40).collect())),
            ("R", text) => {
                let (revocation, invalidity_date) = parse_revocation(text)?;
                (CertificateStatus::Revoked(revocation), invalidity_date)
            }
            (other, _) => return Err(Problem::Status(other.chars().take(40).collect())),
        };
        let number: Serial = serial.parse()?;
        let mut record =
            CertificateRecord { serial: number, not_before: None, not_after, is_ca: false, partition: None, status, invalidity_date };
        let key = match &self.certificates {
            Some(certificates) => certificates.complete(serial, &mut record)?,
            None => None,
        };
        match self.objection.and_then(|objection| objection(&record)) {
            Some(objection) => Err(Problem::Refused(objection)),
            None => Ok(TakenOver { record, key }),
        }
    }
}

impl<R: BufRead> Iterator for IndexReader<'_, R> {
    type Item = Result<TakenOver, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.next_line() {
            Ok(None) => return self.without_certificates().map(Err),
            Ok(Some(line)) => {
                self.records += 1;
                self.certificate(&line)
            }
            Err(problem) => Err(problem),
        };
        Some(record.map_err(|problem| IndexError { line: self.line, problem }))
    }
}

/// `date`, `date,reason`, or one of the forms with a time of compromise: `date,keyTime,time` and `date,CAkeyTime,time`.
fn parse_revocation(text: &str) -> Result<(Revocation, Option<Timestamp>), Problem> {
    let mut parts = text.splitn(3, ',');
    let date = parts.next().unwrap_or_default();
    let at = Timestamp::from_asn1_text(date).map_err(Problem::RevocationDate)?;
    let compromised = |parts: &mut std::str::SplitN<'_, char>| {
        Timestamp::from_asn1_text(parts.next().unwrap_or_default()).map(Some).map_err(Problem::RevocationDate)
    };
    let (reason, invalidity_date) = match parts.next() {
        None => (None, None),
        Some("keyTime") => (Some(RevocationReason::KeyCompromise), compromised(&mut parts)?),
        Some("CAkeyTime") => (Some(RevocationReason::CaCompromise), compromised(&mut parts)?),
        Some(name) => (RevocationReason::parse_optional(name)?, None),
    };
    Ok((Revocation { at, reason }, invalidity_date))
}

impl Certificates<'_> {
    /// Takes notBefore, the CRL partition, and whether it is a CA's from the certificate's file, and tells the key, where there is one.
    fn complete(&self, serial_as_written: &str, record: &mut CertificateRecord) -> Result<Option<HeldKey>, Problem> {
        let file = self.directory.join(format!("{serial_as_written}.pem"));
        let problem = |detail: String| Problem::Certificate { file: file.clone(), detail };
        let mut pem = Vec::new();
        match fs::File::open(&file) {
            Ok(open) => open.take(MAX_CERTIFICATE_BYTES).read_to_end(&mut pem).map_err(|e| problem(e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(problem(e.to_string())),
        };
        let certificate = CertificateInfo::from_pem(&pem).map_err(|e| problem(e.to_string()))?;
        if certificate.serial != record.serial {
            return Err(problem(format!("has serial {}, wanted {}", certificate.serial, record.serial)));
        }
        if certificate.issuer != self.issuer.subject {
            return Err(problem(format!("was issued by another CA than '{}'", self.issuer.subject_text)));
        }
        // A CA with a new key has the same name (S4.7).
        if certificate.authority_key_identifier.as_ref().is_some_and(|identifier| *identifier != self.issuer.key_identifier) {
            return Err(problem(
                "was issued by another key of the CA: its authorityKeyIdentifier is not the CA's key identifier".to_owned(),
            ));
        }
        record.not_before = Some(certificate.not_before);
        record.is_ca = certificate.is_ca;
        record.partition = self.partition_of(&certificate).map_err(problem)?;
        let add_to = |count: &Cell<u64>| count.set(count.get() + 1);
        add_to(&self.found.files);
        record.partition.iter().for_each(|_| add_to(&self.found.in_partitions));
        let own = self.partition_path.trim_end_matches('/');
        let is_own = |path: &str| path.strip_prefix(own).is_some_and(|rest| rest.starts_with(['/', '.']));
        if certificate.crl_urls.iter().any(|url| url.strip_prefix(self.base_url).is_some_and(is_own)) {
            add_to(&self.found.here);
        }
        Ok(Some(HeldKey { public_key: key_identity(&certificate.spki), subject: subject_identity(&certificate.subject) }))
    }

    /// The partition that a certificate names, for life (rule C4): be it there, or still to come.
    fn partition_of(&self, certificate: &CertificateInfo) -> Result<Option<u32>, String> {
        let number_of = |url: &str| {
            let (base, file) = url.split_once(&self.partition_path)?;
            let number = file.strip_suffix(".crl")?.parse().ok().filter(|number| *number < MAX_PARTITIONS)?;
            (format!("{number}.crl") == file).then_some((base == self.base_url, number))
        };
        for url in &certificate.crl_urls {
            match number_of(url) {
                Some((false, _)) if self.partitions > 0 => {
                    return Err(format!("names the CRL {url}: found base_url '{}', wanted that of the URL (C4)", self.base_url));
                }
                Some((true, number)) if certificate.is_ca && number < self.partitions => {
                    let instead = "without its file it stands on the full CRL";
                    return Err(format!("is a CA's, and names the CRL {url}: partitions list end entities; {instead} (C4)"));
                }
                Some((true, number)) => return Ok(Some(number)),
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<CertificateRecord, IndexError>> {
        IndexReader::new(text.as_bytes(), None).map(|read| read.map(|certificate| certificate.record)).collect()
    }

    #[test]
    fn lines_as_openssl_writes_them() {
        let text = "V\t270101000000Z\t\t1000\tunknown\t/C=JP/CN=a\\\tb\n\
                    R\t20510101000000Z\t260301120000Z,keyCompromise\t0FE0\tunknown\t/CN=b\n\
                    # a comment\n\n\
                    R\t270101000000Z\t260301120000Z\t01\tunknown\t/CN=c\r\n\
                    R\t270101000000Z\t260301120000Z,keyTime,20260201000000Z\tFF\tunknown\t/CN=d\n\
                    E\t200101000000Z\t\t02\tunknown\t/CN=e";
        let records: Vec<_> = read(text).into_iter().map(Result::unwrap).collect();
        let at = "2026-03-01T12:00:00Z".parse().unwrap();
        let revoked = |reason| CertificateStatus::Revoked(Revocation { at, reason });
        assert_eq!(records.len(), 5);
        assert_eq!(records[0].status, CertificateStatus::Good);
        assert_eq!(records[1].status, revoked(Some(RevocationReason::KeyCompromise)));
        assert_eq!(records[1].not_after.to_string(), "2051-01-01T00:00:00Z");
        assert_eq!(records[2].status, revoked(None));
        assert_eq!(records[3].invalidity_date, Some("2026-02-01T00:00:00Z".parse().unwrap()));
        assert_eq!(records[3].serial.to_string(), "ff");
        assert_eq!(records[4].status, CertificateStatus::Good);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "V\t270101000000Z\t\t1000\tunknown\t/CN=a\n";
        for (bad, expected) in [
            ("V\t270101000000Z\t\t1000\tunknown", "line 2: 5 fields"),
            ("X\t270101000000Z\t\t1000\tunknown\t/CN=a", "line 2: status 'X'"),
            ("V\t270199000000Z\t\t1000\tunknown\t/CN=a", "line 2: expiry: '270199000000Z'"),
            ("V\t270101000000Z\t260101000000Z\t1000\tunknown\t/CN=a", "line 2: a revocation date"),
            ("R\t270101000000Z\t\t1000\tunknown\t/CN=a", "line 2: revocation date"),
            ("R\t270101000000Z\t260101000000Z,certificateHold\t1000\tunknown\t/CN=a", "line 2: revocation reason: 'certificateHold'"),
            ("V\t270101000000Z\t\t-01\tunknown\t/CN=a", "line 2: serial"),
            ("V\t270101000000Z\t\t\tunknown\t/CN=a", "line 2: serial"),
        ] {
            let outcome = read(&format!("{good}{bad}\n"));
            let message = outcome[1].as_ref().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let long = read(&format!("V\t{}", "x".repeat(MAX_LINE_BYTES)));
        assert!(matches!(long[0], Err(IndexError { line: 1, problem: Problem::TooLong })));
    }
}
