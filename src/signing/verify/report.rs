//! What was looked at, and what was found.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::signing::gate::{Difference, Finding};

/// Findings that are kept in full; of the others, only how many there are for each rule.
const MAX_FINDINGS: usize = 1000;

/// A finding and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// Name of the issuer.
    pub issuer: String,
    /// What breaks the rule: `OCSP sha1, serial 0a1b`, `CRL of partition 3` ….
    pub artefact: String,
    /// Which rule, what is found, what is wanted.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Certificates in the registry.
    pub certificates: u64,
    /// Packs of responses.
    pub packs: u64,
    /// OCSP responses.
    pub responses: u64,
    /// Signatures of OCSP responses that were verified.
    pub signatures: u64,
    /// CRLs.
    pub crls: u64,
    /// Entries of CRLs.
    pub entries: u64,
    /// How many findings there are for each rule.
    pub rules: BTreeMap<&'static str, u64>,
    /// The findings, by issuer and artefact; the first thousand of them.
    pub findings: Vec<Located>,
}

impl Report {
    /// How many findings there are, kept or not.
    pub fn found(&self) -> u64 {
        self.rules.values().sum()
    }

    pub(super) fn add(&mut self, task: TaskReport) {
        self.certificates += task.certificates;
        self.packs += task.packs;
        self.responses += task.responses;
        self.signatures += task.signatures;
        self.crls += task.crls;
        self.entries += task.entries;
        for located in task.findings {
            *self.rules.entry(located.finding.rule).or_default() += 1;
            if self.findings.len() < MAX_FINDINGS {
                self.findings.push(located);
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|a, b| (&a.issuer, &a.artefact, a.finding.rule).cmp(&(&b.issuer, &b.artefact, b.finding.rule)));
    }
}

/// What one task has looked at and found.
#[derive(Debug, Default)]
pub(super) struct TaskReport {
    pub(super) certificates: u64,
    pub(super) packs: u64,
    pub(super) responses: u64,
    pub(super) signatures: u64,
    pub(super) crls: u64,
    pub(super) entries: u64,
    pub(super) findings: Vec<Located>,
}

impl TaskReport {
    /// Notes findings of the gate.
    pub(super) fn note(&mut self, issuer: &str, artefact: impl Fn() -> String, findings: Vec<Finding>) {
        let located = |finding| Located { issuer: issuer.to_owned(), artefact: artefact(), finding };
        self.findings.extend(findings.into_iter().map(located));
    }

    /// Notes something that concerns more than one artefact.
    pub(super) fn find(
        &mut self,
        issuer: &str,
        artefact: impl Fn() -> String,
        (rule, what): Rule,
        found: impl ToString,
        wanted: impl ToString,
    ) {
        let difference = Difference { found: found.to_string(), wanted: wanted.to_string() };
        self.note(issuer, artefact, vec![Finding::new(rule, what, difference)]);
    }

    /// Takes the findings out; what is left of them is a key of each, by which it is known again.
    pub(super) fn take_keys(&mut self) -> HashSet<u64> {
        std::mem::take(&mut self.findings).iter().map(key).collect()
    }

    /// Keeps those findings that were there before, and no counts: all was counted before.
    pub(super) fn keep_only(&mut self, before: Option<&HashSet<u64>>) {
        let findings = std::mem::take(&mut self.findings).into_iter();
        let again = |located: &Located| before.is_some_and(|keys| keys.contains(&key(located)));
        *self = TaskReport { findings: findings.filter(again).collect(), ..TaskReport::default() };
    }
}

/// Which artefact breaks which rule, whatever exactly it says: a CRL that was issued anew may break it anew.
fn key(located: &Located) -> u64 {
    let Located { issuer, artefact, finding } = located;
    xxh3_64([issuer, artefact, finding.rule, finding.what].join("\n").as_bytes())
}

/// A rule's id and what it says.
pub(super) type Rule = (&'static str, &'static str);
