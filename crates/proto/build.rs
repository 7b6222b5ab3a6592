//! Compiles `proto/*.proto` with protox, so that no machine needs `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const DIRECTORY: &str = "../../proto";
    println!("cargo::rerun-if-changed={DIRECTORY}");
    let files = [
        "link.proto",
        "hub.proto",
        "follower.proto",
        "provider.proto",
        "admin.proto",
    ];
    let descriptors = protox::compile(files, [DIRECTORY])?;
    tonic_prost_build::configure()
        .bytes(".")
        .include_file("all.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
