//! `[responder]`: where relying parties are answered, and what each of them may take up.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{cores, duration, local};

/// `[responder]`. The limits are those of [`crate::responder::Limits`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponderConfig {
    /// Where relying parties are answered: an address, or a list of 1 to 16. One with IPv6 is for IPv6 alone. Default `127.0.0.1:2560`.
    #[serde(deserialize_with = "one_or_several")]
    pub listen: Vec<SocketAddr>,
    /// Listener threads, each with a socket and a runtime of its own; 1 to 256. Default: one a core.
    pub threads: usize,
    /// The longest time that a cache may keep an OCSP answer (rule O13 bounds it too). Default 1 h.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// Open connections, over all threads; 1 to 1 000 000. Default 10 000.
    pub max_connections: usize,
    /// Requests on one connection, after which it is closed; at least 1. Default 1 000 000.
    pub max_requests_per_connection: u32,
    /// Octets of a request line with its headers; 8192 to 1 048 576. Default 16 384.
    pub max_header_bytes: usize,
    /// From the moment a request is waited for to the end of its headers; 100 ms to 1 h. Default 30 s.
    #[serde(with = "duration")]
    pub header_read_timeout: Duration,
    /// From the end of the headers to the end of the body; 100 ms to 1 h. Default 10 s.
    #[serde(with = "duration")]
    pub body_read_timeout: Duration,
    /// A client that takes nothing of its answer for so long is cut off; 100 ms to 1 h. Default 30 s.
    #[serde(with = "duration")]
    pub write_stall_timeout: Duration,
    /// How long after SIGTERM requests are answered as before while `/readyz` says that they should go elsewhere; at most 1 h. Default 0 s.
    #[serde(with = "duration")]
    pub announce_stop: Duration,
    /// How long requests in flight may take after SIGTERM, and after `announce_stop`; 100 ms to 1 h. Default 10 s.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for ResponderConfig {
    fn default() -> Self {
        Self {
            listen: vec![local(2560)],
            threads: cores(),
            max_age: Duration::from_secs(3600),
            max_connections: 10_000,
            max_requests_per_connection: 1_000_000,
            max_header_bytes: 16_384,
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(30),
            announce_stop: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an address such as \"127.0.0.1:2560\" or \"[::]:80\", or a list of them")]
    enum Addresses {
        One(SocketAddr),
        Several(Vec<SocketAddr>),
    }
    Ok(match Addresses::deserialize(deserializer)? {
        Addresses::One(address) => vec![address],
        Addresses::Several(addresses) => addresses,
    })
}
