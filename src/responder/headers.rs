//! HTTP headers of authoritative answers, and conditional requests (rule O13, RFC 9919 6, RFC 9110 13). Reads no clock.
//!
//! `Date` and `Content-Length` are not written here: hyper adds them, `Date` from a text that it formats once a second per thread.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

use httpdate::{HttpDate, parse_http_date};
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED};

use crate::pki::Timestamp;

/// `Cache-Control` of everything that is not an authoritative answer.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What caches need to know of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Last-Modified: thisUpdate.
    pub this_update: Timestamp,
    /// Expires: nextUpdate; `None` for what does not expire (a CA certificate).
    pub next_update: Option<Timestamp>,
    /// When a newer one is planned; `None` where nothing is.
    pub refresh_at: Option<Timestamp>,
}

impl Validity {
    /// Seconds that a cache may keep the answer: until the planned refresh, always less than to nextUpdate, and at most `cap`.
    pub fn max_age(&self, now: Timestamp, cap: Duration) -> u64 {
        let before_expiry = self.next_update.map(|t| t.saturating_sub(Duration::from_secs(1)));
        let until = [self.refresh_at, before_expiry].into_iter().flatten().min().unwrap_or(Timestamp::MAX);
        until.since(now).as_secs().min(cap.as_secs())
    }

    /// Writes Last-Modified, Expires, ETag and Cache-Control.
    pub fn write(&self, headers: &mut HeaderMap, etag: HeaderValue, now: Timestamp, cap: Duration) {
        headers.insert(LAST_MODIFIED, http_date(self.this_update));
        if let Some(next_update) = self.next_update {
            headers.insert(EXPIRES, http_date(next_update));
        }
        headers.insert(ETAG, etag);
        headers.insert(CACHE_CONTROL, cache_control(self.max_age(now, cap)));
    }
}

/// A strong ETag: octets in hexadecimal, quoted. At most 31 octets.
pub fn strong_etag(octets: &[u8]) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'"'; 64];
    let mut length = 1;
    for octet in octets.iter().take(31) {
        text[length] = DIGITS[usize::from(octet >> 4)];
        text[length + 1] = DIGITS[usize::from(octet & 15)];
        length += 2;
    }
    text[length] = b'"';
    HeaderValue::from_bytes(&text[..=length]).expect("hexadecimal digits are header text")
}

/// Made anew only where it differs from the last one: all answers of a thread have the same for a second at least, most of them for ever.
fn cache_control(max_age: u64) -> HeaderValue {
    LAST_CACHE_CONTROL.with_borrow_mut(|last| {
        if last.0 != max_age || last.1.is_empty() {
            let mut text = Text::<96>::default();
            write!(text, "max-age={max_age}, public, no-transform, must-revalidate").expect("96 octets hold any number of seconds");
            *last = (max_age, text.value());
        }
        last.1.clone()
    })
}

/// Text of a header, written without an allocation.
struct Text<const N: usize> {
    octets: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text { octets: [0; N], length: 0 }
    }
}

impl<const N: usize> std::fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.octets.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl<const N: usize> Text<N> {
    fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.octets[..self.length]).expect("only header text is written here")
    }
}

/// Times that a thread has formatted lately. All certificates of a signing share two of them.
const REMEMBERED: usize = 128;

thread_local! {
    static LAST_CACHE_CONTROL: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    static DATES: RefCell<[(u64, HeaderValue); REMEMBERED]> =
        const { RefCell::new([const { (u64::MAX, HeaderValue::from_static("")) }; REMEMBERED]) };
}

/// IMF-fixdate (RFC 9110 5.6.7).
pub fn http_date(time: Timestamp) -> HeaderValue {
    DATES.with_borrow_mut(|dates| {
        let remembered = &mut dates[time.unix() as usize % REMEMBERED];
        if remembered.0 != time.unix() {
            let mut text = Text::<32>::default();
            write!(text, "{}", HttpDate::from(time.to_system_time())).expect("an IMF-fixdate has 29 octets");
            *remembered = (time.unix(), text.value());
        }
        remembered.1.clone()
    })
}

/// Whether the client's copy is still the one that would be sent: answer 304. If-None-Match, where present, decides alone (RFC 9110 13.1.3).
pub fn is_unmodified(request: &HeaderMap, etag: &HeaderValue, last_modified: Timestamp) -> bool {
    if request.is_empty() {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        return request.get_all(IF_NONE_MATCH).iter().any(|list| names_etag(list.as_bytes(), etag.as_bytes()));
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(|value| parse_http_date(value.to_str().ok()?).ok());
    since.is_some_and(|since| last_modified.to_system_time() <= since)
}

/// Weak comparison with each entity tag of a list, or with `*` (RFC 9110 8.8.3.2, 13.1.2). Our tags hold no comma.
fn names_etag(list: &[u8], etag: &[u8]) -> bool {
    list.split(|octet| *octet == b',').map(<[u8]>::trim_ascii).any(|tag| {
        let strong = tag.strip_prefix(b"W/").unwrap_or(tag);
        strong == etag || tag == b"*"
    })
}

/// Whether a Range may be honoured: without If-Range always, otherwise only for exactly the same representation (RFC 9110 13.1.5).
pub fn if_range_holds(request: &HeaderMap, etag: &HeaderValue, last_modified: Timestamp) -> bool {
    request.get(IF_RANGE).is_none_or(|validator| validator == etag || *validator == http_date(last_modified))
}

#[cfg(test)]
mod tests {
    use super::super::testing::time;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn validity() -> Validity {
        Validity { this_update: time(1000), next_update: Some(time(9000)), refresh_at: Some(time(5000)) }
    }

    #[test]
    fn o13_max_age_ends_before_next_update_and_with_the_refresh() {
        let day = HOUR * 24;
        let age = |v: Validity, now, cap| v.max_age(time(now), cap);
        assert_eq!(age(validity(), 1000, day), 4000);
        assert_eq!(age(validity(), 1000, HOUR), 3600, "the configured cap");
        assert_eq!(age(validity(), 5000, day), 0, "due");
        assert_eq!(age(validity(), 8999, day), 0);
        assert_eq!(age(validity(), 10_000, day), 0, "never negative");
        let late = Validity { refresh_at: Some(time(20_000)), ..validity() };
        assert_eq!(age(late, 1000, day), 7999, "one second less than to nextUpdate");
        let endless = Validity { next_update: None, refresh_at: None, ..validity() };
        assert_eq!(age(endless, 1000, HOUR), 3600);
    }

    #[test]
    fn o13_headers_are_complete() {
        let mut headers = HeaderMap::new();
        validity().write(&mut headers, strong_etag(&[0xab, 0x01]), time(1000), HOUR);
        let text = |name| headers[name].to_str().unwrap();
        assert_eq!(text(LAST_MODIFIED), "Thu, 01 Jan 1970 00:16:40 GMT");
        assert_eq!(text(EXPIRES), "Thu, 01 Jan 1970 02:30:00 GMT");
        assert_eq!(text(ETAG), "\"ab01\"");
        assert_eq!(text(CACHE_CONTROL), "max-age=3600, public, no-transform, must-revalidate");
    }

    #[test]
    fn dates_are_right_however_they_are_remembered() {
        for seconds in [0, REMEMBERED as u64, 0, 1, 1_793_594_491, Timestamp::MAX.unix()] {
            let expected = httpdate::fmt_http_date(time(seconds).to_system_time());
            assert_eq!(http_date(time(seconds)), expected);
        }
        assert_eq!(cache_control(u64::MAX).len(), 67);
        assert_eq!(strong_etag(&[0; 40]).len(), 64);
    }

    fn unmodified(pairs: &[(hyper::header::HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        is_unmodified(&headers, &HeaderValue::from_static("\"ab\""), time(1000))
    }

    #[test]
    fn o13_if_none_match_takes_lists_weak_tags_and_any() {
        for (list, same) in
            [("\"ab\"", true), ("W/\"ab\"", true), ("\"x\" , \"ab\"", true), ("*", true), ("\"x\"", false), ("ab", false), ("", false)]
        {
            assert_eq!(unmodified(&[(IF_NONE_MATCH, list)]), same, "{list}");
        }
        assert!(unmodified(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"ab\"")]));
    }

    #[test]
    fn o13_if_none_match_comes_before_if_modified_since() {
        let (same, later, earlier) = ("Thu, 01 Jan 1970 00:16:40 GMT", "Fri, 02 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 00:16:39 GMT");
        assert!(unmodified(&[(IF_MODIFIED_SINCE, same)]) && unmodified(&[(IF_MODIFIED_SINCE, later)]));
        assert!(!unmodified(&[(IF_MODIFIED_SINCE, earlier)]) && !unmodified(&[(IF_MODIFIED_SINCE, "yesterday")]) && !unmodified(&[]));
        assert!(!unmodified(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, later)]));
        assert!(unmodified(&[(IF_NONE_MATCH, "\"ab\""), (IF_MODIFIED_SINCE, earlier)]));
    }

    #[test]
    fn a_range_is_of_the_same_representation_or_none() {
        let holds = |value: Option<&str>| {
            let headers = value.map(|v| (IF_RANGE, v.parse().unwrap())).into_iter().collect();
            if_range_holds(&headers, &HeaderValue::from_static("\"ab\""), time(1000))
        };
        assert!(holds(None) && holds(Some("\"ab\"")) && holds(Some("Thu, 01 Jan 1970 00:16:40 GMT")));
        assert!(!holds(Some("W/\"ab\"")) && !holds(Some("\"x\"")) && !holds(Some("Thu, 01 Jan 1970 00:16:41 GMT")));
    }
}
