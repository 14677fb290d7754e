//! A CA whose certificates are all revoked: in a registry of ours, and in an index of `openssl ca`.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kakunin::issuance::{RootOrder, Validity, self_signed_root};
use kakunin::pki::certificate::certificate_pem;
use kakunin::pki::crl::CrlEntry;
use kakunin::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, KeyAlgorithm, Revocation, RevocationReason, Serial, Timestamp};
use kakunin::registry::sqlite::SqliteRegistry;
use kakunin::registry::{CertificateRecord, IssuerMode, NewIssuer, OnConflict, Publication, Registry};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

const DAY: u64 = 86_400;
/// What `openssl ca` knows too; a fifth of the entries has none.
const REASONS: [RevocationReason; 4] = [
    RevocationReason::KeyCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
];
const CONFIG: &str = "\
[ca]
default_ca = all
[all]
database = index.txt
certificate = ca.pem
private_key = ca.key.pem
crlnumber = crlnumber
default_md = sha256
default_crl_days = 7
unique_subject = no
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid
";

/// Where everything is.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
}

/// When the first CRL is issued.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_796_083_200).expect("2026-12-01")
}

fn not_after() -> Timestamp {
    now().saturating_add(Duration::from_secs(3650 * DAY))
}

/// The revoked certificates: random serials of 16 octets, revoked in the course of a year for different reasons.
pub(crate) fn entries(count: u64) -> impl Iterator<Item = CrlEntry> {
    let mut state = 0x6b61_6b75_6e69_6e00_u64;
    let mut random = move || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    (0..count).map(move |_| {
        let mut magnitude = [random().to_be_bytes(), random().to_be_bytes()].concat();
        magnitude[0] = magnitude[0] & 0x7f | 0x40;
        let serial = Serial::from_magnitude(&magnitude).expect("16 octets are a serial");
        let at = now().saturating_sub(Duration::from_secs(random() % (365 * DAY)));
        let reason = REASONS.get((random() % 5) as usize).copied();
        CrlEntry { serial, revocation: Revocation { at, reason }, invalidity_date: None }
    })
}

impl World {
    /// Makes it, unless it is there.
    pub(crate) fn ensure(directory: &Path, count: u64) -> Result<World> {
        let world = World { directory: directory.to_owned() };
        if world.path("complete").exists() {
            return Ok(world);
        }
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256)?;
        key.create_file(&world.path("ca.key.pem"))?;
        let validity = Validity { not_before: now().saturating_sub(Duration::from_secs(366 * DAY)), not_after: not_after() };
        let order =
            RootOrder { subject: "CN=Benchmark CA,O=Kakunin,C=JP", serial: Serial::from_magnitude(&[1])?, validity, signs_ocsp: false };
        let certificate = self_signed_root(&order, &key)?;
        fs::write(world.path("ca.pem"), certificate_pem(&certificate))?;
        world.fill_registry(certificate, count)?;
        world.write_index(count)?;
        fs::write(world.path("complete"), "")?;
        Ok(world)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The registry.
    pub(crate) fn registry(&self) -> Result<Arc<dyn Registry>> {
        Ok(Arc::new(SqliteRegistry::open(&self.path("registry.sqlite"))?))
    }

    /// The CA's key and certificate.
    pub(crate) fn ca(&self) -> Result<(Arc<dyn SigningKey>, CertificateInfo)> {
        let key = SoftwareKey::open(&self.path("ca.key.pem"), None)?;
        Ok((Arc::new(key), CertificateInfo::from_pem(&fs::read(self.path("ca.pem"))?)?))
    }

    fn fill_registry(&self, certificate: Vec<u8>, count: u64) -> Result<()> {
        let registry = SqliteRegistry::create(&self.path("registry.sqlite"))?;
        let publication = Publication { cert_id_hashes: [HashAlgorithm::Sha256].into(), crl_partitions: 0, crl_extras: Default::default() };
        let issuer = registry.register_issuer(&NewIssuer { name: "bench".into(), certificate, mode: IssuerMode::Open, publication })?;
        let record = |entry: CrlEntry| CertificateRecord {
            serial: entry.serial,
            not_before: None,
            not_after: not_after(),
            is_ca: false,
            partition: None,
            status: CertificateStatus::Revoked(entry.revocation),
            invalidity_date: None,
        };
        registry.add_certificates(issuer, &mut entries(count).map(|entry| Ok(record(entry))), OnConflict::Refuse, now())?;
        Ok(())
    }

    fn write_index(&self, count: u64) -> Result<()> {
        let utc = |t: Timestamp| t.utc().map(|text| String::from_utf8_lossy(&text).into_owned()).context("a time before 2050");
        let mut index = BufWriter::new(fs::File::create(self.path("index.txt"))?);
        let expiry = utc(not_after())?;
        for entry in entries(count) {
            let reason = entry.revocation.reason.map(|reason| format!(",{}", reason.name())).unwrap_or_default();
            let serial = entry.serial.to_string().to_uppercase();
            writeln!(index, "R\t{expiry}\t{}{reason}\t{serial}\tunknown\t/CN={serial}", utc(entry.revocation.at)?)?;
        }
        index.flush()?;
        fs::write(self.path("crlnumber"), "01\n")?;
        fs::write(self.path("openssl.cnf"), CONFIG)?;
        Ok(())
    }
}
