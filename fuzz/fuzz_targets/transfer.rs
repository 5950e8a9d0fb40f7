//! Any bytes around a snapshot frame it alike whole and cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::wire::transfer(data));
