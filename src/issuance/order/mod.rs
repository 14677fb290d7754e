//! Work orders (S4.8): what is to be done, by whose wish, and until when. An order is a TOML file; approvals are given for its exact octets.
//!
//! Reads and bounds what an order says. Whether it is approved is for [`super::control`] to judge, and carrying it out is the command's.

mod inputs;
pub(in crate::issuance) mod shown;
mod step;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use inputs::{CHUNK, InputError, Inputs, Item, MAX_ITEMS, fingerprint as input_fingerprint};
pub use step::{CaSource, CrossCertificate, Linked, Named, NewCertificate, Step, TokenKey};

use super::control::OrderClass;
use super::profile::{Choices, Period};
use crate::pki::{Fingerprint, KeyAlgorithm, RevocationReason, Timestamp};
use crate::registry::work::MAX_ORDER_ID;

/// The greatest order file that is read.
pub const MAX_ORDER_BYTES: u64 = 1 << 20;
/// No order may be run for longer.
const MAX_VALIDITY: Duration = Duration::from_secs(90 * 86_400);
const MAX_STEPS: usize = 100;
/// The longest message about an order that is not TOML.
const MAX_SHOWN: usize = 2000;

/// An order.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkOrder {
    /// Unique for ever; 1 to 128 of letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Who asks for it: the name of an operator, whose signature it needs beside the approvals.
    pub requester: String,
    /// When it was written; not to be run earlier.
    pub created: Timestamp,
    /// From when on it is not to be run any more; at most 90 days later.
    pub expires: Timestamp,
    /// What is to be done.
    pub task: Task,
    /// SHA-256 of the file: what approvals are given for.
    pub fingerprint: Fingerprint,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Certificates for certification requests.
    Issue(Issue),
    /// Certificates with keys that are made here, handed over as PKCS#12 (S4.9).
    IssueWithKeys(IssueWithKeys),
    /// Steps that concern a CA, one after the other.
    Ceremony(Vec<Step>),
    /// Another file of operators.
    Operators(NewOperators),
}

/// A file, by path and content: what is approved cannot be exchanged afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Relative to the order's directory.
    pub file: PathBuf,
    /// SHA-256 of it, as `sha256sum` prints it.
    pub sha256: Fingerprint,
}

/// The inputs of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputsConfig {
    /// A directory of files, one request each; taken in the order of their names.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Or a file of JSON lines.
    #[serde(default)]
    pub lines: Option<PathBuf>,
    /// What `kakunin order digest` prints of it; of a file, its SHA-256.
    pub sha256: Fingerprint,
}

/// What becomes of the rest when a request is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRejection {
    /// It is issued.
    #[default]
    GoOn,
    /// The order ends: exactly what stands before it in the inputs is issued.
    Stop,
}

/// `kind = "issue"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Name of the issuer in the configuration.
    pub issuer: String,
    /// What the certificates are to be.
    pub profile: Bound,
    /// Certification requests (PKCS#10), PEM or DER; in JSON lines `{"csr": "…"}`, PEM or base64.
    pub inputs: InputsConfig,
    /// Where the certificates go: a directory that is empty or not there, and from then on this order's.
    pub output: PathBuf,
    /// What becomes of the rest when a request is rejected.
    #[serde(default)]
    pub on_rejection: OnRejection,
    /// For how long the certificates are valid, where that is less than the profile allows.
    #[serde(default)]
    pub valid_for: Option<Period>,
    /// Whether a key may be certified again for the same subject; not one that a certificate was revoked for.
    #[serde(default)]
    pub renewal: bool,
}

/// `kind = "issue-with-keys"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueWithKeys {
    /// Name of the issuer in the configuration.
    pub issuer: String,
    /// What the certificates are to be.
    pub profile: Bound,
    /// JSON lines: `{"subject": "CN=…", "dns": ["…"]}`.
    pub inputs: InputsConfig,
    /// Kind of the keys.
    #[serde(deserialize_with = "key_algorithm")]
    pub key_algorithm: KeyAlgorithm,
    /// Where certificates and encrypted keys go: a directory that is empty or not there, and from then on this order's.
    pub output: PathBuf,
    /// Where the passphrases go, likewise: to be handed over by another way than the keys.
    pub passphrases: PathBuf,
    /// For how long the certificates are valid, where that is less than the profile allows.
    #[serde(default)]
    pub valid_for: Option<Period>,
    /// What becomes of the rest when an applicant is rejected.
    #[serde(default)]
    pub on_rejection: OnRejection,
}

/// `kind = "operators"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperators {
    /// The file that is to be in force.
    pub file: PathBuf,
    /// What `kakunin order digest --operators` prints of it: with the keys that it refers to.
    pub fingerprint: Fingerprint,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    step: Vec<Step>,
}

#[derive(Deserialize)]
struct Header {
    id: String,
    kind: String,
    requester: String,
    created: Timestamp,
    expires: Timestamp,
}

/// An order that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not TOML, or not of the expected shape.
    #[error("{0}")]
    Parse(String),
    /// A field that is out of bounds.
    #[error("{field}: found {found}, wanted {wanted}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is there.
        found: String,
        /// What may be there.
        wanted: String,
    },
}

pub(crate) fn key_algorithm<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<KeyAlgorithm, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl WorkOrder {
    /// Reads an order. Paths in it are relative to `directory`, that of its file.
    pub fn parse(text: &str, directory: &Path) -> Result<WorkOrder, OrderError> {
        let mut table: toml::Table = toml::from_str(text).map_err(not_read)?;
        table.iter().try_for_each(|(name, value)| shown::check(name, value))?;
        let mut head = toml::Table::new();
        for field in ["id", "kind", "requester", "created", "expires"] {
            head.extend(table.remove(field).map(|value| (field.to_owned(), value)));
        }
        let Header { id, kind, requester, created, expires } = head.try_into().map_err(not_read)?;
        check_header(&id, created, expires)?;
        let mut task = task(&kind, table)?;
        task.resolve(directory);
        task.check()?;
        Ok(WorkOrder { id, requester, created, expires, task, fingerprint: Fingerprint::of(text.as_bytes()) })
    }

    /// Which approvals it needs.
    pub fn class(&self) -> OrderClass {
        match &self.task {
            Task::Issue(_) => OrderClass::Issue,
            Task::IssueWithKeys(_) => OrderClass::IssueWithKeys,
            Task::Ceremony(_) => OrderClass::Ceremony,
            Task::Operators(_) => OrderClass::Operators,
        }
    }
}

fn task(kind: &str, rest: toml::Table) -> Result<Task, OrderError> {
    fn read<T: DeserializeOwned>(rest: toml::Table) -> Result<T, OrderError> {
        rest.try_into().map_err(not_read)
    }
    match kind {
        "issue" => read(rest).map(Task::Issue),
        "issue-with-keys" => read(rest).map(Task::IssueWithKeys),
        "ceremony" => read::<Steps>(rest).map(|steps| Task::Ceremony(steps.step)),
        "operators" => read(rest).map(Task::Operators),
        _ => Err(field("kind", format!("'{kind}'"), "issue, issue-with-keys, ceremony or operators")),
    }
}

/// With the line that it is about, where that is of a length to be shown.
fn not_read(error: toml::de::Error) -> OrderError {
    let shown = error.to_string();
    let text = if shown.len() <= MAX_SHOWN { shown.trim_end().to_owned() } else { error.message().chars().take(MAX_SHOWN).collect() };
    OrderError::Parse(text)
}

fn field(field: &'static str, found: impl Into<String>, wanted: impl Into<String>) -> OrderError {
    OrderError::Field { field, found: found.into().chars().take(200).collect(), wanted: wanted.into() }
}

fn check_header(id: &str, created: Timestamp, expires: Timestamp) -> Result<(), OrderError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > MAX_ORDER_ID || !id.bytes().all(is_plain) {
        return Err(field("id", format!("'{id}'"), format!("1 to {MAX_ORDER_ID} letters, digits, -, _ and .")));
    }
    if expires <= created || expires.since(created) > MAX_VALIDITY {
        let wanted = format!("a time after created ({created}), at most {} days later", MAX_VALIDITY.as_secs() / 86_400);
        return Err(field("expires", expires.to_string(), wanted));
    }
    Ok(())
}

impl Task {
    /// For how long a batch says that its certificates are valid.
    pub fn valid_for(&self) -> Option<Period> {
        match self {
            Task::Issue(issue) => issue.valid_for,
            Task::IssueWithKeys(issue) => issue.valid_for,
            Task::Ceremony(_) | Task::Operators(_) => None,
        }
    }

    /// The profile of a batch: every certificate that it makes is of this one.
    pub fn batch_profile(&self) -> Option<&Bound> {
        match self {
            Task::Issue(issue) => Some(&issue.profile),
            Task::IssueWithKeys(issue) => Some(&issue.profile),
            Task::Ceremony(_) | Task::Operators(_) => None,
        }
    }

    /// The directory, or the file, of a batch's inputs.
    pub fn inputs(&self) -> Option<&Path> {
        let inputs = match self {
            Task::Issue(issue) => &issue.inputs,
            Task::IssueWithKeys(issue) => &issue.inputs,
            Task::Ceremony(_) | Task::Operators(_) => return None,
        };
        inputs.directory.as_deref().or(inputs.lines.as_deref())
    }

    /// Directories that a batch writes into: for certificates, and for passphrases.
    pub fn outputs(&self) -> Vec<&Path> {
        match self {
            Task::Issue(issue) => vec![&issue.output],
            Task::IssueWithKeys(issue) => vec![&issue.output, &issue.passphrases],
            Task::Ceremony(_) | Task::Operators(_) => Vec::new(),
        }
    }

    /// By which profiles, and with which choices, which CAs of the configuration are to issue.
    pub fn issued_by(&self) -> Vec<(&str, &Bound, Choices<'_>)> {
        match self {
            Task::Issue(issue) => vec![(&issue.issuer, &issue.profile, Choices::default())],
            Task::IssueWithKeys(issue) => vec![(&issue.issuer, &issue.profile, Choices::default())],
            Task::Ceremony(steps) => steps.iter().filter_map(Step::issued_by).collect(),
            Task::Operators(_) => Vec::new(),
        }
    }

    /// All of whose certificates are to be revoked, and why.
    pub fn revoked(&self) -> impl Iterator<Item = (&str, RevocationReason)> {
        let steps = if let Task::Ceremony(steps) = self { steps.as_slice() } else { &[] };
        steps.iter().filter_map(|step| match step {
            Step::RevokeAll { issuer, reason } => Some((issuer.as_str(), *reason)),
            _ => None,
        })
    }

    fn resolve(&mut self, directory: &Path) {
        let resolve = |path: &mut PathBuf| *path = directory.join(&*path);
        let inputs = |inputs: &mut InputsConfig| inputs.directory.iter_mut().chain(&mut inputs.lines).for_each(resolve);
        match self {
            Task::Issue(issue) => {
                inputs(&mut issue.inputs);
                [&mut issue.profile.file, &mut issue.output].into_iter().for_each(resolve);
            }
            Task::IssueWithKeys(issue) => {
                inputs(&mut issue.inputs);
                [&mut issue.profile.file, &mut issue.output, &mut issue.passphrases].into_iter().for_each(resolve);
            }
            Task::Ceremony(steps) => steps.iter_mut().flat_map(Step::paths).for_each(resolve),
            Task::Operators(operators) => resolve(&mut operators.file),
        }
    }

    fn check(&self) -> Result<(), OrderError> {
        let inputs = |inputs: &InputsConfig| match (&inputs.directory, &inputs.lines) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err(field("inputs", "both or neither of directory and lines", "one of them")),
        };
        match self {
            Task::Issue(issue) => inputs(&issue.inputs),
            Task::IssueWithKeys(issue) if issue.inputs.lines.is_none() => Err(field("inputs", "a directory", "lines")),
            Task::IssueWithKeys(issue) if issue.passphrases == issue.output => {
                Err(field("passphrases", "the directory of the keys", "another one: they are handed over apart (S4.9)"))
            }
            Task::IssueWithKeys(issue) => inputs(&issue.inputs),
            Task::Ceremony(steps) if steps.is_empty() || steps.len() > MAX_STEPS => {
                Err(field("step", format!("{} of them", steps.len()), format!("1 to {MAX_STEPS}")))
            }
            Task::Ceremony(steps) => check_sources(steps),
            Task::Operators(_) => Ok(()),
        }
    }
}

/// A certificate that decides what a step makes is named by its hash, or is one that the order itself makes before.
fn check_sources(steps: &[Step]) -> Result<(), OrderError> {
    let mut made: Vec<&PathBuf> = Vec::new();
    for step in steps {
        if let Some(source) = step.sources().into_iter().find(|source| source.sha256.is_none() && !made.contains(&&source.certificate)) {
            let wanted = "the SHA-256 of the file: no earlier step of the order makes it";
            return Err(field("sha256", format!("none of {}", source.certificate.display()), wanted));
        }
        made.extend(step.certificates());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "requester = 'abe'\ncreated = '2026-11-21T09:00:00Z'\nexpires = '2026-11-28T09:00:00Z'\n";

    fn issue(more: &str) -> String {
        let sha256 = "0".repeat(64);
        format!(
            "id = 'one'\nkind = 'issue'\n{HEAD}issuer = 'ca'\noutput = 'out'\nprofile = {{ file = 'p.toml', sha256 = '{sha256}' }}\n\
             inputs = {{ lines = 'in.jsonl', sha256 = '{sha256}' }}\n{more}"
        )
    }

    fn parse(text: &str) -> Result<WorkOrder, OrderError> {
        WorkOrder::parse(text, Path::new("/orders"))
    }

    #[test]
    fn an_order_is_named_by_its_octets_and_its_paths_are_beside_it() {
        let (order, spaced) = (parse(&issue("")).unwrap(), parse(&issue("\n")).unwrap());
        assert_eq!(order.fingerprint, Fingerprint::of(issue("").as_bytes()));
        assert_ne!(order.fingerprint, spaced.fingerprint, "what is approved is octets, not meaning");
        let Task::Issue(task) = &order.task else { panic!("{order:?}") };
        assert_eq!(task.profile.file, Path::new("/orders/p.toml"));
        assert_eq!((order.class(), task.on_rejection, task.renewal), (OrderClass::Issue, OnRejection::GoOn, false));
        assert_eq!(task.valid_for, None);
        let Task::Issue(task) = parse(&issue("valid_for = '30d'")).unwrap().task else { panic!() };
        assert_eq!(task.valid_for.map(|period| period.to_string()), Some("30d".to_owned()));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message(&issue("on_rejction = 'stop'")).contains("on_rejction"));
        assert!(message(&issue("valid_for = '0d'")).contains("found '0d', wanted a period such as 3y, 200d or 12h"));
        assert!(message(&issue("").replace("'one'", "'a b'")).starts_with("id: found 'a b'"));
        assert!(message(&issue("").replace("2026-11-28", "2027-11-28")).contains("90 days"));
        assert!(message(&issue("").replace("2026-11-28", "2026-11-21")).starts_with("expires"));
        for hidden in ["\\n", "\\u001b[2K", "\\u202e", "\\u200b"] {
            let said = message(&issue("").replace("'out'", &format!("\"out{hidden}\"")));
            assert!(said.starts_with("order: found the character U+") && said.contains("text that can be seen"), "{said}");
            assert!(!said.contains(['\n', '\u{1b}', '\u{202e}', '\u{200b}']), "{said:?}");
        }
        assert!(message(&issue("").replace("'issue'", "'isue'")).contains("ceremony or operators"));
        assert!(message(&issue("").replace("lines = 'in.jsonl', ", "")).contains("one of them"));
        assert!(message(&issue("").replace("id = 'one'\n", "")).contains("id"));
        assert!(message(&format!("id = 'one'\nkind = 'ceremony'\n{HEAD}step = []")).contains("1 to 100"));
    }

    #[test]
    fn a_ceremony_is_steps() {
        let steps = "[[step]]\ndo = 'generate-key'\nkey = { token = 'hsm', label = 'root' }\nalgorithm = 'ecdsa-p384'\n\
                     [[step]]\ndo = 'revoke-all'\nissuer = 'ca'\nreason = 'keyCompromise'\n";
        let order = parse(&format!("id = 'one'\nkind = 'ceremony'\n{HEAD}{steps}")).unwrap();
        let Task::Ceremony(found) = &order.task else { panic!("{order:?}") };
        assert_eq!((found.len(), order.class()), (2, OrderClass::Ceremony));
        let with = |from: &str, to: &str| parse(&format!("id = 'one'\nkind = 'ceremony'\n{HEAD}{}", steps.replace(from, to)));
        assert!(with("label", "lable").is_err());
        let link =
            |name: &str| format!("{name} = {{ profile = {{ file = 'p', sha256 = '{0}' }}, certificate = '{name}.pem' }}\n", "0".repeat(64));
        let ca = |name: &str, more: &str| {
            format!("{name} = {{ certificate = '{name}.pem'{more}, key = {{ token = 'hsm', label = '{name}' }} }}\n")
        };
        let links = |more: &str| {
            let step = format!("[[step]]\ndo = 'link-certificates'\n{}{}", ca("old", more), ca("new", more));
            parse(&format!("id = 'one'\nkind = 'ceremony'\n{HEAD}{step}{}{}", link("old_with_new"), link("new_with_old")))
        };
        assert!(links("").unwrap_err().to_string().starts_with("sha256: found none of /orders/old.pem, wanted the SHA-256 of the file"));
        assert!(links(&format!(", sha256 = '{}'", "0".repeat(64))).is_ok());
        for (label, count) in [("''".to_owned(), 0), (format!("'{}'", "x".repeat(129)), 129)] {
            let said = with("label = 'root'", &format!("label = {label}")).unwrap_err().to_string();
            assert!(said.contains(&format!("label: found {count} characters, wanted 1 to 128")), "{said}");
        }
    }
}
