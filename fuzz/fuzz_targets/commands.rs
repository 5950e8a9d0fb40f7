//! Any bytes are the same commands whole and cut, and those read back after they were written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::wire::commands(data));
