//! A process of Nave's: started, waited for, ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A process is ready, or gone, by then.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Where Nave's programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Those in `directory`, or beside this program where none is named.
    ///
    /// # Errors
    /// Says which are missing and how to build them.
    pub(crate) fn find(directory: Option<&Path>, names: &[&str]) -> anyhow::Result<Self> {
        let ours = std::env::current_exe().context("find this program")?;
        let beside = ours.parent().unwrap_or_else(|| Path::new("."));
        let programs = Self(directory.unwrap_or(beside).to_owned());
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !programs.path(name).is_file())
            .collect();
        let build: String = names.iter().map(|name| format!(" --bin {name}")).collect();
        ensure!(
            missing.is_empty(),
            "{} is not in {}: build it (cargo build --release{build}), or name its directory with --programs",
            missing.join(", "),
            programs.0.display()
        );
        Ok(programs)
    }

    /// Where the program `name` is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs the program `name` to its end.
    ///
    /// # Errors
    /// It fails; says what it said.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(self.path(name)).args(arguments).output();
        let output = output.with_context(|| format!("run {name}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} {}: {said}", arguments.join(" "));
        Ok(output)
    }
}

/// A process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts `program` and waits until the admin port says that it is ready. Its log is beside its configuration.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub(crate) async fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        config: &Path,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        let log = config.with_extension("log");
        let lines = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(lines)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut process = Self {
            name: name.to_owned(),
            child,
            log,
        };
        let began = Instant::now();
        while !is_ready(admin).await {
            let ended = process.child.try_wait()?;
            if ended.is_some() || began.elapsed() > DEADLINE {
                bail!("{name} is not ready: {}", process.lines());
            }
            sleep(LOOK).await;
        }
        Ok(process)
    }

    /// Ends it at once, with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn lines(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
