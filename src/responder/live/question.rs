//! Which requests are for the live lane, and what their answers are to say. Pure: request, map, policies and time in, decision out.

use crate::pki::ocsp_live::{LiveSingle, LiveStatus, Question};
use crate::pki::ocsp_request::OcspRequest;
use crate::pki::{CertId, CertificateStatus, SlotHash, Timestamp};

use super::super::ocsp::Refusal;
use super::super::status_map::{self, IssuerStatus, Miss, StatusMap};
use super::index::{Entry, Index};
use super::{ECHOED_NONCE_BYTES, MAX_CERTIFICATES, Policy, UnknownSerial};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The pre-signed response is its answer, or the refusal that there is in its place.
    PreSigned,
    /// Nobody is asked.
    Refused(Refusal),
    /// It is asked, on behalf of the issuer of that name.
    Live(String, Question),
}

/// What is known of one certificate.
struct Found<'a> {
    entry: &'a Entry,
    status: LiveStatus,
    /// Whether there is a pre-signed response under the CertID's hash.
    pre_signed: bool,
}

/// What the packs of one issuer say of a serial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Issued(CertificateStatus),
    /// Every pack that would have it is current and has not.
    NotIssued,
    NotLoaded,
    NotCurrent,
}

/// Decides at `now`; `issuer` restricts the answer to certificates of the issuer of that name.
///
/// Certificates that are asked for together must be of one CA, for which one responder signs (rules O4, O7: an answer has them all or there is none). It may be
/// registered more than once, when its certificate was renewed.
pub fn decide(request: &OcspRequest<'_>, issuer: Option<&str>, map: &StatusMap, index: &Index, now: Timestamp) -> Decision {
    if request.unknown_critical_extension || request.certificates > MAX_CERTIFICATES {
        return Decision::Refused(Refusal::Unauthorized);
    }
    let mut found = Vec::with_capacity(request.certificates);
    for (whole, cert_id) in request.cert_ids() {
        match find(&cert_id, issuer, map, index, now) {
            Ok(Some(certificate)) => found.push((whole, certificate)),
            Ok(None) if request.certificates == 1 => return Decision::PreSigned,
            Ok(None) => return Decision::Refused(Refusal::Unauthorized),
            Err(refusal) => return Decision::Refused(refusal),
        }
    }
    let Some((_, Found { entry: first, .. })) = found.first() else { return Decision::PreSigned };
    let all = |holds: fn(&Policy) -> bool| found.iter().all(|(_, found)| holds(&found.entry.policy));
    let nonce = request.nonce.filter(|nonce| ECHOED_NONCE_BYTES.contains(&nonce.len()) && all(|policy| policy.nonce));
    if request.certificates > 1 {
        let together = found.iter().all(|(_, found)| found.entry.is_same_ca(first));
        if !together || !all(|policy| policy.several) {
            return Decision::Refused(Refusal::Unauthorized);
        }
    } else if nonce.is_none() && found.iter().all(|(_, found)| found.pre_signed && found.status.is_issued()) {
        return Decision::PreSigned;
    }
    let name = first.issuer.name.clone();
    let singles = found.iter().map(|(whole, found)| LiveSingle { cert_id: (*whole).into(), status: found.status }).collect();
    Decision::Live(name, Question { singles, nonce: nonce.map(Into::into) })
}

/// What is to be said of one certificate; `None` where no issuer of the live lane is named.
fn find<'a>(
    cert_id: &CertId<'_>,
    wanted: Option<&str>,
    map: &StatusMap,
    index: &'a Index,
    now: Timestamp,
) -> Result<Option<Found<'a>>, Refusal> {
    let mut not_issued = None;
    let mut withheld = None;
    for entry in index.named(cert_id).iter().filter(|entry| wanted.is_none_or(|name| name == entry.issuer.name)) {
        let pre_signed = entry.issuer.publication.cert_id_hashes.iter().any(|hash| Some(*hash) == cert_id.hash_algorithm);
        if !pre_signed && !entry.policy.cert_id_hashes {
            not_issued.get_or_insert(Err(Refusal::Unauthorized));
            continue;
        }
        let found = |status| Found { entry, status, pre_signed };
        match look_up(entry, cert_id.serial, map, now) {
            Known::Issued(status) => return Ok(Some(found(LiveStatus::Issued(status)))),
            Known::NotLoaded => withheld = Some(Refusal::NotLoaded),
            Known::NotCurrent => withheld = Some(Refusal::NotCurrent),
            Known::NotIssued => {
                not_issued.get_or_insert(match entry.policy.unknown {
                    UnknownSerial::Unauthorized => Err(Refusal::UnusedSerial),
                    UnknownSerial::Unknown => Ok(found(LiveStatus::Unknown)),
                    UnknownSerial::ExtendedRevoke => Ok(found(LiveStatus::NeverIssued)),
                });
            }
        }
    }
    match (withheld, not_issued) {
        (Some(refusal), _) => Err(refusal),
        (None, Some(not_issued)) => not_issued.map(Some),
        (None, None) => Ok(None),
    }
}

/// What the packs say, whichever hash they are for: revoked where any of them does, since a revocation reaches one after the other.
fn look_up(entry: &Entry, serial: &[u8], map: &StatusMap, now: Timestamp) -> Known {
    let directory = map.directory();
    let hash = SlotHash::of_content(serial);
    let mut known = None;
    for hashes in entry.published() {
        let statuses = directory.named(hashes.algorithm, &hashes.name_hash, &hashes.key_hash);
        let Some(status) = statuses.iter().find(|status| status.issuer() == entry.issuer.id) else { continue };
        let here = look_up_one(status, hash, serial, now);
        known = Some(known.map_or(here, |before| prefer(before, here)));
    }
    known.unwrap_or(Known::NotLoaded)
}

fn look_up_one(status: &IssuerStatus, hash: SlotHash, serial: &[u8], now: Timestamp) -> Known {
    let found = status.look_up(hash, serial, |hit| {
        let signing = hit.entry.signing;
        let current = signing.this_update <= now && now < signing.next_update;
        if current { Known::Issued(hit.entry.status) } else { Known::NotCurrent }
    });
    match found {
        Ok(known) => known,
        Err(Miss::NotLoaded) => Known::NotLoaded,
        Err(Miss::Unknown) => {
            let table = status.table();
            match table.pack(hash.slot(table.bits())) {
                // What has come since it was signed would not be in it.
                Some(pack) if status_map::next_update(&pack) <= now => Known::NotCurrent,
                Some(_) => Known::NotIssued,
                None => Known::NotLoaded,
            }
        }
    }
}

/// Of what two hashes' packs say, what counts: revoked, good, withheld, not issued.
fn prefer(a: Known, b: Known) -> Known {
    let rank = |known: &Known| match known {
        Known::Issued(CertificateStatus::Revoked(_)) => 0,
        Known::Issued(CertificateStatus::Good) => 1,
        Known::NotCurrent => 2,
        Known::NotLoaded => 3,
        Known::NotIssued => 4,
    };
    if rank(&b) < rank(&a) { b } else { a }
}
