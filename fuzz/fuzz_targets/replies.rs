//! Any bytes are the same replies whole and cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::wire::replies(data));
