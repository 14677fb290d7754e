//! Other people's programs as relying parties: OpenSSL, GnuTLS, curl and pkilint. What they say is asserted on, word for word.

use std::fs;
use std::path::{Path, PathBuf};

use super::ocsp::Hash;
use super::{run, succeed, succeed_with_all, text, tool};

/// One CA whose status is asked for.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The CA's certificate.
    pub issuer: PathBuf,
    /// Certificates up to the root: what a relying party trusts.
    pub chain: PathBuf,
    /// Where to ask.
    pub url: String,
    /// A directory for files in between.
    pub scratch: PathBuf,
}

/// A status, with the reason where revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    Good,
    Revoked(&'a str),
}

impl Authority {
    /// `openssl ocsp` must verify the response and agree.
    pub fn openssl_agrees(&self, certificate: &Path, hash: Hash, nonce: bool, expected: Expected<'_>) {
        let mut command = tool("openssl");
        command.args(["ocsp", "-issuer"]).arg(&self.issuer).arg(hash.option()).arg("-cert").arg(certificate);
        command.arg("-url").arg(&self.url).arg("-CAfile").arg(&self.chain).arg(if nonce { "-nonce" } else { "-no_nonce" });
        let said = succeed_with_all(&mut command);
        openssl_said(&said, &certificate.display().to_string(), expected);
    }

    /// `openssl ocsp` must verify a response that is in a file.
    pub fn openssl_verifies(&self, serial: &str, response: &Path, expected: Expected<'_>) {
        let mut command = tool("openssl");
        command.args(["ocsp", "-no_nonce", "-issuer"]).arg(&self.issuer).args(["-serial", &format!("0x{serial}"), "-respin"]).arg(response);
        let said = succeed_with_all(command.arg("-CAfile").arg(&self.chain));
        openssl_said(&said, &format!("0x{serial}"), expected);
    }

    /// GnuTLS `ocsptool --ask` must verify the response and agree. Its trust anchor is the issuer: with a list of anchors (`--load-trust`) GnuTLS 3.7 does
    /// not find a CA that signs itself, by key and without its certificate in the response.
    pub fn ocsptool_agrees(&self, certificate: &Path, expected: Expected<'_>) {
        let chain = self.scratch.join("ocsptool-chain.pem");
        fs::write(&chain, [fs::read(certificate).unwrap(), fs::read(&self.issuer).unwrap()].concat()).unwrap();
        let mut command = tool("ocsptool");
        command.arg(format!("--ask={}", self.url)).arg("--load-chain").arg(&chain);
        let output = run(&mut command);
        let said = text(&output);
        let status = if expected == Expected::Good { "Certificate Status: good" } else { "Certificate Status: revoked" };
        assert!(said.contains(status) && said.contains("Verifying OCSP Response: Success."), "{command:?}: {said}");
        if let Expected::Revoked(_) = expected {
            assert!(said.contains("Revocation time: "), "{said}");
        }
    }

    /// `openssl verify -crl_check` with a CRL in DER: whether the certificate passes.
    pub fn verifies_with_crl(&self, certificate: &Path, crl: &[u8]) -> bool {
        let pem = self.crl_pem(crl);
        let mut command = tool("openssl");
        command.args(["verify", "-x509_strict", "-crl_check", "-CAfile"]).arg(&self.chain).arg("-CRLfile").arg(&pem).arg(certificate);
        let output = run(&mut command);
        let said = text(&output);
        match output.status.success() {
            true => assert!(said.trim_end().ends_with(": OK"), "{said}"),
            false => assert!(said.contains("certificate revoked"), "{command:?}: {said}"),
        }
        output.status.success()
    }

    /// The same file as a PEM CRL whose signature `openssl crl -verify` has found right; its text is returned by [`Authority::crl_text`].
    pub fn crl_pem(&self, crl: &[u8]) -> PathBuf {
        let (der, pem) = (self.scratch.join("crl.der"), self.scratch.join("crl.pem"));
        fs::write(&der, crl).unwrap();
        let mut command = tool("openssl");
        command.args(["crl", "-inform", "DER", "-in"]).arg(&der).arg("-out").arg(&pem).args(["-verify", "-CAfile"]).arg(&self.chain);
        let said = succeed_with_all(&mut command);
        assert!(said.contains("verify OK"), "{said}");
        pem
    }

    /// What `openssl crl -text` makes of it, once its signature is found right.
    pub fn crl_text(&self, crl: &[u8]) -> String {
        let pem = self.crl_pem(crl);
        succeed(tool("openssl").args(["crl", "-noout", "-text", "-nameopt", "RFC2253", "-in"]).arg(pem))
    }

    /// cRLNumber of a CRL.
    pub fn crl_number(&self, crl: &[u8]) -> u64 {
        let pem = self.crl_pem(crl);
        let said = succeed(tool("openssl").args(["crl", "-noout", "-crlnumber", "-in"]).arg(pem));
        let hex = said.trim().strip_prefix("crlNumber=").unwrap_or_else(|| panic!("{said}"));
        u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap_or_else(|e| panic!("{said}: {e}"))
    }

    /// pkilint finds nothing at WARNING or above in a CRL.
    pub fn crl_is_clean(&self, crl: &[u8], kind: &str, profile: &str) {
        let file = self.scratch.join("lint.crl");
        fs::write(&file, crl).unwrap();
        clean(tool("lint_crl").args(["lint", "-t", kind, "-p", profile, "-s", "WARNING"]).arg(file));
    }

    /// pkilint finds nothing at WARNING or above in an OCSP response.
    pub fn response_is_clean(&self, response: &[u8]) {
        let file = self.scratch.join("lint.ors");
        fs::write(&file, response).unwrap();
        clean(tool("lint_ocsp_response").args(["lint", "-s", "WARNING"]).arg(file));
    }

    /// pkilint finds nothing at WARNING or above in a responder certificate (rule P1).
    pub fn responder_is_clean(&self, der: &[u8]) {
        let file = self.scratch.join("lint.cer");
        fs::write(&file, der).unwrap();
        clean(tool("lint_cabf_serverauth_cert").args(["lint", "-t", "OCSP-RESPONDER", "-s", "WARNING"]).arg(file));
    }
}

fn openssl_said(said: &str, name: &str, expected: Expected<'_>) {
    assert!(said.contains("Response verify OK"), "{said}");
    match expected {
        Expected::Good => assert!(said.contains(&format!("{name}: good\n")), "{said}"),
        Expected::Revoked(reason) => {
            assert!(said.contains(&format!("{name}: revoked\n")), "{said}");
            assert_eq!(said.contains(&format!("Reason: {reason}\n")), reason != "unspecified", "{reason}: {said}");
            assert!(said.contains("Revocation Time: "), "{said}");
        }
    }
    assert!(said.contains("This Update: ") && said.contains("Next Update: "), "O6: {said}");
    assert!(!said.contains("Status times invalid"), "{said}");
}

fn clean(command: &mut std::process::Command) {
    let output = run(command);
    assert!(output.status.success() && output.stdout.trim_ascii().is_empty(), "{command:?}: {}", text(&output));
}

/// The http URLs of a certificate's CRL distribution points and of its OCSP responders, as OpenSSL reads them.
pub fn urls(certificate: &Path) -> (Vec<String>, Vec<String>) {
    let said = succeed(tool("openssl").args(["x509", "-noout", "-ext", "crlDistributionPoints", "-in"]).arg(certificate));
    let points = said.lines().filter_map(|line| line.trim().strip_prefix("URI:")).map(str::to_owned).collect();
    let said = succeed(tool("openssl").args(["x509", "-noout", "-ocsp_uri", "-in"]).arg(certificate));
    (points, said.lines().map(str::to_owned).collect())
}

/// What curl gets.
pub fn curl(arguments: &[&str]) -> Vec<u8> {
    let mut command = tool("curl");
    let output = run(command.args(["-sS", "--fail", "--max-time", "30"]).args(arguments));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    output.stdout
}
