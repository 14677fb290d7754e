//! A small Kakunin, made by `kakunin demo` and then served from its directory: what it keeps, sends and counts, to hold a plan against.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

#[path = "kakunin.rs"]
mod program;

use program::kakunin;

/// A demo's directory, and what it counted while it was made.
pub struct Made {
    directory: TempDir,
    /// OCSP responses that it signed.
    pub signed: u64,
}

/// A running service.
pub struct Service {
    process: Guard,
    url: String,
    admin: String,
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An answer.
pub struct Reply {
    /// Status line and headers, with the empty line.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Made {
    /// A CA of so many certificates, this many of them revoked.
    pub fn new(certificates: u64, revoked: u64, key_algorithm: &str) -> Made {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(kakunin());
        command.args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--key-algorithm", key_algorithm]);
        command.args(["--certificates", &certificates.to_string(), "--revoked", &revoked.to_string()]);
        let service = Service::start(command.arg("--dir").arg(directory.path().join("demo")));
        let signed = service.metric("kakunin_signing_responses_total");
        service.stop();
        let made = Made { directory, signed };
        // The demo's ports are taken by then, or not: others will do.
        let text = fs::read_to_string(made.path("kakunin.toml")).unwrap();
        let free = |line: &str| if line.starts_with("listen = ") { "listen = \"127.0.0.1:0\"".to_owned() } else { line.to_owned() };
        fs::write(made.path("kakunin.toml"), text.lines().map(free).collect::<Vec<_>>().join("\n")).unwrap();
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("demo").join(name)
    }

    /// Serves it, and waits until all is loaded.
    pub fn serve(&self) -> Service {
        let service = Service::start(Command::new(kakunin()).arg("serve").arg("--config").arg(self.path("kakunin.toml")));
        for _ in 0..1200 {
            if service.ask(&service.admin, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").head.starts_with(b"HTTP/1.1 200") {
                return service;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("/readyz: not within two minutes");
    }

    /// Octets of the registry's file. Nobody has it open: its log is empty.
    pub fn registry_octets(&self) -> u64 {
        fs::metadata(self.path("registry.sqlite")).unwrap().len()
    }

    /// The path of a GET that asks for a certificate by a SHA-1 CertID, as OpenSSL writes it.
    pub fn question(&self, certificate: &str) -> String {
        use base64::Engine;
        let file = self.path("question.der");
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-no_nonce", "-issuer"]).arg(self.path("issuing.pem"));
        command.arg("-cert").arg(self.path("certificates").join(certificate)).arg("-reqout").arg(&file);
        let output = command.output().unwrap_or_else(|e| panic!("openssl: {e}: run tests/run, it installs what the tests need"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = base64::prelude::BASE64_STANDARD.encode(fs::read(file).unwrap());
        format!("/{}", text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
    }
}

impl Service {
    fn start(command: &mut Command) -> Service {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = Guard(child.unwrap_or_else(|e| panic!("{command:?}: {e}")));
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("ready ")).unwrap_or_else(|| panic!("{command:?}: ended before it was ready"));
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| {
            let url = ready.split(' ').find_map(|word| word.strip_prefix(name)).unwrap();
            url.trim_start_matches("http://").trim_end_matches('/').to_owned()
        };
        Service { url: address("ocsp="), admin: address("admin="), process }
    }

    pub fn get(&self, path: &str, headers: &str) -> Reply {
        self.ask(&self.url, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    }

    fn ask(&self, address: &str, request: &str) -> Reply {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(reader.read_until(b'\n', &mut head).unwrap() > 0, "{address} has ended the connection");
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        Reply { head, body }
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> u64 {
        let reply = self.ask(&self.admin, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let text = String::from_utf8(reply.body).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .unwrap()
    }

    /// Octets of its memory that are resident.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
        kilobytes.parse::<f64>().unwrap() * 1024.0
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) {
        assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", self.process.0.id())]).status().unwrap().success());
        assert!(self.process.0.wait().unwrap().success());
    }
}
