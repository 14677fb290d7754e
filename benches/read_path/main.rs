//! `cargo bench --bench read_path`: what each step from the octets of a request to those of its answer takes, what encoding a great CRL takes, and how
//! the status map compares with simpler ones.

mod maps;
mod world;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use kakunin::pki::crl::{CrlEntries, CrlEntry, CrlHeader, UnsignedCrl};
use kakunin::pki::ocsp_request::OcspRequest;
use kakunin::pki::ocsp_response::SingleResponse;
use kakunin::pki::{CertificateInfo, CertificateStatus, HashAlgorithm, Revocation, RevocationReason, SignatureAlgorithm, SlotHash};
use kakunin::registry::IssuerId;
use kakunin::responder::get_path::{self, Buffer};
use kakunin::responder::ocsp::answer;

use world::{CERTIFICATES, Walk, now};

fn main() {
    if maps::built_for_its_size() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    read(&mut criterion);
    answers(&mut criterion);
    crl(&mut criterion);
    maps::look_ups(&mut criterion);
    // Not where only a list, a test or one benchmark was asked for.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        maps::print_bytes_per_certificate();
    }
    criterion.final_summary();
}

/// From what arrives to what is asked.
fn read(criterion: &mut Criterion) {
    let request = world::request(5);
    let path = format!("/{}", get_path::encode(&request));
    criterion.bench_function("parse the request", |b| b.iter(|| OcspRequest::from_der(black_box(&request)).is_ok()));
    criterion.bench_function("decode the path of a GET", |b| {
        b.iter(|| get_path::decode(black_box(&path), &mut Buffer::default()).map(<[u8]>::len));
    });
}

/// From what is asked to the octets of the answer, in a map of a million.
fn answers(criterion: &mut Criterion) {
    let map = world::status_map();
    let status = map.get(IssuerId(1), HashAlgorithm::Sha1).expect("the map has one issuer");
    let (hits, misses) = (numbers(Walk::hit), numbers(Walk::miss));
    for (name, numbers) in [("hit", &hits), ("miss", &misses)] {
        let serials: Vec<_> = numbers.iter().map(|number| world::serial(*number)).collect();
        let mut next = serials.iter().cycle();
        criterion.bench_function(&format!("look up in the packs/{name}"), |b| {
            b.iter(|| {
                let serial = next.next().expect("a cycle").as_der_content();
                status.look_up(SlotHash::of_content(serial), serial, |hit| hit.entry.raw_signature[0])
            });
        });
        let requests: Vec<_> = numbers.iter().map(|number| world::request(*number)).collect();
        let mut next = requests.iter().cycle();
        criterion.bench_function(&format!("answer()/{name}"), |b| {
            let mut body = Vec::new();
            b.iter(|| {
                body.clear();
                answer(next.next().expect("a cycle"), &map, None, now(), &mut body)
            });
        });
    }
    let (template, serial, signature) = (world::template(), world::serial(5), world::signature(5));
    let next_update = now().saturating_add(Duration::from_secs(86_400));
    let single = SingleResponse { serial: serial.as_der_content(), status: CertificateStatus::Good, this_update: now(), next_update };
    criterion.bench_function("assemble the response", |b| b.iter(|| template.response(black_box(&single), &signature)));
}

fn numbers(next: fn(&mut Walk) -> u64) -> Vec<u64> {
    let mut walk = Walk::new(0);
    (0..65_536).map(|_| next(&mut walk)).collect()
}

/// A CRL of a million entries, and what copying as many octets takes.
fn crl(criterion: &mut Criterion) {
    let revocation = Revocation { at: now(), reason: Some(RevocationReason::Superseded) };
    let entries: Vec<_> =
        (0..CERTIFICATES).map(|number| CrlEntry { serial: world::serial(number), revocation, invalidity_date: None }).collect();
    let encode = |entries: &[CrlEntry]| {
        let mut encoded = CrlEntries::default();
        entries.iter().for_each(|entry| encoded.push(entry));
        let certificate = CertificateInfo::from_der(include_bytes!("../../tests/data/responder.der")).expect("a certificate");
        let header = CrlHeader {
            issuer: &certificate.subject,
            authority_key_identifier: &[7; 20],
            algorithm: SignatureAlgorithm::EcdsaSha256,
            number: 1,
            this_update: now(),
            next_update: now().saturating_add(Duration::from_secs(86_400)),
            distribution_point: None,
        };
        UnsignedCrl::new(&header, encoded).with_signature(&[1; 70])
    };
    let der = encode(&entries);
    let mut group = criterion.benchmark_group("a CRL of 1 M entries");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Bytes(der.len() as u64));
    group.bench_function("encode", |b| b.iter_batched(|| (), |()| encode(black_box(&entries)), BatchSize::PerIteration));
    group.bench_function("memcpy", |b| b.iter_batched(|| (), |()| black_box(&der).clone(), BatchSize::PerIteration));
}
