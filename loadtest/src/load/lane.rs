//! The load over HTTP/2, and over TLS: one thread, one runtime of tokio, workers that each send one request after the other.
//!
//! A connection of HTTP/2 has as many workers as requests in flight; one of HTTP/1.1 over TLS has one. The epoll loop of [`super::http1`] costs less, and is
//! used for everything else; when requests are due is decided by the same [`Supply`]. Here they leave up to a millisecond late, the grain of tokio's clock,
//! and latency counts that too.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, select};
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

use super::answer::Said;
use super::supply::{Due, Supply};
use super::tally::{Answered, Failure, Tally, Totals};
use super::wire::{Http1, Http2, Reply};
use super::{Job, TICK};
use crate::shape::{Protocol, Reuse};
use crate::targets::Picker;
use crate::truth::Samples;

/// How long a worker does not try again when it could not connect.
const REST: Duration = Duration::from_millis(100);

/// Drives the workers of one thread until the load is over.
pub(super) fn drive(job: &Job<'_>, thread: u32, tally: Tally, samples: Samples) -> io::Result<Totals> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let supply = Supply::new(job.settings, Picker::new(job.targets, thread, job.settings.threads), thread);
    let lane = Lane { job, state: RefCell::new(State { supply, tally }), samples, wake: Notify::new() };
    let connections = job.settings.connections_of(thread);
    runtime.block_on(async {
        let workers = pin!(join_all((0..connections).map(|_| lane.connection())));
        // Seconds go on while the last answers are waited for.
        select(pin!(lane.clock()), workers).await;
    });
    Ok(lane.state.into_inner().tally.finish())
}

/// A connection of HTTP/2 that workers share, and how many there have been.
#[derive(Default)]
struct Shared {
    number: u64,
    wire: Option<Http2>,
}

struct State<'a> {
    supply: Supply<'a>,
    tally: Tally,
}

struct Lane<'a> {
    job: &'a Job<'a>,
    state: RefCell<State<'a>>,
    samples: Samples,
    /// Wakes a worker that has nothing to do.
    wake: Notify,
}

impl Lane<'_> {
    /// Hands out what falls due, and seconds that are over, for as long as anybody works.
    async fn clock(&self) {
        loop {
            let now = self.job.clock.now();
            let (is_over, next) = {
                let State { supply, tally } = &mut *self.state.borrow_mut();
                tally.roll(now);
                if self.job.is_halted() {
                    supply.halt();
                }
                supply.release(now, tally);
                supply.expire(now, tally);
                (0..supply.waiting()).for_each(|_| self.wake.notify_one());
                (supply.is_over(now), supply.next_due())
            };
            if is_over {
                self.wake.notify_waiters();
            }
            let until_next = next.map_or(TICK, |next| Duration::from_nanos(next.saturating_sub(now)));
            sleep(until_next.min(TICK)).await;
        }
    }

    /// One connection, with its workers.
    async fn connection(&self) {
        match self.job.settings.protocol {
            Protocol::Http1 => self.http1_worker().await,
            Protocol::Http2 => {
                let shared = Mutex::new(Shared::default());
                join_all((0..self.job.settings.depth).map(|_| self.http2_worker(&shared))).await;
            }
        }
    }

    async fn http1_worker(&self) {
        let mut connection: Option<Http1> = None;
        while let Some((due, sent)) = self.next().await {
            let asked = timeout(self.left(due), async {
                let mut wire = match connection.take() {
                    Some(wire) => wire,
                    None => Http1::connect(self.job.endpoint).await?,
                };
                let reply = wire.ask(self.job, due.id).await?;
                Ok::<_, Failure>((reply, wire))
            });
            match asked.await.unwrap_or(Err(Failure::Timeout)) {
                Ok((reply, wire)) => {
                    connection = (!reply.closes && self.job.settings.reuse == Reuse::Keep).then_some(wire);
                    self.settle(due, sent, Ok(reply)).await;
                }
                Err(failure) => self.settle(due, sent, Err(failure)).await,
            }
        }
    }

    async fn http2_worker(&self, shared: &Mutex<Shared>) {
        while let Some((due, sent)) = self.next().await {
            let mut used = 0;
            let asked = timeout(self.left(due), async {
                let wire = {
                    let mut shared = shared.lock().await;
                    let wire = match &shared.wire {
                        Some(wire) => wire.clone(),
                        None => {
                            let wire = Http2::connect(self.job.endpoint).await?;
                            shared.number += 1;
                            shared.wire.insert(wire).clone()
                        }
                    };
                    used = shared.number;
                    wire
                };
                wire.ask(self.job, due.id).await
            });
            let reply = asked.await.unwrap_or(Err(Failure::Timeout));
            if reply.is_err() {
                let mut shared = shared.lock().await;
                // The next worker makes it anew; what is in flight on the old one goes on. Another worker may have done so already: that one is good.
                if shared.number == used {
                    shared.wire = None;
                }
            }
            self.settle(due, sent, reply).await;
        }
    }

    /// The next request, and when it is sent; `None` when the load is over.
    async fn next(&self) -> Option<(Due, u64)> {
        loop {
            {
                let now = self.job.clock.now();
                let State { supply, tally } = &mut *self.state.borrow_mut();
                if let Some(due) = supply.take(now, tally) {
                    return Some((due, now));
                }
                if supply.is_over(now) {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// What is left of the time in which a request must be answered.
    fn left(&self, due: Due) -> Duration {
        self.job.settings.timeout.saturating_sub(Duration::from_nanos(self.job.clock.now().saturating_sub(due.at)))
    }

    /// Counts an answer or a failure, and hands an answer to those who check it.
    async fn settle(&self, due: Due, sent: u64, reply: Result<Reply, Failure>) {
        let (kind, done) = (due.id.kind, self.job.clock.now());
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                self.state.borrow_mut().tally.failed(kind, failure);
                if matches!(failure, Failure::Connect | Failure::Tls) {
                    sleep(REST).await;
                }
                return;
            }
        };
        let State { tally, .. } = &mut *self.state.borrow_mut();
        match Said::of(kind, self.job.targets.expected(due.id), reply.status, &reply.body) {
            Some(said) => {
                let octets = reply.body.len() as u64;
                tally.answered(Answered { kind, said, due: due.at, sent, done, octets });
                if due.checked {
                    self.samples.hand_over(due.id, reply.status, &reply.head, &reply.body);
                }
            }
            None => tally.failed(kind, Failure::Http(reply.status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::load::{Clock, Measured, run};
    use crate::shape::Shape;
    use crate::targets::{Ask, Popularity, Questions, Targets};
    use crate::units::Share;

    /// A server of HTTP/2 that answers after a while, or never; and how many connections it has seen.
    fn slow(answers_after: Option<Duration>) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        listener.set_nonblocking(true).unwrap();
        let count = seen.clone();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        tokio::spawn(async move {
                            sleep(answers_after.unwrap_or(Duration::from_secs(3600))).await;
                            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                            body.send_data(Bytes::from_static(&[0x30, 3, 0x0a, 1, 6]), true).unwrap();
                        });
                    }
                });
            }
        };
        std::thread::spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve));
        (address, seen)
    }

    fn measured(address: SocketAddr, shape: Shape) -> Measured {
        let endpoint = Endpoint::resolve(&format!("http://{address}"), None).unwrap();
        let questions = Questions::ready_made([vec![0x30, 0]]);
        let targets = Targets::new("", questions, Vec::new(), None, &Ask::default(), Popularity::Uniform).unwrap();
        let settings = Shape { protocol: Some(Protocol::Http2), connections: Some(1), ..shape }.settle().unwrap();
        let (halt, interrupted) = (AtomicBool::new(false), AtomicBool::new(false));
        let (endpoint, targets, settings) = (&endpoint, &targets, &settings);
        let job = Job { endpoint, targets, settings, halt: &halt, interrupted: &interrupted, clock: Clock::start() };
        run(&job, None, &Samples::new(Share::new(0.0)).0, &mut |_| ()).unwrap()
    }

    #[test]
    fn an_answer_is_counted_in_the_second_in_which_it_comes_also_after_the_last_request() {
        let (address, _) = slow(Some(Duration::from_millis(2200)));
        let measured = measured(address, Shape { requests: Some(1), ..Shape::default() });
        let answered: Vec<u64> = measured.timeline.iter().map(|second| second.answered).collect();
        assert_eq!((answered[..2].iter().sum::<u64>(), answered[2..].iter().sum()), (0, 1), "{answered:?}");
    }

    #[test]
    fn requests_that_fail_on_one_connection_do_not_end_the_next_one() {
        let (address, seen) = slow(None);
        let span = |text: &str| Some(text.parse().unwrap());
        let (rate, timeout) = (Some("100".parse().unwrap()), span("600ms"));
        let measured = measured(address, Shape { rate, requests: Some(32), pipeline: Some(16), timeout, ..Shape::default() });
        assert_eq!(measured.totals.errors[&Failure::Timeout], 32);
        // Sixteen that fail one after the other on the first, and those after them on the second.
        assert!(seen.load(Ordering::Relaxed) <= 4, "{seen:?}");
    }
}
