//! What is asked: OCSP questions and CRLs, made once into octets that are ready to be sent.
//!
//! Knows nothing of connections and clocks. A [`Targets`] is shared by all threads; each draws from it with a [`Picker`] of its own.

mod arena;
pub mod certificate;
pub mod crl;
pub mod mix;
mod popularity;
pub mod question;
pub mod serials;
mod statuses;

use std::path::Path;

pub use crl::{Document, DocumentRequest};
pub use mix::{Ask, Class, Kind, Mix};
pub use popularity::{Picker, Popularity};
pub use question::{Expected, Hashes, Questions};
pub use statuses::Statuses;

use arena::Arena;

/// One request out of [`Targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// How it is asked.
    pub kind: Kind,
    /// Which question or document.
    pub index: u32,
}

/// The parts of a request, which HTTP/1.1 and HTTP/2 put together in their own ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Path, with the slash that it begins with.
    pub path: &'a [u8],
    /// A header line of its own, with its line end; or nothing.
    pub header: &'a [u8],
    /// The DER of a POST; `None` for a GET.
    pub body: Option<&'a [u8]>,
}

/// Everything that can be asked, with the weights by which it is.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    questions: Questions,
    /// Paths of GETs, one a question; empty where nothing is asked by GET.
    paths: Arena,
    post_path: Vec<u8>,
    documents: Vec<Document>,
    requests: Vec<DocumentRequest>,
    statuses: Statuses,
    mix: Mix,
    pools: Vec<(u32, popularity::Pool)>,
    popularity: Popularity,
}

/// Not a set of targets that a load can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoTargets(String);

impl Targets {
    /// Puts together what is asked below `base` (the path of the service, without a slash at its end).
    ///
    /// # Errors
    ///
    /// A kind or class with a weight of which there is nothing to ask.
    pub fn new(
        base: &str,
        questions: Questions,
        documents: Vec<Document>,
        mix: Option<Mix>,
        ask: &Ask,
        popularity: Popularity,
    ) -> Result<Targets, NoTargets> {
        let mix = mix.unwrap_or_else(|| Mix::only(if questions.is_empty() { Kind::Crl } else { Kind::OcspGet }));
        for kind in mix.kinds() {
            if kind.is_ocsp() && questions.is_empty() {
                return Err(NoTargets(format!(
                    "--mix: found {kind}, wanted --issuer with --serials, or --requests-from, to know what to ask"
                )));
            }
            if !kind.is_ocsp() && documents.is_empty() {
                return Err(NoTargets(format!("--mix: found {kind}, wanted --crl to know which")));
            }
        }
        let requests = crl::requests(&documents, &mix)?;
        let pools = if questions.is_empty() { Vec::new() } else { ask.pools(&questions)? };
        let mut paths = Arena::default();
        if mix.weight(Kind::OcspGet) > 0 {
            (0..questions.len()).for_each(|index| paths.push(question::get_path(base, questions.der(index)).as_bytes()));
        }
        let post_path = if base.is_empty() { b"/".to_vec() } else { base.as_bytes().to_vec() };
        Ok(Targets { questions, paths, post_path, documents, requests, statuses: Statuses::default(), mix, pools, popularity })
    }

    /// The parts of a request.
    pub fn parts(&self, id: RequestId) -> Parts<'_> {
        match id.kind {
            Kind::OcspGet => Parts { path: self.paths.get(id.index), header: b"", body: None },
            Kind::OcspPost => Parts { path: &self.post_path, header: b"", body: Some(self.questions.der(id.index)) },
            Kind::Crl | Kind::CrlConditional | Kind::CrlRange => {
                let request = &self.requests[id.index as usize];
                Parts { path: self.documents[request.document].path.as_bytes(), header: &request.header, body: None }
            }
        }
    }

    /// What the answer must say.
    pub fn expected(&self, id: RequestId) -> Expected {
        if id.kind.is_ocsp() { self.questions.expected(id.index) } else { Expected::Anything }
    }

    /// The DER of the OCSP request.
    pub fn question(&self, id: RequestId) -> &[u8] {
        self.questions.der(id.index)
    }

    /// The document that is asked for, and how.
    pub fn document(&self, id: RequestId) -> Option<(&Document, &DocumentRequest)> {
        let request = self.requests.get(id.index as usize)?;
        Some((self.documents.get(request.document)?, request))
    }

    /// What CRLs are held against from now on.
    pub fn expect_on_crls(&mut self, statuses: Statuses) {
        self.statuses = statuses;
    }

    /// What CRLs are held against.
    pub fn statuses(&self) -> &Statuses {
        &self.statuses
    }

    /// From now on a certificate may be revoked at any time: answers good and revoked are both right.
    pub fn statuses_change(&mut self) {
        self.questions.forget_statuses();
        self.statuses = Statuses::default();
    }

    /// Every question whose certificate has been issued: by index.
    pub fn issued(&self) -> impl Iterator<Item = u32> {
        (0..self.questions.len())
            .filter(|index| matches!(self.questions.expected(*index), Expected::Good | Expected::Revoked | Expected::Issued))
    }

    /// What is asked in words, one line each.
    pub fn description(&self) -> Vec<String> {
        let mut lines = vec![format!("mix {}", self.mix)];
        if !self.questions.is_empty() {
            lines.push(format!("popularity {}", self.popularity));
            lines.push(format!("{} OCSP questions", self.questions.len()));
        }
        lines.extend(self.documents.iter().map(|document| format!("CRL {} of {} octets", document.path, document.body.len())));
        lines
    }
}

/// Reads a file that must not be greater than `limit` octets.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context;
    use std::io::Read;
    let (name, mut octets) = (path.display(), Vec::new());
    // Pipes and devices do not tell their length.
    let read = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut octets));
    read.with_context(|| format!("{name}"))?;
    anyhow::ensure!(octets.len() as u64 <= limit, "{name}: found more than {limit} octets, wanted at most so many");
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let refused = format!("{:#}", read_bounded(Path::new("/dev/zero"), 1000).unwrap_err());
        assert_eq!(refused, "/dev/zero: found more than 1000 octets, wanted at most so many");
        assert_eq!(read_bounded(Path::new("/dev/null"), 0).unwrap(), Vec::<u8>::new());
        assert!(format!("{:#}", read_bounded(Path::new("/nonexistent"), 1).unwrap_err()).starts_with("/nonexistent: No such file"));
    }
}
