//! How many certificates a second one thread makes by a profile.

use std::time::Instant;

use kakunin::issuance::AlternativeName;
use kakunin::issuance::profile::{Choices, Request};
use kakunin::pki::{KeyAlgorithm, SignatureAlgorithm};
use kakunin::token::SigningKey;
use kakunin::token::software::SoftwareKey;

use crate::support::{at, links, profile, request, root, software_key};

const COUNT: u32 = 20_000;

#[test]
#[ignore = "measures: cargo test --release --test profiles certificate_rate -- --ignored --nocapture"]
#[allow(clippy::print_stdout)]
fn certificate_rate() {
    let key = software_key(KeyAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaSha256);
    let start = Instant::now();
    (0..COUNT).for_each(|number| drop(key.sign(&number.to_be_bytes()).unwrap()));
    let signatures = f64::from(COUNT) / start.elapsed().as_secs_f64();
    let (profile, issuer) = (profile("br-7.1.2.7-tls-server"), root("CN=Example CA,C=JP", key));
    let template = profile.template(&issuer, &Choices { links: links(), ..Choices::default() }).unwrap();
    let subject_key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let random = aws_lc_rs::rand::SystemRandom::new();
    let start = Instant::now();
    for number in 0..COUNT {
        let host = format!("host-{number}.example.com");
        let subject = profile.subject(&format!("CN={host}")).unwrap();
        let names = [AlternativeName::Dns(&host)];
        let serial = profile.serial(&random).unwrap();
        let order = request(&profile, &subject, subject_key.public_key(), at("2026-11-21T12:00:00Z"));
        template.certificate(&Request { alternative_names: &names, serial, ..order }).unwrap();
    }
    let certificates = f64::from(COUNT) / start.elapsed().as_secs_f64();
    println!("{certificates:.0} certificates/s, {signatures:.0} signatures/s alone, on one thread");
}
