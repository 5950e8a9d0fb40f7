//! Any RESTORE payload is refused or read, and reads back from every form it can be written in.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::rdb::payload(data));
