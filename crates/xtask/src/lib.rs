//! What the project promises about itself and a machine can check: the walls between crates ([`walls`]), the shape of its
//! files ([`tidy`]), and that each requirement of the drafts has its test ([`conformance`]). Each is a plain function over
//! the checkout, run by `cargo xtask` and by the tests.

use std::path::{Path, PathBuf};

pub mod conformance;
pub mod tidy;
pub mod walls;

/// The root of the checkout.
pub fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in crates/");
    crates.parent().expect("crates/ lies in the root").to_path_buf()
}
