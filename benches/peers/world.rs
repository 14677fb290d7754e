//! What is asked and what is answered: the demo's certificates, requests for them, and real responses for the peers to serve.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kakunin::pki::ocsp_request::encode_request;
use kakunin::pki::{CertificateInfo, HashAlgorithm, IssuerHashes, Serial};
use kakunin::responder::get_path;

use super::load::{Random, Requests, response_length};
use super::processes::Process;

const KAKUNIN: &str = env!("CARGO_BIN_EXE_kakunin");
/// Certificates whose responses are fetched beforehand: for conditional requests, and for peers that load every response at their start.
pub(crate) const SAMPLES: usize = 10_000;

/// The algorithm of a demo's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    P256,
    Rsa2048,
}

impl Key {
    /// As `kakunin demo` calls it.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Key::P256 => "ecdsa-p256",
            Key::Rsa2048 => "rsa-2048",
        }
    }
}

/// A demo: CA, certificates, and a configuration by which it is served.
pub(crate) struct Demo {
    pub(crate) key: Key,
    pub(crate) directory: PathBuf,
    pub(crate) serials: Vec<Serial>,
    pub(crate) hashes: IssuerHashes,
}

/// A response as our server has sent it.
pub(crate) struct Fetched {
    pub(crate) octets: Vec<u8>,
    pub(crate) head: usize,
}

impl Demo {
    /// Builds a demo of `certificates`, or goes on with one that is there.
    pub(crate) fn ensure(bench: &Path, certificates: u64, key: Key) -> Result<Demo> {
        let (algorithm, count) = (key.algorithm(), certificates.to_string());
        let directory = bench.join(format!("demo-{algorithm}-{count}"));
        let (name, log) = (directory.display().to_string(), bench.join("demo.log"));
        let any = "127.0.0.1:0";
        let arguments = ["demo", "--dir", &name, "--certificates", &count, "--key-algorithm", algorithm, "--listen", any, "--admin", any];
        let mut process = Process::start("0,1", Path::new(KAKUNIN), &arguments, &log)?;
        process.wait_for_line("ready ", &log)?;
        drop(process);
        let text = fs::read_to_string(directory.join("kakunin.toml"))?;
        let lines = text.lines().map(|line| if line.starts_with("listen = ") { "listen = \"127.0.0.1:0\"" } else { line });
        fs::write(directory.join("bench.toml"), lines.collect::<Vec<_>>().join("\n"))?;
        let issuer = CertificateInfo::from_pem(&fs::read(directory.join("issuing.pem"))?)?;
        let serials = serials(&directory)?;
        Ok(Demo { key, directory, serials, hashes: IssuerHashes::of(&issuer, HashAlgorithm::Sha1) })
    }

    /// Serves it, without signing.
    pub(crate) fn serve(&self, cores: &str, log: &Path) -> Result<(Process, SocketAddr)> {
        let config = self.directory.join("bench.toml").display().to_string();
        let mut process = Process::start(cores, Path::new(KAKUNIN), &["serve", "--config", &config, "--roles", "responder"], log)?;
        let ready = process.wait_for_line("ready ", log)?;
        let url = ready.split_whitespace().find_map(|word| word.strip_prefix("ocsp=http://")).context("no address")?;
        Ok((process, url.trim_end_matches('/').parse()?))
    }

    /// The path of a GET for a certificate.
    pub(crate) fn path(&self, serial: &Serial) -> String {
        format!("/{}", get_path::encode(&encode_request(&self.hashes, serial)))
    }

    /// The index of the CA in the form of `openssl ca`, with the first [`SAMPLES`] certificates.
    pub(crate) fn openssl_index(&self) -> String {
        let line = |serial: &Serial| {
            let hexadecimal = serial.to_string().to_uppercase();
            format!("V\t491231235959Z\t\t{hexadecimal:0>2}\tunknown\t/CN={serial}\n")
        };
        self.samples().iter().map(line).collect()
    }

    /// The certificates whose responses are fetched beforehand.
    pub(crate) fn samples(&self) -> &[Serial] {
        &self.serials[..self.serials.len().min(SAMPLES)]
    }

    /// Asks our server for the samples.
    pub(crate) fn fetch_samples(&self, address: SocketAddr) -> Result<Vec<Fetched>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let ask = |serial| fetch(&mut stream, &format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", self.path(serial)), 200);
        self.samples().iter().map(ask).collect()
    }
}

impl Fetched {
    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.octets[self.head..]
    }

    /// The value of ETag.
    pub(crate) fn etag(&self) -> Result<String> {
        let head = std::str::from_utf8(&self.octets[..self.head])?;
        let header =
            |line: &str| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("etag")).map(|(_, v)| v.trim().to_owned());
        head.lines().find_map(header).context("a response without ETag")
    }
}

/// Sends a request and reads the response, which must have that status code.
pub(crate) fn fetch(stream: &mut TcpStream, request: &str, wanted: u16) -> Result<Fetched> {
    stream.write_all(request.as_bytes())?;
    let (mut octets, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some((status, head, length)) = response_length(&octets)? {
            ensure!(status == wanted && length == octets.len(), "answered {status}, wanted {wanted}");
            ensure!(wanted != 200 || octets.len() - head > 100, "an OCSP error instead of a response: is the demo still valid?");
            return Ok(Fetched { octets, head });
        }
        match stream.read(&mut buffer)? {
            0 => bail!("the connection was closed"),
            read => octets.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Every serial of the demo's issuing CA, in an order that has nothing to do with anything.
fn serials(directory: &Path) -> Result<Vec<Serial>> {
    let config = directory.join("bench.toml").display().to_string();
    let output = Command::new(KAKUNIN).args(["list", "--config", &config, "--issuer", "issuing"]).output()?;
    ensure!(output.status.success(), "kakunin list: {}", String::from_utf8_lossy(&output.stderr));
    let serial = |line: std::io::Result<String>| {
        let line = line?;
        let text = line.split('"').nth(3).context("kakunin list: a line without a serial")?;
        text.parse().with_context(|| format!("kakunin list: {line}"))
    };
    let mut serials = output.stdout.lines().map(serial).collect::<Result<Vec<_>>>()?;
    // The registry lists slot by slot.
    let mut random = Random(1);
    (1..serials.len()).for_each(|last| serials.swap(last, random.below(last + 1)));
    Ok(serials)
}

/// The five kinds of requests for OCSP servers.
pub(crate) struct OcspRequests {
    pub(crate) get: Requests,
    pub(crate) get_close: Requests,
    pub(crate) conditional: Requests,
    pub(crate) post: Requests,
    pub(crate) post_samples: Requests,
    pub(crate) post_samples_close: Requests,
}

const KEEP: &str = " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const CLOSE: &str = " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/ocsp-request\r\n";

impl OcspRequests {
    /// Requests for every certificate of the demo; `fetched` are the responses of its samples.
    pub(crate) fn new(demo: &Demo, fetched: &[Fetched]) -> Result<OcspRequests> {
        let mut requests = OcspRequests {
            get: Requests::new("GET ", KEEP),
            get_close: Requests::new("GET ", CLOSE),
            conditional: Requests::new("GET ", "\r\n\r\n"),
            post: Requests::new(POST, ""),
            post_samples: Requests::new(POST, ""),
            post_samples_close: Requests::new(&format!("{POST}Connection: close\r\n"), ""),
        };
        for (index, serial) in demo.serials.iter().enumerate() {
            let der = encode_request(&demo.hashes, serial);
            let (path, length) = (demo.path(serial), format!("Content-Length: {}\r\n\r\n", der.len()));
            requests.get.push(&[path.as_bytes()]);
            requests.get_close.push(&[path.as_bytes()]);
            requests.post.push(&[length.as_bytes(), &der]);
            if let Some(fetched) = fetched.get(index) {
                let condition = format!("{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: {}", fetched.etag()?);
                requests.conditional.push(&[condition.as_bytes()]);
                requests.post_samples.push(&[length.as_bytes(), &der]);
                requests.post_samples_close.push(&[length.as_bytes(), &der]);
            }
        }
        Ok(requests)
    }
}

/// Requests for one static file.
pub(crate) struct StaticRequests {
    pub(crate) get: Requests,
    pub(crate) get_close: Requests,
    pub(crate) conditional: Requests,
}

impl StaticRequests {
    /// Requests for `path`, which has that ETag.
    pub(crate) fn new(path: &str, etag: &str) -> StaticRequests {
        let one = |suffix: &str| {
            let mut requests = Requests::new("GET ", suffix);
            requests.push(&[path.as_bytes()]);
            requests
        };
        let condition = format!(" HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: {etag}\r\n\r\n");
        StaticRequests { get: one(KEEP), get_close: one(CLOSE), conditional: one(&condition) }
    }
}
