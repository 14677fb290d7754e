//! `cargo bench --bench read_path`: what each step from the octets of a request to those of its answer takes, and how the status map
//! compares with simpler ones.

mod maps;
#[path = "../common/serials.rs"]
mod serials;
mod world;

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use kakunin::pki::ocsp_request::OcspRequest;
use kakunin::pki::ocsp_response::SingleResponse;
use kakunin::pki::{CertificateStatus, HashAlgorithm, SlotHash};
use kakunin::registry::IssuerId;
use kakunin::responder::get_path::{self, Buffer};
use kakunin::responder::ocsp::answer;

use world::{Walk, now};

fn main() {
    if maps::built_for_its_size() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    read(&mut criterion);
    answers(&mut criterion);
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
