//! Files that are written whole or not at all: under another name first, so that nobody ever sees half of one. What stands under that other name is removed, be it
//! left by an interrupted run or a link that somebody has put there: nothing is ever written into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What the name of a file that is being written ends with.
const PENDING: &str = ".pending";
/// Of a file that is for everybody, as the umask allows, and of one that is for its owner.
const PUBLIC: u32 = 0o666;
const SECRET: u32 = 0o600;

/// Writes a file durably, in the place of one that is there.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_with_mode(path, content, PUBLIC)
}

/// The same, with mode 0600.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    write_with_mode(path, content, SECRET)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || {
        let mut file = create_with_mode(path, mode)?;
        file.write_all(content)?;
        finish(&file, path)
    };
    write().with_context(|| path.display().to_string())
}

/// Writes a file durably where none is. One that is there must have this very content.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = create(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        // A hard link would do as well, but not on every medium that certificates are carried on.
        match renameat_with(CWD, pending(path), CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => fs::remove_file(pending(path))?,
            renamed => renamed?,
        }
        sync_directory(path)
    };
    write().with_context(|| path.display().to_string())?;
    if holds(path, content)? != Some(true) {
        bail!("{}: found another file, wanted none: it is not written over", path.display());
    }
    Ok(())
}

/// Whether a file has this very content; `None` where there is none. No more is read than it takes to tell.
pub(super) fn holds(path: &Path, content: &[u8]) -> Result<Option<bool>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut found = Vec::new();
    file.take(content.len() as u64 + 1).read_to_end(&mut found).with_context(|| path.display().to_string())?;
    Ok(Some(found == content))
}

/// Opens a file; `None` where there is none. Fails on what is no file: whoever opens a pipe waits for somebody at its other end.
pub(super) fn open(path: &Path) -> Result<Option<File>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => File::open(path).map(Some).with_context(|| path.display().to_string()),
        Ok(_) => bail!("{}: found something else, wanted a file", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Creates a file that is written bit by bit. It is not there before [`finish`].
pub(super) fn create(path: &Path) -> io::Result<File> {
    create_with_mode(path, PUBLIC)
}

fn create_with_mode(path: &Path, mode: u32) -> io::Result<File> {
    let pending = pending(path);
    match fs::remove_file(&pending) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(&pending)
}

/// Gives a file that [`create`] has made, and that is whole, its name.
pub(super) fn finish(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(pending(path), path)?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes files of one directory durably, each as [`write`] does. Together they take a quarter of the time: most of it goes into waiting for the disk, which is asked
/// once for all of them.
pub(super) fn write_together(directory: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    let each = |what: &dyn Fn(&Path, &[u8]) -> io::Result<()>| {
        files.iter().try_for_each(|(path, content)| what(path, content).with_context(|| path.display().to_string()))
    };
    each(&|path, content| create(path)?.write_all(content))?;
    let place = || directory.display().to_string();
    let directory = File::open(directory).with_context(place)?;
    rustix::fs::syncfs(&directory).with_context(place)?;
    each(&|path, _| fs::rename(pending(path), path))?;
    directory.sync_all().with_context(place)
}

/// The name is longer than the file's, so that no two files, and nothing that is written beside them, have the same.
pub(super) fn pending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PENDING);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    type Writer<'a> = &'a dyn Fn(&Path, &[u8]) -> Result<()>;

    #[test]
    fn s4_9_nothing_is_written_into_what_stands_under_the_name_of_an_unfinished_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, registry) = (directory.path().join("out"), directory.path().join("registry"));
        fs::write(&registry, "everything").unwrap();
        let together = |path: &Path, content: &[u8]| write_together(directory.path(), &[(path.to_owned(), content.to_owned())]);
        let writers: [Writer<'_>; 4] = [&write, &write_secret, &write_new, &together];
        for writer in writers {
            for link in [|from: &Path, to: &Path| symlink(from, to), |from: &Path, to: &Path| fs::hard_link(from, to)] {
                let _ = fs::remove_file(&path);
                link(&registry, &pending(&path)).unwrap();
                writer(&path, b"new").unwrap();
                assert_eq!((fs::read(&path).unwrap(), fs::read_to_string(&registry).unwrap()), (b"new".to_vec(), "everything".to_owned()));
                assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left");
            }
        }
        // One that an interrupted run has left is written anew, a pipe waited for by nobody; a directory is nobody's to remove.
        fs::write(pending(&path), "half, and longer than the whole").unwrap();
        write(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        rustix::fs::mknodat(rustix::fs::CWD, pending(&path), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        write_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::create_dir(pending(&path)).unwrap();
        assert!(write(&path, b"new").unwrap_err().to_string().ends_with("/out"));
    }

    #[test]
    fn s4_9_a_new_file_takes_the_place_of_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
        write_new(&path, b"first").unwrap();
        write_new(&path, b"first").unwrap();
        let said = write_new(&path, b"second").unwrap_err().to_string();
        assert!(said.ends_with("ca.pem: found another file, wanted none: it is not written over"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        for target in [&path, &directory.path().join("nothing")] {
            symlink(target, &other).unwrap();
            let said = write_new(&other, b"first").unwrap_err().to_string();
            assert!(said.contains("other.pem: found something else, wanted a file"), "{said}");
            fs::remove_file(&other).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left");
    }
}
