//! Whether answers are right: a sample of them, checked beside the load and never within it.
//!
//! The load hands answers over through a bounded queue ([`Samples`]); one thread checks them ([`check_all`]). Where a part of the answers is checked, what
//! finds the queue full is not checked; where all are, the load waits.

mod crl;
pub mod headers;
mod ocsp;
mod signature;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

pub use headers::HeaderRules;

use crate::endpoint::Endpoint;
use crate::record::{Finding, Truth};
use crate::targets::certificate::Certificate;
use crate::targets::{Kind, RequestId, Targets};
use crate::units::Share;

/// Answers that wait to be checked at most.
const QUEUE: usize = 4096;
/// Findings that are kept.
const MAX_FINDINGS: usize = 20;
/// Octets of a body that a finding shows.
const SHOWN_BYTES: usize = 4096;

/// An answer that is to be checked.
#[derive(Debug)]
pub struct Sample {
    id: RequestId,
    status: u16,
    head: Box<[u8]>,
    body: Box<[u8]>,
    at: SystemTime,
}

/// The way from the load to the checks.
#[derive(Clone, Debug)]
pub struct Samples {
    queue: SyncSender<Sample>,
    waits: bool,
}

impl Samples {
    /// The way for a share of the answers, and its end.
    pub fn new(share: Share) -> (Samples, Receiver<Sample>) {
        let (queue, samples) = sync_channel(QUEUE);
        (Samples { queue, waits: share == Share::ALL }, samples)
    }

    /// Copies an answer for the checks.
    pub fn hand_over(&self, id: RequestId, status: u16, head: &[u8], body: &[u8]) {
        let sample = Sample { id, status, head: head.into(), body: body.into(), at: SystemTime::now() };
        if self.waits {
            // It fails only where the checks are over.
            let _ = self.queue.send(sample);
        } else {
            let _ = self.queue.try_send(sample);
        }
    }
}

/// What answers are held against.
#[derive(Clone, Copy, Debug)]
pub struct Standard<'a> {
    /// Where they come from.
    pub endpoint: &'a Endpoint,
    /// What was asked.
    pub targets: &'a Targets,
    /// Who must have signed them, or have said who may; not known for ready-made requests without an issuer.
    pub issuer: Option<&'a Certificate>,
    /// The headers that they must have.
    pub headers: HeaderRules,
}

/// Checks answers until the load is over.
pub fn check_all(standard: &Standard<'_>, samples: Receiver<Sample>) -> Truth {
    let (mut truth, mut crls) = (Truth::default(), crl::Checker::new(standard.issuer, standard.headers, standard.targets.statuses()));
    for sample in samples {
        let wrong = standard.check(&sample, &mut crls);
        truth.checked += 1;
        if !wrong.is_empty() {
            truth.wrong += 1;
            let room = MAX_FINDINGS.saturating_sub(truth.findings.len());
            let finding = |what| Finding { what, request: standard.shown_request(sample.id), answer: sample.shown() };
            truth.findings.extend(wrong.into_iter().take(room).map(finding));
        }
    }
    truth
}

/// An answer, as it came.
#[derive(Debug)]
struct Answer<'a> {
    status: u16,
    fields: headers::Fields<'a>,
    body: &'a [u8],
    at: SystemTime,
}

impl Standard<'_> {
    /// What is wrong with an answer.
    fn check(&self, sample: &Sample, crls: &mut crl::Checker<'_>) -> Vec<String> {
        let Ok(head) = std::str::from_utf8(&sample.head) else { return vec!["a head that is no text".to_owned()] };
        let answer = Answer { status: sample.status, fields: headers::Fields::of(head), body: &sample.body, at: sample.at };
        match sample.id.kind {
            Kind::OcspGet | Kind::OcspPost => {
                let asked = ocsp::Asked { question: self.targets.question(sample.id), expected: self.targets.expected(sample.id) };
                ocsp::check(&asked, &answer, self.issuer, self.headers)
            }
            Kind::Crl | Kind::CrlConditional | Kind::CrlRange => {
                let Some((document, request)) = self.targets.document(sample.id) else { return Vec::new() };
                crls.check(document, request, &answer)
            }
        }
    }

    fn shown_request(&self, id: RequestId) -> String {
        let parts = self.targets.parts(id);
        let path = String::from_utf8_lossy(parts.path);
        let header = String::from_utf8_lossy(parts.header);
        match parts.body {
            Some(body) => format!("POST {path} to {}\n{}", self.endpoint.host, hexadecimal(body)),
            None => format!("GET {path} from {}\n{}", self.endpoint.host, header.trim_end()).trim_end().to_owned(),
        }
    }
}

impl Sample {
    fn shown(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        let cut = if self.body.len() > SHOWN_BYTES { "…" } else { "" };
        format!("{}\n{}{cut}", head.trim_end(), hexadecimal(&self.body[..self.body.len().min(SHOWN_BYTES)]))
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Seconds since 1970 as a time.
fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// A time as people read it.
fn shown_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
