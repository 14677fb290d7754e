//! `kakunin demo` as a child process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::kakunin::kakunin;
use super::{Guard, loadtest, succeed};

/// A demo that is being served.
pub struct Demo {
    directory: TempDir,
    process: Guard,
    /// Where it answers.
    pub url: String,
}

impl Demo {
    /// Of so many certificates, twenty of which are revoked.
    pub fn new(certificates: u32) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(kakunin());
        command.args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--revoked", "20"]);
        command.args(["--certificates", &certificates.to_string()]).arg("--dir").arg(directory.path().join("demo"));
        let mut process = Guard(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("ready ")).expect("the demo has ended before it was ready");
        let url = ready.split(' ').find_map(|word| word.strip_prefix("ocsp=")).unwrap().to_owned();
        // What it still writes must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let demo = Demo { directory, process, url };
        let list = succeed(Command::new(kakunin()).args(["list", "--issuer", "issuing", "--config"]).arg(demo.path("kakunin.toml")));
        std::fs::write(demo.path("list.jsonl"), list).unwrap();
        demo
    }

    /// A file of the demo.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("demo").join(name)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// A subcommand of the load tester against it, with what names its certificates, and a file for the record.
    pub fn load(&self, subcommand: &[&str], options: &[&str]) -> (Command, PathBuf) {
        let json = self.path("record.json");
        let mut command = loadtest(subcommand);
        command.arg(&self.url).arg("--issuer").arg(self.path("issuing.pem")).arg("--serials").arg(self.path("list.jsonl"));
        command.arg("--json").arg(&json).args(options);
        (command, json)
    }

    /// The command that revokes every certificate.
    pub fn revoke_all(&self) -> String {
        let config = self.path("kakunin.toml");
        format!(
            "{} revoke --config {} --issuer issuing --all --confirm issuing --reason keyCompromise",
            kakunin().display(),
            config.display()
        )
    }
}
