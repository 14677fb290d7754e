//! A server of a CRL that is right, or wrong as a test tells it to be: in what the CA has signed, or in how it is served.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::asn1::{BitString, GeneralizedTime};
use der::{Decode, Encode};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Time;

use super::liar::{Liar, Signer, moment};
use super::loadtest;
use super::server::{Request, serve};

/// Where it is served.
pub const PATH: &str = "/ca.crl";

/// A CRL before it is signed.
pub struct Draft {
    pub list: TbsCertList,
    pub signer: Signer,
    /// Changes the signature after it was made.
    pub breaks_signature: bool,
}

/// An answer of HTTP before it is written.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

/// A moment as a CRL writes it.
pub fn time(hours: i64) -> Time {
    Time::GeneralTime(GeneralizedTime::from_unix_duration(moment(hours).0.to_unix_duration()).unwrap())
}

/// An entry of a CRL.
pub fn entry(serial: u8) -> RevokedCert {
    let serial_number = SerialNumber::new(&[serial]).unwrap();
    RevokedCert { serial_number, revocation_date: time(-2), crl_entry_extensions: None }
}

impl Draft {
    /// A CRL of an hour ago, good for a day, on which 02 stands.
    fn honest(issuer: &Signer) -> Draft {
        let list = TbsCertList {
            version: Version::V2,
            signature: AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None },
            issuer: issuer.certificate.tbs_certificate.subject.clone(),
            this_update: time(-1),
            next_update: Some(time(24)),
            revoked_certificates: Some(vec![entry(2)]),
            crl_extensions: None,
        };
        Draft { list, signer: issuer.clone(), breaks_signature: false }
    }

    fn sign(self) -> Vec<u8> {
        let mut signature = self.signer.sign(&self.list.to_der().unwrap());
        if self.breaks_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let signature_algorithm = self.list.signature.clone();
        let signature = BitString::from_bytes(&signature).unwrap();
        CertificateList { tbs_cert_list: self.list, signature_algorithm, signature }.to_der().unwrap()
    }
}

impl Answer {
    /// 200, 304 or 206, as was asked.
    fn honest(request: &Request, crl: &[u8]) -> Answer {
        let list = CertificateList::from_der(crl).unwrap().tbs_cert_list;
        let date = |time: Time| httpdate::fmt_http_date(time.to_system_time());
        let headers = format!(
            "Date: {}\r\nLast-Modified: {}\r\nExpires: {}\r\nETag: \"1\"\r\nContent-Type: application/pkix-crl\r\n\
            Cache-Control: max-age=3600, public, no-transform, must-revalidate\r\n",
            date(time(0)),
            date(list.this_update),
            date(list.next_update.unwrap_or(time(24)))
        );
        if request.header("if-none-match").as_deref() == Some("\"1\"") {
            return Answer { status: 304, headers, body: Vec::new() };
        }
        let Some(range) = request.header("range") else { return Answer { status: 200, headers, body: crl.to_vec() } };
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        let headers = format!("{headers}Content-Range: bytes {start}-{end}/{}\r\n", crl.len());
        Answer { status: 206, headers, body: crl[start..=end].to_vec() }
    }

    fn written(self) -> Vec<u8> {
        // A 304 has no body, and tells no length of one (RFC 9110 8.6).
        let length = if self.status == 304 { String::new() } else { format!("Content-Length: {}\r\n", self.body.len()) };
        [format!("HTTP/1.1 {} x\r\n{length}{}\r\n", self.status, self.headers).as_bytes(), &self.body].concat()
    }
}

/// Plain, conditional and Range requests.
pub const EVERY_KIND: &str = "crl=1,crl-conditional=1,crl-range=1";

/// A load of which all answers are checked, against a server of the CRL that `drafted` makes of an honest one. `served` puts a lie into each answer but the
/// first, by which the load tester gets to know the CRL.
pub fn load(mix: &str, drafted: impl FnOnce(&mut Draft), served: impl Fn(&mut Answer) + Send + Sync + 'static) -> (Liar, Command) {
    let liar = Liar::new();
    liar.expect("{\"serial\":\"01\",\"status\":\"good\"}\n{\"serial\":\"02\",\"status\":\"revoked\"}\n");
    let mut draft = Draft::honest(&liar.issuer);
    drafted(&mut draft);
    let (crl, asked) = (draft.sign(), AtomicUsize::new(0));
    let address = serve(move |request| {
        let mut answer = Answer::honest(request, &crl);
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            served(&mut answer);
        }
        Some(answer.written())
    });
    let mut command = loadtest(["run"]);
    command.arg(format!("http://{address}")).arg("--issuer").arg(liar.path("ca.pem")).arg("--serials").arg(liar.path("serials"));
    command.args(["--crl", PATH, "--mix", mix, "--check", "all", "--requests", "60", "--connections", "2"]);
    (liar, command)
}
