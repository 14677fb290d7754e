//! TLS towards the service: by rustls, with the certificates that the user trusts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// What TLS is spoken with.
///
/// # Errors
///
/// A file without certificates, or with one that cannot be trusted.
pub fn client(trusted: &Path) -> Result<Arc<ClientConfig>> {
    let name = trusted.display();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trusted).with_context(|| format!("--tls-ca: {name}"))? {
        roots.add(certificate.with_context(|| format!("--tls-ca: {name}"))?).with_context(|| format!("--tls-ca: {name}"))?;
    }
    ensure!(!roots.is_empty(), "--tls-ca: {name}: found no certificate, wanted some in PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("TLS")?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
