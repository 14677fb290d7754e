//! Which service is asked, and what about: the options that name files and addresses.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::interrupt;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::measure::Measurement;
use crate::shape::{Protocol, Shape};
use crate::targets::certificate::Certificate;
use crate::targets::serials::{self, Listed};
use crate::targets::{Document, Questions, Statuses, Targets};

/// Where to and what about.
#[derive(Clone, Debug, Args)]
pub(super) struct Service {
    /// The service: http://HOST:PORT, with a path where it has one
    #[arg(value_name = "URL")]
    url: String,
    /// Certificate of the issuer whose certificates are asked about, in PEM or DER; verifies signatures too
    #[arg(long, value_name = "FILE")]
    issuer: Option<PathBuf>,
    /// Its certificates: a serial in hexadecimal a line, or the output of `kakunin list`, which also tells what each answer must say
    #[arg(long, value_name = "FILE", requires = "issuer", conflicts_with = "requests_from")]
    serials: Option<PathBuf>,
    /// Ready-made OCSP requests in DER instead: a file of one or of many, one behind the other, or a directory of such files
    #[arg(long, value_name = "PATH")]
    requests_from: Option<PathBuf>,
    /// Path of a CRL on the service, such as /crl/issuing.crl; may be given again
    #[arg(long, value_name = "PATH")]
    crl: Vec<String>,
    /// Certificates that are trusted for https, in PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl Service {
    /// Reads what is named, fetches the CRLs, and puts a measurement together, which signals end early from then on.
    pub(super) fn measurement(&self, shape: &Shape, title: Option<String>, server: Option<u32>) -> Result<Measurement> {
        let settings = shape.settle().map_err(anyhow::Error::msg)?;
        let endpoint = Endpoint::resolve(&self.url, self.tls_ca.as_deref())?;
        ensure!(
            endpoint.tls.is_none() || settings.protocol == Protocol::Http2 || settings.depth == 1,
            "--pipeline: found {} for {}, wanted 1, or --protocol http2: HTTP/1.1 inside TLS has one request at a time on each connection",
            settings.depth,
            self.url
        );
        let issuer = self.issuer.as_deref().map(Certificate::read).transpose()?;
        let listed = self.serials.as_deref().map_or(Ok(Vec::new()), serials::read)?;
        let questions = self.questions(shape, issuer.as_ref(), &listed)?;
        let documents = self.documents(&endpoint)?;
        ensure!(
            !questions.is_empty() || !documents.is_empty(),
            "nothing to ask: wanted --issuer with --serials, --requests-from, or --crl"
        );
        let statuses = if documents.is_empty() { Statuses::default() } else { Statuses::of(&listed) };
        let ask = shape.ask.clone().unwrap_or_default();
        let mut targets =
            Targets::new(&endpoint.base, questions, documents, shape.mix.clone(), &ask, shape.popularity.unwrap_or_default())?;
        targets.expect_on_crls(statuses);
        let title = title.unwrap_or_else(|| self.url.clone());
        let headers = shape.headers.unwrap_or_default();
        Ok(Measurement { title, endpoint, targets, settings, issuer, headers, server, interrupted: interrupt::catch()? })
    }

    fn questions(&self, shape: &Shape, issuer: Option<&Certificate>, listed: &[Listed]) -> Result<Questions> {
        let ask = shape.ask.clone().unwrap_or_default();
        match (&self.requests_from, issuer) {
            (Some(path), _) => Questions::from_files(path),
            (None, Some(issuer)) if !listed.is_empty() || !ask.is_of_issued() => {
                Questions::about(issuer, listed, shape.hash.unwrap_or_default(), &ask)
            }
            _ => Ok(Questions::default()),
        }
    }

    fn documents(&self, endpoint: &Endpoint) -> Result<Vec<Document>> {
        let mut client = Client::new(endpoint);
        self.crl.iter().map(|path| client.fetch(path)).collect()
    }
}
