//! Holding a CRL against the rules: as a whole, each of its entries, and what they say together. A great CRL is looked at by several threads, since whoever waits
//! for a revocation waits for it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::crl::{Crl, CrlContext, Entry, Listed};
use super::revoked_set::RevokedSet;
use super::{Finding, crl_lints, entry_lints, hex, scope_lints};

/// Octets of entries in a part, which one thread looks at, and in one that is looked at early.
const PART_BYTES: usize = 1 << 20;
const EARLY_BYTES: usize = 1 << 16;
/// The most parts: more than threads, so that one that has verified the signature meanwhile has less of them.
const MAX_PARTS: usize = 64;
/// The most threads.
const MAX_THREADS: usize = 8;

/// A look at the first entries of a CRL while the others are still being written.
#[derive(Default)]
pub struct EarlyLook {
    seen: Entries,
    /// Of the octets that were looked at: they are to be on the CRL as they were.
    octets: usize,
    fingerprint: Xxh3Default,
}

impl EarlyLook {
    /// Goes on for some entries, half a millisecond's worth; `written` are all that there are so far. Returns whether there were any to look at.
    pub fn go_on(&mut self, written: &[u8], context: &CrlContext<'_>) -> bool {
        let Some(part) = Crl::parts(&written[self.octets..], EARLY_BYTES).next() else { return false };
        self.seen.append(Entries::of(part, context, &mut |_| {}));
        self.fingerprint.update(part);
        self.octets += part.len();
        true
    }

    /// What was seen, and the entries that follow. Nothing was seen where the CRL does not begin with what was looked at.
    fn split(self, entries: &[u8]) -> (Entries, &[u8]) {
        match entries.split_at_checked(self.octets) {
            Some((looked_at, others)) if xxh3_128(looked_at) == self.fingerprint.digest128() => (self.seen, others),
            _ => (Entries::default(), entries),
        }
    }
}

/// Reads a CRL again and holds it, each of its entries, and their whole against every rule for CRLs. Memory does not grow with the CRL. Of entries that
/// break the same rule, the first is named and the others are counted. Entries that were looked at early, with the same context but for the truth, are not
/// looked at again.
pub fn check_crl(der: &[u8], context: &CrlContext<'_>, early: EarlyLook) -> Vec<Finding> {
    let crl = match Crl::read(der) {
        Ok(crl) => crl,
        Err(finding) => return vec![finding],
    };
    let (mut entries, others) = early.split(crl.entries.unwrap_or_default());
    let parts: Vec<_> = Crl::parts(others, PART_BYTES.max(others.len().div_ceil(MAX_PARTS))).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(parts.len());
    let next = AtomicUsize::new(0);
    let look = || {
        let take = || {
            let place = next.fetch_add(1, Relaxed);
            Some((place, *parts.get(place)?))
        };
        let mut seen = Vec::new();
        while let Some((place, part)) = take() {
            seen.push((place, Entries::of(part, context, &mut |_| {})));
        }
        seen
    };
    let (mut findings, mut seen) = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(look)).collect();
        let (findings, mut seen) = (whole(&crl, context), look());
        // A lint that panics is a fault of this program: it goes on here.
        others.into_iter().for_each(|other| seen.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
        (findings, seen)
    });
    seen.sort_by_key(|(place, _)| *place);
    seen.into_iter().for_each(|(_, part)| entries.append(part));
    findings.extend(entries.into_findings(context));
    findings
}

/// The same on one thread; `visit` sees every certificate that is listed, in the order of the CRL.
pub fn check_crl_and_visit(der: &[u8], context: &CrlContext<'_>, visit: &mut dyn FnMut(&Listed<'_>)) -> Vec<Finding> {
    let crl = match Crl::read(der) {
        Ok(crl) => crl,
        Err(finding) => return vec![finding],
    };
    let mut findings = whole(&crl, context);
    findings.extend(Entries::of(crl.entries.unwrap_or_default(), context, visit).into_findings(context));
    findings
}

/// What the CRL as a whole breaks.
fn whole(crl: &Crl<'_>, context: &CrlContext<'_>) -> Vec<Finding> {
    let tables = [crl_lints::CRL_LINTS, scope_lints::SCOPE_LINTS];
    tables.into_iter().flatten().filter_map(|lint| lint.finding((lint.check)(crl, context))).collect()
}

/// What entries break, and what they say.
#[derive(Default)]
struct Entries {
    /// The first finding of each lint, and how many entries there are like it.
    broken: Vec<(Finding, u64)>,
    found: RevokedSet,
    /// The first that is not DER.
    unread: Option<Finding>,
}

impl Entries {
    /// Looks at the entries of one part.
    fn of(part: &[u8], context: &CrlContext<'_>, visit: &mut dyn FnMut(&Listed<'_>)) -> Entries {
        let mut entries = Entries::default();
        let visited = Crl::visit_entries(part, &mut |entry| {
            entries.note(entry, context);
            let listed = entry.listed();
            entries.found.add(&listed);
            visit(&listed);
        });
        entries.unread = visited.err();
        entries
    }

    fn note(&mut self, entry: &Entry<'_>, context: &CrlContext<'_>) {
        for lint in entry_lints::ENTRY_LINTS {
            let Some(mut finding) = lint.finding((lint.check)(entry, context)) else { continue };
            finding.found = format!("{} (serial {})", finding.found, hex(entry.serial));
            self.count(finding, 1);
        }
    }

    fn count(&mut self, finding: Finding, entries: u64) {
        match self.broken.iter_mut().find(|(first, _)| first.what == finding.what) {
            Some((_, count)) => *count += entries,
            None => self.broken.push((finding, entries)),
        }
    }

    /// Adds what the following part breaks and says.
    fn append(&mut self, next: Entries) {
        next.broken.into_iter().for_each(|(finding, count)| self.count(finding, count));
        self.found.merge(&next.found);
        self.unread = self.unread.take().or(next.unread);
    }

    fn into_findings(self, context: &CrlContext<'_>) -> Vec<Finding> {
        let counted = |(mut finding, count): (Finding, u64)| {
            if count > 1 {
                finding.found = format!("{}, and {} more entries", finding.found, count - 1);
            }
            finding
        };
        let mut findings: Vec<Finding> = self.broken.into_iter().map(counted).collect();
        match (self.unread, context.truth) {
            (Some(unread), _) => findings.push(unread),
            (None, Some(truth)) => {
                let lints = scope_lints::CONTENT_LINTS.iter();
                findings.extend(lints.filter_map(|lint| lint.finding((lint.check)(&self.found, &truth))));
            }
            (None, None) => {}
        }
        findings
    }
}
