//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file durably: under another name first, so that nobody ever sees half of it.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let pending = path.with_extension("pending");
        let mut file = File::create(&pending)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&pending, path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("{}", path.display()))
}
