//! A connection while all its requests are plain: what has come in is answered and sent in one turn, with one read and one write for all of it.
//!
//! The buffers belong to the thread, so that a connection that waits holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream as StdStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::plain::{Next, Progress};
use super::thread::Thread;

/// Octets read at once. More than any plain request has, so that a buffer that is full holds a whole one.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers { input: vec![0; READ_BYTES].into(), output: Vec::new(), body: Vec::new() });
}

/// What the turns of all connections of a thread are done in.
struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
    body: Vec<u8>,
}

/// A connection with plain requests so far.
pub(super) struct Conversation {
    stream: TcpStream,
    state: State,
    /// Not later than the time when a request has been waited for too long.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a connection has between two turns.
struct State {
    /// The beginning of a request, or requests that wait until the answers before them are sent.
    unanswered: Vec<u8>,
    /// What the client has not taken yet.
    unsent: Vec<u8>,
    /// What is to be done when everything is sent.
    next: Next,
    /// Requests that may still be answered.
    left: u32,
    /// Since when a request is waited for.
    waiting_since: Instant,
}

/// How it goes on after the plain requests.
pub(super) enum Outcome {
    /// Not at all.
    Ended,
    /// Not at all, for no request came in time.
    TimedOut,
    /// With a request that is not plain, or with the stop.
    NotPlain(Rest),
}

/// Why there are no more turns.
enum End {
    Ended,
    TimedOut,
    NotPlain,
}

/// A connection in the middle.
pub(super) struct Rest {
    pub(super) stream: TcpStream,
    /// What was read and not answered.
    pub(super) unanswered: Vec<u8>,
    /// Requests that may still be answered: at least one.
    pub(super) left: u32,
}

impl Conversation {
    /// Takes the first turn at once, since clients send their first request as soon as they are connected, and many no other one. `None` where the
    /// conversation is over with it: it never concerned the runtime.
    pub(super) fn begin(thread: &Thread, mut stream: StdStream) -> io::Result<Option<Conversation>> {
        stream.set_nonblocking(true)?;
        let left = thread.limits.max_requests_per_connection;
        let mut state = State { unanswered: Vec::new(), unsent: Vec::new(), next: Next::Read, left, waiting_since: Instant::now() };
        BUFFERS.with_borrow_mut(|buffers| match stream.read(&mut buffers.input) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(filled) => {
                state.answer(thread, buffers, filled);
                let sent = if buffers.output.is_empty() { Ok(0) } else { stream.write(&buffers.output) };
                state.keep_unsent(&buffers.output, or_none(sent)?);
                Ok(())
            }
            Err(e) => or_none(Err(e)).map(drop),
        })?;
        if state.next == Next::Close && state.unsent.is_empty() {
            return Ok(None);
        }
        Ok(Some(Conversation { stream: TcpStream::from_std(stream)?, state, timer: None }))
    }

    /// Answers plain requests until something else happens.
    pub(super) async fn hold(mut self, thread: &Thread) -> Outcome {
        let mut stopped = pin!(thread.stop.stopped_beside_work());
        let end = poll_fn(|context| match self.poll(thread, context) {
            Poll::Pending if self.state.unsent.is_empty() => stopped.as_mut().poll(context).map(|()| End::NotPlain),
            end => end,
        });
        match end.await {
            End::Ended => Outcome::Ended,
            End::TimedOut => Outcome::TimedOut,
            End::NotPlain => Outcome::NotPlain(Rest { stream: self.stream, unanswered: self.state.unanswered, left: self.state.left }),
        }
    }

    fn poll(&mut self, thread: &Thread, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let unsent = std::mem::take(&mut self.state.unsent);
            let turned = match self.poll_send(&unsent, context) {
                Poll::Ready(Ok(())) => match self.state.next {
                    Next::Close => return Poll::Ready(End::Ended),
                    Next::NotPlain => return Poll::Ready(End::NotPlain),
                    Next::Read | Next::Again => BUFFERS.with_borrow_mut(|buffers| self.poll_turn(thread, buffers, context)),
                },
                unsent => unsent,
            };
            match turned {
                Poll::Ready(Ok(())) => {}
                // Clients may leave whenever they like.
                Poll::Ready(Err(_)) => return Poll::Ready(End::Ended),
                Poll::Pending if self.state.unsent.is_empty() => return self.poll_deadline(thread, context).map(|()| End::TimedOut),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads what is there, answers it and sends the answers. Pending where nothing is there, or not everything is taken.
    fn poll_turn(&mut self, thread: &Thread, buffers: &mut Buffers, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let kept = self.state.unanswered.len();
        buffers.input[..kept].copy_from_slice(&self.state.unanswered);
        let mut read = ReadBuf::new(&mut buffers.input[kept..]);
        if self.state.next == Next::Read {
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let filled = kept + read.filled().len();
        self.state.answer(thread, buffers, filled);
        self.poll_send(&buffers.output, context)
    }

    /// Sends `output`, or keeps what the client does not take now.
    fn poll_send(&mut self, output: &[u8], context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while sent < output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &output[sent..]) {
                Poll::Ready(taken) => sent += taken?,
                Poll::Pending => {
                    self.state.keep_unsent(output, sent);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when no request has come for too long.
    fn poll_deadline(&mut self, thread: &Thread, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.state.waiting_since + thread.limits.header_read_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            // Requests have come since it was set.
            timer.as_mut().reset(deadline);
        }
    }
}

impl State {
    /// Answers what the first `filled` octets of the input ask into the output, and keeps the rest.
    fn answer(&mut self, thread: &Thread, buffers: &mut Buffers, filled: usize) {
        let Buffers { input, output, body } = buffers;
        output.clear();
        let Progress { consumed, next } = thread.service.answer_plain(&input[..filled], output, body, &mut self.left);
        if consumed > 0 {
            self.waiting_since = Instant::now();
        }
        self.unanswered.clear();
        self.unanswered.extend_from_slice(&input[consumed..filled]);
        self.next = next;
    }

    fn keep_unsent(&mut self, output: &[u8], sent: usize) {
        self.unsent.extend_from_slice(&output[sent..]);
    }
}

/// Nothing was sent or read where that would take waiting.
fn or_none(moved: io::Result<usize>) -> io::Result<usize> {
    match moved {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        moved => moved,
    }
}
