//! The head of a response of HTTP/1.1 to a plain request, written in few large pieces: most of it is the same for every answer, and what differs has its fixed
//! place. (Field by field it took as long as finding the answer.)

use std::time::Duration;

use crate::pki::Timestamp;

use super::headers::{ETag, Text, http_date};
use super::ocsp::{Definitive, TAG_BYTES};
use super::service::validity;

/// What the heads of the responses of one turn share.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) now: Timestamp,
    /// Whether it is the last response of the connection.
    pub(super) close: bool,
    /// The longest max-age.
    pub(super) cap: Duration,
}

/// Places of what differs, marked by `#`.
const DATE: &[u8; 29] = b"#############################";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response\r\nlast-modified: ";
const NOT_MODIFIED: &[u8] = b"HTTP/1.1 304 Not Modified\r\nlast-modified: ";
const EXPIRES: &[u8] = b"\r\nexpires: ";
const ETAG: &[u8] = b"\r\netag: ";
const MAX_AGE: &[u8] = b"\r\ncache-control: max-age=";
/// A tag in hexadecimal and in quotes.
const ETAG_LENGTH: usize = 2 * TAG_BYTES + 2;

/// From the status line to `max-age=`.
#[derive(Clone, Copy)]
struct Beginning<const N: usize> {
    octets: [u8; N],
    last_modified: usize,
}

const OK_BEGINNING: Beginning<{ beginning_length(OK) }> = Beginning::of(OK);
const NOT_MODIFIED_BEGINNING: Beginning<{ beginning_length(NOT_MODIFIED) }> = Beginning::of(NOT_MODIFIED);

const fn beginning_length(first: &[u8]) -> usize {
    first.len() + DATE.len() + EXPIRES.len() + DATE.len() + ETAG.len() + ETAG_LENGTH + MAX_AGE.len()
}

impl<const N: usize> Beginning<N> {
    const fn of(first: &[u8]) -> Beginning<N> {
        let mut octets = [b'#'; N];
        let mut at = put(&mut octets, 0, first);
        at = put(&mut octets, at + DATE.len(), EXPIRES);
        at = put(&mut octets, at + DATE.len(), ETAG);
        at = put(&mut octets, at + ETAG_LENGTH, MAX_AGE);
        assert!(at == N);
        Beginning { octets, last_modified: first.len() }
    }

    fn write(mut self, output: &mut Vec<u8>, definitive: &Definitive) {
        let expires = self.last_modified + DATE.len() + EXPIRES.len();
        let etag = expires + DATE.len() + ETAG.len();
        self.octets[self.last_modified..][..DATE.len()].copy_from_slice(&http_date(definitive.this_update));
        self.octets[expires..][..DATE.len()].copy_from_slice(&http_date(definitive.next_update));
        self.octets[etag..][..ETAG_LENGTH].copy_from_slice(ETag::strong(&definitive.tag).as_bytes());
        output.extend_from_slice(&self.octets);
    }
}

const fn put<const N: usize>(octets: &mut [u8; N], at: usize, part: &[u8]) -> usize {
    let mut i = 0;
    while i < part.len() {
        octets[at + i] = part[i];
        i += 1;
    }
    at + part.len()
}

impl Head {
    /// 200 with a signed response of `length` octets (rule O13).
    pub(super) fn definitive(self, output: &mut Vec<u8>, definitive: &Definitive, length: usize) {
        OK_BEGINNING.write(output, definitive);
        let mut text = Text::<128>::default();
        text.push_number(validity(definitive).max_age(self.now, self.cap));
        text.push(b", public, no-transform, must-revalidate\r\ncontent-length: ");
        text.push_number(length as u64);
        output.extend_from_slice(text.as_bytes());
        self.end(output);
    }

    /// 304 in its place.
    pub(super) fn not_modified(self, output: &mut Vec<u8>, definitive: &Definitive) {
        NOT_MODIFIED_BEGINNING.write(output, definitive);
        let mut text = Text::<96>::default();
        text.push_number(validity(definitive).max_age(self.now, self.cap));
        text.push(b", public, no-transform, must-revalidate");
        output.extend_from_slice(text.as_bytes());
        self.end(output);
    }

    /// 200 with an OCSP error of `length` octets, for no cache to keep.
    pub(super) fn refused(self, output: &mut Vec<u8>, length: usize) {
        let mut text = Text::<128>::default();
        text.push(b"HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response\r\ncache-control: no-store\r\ncontent-length: ");
        text.push_number(length as u64);
        output.extend_from_slice(text.as_bytes());
        self.end(output);
    }

    /// The last headers, and the empty line.
    fn end(self, output: &mut Vec<u8>) {
        if self.close {
            output.extend_from_slice(b"\r\nconnection: close");
        }
        let mut date = *b"\r\ndate: #############################\r\n\r\n";
        date[8..37].copy_from_slice(&http_date(self.now));
        output.extend_from_slice(&date);
    }
}
