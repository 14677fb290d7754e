//! The read path: OCSP answers, CRLs and CA certificates over HTTP, from memory.
//!
//! Holds no key, writes nothing, and asks no database while it answers: [`follow`] keeps [`Content`] like the registry, [`ocsp::answer`] and [`documents`]
//! answer from it; [`live`] asks somebody who signs, where nothing is pre-signed. [`service`] dresses that as HTTP of any kind, [`plain`] as what is nearly
//! always asked, and [`listener`] owns sockets and threads. Imports `pki`, `pack` and `registry` only; a test holds that.

mod content;
mod counters;
pub mod documents;
pub mod follow;
pub mod get_path;
pub mod headers;
pub mod listener;
pub mod live;
mod load;
pub mod ocsp;
pub mod plain;
mod plain_head;
mod readiness;
mod route;
pub mod service;
pub mod status_map;
mod stop;
#[cfg(test)]
pub(crate) mod testing;

pub use content::{Content, FeedState};
pub use counters::{Event, Statistics, ThreadCounters};
pub use follow::Follower;
pub use listener::{BindError, Running, Server};
pub use readiness::Readiness;
pub use service::Limits;
pub use status_map::StatusMap;
pub use stop::Stop;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// The read path must stay servable by a node without keys and without write access (DESIGN.md §7).
    #[test]
    fn the_responder_names_no_module_beside_or_above_it() {
        let mut found = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/responder"))];
        while let Some(file) = found.pop() {
            if file.is_dir() {
                found.extend(std::fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for module in ["token", "signing", "issuance", "commands", "config", "admin"] {
                let path = format!("crate::{module}");
                let grouped = text.lines().any(|line| line.contains("crate::{") && line.contains(module));
                assert!(!text.contains(&path) && !grouped, "{} names {path}", file.display());
            }
        }
    }
}
