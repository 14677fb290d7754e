//! The files of an order: itself, its approvals, the operators, and what it is bound to by a hash.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::issuance::control::{Approval, ApprovalError, MAX_APPROVAL_BYTES, MAX_OPERATORS_BYTES, Operators};
use crate::issuance::order::{Bound, MAX_ORDER_BYTES, WorkOrder};
use crate::pki::Fingerprint;

/// More approvals than there are roles, and no flood.
const MAX_APPROVALS: usize = 1000;
/// The greatest file that an order is bound to, other than inputs.
const MAX_BOUND_BYTES: u64 = 1 << 20;
/// The greatest public key file of an operator.
const MAX_KEY_BYTES: u64 = 64 << 10;
const SUFFIX: &str = ".approval";

/// The text of a file of at most so many octets.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?).ok().with_context(|| format!("{}: found octets that are not UTF-8", path.display()))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    // Whoever opens a pipe waits for somebody at its other end.
    if !fs::metadata(path).with_context(|| path.display().to_string())?.is_file() {
        bail!("{}: found something else, wanted a file", path.display());
    }
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut content));
    read.with_context(|| path.display().to_string())?;
    if content.len() as u64 > limit {
        bail!("{}: found more than {limit} octets, wanted at most {limit}", path.display());
    }
    Ok(content)
}

/// The directory that paths in a file are relative to.
fn directory_of(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Reads an order; with its text.
pub(super) fn order(path: &Path) -> Result<(String, WorkOrder)> {
    let text = read_text(path, MAX_ORDER_BYTES).context("order")?;
    let order = WorkOrder::parse(&text, &directory_of(path)?).with_context(|| format!("order {}", path.display()))?;
    Ok((text, order))
}

/// Reads a file of operators, and the keys that it refers to.
pub(super) fn operators(path: &Path) -> Result<Operators> {
    let text = read_text(path, MAX_OPERATORS_BYTES).context("operators")?;
    let directory = directory_of(path)?;
    let key = |file: &str| read(&directory.join(file), MAX_KEY_BYTES).map_err(|e| format!("{e:#}"));
    Operators::parse(&text, &key).with_context(|| format!("operators {}", path.display()))
}

/// Reads a file that an order is bound to.
pub(super) fn bound(bound: &Bound) -> Result<String> {
    let text = read_text(&bound.file, MAX_BOUND_BYTES)?;
    let found = Fingerprint::of(text.as_bytes());
    if found != bound.sha256 {
        bail!("{}: found the hash {found}, wanted {}, as the order says: it is not what was approved", bound.file.display(), bound.sha256);
    }
    Ok(text)
}

/// Where the approval of an operator goes: beside the order.
pub(super) fn approval_path(order: &Path, operator: &str) -> PathBuf {
    let mut name = order.as_os_str().to_owned();
    name.push(format!(".{operator}{SUFFIX}"));
    name.into()
}

/// An approval file: its name, what it says, and its text.
pub(super) struct ApprovalFile {
    pub(super) name: String,
    pub(super) content: Result<Approval, ApprovalError>,
    pub(super) text: String,
}

/// Every approval beside an order. One that cannot be read is none, and keeps no other from counting.
pub(super) fn approvals(order: &Path) -> Result<Vec<ApprovalFile>> {
    let directory = directory_of(order)?;
    let prefix = format!("{}.", order.file_name().unwrap_or_default().to_string_lossy());
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let entry = entry.with_context(|| directory.display().to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) || !name.ends_with(SUFFIX) {
            continue;
        }
        if files.len() == MAX_APPROVALS {
            bail!("{}: found more than {MAX_APPROVALS} approvals of the order", directory.display());
        }
        files.push(match read_text(&entry.path(), MAX_APPROVAL_BYTES) {
            Ok(text) => ApprovalFile { name, content: Approval::parse(&text), text },
            Err(failure) => ApprovalFile { name, content: Err(ApprovalError(format!("{failure:#}"))), text: String::new() },
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
