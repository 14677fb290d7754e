#![no_main]

use kakunin_fuzz::{checks, within_linear_time};

libfuzzer_sys::fuzz_target!(|input: &[u8]| within_linear_time(input, checks::pack::check));
