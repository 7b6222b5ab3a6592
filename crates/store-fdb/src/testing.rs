//! A FoundationDB cluster of one process on this machine, thrown away at the end: for tests.
//!
//! `fdbserver` and `fdbcli` are looked for in `PATH`, or are what `FDB_SERVER_PATH` and `FDB_CLI_PATH` name.

/// The client itself, for a bench that compares with it.
#[cfg(feature = "fdb")]
pub use foundationdb;

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Error, Result, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// How often a free port may be lost to somebody else before it is bound.
const PORTS_MAX: usize = 5;

/// Free octets that a cluster needs on its disk: its files take 210 MB at once, and with less than 100 MB left FoundationDB
/// commits nothing and says so in its status only.
const FREE_MIN: u64 = 1 << 30;

/// Seconds that `fdbcli` may take to make the database.
const CONFIGURE_SECONDS: &str = "60";

/// Seconds that `fdbcli` may take to tell how a cluster is.
const STATUS_SECONDS: &str = "10";

/// File of a cluster's directory that has what its process printed.
const SAID: &str = "fdbserver.out";

/// Directory of a cluster's directory that has the traces of its process.
const LOG: &str = "log";

/// The programs of FoundationDB.
#[derive(Clone, Debug)]
struct Programs {
    server: PathBuf,
    cli: PathBuf,
}

/// A running cluster with an empty, durable database. Dropping it kills the process and removes the files.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    directory: TempDir,
    port: u16,
    server: Child,
}

impl Cluster {
    /// Starts a cluster. `None` when FoundationDB is not on this machine, which is said on standard error.
    ///
    /// # Errors
    /// No port is free, the disk is nearly full, or the server does not come up.
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = Programs::find() else {
            let line = "skipped: fdbserver and fdbcli are not on this machine (PATH, FDB_SERVER_PATH, FDB_CLI_PATH)\n";
            // Not `eprintln`: what a passing test prints is not shown.
            std::io::stderr().write_all(line.as_bytes())?;
            return Ok(None);
        };
        let mut failure = Error::other("no port is free");
        for _ in 0..PORTS_MAX {
            match Self::start_with(programs.clone()) {
                Ok(cluster) => return Ok(Some(cluster)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn start_with(programs: Programs) -> Result<Self> {
        let directory = TempDir::with_prefix("nave-fdb-")?;
        let free = free_octets(directory.path())?;
        if free < FREE_MIN {
            let at = directory.path().display();
            let (free, needed) = (free >> 20, FREE_MIN >> 20);
            return Err(Error::other(format!(
                "{at} has {free} MiB free, and FoundationDB stops committing where a disk is nearly full: make that \
                 {needed} MiB, or name a roomier directory by TMPDIR"
            )));
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        std::fs::write(
            cluster_file_in(directory.path()),
            format!("nave:test@127.0.0.1:{port}\n"),
        )?;
        // The server does not make it, and without it tries again each second to open its trace.
        std::fs::create_dir(directory.path().join(LOG))?;
        let server = serve(&programs, directory.path(), port)?;
        let cluster = Self {
            programs,
            directory,
            port,
            server,
        };
        let configured = cluster.fdbcli(CONFIGURE_SECONDS, "configure new single ssd")?;
        if !configured.status.success() {
            let said = String::from_utf8_lossy(&configured.stdout).into_owned();
            return Err(Error::other(format!("fdbcli cannot make the database: {said}")));
        }
        Ok(cluster)
    }

    /// Where clients find the cluster.
    pub fn cluster_file(&self) -> PathBuf {
        cluster_file_in(self.directory.path())
    }

    /// Kills the process with SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait().map(drop)
    }

    /// Starts the process again on the files that it left.
    pub fn restart(&mut self) -> Result<()> {
        self.server = serve(&self.programs, self.directory.path(), self.port)?;
        Ok(())
    }

    /// Stops the process with SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// What a failed test says of the cluster: whether its process runs, what it printed, and what `fdbcli` reads off it.
    pub fn state(&mut self) -> String {
        let process = match self.server.try_wait() {
            Ok(None) => "fdbserver runs".to_owned(),
            Ok(Some(status)) => format!("fdbserver has ended: {status}"),
            Err(error) => format!("fdbserver cannot be asked: {error}"),
        };
        let said = std::fs::read_to_string(self.directory.path().join(SAID)).unwrap_or_default();
        let status = match self.fdbcli(STATUS_SECONDS, "status details") {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("fdbcli cannot be run: {error}"),
        };
        format!("{process}\n{said}\n{status}")
    }

    /// What `fdbcli` says to `command`, within `seconds`.
    fn fdbcli(&self, seconds: &str, command: &str) -> Result<Output> {
        Command::new(&self.programs.cli)
            .arg("-C")
            .arg(self.cluster_file())
            .args(["--timeout", seconds, "--exec", command])
            .stdin(Stdio::null())
            .output()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.server.id()).map_err(Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A process that is dead already needs no killing.
        let _ = self.kill();
    }
}

impl Programs {
    fn find() -> Option<Self> {
        Some(Self {
            server: program("FDB_SERVER_PATH", "fdbserver")?,
            cli: program("FDB_CLI_PATH", "fdbcli")?,
        })
    }
}

/// The program that `variable` names, or else the first `name` in `PATH`.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// What may still be written to the disk of `directory`.
fn free_octets(directory: &Path) -> Result<u64> {
    let disk = statvfs(directory)?;
    Ok(disk.blocks_available() * disk.fragment_size())
}

fn cluster_file_in(directory: &Path) -> PathBuf {
    directory.join("fdb.cluster")
}

fn serve(programs: &Programs, directory: &Path, port: u16) -> Result<Child> {
    let said = File::create(directory.join(SAID))?;
    Command::new(&programs.server)
        .args([
            "--public-address",
            &format!("127.0.0.1:{port}"),
            "--listen-address",
            "public",
        ])
        .arg("--cluster-file")
        .arg(cluster_file_in(directory))
        .arg("--datadir")
        .arg(directory.join("data"))
        .arg("--logdir")
        .arg(directory.join(LOG))
        .args(["--memory", "4GiB", "--cache-memory", "256MiB"])
        // Not every temporary directory takes the kernel's asynchronous I/O.
        .arg("--knob_disable_posix_kernel_aio=1")
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
}
