//! Issuers by CertID under every hash, pre-signed or not.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pki::{CertId, CertificateInfo, HashAlgorithm, IssuerHashes};
use crate::registry::{Issuer, IssuerId};

use super::Policy;

/// The issuers of the live lane, as they were registered when this was made.
#[derive(Debug, Default)]
pub struct Index {
    /// What it was made from: another list makes another index.
    registered: Arc<Vec<Arc<Issuer>>>,
    entries: Vec<Arc<Entry>>,
    /// By issuerKeyHash and issuerNameHash. Two issuers may share both (a renewed CA certificate).
    by_hashes: HashMap<Vec<u8>, Vec<Arc<Entry>>>,
}

/// One issuer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) issuer: Arc<Issuer>,
    pub(super) policy: Policy,
    hashes: [IssuerHashes; 4],
}

impl Index {
    /// The index of the issuers that have a policy; what the certificates say is taken over from `before` where they are the same.
    pub fn new(registered: Arc<Vec<Arc<Issuer>>>, policies: &HashMap<Box<str>, Policy>, before: &Index) -> Index {
        let known: HashMap<IssuerId, &Arc<Entry>> = before.entries.iter().map(|entry| (entry.issuer.id, entry)).collect();
        let mut entries = Vec::new();
        for issuer in registered.iter() {
            let Some(policy) = policies.get(issuer.name.as_str()) else { continue };
            let same = known.get(&issuer.id).filter(|entry| entry.issuer.certificate == issuer.certificate);
            let hashes = match same {
                Some(entry) => entry.hashes.clone(),
                // The loader says what is wrong with it.
                None => match CertificateInfo::from_der(&issuer.certificate) {
                    Ok(certificate) => HashAlgorithm::ALL.map(|algorithm| IssuerHashes::of(&certificate, algorithm)),
                    Err(_) => continue,
                },
            };
            entries.push(Arc::new(Entry { issuer: issuer.clone(), policy: *policy, hashes }));
        }
        let mut by_hashes: HashMap<Vec<u8>, Vec<Arc<Entry>>> = HashMap::new();
        for entry in &entries {
            for hashes in &entry.hashes {
                by_hashes.entry(key(&hashes.key_hash, &hashes.name_hash)).or_default().push(entry.clone());
            }
        }
        Index { registered, entries, by_hashes }
    }

    /// Whether it was made from this list.
    pub fn is_of(&self, registered: &Arc<Vec<Arc<Issuer>>>) -> bool {
        Arc::ptr_eq(&self.registered, registered)
    }

    /// The issuers that a CertID may mean.
    pub(super) fn named(&self, cert_id: &CertId<'_>) -> &[Arc<Entry>] {
        // The length of a hash tells its algorithm.
        let fits = |algorithm: HashAlgorithm| {
            cert_id.issuer_key_hash.len() == algorithm.output_length() && cert_id.issuer_name_hash.len() == algorithm.output_length()
        };
        match cert_id.hash_algorithm {
            Some(algorithm) if fits(algorithm) => {
                self.by_hashes.get(&key(cert_id.issuer_key_hash, cert_id.issuer_name_hash)).map_or(&[], Vec::as_slice)
            }
            _ => &[],
        }
    }
}

impl Entry {
    /// Whether both are of one CA, with one key: a responder that may answer for one of them may for the other (rule O7).
    pub(super) fn is_same_ca(&self, other: &Entry) -> bool {
        self.hashes == other.hashes
    }

    /// The hashes by which the issuer's pre-signed responses are kept.
    pub(super) fn published(&self) -> impl Iterator<Item = &IssuerHashes> {
        self.hashes.iter().filter(|hashes| self.issuer.publication.cert_id_hashes.contains(&hashes.algorithm))
    }
}

fn key(key_hash: &[u8], name_hash: &[u8]) -> Vec<u8> {
    [key_hash, name_hash].concat()
}
