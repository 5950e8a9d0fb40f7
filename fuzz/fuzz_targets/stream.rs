//! Any bytes are the same replication stream whole and cut, resumable at the same places.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::wire::stream(data));
