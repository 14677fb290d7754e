//! The frame of a page: style and script within it, and a policy that lets nothing else run and nothing be fetched.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::markup::text;

const STYLE: &str = include_str!("page.css");
/// Reads values at the pointer. The page is whole without it.
const SCRIPT: &str = include_str!("page.js");

/// A page. `body` is markup, `title` is text.
pub(crate) fn page(title: &str, body: &str) -> String {
    let script_hash = BASE64_STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <footer>kakunin-loadtest {}</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        text(title),
        env!("CARGO_PKG_VERSION")
    )
}
