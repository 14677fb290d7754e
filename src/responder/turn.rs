//! What a connection writes in one turn goes to the socket in one call: head and body of an answer, and all answers to pipelined requests.
//!
//! hyper flushes after each answer. Here that does nothing: the octets are gathered, and sent when the connection has nothing more to do just now. Nothing
//! is ever held back beyond that, and large bodies are not copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// More than this is never gathered: longer writes go to the socket as they are.
const GATHERED_BYTES: usize = 16 * 1024;

/// A socket whose writes are gathered until [`Outbox::poll_send`].
pub(super) struct Gathering(Arc<Mutex<Inner>>);

/// The other end of a [`Gathering`], which sends what was gathered.
pub(super) struct Outbox(Arc<Mutex<Inner>>);

struct Inner {
    stream: TcpStream,
    gathered: Vec<u8>,
    sent: usize,
}

/// A socket to write to, and the means to send what was written.
pub(super) fn gathering(stream: TcpStream) -> (Gathering, Outbox) {
    let inner = Arc::new(Mutex::new(Inner { stream, gathered: Vec::new(), sent: 0 }));
    (Gathering(Arc::clone(&inner)), Outbox(inner))
}

/// Both ends belong to one task, so nobody ever waits here.
fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    /// Sends what was gathered.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(context)
    }
}

impl Inner {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.gathered[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.gathered.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathering {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        if inner.gathered.len() + length > GATHERED_BYTES {
            ready!(inner.poll_send(context))?;
        }
        if length > GATHERED_BYTES {
            return Pin::new(&mut inner.stream).poll_write_vectored(context, parts);
        }
        parts.iter().for_each(|part| inner.gathered.extend_from_slice(part));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Not yet: see [`Outbox::poll_send`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

/// A connection that sends at the end of each of its turns what it has written.
pub(super) struct Turns<'a, C> {
    pub(super) connection: Pin<&'a mut C>,
    pub(super) outbox: Outbox,
}

impl<C: Future<Output = Result<(), E>>, E> Future for Turns<'_, C> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        let ended = self.connection.as_mut().poll(context);
        match self.outbox.poll_send(context) {
            // Nobody takes the answers: clients may leave whenever they like.
            Poll::Ready(Err(_)) if ended.is_pending() => Poll::Ready(Ok(())),
            _ => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A connection that answers three times in one turn and then waits for ever.
    #[test]
    fn what_is_written_in_one_turn_arrives_without_a_flush() {
        runtime().block_on(async {
            let (server, mut client) = pair().await;
            let (mut socket, outbox) = gathering(server);
            let connection = async move {
                for answer in [&b"one "[..], b"two ", b"three"] {
                    socket.write_all(answer).await.unwrap();
                    socket.flush().await.unwrap();
                }
                std::future::pending::<Result<(), ()>>().await
            };
            let mut connection = std::pin::pin!(connection);
            let turns = Turns { connection: connection.as_mut(), outbox };
            let mut read = [0; 13];
            tokio::select! { _ = turns => unreachable!("it waits"), outcome = client.read_exact(&mut read) => { outcome.unwrap(); } }
            assert_eq!(&read, b"one two three");
        });
    }

    /// A client that does not read: what is gathered for it stays within its bound, the writer waits, and everything arrives once it reads.
    #[test]
    fn a_client_that_does_not_read_holds_back_the_writer_and_loses_nothing() {
        const ANSWERS: usize = 20_000;
        runtime().block_on(async {
            let (server, mut client) = pair().await;
            let (mut socket, outbox) = gathering(server);
            let inner = Arc::clone(&outbox.0);
            let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counter = Arc::clone(&written);
            let connection = async move {
                for _ in 0..ANSWERS {
                    socket.write_all(&[7; 1000]).await.unwrap();
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                socket.shutdown().await.unwrap();
                Ok::<(), ()>(())
            };
            let mut connection = std::pin::pin!(connection);
            let mut turns = Turns { connection: connection.as_mut(), outbox };
            let stalled = tokio::time::timeout(std::time::Duration::from_millis(200), &mut turns).await;
            assert!(stalled.is_err() && written.load(std::sync::atomic::Ordering::Relaxed) < ANSWERS);
            assert!(lock(&inner).gathered.capacity() <= 2 * GATHERED_BYTES);
            let read_all = async {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.unwrap();
                all
            };
            drop(inner);
            let (ended, all) = tokio::join!(turns, read_all);
            assert_eq!((ended, all.len()), (Ok(()), 1000 * ANSWERS));
        });
    }
}
