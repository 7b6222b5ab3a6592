//! One decoder: the one that the target is named after.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    hostile::decoder(env!("CARGO_BIN_NAME"))(octets);
});
