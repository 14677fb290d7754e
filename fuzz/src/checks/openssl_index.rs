//! Reading an `openssl ca` index: every line is refused by its number, or says something that can be written down and read again.

use kakunin::pki::{CertificateStatus, RevocationReason, Timestamp};
use kakunin::registry::{CertificateRecord, TakenOver};
use kakunin::sources::openssl_index::{IndexReader, MAX_LINE_BYTES, Problem};

/// One input: a whole index.
pub fn check(input: &[u8]) {
    let most = input.len() / MAX_LINE_BYTES + input.split(|octet| *octet == b'\n').count();
    let mut last = 0;
    for (count, outcome) in IndexReader::new(input, None).enumerate() {
        assert!(count < most, "more records than lines");
        match outcome {
            Ok(TakenOver { record, key }) => {
                assert_eq!(key, None, "only certificates tell");
                assert_eq!(read(&line(&record)), record);
            }
            Err(error) => {
                assert!(error.line > last && error.line as usize <= most, "line {} after line {last} of {most}", error.line);
                assert!(!matches!(error.problem, Problem::Io(_) | Problem::Certificate { .. }), "{error}: there is no file");
                assert!(error.to_string().chars().count() < 400, "a message that quotes too much: {error}");
                last = error.line;
            }
        }
    }
}

fn read(line: &str) -> CertificateRecord {
    let mut records = IndexReader::new(line.as_bytes(), None);
    let record = records.next().expect("a line").expect("a line that was just written");
    assert!(records.next().is_none());
    record.record
}

fn line(record: &CertificateRecord) -> String {
    let time = |time: Timestamp| String::from_utf8(time.generalized().to_vec()).expect("digits");
    assert_eq!((record.not_before, record.partition), (None, None), "only certificates tell");
    let (status, revocation) = match record.status {
        CertificateStatus::Good => ("V", String::new()),
        CertificateStatus::Revoked(revocation) => {
            let reason = match (record.invalidity_date, revocation.reason) {
                (None, None) => String::new(),
                (None, Some(reason)) => format!(",{reason}"),
                (Some(date), Some(RevocationReason::KeyCompromise)) => format!(",keyTime,{}", time(date)),
                (Some(date), Some(RevocationReason::CaCompromise)) => format!(",CAkeyTime,{}", time(date)),
                (Some(date), reason) => panic!("a time of compromise, {date}, for {reason:?}"),
            };
            ("R", time(revocation.at) + &reason)
        }
    };
    format!("{status}\t{}\t{revocation}\t{}\tunknown\t/CN=x\n", time(record.not_after), record.serial)
}
