//! Other servers in the same place, when they are on the machine: what people would run instead. Each is a process of its
//! own, started here with the configuration that its documentation recommends for the purpose, on the same disk as Nave's.

pub(crate) mod nats;
pub(crate) mod synapse;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::measure::{self, Usage};

/// What is told of a log that says why something did not start.
const LOG_OCTETS_MAX: usize = 4 << 10;

/// A server's process. It ends when this is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `command`. What it says goes to the file `log`.
    fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let lines = std::fs::File::create(log).with_context(|| format!("make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(lines.try_clone()?)
            .stderr(lines)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Whether it has ended by itself.
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it said.
    fn lines(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let from = said.len().saturating_sub(LOG_OCTETS_MAX);
        String::from_utf8_lossy(&said[from..]).into_owned()
    }

    /// Its process.
    fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used until now.
    fn usage(&self) -> anyhow::Result<Usage> {
        measure::usage(self.id()).context("this system does not tell what a process used")
    }
}

/// The program that the variable `variable` names, or the first of this name in PATH.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
