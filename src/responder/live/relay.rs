//! A source that asks another node, by OCSP over HTTP: how a node without keys answers live.
//!
//! A few connections, kept, with a request on each at a time. What comes back is passed on only where it is an answer to the question, and takes back no
//! revocation that is known here. A request that was passed on once carries [`RELAYED`], and is passed on no further.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

use crate::pki::ocsp_answer::read_answer;
use crate::pki::ocsp_live::{LiveStatus, Question};
use crate::pki::{CertificateStatus, Timestamp};

use super::{Answered, Dropped, RELAYED, Reply, Source};

/// The greatest answer that is read: sixteen certificates, and a responder's certificate with a long key.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Asks the node at one URL.
#[derive(Debug)]
pub struct Relay {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    question: Arc<Question>,
    reply: Reply,
}

/// Where to ask, and for how long.
struct Upstream {
    host: String,
    port: u16,
    authority: String,
    path: String,
    timeout: Duration,
    /// The second in which a failure was last logged.
    logged_at: AtomicU64,
}

type Connection = SendRequest<Full<Bytes>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Relay {
    /// Starts a thread that asks the node at `url` over up to `connections` connections, with up to `queue` questions waiting, each for up to `timeout`. The
    /// thread ends with the relay.
    pub fn start(url: &str, connections: usize, queue: usize, timeout: Duration) -> io::Result<(Relay, JoinHandle<()>)> {
        let upstream = Arc::new(Upstream::at(url, timeout).ok_or_else(|| io::Error::other(format!("'{url}' is not an http:// URL")))?);
        let (jobs, waiting) = mpsc::channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                (0..connections).for_each(|_| drop(tasks.spawn(upstream.clone().work(waiting.clone()))));
                tasks.join_all().await
            });
        };
        let thread = std::thread::Builder::new().name("live-relay".to_owned()).spawn(work)?;
        Ok((Relay { jobs }, thread))
    }
}

impl Source for Relay {
    fn answers_for(&self, _issuer: &str, relayed: bool) -> bool {
        !relayed
    }

    fn ask(&self, _issuer: &str, question: Arc<Question>, _relayed: bool, reply: Reply) {
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) =
            self.jobs.try_send(Job { question, reply })
        {
            job.reply.give(Err(Dropped::Queue), Timestamp::now());
        }
    }
}

impl Upstream {
    fn at(url: &str, timeout: Duration) -> Option<Upstream> {
        let uri: Uri = url.parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        Some(Upstream {
            host: uri.host()?.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            authority: uri.authority()?.to_string(),
            path: uri.path().to_owned(),
            timeout,
            logged_at: AtomicU64::new(0),
        })
    }

    /// Asks one question after the other.
    async fn work(self: Arc<Self>, waiting: Arc<Mutex<mpsc::Receiver<Job>>>) {
        let mut connection = None;
        loop {
            let next = waiting.lock().await.recv().await;
            let Some(Job { question, reply }) = next else { return };
            if !reply.is_awaited() {
                reply.give(Err(Dropped::Late), Timestamp::now());
                continue;
            }
            let asked = tokio::time::timeout(self.timeout, self.ask(&mut connection, &question)).await;
            let now = Timestamp::now();
            let answered = match asked {
                Ok(Ok(answered)) => Ok(answered),
                Ok(Err(failure)) => {
                    self.log(&failure, now);
                    Err(Dropped::Failed)
                }
                Err(_) => Err(Dropped::Late),
            };
            reply.give(answered, now);
        }
    }

    /// Asks on the connection that there is. Where the other side has closed it meanwhile, asks once more on a new one.
    async fn ask(&self, connection: &mut Option<Connection>, question: &Question) -> Result<Answered, Failure> {
        let body = Bytes::from(question.to_request());
        // Taken out: a connection with half an answer on it is not used again.
        if let Some(mut kept) = connection.take()
            && let Ok(response) = kept.send_request(self.request(body.clone())?).await
        {
            let answered = read(response, question).await?;
            *connection = Some(kept);
            return Ok(answered);
        }
        let mut fresh = self.connect().await?;
        let answered = read(fresh.send_request(self.request(body)?).await?, question).await?;
        *connection = Some(fresh);
        Ok(answered)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let request = Request::post(&self.path).header(HOST, &self.authority).header(CONTENT_TYPE, "application/ocsp-request");
        Ok(request.header(RELAYED, "1").body(Full::new(body))?)
    }

    /// At most one line a second.
    fn log(&self, failure: &Failure, now: Timestamp) {
        if self.logged_at.swap(now.unix(), Relaxed) != now.unix() {
            warn!("live.upstream {}: {failure}", self.authority);
        }
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>, question: &Question) -> Result<Answered, Failure> {
    let (head, body) = response.into_parts();
    let der = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
    if head.status != StatusCode::OK {
        return Err(format!("HTTP status {}", head.status).into());
    }
    let now = Timestamp::now();
    let (said, mut answer) = read_answer(der, question)?;
    if answer.this_update > now || answer.next_update <= now {
        return Err("an answer that is not current".into());
    }
    let takes_back = |(known, said): (LiveStatus, LiveStatus)| known != said && !may_follow(known, said);
    let statuses = question.singles.iter().map(|single| single.status).zip(said.singles.iter().map(|single| single.status));
    if statuses.into_iter().any(takes_back) {
        return Err("an answer that knows less than what is published".into());
    }
    answer.due = now.saturating_add(Duration::from_secs(max_age(&head.headers))).min(answer.next_update);
    Ok(Answered { question: Arc::new(said), answer })
}

/// Whether the other node may be ahead of this one: certificates are issued and revoked, and never the other way round.
fn may_follow(known: LiveStatus, said: LiveStatus) -> bool {
    match known {
        LiveStatus::Unknown | LiveStatus::NeverIssued => true,
        LiveStatus::Issued(CertificateStatus::Good) => matches!(said, LiveStatus::Issued(_)),
        LiveStatus::Issued(CertificateStatus::Revoked(_)) => false,
    }
}

/// Seconds for which caches may keep a response; 0 where it does not say.
fn max_age(headers: &HeaderMap) -> u64 {
    let directives = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default().split(',');
    directives.map(str::trim).find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::time;
    use super::*;
    use crate::pki::Revocation;

    #[test]
    fn urls_are_taken_apart() {
        let at = |url| Upstream::at(url, Duration::ZERO).map(|u| (u.host, u.port, u.authority, u.path));
        let parts = |host: &str, port, authority: &str, path: &str| Some((host.to_owned(), port, authority.to_owned(), path.to_owned()));
        assert_eq!(at("http://va.example"), parts("va.example", 80, "va.example", "/"));
        assert_eq!(at("http://[::1]:2560/ocsp"), parts("::1", 2560, "[::1]:2560", "/ocsp"));
        assert_eq!(at("https://va.example"), None);
        assert_eq!(at("va.example:80"), None);
    }

    #[test]
    fn c9_no_answer_takes_back_what_is_published() {
        let good = LiveStatus::Issued(CertificateStatus::Good);
        let revoked = LiveStatus::Issued(CertificateStatus::Revoked(Revocation { at: time(1), reason: None }));
        assert!(may_follow(LiveStatus::Unknown, good) && may_follow(good, revoked) && may_follow(LiveStatus::NeverIssued, revoked));
        assert!(!may_follow(revoked, good) && !may_follow(good, LiveStatus::Unknown) && !may_follow(revoked, LiveStatus::NeverIssued));
    }

    #[test]
    fn max_age_is_what_the_other_node_allows() {
        let of = |value: &str| max_age(&[(CACHE_CONTROL, value.parse().unwrap())].into_iter().collect());
        assert_eq!(of("max-age=3600, public, no-transform"), 3600);
        assert_eq!((of("no-store"), of("public, max-age=5"), max_age(&HeaderMap::new())), (0, 5, 0));
    }
}
