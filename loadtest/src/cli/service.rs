//! Which service is asked, and what about: the options that name files and addresses.

use std::path::PathBuf;

use clap::Args;

/// Where to and what about.
#[derive(Clone, Debug, Args)]
pub(super) struct Service {
    /// The service: http://HOST:PORT, with a path where it has one
    #[arg(value_name = "URL")]
    pub(super) url: String,
    /// Certificate of the issuer whose certificates are asked about, in PEM or DER; verifies signatures too
    #[arg(long, value_name = "FILE")]
    pub(super) issuer: Option<PathBuf>,
    /// Its certificates: a serial in hexadecimal a line, or the output of `kakunin list`, which also tells what each answer must say
    #[arg(long, value_name = "FILE", requires = "issuer", conflicts_with = "ready")]
    pub(super) serials: Option<PathBuf>,
    /// Ready-made OCSP requests in DER instead: a file, or a directory of them
    #[arg(long = "requests-from", id = "ready", value_name = "PATH")]
    pub(super) ready: Option<PathBuf>,
    /// Path of a CRL on the service; may be given again
    #[arg(long, value_name = "PATH")]
    pub(super) crl: Vec<String>,
    /// Certificates that are trusted for https, in PEM
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
}
