//! The responses of a slot, for every CertID hash that the issuer publishes, beside the registry's certificates.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering;

use super::issuer::Prepared;
use super::report::{Rule, TaskReport};
use super::{Run, Signatures, VerifyError};
use crate::pack::{Entry, Pack, PackPlace};
use crate::pki::ocsp_response::SingleResponse;
use crate::pki::{HashAlgorithm, IssuerHashes, Serial, SlotHash, SlotRange, Timestamp};
use crate::registry::{CertificateRecord, PackRecord};
use crate::signing::gate::sampling::ONE_IN;
use crate::signing::gate::{self, CertificateTruth, ResponseContext};

const PACK_THERE: Rule = ("O16", "every CertID hash that is configured has its responses");
const PACK_READABLE: Rule = ("O16", "a published pack can be read");
const PACK_AS_PUBLISHED: Rule = ("C9", "a pack is the one that was published in its place");
const SIGNER_KNOWN: Rule = ("O3", "a response is signed by a registered signer");
const RESPONSE_THERE: Rule = ("O16", "every certificate has a response");
const CERTIFICATE_THERE: Rule = ("O9", "every response is for a certificate that was issued");
const PARTITION_THERE: Rule = ("C9", "the partition that a certificate names has a CRL");

impl Run<'_> {
    /// Packs are read before the certificates: what is revoked meanwhile is found to be published too late, and looked at again.
    pub(super) fn slot(&self, issuer: &Prepared, slot: u32) -> Result<TaskReport, VerifyError> {
        let id = issuer.issuer.id;
        let range = SlotRange { bits: issuer.issuer.slot_bits, slot };
        let mut packs = Vec::new();
        for (hash, names) in &issuer.hashes {
            packs.push((*hash, names, self.registry.pack(id, *hash, slot)?));
        }
        let mut records = Vec::new();
        self.registry.visit_certificates(id, range, &mut |record| records.push(record))?;
        let mut report = TaskReport { certificates: records.len() as u64, ..TaskReport::default() };
        let partitions = issuer.issuer.publication.crl_partitions;
        for record in records.iter().filter(|record| record.partition.is_some_and(|n| n >= partitions)) {
            let found = format!("partition {}", record.partition.unwrap_or_default());
            let artefact = || format!("certificate {}", record.serial);
            report.find(&issuer.issuer.name, artefact, PARTITION_THERE, found, format!("one of {partitions}, numbered from 0"));
        }
        let now = (self.clock)();
        for (hash, names, record) in packs {
            self.pack(issuer, (hash, names), range, record, &records, now, &mut report);
            self.done.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        Ok(report)
    }

    #[allow(clippy::too_many_arguments)]
    fn pack(
        &self,
        issuer: &Prepared,
        (hash, names): (HashAlgorithm, &IssuerHashes),
        range: SlotRange,
        record: Option<PackRecord>,
        certificates: &[CertificateRecord],
        now: Timestamp,
        report: &mut TaskReport,
    ) {
        let name = &issuer.issuer.name;
        let artefact = || format!("OCSP {}, slot {}", hash.name(), range.slot);
        let Some(record) = record else {
            if !certificates.is_empty() {
                report.find(name, artefact, PACK_THERE, "no pack", format!("responses for {} certificates", certificates.len()));
            }
            return;
        };
        report.packs += 1;
        let pack = match Pack::from_blob(record.blob, PackPlace::new(names, range)) {
            Ok(pack) => pack,
            Err(e) => return report.find(name, artefact, PACK_READABLE, e, "the octets that were published"),
        };
        let head = (record.head.generation, record.head.this_update, record.head.next_update);
        let times = pack.signings().map(|s| s.this_update).min().zip(pack.signings().map(|s| s.next_update).min());
        let found = (pack.generation(), times.map_or(head.1, |t| t.0), times.map_or(head.2, |t| t.1));
        if found != head {
            let words = |(generation, this, next): (u64, Timestamp, Timestamp)| format!("generation {generation}, {this} to {next}");
            report.find(name, artefact, PACK_AS_PUBLISHED, words(found), words(head));
        }
        issuer.note_signers(pack.signings().map(|s| s.signer));
        let side = Side { run: self, issuer, hash, now };
        side.compare(&pack, certificates, report);
    }
}

/// One pack beside the registry.
struct Side<'a> {
    run: &'a Run<'a>,
    issuer: &'a Prepared,
    hash: HashAlgorithm,
    now: Timestamp,
}

impl Side<'_> {
    /// Both are in the order of (hash, serial).
    fn compare(&self, pack: &Pack, certificates: &[CertificateRecord], report: &mut TaskReport) {
        let (mut entries, mut records) = (pack.entries().enumerate().peekable(), certificates.iter().peekable());
        let place = |serial: &[u8]| (SlotHash::of_content(serial), Serial::from_der_content(serial).ok());
        loop {
            let order = match (entries.peek(), records.peek()) {
                (Some((_, entry)), Some(record)) => place(entry.serial).cmp(&place(record.serial.as_der_content())),
                (Some(_), None) => Less,
                (None, Some(_)) => Greater,
                (None, None) => return,
            };
            let entry = if order.is_le() { entries.next() } else { None };
            let record = if order.is_ge() { records.next() } else { None };
            match (order, entry, record) {
                (Equal, Some((index, entry)), Some(record)) => self.response(index, &entry, record, report),
                (_, Some((_, entry)), _) => {
                    let found = entry.status;
                    report.find(
                        self.name(),
                        || self.artefact(entry.serial),
                        CERTIFICATE_THERE,
                        found,
                        "nothing: the registry does not know it",
                    );
                }
                (_, None, Some(record)) => {
                    let artefact = || self.artefact(record.serial.as_der_content());
                    report.find(self.name(), artefact, RESPONSE_THERE, "none", "a response");
                }
                (_, None, None) => return,
            }
        }
    }

    fn response(&self, index: usize, entry: &Entry<'_>, record: &CertificateRecord, report: &mut TaskReport) {
        let artefact = || self.artefact(entry.serial);
        let Some(signer) = self.issuer.signers.get(&entry.signing.signer) else {
            return report.find(self.name(), artefact, SIGNER_KNOWN, entry.signing.signer, "the number of a registered signer");
        };
        let single = SingleResponse {
            serial: entry.serial,
            status: entry.status,
            this_update: entry.signing.this_update,
            next_update: entry.signing.next_update,
        };
        let der = signer.template(self.hash).response(&single, entry.raw_signature);
        let context = ResponseContext {
            issuer: &self.issuer.facts,
            signer: &signer.facts,
            cert_id_hash: self.hash,
            serial: record.serial.as_der_content(),
            truth: Some(CertificateTruth { status: record.status, is_ca: record.is_ca }),
            previous: None,
            timing: None,
            pre_produced: true,
            verify_signature: self.verifies(index),
            now: self.now,
        };
        report.responses += 1;
        report.signatures += u64::from(context.verify_signature);
        let findings = gate::check_response(&der, &context);
        if !findings.is_empty() {
            report.note(self.name(), artefact, findings);
        }
    }

    fn verifies(&self, index: usize) -> bool {
        match self.run.options.signatures {
            Signatures::All => true,
            Signatures::Sample => (index as u64).is_multiple_of(ONE_IN),
            Signatures::None => false,
        }
    }

    fn name(&self) -> &str {
        &self.issuer.issuer.name
    }

    fn artefact(&self, serial: &[u8]) -> String {
        let serial = Serial::from_der_content(serial).map_or_else(|e| e.to_string(), |serial| serial.to_string());
        format!("OCSP {}, serial {serial}", self.hash.name())
    }
}
