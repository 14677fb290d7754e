//! The headers of answers: what caches live on (rule O13, RFC 9919 6 and 7), or as much as RFC 6960 and RFC 5280 ask for (C10). Reads no clock.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::Deserialize;

/// A negative answer may be kept so many seconds: a short while.
const SHORT_MAX_AGE: u64 = 3600;

/// Which rules headers are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum HeaderRules {
    None,
    Basic,
    #[default]
    O13,
}

/// When what an answer says begins and ends to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Times {
    pub this_update: SystemTime,
    /// `None`: it does not say.
    pub next_update: Option<SystemTime>,
}

/// The header fields of an answer.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Reads the head of an answer: a status line, and a field a line.
    pub fn of(head: &'a str) -> Fields<'a> {
        let field = |line: &'a str| line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        Fields(head.lines().skip(1).filter_map(field).collect())
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn date(&self, name: &str) -> Option<SystemTime> {
        httpdate::parse_http_date(self.get(name)?).ok()
    }

    /// The directives of Cache-Control, in lower case.
    fn directives(&self) -> Vec<String> {
        self.get("cache-control").unwrap_or_default().split(',').map(|directive| directive.trim().to_ascii_lowercase()).collect()
    }

    fn max_age(&self) -> Option<u64> {
        self.directives().iter().find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok())
    }

    /// What is wrong with the Content-Type.
    pub fn content_type(&self, wanted: &str) -> Option<String> {
        let found = self.get("content-type");
        (found != Some(wanted)).then(|| format!("Content-Type: found {}, wanted {wanted}", shown(found)))
    }

    /// What is wrong with the headers of a signed answer.
    pub fn authoritative(&self, times: Times, now: SystemTime, body: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let length = self.get("content-length").and_then(|value| value.parse().ok());
        if length != Some(body) {
            wrong.push(format!("O13 Content-Length: found {}, wanted {body}", shown(self.get("content-length"))));
        }
        if self.date("date").is_none() {
            wrong.push(format!("O13 Date: found {}, wanted a time", shown(self.get("date"))));
        }
        for (name, wanted) in [("Last-Modified", Some(times.this_update)), ("Expires", times.next_update)] {
            let Some(wanted) = wanted else { continue };
            if self.date(name) != Some(wanted) {
                wrong.push(format!("O13 {name}: found {}, wanted {}", shown(self.get(name)), httpdate::fmt_http_date(wanted)));
            }
        }
        let is_strong = |tag: &str| tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
        if !self.get("etag").is_some_and(is_strong) {
            wrong.push(format!("O13 ETag: found {}, wanted a strong one", shown(self.get("etag"))));
        }
        wrong.extend(self.cache_control(times, now));
        wrong
    }

    fn cache_control(&self, times: Times, now: SystemTime) -> Option<String> {
        let (found, directives) = (shown(self.get("cache-control")), self.directives());
        let has = |wanted: &str| directives.iter().any(|directive| directive == wanted);
        if has("no-cache") || has("no-store") {
            return Some(format!("O13 Cache-Control: found {found}, wanted one that lets caches keep the answer"));
        }
        let Some(max_age) = self.max_age() else {
            return Some(format!("O13 Cache-Control: found {found}, wanted max-age"));
        };
        if let Some(missing) = ["public", "no-transform", "must-revalidate"].into_iter().find(|wanted| !has(wanted)) {
            return Some(format!("O13 Cache-Control: found {found}, wanted {missing} too"));
        }
        // By the server's clock where it tells it: the answer may have been under way for a while.
        let kept_until = self.date("date").unwrap_or(now).checked_add(Duration::from_secs(max_age));
        let outlives = times.next_update.is_some_and(|next| kept_until.is_none_or(|until| until >= next));
        outlives.then(|| format!("O13 Cache-Control: found {found}, wanted a max-age that ends before nextUpdate"))
    }

    /// What is wrong with the headers of an answer that nobody has signed.
    pub fn not_authoritative(&self) -> Option<String> {
        let no_store = self.directives().iter().any(|directive| directive == "no-store");
        let short = self.max_age().is_some_and(|seconds| seconds <= SHORT_MAX_AGE);
        let found = shown(self.get("cache-control"));
        (!no_store && !short)
            .then(|| format!("O13 Cache-Control: found {found}, wanted no-store or a short max-age: the answer is not signed"))
    }
}

fn shown(found: Option<&str>) -> String {
    found.map_or("none".to_owned(), |value| format!("'{}'", value.chars().take(120).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: 9\r\nDate: Thu, 01 Jan 1970 00:16:40 GMT\r\n\
        Last-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\nExpires: Thu, 01 Jan 1970 01:00:00 GMT\r\nETag: \"x\"\r\n\
        Cache-Control: max-age=60, public, no-transform, must-revalidate\r\n\r\n";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn findings(head: &str) -> Vec<String> {
        Fields::of(head).authoritative(Times { this_update: at(10), next_update: Some(at(3600)) }, at(1000), 9)
    }

    #[test]
    fn o13_proper_headers_pass() {
        assert_eq!(findings(HEAD), Vec::<String>::new());
        assert_eq!(Fields::of(HEAD).content_type("application/ocsp-response"), None);
    }

    #[test]
    fn o13_each_header_that_is_wrong_is_named() {
        for (found, instead, name) in [
            ("Content-Length: 9", "Content-Length: 8", "Content-Length"),
            ("Date: ", "X-Date: ", "Date"),
            ("00:00:10 GMT", "00:00:11 GMT", "Last-Modified"),
            ("01:00:00 GMT", "01:00:01 GMT", "Expires"),
            ("\"x\"", "W/\"x\"", "ETag"),
            ("max-age=60", "max-age=2600", "Cache-Control"),
            ("max-age=60, ", "", "Cache-Control"),
            ("public", "no-cache", "Cache-Control"),
            ("public, ", "", "Cache-Control"),
            ("must-revalidate", "no-store", "Cache-Control"),
        ] {
            let wrong = findings(&HEAD.replace(found, instead));
            assert!(matches!(&wrong[..], [one] if one.starts_with(&format!("O13 {name}: found "))), "{instead}: {wrong:?}");
        }
        assert!(Fields::of(HEAD).content_type("application/pkix-crl").is_some());
    }

    #[test]
    fn o13_an_answer_that_is_not_signed_is_not_kept_for_long() {
        let head = |control: &str| format!("HTTP/1.1 200 OK\r\nCache-Control: {control}\r\n\r\n");
        assert_eq!(Fields::of(&head("no-store")).not_authoritative(), None);
        assert_eq!(Fields::of(&head("max-age=60")).not_authoritative(), None);
        for control in ["max-age=86400", "public", ""] {
            assert!(Fields::of(&head(control)).not_authoritative().is_some(), "{control}");
        }
    }
}
