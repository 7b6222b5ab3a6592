//! What a measurement needs around it: a hub as a process of its own, sinks that are its followers, and the internal way
//! to the hub that an edge would take. Everything is in a directory that is removed afterwards.

mod edge;
mod files;
mod ports;
mod process;
mod whole;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use daemon::certificates::DevelopmentCa;
use mimi::Provider;
use proto::hub::hub_client::HubClient;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) use edge::Edge;
pub(crate) use ports::free;
pub(crate) use process::{Process, Programs};
pub(crate) use whole::{Whole, Wholes, run};

use crate::measure::{self, Usage};
use crate::report::ProcessUse;
use crate::sink::{Collected, Identity, Setup, Sink};

/// The hub's provider.
pub(crate) const HUB: &str = "hub.example";

/// Where and with what a stage is built.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// Where Nave's programs are.
    pub(crate) programs: Programs,
    /// Where stages are: a directory on the disk that is to be measured.
    pub(crate) directory: PathBuf,
}

/// Who follows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// Followers of each sink: processes of their own.
    pub(crate) sinks: Vec<usize>,
    /// Followers that nobody ever hears of: after those of the sinks.
    pub(crate) holes: usize,
}

impl Shape {
    /// Such sinks, and no holes.
    pub(crate) fn sinks(followers: &[usize]) -> Self {
        Self {
            sinks: followers.to_vec(),
            holes: 0,
        }
    }
}

/// How the hub's process is started.
#[derive(Debug)]
struct HubStart {
    program: PathBuf,
    file: PathBuf,
    admin: SocketAddr,
}

impl HubStart {
    async fn start(&self) -> anyhow::Result<Process> {
        Process::start("nave-hub", &self.program, &[], &self.file, self.admin).await
    }
}

/// An address that takes connections and datagrams and never says anything.
#[derive(Debug)]
struct Hole {
    _tcp: TcpListener,
    _udp: UdpSocket,
}

impl Hole {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let taken = || format!("bind {address}");
        Ok(Self {
            _tcp: TcpListener::bind(address).with_context(taken)?,
            _udp: UdpSocket::bind(address).with_context(taken)?,
        })
    }
}

/// See the module.
pub(crate) struct Stage {
    hub: Mutex<Process>,
    hub_start: HubStart,
    sinks: Vec<Sink>,
    /// The providers that follow, in the order of the sinks.
    pub(crate) followers: Vec<Provider>,
    /// Ways to the hub.
    pub(crate) clients: Vec<HubClient<Channel>>,
    /// The hub's ExternalSender (RFC 9420 §12.1.8.1) in rooms of cipher suite 0x0001.
    pub(crate) hub_sender: Vec<u8>,
    /// What the hub says of its keys.
    senders: Vec<u8>,
    /// Where the hub takes what edges bring.
    hub_address: SocketAddr,
    /// The followers, as tables of a configuration.
    peers: String,
    /// Addresses that take what is sent to them and never answer.
    _holes: Vec<Hole>,
    stop: CancellationToken,
    /// Removed when the processes have ended: fields are dropped in their order.
    directory: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    /// Builds a stage of this shape.
    ///
    /// # Errors
    /// Something does not start.
    pub(crate) async fn build(ground: &Ground, shape: &Shape) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("nave-load-")
            .tempdir_in(&ground.directory)?;
        let root = directory.path();
        let ca = DevelopmentCa::in_directory(&root.join("ca"))?;
        let mut counts = shape.sinks.clone();
        counts.push(shape.holes);
        let groups = files::followers(root, &ca, &counts)?;
        let config = files::hub(ground, root, &ca, &groups)?;

        let mut sinks = Vec::new();
        let (holes, sunk) = groups.split_last().context("there is a group of holes")?;
        let holes = holes.iter().map(|hole| Hole::open(hole.address));
        let holes = holes.collect::<anyhow::Result<_>>()?;
        for (number, followers) in sunk.iter().enumerate() {
            let setup = Setup {
                hub: HUB.to_owned(),
                roots: root.join("ca/ca.pem"),
                followers: followers.clone(),
            };
            sinks.push(Sink::start(root, &format!("sink-{number}"), &setup).await?);
        }
        let (program, file) = (ground.programs.path("nave-hub"), &config.file);
        let hub_start = HubStart {
            program,
            file: file.clone(),
            admin: config.admin,
        };
        let hub = hub_start.start().await?;
        let said = ground
            .programs
            .run("nave-hub", &["--print-senders", "--config", files::text(file)?])?;

        let stop = CancellationToken::new();
        let clients = files::edge(root, &ca, config.listen, stop.clone())?;
        let followers = groups
            .iter()
            .flatten()
            .map(Identity::provider)
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            hub_sender: files::sender(&String::from_utf8_lossy(&said.stdout))?,
            senders: said.stdout,
            hub_address: config.listen,
            peers: config.peers,
            directory,
            hub: Mutex::new(hub),
            hub_start,
            sinks,
            _holes: holes,
            followers,
            clients,
            stop,
        })
    }

    /// What the hub has used.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn hub_usage(&self) -> anyhow::Result<Usage> {
        measure::usage(self.hub().id()).context("this system does not tell what a process used")
    }

    /// Kills the hub as a crash would, and starts it again on the same store.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn restart_hub(&self) -> anyhow::Result<()> {
        self.hub().kill()?;
        let hub = self.hub_start.start().await?;
        *self.hub() = hub;
        Ok(())
    }

    fn hub(&self) -> MutexGuard<'_, Process> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory on the disk that the hub writes to.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The numbers of all sinks.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.sinks.len()).collect()
    }

    /// The sink of this number.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn sink(&self, number: usize) -> anyhow::Result<&Sink> {
        self.sinks
            .get(number)
            .with_context(|| format!("there is no sink {number}"))
    }

    /// Whether all followers make what they are shown from now on durable before it counts as shown.
    ///
    /// # Errors
    /// A sink is gone.
    pub(crate) async fn keep(&self, is_kept: bool) -> anyhow::Result<()> {
        for sink in &self.sinks {
            sink.keep(is_kept).await?;
        }
        Ok(())
    }

    /// Application messages that each follower of `sinks` was shown since the last collection. None of these may be frozen.
    ///
    /// # Errors
    /// A sink is gone.
    pub(crate) async fn progress_of(&self, sinks: &[usize]) -> anyhow::Result<Vec<u64>> {
        let mut all = Vec::new();
        for number in sinks {
            all.extend(self.sink(*number)?.progress().await?);
        }
        Ok(all)
    }

    /// What each follower was shown since the last collection. No sink may be frozen.
    ///
    /// # Errors
    /// A sink is gone.
    pub(crate) async fn collect(&self) -> anyhow::Result<Vec<Collected>> {
        self.collect_of(&self.all()).await
    }

    /// What each follower of `sinks` was shown since the last collection. None of these may be frozen.
    ///
    /// # Errors
    /// A sink is gone.
    pub(crate) async fn collect_of(&self, sinks: &[usize]) -> anyhow::Result<Vec<Collected>> {
        let mut all = Vec::new();
        for number in sinks {
            all.extend(self.sink(*number)?.collect().await?);
        }
        Ok(all)
    }

    /// What each process used since it began.
    pub(crate) fn processes(&self) -> Vec<ProcessUse> {
        let hub = {
            let hub = self.hub();
            (hub.name().to_owned(), hub.id())
        };
        let sinks = self.sinks.iter().enumerate();
        let sinks = sinks.map(|(number, sink)| (format!("sink {number}"), sink.id()));
        let theirs = std::iter::once(hub).chain(sinks);
        let theirs = theirs.filter_map(|(name, id)| ProcessUse::of(name, id));
        theirs.chain(ProcessUse::generator()).collect()
    }
}
