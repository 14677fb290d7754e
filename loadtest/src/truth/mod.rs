//! Whether answers are right: a sample of them, checked beside the load and never within it.
//!
//! The load hands answers over through a bounded queue ([`Samples`]); one thread checks them ([`check_all`]). Where a part of the answers is checked, what
//! finds the queue full is not checked; where all are, the load waits.

mod crl;
pub mod headers;
mod ocsp;
mod signature;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

pub use headers::HeaderRules;

use crate::endpoint::Endpoint;
use crate::record::{Finding, Truth};
use crate::targets::certificate::Certificate;
use crate::targets::{Kind, RequestId, Targets};
use crate::units::Share;

/// Answers that wait to be checked at most.
const QUEUE: usize = 4096;
/// Octets of their bodies at most: CRLs are great.
const QUEUE_BYTES: usize = 256 << 20;
/// How long the load waits before it looks again whether there is room.
const LOOK: Duration = Duration::from_millis(1);
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
    _room: Room,
}

/// What a body takes of the octets that may wait; given back when it has been checked.
#[derive(Debug)]
struct Room {
    taken: Arc<AtomicUsize>,
    octets: usize,
}

impl Room {
    /// `None` where there is not so much. A body that is greater than all that may wait goes alone.
    fn take(taken: &Arc<AtomicUsize>, octets: usize) -> Option<Room> {
        let more = |taken: usize| (taken == 0 || taken + octets <= QUEUE_BYTES).then_some(taken + octets);
        taken.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Room { taken: taken.clone(), octets })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// The way from the load to the checks.
#[derive(Clone, Debug)]
pub struct Samples {
    queue: SyncSender<Sample>,
    waits: bool,
    taken: Arc<AtomicUsize>,
}

impl Samples {
    /// The way for a share of the answers, and its end.
    pub fn new(share: Share) -> (Samples, Receiver<Sample>) {
        let (queue, samples) = sync_channel(QUEUE);
        (Samples { queue, waits: share == Share::ALL, taken: Arc::default() }, samples)
    }

    /// Copies an answer for the checks.
    pub fn hand_over(&self, id: RequestId, status: u16, head: &[u8], body: &[u8]) {
        let at = SystemTime::now();
        let _room = loop {
            match Room::take(&self.taken, body.len()) {
                Some(room) => break room,
                None if self.waits => std::thread::sleep(LOOK),
                None => return,
            }
        };
        let sample = Sample { id, status, head: head.into(), body: body.into(), at, _room };
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
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A time as people read it.
fn shown_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { kind: Kind::Crl, index: 0 };

    #[test]
    fn great_answers_wait_only_as_far_as_there_is_room() {
        let (samples, queue) = Samples::new(Share::new(0.5));
        let body = vec![0; QUEUE_BYTES / 4 + 1];
        (0..5).for_each(|_| samples.hand_over(ID, 200, b"", &body));
        assert_eq!(queue.try_iter().count(), 3);
        samples.hand_over(ID, 200, b"", &body);
        samples.hand_over(ID, 200, b"", b"");
        assert_eq!(queue.try_iter().count(), 2);
        samples.hand_over(ID, 200, b"", &vec![0; QUEUE_BYTES + 1]);
        assert_eq!(queue.try_iter().count(), 1);
    }

    #[test]
    fn where_all_are_checked_the_load_waits_for_room() {
        let (samples, queue) = Samples::new(Share::ALL);
        let load = std::thread::spawn(move || (0..5).for_each(|_| samples.hand_over(ID, 200, b"", &vec![0; QUEUE_BYTES / 2 + 1])));
        std::thread::sleep(50 * LOOK);
        assert!(!load.is_finished());
        assert_eq!(queue.iter().count(), 5);
        load.join().unwrap();
    }
}
