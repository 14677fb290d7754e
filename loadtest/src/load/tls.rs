//! TLS towards the service: by rustls, with the certificates that the user trusts, or those that the system does.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::targets::read_bounded;

/// Octets of a file with trusted certificates at most: all public ones take a hundredth of it.
const MAX_BYTES: u64 = 32 << 20;

/// What TLS is spoken with, trusting the certificates in a file, or those that the system trusts: the file that the environment's `SSL_CERT_FILE` names, or
/// what the distribution has installed.
///
/// # Errors
///
/// A file without certificates, or with one that cannot be trusted; a system that trusts none.
pub fn client(trusted: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let roots = trusted.map_or_else(of_the_system, of_file)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("TLS")?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn of_file(file: &Path) -> Result<RootCertStore> {
    let name = file.display();
    let mut roots = RootCertStore::empty();
    let octets = read_bounded(file, MAX_BYTES).context("--tls-ca")?;
    for certificate in CertificateDer::pem_slice_iter(&octets) {
        roots.add(certificate.with_context(|| format!("--tls-ca: {name}"))?).with_context(|| format!("--tls-ca: {name}"))?;
    }
    ensure!(!roots.is_empty(), "--tls-ca: {name}: found no certificate, wanted some in PEM");
    Ok(roots)
}

/// One that rustls cannot read does not keep it from trusting the others: nobody can do without the system's store because of it.
fn of_the_system() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or(String::new(), |e| format!(": {e}"));
        bail!(
            "--tls-ca: not given, and the system trusts no certificate{why}; wanted --tls-ca, SSL_CERT_FILE, or a system with ca-certificates"
        );
    }
    Ok(roots)
}
