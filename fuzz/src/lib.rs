//! What the fuzz targets share: the checks of each, how requests are changed, and the measure that finds input whose cost grows faster than its length.

pub mod checks;
pub mod der_mutation;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What any input may cost, and each octet of it beside, under the address sanitizer: a few times what the slowest check takes.
const BASE: Duration = Duration::from_millis(5);
const PER_OCTET: Duration = Duration::from_micros(4);
/// The machine is shared: only what is too slow every time is too slow.
const ATTEMPTS: usize = 5;

/// Processor time that this thread has had.
fn used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("time goes forward")
}

/// Runs `check`, and fails where it takes more processor time than an input of that length may.
pub fn within_linear_time(input: &[u8], check: fn(&[u8])) {
    let allowed = BASE + PER_OCTET * input.len() as u32;
    let mut least = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let start = used();
        check(input);
        least = least.min(used() - start);
        if least <= allowed {
            return;
        }
    }
    panic!("{} octets took {least:?}: wanted at most {allowed:?}", input.len());
}

/// The same, and now and then with the input over and over up to `longest` octets: what costs too much is seldom found in short inputs.
pub fn within_linear_time_even_repeated(input: &[u8], longest: usize, check: fn(&[u8])) {
    within_linear_time(input, check);
    if !input.is_empty() && xxhash_rust::xxh3::xxh3_64(input).is_multiple_of(256) {
        let repeated: Vec<u8> = input.iter().copied().cycle().take(longest).collect();
        within_linear_time(&repeated, check);
    }
}
