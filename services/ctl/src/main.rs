//! `navectl`: what an operator asks and tells the hubs.

use std::process::ExitCode;

use clap::Parser;
use nave_ctl::{Arguments, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("navectl: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut out, mut notes) = (std::io::stdout(), std::io::stderr());
    match runtime.block_on(run(arguments, &mut out, &mut notes)) {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            eprintln!("navectl: {failure}");
            failure.into()
        }
    }
}
