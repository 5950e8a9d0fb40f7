//! Any bytes read the same whole and cut: the same events, or the same error at the same offset.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::rdb::rdb(data));
