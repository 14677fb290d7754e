//! HTTP headers of authoritative answers, and conditional requests (rule O13, RFC 9919 6, RFC 9110 13). Reads no clock.
//!
//! `Date` and `Content-Length` are not written here.

use std::time::Duration;

use httpdate::parse_http_date;
use hyper::HeaderMap;
use hyper::header::{
    CACHE_CONTROL, ETAG, EXPIRES, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED,
};

use crate::pki::{Timestamp, two_digits};

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
    pub fn write(&self, headers: &mut HeaderMap, etag: &ETag, now: Timestamp, cap: Duration) {
        let mut field = |name: HeaderName, value: &[u8]| {
            headers.insert(name, HeaderValue::from_bytes(value).expect("only header text is written here"));
        };
        field(LAST_MODIFIED, &http_date(self.this_update));
        if let Some(next_update) = self.next_update {
            field(EXPIRES, &http_date(next_update));
        }
        field(ETAG, etag.as_bytes());
        let mut text = Text::<96>::default();
        text.push(b"max-age=");
        text.push_number(self.max_age(now, cap));
        text.push(b", public, no-transform, must-revalidate");
        field(CACHE_CONTROL, text.as_bytes());
    }
}

/// A strong entity tag (RFC 9110 8.8.3).
#[derive(Clone, Copy, Debug)]
pub struct ETag(Text<64>);

impl ETag {
    /// Octets in hexadecimal, quoted; of more than 31 octets the first 31.
    pub fn strong(octets: &[u8]) -> ETag {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (mut text, mut length) = ([b'"'; 64], 1);
        for (octet, place) in octets.iter().take(31).zip(text[1..].chunks_exact_mut(2)) {
            place.copy_from_slice(&[DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
            length += 2;
        }
        ETag(Text { octets: text, length: length + 1 })
    }

    /// The field's value.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Text of a field, without an allocation. What goes beyond its `N` octets is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<const N: usize> {
    octets: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text { octets: [0; N], length: 0 }
    }
}

impl<const N: usize> Text<N> {
    #[inline]
    pub(super) fn push(&mut self, octets: &[u8]) {
        let length = octets.len().min(N - self.length);
        self.octets[self.length..self.length + length].copy_from_slice(&octets[..length]);
        self.length += length;
    }

    /// Decimal digits.
    pub(super) fn push_number(&mut self, mut number: u64) {
        let (mut digits, mut start) = ([0; 20], 20);
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.push(&digits[start..]);
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// IMF-fixdate (RFC 9110 5.6.7).
pub fn http_date(time: Timestamp) -> [u8; 29] {
    const WEEKDAYS: &[[u8; 3]; 7] = &[*b"Mon", *b"Tue", *b"Wed", *b"Thu", *b"Fri", *b"Sat", *b"Sun"];
    const MONTHS: &[[u8; 3]; 12] =
        &[*b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov", *b"Dec"];
    let t = time.civil();
    let mut text = *b"Www, DD Mmm YYYY hh:mm:ss GMT";
    text[..3].copy_from_slice(&WEEKDAYS[usize::from(t.weekday)]);
    text[5..7].copy_from_slice(&two_digits(t.day));
    text[8..11].copy_from_slice(&MONTHS[usize::from(t.month - 1)]);
    text[12..16].copy_from_slice(&t.year_digits());
    text[17..19].copy_from_slice(&two_digits(t.hour));
    text[20..22].copy_from_slice(&two_digits(t.minute));
    text[23..25].copy_from_slice(&two_digits(t.second));
    text
}

/// The headers of a request that make it conditional, as [`is_unmodified`] wants them: each If-None-Match, and If-Modified-Since.
pub fn conditions(request: &HeaderMap) -> (impl Iterator<Item = &[u8]>, Option<&[u8]>) {
    let none_match = request.get_all(IF_NONE_MATCH).into_iter().map(HeaderValue::as_bytes);
    (none_match, request.get(IF_MODIFIED_SINCE).map(HeaderValue::as_bytes))
}

/// Whether the client's copy is still the one that would be sent: answer 304. If-None-Match, where present, decides alone (RFC 9110 13.1.3).
pub fn is_unmodified<'a>(
    (none_match, modified_since): (impl Iterator<Item = &'a [u8]>, Option<&[u8]>),
    etag: &ETag,
    last_modified: Timestamp,
) -> bool {
    let mut none_match = none_match.peekable();
    if none_match.peek().is_some() {
        return none_match.any(|list| names_etag(list, etag.as_bytes()));
    }
    let since = modified_since.and_then(|value| parse_http_date(std::str::from_utf8(value).ok()?).ok());
    since.is_some_and(|since| last_modified.to_system_time() <= since)
}

/// Weak comparison with each entity tag of a list, or with `*` (RFC 9110 8.8.3.2, 13.1.2). Our tags hold no comma.
fn names_etag(list: &[u8], etag: &[u8]) -> bool {
    list.split(|octet| *octet == b',').map(<[u8]>::trim_ascii).any(|tag| {
        let strong = tag.strip_prefix(b"W/").unwrap_or(tag);
        strong == etag || tag == b"*"
    })
}

/// Whether what the client goes on with is still what would be sent; otherwise answer 412. If-Match, where present, decides alone (RFC 9110 13.1.1, 13.1.4).
pub fn precondition_holds(request: &HeaderMap, etag: &ETag, last_modified: Timestamp) -> bool {
    let mut matches = request.get_all(IF_MATCH).into_iter().map(HeaderValue::as_bytes).peekable();
    if matches.peek().is_some() {
        let is_ours = |tag: &[u8]| tag == etag.as_bytes() || tag == b"*";
        return matches.any(|list| list.split(|octet| *octet == b',').map(<[u8]>::trim_ascii).any(is_ours));
    }
    let since = request.get(IF_UNMODIFIED_SINCE).and_then(|value| parse_http_date(value.to_str().ok()?).ok());
    since.is_none_or(|since| last_modified.to_system_time() <= since)
}

/// Whether a Range may be honoured: without If-Range always, otherwise only for exactly the same representation (RFC 9110 13.1.5).
pub fn if_range_holds(request: &HeaderMap, etag: &ETag, last_modified: Timestamp) -> bool {
    let holds = |validator: &[u8]| validator == etag.as_bytes() || validator == http_date(last_modified);
    request.get(IF_RANGE).is_none_or(|validator| holds(validator.as_bytes()))
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
        validity().write(&mut headers, &ETag::strong(&[0xab, 0x01]), time(1000), HOUR);
        let text = |name| headers[name].to_str().unwrap();
        assert_eq!(text(LAST_MODIFIED), "Thu, 01 Jan 1970 00:16:40 GMT");
        assert_eq!(text(EXPIRES), "Thu, 01 Jan 1970 02:30:00 GMT");
        assert_eq!(text(ETAG), "\"ab01\"");
        assert_eq!(text(CACHE_CONTROL), "max-age=3600, public, no-transform, must-revalidate");
    }

    #[test]
    fn dates_are_as_another_writer_writes_them() {
        let times = (0..40_000).map(|n| n * 6_335_057).chain([1_709_164_800, 1_793_594_491, Timestamp::MAX.unix()]);
        for seconds in times {
            let expected = httpdate::fmt_http_date(time(seconds).to_system_time());
            assert_eq!(http_date(time(seconds)), expected.as_bytes());
        }
        assert_eq!(ETag::strong(&[0; 40]).as_bytes().len(), 64);
    }

    #[test]
    fn numbers_are_as_another_writer_writes_them() {
        for number in [0, 9, 10, 3600, u64::MAX] {
            let mut text = Text::<20>::default();
            text.push_number(number);
            assert_eq!(text.as_bytes(), number.to_string().as_bytes());
        }
    }

    fn unmodified(pairs: &[(hyper::header::HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        is_unmodified(conditions(&headers), &ETag::strong(&[0xab]), time(1000))
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
            if_range_holds(&headers, &ETag::strong(&[0xab]), time(1000))
        };
        assert!(holds(None) && holds(Some("\"ab\"")) && holds(Some("Thu, 01 Jan 1970 00:16:40 GMT")));
        assert!(!holds(Some("W/\"ab\"")) && !holds(Some("\"x\"")) && !holds(Some("Thu, 01 Jan 1970 00:16:41 GMT")));
    }
}
