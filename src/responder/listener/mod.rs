//! Sockets, threads and connections: one current-thread runtime a thread, each with sockets of its own on the same addresses (SO_REUSEPORT), so that no
//! connection ever moves between cores. Knows nothing of OCSP.
//!
//! A connection begins as a [`conversation`] of plain requests; with the first one that is anything else it is handed to hyper ([`any_http`]).

mod any_http;
mod conversation;
mod thread;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::error;

use crate::pki::Timestamp;

use super::content::Content;
use super::counters::Statistics;
use super::live::Lane;
use super::service::{Limits, Service};
use super::stop::Stop;
use thread::Thread;

/// Connections that the kernel completes before they are accepted, per socket.
const BACKLOG: i32 = 4096;
/// The smallest read buffer that hyper takes.
const MIN_HEADER_BYTES: usize = 8192;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket has the port, another process of this program's perhaps.
    #[error("cannot listen on {0}: the address is in use, by another kakunin perhaps; stop that one or choose another port")]
    InUse(SocketAddr),
    /// Anything else that the system says.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address that was wanted.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No address was given.
    #[error("no address to listen on")]
    NoAddress,
    /// A limit is out of its bounds.
    #[error("max_header_bytes: found {0}, wanted at least {MIN_HEADER_BYTES}")]
    HeaderBytes(usize),
}

/// Sockets that are listening: from here on clients can connect, and wait until [`Server::run`].
#[derive(Debug)]
pub struct Server {
    /// For each thread a socket for each address.
    sockets: Vec<Vec<StdListener>>,
    addresses: Vec<SocketAddr>,
    limits: Limits,
    live: Option<Arc<Lane>>,
}

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    statistics: Statistics,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Listens on every address, once for each of `threads`. Port 0 is a free port: [`Server::addresses`] tells which.
    /// Fails where an address is in use, also by another process that would let it be shared.
    pub fn bind(addresses: &[SocketAddr], threads: NonZeroUsize, limits: Limits) -> Result<Server, BindError> {
        if limits.max_header_bytes < MIN_HEADER_BYTES {
            return Err(BindError::HeaderBytes(limits.max_header_bytes));
        }
        if addresses.is_empty() {
            return Err(BindError::NoAddress);
        }
        let mut server = Server { sockets: (0..threads.get()).map(|_| Vec::new()).collect(), addresses: Vec::new(), limits, live: None };
        for address in addresses {
            server.listen(*address).map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => BindError::InUse(*address),
                _ => BindError::System { address: *address, source },
            })?;
        }
        Ok(server)
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        // The first socket takes the address for itself alone: that fails where anybody has it. Only then is it opened for the other threads.
        let first = new_socket(address, &self.limits)?;
        first.bind(&address.into())?;
        first.set_reuse_port(true)?;
        first.listen(BACKLOG)?;
        let bound = first.local_addr()?.as_socket().unwrap_or(address);
        self.addresses.push(bound);
        let mut first = Some(first);
        for sockets in &mut self.sockets {
            let socket = match first.take() {
                Some(first) => first,
                None => {
                    let socket = new_socket(bound, &self.limits)?;
                    socket.set_reuse_port(true)?;
                    socket.bind(&bound.into())?;
                    socket.listen(BACKLOG)?;
                    socket
                }
            };
            sockets.push(socket.into());
        }
        Ok(())
    }

    /// The addresses that it listens on, in the order in which they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Asks this lane what no pre-signed response answers.
    pub fn with_live(self, lane: Option<Arc<Lane>>) -> Server {
        Server { live: lane, ..self }
    }

    /// Serves `content` on threads of its own until the stop, then finishes what is in flight ([`Limits::drain_timeout`]).
    pub fn run(self, content: &Arc<Content>, stop: &Stop) -> io::Result<Running> {
        let statistics = Statistics::new(self.sockets.len());
        let open = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for (index, (sockets, counters)) in self.sockets.into_iter().zip(statistics.threads()).enumerate() {
            let thread = Arc::new(Thread {
                service: Service::new(content.clone(), counters.clone(), self.limits, Timestamp::now).with_live(self.live.clone()),
                counters: counters.clone(),
                open: open.clone(),
                limits: self.limits,
                stop: stop.clone(),
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = move || {
                if let Err(e) = runtime.block_on(thread.serve(sockets)) {
                    error!("a listening thread ended: {e}");
                }
            };
            threads.push(std::thread::Builder::new().name(format!("http-{index}")).spawn(work)?);
        }
        Ok(Running { threads, statistics, addresses: self.addresses })
    }
}

impl Running {
    /// What its threads have counted.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until every thread has ended, which they do after the stop.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a listening thread panicked");
            }
        }
    }
}

fn new_socket(address: SocketAddr, limits: &Limits) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Sockets in TIME_WAIT do not count as somebody else's; a listening one still does.
    socket.set_reuse_address(true)?;
    // Connections inherit both. Without the first only latency suffers.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_stall_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = limits;
    Ok(socket)
}

#[cfg(test)]
mod tests;
