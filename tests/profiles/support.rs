//! Keys, issuers and files for the tests of profiles.

use std::path::Path;
use std::sync::Arc;

use kakunin::issuance::profile::{Choices, Profile, Request};
use kakunin::issuance::{Issuer, Links, RootOrder, Validity, self_signed_root};
use kakunin::pki::certificate::certificate_pem;
use kakunin::pki::{CertificateInfo, KeyAlgorithm, Serial, SignatureAlgorithm, Timestamp};
use kakunin::token::Key;
use kakunin::token::software::SoftwareKey;

use crate::common::{succeed, tool};

pub const SERIAL: &str = "0123456789abcdef0123456789abcdef";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn serial() -> Serial {
    SERIAL.parse().unwrap()
}

pub fn profile(name: &str) -> Profile {
    Profile::shipped(name).unwrap()
}

pub fn info(der: &[u8]) -> CertificateInfo {
    CertificateInfo::from_der(der).unwrap()
}

pub fn software_key(algorithm: KeyAlgorithm, signature: SignatureAlgorithm) -> Key {
    Arc::new(SoftwareKey::generate(algorithm).unwrap().with_signature(signature).unwrap())
}

/// The DER SubjectPublicKeyInfo of a new RSA key, made by OpenSSL: of sizes that are not used here too.
pub fn rsa_spki(bits: u32) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let [key, public] = ["key.pem", "public.der"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    succeed(tool("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}"), "-out", &key]));
    succeed(tool("openssl").args(["pkey", "-in", &key, "-pubout", "-outform", "DER", "-out", &public]));
    std::fs::read(public).unwrap()
}

/// A root for whatever is below it, valid from 2001 to 2060.
pub fn root(subject: &str, key: Key) -> Issuer {
    let validity = Validity { not_before: at("2001-01-01T00:00:00Z"), not_after: at("2060-01-01T00:00:00Z") };
    let der = self_signed_root(&RootOrder { subject, serial: serial(), validity, signs_ocsp: false }, &*key).unwrap();
    Issuer::new(info(&der), key).unwrap()
}

/// A request for the whole validity of the profile.
pub fn request<'a>(profile: &Profile, subject: &'a [u8], spki: &'a [u8], not_before: Timestamp) -> Request<'a> {
    let validity = profile.validity(not_before).unwrap();
    Request { subject, spki, serial: serial(), validity, alternative_names: &[], key_identifier: None }
}

/// A self-signed CA of a profile, from `not_before` on.
pub fn self_signed(profile: &Profile, subject: &str, key: Key, not_before: Timestamp) -> Issuer {
    let subject = profile.subject(subject).unwrap();
    let spki = key.public_key().to_vec();
    let der = profile.self_signed(&*key, &Choices::default(), &request(profile, &subject, &spki, not_before)).unwrap();
    Issuer::new(info(&der), key).unwrap()
}

pub fn links() -> Links<'static> {
    Links {
        ocsp: Some("http://ocsp.example.com/"),
        ca_issuers: Some("http://ca.example.com/ca.cer"),
        crl: Some("http://crl.example.com/17.crl"),
    }
}

/// A file of PEM certificates.
pub fn write(directory: &Path, name: &str, certificates: &[&[u8]]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, certificates.iter().map(|der| certificate_pem(der)).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What `openssl verify` says of the last file; whether it verifies.
pub fn openssl_verify(options: &[&str]) -> (bool, String) {
    let output = crate::common::run(tool("openssl").arg("verify").args(options));
    (output.status.success(), crate::common::text(&output))
}
