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
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            biased;
            ended = &mut connection => Some(ended),
            () = self.stop.stopped() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => match tokio::time::timeout(LAST_REQUEST, &mut connection).await {
                Ok(ended) => ended,
                Err(_) => {
                    connection.as_mut().graceful_shutdown();
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
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;
    use std::time::Instant;

    use super::super::get_path;
    use super::super::testing::{self, serial, wait_until};
    use super::*;
    use crate::pki::HashAlgorithm;
    use crate::pki::ocsp_request::{MAX_REQUEST_BYTES, encode_request};

    struct World {
        running: Option<Running>,
        stop: Stop,
    }

    fn world(limits: Limits) -> World {
        let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], NonZeroUsize::new(2).unwrap(), limits).unwrap();
        let stop = Stop::new();
        let running = server.run(&Arc::new(testing::content_at(Timestamp::now().unix())), &stop).unwrap();
        World { running: Some(running), stop }
    }

    impl World {
        fn running(&self) -> &Running {
            self.running.as_ref().unwrap()
        }

        fn connect(&self) -> Client {
            let client = Client::connect(self.running().addresses()[0]).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client
        }

        /// Sends octets on a new connection and reads until it is closed.
        fn exchange(&self, sent: &[u8]) -> String {
            let mut client = self.connect();
            client.write_all(sent).unwrap();
            read_all(&mut client)
        }

        fn count(&self, event: Event) -> u64 {
            self.running().statistics().total(event)
        }

        fn end(&mut self) {
            self.stop.stop();
            self.running.take().unwrap().join();
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            if self.running.is_some() {
                self.end();
            }
        }
    }

    /// Reads until the connection is closed; a reset after the answer is a close too.
    fn read_all(client: &mut Client) -> String {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            read.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    fn request(number: u64) -> Vec<u8> {
        encode_request(&testing::hashes(HashAlgorithm::Sha1), &serial(number))
    }

    fn get(method: &str, headers: &str) -> Vec<u8> {
        format!("{method} /{} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n", get_path::encode(&request(5))).into_bytes()
    }

    fn post(length: usize, headers: &str) -> Vec<u8> {
        format!("POST /ocsp HTTP/1.1\r\nHost: test\r\nContent-Type: application/ocsp-request\r\nContent-Length: {length}\r\n{headers}\r\n")
            .into_bytes()
    }

    fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
        response.split("\r\n\r\n").next()?.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn o12_o13_post_get_head_and_304_over_a_socket() {
        let world = world(Limits::default());
        let response = world.exchange(&get("GET", ""));
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        for name in ["content-type", "content-length", "date", "last-modified", "expires", "etag", "cache-control"] {
            assert!(header(&response, name).is_some(), "{name} in {response}");
        }
        let mut posted = post(request(5).len(), "Connection: close\r\n");
        posted.extend_from_slice(&request(5));
        let body = |response: &str| response.split_once("\r\n\r\n").unwrap().1.to_owned();
        assert_eq!(body(&world.exchange(&posted)), body(&response));
        let head = world.exchange(&get("HEAD", ""));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty(), "{head}");
        assert_eq!(header(&head, "content-length"), header(&response, "content-length"));
        let etag = header(&response, "etag").unwrap();
        let unmodified = world.exchange(&get("GET", &format!("If-None-Match: {etag}\r\n")));
        assert!(unmodified.starts_with("HTTP/1.1 304 Not Modified\r\n") && body(&unmodified).is_empty(), "{unmodified}");
        assert_eq!((world.count(Event::Good), world.count(Event::Http304)), (4, 1));
    }

    #[test]
    fn a_connection_is_kept_and_pipelined_requests_are_all_answered() {
        let world = world(Limits::default());
        let mut sent = Vec::new();
        (0..50).for_each(|_| {
            sent.extend_from_slice(&post(request(5).len(), ""));
            sent.extend_from_slice(&request(5));
        });
        sent.extend_from_slice(&get("GET", ""));
        assert_eq!(world.exchange(&sent).matches("HTTP/1.1 200 OK").count(), 51);
        assert_eq!(world.count(Event::Opened), 1);
    }

    /// Old clients send a line end after the body of a POST (RFC 9112 2.2); the answer must not wait for what comes after it.
    #[test]
    fn o12_an_answer_does_not_wait_for_the_rest_of_the_next_request() {
        let world = world(Limits::default());
        for extra in ["\r\n", "GET / HT"] {
            let mut client = world.connect();
            client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let sent = [&post(request(5).len(), "")[..], &request(5), extra.as_bytes()].concat();
            client.write_all(&sent).unwrap();
            let mut answer = [0; 15];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
    }

    #[test]
    fn what_clients_should_not_send_is_told_them() {
        let world = world(Limits { max_header_bytes: 8192, ..Limits::default() });
        let status = |sent: &[u8]| world.exchange(sent).split(' ').nth(1).map(str::to_owned);
        assert_eq!(status(&get("DELETE", "")).as_deref(), Some("405"));
        assert_eq!(status(&post(MAX_REQUEST_BYTES + 1, "")).as_deref(), Some("413"));
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").as_deref(), Some("400"));
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n").as_deref(), Some("400"));
        assert_eq!(status(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9000)).as_bytes()).as_deref(), Some("431"));
        let mut chunked = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        (0..5).for_each(|_| chunked.extend_from_slice(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()));
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(status(&chunked).as_deref(), Some("413"), "chunked bodies are bounded too");
        wait_until(|| world.count(Event::NotHttp) == 3 && world.running().statistics().open_connections() == 0);
        assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"), "and everybody else is served");
    }

    #[test]
    fn every_thread_gets_its_share() {
        let world = world(Limits::default());
        let clients: Vec<_> = (0..64).map(|_| world.connect()).collect();
        wait_until(|| world.count(Event::Opened) == clients.len() as u64);
        assert!(world.running().statistics().threads().iter().all(|thread| thread.get(Event::Opened) > 0));
    }

    #[test]
    fn garbage_never_stops_the_service() {
        let world = world(Limits { header_read_timeout: Duration::from_millis(50), ..Limits::default() });
        let strategy = proptest::collection::vec(proptest::prelude::any::<u8>(), 1..400);
        let config = proptest::test_runner::Config { cases: 40, failure_persistence: None, ..Default::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let sent = runner.run(&strategy, |octets| {
            world.exchange(&octets);
            world.exchange(&[b"GET /M", &octets[..], b" HTTP/1.1\r\nConnection: close\r\n\r\n"].concat());
            Ok(())
        });
        sent.unwrap();
        assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn slow_headers_and_slow_bodies_are_ended() {
        let quick = Duration::from_millis(200);
        let world = world(Limits { header_read_timeout: quick, body_read_timeout: quick, ..Limits::default() });
        let start = Instant::now();
        assert_eq!(world.exchange(b"GET / HTTP/1.1\r\nHost:"), "");
        assert!(world.exchange(&post(100, "")).starts_with("HTTP/1.1 408 "));
        assert_eq!(world.exchange(b""), "", "idle");
        assert!(start.elapsed() < Duration::from_secs(10));
        wait_until(|| world.count(Event::TimedOut) == 2);
    }

    #[test]
    fn connections_beyond_the_cap_are_closed_at_once() {
        let world = world(Limits { max_connections: 2, ..Limits::default() });
        let kept = [world.connect(), world.connect()];
        wait_until(|| world.count(Event::Opened) == 2);
        assert_eq!(world.exchange(b""), "");
        wait_until(|| world.count(Event::Refused) == 1);
        drop(kept);
        wait_until(|| world.running().statistics().open_connections() == 0);
        assert!(world.exchange(&get("GET", "")).starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_stop_finishes_requests_in_flight_and_closes_idle_connections() {
        let mut world = world(Limits::default());
        let (mut in_flight, mut idle, mut silent) = (world.connect(), world.connect(), world.connect());
        idle.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        wait_until(|| world.count(Event::Http200) == 1);
        let body = request(5);
        in_flight.write_all(&post(body.len(), "")).unwrap();
        in_flight.write_all(&body[..20]).unwrap();
        wait_until(|| world.count(Event::Opened) == 3);
        std::thread::sleep(Duration::from_millis(50));
        world.stop.stop();
        assert!(read_all(&mut idle).ends_with(".\n"), "the idle connection is closed");
        assert_eq!(read_all(&mut silent), "", "so is one that never asked");
        let address = world.running().addresses()[0];
        wait_until(|| Client::connect(address).is_err());
        in_flight.write_all(&body[20..]).unwrap();
        let response = read_all(&mut in_flight);
        assert!(response.starts_with("HTTP/1.1 200 OK") && header(&response, "connection") == Some("close"), "{response}");
        let start = Instant::now();
        world.end();
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_drain_ends_with_its_time_out() {
        let mut world = world(Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() });
        let mut client = world.connect();
        client.write_all(&post(100, "")).unwrap();
        wait_until(|| world.count(Event::Opened) == 1);
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        world.end();
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_address_in_use_is_an_error_even_where_it_could_be_shared() {
        let bind = |address| Server::bind(&[address], NonZeroUsize::new(2).unwrap(), Limits::default());
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(matches!(bind(first.local_addr()), Err(BindError::InUse(_))), "sockets of ours");
        let sharing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        sharing.set_reuse_port(true).unwrap();
        sharing.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        sharing.listen(1).unwrap();
        let error = bind(sharing.local_addr().unwrap().as_socket().unwrap()).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        assert!(matches!(Server::bind(&[], NonZeroUsize::MIN, Limits::default()), Err(BindError::NoAddress)));
        let narrow = Limits { max_header_bytes: 100, ..Limits::default() };
        assert!(matches!(Server::bind(&[first.local_addr()], NonZeroUsize::MIN, narrow), Err(BindError::HeaderBytes(100))));
    }
}
