//! Why a registry call failed, in words that tell the operator what to do next.

use std::path::PathBuf;

use super::IssuerMode;
use crate::pki::Serial;

/// An error from a source of records.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a registry call failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no file.
    #[error("registry {0} does not exist: check the path, or create the registry with `kakunin import` or `kakunin demo`")]
    Missing(PathBuf),
    /// There is a file where a new registry was to be made.
    #[error("{0} exists already: a registry is created once")]
    Exists(PathBuf),
    /// The file is something else.
    #[error("{path} is not a Kakunin registry: {found}")]
    NotARegistry {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// The file was written by a later version of this program.
    #[error("registry {path} has schema version {found}, this program knows versions up to {known}: use the newer program that wrote it")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file was replaced or removed since it was opened: what others commit is not seen here, nor what is committed here by others.
    #[error("registry {0} is another file than the one that was opened, or is not there any more: start the program again")]
    Replaced(PathBuf),
    /// The file or its directory cannot be written.
    #[error("registry {0} is read-only: check the permissions of the file and of its directory, and how its file system is mounted")]
    ReadOnly(PathBuf),
    /// No room.
    #[error("no room on the disk of registry {0}: nothing was changed; free some space and repeat")]
    DiskFull(PathBuf),
    /// The database file is damaged.
    #[error("registry {path} is damaged ({detail}): restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Name or certificate belong to another issuer.
    #[error("issuer '{name}': {conflict}")]
    IssuerConflict {
        /// The name that was to be registered.
        name: String,
        /// What stands against it.
        conflict: String,
    },
    /// No such issuer.
    #[error("no issuer with id {0} is registered")]
    UnknownIssuer(i64),
    /// The serial number is registered already (rule P3).
    #[error("serial {0} is registered already: nothing of this batch was added (rule P3)")]
    SerialRepeats(Serial),
    /// The order has a certificate for this input already.
    #[error("input {0} of the order has a certificate already: somebody else runs the order; nothing of this chunk was added")]
    ItemRepeats(u64),
    /// The CA issues nothing any more (S5.2).
    #[error("issuer '{name}' is in mode {mode:?} and issues nothing any more (S5.2)")]
    IssuerClosed {
        /// Its name.
        name: String,
        /// What it still does.
        mode: IssuerMode,
    },
    /// An entry of the work log that does not follow from those before.
    #[error("order '{order}': {why}: an order is run once")]
    WorkOver {
        /// The order.
        order: String,
        /// What stands against it.
        why: String,
    },
    /// Somebody else published in the meantime.
    #[error("{what} was published by somebody else in the meantime: found {found}, expected {expected}")]
    Stale {
        /// Which artefact.
        what: String,
        /// Its generation or number.
        found: u64,
        /// The one that was expected.
        expected: u64,
    },
    /// Changes that were asked for have been forgotten.
    #[error("changes up to {pruned} have been forgotten, and those after {asked} were asked for: the state is to be read anew")]
    FeedPruned {
        /// After which change.
        asked: u64,
        /// Up to which change the feed has been forgotten.
        pruned: u64,
    },
    /// A value outside what the registry can hold.
    #[error("{field}: found {found}, wanted {wanted}")]
    OutOfRange {
        /// Which value.
        field: &'static str,
        /// The value.
        found: String,
        /// The bound.
        wanted: String,
    },
    /// The source of records failed.
    #[error("{0}")]
    Source(#[source] BoxError),
    /// Anything else that the engine reports.
    #[error("registry: {0}")]
    Engine(BoxError),
}
