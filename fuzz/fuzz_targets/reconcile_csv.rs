#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| taskwarden_fuzz::reconcile_csv(data));
