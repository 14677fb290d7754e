//! CRLs as targets: fetched once before the load, so that conditional requests have an ETag and ranges a length, and asked for in each way.

use super::NoTargets;
use super::mix::{Kind, Mix};

/// Octets of a range at most.
const RANGE_BYTES: usize = 64 << 10;

/// A CRL as it was before the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its path.
    pub path: String,
    /// Its ETag, quotes and all.
    pub etag: Option<String>,
    /// Its octets.
    pub body: Vec<u8>,
}

/// One way to ask for a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRequest {
    /// How.
    pub kind: Kind,
    /// Which document.
    pub document: usize,
    /// The header line that makes it conditional or a range, with its line end.
    pub header: Vec<u8>,
    /// First octet, and the one behind the last, of a range.
    pub range: Option<(usize, usize)>,
}

/// Every way to ask that has a weight.
pub(super) fn requests(documents: &[Document], mix: &Mix) -> Result<Vec<DocumentRequest>, NoTargets> {
    let mut requests = Vec::new();
    for kind in mix.kinds().filter(|kind| !kind.is_ocsp()) {
        for (index, document) in documents.iter().enumerate() {
            requests.extend(ways(kind, index, document)?);
        }
    }
    Ok(requests)
}

fn ways(kind: Kind, document: usize, of: &Document) -> Result<Vec<DocumentRequest>, NoTargets> {
    let way = |header: String, range| DocumentRequest { kind, document, header: header.into_bytes(), range };
    match (kind, &of.etag) {
        (Kind::CrlConditional, Some(etag)) => Ok(vec![way(format!("If-None-Match: {etag}\r\n"), None)]),
        (Kind::CrlConditional, None) => Err(NoTargets(format!("--mix: found crl-conditional, but {} is served without an ETag", of.path))),
        (Kind::CrlRange, _) if of.body.is_empty() => Err(NoTargets(format!("--mix: found crl-range, but {} is empty", of.path))),
        (Kind::CrlRange, _) => Ok(ranges(of.body.len())
            .into_iter()
            .map(|(start, end)| way(format!("Range: bytes={start}-{}\r\n", end - 1), Some((start, end))))
            .collect()),
        _ => Ok(vec![way(String::new(), None)]),
    }
}

/// The beginning, the middle and the end: what a broken download is resumed with.
fn ranges(length: usize) -> Vec<(usize, usize)> {
    let piece = (length / 4).clamp(1, RANGE_BYTES);
    let mut ranges: Vec<(usize, usize)> =
        [0, length / 2, length.saturating_sub(piece)].into_iter().map(|start| (start, (start + piece).min(length))).collect();
    ranges.retain(|(start, end)| start < end);
    ranges.dedup();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_within_the_document() {
        assert_eq!(ranges(0), []);
        assert_eq!(ranges(1), [(0, 1)]);
        assert_eq!(ranges(1000), [(0, 250), (500, 750), (750, 1000)]);
        assert_eq!(ranges(1 << 20)[2], ((1 << 20) - RANGE_BYTES, 1 << 20));
    }

    #[test]
    fn a_condition_needs_an_etag_and_a_range_needs_octets() {
        let mut document = Document { path: "/a.crl".into(), etag: Some("\"1\"".into()), body: vec![0; 8] };
        let mix = "crl-conditional=1,crl=1".parse().unwrap();
        let made = requests(std::slice::from_ref(&document), &mix).unwrap();
        assert_eq!((made.len(), &made[1].header[..]), (2, &b"If-None-Match: \"1\"\r\n"[..]));
        document.body.clear();
        let refused = requests(std::slice::from_ref(&document), &"crl-range=1".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(refused, "--mix: found crl-range, but /a.crl is empty");
        document.etag = None;
        assert!(requests(&[document], &mix).unwrap_err().to_string().contains("/a.crl is served without an ETag"));
    }
}
