//! Any answers of a source lead a handshake to the same end whole and cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::wire::handshake(data));
