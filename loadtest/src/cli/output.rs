//! Where commands write to: standard output, and files that are whole or not there.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Prints a text. A reader that has seen enough is no error.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("standard output"),
    }
}

/// Writes a file beside the one with that name, which it then replaces: nobody finds half of it.
pub(super) fn write_whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("wanted the name of a file"))?;
    let mut part = name.to_owned();
    part.push(".part");
    let beside = path.with_file_name(part);
    fs::write(&beside, octets).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
