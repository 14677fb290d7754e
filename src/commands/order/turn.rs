//! One process at a time runs an order, and one at a time a batch: a lock on a file beside the registry, which the operating system lets go of when its holder
//! ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The right to run an order, or to run batches at all; it ends when this is dropped.
pub(super) struct Turn {
    path: PathBuf,
    _locked: File,
}

impl Turn {
    /// Fails where another process runs the order. `order` is the order's id, which is fit for a name of a file.
    pub(super) fn take(registry: &Path, order: &str) -> Result<Turn> {
        let path = beside(registry, &format!(".{order}.lock"))?;
        match Turn::lock(&path, order)? {
            Some(turn) => Ok(turn),
            None => bail!("order {order}: another process runs it at this moment ({})", path.display()),
        }
    }

    /// Fails where another process runs a batch of any id: two batches would not see each other's keys and subjects before both have certified them (S3.1).
    pub(super) fn take_for_batch(registry: &Path, order: &str) -> Result<Turn> {
        // No order's own lock is called so: none has an empty id.
        let path = beside(registry, ".lock")?;
        if let Some(turn) = Turn::lock(&path, order)? {
            return Ok(turn);
        }
        let (holder, path) = (fs::read_to_string(&path).unwrap_or_default(), path.display());
        bail!(
            "order {order}: another process runs the batch '{holder}' at this moment, wanted one batch at a time: run it again later ({path})"
        )
    }

    /// Locks a file, and writes into it, for people, which order has it. `None` where another process has locked it.
    fn lock(path: &Path, order: &str) -> Result<Option<Turn>> {
        loop {
            let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
            let mut file = open.with_context(|| path.display().to_string())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| path.display().to_string()),
            }
            // Whoever had it before may have removed the file: then the lock is one on nothing.
            let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            if fs::metadata(path).ok().map(inode) == file.metadata().ok().map(inode) {
                // The lock is what counts: a full disk does not keep an order from its turn.
                let _ = file.set_len(0).and_then(|()| file.write_all(order.as_bytes()));
                return Ok(Some(Turn { path: path.to_owned(), _locked: file }));
            }
        }
    }
}

/// Of the registry itself, by whichever name it is called.
fn beside(registry: &Path, suffix: &str) -> Result<PathBuf> {
    let mut name = fs::canonicalize(registry).with_context(|| format!("registry {}", registry.display()))?.into_os_string();
    name.push(suffix);
    Ok(name.into())
}

impl Drop for Turn {
    fn drop(&mut self) {
        // One that stays does no harm: the lock is what counts.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(directory: &Path) -> PathBuf {
        let path = directory.join("registry.sqlite");
        File::create(&path).unwrap();
        path
    }

    #[test]
    fn an_order_has_one_runner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(directory.path());
        let first = Turn::take(&registry, "batch").unwrap();
        let said = Turn::take(&registry, "batch").err().unwrap().to_string();
        assert!(said.contains("order batch: another process runs it"), "{said}");
        drop(Turn::take(&registry, "another").unwrap());
        drop(first);
        drop(Turn::take(&registry, "batch").unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn s3_1_one_batch_at_a_time_runs_whatever_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(directory.path());
        let first = Turn::take_for_batch(&registry, "first").unwrap();
        let said = Turn::take_for_batch(&registry, "second").err().unwrap().to_string();
        assert!(said.contains("order second: another process runs the batch 'first'") && said.contains("one batch at a time"), "{said}");
        drop(Turn::take(&registry, "a-ceremony").unwrap());
        drop(first);
        drop(Turn::take_for_batch(&registry, "second").unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn s3_1_a_registry_of_two_names_has_one_batch_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, other) = (registry(directory.path()), directory.path().join("other.sqlite"));
        std::os::unix::fs::symlink("registry.sqlite", &other).unwrap();
        let first = (Turn::take(&registry, "first").unwrap(), Turn::take_for_batch(&registry, "first").unwrap());
        assert!(Turn::take(&other, "first").is_err() && Turn::take_for_batch(&other, "second").is_err());
        drop(first);
        drop(Turn::take_for_batch(&other, "second").unwrap());
    }
}
