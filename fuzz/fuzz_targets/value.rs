//! Any body of any value type reads the same alone and inside a file, at every altitude, cut or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::value::value(data));
