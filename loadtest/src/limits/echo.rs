//! A bare echo: HTTP over mutual TLS with the libraries and settings of the edge, that reads what it is sent, answers with as
//! many octets as an acceptance has, and does nothing else. A process of its own, so that its CPU time is known.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use link::{Identity, Roots, tls};
use mimi::Provider;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Killed;
use crate::measure;
use crate::stage::free;

/// Who the echo is.
pub(crate) const ECHO: &str = "echo.example";

/// Octets of an answer: about those of a SubmitMessageResponse.
const ANSWER: [u8; 128] = [0x5a; 128];

/// What its process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Setup {
    address: SocketAddr,
    /// Its certificate and key, PEM.
    chain: PathBuf,
    key: PathBuf,
    /// The root of whoever calls, PEM.
    roots: PathBuf,
    /// Who calls.
    caller: String,
}

/// An echo's process. It ends when this is dropped.
pub(crate) struct Echo {
    process: Killed,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Echo {
    /// Starts one for `caller`: this very program once more. In `directory` there are its certificate and key, named after
    /// [`ECHO`], and the root of the caller's.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(directory: &Path, roots: &Path, caller: &Provider) -> anyhow::Result<Self> {
        let file = |kind: &str| directory.join(format!("{ECHO}.{kind}"));
        let setup = Setup {
            address: free()?,
            chain: file("pem"),
            key: file("key"),
            roots: roots.to_owned(),
            caller: caller.to_string(),
        };
        std::fs::write(file("json"), serde_json::to_vec(&setup)?)?;
        let child = Command::new(std::env::current_exe().context("find this program")?)
            .arg("bare-echo")
            .arg(file("json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a bare echo")?;
        let mut process = Killed(child);
        let mut line = String::new();
        let said = process.0.stdout.take().context("the echo's pipe")?;
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the bare echo does not start");
        Ok(Self {
            process,
            address: setup.address,
        })
    }

    /// What its process worked until now.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let usage = measure::usage(self.process.0.id());
        Ok(usage.context("this system does not tell what a process used")?.cpu)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }
}

/// An echo, in this process, until its standard input ends.
///
/// # Errors
/// The setup cannot be used, or the address is taken.
pub(crate) async fn serve(setup: &Path) -> anyhow::Result<()> {
    let setup: Setup = serde_json::from_slice(&std::fs::read(setup)?)?;
    let identity = Identity::from_pem(&std::fs::read(&setup.chain)?, &std::fs::read(&setup.key)?)?;
    let root = tls::certificates_from_pem(&std::fs::read(&setup.roots)?)?;
    let roots = Roots::new([(setup.caller.parse::<Provider>()?, root)].into())?;
    let tls = TlsAcceptor::from(tls::server_config(&identity, &roots, &[b"h2", b"http/1.1"]));
    let listener = TcpListener::bind(setup.address).await?;
    println!("ready");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let stream = TokioIo::new(tls.accept(stream).await?);
                let served = Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service_fn(answer))
                    .await;
                served.map_err(std::io::Error::other)
            });
        }
    });
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_to_end(&mut Vec::new()));
    ended.await?.map(drop).context("standard input")
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    Ok(Response::new(Full::new(Bytes::from_static(&ANSWER))))
}
