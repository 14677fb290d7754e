//! What issuance leaves in the registry beside certificates: the log of work orders, and which certificate each of their inputs has become.
//!
//! The log is append-only and chained: each entry carries the hash of itself and of everything before. Whoever changes, removes or inserts an entry has to
//! write all later ones anew, and the hash of the newest, wherever it was noted, no longer fits (S4.5).

use std::collections::BTreeSet;
use std::ops::Range;

use super::{IssuerId, Registry, Result};
use crate::pki::{Fingerprint, Serial, Timestamp};
use crate::registry::CertificateRecord;

/// Names an order that was begun: the sequence number of its first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkEvent {
    /// Its approvals were found sufficient, and it was begun. Once in its life.
    Begun,
    /// It was taken up again after an interruption.
    Resumed,
    /// A part of it was done.
    Step,
    /// All of it was done. Nothing happens to it any more.
    Done,
    /// It was given up, as it said itself. Nothing happens to it any more.
    Stopped,
    /// A try was interrupted by a failure; it may be taken up again.
    Failed,
    /// A try was refused: approvals were missing or false, or it was run already.
    Refused,
    /// A file of operators was put in force.
    Operators,
}

impl WorkEvent {
    /// Every event, in the order of its code.
    pub const ALL: [WorkEvent; 8] = [
        WorkEvent::Begun,
        WorkEvent::Resumed,
        WorkEvent::Step,
        WorkEvent::Done,
        WorkEvent::Stopped,
        WorkEvent::Failed,
        WorkEvent::Refused,
        WorkEvent::Operators,
    ];

    /// The number that stands for it in the registry and in the chain.
    pub const fn code(self) -> u8 {
        self as u8 + 1
    }

    /// Whether nothing may happen to the order afterwards.
    pub const fn is_end(self) -> bool {
        matches!(self, WorkEvent::Done | WorkEvent::Stopped)
    }
}

/// An entry to write.
#[derive(Clone, Copy, Debug)]
pub struct NewWork<'a> {
    /// Of which order; at most [`MAX_ORDER_ID`] octets.
    pub order: &'a str,
    /// What happened.
    pub event: WorkEvent,
    /// When.
    pub at: Timestamp,
    /// The rest, as JSON; at most [`MAX_WORK_DETAIL`] octets.
    pub detail: &'a str,
}

/// The longest name of an order, in octets.
pub const MAX_ORDER_ID: usize = 128;
/// The longest detail of an entry, in octets.
pub const MAX_WORK_DETAIL: usize = 4 << 20;

/// An entry that was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WorkEntry {
    /// Its place, from 1 on, without gaps.
    pub sequence: u64,
    /// Of which order.
    pub order: String,
    /// What happened.
    pub event: WorkEvent,
    /// When.
    pub at: Timestamp,
    /// The rest, as JSON.
    pub detail: String,
    /// The hash of this entry and of all before.
    pub chain: Fingerprint,
}

/// The hash that an entry at `sequence` must carry, after one that carries `before`.
pub fn chain(before: &Fingerprint, sequence: u64, entry: &NewWork<'_>) -> Fingerprint {
    let length = |text: &str| (text.len() as u64).to_be_bytes();
    Fingerprint::of_parts(&[
        b"kakunin: work log",
        &before.0,
        &sequence.to_be_bytes(),
        &entry.at.unix().to_be_bytes(),
        &[entry.event.code()],
        &length(entry.order),
        entry.order.as_bytes(),
        &length(entry.detail),
        entry.detail.as_bytes(),
    ])
}

/// What the first entry is chained to.
pub const CHAIN_START: Fingerprint = Fingerprint([0; 32]);

/// Holds the entries of a log, given one after the other, against their chain.
#[derive(Clone, Copy, Debug)]
pub struct ChainCheck {
    head: Fingerprint,
    length: u64,
}

/// Where a log contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work log was tampered with: entry {sequence}: {what}")]
pub struct Tampered {
    /// The first entry that does not fit.
    pub sequence: u64,
    /// How.
    pub what: String,
}

impl Default for ChainCheck {
    fn default() -> ChainCheck {
        ChainCheck { head: CHAIN_START, length: 0 }
    }
}

impl ChainCheck {
    /// The next entry.
    pub fn entry(&mut self, entry: &WorkEntry) -> std::result::Result<(), Tampered> {
        let wanted = self.length + 1;
        let tampered = |what: String| Err(Tampered { sequence: wanted, what });
        if entry.sequence != wanted {
            return tampered(format!("found the number {}, wanted {wanted}: entries were removed", entry.sequence));
        }
        let new = NewWork { order: &entry.order, event: entry.event, at: entry.at, detail: &entry.detail };
        let expected = chain(&self.head, wanted, &new);
        if entry.chain != expected {
            return tampered(format!("found the hash {}, wanted {expected}", entry.chain));
        }
        (self.head, self.length) = (expected, wanted);
        Ok(())
    }

    /// After the last entry: how many there are, of `ever_written`, and the hash of the newest.
    pub fn finish(self, ever_written: u64) -> std::result::Result<(u64, Fingerprint), Tampered> {
        if self.length == ever_written {
            return Ok((self.length, self.head));
        }
        let what = format!("the log ends before it, and {ever_written} were written: the newest were removed");
        Err(Tampered { sequence: self.length + 1, what })
    }
}

/// How far an order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkState {
    /// Names it.
    pub id: WorkId,
    /// The detail of its first entry.
    pub begun: String,
    /// How it ended, and when; `None` while it may be taken up again.
    pub end: Option<(WorkEvent, Timestamp)>,
    /// The details of its steps, in order.
    pub steps: Vec<String>,
}

/// A certificate that an order has had issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRecord {
    /// Which of the order's inputs, from 0.
    pub item: u64,
    /// What is known of it as a certificate.
    pub record: CertificateRecord,
    /// Names its key, see [`crate::pki::certificate::key_identity`].
    pub public_key: Fingerprint,
    /// Names its subject.
    pub subject: Fingerprint,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// Whether its key signs the issuer's OCSP responses: such a one is issued in run-off too, for revocation goes on (S5.2).
    pub is_responder: bool,
}

/// A certificate that has a public key, or a subject, already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who issued it.
    pub issuer: IssuerId,
    /// Its serial number.
    pub serial: Serial,
    /// Names its key, see [`crate::pki::certificate::key_identity`].
    pub public_key: Fingerprint,
    /// Names its subject.
    pub subject: Fingerprint,
    /// The order that had it issued.
    pub work: WorkId,
}

/// The registry as issuance sees it. Each call is one durable transaction, as [`Registry`] promises.
pub trait WorkRegistry: Registry {
    /// Appends an entry to the log. Fails with [`super::RegistryError::WorkOver`] where the order was begun or has ended before and the entry says
    /// otherwise.
    fn append_work(&self, entry: &NewWork<'_>) -> Result<WorkEntry>;

    /// Every entry, in order. Streams. Returns how many were ever written. The visitor must not call the registry.
    fn visit_work(&self, visit: &mut dyn FnMut(WorkEntry)) -> Result<u64>;

    /// How far an order has come; `None` where it was never begun.
    fn work(&self, order: &str) -> Result<Option<WorkState>>;

    /// The detail of the newest [`WorkEvent::Operators`]; `None` where there never was one.
    fn operators_in_force(&self) -> Result<Option<String>>;

    /// Adds certificates that an order has had issued, all or none: to the certificates and to the order's. Fails with
    /// [`super::RegistryError::IssuerClosed`] where the issuer issues nothing any more (S5.2), with [`super::RegistryError::SerialRepeats`], and with
    /// [`super::RegistryError::ItemRepeats`] where the order has one for an input already.
    fn add_issued(&self, issuer: IssuerId, work: WorkId, certificates: &[IssuedRecord], now: Timestamp) -> Result<()>;

    /// Which inputs of an order have a certificate already.
    fn issued_items(&self, work: WorkId, items: Range<u64>) -> Result<BTreeSet<u64>>;

    /// The certificates of an order, by input: number, serial and DER. Streams. The visitor must not call the registry.
    fn visit_issued(&self, work: WorkId, items: Range<u64>, visit: &mut dyn FnMut(u64, Serial, Vec<u8>)) -> Result<()>;

    /// The newest certificate with each of these public keys, whoever issued it.
    fn key_holders(&self, public_keys: &[Fingerprint]) -> Result<Vec<Option<Holder>>>;

    /// The newest certificate with each of these public keys that is revoked because the key was compromised, whoever issued it.
    fn compromised_holders(&self, public_keys: &[Fingerprint]) -> Result<Vec<Option<Holder>>>;

    /// The newest certificate of the issuer with each of these subjects that ends at `from` or later and is not revoked.
    fn subject_holders(&self, issuer: IssuerId, subjects: &[Fingerprint], from: Timestamp) -> Result<Vec<Option<Holder>>>;

    /// Has an issuer issue nothing any more but certificates of its responders: its mode is never earlier again, whatever is registered (S5.2).
    fn run_off(&self, issuer: IssuerId) -> Result<()>;

    /// Ends an issuer where none of its certificates is live at `now`, that is neither revoked nor expired (S5.2). Returns how many are.
    fn close(&self, issuer: IssuerId, now: Timestamp) -> Result<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(details: &[&str]) -> Vec<WorkEntry> {
        let mut before = CHAIN_START;
        let entry = |(index, detail): (usize, &&str)| {
            let (sequence, at) = (index as u64 + 1, Timestamp::from_unix(index as u64).unwrap());
            before = chain(&before, sequence, &NewWork { order: "an order", event: WorkEvent::Step, at, detail });
            WorkEntry { sequence, order: "an order".into(), event: WorkEvent::Step, at, detail: (*detail).into(), chain: before }
        };
        details.iter().enumerate().map(entry).collect()
    }

    fn check(entries: &[WorkEntry], ever: u64) -> std::result::Result<(u64, Fingerprint), Tampered> {
        let mut check = ChainCheck::default();
        entries.iter().try_for_each(|entry| check.entry(entry))?;
        check.finish(ever)
    }

    #[test]
    fn s4_5_whatever_is_done_to_a_log_is_found() {
        let entries = log(&["a", "b", "c"]);
        assert_eq!(check(&entries, 3), Ok((3, entries[2].chain)));
        assert_eq!(check(&[], 0), Ok((0, CHAIN_START)));
        type Change = fn(&mut Vec<WorkEntry>);
        let changes: [(u64, Change); 8] = [
            (2, |log| log[1].detail = "B".into()),
            (1, |log| log[0].at = Timestamp::from_unix(9).unwrap()),
            (3, |log| log[2].event = WorkEvent::Done),
            (2, |log| log[1].order = "another".into()),
            (2, |log| drop(log.remove(1))),
            (3, |log| drop(log.pop())),
            (1, |log| log.swap(0, 1)),
            (2, |log| log.insert(1, log[0].clone())),
        ];
        for (sequence, change) in changes {
            let mut changed = entries.clone();
            change(&mut changed);
            assert_eq!(check(&changed, 3).unwrap_err().sequence, sequence, "{changed:?}");
        }
        let mut moved = entries.clone();
        (moved[0].order, moved[0].detail) = ("an ordera".into(), String::new());
        assert!(check(&moved, 3).is_err(), "where one field ends and the next begins is part of it");
    }

    #[test]
    fn codes_are_those_that_the_schema_names() {
        assert_eq!(WorkEvent::ALL.map(WorkEvent::code), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(WorkEvent::ALL.map(WorkEvent::is_end), [false, false, false, true, true, false, false, false]);
    }
}
