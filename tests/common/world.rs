//! A demo that is over, to be served with other configurations.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::ocsp::Asker;
use super::peers::Authority;
use super::{Service, with_config};

/// The directory of a demo that is over: its issuing CA comes last in the configuration, so that what is appended is about it.
pub struct World(TempDir);

impl World {
    /// Of so many certificates, twenty of which are revoked.
    pub fn new(certificates: &str) -> World {
        let world = World(tempfile::tempdir().unwrap());
        Service::demo(&world.path(""), &["--certificates", certificates, "--revoked", "20"]).stop();
        world
    }

    /// A file of the demo.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("demo").join(name)
    }

    /// Writes another configuration: the demo's with free ports, with `first` before its tables, and with `last` about the issuing CA.
    pub fn config(&self, name: &str, first: &str, last: &str) -> PathBuf {
        let text = fs::read_to_string(self.path("kakunin.toml")).unwrap();
        let free = |line: &str| if line.starts_with("listen = ") { "listen = \"127.0.0.1:0\"".to_owned() } else { line.to_owned() };
        let text: Vec<String> = text.lines().map(free).collect();
        let path = self.path(name);
        fs::write(&path, text.join("\n").replace("[registry]", &format!("{first}\n[registry]")) + last).unwrap();
        path
    }

    pub fn serve(&self, config: &Path, arguments: &[&str]) -> Service {
        Service::serve(&mut with_config("serve", config, arguments))
    }

    pub fn authority(&self, service: &Service) -> Authority {
        let scratch = self.0.path().to_owned();
        Authority { issuer: self.path("issuing.pem"), chain: self.path("chain.pem"), url: service.ocsp.clone(), scratch }
    }

    pub fn asker(&self) -> Asker {
        Asker::new(&self.path("issuing.pem"))
    }

    pub fn good(&self) -> PathBuf {
        self.path("certificates/good.pem")
    }

    pub fn revoked(&self) -> PathBuf {
        self.path("certificates/revoked.pem")
    }
}
