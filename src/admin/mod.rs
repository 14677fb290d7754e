//! What operators look at: `/livez`, `/readyz` and `/metrics`, on a listener and a thread of their own. Nothing here is on the way of a relying party.
//!
//! Every part of the program that has something to say is a [`Part`]; this module knows of the responder only ([`ResponderPart`]).

mod responder;

use std::future::IntoFuture;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tracing::error;

use crate::pki::Timestamp;
use crate::responder::{Readiness, Stop};

pub use responder::ResponderPart;

/// How long requests in flight may take after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// A part of the program, as operators see it.
pub trait Part: Send + Sync {
    /// Whether this part can do its work at `now`.
    fn readiness(&self, now: Timestamp) -> Readiness;

    /// Registers this part's metrics, with their values of now, in a registry that is made for this one scrape: metrics that live longer are registered as
    /// clones (a clone shares the value), others are made here. Names begin with `kakunin_` and occur in one part only.
    fn metrics(&self, registry: &Registry, now: Timestamp) -> prometheus::Result<()>;
}

/// The parts of this process.
pub type Parts = Arc<[Arc<dyn Part>]>;

/// A listener for operators.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Listens on `address`; port 0 is a free port.
    pub fn bind(address: SocketAddr) -> std::io::Result<Admin> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Admin { address: listener.local_addr()?, listener })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers on a thread of its own until the stop.
    pub fn run(self, parts: Parts, stop: Stop) -> std::io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            if let Err(e) = runtime.block_on(serve(self.listener, parts, stop)) {
                error!("the admin listener ended: {e}");
            }
        };
        std::thread::Builder::new().name("admin".into()).spawn(work)
    }
}

async fn serve(listener: TcpListener, parts: Parts, stop: Stop) -> std::io::Result<()> {
    let routes = Router::new().route("/livez", get(async || "alive\n")).route("/readyz", get(readyz)).route("/metrics", get(metrics));
    let (listener, stopped) = (tokio::net::TcpListener::from_std(listener)?, stop.clone());
    let server = axum::serve(listener, routes.with_state(parts)).with_graceful_shutdown(async move { stopped.stopped().await });
    let too_late = async {
        stop.stopped().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = too_late => Ok(()),
    }
}

async fn readyz(State(parts): State<Parts>) -> (StatusCode, String) {
    let now = Timestamp::now();
    let (mut reasons, mut remarks) = (Vec::new(), Vec::new());
    for Readiness { reasons: of_part, remarks: beside } in parts.iter().map(|part| part.readiness(now)) {
        reasons.extend(of_part);
        remarks.extend(beside);
    }
    let (status, mut lines) = match reasons.is_empty() {
        true => (StatusCode::OK, vec!["ready".to_owned()]),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    };
    lines.append(&mut remarks);
    (status, lines.join("\n") + "\n")
}

type Page = (StatusCode, [(HeaderName, &'static str); 1], String);

async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let page = |status, content_type, text| -> Page { (status, [(CONTENT_TYPE, content_type)], text) };
    match scrape(&parts, Timestamp::now()) {
        Ok(text) => page(StatusCode::OK, prometheus::TEXT_FORMAT, text),
        Err(e) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{e}\n")),
    }
}

/// All metrics in Prometheus' text format.
fn scrape(parts: &[Arc<dyn Part>], now: Timestamp) -> prometheus::Result<String> {
    let registry = Registry::new();
    for part in parts {
        part.metrics(&registry, now)?;
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Fake {
        ready: AtomicBool,
    }

    impl Part for Fake {
        fn readiness(&self, _: Timestamp) -> Readiness {
            let reasons = if self.ready.load(Ordering::Relaxed) { vec![] } else { vec!["no key".into(), "no token".into()] };
            Readiness { reasons, remarks: vec!["a new key".into()] }
        }

        fn metrics(&self, registry: &Registry, _: Timestamp) -> prometheus::Result<()> {
            let gauge = prometheus::IntGauge::new("kakunin_fake", "A number.")?;
            gauge.set(42);
            registry.register(Box::new(gauge))
        }
    }

    fn fetch(address: SocketAddr, path: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn operators_see_life_readiness_and_numbers() {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop, fake) = (admin.local_addr(), Stop::new(), Arc::new(Fake::default()));
        let thread = admin.run(Arc::new([fake.clone() as Arc<dyn Part>]), stop.clone()).unwrap();
        assert!(fetch(address, "/livez").starts_with("HTTP/1.1 200"));
        let not_ready = fetch(address, "/readyz");
        assert!(not_ready.starts_with("HTTP/1.1 503") && not_ready.ends_with("no key\nno token\na new key\n"), "{not_ready}");
        fake.ready.store(true, Ordering::Relaxed);
        let ready = fetch(address, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready\na new key\n"), "{ready}");
        let metrics = fetch(address, "/metrics");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4") && metrics.contains("\nkakunin_fake 42\n"), "{metrics}");
        assert!(fetch(address, "/").starts_with("HTTP/1.1 404"));
        let _idle = TcpStream::connect(address).unwrap();
        stop.stop();
        thread.join().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_metric_that_occurs_twice_is_an_error_and_no_panic() {
        let fake: Arc<dyn Part> = Arc::new(Fake::default());
        assert!(scrape(&[fake.clone(), fake], Timestamp::default()).is_err());
    }
}
