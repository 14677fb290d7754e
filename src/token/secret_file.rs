//! Reading and creating files that hold secrets: nobody but the owner has access, and what was read is wiped from memory. Never overwrites
//! a file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::TokenError;

/// The content of `path`, at most `limit` octets. Refuses a file that group or others can read or write.
pub(super) fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let mut file = File::open(path).map_err(failed(path, "open it"))?;
    // Asked of the open file, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(failed(path, "look at it"))?;
    if !metadata.is_file() {
        return Err(TokenError::File { path: path.to_owned(), doing: "read it", error: "not a regular file".to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::FileMode { path: path.to_owned(), found: mode });
    }
    if metadata.len() > limit {
        return Err(TokenError::FileSize { path: path.to_owned(), found: metadata.len(), limit });
    }
    // Of its final size from the start: growing would leave copies behind that nobody wipes.
    let mut content = Zeroizing::new(vec![0; metadata.len() as usize]);
    file.read_exact(&mut content).map_err(failed(path, "read it"))?;
    Ok(content)
}

/// Creates `path` with mode 0600 and `content`, durably: file and directory are synchronised. Fails where the file exists. It is written under another name
/// and gets its own when it is whole, so that an interruption leaves no half of a key.
pub(super) fn create(path: &Path, content: &[u8]) -> Result<(), TokenError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let _ = std::fs::remove_file(&unfinished);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(failed(path, "create it"))?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).map_err(failed(path, "write it"));
    // Unlike a rename, a link never replaces a file.
    let named = written.and_then(|()| std::fs::hard_link(&unfinished, path).map_err(failed(path, "create it")));
    let _ = std::fs::remove_file(&unfinished);
    named?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|d| d.sync_all()).map_err(failed(directory, "synchronise the directory"))
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> TokenError {
    let path = path.to_owned();
    move |error| TokenError::File { path, doing, error: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_created_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create(&path, b"content").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(&read(&path, 7).unwrap()[..], b"content");
        assert!(matches!(create(&path, b"other"), Err(TokenError::File { doing: "create it", .. })));
        assert_eq!(&read(&path, 7).unwrap()[..], b"content");
    }

    #[test]
    fn open_large_and_irregular_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create(&path, b"content").unwrap();
        assert_eq!(read(&path, 6).unwrap_err(), TokenError::FileSize { path: path.clone(), found: 7, limit: 6 });
        for mode in [0o640, 0o604, 0o620, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 64).unwrap_err(), TokenError::FileMode { path: path.clone(), found: mode });
        }
        assert!(matches!(read(directory.path(), 64), Err(TokenError::File { .. })));
        assert!(matches!(read(&directory.path().join("absent"), 64), Err(TokenError::File { doing: "open it", .. })));
    }
}
