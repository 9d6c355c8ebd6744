#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| taskwarden_fuzz::signature_header(data));
