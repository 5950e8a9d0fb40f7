//! Any bytes read as a segment alike whole and cut, and what was written is not changed unseen.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::spool::spool(data));
