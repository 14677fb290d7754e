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
