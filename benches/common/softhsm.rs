//! A SoftHSM2 token for one run of a benchmark, and keys that are on it and in files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kakunin::pki::KeyAlgorithm;
use kakunin::token::Key;
use kakunin::token::pkcs11::{KeyRequest, Pin, Pkcs11Token};
use kakunin::token::software::SoftwareKey;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "bench";
const PIN: &str = "271828";
/// Set in the child process, which has a token of its own.
const DIRECTORY: &str = "KAKUNIN_BENCH_DIRECTORY";

/// Runs this program again with an empty token of its own, and there `measure` with a directory that holds the token and may hold more.
pub(crate) fn with_token(measure: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return measure(Path::new(&directory));
    }
    ensure!(Path::new(MODULE).exists(), "{MODULE} is missing: apt-get install softhsm2");
    let directory = tempfile::tempdir()?;
    let (settings, tokens) = (directory.path().join("softhsm2.conf"), directory.path().join("tokens"));
    fs::create_dir(&tokens)?;
    fs::write(&settings, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()))?;
    let arguments = ["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "12345678"];
    run(Command::new("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", &settings))?;
    let mut child = Command::new(std::env::current_exe()?);
    let status = child.args(std::env::args_os().skip(1)).env("SOFTHSM2_CONF", &settings).env(DIRECTORY, directory.path()).status()?;
    ensure!(status.success(), "measuring failed: {status}");
    Ok(())
}

/// Opens the token with so many sessions.
pub(crate) fn open(directory: &Path, sessions: usize) -> Result<Pkcs11Token> {
    let pin_file = directory.join("pin");
    fs::write(&pin_file, format!("{PIN}\n"))?;
    run(Command::new("chmod").arg("600").arg(&pin_file))?;
    Ok(Pkcs11Token::open(Path::new(MODULE), TOKEN, Pin::from_file(&pin_file)?, sessions)?)
}

/// A new key, on the token and in a file.
pub(crate) fn keys(token: &Pkcs11Token, directory: &Path, algorithm: KeyAlgorithm) -> Result<[(&'static str, Key); 2]> {
    let label = algorithm.name();
    let id = format!("{:02}", algorithm as u8 + 1);
    let file = directory.join(format!("{label}.pem"));
    SoftwareKey::generate(algorithm)?.create_file(&file)?;
    let name = file.display().to_string();
    run(Command::new("softhsm2-util").args(["--import", &name, "--token", TOKEN, "--label", label, "--id", &id, "--pin", PIN]))?;
    let request = KeyRequest { label: Some(label.to_owned()), ..KeyRequest::default() };
    Ok([("SoftHSM2", Arc::new(token.key(&request)?)), ("a file", Arc::new(SoftwareKey::open(&file, None)?))])
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
