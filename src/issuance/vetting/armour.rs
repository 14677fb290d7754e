//! What a request comes in where it is no DER: PEM, base64, lines of JSON.

use base64ct::{Base64, Encoding};
use serde::Deserialize;

use super::Rejection;

/// Before and behind the kind of what PEM holds (RFC 7468 3).
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
/// A request; the other one is how Microsoft and Java call it.
const KINDS: [&str; 2] = ["CERTIFICATE REQUEST-----", "NEW CERTIFICATE REQUEST-----"];

/// A line of JSON with an object in it, `with` what.
pub fn read_json_line<'a, T: Deserialize<'a>>(line: &'a [u8], with: &str) -> Result<T, Rejection> {
    let wrong = |found: &str| Err(Rejection::new("request", format!("found {found}, wanted a JSON object with {with}")));
    match line.trim_ascii() {
        [] => wrong("an empty line"),
        [b'{', ..] => serde_json::from_slice(line).or_else(|error| {
            // Which line it is says the place of the input: the error knows of one line only.
            let (column, text) = (error.column(), error.to_string());
            wrong(&format!("in column {column}: {}", text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what)))
        }),
        [0xef, 0xbb, 0xbf, ..] => wrong("a byte order mark"),
        _ => wrong("something else"),
    }
}

/// The DER of the one request in a file of PEM.
pub(super) fn pem(content: &[u8]) -> Result<Vec<u8>, Rejection> {
    let text = std::str::from_utf8(content).map_err(|_| no_request())?;
    from_base64(base64_of_pem(text)?.ok_or_else(no_request)?)
}

/// The DER of the one request in a text, which may be its base64 alone.
pub(super) fn pem_or_base64(text: &str) -> Result<Vec<u8>, Rejection> {
    match base64_of_pem(text)? {
        Some(base64) => from_base64(base64),
        None if text.contains(BEGIN) => Err(no_request()),
        None => from_base64(text),
    }
}

fn no_request() -> Rejection {
    Rejection::new("request", format!("neither DER nor text with '{BEGIN}{}'", KINDS[0]))
}

/// What stands between the lines that begin and end the one request in a text, with anything around it; `None` where none begins.
fn base64_of_pem(text: &str) -> Result<Option<&str>, Rejection> {
    let wrong = |why: String| Err(Rejection::new("request", why));
    let behind = |(at, begin): (usize, &str)| {
        let rest = &text[at + begin.len()..];
        KINDS.into_iter().find_map(|kind| Some((kind, rest.strip_prefix(kind)?)))
    };
    let mut begun = text.match_indices(BEGIN).filter_map(behind);
    let Some((kind, rest)) = begun.next() else { return Ok(None) };
    let (base64, end) = rest.split_at(rest.find('-').unwrap_or(rest.len()));
    if !end.strip_prefix(END).is_some_and(|end| end.starts_with(kind)) {
        return wrong(format!("damaged PEM: no '{END}{kind}' behind its base64"));
    }
    match begun.next() {
        Some(_) => wrong("more than one request, wanted one".to_owned()),
        None => Ok(Some(base64)),
    }
}

/// With any white space in it (RFC 7468 2: a parser is lax with that), in lines of any length.
fn from_base64(text: &str) -> Result<Vec<u8>, Rejection> {
    let mut octets = Vec::with_capacity(text.len());
    text.split_ascii_whitespace().for_each(|line| octets.extend_from_slice(line.as_bytes()));
    let damaged = |e| Rejection::new("request", format!("damaged PEM: {e}"));
    let length = Base64::decode_in_place(&mut octets).map_err(damaged)?.len();
    octets.truncate(length);
    Ok(octets)
}
