//! Any LZF inflates to what a model makes of it, whole and in chunks, or is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::lzf::lzf(data));
