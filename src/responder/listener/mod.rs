//! Sockets, threads and connections: one current-thread runtime a thread, each with sockets of its own on the same addresses (SO_REUSEPORT), so that no
//! connection ever moves between cores. Knows nothing of OCSP.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::pki::Timestamp;

use super::content::Content;
use super::counters::{Event, Statistics, ThreadCounters};
use super::service::{Limits, Service};
use super::stop::Stop;
use super::turn::{Turns, gathering};

/// Connections that the kernel completes before they are accepted, per socket.
const BACKLOG: i32 = 4096;
/// The smallest read buffer that hyper takes.
const MIN_HEADER_BYTES: usize = 8192;
/// After the stop, connections get so long to show a request that is on its way.
const LAST_REQUEST: Duration = Duration::from_millis(20);
/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
}

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    statistics: Statistics,
    addresses: Vec<SocketAddr>,
}

/// What the connections of one thread share.
struct Thread {
    service: Service,
    counters: Arc<ThreadCounters>,
    open: Arc<AtomicUsize>,
    limits: Limits,
    http: http1::Builder,
    stop: Stop,
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
        let mut server = Server { sockets: (0..threads.get()).map(|_| Vec::new()).collect(), addresses: Vec::new(), limits };
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

    /// Serves `content` on threads of its own until the stop, then finishes what is in flight ([`Limits::drain_timeout`]).
    pub fn run(self, content: &Arc<Content>, stop: &Stop) -> io::Result<Running> {
        let statistics = Statistics::new(self.sockets.len());
        let open = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for (index, (sockets, counters)) in self.sockets.into_iter().zip(statistics.threads()).enumerate() {
            let thread = Arc::new(Thread {
                service: Service::new(content.clone(), counters.clone(), self.limits, Timestamp::now),
                counters: counters.clone(),
                open: open.clone(),
                limits: self.limits,
                http: http(&self.limits),
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
    // Connections inherit it.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_stall_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = limits;
    Ok(socket)
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Not pipeline_flush: it holds an answer back for as long as anything follows the request, if only the line end that old clients send after a body,
    // or what makes a request malformed (hyper 1.12); and it would copy every CRL.
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_read_timeout).max_buf_size(limits.max_header_bytes);
    http
}

impl Thread {
    /// Serves every socket of this thread until all connections have ended after the stop.
    async fn serve(self: &Arc<Self>, sockets: Vec<StdListener>) -> io::Result<()> {
        let mut listeners = JoinSet::new();
        for socket in sockets {
            let (thread, listener) = (Arc::clone(self), TcpListener::from_std(socket)?);
            listeners.spawn(async move { thread.accept(listener).await });
        }
        while listeners.join_next().await.is_some() {}
        Ok(())
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut stopped = pin!(self.stop.stopped());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, &mut connections),
                Err(e) => self.accept_failed(&e).await,
            }
            while connections.try_join_next().is_some() {}
        }
        // Who was connected before the stop is still served.
        while let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            self.admit(stream, &mut connections);
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain_timeout, drained).await.is_err() {
            warn!("{} connections were cut off at the end of the drain timeout", connections.len());
        }
    }

    async fn accept_failed(&self, error: &io::Error) {
        self.counters.count(Event::AcceptFailed);
        // A client that went away is its own business; anything else is the system being short of something, which a pause may mend.
        if error.kind() != io::ErrorKind::ConnectionAborted {
            warn!("cannot accept a connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, connections: &mut JoinSet<()>) {
        if self.open.fetch_add(1, Relaxed) >= self.limits.max_connections {
            self.open.fetch_sub(1, Relaxed);
            self.counters.count(Event::Refused);
            return;
        }
        self.counters.count(Event::Opened);
        let open = Open { thread: Arc::clone(self) };
        connections.spawn(async move { open.thread.converse(stream).await });
    }

    async fn converse(self: &Arc<Self>, stream: TcpStream) {
        // Without it only latency suffers.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let thread = Arc::clone(self);
            async move { Ok::<_, Infallible>(thread.service.respond(request).await) }
        });
        let (socket, outbox) = gathering(stream);
        let connection = pin!(self.http.serve_connection(TokioIo::new(socket), service));
        let mut connection = Turns { connection, outbox };
        let ended = tokio::select! {
            biased;
            ended = &mut connection => Some(ended),
            () = self.stop.stopped_beside_work() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => match tokio::time::timeout(LAST_REQUEST, &mut connection).await {
                Ok(ended) => ended,
                Err(_) => {
                    connection.connection.as_mut().graceful_shutdown();
                    connection.await
                }
            },
        };
        match ended {
            Err(e) if e.is_timeout() => self.counters.count(Event::TimedOut),
            Err(e) if e.is_parse() => self.counters.count(Event::NotHttp),
            // Clients may leave whenever they like.
            _ => {}
        }
    }
}

/// An open connection: gives its place free when it ends, however it does.
struct Open {
    thread: Arc<Thread>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.thread.open.fetch_sub(1, Relaxed);
        self.thread.counters.count(Event::Closed);
    }
}

#[cfg(test)]
mod tests;
