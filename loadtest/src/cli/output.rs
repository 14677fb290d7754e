//! Where commands write to: standard output, and files that are whole or not there.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Prints a text. A reader that has seen enough is no error.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("standard output"),
    }
}

/// Writes a file beside the one with that name, which it then replaces: nobody finds half of it. What is there and no file (a device, a pipe, a link) is
/// written into instead, and never replaced.
pub(super) fn write_whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    if is_special(path) {
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(octets);
    }
    let beside = beside(path)?;
    fs::write(&beside, octets).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Tries whether a file could be written there, before hours are spent on what would go into it. Leaves everything as it was.
pub(super) fn try_to_write(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if path.is_symlink() {
        // It is written through, and nothing is made at its other end.
        let target = fs::metadata(path)?;
        return if target.is_file() { OpenOptions::new().write(true).open(path).map(drop) } else { Ok(()) };
    }
    if is_special(path) {
        return Ok(());
    }
    let beside = beside(path)?;
    fs::write(&beside, b"").and_then(|()| fs::remove_file(&beside))
}

fn is_special(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.is_file())
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut part = path.file_name().ok_or_else(|| io::Error::other("wanted the name of a file"))?.to_owned();
    part.push(".part");
    Ok(path.with_file_name(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_is_none_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a"), directory.path().join("link"));
        for octets in [&b"first"[..], b"second"] {
            try_to_write(&file).unwrap();
            write_whole(&file, octets).unwrap();
            assert_eq!(fs::read(&file).unwrap(), octets);
        }
        std::os::unix::fs::symlink(&file, &link).unwrap();
        try_to_write(&link).unwrap();
        write_whole(&link, b"by the link").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"by the link");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_known_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(try_to_write(directory.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("b"), &link).unwrap();
        assert_eq!(try_to_write(&link).unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(directory.path().join("b"), b"kept").unwrap();
        try_to_write(&link).unwrap();
        assert_eq!(fs::read(&link).unwrap(), b"kept");
        assert_eq!(try_to_write(&directory.path().join("none/a")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
