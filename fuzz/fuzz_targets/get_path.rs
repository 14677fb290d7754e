#![no_main]

use kakunin::responder::get_path::MAX_PATH_BYTES;
use kakunin_fuzz::{checks, within_linear_time_even_repeated};

libfuzzer_sys::fuzz_target!(|input: &[u8]| within_linear_time_even_repeated(input, MAX_PATH_BYTES, checks::get_path::check));
