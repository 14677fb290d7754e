//! One process at a time runs an order: a lock on a file beside the registry, which the operating system lets go of when its holder ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The right to run an order; it ends when this is dropped.
pub(super) struct Turn {
    path: PathBuf,
    _locked: File,
}

impl Turn {
    /// Fails where another process runs the order. `order` is the order's id, which is fit for a name of a file.
    pub(super) fn take(registry: &Path, order: &str) -> Result<Turn> {
        let mut name = registry.as_os_str().to_owned();
        name.push(format!(".{order}.lock"));
        let path = PathBuf::from(name);
        loop {
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => bail!("order {order}: another process runs it at this moment ({})", path.display()),
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| path.display().to_string()),
            }
            // Whoever had it before may have removed the file: then the lock is one on nothing.
            let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            if fs::metadata(&path).ok().map(inode) == file.metadata().ok().map(inode) {
                return Ok(Turn { path, _locked: file });
            }
        }
    }
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

    #[test]
    fn an_order_has_one_runner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let registry = directory.path().join("registry.sqlite");
        let first = Turn::take(&registry, "batch").unwrap();
        let said = Turn::take(&registry, "batch").err().unwrap().to_string();
        assert!(said.contains("order batch: another process runs it"), "{said}");
        drop(Turn::take(&registry, "another").unwrap());
        drop(first);
        drop(Turn::take(&registry, "batch").unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
