//! `openssl ca -gencrl`.

use std::process::Command;

use anyhow::Result;

use super::usage::{self, Usage};
use super::world::World;

/// What it takes to make the CRL of the same certificates.
pub(crate) fn measure(world: &World) -> Result<Usage> {
    let mut command = Command::new("openssl");
    command.args(["ca", "-config", "openssl.cnf", "-gencrl", "-out", "openssl.crl.pem"]).current_dir(&world.directory);
    Ok(usage::run(&mut command)?.0)
}
