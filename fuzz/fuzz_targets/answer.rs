#![no_main]

use kakunin_fuzz::{checks, der_mutation, within_linear_time};
use libfuzzer_sys::fuzzer_mutate;

// The first octet chooses time and issuer, the others are a request.
libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = size.min(max_size);
    match size.checked_sub(1) {
        Some(request) if seed % 8 > 0 => 1 + der_mutation::mutate(&mut input[1..max_size], request, seed),
        _ => fuzzer_mutate(input, size, max_size),
    }
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| within_linear_time(input, checks::answer::check));
