//! Reading a [`Record`] from a file that may be anything. Never writes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::record::{Latency, Record, VERSION};

/// The greatest file that is read, in octets: a day with many statuses takes a fifth of it.
pub const MOST_OCTETS: u64 = 256 << 20;
/// The longest run that is read, in seconds: ten days.
pub const MOST_SECONDS: usize = 864_000;

/// Why a file is not taken for a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has another form.
    #[error("{path}: {field}: {message}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where in it, `.` for the whole.
        field: String,
        /// What was found and wanted.
        message: String,
    },
}

/// Reads a record. Fails where the file is greater than [`MOST_OCTETS`], has another form or another version, or where a figure makes no sense.
pub fn read(path: &Path) -> Result<Record, RecordError> {
    let io_error = |source| RecordError::Io { path: path.to_owned(), source };
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_OCTETS + 1).read_to_end(&mut content)).map_err(io_error)?;
    let refuse = |(field, message): (String, String)| RecordError::Form { path: path.to_owned(), field, message };
    if content.len() as u64 > MOST_OCTETS {
        return Err(refuse((".".to_owned(), format!("more than {MOST_OCTETS} octets, wanted at most so many"))));
    }
    parse(&content).map_err(refuse)
}

/// The field that is wrong, and what is wrong with it.
type Refusal = (String, String);

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn parse(content: &[u8]) -> Result<Record, Refusal> {
    // The version first: a record of another one has other fields.
    let Versioned { version } = form(content)?;
    if version != VERSION {
        return Err(("version".to_owned(), format!("found {version}, wanted {VERSION}: written by another kakunin-loadtest")));
    }
    let record: Record = form(content)?;
    check(&record)?;
    Ok(record)
}

fn form<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(content);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| (e.path().to_string(), e.inner().to_string()))?;
    json.end().map_err(|e| (".".to_owned(), e.to_string()))?;
    Ok(value)
}

fn check(record: &Record) -> Result<(), Refusal> {
    let times = |field: &str, found: f64| {
        let fits = (0.0..=MOST_SECONDS as f64).contains(&found);
        if fits { Ok(()) } else { Err((field.to_owned(), format!("found {found}, wanted 0 to {MOST_SECONDS}"))) }
    };
    times("seconds", record.seconds)?;
    times("timeline", record.timeline.len() as f64)?;
    check_latency("total.latency", &record.total.latency)?;
    check_latency("total.service", &record.total.service)?;
    for (kind, figures) in &record.kinds {
        check_latency(&format!("kinds.{kind}.latency"), &figures.latency)?;
    }
    Ok(())
}

fn check_latency(field: &str, latency: &Latency) -> Result<(), Refusal> {
    let points = &latency.percentiles;
    let wrong = points.iter().position(|(percentile, _)| !(0.0..=100.0).contains(percentile));
    let falls = points.windows(2).position(|pair| pair[1].0 < pair[0].0 || pair[1].1 < pair[0].1);
    match (wrong, falls) {
        (Some(at), _) => Err((format!("{field}.percentiles[{at}]"), format!("found {} %, wanted 0 to 100", points[at].0))),
        (_, Some(at)) => Err((format!("{field}.percentiles[{}]", at + 1), "smaller than the one before, wanted rising ones".to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{sample, troubled};
    use serde_json::{Value, json};

    fn changed(change: impl FnOnce(&mut Value)) -> String {
        let mut value = serde_json::to_value(sample(3)).unwrap();
        change(&mut value);
        let (field, message) = parse(&serde_json::to_vec(&value).unwrap()).unwrap_err();
        format!("{field}: {message}")
    }

    #[test]
    fn what_was_written_is_read() {
        for record in [sample(3), troubled()] {
            assert_eq!(parse(&serde_json::to_vec(&record).unwrap()), Ok(record));
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (found, wanted) in [
            (changed(|v| v["version"] = json!(2)), "version: found 2, wanted 1"),
            (changed(|v| v["timeline"][1]["due"] = json!("many")), "timeline[1].due: invalid type: string \"many\", expected u64"),
            (
                changed(|v| v["total"]["latency"]["percentiles"][2][0] = json!(101)),
                "total.latency.percentiles[2]: found 101 %, wanted 0 to 100",
            ),
            (
                changed(|v| v["kinds"]["ocsp-get"]["latency"]["percentiles"][2][1] = json!(1)),
                "kinds.ocsp-get.latency.percentiles[2]: smaller",
            ),
            (changed(|v| v["seconds"] = json!(-1)), "seconds: found -1, wanted 0 to 864000"),
            (changed(|v| v["weather"] = json!("fine")), "weather: unknown field `weather`"),
            (changed(|v| drop(v.as_object_mut().unwrap().remove("load"))), ".: missing field `load`"),
        ] {
            assert!(found.starts_with(wanted), "{found}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (content, wanted) in
            [("", "EOF"), ("[]", "missing field"), ("{\"version\":1} x", "trailing characters"), ("\0\u{1}", "expected value")]
        {
            let (_, message) = parse(content.as_bytes()).unwrap_err();
            assert!(message.contains(wanted) || message.contains("invalid"), "{content}: {message}");
        }
    }

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let refused = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(refused.starts_with("/dev/zero: .: more than 268435456 octets"), "{refused}");
        let missing = read(Path::new("/nonexistent/a.json")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/a.json: No such file"), "{missing}");
    }
}
