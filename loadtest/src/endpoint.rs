//! Where the service is: its URL, taken apart and resolved.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use http::Uri;
use http::uri::Scheme;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::load::tls::client;

/// Addresses of a name that are tried at most.
const MAX_ADDRESSES: usize = 8;

/// A service that can be connected to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The URL, as the user gave it.
    pub url: String,
    /// Where it is connected to: the first of its addresses, until another one has been found to be the one that somebody listens at.
    pub address: SocketAddr,
    /// Every address that its name resolves to, as `localhost` does to one of IPv6 and one of IPv4.
    pub addresses: Vec<SocketAddr>,
    /// Host and port, as requests name them.
    pub host: String,
    /// Its path, without a slash at the end.
    pub base: String,
    /// What TLS is spoken with, where it is.
    pub tls: Option<Tls>,
}

/// TLS towards a service.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates that are trusted.
    pub config: Arc<ClientConfig>,
    /// The name in the server's certificate.
    pub name: ServerName<'static>,
}

impl Endpoint {
    /// Takes a URL apart and resolves its name. `trusted` is a file with the certificates that are trusted for https; without it the system's are.
    ///
    /// # Errors
    ///
    /// What is not an http or https URL, a name without an address, and trusted certificates that cannot be read.
    pub fn resolve(url: &str, trusted: Option<&Path>) -> Result<Endpoint> {
        let wanted = "wanted http://HOST:PORT or https://HOST:PORT, with a path where the service has one";
        let shown: String = url.chars().take(200).collect();
        let uri: Uri = url.parse().with_context(|| format!("URL: found '{shown}', {wanted}"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => bail!("URL: found '{shown}', {wanted}"),
        };
        let authority = uri.authority().with_context(|| format!("URL: found '{shown}', {wanted}"))?;
        ensure!(uri.query().is_none() && !authority.as_str().contains('@'), "URL: found '{shown}', {wanted}");
        ensure!(authority.port_u16().is_some() || authority.as_str() == authority.host(), "URL: found '{shown}', {wanted}");
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses = (name, port).to_socket_addrs().with_context(|| format!("URL: {shown}: resolving '{name}'"))?;
        let addresses: Vec<SocketAddr> = addresses.take(MAX_ADDRESSES).collect();
        let address = *addresses.first().with_context(|| format!("URL: {shown}: '{name}' has no address"))?;
        let base = uri.path().trim_end_matches('/').to_owned();
        let tls = tls.then(|| {
            let name = ServerName::try_from(name.to_owned()).context("URL: the name of the host")?;
            anyhow::Ok(Tls { config: client(trusted)?, name })
        });
        Ok(Endpoint { url: url.to_owned(), address, addresses, host: authority.to_string(), base, tls: tls.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::resolve("http://127.0.0.1:2560/ocsp/issuing/", None).unwrap();
        assert_eq!(
            (endpoint.address, &endpoint.host[..], &endpoint.base[..]),
            (([127, 0, 0, 1], 2560).into(), "127.0.0.1:2560", "/ocsp/issuing")
        );
        let endpoint = Endpoint::resolve("http://[::1]", None).unwrap();
        assert_eq!((endpoint.address, &endpoint.base[..]), ((std::net::Ipv6Addr::LOCALHOST, 80).into(), ""));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["127.0.0.1:80", "ftp://x", "/ocsp", "", "http://a@127.0.0.1", "http://127.0.0.1/?x", "http://127.0.0.1:99999"] {
            let message = format!("{:#}", Endpoint::resolve(url, None).unwrap_err());
            assert!(message.starts_with("URL: "), "{message}");
        }
    }
}
