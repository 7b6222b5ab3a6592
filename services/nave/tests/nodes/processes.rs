//! The cluster with a process for each node: `nave-hub`, `nave-edge`, `nave-follower`, and `nave` for the other provider.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scenario::Cluster;
use crate::site::{Node, Site};

const NAVE: &str = env!("CARGO_BIN_EXE_nave");
/// A node is up, or gone, by then.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);
/// Of its log, what is shown of a node that does not do what it should.
const LINES: usize = 40;

/// See the module.
pub(crate) struct Processes<'a> {
    site: &'a Site,
    programs: PathBuf,
    hubs: Vec<Option<Process>>,
    followers: Vec<Process>,
    edges: Vec<Process>,
    b: Process,
}

/// Builds the tiers' programs with FoundationDB, in the profile of this test and beside its `nave`. What they are made of
/// has the features that it has for the tests of the workspace, so that nothing is compiled twice.
fn build() -> PathBuf {
    let programs = Path::new(NAVE).parent().unwrap();
    let profile = match programs.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        named => named,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(programs.parent().unwrap())
        .args(["--workspace", "--features", "nave/fdb", "--test", "nodes"])
        .args(["--bin", "nave-hub", "--bin", "nave-edge", "--bin", "nave-follower"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "the programs cannot be built");
    programs.to_owned()
}

impl<'a> Processes<'a> {
    pub(crate) async fn set_up(site: &'a Site) -> Self {
        let programs = tokio::task::spawn_blocking(build).await.unwrap();
        let all = |name: &str, nodes: &[Node]| -> Vec<Process> {
            let started = nodes.iter().map(|node| Process::start(&programs.join(name), &[], node));
            started.collect()
        };
        let mut cluster = Self {
            followers: all("nave-follower", &site.followers),
            edges: all("nave-edge", &site.edges),
            b: Process::start(Path::new(NAVE), &["serve"], &site.b_node()),
            hubs: site.hubs.iter().map(|_| None).collect(),
            site,
            programs,
        };
        for hub in 0..cluster.hubs.len() {
            cluster.start(hub).await;
        }
        for process in cluster.followers.iter_mut().chain(&mut cluster.edges) {
            process.ready().await;
        }
        cluster.b.ready().await;
        cluster
    }

    /// Drains all that is left.
    pub(crate) async fn end(self) {
        let hubs = self.hubs.into_iter().flatten();
        for process in self.edges.into_iter().chain(hubs).chain(self.followers).chain([self.b]) {
            process.drain().await;
        }
    }

    fn hub(&self, hub: usize) -> &Process {
        self.hubs[hub].as_ref().unwrap()
    }
}

impl Cluster for Processes<'_> {
    async fn start(&mut self, hub: usize) {
        let mut process = Process::start(&self.programs.join("nave-hub"), &[], &self.site.hubs[hub]);
        process.ready().await;
        self.hubs[hub] = Some(process);
    }

    async fn kill(&mut self, hub: usize) {
        drop(self.hubs[hub].take().unwrap());
    }

    async fn cut_off(&mut self, hub: usize) {
        self.hub(hub).signal(Signal::SIGSTOP);
    }

    async fn heal(&mut self, hub: usize) {
        self.hub(hub).signal(Signal::SIGCONT);
    }

    async fn drain(&mut self, hub: usize) {
        self.hubs[hub].take().unwrap().drain().await;
    }
}

/// A node's process. Dropping it kills it.
struct Process {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(program: &Path, arguments: &[&str], node: &Node) -> Self {
        let log = node.config.with_extension("log");
        let lines = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(program)
            .args(arguments)
            .arg("--config")
            .arg(&node.config)
            .stdin(Stdio::null())
            .stderr(lines)
            .spawn();
        Self {
            child: child.unwrap(),
            admin: node.admin,
            log,
        }
    }

    /// Waits until it says that it is ready.
    async fn ready(&mut self) {
        let asking = async {
            while !self.says_ready().await {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "{ended:?}: {}", self.lines());
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = timeout(DEADLINE, asking).await;
        assert!(waited.is_ok(), "not ready: {}", self.lines());
    }

    async fn says_ready(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(self.admin).await?;
            stream
                .write_all(b"GET /readyz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        ask.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it by SIGTERM; it exits with 0.
    async fn drain(mut self) {
        self.signal(Signal::SIGTERM);
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match timeout(DEADLINE, ending).await {
            Ok(status) => assert!(status.success(), "{status}: {}", self.lines()),
            Err(_) => panic!("still draining: {}", self.lines()),
        }
    }

    /// The last that it logged.
    fn lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}
