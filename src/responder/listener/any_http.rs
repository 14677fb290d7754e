//! A connection with requests of any kind: HTTP/1.0, HTTP/1.1 and HTTP/2 without TLS (prior knowledge, RFC 9113 3.3), as hyper speaks them.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::counters::Event;
use super::conversation::Rest;
use super::thread::Thread;

/// After the stop, connections get so long to show a request that is on its way.
const LAST_REQUEST: Duration = Duration::from_millis(20);
/// What every connection of HTTP/2 begins with, and no other one does.
const HTTP2_PREFACE: &[u8] = b"PRI ";
/// Requests at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// Octets of a large answer that a connection of HTTP/2 holds for its client.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// What a client of HTTP/2 must take in a while of the answers that it still has to get: a frame of data. Answers to its pings are not as much.
const MIN_PROGRESS: u64 = 16 * 1024;

/// Answers requests until the connection ends.
pub(super) async fn hold(thread: &Arc<Thread>, rest: Rest) {
    let left = AtomicU32::new(rest.left);
    let is_http2 = rest.unanswered.starts_with(HTTP2_PREFACE);
    let io = TokioIo::new(Rewound { stream: rest.stream, unread: rest.unanswered, read: 0, written: Arc::default() });
    let ended = if is_http2 { hold_http2(thread, io, left).await } else { hold_http1(thread, io, &left).await };
    match ended {
        Err(e) if e.is_timeout() => thread.counters.count(Event::TimedOut),
        Err(e) if e.is_parse() => thread.counters.count(Event::NotHttp),
        // Clients may leave whenever they like.
        _ => {}
    }
}

async fn hold_http1(thread: &Arc<Thread>, io: TokioIo<Rewound>, left: &AtomicU32) -> hyper::Result<()> {
    let service = service_fn(|request| async move {
        let mut response = thread.service.respond(request).await;
        // Who asks without a pause is told of the stop, and then sends nothing that would be lost.
        if left.fetch_sub(1, Relaxed) <= 1 || thread.stop.is_stopped() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(response)
    });
    let mut http = http1::Builder::new();
    // Not pipeline_flush: it holds an answer back for as long as anything follows the request, if only the line end that old clients send after a body,
    // or what makes a request malformed (hyper 1.12); and it would copy every CRL.
    http.timer(TokioTimer::new()).header_read_timeout(thread.limits.header_read_timeout).max_buf_size(thread.limits.max_header_bytes);
    let mut connection = pin!(http.serve_connection(io, service));
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = thread.stop.stopped_beside_work() => {}
    }
    if let Ok(ended) = tokio::time::timeout(LAST_REQUEST, connection.as_mut()).await {
        return ended;
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

async fn hold_http2(thread: &Arc<Thread>, io: TokioIo<Rewound>, left: AtomicU32) -> hyper::Result<()> {
    let (first, left) = (left.load(Relaxed), Arc::new(left));
    let written = io.inner().written.clone();
    let service = service_fn(|request| {
        let (thread, left) = (Arc::clone(thread), Arc::clone(&left));
        async move {
            // Requests that were under way when the last one came are answered too.
            let _ = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            Ok::<_, Infallible>(thread.service.respond(request).await)
        }
    });
    let idle = thread.limits.header_read_timeout;
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(thread.limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(idle)
        .keep_alive_timeout(idle);
    let mut connection = pin!(http.serve_connection(io, service));
    let mut answered_before = first;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = thread.stop.stopped_beside_work() => {
                if let Ok(ended) = tokio::time::timeout(LAST_REQUEST, connection.as_mut()).await {
                    return ended;
                }
                break;
            }
            () = tokio::time::sleep(idle) => {}
        }
        let left = left.load(Relaxed);
        if left == 0 || left == answered_before {
            break;
        }
        answered_before = left;
    }
    connection.as_mut().graceful_shutdown();
    while_taken(connection, &written, idle.max(thread.limits.write_stall_timeout)).await
}

/// Waits for the end of the last answers, for as long as the client takes them. One that lets none be sent, by its window, takes nothing of what TCP would
/// miss, and answers every ping: nobody else notices that its place is held for nothing.
async fn while_taken(connection: impl Future<Output = hyper::Result<()>>, written: &AtomicU64, patience: Duration) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut before = written.load(Relaxed);
    loop {
        if let Ok(ended) = tokio::time::timeout(patience, connection.as_mut()).await {
            return ended;
        }
        let now = written.load(Relaxed);
        if now - before < MIN_PROGRESS {
            return Ok(());
        }
        before = now;
    }
}

/// A socket of which something was read already.
struct Rewound {
    stream: TcpStream,
    unread: Vec<u8>,
    read: usize,
    /// Octets that were sent.
    written: Arc<AtomicU64>,
}

impl Rewound {
    fn count(&self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = sent {
            self.written.fetch_add(octets as u64, Relaxed);
        }
        sent
    }
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read == self.unread.len() {
            self.unread = Vec::new();
            self.read = 0;
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = buffer.remaining().min(self.unread.len() - self.read);
        buffer.put_slice(&self.unread[self.read..self.read + length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, octets);
        self.count(sent)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.count(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
