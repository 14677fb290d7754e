//! Clients that take their time: ten thousand that are idle, some that send an octet a second, some that never read, a hundred that take a CRL of 50 MB
//! each; and a service that is asked to stop under load. What they cost is bounded, they are cut off in time, and everybody else is served meanwhile.
//!
//! Each test has a service of its own, since each measures its memory.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod drain;
mod idle;
mod large_crl;
mod trickle;
mod unread;

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::http::{self, Connection};
use common::ocsp::{Answer, Asker, Hash};
use common::{Service, list, succeed, tool, with_config};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// File descriptors that this process and the service need each: ten thousand connections, and everything else.
const OPEN_FILES: u64 = 12_000;
const OPEN_CONNECTIONS: &str = "kakunin_connections_open";

/// A small CA whose status is signed, ready to be served.
struct World {
    directory: TempDir,
    asker: Asker,
    /// Serial and whether it is revoked.
    statuses: Vec<(String, bool)>,
}

impl World {
    fn new(certificates: &str, revoked: &str) -> World {
        raise_open_files();
        let directory = tempfile::tempdir().unwrap();
        Service::demo(directory.path(), &["--certificates", certificates, "--revoked", revoked]).stop();
        let config = directory.path().join("kakunin.toml");
        let text = fs::read_to_string(&config).unwrap();
        let anywhere = text.lines().map(|line| if line.starts_with("listen = ") { "listen = \"127.0.0.1:0\"" } else { line });
        fs::write(&config, anywhere.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        let statuses = list(&config, "issuing").into_iter().map(|c| (c.serial.clone(), c.is_revoked())).collect();
        World { asker: Asker::new(&directory.path().join("issuing.pem")), statuses, directory }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("kakunin.toml")
    }

    /// The responder in a process of its own, with these settings.
    fn serve(&self, settings: &str) -> Service {
        let config = self.directory.path().join("serve.toml");
        let responder = format!("[responder]\n{settings}\n");
        fs::write(&config, fs::read_to_string(self.config()).unwrap().replace("[responder]\n", &responder)).unwrap();
        Service::start(&mut with_config("serve", &config, &["--roles", "responder"]))
    }

    /// A POST about one of its certificates.
    fn request(&self, number: usize) -> Vec<u8> {
        let (serial, _) = &self.statuses[number % self.statuses.len()];
        let body = self.asker.request(serial, Hash::Sha1);
        http::request("POST", "/ocsp", &[("Content-Type", "application/ocsp-request")], Some(&body))
    }

    /// The answer to that must be the right one.
    fn judge(&self, number: usize, reply: &http::Reply) {
        let (serial, revoked) = &self.statuses[number % self.statuses.len()];
        let answer = Answer::of(reply);
        assert_eq!((answer.is_revoked(), answer.is_good()), (*revoked, !*revoked), "{serial}");
        assert_eq!(answer.single().cert_id, self.asker.cert_id(serial, Hash::Sha1));
    }

    /// Asks on a connection, which must be kept.
    fn ask_on(&self, connection: &mut Connection, number: usize) {
        self.judge(number, &connection.exchange(&self.request(number)).unwrap());
    }

    /// Asks on a connection of its own.
    fn ask(&self, url: &str, number: usize) {
        self.ask_on(&mut Connection::open(url).unwrap(), number);
    }

    /// Does something, and meanwhile asks on new connections and on kept ones: every question must be answered, and rightly. Returns how many were.
    fn while_others_ask<R>(&self, url: &str, work: impl FnOnce() -> R) -> (R, usize) {
        let done = AtomicBool::new(false);
        let ask = |first: usize| {
            let mut asked = 0;
            while !done.load(Relaxed) {
                let mut kept = Connection::open(url).unwrap();
                (0..10).for_each(|n| self.ask_on(&mut kept, first + asked + n));
                asked += 10;
                std::thread::sleep(Duration::from_millis(50));
            }
            asked
        };
        std::thread::scope(|scope| {
            let others = [scope.spawn(|| ask(0)), scope.spawn(|| ask(1000))];
            // Set when `work` panics too: the others would never end.
            let finish = Finish(&done);
            let result = work();
            drop(finish);
            let asked = others.map(|other| other.join().unwrap()).iter().sum();
            assert!(asked > 0, "nobody has asked");
            (result, asked)
        })
    }
}

struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A connection that does not block, with small buffers in the kernel where `buffer_bytes` says so: otherwise they take in megabytes.
fn connect(url: &str, buffer_bytes: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = buffer_bytes {
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.set_send_buffer_size(bytes).unwrap();
    }
    let address: std::net::SocketAddr = http::host(url).parse().unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// Lets this process, and every service that it starts, have as many open files as the tests need.
fn raise_open_files() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let number = |text: &str| if text == "unlimited" { u64::MAX } else { text.parse().unwrap() };
        let [soft, hard] = [0, 1].map(|n| number(line.split_whitespace().nth(n).unwrap()));
        assert!(
            hard >= OPEN_FILES,
            "hard limit of open files: found {hard}, wanted at least {OPEN_FILES}: raise it (ulimit -Hn), then test again"
        );
        if soft < OPEN_FILES {
            let (pid, limit) = (std::process::id().to_string(), format!("--nofile={OPEN_FILES}:"));
            succeed(tool("prlimit").args(["--pid", &pid, &limit]));
        }
    });
}

/// Each waits for time-outs most of the time, so they wait together.
#[test]
fn who_does_nothing_or_too_little_is_cut_off_and_holds_up_nobody() {
    std::thread::scope(|scope| {
        scope.spawn(idle::ten_thousand_idle_connections_cost_little_and_are_closed_in_time);
        scope.spawn(trickle::an_octet_a_second_does_not_keep_a_connection);
        scope.spawn(unread::clients_that_never_read_are_bounded_and_cut_off);
    });
}
