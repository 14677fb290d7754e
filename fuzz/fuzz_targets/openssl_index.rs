#![no_main]

use kakunin::sources::openssl_index::MAX_LINE_BYTES;
use kakunin_fuzz::{checks, within_linear_time_even_repeated};

libfuzzer_sys::fuzz_target!(|input: &[u8]| within_linear_time_even_repeated(input, 2 * MAX_LINE_BYTES, checks::openssl_index::check));
