//! The validation authority's program, to be tested against.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The built program: in the same directory as the load tester, of the same profile, built when it is first needed.
pub fn kakunin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_kakunin-loadtest")).parent().unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--bin", "kakunin", "--manifest-path"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("Cargo.toml"));
        command.arg("--target-dir").arg(directory.parent().unwrap());
        command.args(directory.ends_with("release").then_some("--release"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        directory.join("kakunin")
    })
}
