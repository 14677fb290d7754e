//! What must hold for any input, one module a fuzz target. `tests/fuzz_seeds` runs the same checks over the seeds.

pub mod answer;
pub mod crl;
pub mod get_path;
pub mod http;
pub mod http_reply;
pub mod ocsp_request;
pub mod openssl_index;
pub mod pack;
pub mod world;

use der::Decode;
use kakunin::pki::der_reading::Reader;

/// A check by the name of its target.
pub type NamedCheck = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [NamedCheck; 7] = [
    ("ocsp_request", ocsp_request::check),
    ("get_path", get_path::check),
    ("pack", pack::check),
    ("answer", answer::check),
    ("http", http::check),
    ("crl", crl::check),
    ("openssl_index", openssl_index::check),
];

/// Whether `part` lies in `whole`: what borrows from an input.
fn borrows(whole: &[u8], part: &[u8]) -> bool {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

/// Deeper than anything that is read here.
const MAX_DEPTH: usize = 32;

/// Whether it is DER through and through: the decoders that we are held against first take as much memory as a length claims, up to 256 MB, and only then
/// see how little is there.
fn is_der(octets: &[u8]) -> bool {
    fn all(octets: &[u8], depth: usize) -> bool {
        let mut reader = Reader::new(octets);
        while !reader.is_empty() {
            let Ok((tag, content)) = reader.any() else { return false };
            let is_constructed = tag & 0x20 != 0;
            if is_constructed && (depth == 0 || !all(content, depth - 1)) {
                return false;
            }
        }
        true
    }
    all(octets, MAX_DEPTH)
}

/// What another decoder reads of DER.
fn read_by_another<T: for<'a> Decode<'a>>(octets: &[u8]) -> Option<T> {
    if is_der(octets) { T::from_der(octets).ok() } else { None }
}
