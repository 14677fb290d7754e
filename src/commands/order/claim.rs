//! Whose a directory of output is: a file in it names the order that writes there. What a batch hands out is named after its inputs, so that another order with
//! the same directory would write over it; of keys that are made for applicants there is no other copy.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::files;
use crate::commands::durable_file;
use crate::issuance::order::WorkOrder;

/// No certificate, key or report is called so.
const CLAIM: &str = "order";
/// More than the longest id and a hash.
const MAX_CLAIM_BYTES: u64 = 1024;

/// What stands against an order's writing into a directory: another order has written there, or nobody knows who has. One that is not there yet is free.
pub(super) fn objection(directory: &Path, order: &WorkOrder) -> Option<String> {
    let (claim, shown) = (directory.join(CLAIM), directory.display());
    match fs::symlink_metadata(&claim) {
        Ok(_) => match files::read_text(&claim, MAX_CLAIM_BYTES) {
            Ok(found) if found == text(order) => None,
            Ok(found) => Some(format!("{shown}: found the output of order {}, wanted a directory of its own", found.trim().escape_debug())),
            Err(failure) => Some(format!("{failure:#}")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // What is left of a claim that was interrupted, whoever's, claims nothing.
            let unfinished = durable_file::pending(&claim);
            let is_own = |entry: &fs::DirEntry| entry.path() == unfinished && entry.file_type().is_ok_and(|kind| kind.is_file());
            let other = fs::read_dir(directory).ok()?.filter_map(Result::ok).find(|entry| !is_own(entry))?;
            let found = other.file_name().to_string_lossy().into_owned();
            Some(format!("{shown}: found '{found}', wanted a directory that is empty, or not there: an order writes where nothing is"))
        }
        Err(error) => Some(format!("{shown}: found {error}, wanted a directory")),
    }
}

/// What stands against the begin of an order that has written into a directory before: the registry has forgotten it, and would have everything issued again.
pub(super) fn forgotten(directory: &Path, order: &WorkOrder) -> Option<String> {
    let found = files::read_text(&directory.join(CLAIM), MAX_CLAIM_BYTES).ok()?;
    (found == text(order)).then(|| {
        format!(
            "{}: found the output of this very order, which the registry has not begun: was an older copy of it restored? Wanted: what was issued taken over with \
             kakunin import, and the directory moved away",
            directory.display()
        )
    })
}

/// Makes a directory an order's, and creates it where it is not there. Once that is done, every other order is refused.
pub(super) fn take(directory: &Path, order: &WorkOrder) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("output {}", directory.display()))?;
    let claim = directory.join(CLAIM);
    if !claim.exists() && objection(directory, order).is_none() {
        durable_file::write_new(&claim, text(order).as_bytes())?;
    }
    match objection(directory, order) {
        Some(objection) => bail!("output {objection}"),
        None => Ok(()),
    }
}

fn text(order: &WorkOrder) -> String {
    format!("{} {}\n", order.id, order.fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str) -> WorkOrder {
        let text = format!(
            "id = '{id}'\nkind = 'operators'\nrequester = 'abe'\ncreated = '2026-11-21T09:00:00Z'\nexpires = '2026-11-28T09:00:00Z'\n\
             file = 'next.toml'\nfingerprint = '{}'\n",
            "0".repeat(64)
        );
        WorkOrder::parse(&text, Path::new("/")).unwrap()
    }

    #[test]
    fn s4_9_a_directory_is_one_orders() {
        let parent = tempfile::tempdir().unwrap();
        let (first, second, directory) = (order("first"), order("second"), parent.path().join("out/put"));
        assert_eq!((objection(&directory, &first), forgotten(&directory, &first)), (None, None), "it is not there");
        take(&directory, &first).unwrap();
        assert!(forgotten(&directory, &first).unwrap().contains("which the registry has not begun"));
        assert_eq!(forgotten(&directory, &second), None);
        take(&directory, &first).unwrap();
        let said = take(&directory, &second).unwrap_err().to_string();
        assert!(said.contains(&format!("found the output of order first {}, wanted", first.fingerprint)), "{said}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left");
        assert_eq!(objection(&directory, &first), None);
    }

    #[test]
    fn s4_9_what_nobody_has_claimed_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let first = order("first");
        // An interrupted try is nobody's; a link of that name is somebody's doing.
        let unfinished = durable_file::pending(&directory.path().join(CLAIM));
        std::os::unix::fs::symlink("registry.sqlite", &unfinished).unwrap();
        assert!(objection(directory.path(), &first).unwrap().contains("found 'order.pending', wanted a directory that is empty"));
        fs::remove_file(&unfinished).unwrap();
        fs::write(&unfinished, "fir").unwrap();
        assert_eq!(objection(directory.path(), &first), None);
        fs::write(directory.path().join("line-000000001.p12"), "").unwrap();
        let said = take(directory.path(), &first).unwrap_err().to_string();
        assert!(said.contains("found 'line-000000001.p12', wanted a directory that is empty"), "{said}");
    }
}
