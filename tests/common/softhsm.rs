//! A SoftHSM2 token inside the test's own process.
//!
//! SoftHSM2 reads SOFTHSM2_CONF when it is initialised, and a process cannot set its own environment safely: a test makes a token, then runs itself again in
//! a child process with the variable set. Not a module of `common`, whose users know the program only from outside: it is named where it is needed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;

use kakunin::pki::KeyAlgorithm;
use kakunin::token::pkcs11::{KeyRequest, Pin, Pkcs11Token};
use kakunin::token::software::SoftwareKey;

use crate::common::{succeed, tool};

pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const TOKEN: &str = "kakunin test";
pub const PIN: &str = "648219";
const DIRECTORY: &str = "KAKUNIN_TEST_SOFTHSM_DIRECTORY";

/// Runs `body` in a child process that has a SoftHSM2 token of its own, empty, in the directory that it gets. `test` is the path of the test that calls.
pub fn with_token(test: &str, body: impl Fn(&Path)) {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return body(Path::new(&directory));
    }
    assert!(Path::new(MODULE).exists(), "these tests need SoftHSM2: {MODULE} is missing (apt-get install softhsm2)");
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("softhsm2.conf");
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(&configuration, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()))
        .unwrap();
    let arguments = ["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "12345678"];
    succeed(tool("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", &configuration));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env("SOFTHSM2_CONF", &configuration).env(DIRECTORY, directory.path());
    let output = succeed(&mut child);
    assert!(output.contains("1 passed"), "{output}");
    println!("{output}");
}

/// A PIN, by way of a file.
pub fn pin(directory: &Path, pin: &str) -> Pin {
    Pin::from_file(&pin_file(directory, pin)).unwrap()
}

fn pin_file(directory: &Path, pin: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("pin");
    std::fs::write(&path, format!("{pin}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The token, with so many sessions.
pub fn open(directory: &Path, sessions: usize) -> Pkcs11Token {
    Pkcs11Token::open(Path::new(MODULE), TOKEN, pin(directory, PIN), sessions).unwrap()
}

/// Makes a key and imports it into the token with this label and id.
pub fn import(directory: &Path, algorithm: KeyAlgorithm, label: &str, id: &str) -> SoftwareKey {
    let path = directory.join(format!("{label}-{id}.pem"));
    let key = SoftwareKey::generate(algorithm).unwrap();
    key.create_file(&path).unwrap();
    let file = path.to_str().unwrap();
    succeed(tool("softhsm2-util").args(["--import", file, "--token", TOKEN, "--label", label, "--id", id, "--pin", PIN]));
    key
}

/// The one key with that label.
pub fn labelled(label: &str) -> KeyRequest {
    KeyRequest { label: Some(label.to_owned()), ..Default::default() }
}
