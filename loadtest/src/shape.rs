//! How the load looks: the options that the command line and scenario files share, under the same names and with the same values.
//!
//! Layers of them are laid over each other (scenario, its small or full form, command line), and settled with the defaults at last.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::targets::{Ask, Hashes, Mix, Popularity};
use crate::truth::HeaderRules;
use crate::units::{Rate, Share, Span};

/// What may be said about a load; what is not said is left to the layer below.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[command(next_help_heading = "Load")]
pub struct Shape {
    /// Requests a second, due whether or not the server keeps up (open loop): 1000, or 100..10000 to change evenly. Without it each connection asks
    /// when it has been answered (closed loop)
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// When requests are due: evenly spaced, or at random (Poisson) [default: even]
    #[arg(long, value_enum)]
    pub arrivals: Option<Arrivals>,
    /// For how long requests are sent [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// At most so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// A request that is not answered so long after it was due has failed [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// Connections at most at once [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub connections: Option<u32>,
    /// Whether connections are kept, or new for each request [default: keep]
    #[arg(long, value_enum)]
    pub reuse: Option<Reuse>,
    /// Requests in flight at once on each connection, of HTTP/1.1 without TLS or of HTTP/2 [default: 1; HTTP/2: 16]
    #[arg(long, value_name = "DEPTH", value_parser = clap::value_parser!(u32).range(1..=MAX_DEPTH))]
    pub pipeline: Option<u32>,
    /// HTTP/1.1, or HTTP/2 (without TLS by prior knowledge) [default: http1]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// Threads that make the load [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: Option<u32>,
    /// Weights of the kinds of requests: get, post, crl, crl-conditional, crl-range [default: get=1, or crl=1 where only CRLs are given]
    #[arg(long, value_name = "KIND=WEIGHT,…")]
    pub mix: Option<Mix>,
    /// Weights of what is asked about: issued (as in the file), good, revoked, unknown (serials never issued), malformed [default: issued=1]
    #[arg(long, value_name = "WHAT=WEIGHT,…")]
    pub ask: Option<Ask>,
    /// Which certificates are asked about how often: uniform, zipf or zipf:S (S from 0.1 to 5), replay (in the order of the file) [default: uniform]
    #[arg(long, value_name = "WHICH")]
    pub popularity: Option<Popularity>,
    /// Hash of the CertIDs: sha1, sha256, or both in turn [default: sha1]
    #[arg(long, value_enum)]
    pub hash: Option<Hashes>,
    /// The part of the answers that is checked: 1%, 0.05, all (the load then waits for the checks), 0 [default: 1%]
    #[arg(long, value_name = "PART")]
    pub check: Option<Share>,
    /// Headers that answers must have: o13 (RFC 9919, what caches live on), basic (Content-Type alone), none [default: o13]
    #[arg(long, value_enum)]
    pub headers: Option<HeaderRules>,
    /// Slow clients beside the load, each of which sends an octet of its request a second [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub slow_clients: Option<u32>,
}

/// When requests of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Arrivals {
    Even,
    Poisson,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Reuse {
    Keep,
    New,
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Connections at most.
pub const MAX_CONNECTIONS: i64 = 50_000;
/// Requests in flight at most on a connection.
pub const MAX_DEPTH: i64 = 1_000;

/// A load, with everything said.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Settings {
    /// `None`: a closed loop.
    pub rate: Option<Rate>,
    pub arrivals: Arrivals,
    pub duration: Duration,
    /// At most so many requests.
    pub requests: u64,
    pub timeout: Duration,
    pub connections: u32,
    pub reuse: Reuse,
    /// Requests in flight on a connection.
    pub depth: u32,
    pub protocol: Protocol,
    pub threads: u32,
    pub check: Share,
    pub slow_clients: u32,
}

impl Shape {
    /// This one, with what it does not say taken from `below`.
    #[must_use]
    pub fn over(self, below: Shape) -> Shape {
        Shape {
            rate: self.rate.or(below.rate),
            arrivals: self.arrivals.or(below.arrivals),
            duration: self.duration.or(below.duration),
            requests: self.requests.or(below.requests),
            timeout: self.timeout.or(below.timeout),
            connections: self.connections.or(below.connections),
            reuse: self.reuse.or(below.reuse),
            pipeline: self.pipeline.or(below.pipeline),
            protocol: self.protocol.or(below.protocol),
            threads: self.threads.or(below.threads),
            mix: self.mix.or(below.mix),
            ask: self.ask.or(below.ask),
            popularity: self.popularity.or(below.popularity),
            hash: self.hash.or(below.hash),
            check: self.check.or(below.check),
            headers: self.headers.or(below.headers),
            slow_clients: self.slow_clients.or(below.slow_clients),
        }
    }

    /// With the defaults for what is not said. Numbers from a scenario file have the bounds of the command line.
    ///
    /// # Errors
    ///
    /// What is out of bounds, or contradicts itself, by its name.
    pub fn settle(&self) -> Result<Settings, String> {
        let protocol = self.protocol.unwrap_or(Protocol::Http1);
        let reuse = self.reuse.unwrap_or(Reuse::Keep);
        let connections = bounded("connections", self.connections.unwrap_or(64), 1, MAX_CONNECTIONS)?;
        let depth = match (self.pipeline, protocol) {
            (Some(depth), _) => bounded("pipeline", depth, 1, MAX_DEPTH)?,
            (None, Protocol::Http1) => 1,
            (None, Protocol::Http2) => 16,
        };
        if self.requests == Some(0) {
            return Err("requests: found 0, wanted at least 1".to_owned());
        }
        if reuse == Reuse::New && self.pipeline.is_some_and(|depth| depth > 1) {
            return Err(format!("reuse: found new with pipeline {depth}, wanted one of them: a new connection is for one request"));
        }
        if reuse == Reuse::New && protocol == Protocol::Http2 {
            return Err("reuse: found new with http2, wanted keep: a connection of HTTP/2 is for many requests".to_owned());
        }
        Ok(Settings {
            rate: self.rate,
            arrivals: self.arrivals.unwrap_or(Arrivals::Even),
            duration: self.duration.map_or(Duration::from_secs(10), |span| span.0),
            requests: self.requests.unwrap_or(u64::MAX),
            timeout: self.timeout.map_or(Duration::from_secs(10), |span| span.0),
            connections,
            reuse,
            depth,
            protocol,
            threads: bounded("threads", self.threads.unwrap_or(1), 1, 64)?.min(connections),
            check: self.check.unwrap_or(Share::new(0.01)),
            slow_clients: bounded("slow-clients", self.slow_clients.unwrap_or(0), 0, 10_000)?,
        })
    }
}

fn bounded(name: &str, found: u32, least: i64, greatest: i64) -> Result<u32, String> {
    let fits = (least..=greatest).contains(&i64::from(found));
    fits.then_some(found).ok_or_else(|| format!("{name}: found {found}, wanted {least} to {greatest}"))
}

impl Settings {
    /// How many of the connections a thread has.
    pub fn connections_of(&self, thread: u32) -> u32 {
        self.connections / self.threads + u32::from(thread < self.connections % self.threads)
    }

    /// How HTTP is spoken, in words, as a record says it.
    pub fn protocol_name(&self) -> String {
        match (self.protocol, self.reuse, self.depth) {
            (Protocol::Http2, ..) => format!("h2, {} at once", self.depth),
            (_, Reuse::New, _) => "http/1.1 new connections".to_owned(),
            (_, _, 1) => "http/1.1".to_owned(),
            (_, _, depth) => format!("http/1.1 pipelined {depth}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_hides_what_it_says_and_no_more() {
        let below = Shape { rate: Some(Rate::constant(10.0)), connections: Some(3), ..Shape::default() };
        let above = Shape { rate: Some(Rate::constant(20.0)), ..Shape::default() };
        let both = above.over(below);
        assert_eq!((both.rate, both.connections), (Some(Rate::constant(20.0)), Some(3)));
    }

    #[test]
    fn contradictions_and_numbers_out_of_bounds_are_refused_by_name() {
        let message = |shape: Shape| shape.settle().unwrap_err();
        assert!(message(Shape { connections: Some(0), ..Shape::default() }).starts_with("connections: found 0"));
        assert!(message(Shape { requests: Some(0), ..Shape::default() }).starts_with("requests: found 0"));
        assert!(message(Shape { pipeline: Some(9), reuse: Some(Reuse::New), ..Shape::default() }).starts_with("reuse: "));
        assert!(message(Shape { protocol: Some(Protocol::Http2), reuse: Some(Reuse::New), ..Shape::default() }).starts_with("reuse: "));
    }
}
