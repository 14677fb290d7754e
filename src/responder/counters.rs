//! Counting without contention: every server thread counts in cache lines of its own; whoever wants the numbers adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::StatusCode;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident => $family:literal, $label:literal;)*) => {
        /// Something that a server thread counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Event { $($(#[$doc])* $name,)* }

        impl Event {
            /// Every event.
            pub const ALL: &[Event] = &[$(Event::$name,)*];

            /// The metric it belongs to, and the value of that metric's label.
            pub const fn metric(self) -> (&'static str, &'static str) {
                match self { $(Event::$name => ($family, $label),)* }
            }
        }
    };
}

events! {
    /// Answered good.
    Good => "ocsp_answers", "good";
    /// Answered revoked.
    Revoked => "ocsp_answers", "revoked";
    /// Answered unknown, signed.
    Unknown => "ocsp_answers", "unknown";
    /// Answered revoked for a serial that was never issued (rule O10).
    NeverIssued => "ocsp_answers", "never-issued";
    /// Answered malformedRequest.
    MalformedRequest => "ocsp_answers", "malformedRequest";
    /// Answered unauthorized (rule O9).
    Unauthorized => "ocsp_answers", "unauthorized";
    /// unauthorized because the issuer has issued no certificate with that serial (S3.7).
    UnusedSerial => "ocsp_unauthorized", "unused-serial";
    /// Answered tryLater.
    TryLater => "ocsp_answers", "tryLater";
    /// tryLater because the slot is not in memory.
    NotLoaded => "ocsp_withheld", "not-loaded";
    /// tryLater because the signed answer is past its nextUpdate, or not yet valid.
    NotCurrent => "ocsp_withheld", "not-current";
    /// An answer was signed for the request.
    LiveSigned => "ocsp_live", "signed";
    /// An answer was being signed for another request that asked the same.
    LiveShared => "ocsp_live", "shared";
    /// An answer that was signed before and kept.
    LiveCached => "ocsp_live", "cached";
    /// No live answer: the issuer's signing budget was used up.
    LiveBudget => "ocsp_live_dropped", "budget";
    /// No live answer: too many questions were waiting.
    LiveQueue => "ocsp_live_dropped", "queue";
    /// No live answer: it did not come in time.
    LiveLate => "ocsp_live_dropped", "late";
    /// No live answer: signing or relaying failed.
    LiveFailed => "ocsp_live_dropped", "failed";
    /// No live answer: the registry has not been followed for a minute.
    LiveBehind => "ocsp_live_dropped", "behind";
    /// A whole or partial CRL was sent.
    Crl => "documents", "crl";
    /// A CA certificate was sent.
    CaCertificate => "documents", "ca-certificate";
    /// A CRL was not sent because it is past its nextUpdate, or not yet valid.
    CrlWithheld => "documents", "crl-withheld";
    /// 200 OK.
    Http200 => "http_responses", "200";
    /// 204 No Content: what OPTIONS is answered.
    Http204 => "http_responses", "204";
    /// 206 Partial Content.
    Http206 => "http_responses", "206";
    /// 304 Not Modified.
    Http304 => "http_responses", "304";
    /// 400 Bad Request: the body could not be read.
    Http400 => "http_responses", "400";
    /// 404 Not Found.
    Http404 => "http_responses", "404";
    /// 405 Method Not Allowed.
    Http405 => "http_responses", "405";
    /// 408 Request Timeout.
    Http408 => "http_responses", "408";
    /// 412 Precondition Failed: the document is another one by now.
    Http412 => "http_responses", "412";
    /// 413 Content Too Large.
    Http413 => "http_responses", "413";
    /// 415 Unsupported Media Type.
    Http415 => "http_responses", "415";
    /// 416 Range Not Satisfiable.
    Http416 => "http_responses", "416";
    /// 503 Service Unavailable.
    Http503 => "http_responses", "503";
    /// A connection was taken on.
    Opened => "connections", "opened";
    /// A connection that was taken on has ended.
    Closed => "connections", "closed";
    /// A connection was closed at once: there were too many.
    Refused => "connections", "refused";
    /// A connection ended because no complete request came in time.
    TimedOut => "connections", "timed-out";
    /// A connection ended because it did not speak HTTP (answered 400, 414 or 431 by the HTTP layer).
    NotHttp => "connections", "not-http";
    /// The system could not hand out a connection (too many open files …).
    AcceptFailed => "connections", "accept-failed";
}

impl Event {
    /// The event of a response with this status code.
    pub(super) fn of_status(status: StatusCode) -> Event {
        match status.as_u16() {
            200 => Event::Http200,
            204 => Event::Http204,
            206 => Event::Http206,
            304 => Event::Http304,
            400 => Event::Http400,
            404 => Event::Http404,
            405 => Event::Http405,
            408 => Event::Http408,
            412 => Event::Http412,
            413 => Event::Http413,
            415 => Event::Http415,
            416 => Event::Http416,
            _ => Event::Http503,
        }
    }
}

/// The counters of one thread, in cache lines that no other thread writes.
#[derive(Debug)]
#[repr(align(128))]
pub struct ThreadCounters {
    counts: [AtomicU64; Event::ALL.len()],
}

impl Default for ThreadCounters {
    fn default() -> ThreadCounters {
        ThreadCounters { counts: [const { AtomicU64::new(0) }; Event::ALL.len()] }
    }
}

impl ThreadCounters {
    /// Counts one. Only the thread that owns these counters may call this: there is one writer, so no locked instruction is needed.
    #[inline]
    pub fn count(&self, event: Event) {
        let counter = &self.counts[event as usize];
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The count so far; any thread may ask.
    pub fn get(&self, event: Event) -> u64 {
        self.counts[event as usize].load(Relaxed)
    }
}

/// The counters of all threads of a server.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    threads: Vec<Arc<ThreadCounters>>,
}

impl Statistics {
    /// One set of counters for each of `threads`.
    pub fn new(threads: usize) -> Statistics {
        Statistics { threads: (0..threads).map(|_| Arc::default()).collect() }
    }

    /// The counters of each thread.
    pub fn threads(&self) -> &[Arc<ThreadCounters>] {
        &self.threads
    }

    /// The sum over all threads.
    pub fn total(&self, event: Event) -> u64 {
        self.threads.iter().map(|thread| thread.get(event)).sum()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u64 {
        self.total(Event::Opened).saturating_sub(self.total(Event::Closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_threads() {
        let statistics = Statistics::new(2);
        statistics.threads()[0].count(Event::Good);
        statistics.threads()[1].count(Event::Good);
        statistics.threads()[1].count(Event::Opened);
        assert_eq!(statistics.total(Event::Good), 2);
        assert_eq!(statistics.open_connections(), 1);
    }

    #[test]
    fn every_event_counts_in_its_own_place() {
        for (index, event) in Event::ALL.iter().enumerate() {
            assert_eq!(*event as usize, index);
        }
    }
}
