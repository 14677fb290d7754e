//! An OCSP responder that signs what a test tells it to: right answers, and lies that only one check can find.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::asn1::{BitString, Null, OctetString};
use der::{Decode, DecodePem, Encode};
use spki::AlgorithmIdentifierOwned;
use tempfile::TempDir;
use x509_cert::Certificate;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, OcspResponseStatus, ResponderId, ResponseBytes,
    ResponseData, SingleResponse, Version,
};

use super::server::{Request, ok, serve};
use super::{loadtest, succeed, tool};

/// What is signed and sent for a request, before a lie is put into it.
#[derive(Clone, Debug)]
pub struct Draft {
    pub single: SingleResponse,
    pub headers: String,
    /// Who signs, and the certificates that are sent along.
    pub signer: Signer,
    /// Changes the signature after it was made.
    pub breaks_signature: bool,
}

/// A key with the certificate that is sent along, where one is.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Vec<u8>,
    pub certificate: Certificate,
    is_issuer: bool,
}

/// A CA with a responder of its own.
pub struct Liar {
    directory: TempDir,
    /// The CA.
    pub issuer: Signer,
}

impl Liar {
    /// A new CA, made by OpenSSL.
    pub fn new() -> Liar {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (key, certificate) = (path("ca.key"), path("ca.pem"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        succeed(
            tool("openssl").args(["req", "-x509", "-subj", "/CN=Test CA", "-days", "2", "-keyout", &key, "-out", &certificate]).args(curve),
        );
        let issuer = Signer::read(&key, &certificate, true);
        std::fs::write(path("serials"), "01\n02\n1234567890abcdef\n").unwrap();
        Liar { directory, issuer }
    }

    /// A responder certificate of this CA, with these extensions.
    pub fn delegate(&self, extensions: &str) -> Signer {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let (key, request, certificate) = (path("ocsp.key"), path("ocsp.csr"), path("ocsp.pem"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        succeed(tool("openssl").args(["req", "-subj", "/CN=Responder", "-keyout", &key, "-out", &request]).args(curve));
        std::fs::write(path("extensions"), extensions).unwrap();
        let (ca, ca_key, file) = (path("ca.pem"), path("ca.key"), path("extensions"));
        let arguments =
            ["x509", "-req", "-days", "1", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-extfile", &file, "-out", &certificate];
        succeed(tool("openssl").args(arguments));
        Signer::read(&key, &certificate, false)
    }

    /// Serves, with a lie put into each answer, and runs a load of a few requests of which all answers are checked.
    pub fn load(&self, lie: impl Fn(&mut Draft) + Send + Sync + 'static, options: &[&str]) -> std::process::Command {
        let issuer = self.issuer.clone();
        let address = serve(move |request| {
            let mut draft = Draft::honest(request, &issuer);
            lie(&mut draft);
            Some(draft.answer())
        });
        let mut command = loadtest(["run"]);
        command.arg(format!("http://{address}")).arg("--issuer").arg(self.path("ca.pem")).arg("--serials").arg(self.path("serials"));
        command.args(["--check", "all", "--requests", "20", "--connections", "2", "--mix", "post=1"]).args(options);
        command
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Says that every certificate is good, so that another status is wrong.
    pub fn expect_good(&self) {
        let serials = ["01", "02", "1234567890abcdef"].map(|serial| format!("{{\"serial\":\"{serial}\",\"status\":\"good\"}}"));
        self.expect(&serials.join("\n"));
    }

    /// Lists its certificates.
    pub fn expect(&self, list: &str) {
        std::fs::write(self.path("serials"), list).unwrap();
    }
}

impl Signer {
    fn read(key: &str, certificate: &str, is_issuer: bool) -> Signer {
        let der =
            std::process::Command::new("openssl").args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", key]).output().unwrap();
        assert!(der.status.success());
        let certificate = Certificate::from_pem(std::fs::read(certificate).unwrap()).unwrap();
        Signer { key: der.stdout, certificate, is_issuer }
    }

    /// ECDSA with P-256 and SHA-256, in DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.key).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

/// A whole second so far from now.
pub fn moment(hours: i64) -> OcspGeneralizedTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seconds = now.checked_add_signed(hours * 3600).unwrap();
    OcspGeneralizedTime(der::asn1::GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).unwrap())
}

impl Draft {
    fn honest(request: &Request, issuer: &Signer) -> Draft {
        let asked = OcspRequest::from_der(&request.body).unwrap();
        let cert_id = asked.tbs_request.request_list[0].req_cert.clone();
        let (this_update, next_update) = (moment(-1), moment(24));
        let date = |time: OcspGeneralizedTime| httpdate::fmt_http_date(time.0.to_system_time());
        let headers = format!(
            "Content-Type: application/ocsp-response\r\nDate: {}\r\nLast-Modified: {}\r\nExpires: {}\r\nETag: \"1\"\r\n\
            Cache-Control: max-age=3600, public, no-transform, must-revalidate\r\n",
            date(moment(0)),
            date(this_update),
            date(next_update)
        );
        let single = SingleResponse {
            cert_id,
            cert_status: CertStatus::Good(Null),
            this_update,
            next_update: Some(next_update),
            single_extensions: None,
        };
        Draft { single, headers, signer: issuer.clone(), breaks_signature: false }
    }

    fn answer(&self) -> Vec<u8> {
        let data = ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByName(self.signer.certificate.tbs_certificate.subject.clone()),
            produced_at: self.single.this_update,
            responses: vec![self.single.clone()],
            response_extensions: None,
        };
        let mut signature = self.signer.sign(&data.to_der().unwrap());
        if self.breaks_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let basic = BasicOcspResponse {
            tbs_response_data: data,
            signature_algorithm: AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None },
            signature: BitString::from_bytes(&signature).unwrap(),
            certs: (!self.signer.is_issuer).then(|| vec![self.signer.certificate.clone()]),
        };
        let bytes = ResponseBytes {
            response_type: const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC,
            response: OctetString::new(basic.to_der().unwrap()).unwrap(),
        };
        let response = OcspResponse { response_status: OcspResponseStatus::Successful, response_bytes: Some(bytes) };
        ok(&self.headers, &response.to_der().unwrap())
    }
}
