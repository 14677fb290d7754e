//! What a newcomer can paste once the demo is ready.

use std::io;
use std::path::Path;

use crate::commands::output::Output;
use crate::registry::Counts;

/// Prints commands that ask the running demo with other people's tools.
pub(super) fn print(output: &mut Output, dir: &Path, url: &str, counts: Counts) -> io::Result<()> {
    let dir = dir.display();
    let ask = |name: &str| {
        format!("openssl ocsp -issuer {dir}/issuing.pem -cert {dir}/certificates/{name}.pem -url {url} -CAfile {dir}/chain.pem")
    };
    output.line("")?;
    output.line("Ask by OCSP:")?;
    output.line(format!("  {}", ask("good")))?;
    if counts.revoked > 0 {
        output.line(format!("  {}", ask("revoked")))?;
    }
    output.line("Fetch and read a CRL partition, and check a certificate with it:")?;
    output.line(format!("  curl -s {url}/crl/issuing/0.crl | openssl crl -inform DER -noout -text -CAfile {dir}/issuing.pem"))?;
    output.line(format!("  curl -s {url}/crl/issuing/0.crl | openssl crl -inform DER -out {dir}/0.crl.pem"))?;
    output.line(format!(
        "  openssl verify -crl_check -partial_chain -trusted {dir}/issuing.pem -CRLfile {dir}/0.crl.pem {dir}/certificates/good.pem"
    ))?;
    output.line("Look inside, and revoke while it runs:")?;
    output.line(format!("  kakunin status --config {dir}/kakunin.toml"))?;
    output.line(format!("  kakunin revoke --config {dir}/kakunin.toml --issuer issuing --reason superseded --serial \\"))?;
    output.line(format!("    $(openssl x509 -in {dir}/certificates/good.pem -noout -serial | cut -d= -f2)"))?;
    output.line("")
}
