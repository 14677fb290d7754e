//! The connections of one thread: taken on within the cap, counted, and at the stop finished within their time.

use std::io;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::warn;

use super::super::counters::{Event, ThreadCounters};
use super::super::service::{Limits, Service};
use super::super::stop::Stop;
use super::any_http;
use super::conversation::{Conversation, Outcome};

/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are taken on before those that are there get their turn.
const ACCEPTS_IN_A_TURN: usize = 16;

/// A listening socket whose connections are not yet known to the runtime.
struct Acceptor {
    listener: StdListener,
    /// The same socket: to the runtime one is like another, and this one is asked for nothing but its readiness.
    readiness: TcpStream,
}

/// What the connections of one thread share.
pub(super) struct Thread {
    pub(super) service: Service,
    pub(super) counters: Arc<ThreadCounters>,
    /// Connections open over all threads.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) limits: Limits,
    pub(super) stop: Stop,
}

impl Acceptor {
    fn new(listener: StdListener) -> io::Result<Acceptor> {
        let same = StdStream::from(OwnedFd::from(listener.try_clone()?));
        Ok(Acceptor { listener, readiness: TcpStream::from_std(same)? })
    }

    async fn ready(&self) {
        // It fails when the runtime ends, and then nothing goes on.
        let _ = self.readiness.readable().await;
    }

    fn accept(&self) -> io::Result<StdStream> {
        self.readiness.try_io(Interest::READABLE, || self.listener.accept()).map(|(stream, _)| stream)
    }
}

impl Thread {
    /// Serves every socket of this thread until all connections have ended after the stop.
    pub(super) async fn serve(self: &Arc<Self>, sockets: Vec<StdListener>) -> io::Result<()> {
        let mut listeners = JoinSet::new();
        for socket in sockets {
            let (thread, listener) = (Arc::clone(self), Acceptor::new(socket)?);
            listeners.spawn(async move { thread.accept(listener).await });
        }
        while listeners.join_next().await.is_some() {}
        Ok(())
    }

    async fn accept(self: &Arc<Self>, listener: Acceptor) {
        let mut connections = JoinSet::new();
        let mut stopped = pin!(self.stop.stopped());
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                () = listener.ready() => {}
            }
            let mut accepted = 0;
            loop {
                match listener.accept() {
                    Ok(stream) => self.admit(stream, &mut connections),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => self.accept_failed(&e).await,
                }
                accepted += 1;
                if accepted == ACCEPTS_IN_A_TURN {
                    // Those who are connected get their turn.
                    tokio::task::yield_now().await;
                    break;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        // Who was connected before the stop is still served.
        while let Ok((stream, _)) = listener.listener.accept() {
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

    fn admit(self: &Arc<Self>, stream: StdStream, connections: &mut JoinSet<()>) {
        if self.open.fetch_add(1, Relaxed) >= self.limits.max_connections {
            self.open.fetch_sub(1, Relaxed);
            self.counters.count(Event::Refused);
            return;
        }
        self.counters.count(Event::Opened);
        let open = Open { thread: Arc::clone(self) };
        // Clients may leave whenever they like.
        let Ok(Some(conversation)) = Conversation::begin(self, stream) else { return };
        connections.spawn(async move { open.thread.converse(conversation).await });
    }

    async fn converse(self: &Arc<Self>, conversation: Conversation) {
        match conversation.hold(self).await {
            Outcome::Ended => {}
            Outcome::TimedOut => self.counters.count(Event::TimedOut),
            // In a box, so that connections that never come here need no room for it.
            Outcome::NotPlain(rest) => Box::pin(any_http::hold(self, rest)).await,
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
