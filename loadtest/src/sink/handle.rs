//! A sink, seen from the process that started it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use super::words::{Ask, Collected, Progress, Setup};

/// A sink's process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    child: Child,
    pipes: Arc<Mutex<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sink {
    /// Starts a sink: this very program once more. `directory` holds its setup and its log.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(directory: &Path, name: &str, setup: &Setup) -> anyhow::Result<Self> {
        let file = directory.join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_vec(setup)?)?;
        let log = std::fs::File::create(directory.join(format!("{name}.log")))?;
        let mut child = Command::new(std::env::current_exe().context("find this program")?)
            .arg("sink")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start a sink")?;
        let (ask, answers) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .context("the sink's pipes")?;
        let answers = BufReader::new(answers);
        let sink = Self {
            child,
            pipes: Arc::new(Mutex::new(Pipes { ask, answers })),
        };
        let ready: String = sink
            .exchange(None)
            .await
            .context("the sink does not start, see its log")?;
        ensure!(ready == "ready", "the sink says {ready}");
        Ok(sink)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the process where it is: it answers nobody, neither the hub nor us.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.id()).context("an id of a process")?);
        kill(pid, signal).with_context(|| format!("send {signal} to a sink"))
    }

    /// Application messages that each follower was shown since the last collection.
    ///
    /// # Errors
    /// The sink is gone.
    pub(crate) async fn progress(&self) -> anyhow::Result<Progress> {
        self.exchange(Some(Ask::Progress)).await
    }

    /// Whether what followers are shown from now on is made durable before it counts as shown, and is acknowledged.
    ///
    /// # Errors
    /// The sink is gone.
    pub(crate) async fn keep(&self, is_kept: bool) -> anyhow::Result<()> {
        let answer: bool = self.exchange(Some(Ask::Keep(is_kept))).await?;
        ensure!(answer == is_kept, "the sink understood something else");
        Ok(())
    }

    /// What each follower was shown since the last collection.
    ///
    /// # Errors
    /// The sink is gone.
    pub(crate) async fn collect(&self) -> anyhow::Result<Vec<Collected>> {
        self.exchange(Some(Ask::Collect)).await
    }

    async fn exchange<T: DeserializeOwned + Send + 'static>(&self, ask: Option<Ask>) -> anyhow::Result<T> {
        let pipes = self.pipes.clone();
        let exchange = move || {
            let mut pipes = pipes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ask) = ask {
                let mut line = serde_json::to_vec(&ask)?;
                line.push(b'\n');
                pipes.ask.write_all(&line).context("ask the sink")?;
            }
            let mut line = String::new();
            pipes.answers.read_line(&mut line).context("hear the sink")?;
            ensure!(!line.is_empty(), "the sink is gone");
            Ok(serde_json::from_str(&line)?)
        };
        tokio::task::spawn_blocking(exchange).await?
    }
}
