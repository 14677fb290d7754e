#![no_main]

use kakunin_fuzz::{checks, der_mutation, within_linear_time};

libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, max_size: usize, seed: u32| {
    der_mutation::mutate(&mut input[..max_size], size.min(max_size), seed)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| within_linear_time(input, checks::ocsp_request::check));
