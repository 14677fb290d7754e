//! Encoding and decoding of what a validation authority says and hears: CertIDs, OCSP requests and responses, CRLs,
//! extensions and times.
//!
//! Pure functions over bytes: nothing here reads a clock, a file, a socket or a key. What is encoded here is decoded in tests by the
//! owned types of `x509-ocsp` and `x509-cert`, and the other way round.

pub mod algorithm;
pub mod cert_id;
pub mod certificate;
pub mod compact_crl;
pub mod crl;
pub mod crl_reader;
pub mod der_encoding;
pub mod der_reading;
pub mod ecdsa;
pub mod extension;
pub mod fingerprint;
pub mod name;
pub mod ocsp_answer;
pub mod ocsp_live;
pub mod ocsp_request;
pub mod ocsp_response;
pub mod serial;
pub mod slot;
pub mod status;
pub mod time;

pub use algorithm::{HashAlgorithm, KeyAlgorithm, SignatureAlgorithm};
pub use cert_id::{CertId, IssuerHashes};
pub use certificate::CertificateInfo;
pub use fingerprint::Fingerprint;
pub use serial::Serial;
pub use slot::{SlotHash, SlotRange};
pub use status::{CertificateStatus, Revocation, RevocationReason};
pub use time::{Civil, Timestamp, two_digits};
