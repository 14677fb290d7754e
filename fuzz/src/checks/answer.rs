//! Answering requests from a small map, held against a list of all answers.

use kakunin::pki::ocsp_request;
use kakunin::pki::{Serial, Timestamp};
use kakunin::responder::ocsp::{self, Refusal};
use x509_ocsp::OcspRequest;

use super::read_by_another;
use super::world::{ISSUERS, Signed, TIMES, WORLD, WorldIssuer, time};

/// Which issuers a request may be restricted to.
const NAMES: [Option<&str>; 6] = [None, Some("alpha"), Some("renewed"), Some("MyCA"), Some("elsewhere"), Some("")];
/// What is in the buffer before the answer.
const BEFORE: &[u8] = b"before";

/// One input: an octet that chooses time (low three bits) and restriction (the others), and a request.
pub fn check(input: &[u8]) {
    let Some((choice, request)) = input.split_first() else { return };
    let now = time(TIMES[usize::from(choice & 7)]);
    let issuer = NAMES[usize::from(choice >> 3) % NAMES.len()];
    let mut body = BEFORE.to_vec();
    let answered = ocsp::answer(request, &WORLD.content.status, issuer, now, &mut body);
    let expected = expected(request, issuer, now);
    assert_eq!(answered, expected.map(|signed| signed.definitive));
    assert_eq!(body.strip_prefix(BEFORE).expect("it is appended to"), expected.map_or(&[][..], |signed| &signed.body));
    if let Ok(definitive) = answered {
        assert!(definitive.this_update <= now && now < definitive.next_update);
        assert!(read_by_another::<OcspRequest>(request).is_none_or(|theirs| theirs.tbs_request.request_list.len() == 1));
    }
}

/// What is to be answered, looked up in the list.
pub fn expected(request: &[u8], issuer: Option<&str>, now: Timestamp) -> Result<&'static Signed, Refusal> {
    let found = sought(request, issuer)?;
    let is_current = found.definitive.this_update <= now && now < found.definitive.next_update;
    if is_current { Ok(found) } else { Err(Refusal::NotCurrent) }
}

fn sought(request: &[u8], only: Option<&str>) -> Result<&'static Signed, Refusal> {
    let request = ocsp_request::OcspRequest::from_der(request).map_err(|_| Refusal::Malformed)?;
    if request.certificates > 1 || request.unknown_critical_extension {
        return Err(Refusal::Unauthorized);
    }
    let id = request.cert_id;
    let algorithm = id.hash_algorithm.ok_or(Refusal::Unauthorized)?;
    let is_meant = |issuer: &&WorldIssuer| {
        let names = issuer.names(algorithm);
        let named = names.name_hash == id.issuer_name_hash && names.key_hash == id.issuer_key_hash;
        named && issuer.hashes.contains(&algorithm) && only.is_none_or(|name| name == issuer.name)
    };
    let issuers: Vec<_> = ISSUERS.iter().filter(is_meant).collect();
    let serial = Serial::from_der_content(id.serial);
    let found = issuers.iter().find_map(|issuer| WORLD.answers.get(&(issuer.name, algorithm, serial.clone().ok()?)));
    match found {
        Some(found) => Ok(found),
        None if issuers.is_empty() => Err(Refusal::Unauthorized),
        None if issuers.iter().any(|issuer| !issuer.is_loaded(id.serial)) => Err(Refusal::NotLoaded),
        None => Err(Refusal::UnusedSerial),
    }
}
