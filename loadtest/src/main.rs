//! `kakunin-loadtest`: capacity testing of OCSP responders and CRL servers, over the network only.
//!
//! Planned: OCSP GET and POST and CRL pulls in any mix, open and closed loop with latencies measured from the intended start, checks of a sample of
//! the answers, a report, and a capacity plan. Until then the program says so and fails.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("kakunin-loadtest does not do anything yet: it will load OCSP responders and CRL servers and report what they can bear");
    ExitCode::FAILURE
}
