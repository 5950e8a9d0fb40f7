//! Any ziplist is refused or read, and reads the same in every value type and from every place.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::packed::ziplist(data));
