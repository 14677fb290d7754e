//! Verifying all that is published: every response of every pack, the newest CRL of every scope, the certificates of those who sign, and each of them against
//! the registry (rule C9). Reads the registry, signs nothing, changes nothing.
//!
//! The gate's own tables are applied ([`super::gate`]); what concerns more than one artefact is here ([`slots`], [`crls`]). Memory does not grow with the
//! number of certificates: it is a slot and a CRL for each thread.
//!
//! The service may run meanwhile. What is found is looked at again after a while, and what is found both times is reported: between a revocation and the
//! response that says it, there are some milliseconds.

mod crls;
mod issuer;
mod report;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Clock;
use crate::registry::{CrlScope, Registry, RegistryError};
use issuer::Prepared;
use report::TaskReport;

pub use issuer::IssuerToVerify;
pub use report::{Located, Report};

/// Tasks that are looked at again when they found something; what more of them find is reported as it is.
const MAX_SECOND_LOOKS: usize = 1000;

/// Which signatures of OCSP responses are verified. Those of CRLs are, unless none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// Every one: some 20 000 a second and core for ECDSA P-256.
    All,
    /// The first of each pack, and every 128th after it.
    Sample,
    /// None at all.
    None,
}

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which signatures.
    pub signatures: Signatures,
    /// Threads; at least 1.
    pub threads: usize,
}

/// Why it could not be verified to the end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A CA's certificate cannot be read.
    #[error("issuer '{issuer}': a certificate cannot be read: {detail}")]
    Certificate {
        /// Whose.
        issuer: String,
        /// Why.
        detail: String,
    },
    /// Its slots were divided while they were read.
    #[error("issuer '{0}': its slots were divided anew meanwhile: run it again")]
    Divided(String),
}

/// One thing to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// The CRL of a scope.
    Crl(usize, CrlScope),
    /// The numbers of every CRL that is kept.
    CrlNumbers(usize),
    /// The responses of a slot.
    Slot(usize, u32),
    /// The certificates of the CA and of those who signed.
    Certificates(usize),
}

/// Verifies all that is published for `issuers`. `settle` waits before what was found is looked at again; `done` counts the responses that were looked at.
pub fn verify(
    registry: &dyn Registry,
    issuers: Vec<IssuerToVerify>,
    options: Options,
    clock: Clock<'_>,
    settle: &dyn Fn(),
    done: &AtomicU64,
) -> Result<Report, VerifyError> {
    let prepared = issuers.into_iter().map(|issuer| Prepared::new(registry, issuer)).collect::<Result<Vec<_>, _>>()?;
    let run = Run { registry, issuers: &prepared, options, clock, done };
    let tasks = Tasks::of(&prepared);
    let mut report = Report::default();
    let suspects = run.all(tasks.count(), &|index| tasks.get(index), &mut report)?;
    if !suspects.is_empty() {
        settle();
        run.again(&suspects, &mut report)?;
    }
    // Last, when it is known who signed.
    let certificates = |index: u64| Some(Task::Certificates(index as usize));
    run.work(prepared.len() as u64, &certificates, &mut report, &|_, _| {})?;
    run.check_division()?;
    report.sort();
    Ok(report)
}

/// All tasks by number, without a list of the slots. CRLs come first: the greatest of them takes longest.
struct Tasks {
    crls: Vec<Task>,
    /// The first number of each issuer's slots.
    first_slots: Vec<u64>,
    count: u64,
}

impl Tasks {
    fn of(issuers: &[Prepared]) -> Tasks {
        let crls: Vec<Task> = issuers
            .iter()
            .enumerate()
            .flat_map(|(index, issuer)| issuer.scopes().map(move |scope| Task::Crl(index, scope)).chain([Task::CrlNumbers(index)]))
            .collect();
        let (mut first_slots, mut count) = (Vec::new(), crls.len() as u64);
        for issuer in issuers {
            first_slots.push(count);
            count += 1 << issuer.issuer.slot_bits;
        }
        Tasks { crls, first_slots, count }
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn get(&self, index: u64) -> Option<Task> {
        if let Some(task) = self.crls.get(index as usize) {
            return Some(*task);
        }
        let issuer = self.first_slots.partition_point(|first| *first <= index).checked_sub(1)?;
        (index < self.count).then(|| Task::Slot(issuer, (index - self.first_slots[issuer]) as u32))
    }
}

/// One run over the registry.
struct Run<'a> {
    registry: &'a dyn Registry,
    issuers: &'a [Prepared],
    options: Options,
    clock: Clock<'a>,
    done: &'a AtomicU64,
}

/// A task, and the keys of what it found.
type Suspect = (Task, HashSet<u64>);

type TaskOf<'a> = &'a (dyn Fn(u64) -> Option<Task> + Sync);

impl Run<'_> {
    /// Does every task; returns those that found something and are to be looked at again, with what they found. That is not reported yet.
    fn all(&self, count: u64, task: TaskOf<'_>, report: &mut Report) -> Result<Vec<Suspect>, VerifyError> {
        let suspects = Mutex::new(Vec::new());
        self.work(count, task, report, &|task, found| {
            if found.findings.is_empty() {
                return;
            }
            let mut suspects = suspects.lock().unwrap_or_else(PoisonError::into_inner);
            if suspects.len() < MAX_SECOND_LOOKS {
                suspects.push((task, found.take_keys()));
            }
        })?;
        Ok(suspects.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does tasks again, and reports what they find again. What was counted before is not counted twice.
    fn again(&self, suspects: &[Suspect], report: &mut Report) -> Result<(), VerifyError> {
        let task = |index: u64| suspects.get(index as usize).map(|(task, _)| *task);
        self.work(suspects.len() as u64, &task, report, &|task, found| {
            let before = suspects.iter().find(|(suspect, _)| *suspect == task);
            found.keep_only(before.map(|(_, keys)| keys));
        })
    }

    fn work(
        &self,
        count: u64,
        task: TaskOf<'_>,
        report: &mut Report,
        then: &(dyn Fn(Task, &mut TaskReport) + Sync),
    ) -> Result<(), VerifyError> {
        let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Mutex::new(report);
        let work = || -> Result<(), VerifyError> {
            while !stopped.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = task(index).filter(|_| index < count) else { return Ok(()) };
                let mut found = self.one(task).inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
                then(task, &mut found);
                shared.lock().unwrap_or_else(PoisonError::into_inner).add(found);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..self.options.threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            others.collect::<Result<Vec<()>, _>>().and(own)
        })
    }

    fn one(&self, task: Task) -> Result<TaskReport, VerifyError> {
        match task {
            Task::Crl(issuer, scope) => self.crl(&self.issuers[issuer], scope),
            Task::CrlNumbers(issuer) => self.crl_numbers(&self.issuers[issuer]),
            Task::Slot(issuer, slot) => self.slot(&self.issuers[issuer], slot),
            Task::Certificates(issuer) => Ok(self.issuers[issuer].certificates()),
        }
    }

    /// What was read is worth nothing where slots were divided meanwhile.
    fn check_division(&self) -> Result<(), VerifyError> {
        let now = self.registry.issuers()?;
        let divided = |p: &&Prepared| now.iter().any(|i| i.id == p.issuer.id && i.slot_bits != p.issuer.slot_bits);
        match self.issuers.iter().find(divided) {
            Some(prepared) => Err(VerifyError::Divided(prepared.issuer.name.clone())),
            None => Ok(()),
        }
    }
}
