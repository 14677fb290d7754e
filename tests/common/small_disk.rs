//! A disk that can be filled, and whose directories can be made read-only: a file system of 24 MB that a child process mounts for itself alone (`unshare`, of
//! util-linux). Not a module of `common`: it is named where it is needed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::common::{succeed, tool};

const DISK: &str = "KAKUNIN_TEST_SMALL_DISK";

/// Runs `body` in a child process that has temporary files on a file system of 24 MB.
pub fn on_a_small_disk(test: &str, body: impl Fn()) {
    if std::env::var_os(DISK).is_some() {
        return body();
    }
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=24m none "$TMPDIR" && exec "$0" --exact "$1" --nocapture"#;
    let mut command = tool("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(std::env::current_exe().unwrap()).arg(test);
    let said = succeed(command.env("TMPDIR", directory.path()).env(DISK, "1"));
    assert!(said.contains("1 passed"), "{said}");
    println!("{said}");
}

/// Takes all the room that is left on the disk.
pub fn fill(directory: &Path) -> PathBuf {
    let ballast = directory.join("ballast");
    let full = File::create(&ballast).and_then(|mut file| io::copy(&mut io::repeat(7), &mut file)).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    ballast
}

/// Has a directory be read-only, for root too, until [`make_writable`]. Nothing in it may be open for writing.
pub fn make_read_only(directory: &Path) {
    succeed(tool("mount").arg("--bind").args([directory, directory]));
    succeed(tool("mount").args(["-o", "remount,bind,ro"]).arg(directory));
}

pub fn make_writable(directory: &Path) {
    succeed(tool("umount").arg(directory));
}
