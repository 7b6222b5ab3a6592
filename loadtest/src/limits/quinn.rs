//! Bare quinn: the same octets to as many receivers, over as many mutually authenticated connections with the link's
//! settings, and nothing else. Sender and receivers are processes of their own, so that the sender's CPU time is known.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use daemon::certificates::DevelopmentCa;
use hdrhistogram::Histogram;
use link::{Identity, Limits, Roots, tls};
use mimi::Provider;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Killed;
use crate::measure::{now_ns, usage};
use crate::stage::free;

const ALPN: &[&[u8]] = &[b"bare/1"];
const SENDER: &str = "sender.example";

/// Octets of the time at which a frame was due, before everything else in it.
const STAMP: usize = 8;

/// Frames handed to QUIC at a time, as the link does.
const FRAMES_AT_A_TIME: usize = 64;

/// What is to be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Receivers.
    pub(crate) receivers: usize,
    /// Frames to each.
    pub(crate) frames: usize,
    /// Octets of a frame, at least eight.
    pub(crate) octets: usize,
    /// Frames a second to each; none: as many as go.
    pub(crate) rate: Option<f64>,
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Frames received in all, for each second of the sender's CPU time.
    pub(crate) per_cpu_second: f64,
    /// Frames received in all, in a second.
    pub(crate) per_second: f64,
    /// From due to received, of the middle frame.
    pub(crate) p50: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct Setup {
    job: Job,
    directory: PathBuf,
    addresses: Vec<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SenderReport {
    cpu_seconds: f64,
    seconds: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReceiverReport {
    frames: usize,
    p50_us: u64,
}

/// Does `job` between two new processes, with files in `directory`.
///
/// # Errors
/// Something does not start, or not everything arrives.
pub(crate) fn fan_out(directory: &Path, job: &Job) -> anyhow::Result<Sent> {
    let directory = directory.join("bare-quinn");
    let setup = Setup {
        job: job.clone(),
        addresses: (0..job.receivers).map(|_| free()).collect::<anyhow::Result<_>>()?,
        directory: directory.clone(),
    };
    let ca = DevelopmentCa::in_directory(&directory)?;
    for name in (0..job.receivers).map(receiver).chain([SENDER.to_owned()]) {
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));
        if !file("pem").exists() {
            ca.issue(&[&name])?.write(&file("pem"), &file("key"))?;
        }
    }
    let file = directory.join("setup.json");
    std::fs::write(&file, serde_json::to_vec(&setup)?)?;
    let start = |what: &str| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(what).arg(&file).stdout(Stdio::piped());
        anyhow::Ok(Killed(command.spawn()?))
    };
    let mut receivers = start("bare-quinn-receive")?;
    let mut said = BufReader::new(receivers.0.stdout.take().context("the receivers' pipe")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the receivers do not start");
    let mut sender = start("bare-quinn-send")?;
    let mut told = String::new();
    sender
        .0
        .stdout
        .take()
        .context("the sender's pipe")?
        .read_to_string(&mut told)?;
    let sent: SenderReport = serde_json::from_str(&told).context("the sender failed")?;
    let mut told = String::new();
    said.read_to_string(&mut told)?;
    let received: ReceiverReport = serde_json::from_str(&told).context("the receivers failed")?;
    ensure!(
        received.frames == job.frames * job.receivers,
        "bare quinn lost frames: {received:?}"
    );
    let frames = received.frames as f64;
    Ok(Sent {
        per_cpu_second: frames / sent.cpu_seconds.max(0.01),
        per_second: frames / sent.seconds,
        p50: Duration::from_micros(received.p50_us),
    })
}

fn receiver(number: usize) -> String {
    format!("r{number}.example")
}

impl Setup {
    fn read(file: &Path) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    }

    fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        let read = |kind: &str| std::fs::read(self.directory.join(format!("{name}.{kind}")));
        Ok(Identity::from_pem(&read("pem")?, &read("key")?)?)
    }

    fn roots(&self) -> anyhow::Result<Roots> {
        let root = tls::certificates_from_pem(&std::fs::read(self.directory.join("ca.pem"))?)?;
        let names = (0..self.job.receivers).map(receiver).chain([SENDER.to_owned()]);
        let roots = names.map(|name| Ok((name.parse()?, root.clone())));
        Ok(Roots::new(roots.collect::<anyhow::Result<BTreeMap<Provider, _>>>()?)?)
    }
}

/// The receivers, in this process.
///
/// # Errors
/// A connection breaks.
pub(crate) async fn receive(setup: &Path) -> anyhow::Result<()> {
    let setup = Setup::read(setup)?;
    let roots = setup.roots()?;
    let mut receiving = JoinSet::new();
    for (number, address) in setup.addresses.iter().enumerate() {
        let tls = tls::server_config(&setup.identity(&receiver(number))?, &roots, ALPN);
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport()?));
        let endpoint = endpoint(*address, Some(config))?;
        let octets = setup.job.octets;
        receiving.spawn(async move {
            let connection = endpoint.accept().await.context("nobody connects")?.await?;
            let mut stream = connection.accept_uni().await?;
            let (mut frames, mut times, mut frame) = (0, Histogram::new(3)?, vec![0; octets]);
            loop {
                match stream.read_exact(&mut frame).await {
                    Ok(()) => {}
                    Err(quinn::ReadExactError::FinishedEarly(0)) => break,
                    Err(error) => return Err(error.into()),
                }
                frames += 1;
                let due = u64::from_be_bytes(frame[..STAMP].try_into()?);
                times.record(now_ns().saturating_sub(due) / 1_000)?;
            }
            // Tells the sender that everything was read, not only acknowledged.
            connection.close(VarInt::from_u32(0), b"");
            endpoint.wait_idle().await;
            anyhow::Ok((frames, times))
        });
    }
    println!("ready");
    let (mut frames, mut times) = (0, Histogram::<u64>::new(3)?);
    while let Some(received) = receiving.join_next().await {
        let (more, of_one) = received??;
        frames += more;
        times.add(of_one)?;
    }
    let p50_us = times.value_at_quantile(0.5);
    println!("{}", serde_json::to_string(&ReceiverReport { frames, p50_us })?);
    Ok(())
}

/// The sender, in this process.
///
/// # Errors
/// A connection breaks.
pub(crate) async fn send(setup: &Path) -> anyhow::Result<()> {
    let setup = Setup::read(setup)?;
    let (identity, roots) = (setup.identity(SENDER)?, setup.roots()?);
    let endpoint = endpoint(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)?;
    let mut streams = Vec::new();
    for (number, address) in setup.addresses.iter().enumerate() {
        let name = receiver(number);
        let tls = tls::client_config(&identity, &roots, &name.parse()?, ALPN);
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport()?));
        let connection = endpoint.connect_with(config, *address, &name)?.await?;
        streams.push((connection.open_uni().await?, connection));
    }
    let cpu = || usage(std::process::id()).context("this system does not tell what a process used");
    let (before, began) = (cpu()?, Instant::now());
    let mut sending = JoinSet::new();
    match setup.job.rate {
        None => {
            for (stream, connection) in streams {
                sending.spawn(flood(stream, connection, setup.job.clone()));
            }
        }
        Some(rate) => {
            let (queues, writers): (Vec<_>, Vec<_>) = streams
                .into_iter()
                .map(|(stream, connection)| {
                    let (queue, frames) = mpsc::channel(4 * FRAMES_AT_A_TIME);
                    (queue, write(stream, connection, frames))
                })
                .unzip();
            writers.into_iter().for_each(|writer| drop(sending.spawn(writer)));
            let job = setup.job.clone();
            std::thread::spawn(move || pace(&job, rate, &queues));
        }
    }
    while let Some(ended) = sending.join_next().await {
        ended??;
    }
    let report = SenderReport {
        cpu_seconds: cpu()?.cpu.saturating_sub(before.cpu).as_secs_f64(),
        seconds: began.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Gives every receiver each frame when it is due, the same octets to all.
fn pace(job: &Job, rate: f64, queues: &[mpsc::Sender<Bytes>]) {
    let (began, began_ns) = (Instant::now(), now_ns());
    for number in 0..job.frames {
        let due = Duration::from_secs_f64(number as f64 / rate);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let frame = job.frame(began_ns + u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
        for queue in queues {
            // Whose stream broke is told by its writer.
            let _ = queue.blocking_send(frame.clone());
        }
    }
}

async fn write(
    mut stream: quinn::SendStream,
    connection: quinn::Connection,
    mut queue: mpsc::Receiver<Bytes>,
) -> anyhow::Result<()> {
    let mut frames = Vec::with_capacity(FRAMES_AT_A_TIME);
    while queue.recv_many(&mut frames, FRAMES_AT_A_TIME).await > 0 {
        stream.write_all_chunks(&mut frames).await?;
        frames.clear();
    }
    end(stream, &connection).await
}

/// Sends every frame as soon as it goes, none of them made anew.
async fn flood(mut stream: quinn::SendStream, connection: quinn::Connection, job: Job) -> anyhow::Result<()> {
    let frame = job.frame(now_ns());
    let mut left = job.frames;
    while left > 0 {
        let some = left.min(FRAMES_AT_A_TIME);
        let mut frames = vec![frame.clone(); some];
        stream.write_all_chunks(&mut frames).await?;
        left -= some;
    }
    end(stream, &connection).await
}

/// Waits until the receiver has read everything.
async fn end(mut stream: quinn::SendStream, connection: &quinn::Connection) -> anyhow::Result<()> {
    stream.finish()?;
    connection.closed().await;
    Ok(())
}

impl Job {
    fn frame(&self, due_ns: u64) -> Bytes {
        let mut frame = BytesMut::zeroed(self.octets);
        (&mut frame[..STAMP]).put_u64(due_ns);
        frame.freeze()
    }
}

fn endpoint(address: SocketAddr, config: Option<quinn::ServerConfig>) -> anyhow::Result<quinn::Endpoint> {
    let buffers = Limits::default().socket_buffer_bytes;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(buffers)?;
    socket.set_send_buffer_size(buffers)?;
    socket.bind(&address.into())?;
    let (socket, runtime) = (UdpSocket::from(socket), Arc::new(quinn::TokioRuntime));
    let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), config, socket, runtime);
    endpoint.with_context(|| format!("bind UDP {address}"))
}

/// As the link's.
fn transport() -> anyhow::Result<TransportConfig> {
    let limits = Limits::default();
    let window = limits.window_bytes;
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(limits.mtu_max);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window.saturating_mul(8)))
        .send_window(u64::from(window))
        .mtu_discovery_config(Some(mtu))
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(Some(limits.idle_timeout.try_into()?));
    Ok(config)
}
