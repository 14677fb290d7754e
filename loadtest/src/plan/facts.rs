//! How Kakunin keeps, signs and sends things, in numbers: what a plan multiplies. Each names its source; a test holds them against the running program.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The key that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum KeyAlgorithm {
    #[value(name = "ecdsa-p256")]
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[value(name = "ecdsa-p384")]
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    #[value(name = "rsa-2048")]
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyAlgorithm {
    /// Octets of a signature in a pack: r ‖ s for ECDSA, the signature itself for RSA (`src/pack/layout.rs`).
    pub fn packed_signature(self) -> f64 {
        match self {
            KeyAlgorithm::EcdsaP256 => 64.0,
            KeyAlgorithm::EcdsaP384 => 96.0,
            KeyAlgorithm::Rsa2048 => 256.0,
            KeyAlgorithm::Rsa3072 => 384.0,
            KeyAlgorithm::Rsa4096 => 512.0,
        }
    }

    /// Octets of a signature in a response or a CRL: with DER around r and s, on average.
    pub fn sent_signature(self) -> f64 {
        match self {
            KeyAlgorithm::EcdsaP256 => 71.0,
            KeyAlgorithm::EcdsaP384 => 103.0,
            _ => self.packed_signature(),
        }
    }

    /// Octets of a delegated responder's certificate by rule P1, as `kakunin demo` issues it.
    pub fn responder_certificate(self) -> f64 {
        match self {
            KeyAlgorithm::EcdsaP256 => 522.0,
            KeyAlgorithm::EcdsaP384 => 583.0,
            KeyAlgorithm::Rsa2048 => 918.0,
            KeyAlgorithm::Rsa3072 => 1174.0,
            KeyAlgorithm::Rsa4096 => 1430.0,
        }
    }
}

/// Octets of a serial number: 128 random bits (rule P3), as Kakunin issues them.
pub const SERIAL: f64 = 16.0;
/// Octets of a pack's record beside serial and signature: the mark (`src/pack/layout.rs`).
pub const RECORD_MARK: f64 = 1.0;
/// Octets of a pack's header (`src/pack/layout.rs`).
pub const PACK_HEADER: f64 = 64.0;
/// Octets of each signing in it: one for each turn of the slot (`src/pack/layout.rs`).
pub const PACK_SIGNING: f64 = 24.0;
/// Turns that all slots together have in a refresh interval, at least (`src/signing/schedule.rs`).
pub const TURNS: f64 = 32_768.0;
/// Turns of one slot, at most (`src/signing/schedule.rs`).
pub const SLOT_TURNS: f64 = 32.0;
/// Octets for each revoked certificate in a pack (`src/pack/layout.rs`).
pub const PACK_REVOCATION: f64 = 16.0;
/// Octets of one place in a pack's directory; there are between one for each certificate and one for two (`src/pack/builder.rs`).
pub const DIRECTORY_PLACE: f64 = 2.0;
/// A slot holds at most so many certificates on average, and more than half as many (`src/pki/slot.rs`).
pub const SLOT_CERTIFICATES: f64 = 1000.0;
/// What the allocator and the table of slots add to the packs in memory: 86 octets measured where the packs have 83.3 (README, 10 million P-256).
pub const MEMORY_OVERHEAD: f64 = 1.035;
/// Octets of a node's process without certificates: program, threads, SQLite's caches (measured on the demo after a restart).
pub const PROCESS: f64 = 22e6;

/// Octets of a response beside its signature and the responder's certificate, with SHA-1 in the CertID (`src/pki/ocsp_response.rs`).
pub const RESPONSE_REST: f64 = 219.0;
/// What SHA-256 in the CertID adds to it.
pub const SHA256_MORE: f64 = 31.0;
/// Octets of the head of a 200 with a response, and of a 304 (`src/responder/plain_head.rs`).
pub const RESPONSE_HEAD: f64 = 306.0;
/// Octets of a 304's head.
pub const NOT_MODIFIED_HEAD: f64 = 254.0;

/// Octets of a CRL entry with a serial of [`SERIAL`] octets, a UTCTime and a reason (`src/pki/crl.rs`).
pub const CRL_ENTRY: f64 = 49.0;
/// Octets of the same entry in the registry (`src/pki/compact_crl.rs`).
pub const CRL_ENTRY_KEPT: f64 = 21.0;
/// Octets of a partitioned CRL beside its entries and its signature (`src/pki/crl.rs`; the names of the CA and of the URL are the demo's).
pub const CRL_REST: f64 = 258.0;
/// The greatest CRL by rule C8, in octets.
pub const CRL_LIMIT: f64 = 10e6;

/// Octets of a certificate in the registry: its row, and the change that tells of it (measured on the demo).
pub const CERTIFICATE_ROW: f64 = 72.0;
/// What a revocation adds to it: two indexes (measured on the demo).
pub const REVOKED_ROW: f64 = 90.0;
/// What SQLite's pages add to a pack or a CRL on the disk.
pub const PAGE_OVERHEAD: f64 = 1.033;
/// Everything is written twice: to the write-ahead log, and from there to the file.
pub const WRITES: f64 = 2.0;
/// CRLs of a scope that the registry keeps beside the newest (`superseded` in the configuration).
pub const CRLS_KEPT: f64 = 30.0;
/// A CRL with fewer entries is issued at once after a revocation (`at_once_below` in the configuration).
pub const AT_ONCE_BELOW: f64 = 10_000.0;
/// A greater one no more often than this, in seconds (`coalesce` in the configuration).
pub const COALESCE: f64 = 900.0;
