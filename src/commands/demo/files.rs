//! The files of a demo: each is written whole or not at all. Nothing that a user may have changed is written again.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::PARTITIONS;
use crate::commands::durable_file;
use crate::pki::KeyAlgorithm;

/// What a demo is to hold, kept beside it so that an interrupted one can be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) certificates: u64,
    pub(super) revoked: u64,
    pub(super) key_algorithm: String,
    /// The address that the certificates name.
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Plan {
    pub(super) fn key_algorithm(&self) -> Result<KeyAlgorithm> {
        Ok(self.key_algorithm.parse()?)
    }

    /// The URL that the certificates name.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

const PLAN: &str = "demo.json";

/// The plan of the demo in `dir`, where there is one.
pub(super) fn read_plan(dir: &Path) -> Result<Option<Plan>> {
    let path = dir.join(PLAN);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let plan = serde_json::from_str(&text).with_context(|| format!("{}: not the plan of a demo", path.display()))?;
    Ok(Some(plan))
}

/// Notes what the demo is to hold, in its directory, which is made where it is missing.
pub(super) fn write_plan(dir: &Path, plan: &Plan) -> Result<()> {
    create_directory(dir)?;
    durable_file::write(&dir.join(PLAN), serde_json::to_string_pretty(plan)?.as_bytes())
}

/// Refuses a directory that holds something which a demo would write and no demo has: it is somebody else's.
pub(super) fn refuse_foreign(dir: &Path) -> Result<()> {
    let written = ["kakunin.toml", "registry.sqlite", "root.pem", "issuing.pem", "issuing-ocsp.pem", "chain.pem", "certificates", "keys"];
    match written.iter().map(|name| dir.join(name)).find(|path| path.exists()) {
        Some(path) => bail!("--dir: found {}, which no demo has made, wanted a new directory, or that of a demo", path.display()),
        None => Ok(()),
    }
}

/// Makes the directories of keys and certificates.
pub(super) fn create_directories(dir: &Path) -> Result<()> {
    ["keys", "certificates"].iter().try_for_each(|name| create_directory(&dir.join(name)))
}

fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("--dir: {}: cannot make the directory", path.display()))
}

/// Writes the configuration, where there is none yet: what a user changed in it stays.
pub(super) fn ensure_config(path: &Path, plan: &Plan) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    durable_file::write(path, config(plan).as_bytes())
}

fn config(plan: &Plan) -> String {
    let Plan { listen, admin, .. } = plan;
    let base_url = plan.base_url();
    format!(
        r#"# Written by `kakunin demo`. Paths are relative to this file.

base_url = "{base_url}"

[registry]
sqlite = "registry.sqlite"

[responder]
listen = "{listen}"

[admin]
listen = "{admin}"

# The root signs its CRL and the OCSP responses about its sub-CA itself.
[[issuer]]
name = "root"
certificate = "root.pem"
programmes = ["baseline-requirements", "microsoft"]
key = {{ file = "keys/root.key.pem" }}

# The issuing CA has delegated OCSP to a responder; its CRLs are partitioned.
[[issuer]]
name = "issuing"
certificate = "issuing.pem"
programmes = ["baseline-requirements", "microsoft"]
key = {{ file = "keys/issuing.key.pem" }}

[issuer.responder]
certificate = "issuing-ocsp.pem"
key = {{ file = "keys/issuing-ocsp.key.pem" }}

[issuer.crl]
partitions = {PARTITIONS}
"#
    )
}
