//! The servers that are compared: ours, nginx with the same octets in a file, cfssl with the same responses, OpenSSL, and the floor; ours and OpenSSL with
//! RSA keys too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::load::Requests;
use super::processes::{Process, SERVER_CORE, find, free_port};
use super::world::{Demo, Fetched, OcspRequests, StaticRequests, fetch};

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    Kakunin,
    Nginx,
    Floor,
    Cfssl,
    OpenSsl,
    KakuninRsa,
    OpenSslRsa,
}

impl Peer {
    /// As it is called in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Kakunin => "kakunin",
            Peer::Nginx => "nginx",
            Peer::Floor => "floor",
            Peer::Cfssl => "cfssl",
            Peer::OpenSsl => "openssl",
            Peer::KakuninRsa => "kakunin RSA",
            Peer::OpenSslRsa => "openssl RSA",
        }
    }
}

/// A server that is running, and how to ask it.
pub(crate) struct Server {
    pub(crate) peer: Peer,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Every server and every request.
pub(crate) struct Servers {
    pub(crate) all: Vec<Server>,
    ocsp: OcspRequests,
    ocsp_rsa: OcspRequests,
    file: StaticRequests,
    pub(crate) response_octets: (usize, usize),
}

/// The programs that are not ours.
pub(crate) struct Programs {
    nginx: PathBuf,
    cfssl: PathBuf,
    openssl: PathBuf,
}

impl Programs {
    /// Finds them; what is missing is named with the package that has it.
    pub(crate) fn find() -> Result<Programs> {
        for (tool, package) in [("taskset", "util-linux"), ("setpriv", "util-linux"), ("kill", "procps"), ("getconf", "libc-bin")] {
            find(tool, package)?;
        }
        Ok(Programs {
            nginx: find("nginx", "nginx-light (or nginx)")?,
            cfssl: find("cfssl", "golang-cfssl")?,
            openssl: find("openssl", "openssl")?,
        })
    }
}

impl Servers {
    /// Starts all of them on one core, with the files they need in `directory`. `rsa` is for those with RSA keys, `demo` for all others.
    pub(crate) fn start(programs: &Programs, demo: &Demo, rsa: &Demo, directory: &Path) -> Result<Servers> {
        fs::create_dir_all(directory)?;
        let log = |peer: Peer| directory.join(format!("{}.log", peer.name().replace(' ', "-")));
        let ours = |peer, demo: &Demo| -> Result<(Server, Vec<Fetched>)> {
            let (process, address) = demo.serve(SERVER_CORE, &log(peer))?;
            Ok((Server { peer, process, address }, demo.fetch_samples(address)?))
        };
        let (kakunin, fetched) = ours(Peer::Kakunin, demo)?;
        let (kakunin_rsa, fetched_rsa) = ours(Peer::KakuninRsa, rsa)?;
        let sample = fetched.first().context("the demo has no certificates")?;
        let path = demo.path(&demo.serials[0]);
        let (nginx, file) = start_nginx(&programs.nginx, sample, &path, directory, &log(Peer::Nginx))?;
        let floor = start_floor(sample, &path, kakunin.address, directory, &log(Peer::Floor))?;
        let cfssl = start_cfssl(&programs.cfssl, &fetched, directory, &log(Peer::Cfssl))?;
        let openssl = |peer, demo| start_openssl(&programs.openssl, peer, demo, directory, &log(peer));
        let (openssl, openssl_rsa) = (openssl(Peer::OpenSsl, demo)?, openssl(Peer::OpenSslRsa, rsa)?);
        let (ocsp, ocsp_rsa) = (OcspRequests::new(demo, &fetched)?, OcspRequests::new(rsa, &fetched_rsa)?);
        let response_octets = (sample.head, sample.body().len());
        let all = vec![kakunin, nginx, floor, cfssl, openssl, kakunin_rsa, openssl_rsa];
        Ok(Servers { all, ocsp, ocsp_rsa, file, response_octets })
    }

    /// The requests of a kind for a server: nginx knows but one file.
    pub(crate) fn requests(&self, peer: Peer, ocsp: fn(&OcspRequests) -> &Requests, file: fn(&StaticRequests) -> &Requests) -> &Requests {
        match peer {
            Peer::Nginx => file(&self.file),
            Peer::KakuninRsa | Peer::OpenSslRsa => ocsp(&self.ocsp_rsa),
            Peer::Kakunin | Peer::Floor | Peer::Cfssl | Peer::OpenSsl => ocsp(&self.ocsp),
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn start_nginx(nginx: &Path, sample: &Fetched, path: &str, directory: &Path, log: &Path) -> Result<(Server, StaticRequests)> {
    let root = directory.join("www");
    fs::create_dir_all(&root)?;
    // As long a path as ours, but one that names a file.
    let name = format!("/{:M<width$}", "", width = path.len() - 1);
    fs::write(root.join(&name[1..]), sample.body())?;
    let address = local(free_port()?);
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
    let (here, root) = (directory.display(), root.display());
    let configuration = format!(
        "{user}
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nodelay on;
    keepalive_timeout 75s; keepalive_requests 1000000000;
    open_file_cache max=100 inactive=1h; open_file_cache_valid 1h;
    client_body_temp_path {here}/tmp; proxy_temp_path {here}/tmp; fastcgi_temp_path {here}/tmp;
    uwsgi_temp_path {here}/tmp; scgi_temp_path {here}/tmp;
    default_type application/ocsp-response;
    server {{ listen {address} backlog=4096; root {root}; }}
}}
"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    let arguments = ["-p", &directory.display().to_string(), "-c", &file.display().to_string()];
    let mut process = Process::start(SERVER_CORE, nginx, &arguments, log)?;
    process.wait_for(address, log)?;
    let mut stream = TcpStream::connect(address)?;
    let answer = fetch(&mut stream, &format!("GET {name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), 200)?;
    let requests = StaticRequests::new(&name, &answer.etag()?);
    Ok((Server { peer: Peer::Nginx, process, address }, requests))
}

/// The floor sends what our server has sent, head and all.
fn start_floor(sample: &Fetched, path: &str, ours: SocketAddr, directory: &Path, log: &Path) -> Result<Server> {
    let mut stream = TcpStream::connect(ours)?;
    let condition = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: {}\r\n\r\n", sample.etag()?);
    let not_modified = fetch(&mut stream, &condition, 304)?;
    let files = [directory.join("floor-200"), directory.join("floor-304")];
    fs::write(&files[0], &sample.octets)?;
    fs::write(&files[1], &not_modified.octets)?;
    let [ok, not_modified] = files.map(|file| file.display().to_string());
    let itself = std::env::current_exe()?;
    let mut process = Process::start(SERVER_CORE, &itself, &["--floor", &ok, &not_modified], log)?;
    let address = process.wait_for_line("ready ", log)?.parse()?;
    Ok(Server { peer: Peer::Floor, process, address })
}

fn start_cfssl(cfssl: &Path, fetched: &[Fetched], directory: &Path, log: &Path) -> Result<Server> {
    let lines: Vec<String> = fetched.iter().map(|response| base64(response.body())).collect();
    let (file, port) = (directory.join("cfssl-responses"), free_port()?);
    fs::write(&file, lines.join("\n"))?;
    let (port, file) = (port.to_string(), file.display().to_string());
    let arguments = ["ocspserve", "-address", "127.0.0.1", "-port", &port, "-responses", &file, "-loglevel", "4"];
    let mut process = Process::start(SERVER_CORE, cfssl, &arguments, log)?;
    let address = local(port.parse()?);
    process.wait_for(address, log)?;
    Ok(Server { peer: Peer::Cfssl, process, address })
}

fn start_openssl(openssl: &Path, peer: Peer, demo: &Demo, directory: &Path, log: &Path) -> Result<Server> {
    let (index, port) = (directory.join(format!("index-{}.txt", demo.key.algorithm())), free_port()?);
    fs::write(&index, demo.openssl_index())?;
    let file = |name: &str| demo.directory.join(name).display().to_string();
    let (issuer, signer, key) = (file("issuing.pem"), file("issuing-ocsp.pem"), file("keys/issuing-ocsp.key.pem"));
    let (index, number) = (index.display().to_string(), port.to_string());
    let arguments =
        ["ocsp", "-index", &index, "-CA", &issuer, "-rsigner", &signer, "-rkey", &key, "-port", &number, "-ndays", "7", "-ignore_err"];
    let mut process = Process::start(SERVER_CORE, openssl, &arguments, log)?;
    // Not by connecting: told to go on after errors, it asks a connection that was closed without a request for ever (OpenSSL 3.0).
    process.wait_for_line("ACCEPT ", log)?;
    Ok(Server { peer, process, address: local(port) })
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let number = group.iter().fold(0u32, |number, octet| number << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (number >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    text
}
