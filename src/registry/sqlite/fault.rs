//! What went wrong inside the SQLite back end, and its translation into the registry's error: at one edge, with the path.

use std::io;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::registry::RegistryError;

/// Result of a function that does not know the path.
pub(super) type Outcome<T> = std::result::Result<T, Fault>;

/// Why a function failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine said no.
    Sqlite(rusqlite::Error),
    /// The stored data contradicts itself.
    Damaged(String),
    /// A rule of the contract.
    Refused(RegistryError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Fault {
        Fault::Refused(error)
    }
}

impl From<refinery::Error> for Fault {
    fn from(error: refinery::Error) -> Fault {
        if let refinery::error::Kind::Connection(_, source) = error.kind()
            && let Some(rusqlite::Error::SqliteFailure(code, message)) = source.downcast_ref()
        {
            return Fault::Sqlite(rusqlite::Error::SqliteFailure(*code, message.clone()));
        }
        Fault::Refused(RegistryError::Engine(Box::new(error)))
    }
}

impl Fault {
    /// The error to show, for the registry at `path`.
    pub(super) fn explain(self, path: &Path) -> RegistryError {
        match self {
            Fault::Refused(error) => error,
            Fault::Damaged(detail) => RegistryError::Damaged { path: path.into(), detail },
            Fault::Sqlite(error) => explain_sqlite(error, path),
        }
    }
}

fn explain_sqlite(error: rusqlite::Error, path: &Path) -> RegistryError {
    use rusqlite::Error as E;
    let damaged = |detail: String| RegistryError::Damaged { path: path.into(), detail };
    let failure = match &error {
        E::SqliteFailure(failure, _) => *failure,
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..) | E::Utf8Error(..) => {
            return damaged(error.to_string());
        }
        _ => return RegistryError::Engine(Box::new(error)),
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DatabaseCorrupt, _)
        | (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA) => {
            damaged(error.to_string())
        }
        (ErrorCode::NotADatabase, _) => not_a_registry(path, "not an SQLite database"),
        // Growing the shared-memory file is the one place where SQLite reports a full disk as something else.
        (ErrorCode::DiskFull, _) | (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_SHMSIZE) => RegistryError::DiskFull(path.into()),
        (ErrorCode::CannotOpen, _) if !path.exists() => RegistryError::Missing(path.into()),
        (ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied, _) => RegistryError::ReadOnly(path.into()),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            let seconds = super::connection::BUSY_TIMEOUT.as_secs();
            let message = format!(
                "another process has been writing {} for more than {seconds} s ({error}): repeat when it has finished",
                path.display()
            );
            RegistryError::Engine(message.into())
        }
        _ => RegistryError::Engine(Box::new(error)),
    }
}

/// The file at `path` is something else.
pub(super) fn not_a_registry(path: &Path, found: impl Into<String>) -> RegistryError {
    RegistryError::NotARegistry { path: path.into(), found: found.into() }
}

/// An error of the file system, outside SQLite.
pub(super) fn explain_io(error: io::Error, path: &Path) -> RegistryError {
    match error.kind() {
        io::ErrorKind::NotFound => RegistryError::Missing(path.into()),
        io::ErrorKind::AlreadyExists => RegistryError::Exists(path.into()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => RegistryError::ReadOnly(path.into()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RegistryError::DiskFull(path.into()),
        _ => RegistryError::Engine(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: i32) -> RegistryError {
        Fault::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).explain(Path::new("/"))
    }

    #[test]
    fn every_failure_of_disk_and_permission_has_its_error() {
        for code in [ffi::SQLITE_READONLY, ffi::SQLITE_READONLY_DIRECTORY, ffi::SQLITE_CANTOPEN, ffi::SQLITE_PERM] {
            assert!(matches!(explained(code), RegistryError::ReadOnly(_)), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(explained(code), RegistryError::DiskFull(_)), "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_IOERR_SHORT_READ] {
            assert!(matches!(explained(code), RegistryError::Damaged { .. }), "{code}");
        }
        assert!(matches!(explained(ffi::SQLITE_NOTADB), RegistryError::NotARegistry { .. }));
        assert!(explained(ffi::SQLITE_BUSY).to_string().contains("repeat when it has finished"));
        let io = |kind| explain_io(io::Error::from(kind), Path::new("/"));
        assert!(matches!(io(io::ErrorKind::ReadOnlyFilesystem), RegistryError::ReadOnly(_)));
        assert!(matches!(io(io::ErrorKind::StorageFull), RegistryError::DiskFull(_)));
    }
}
