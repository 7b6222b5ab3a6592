//! A follower of one hub, written from docs/link.md and proto/link.proto alone. It stores the entries of its users' rooms
//! and prints them. README.md walks through it.

mod calls;
mod credit;
mod directory;
mod fanout;
mod frame;
mod inbox;
mod link;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use clap::Parser;

use crate::directory::Directory;
use crate::frame::Code;
use crate::inbox::Inbox;
use crate::link::Follower;

/// Follows one hub: stores the entries that it brings, prints each, and serves until it is interrupted.
#[derive(Parser)]
struct Options {
    /// Our domain, which our certificate names.
    #[arg(long)]
    domain: String,
    /// Where the hub connects: HTTPS over TCP, the link over UDP.
    #[arg(long)]
    listen: SocketAddr,
    /// Our certificate, then those that lead to the hub's root for us (PEM).
    #[arg(long)]
    chain: PathBuf,
    /// The key of our certificate (PEM).
    #[arg(long)]
    key: PathBuf,
    /// The hub's domain.
    #[arg(long)]
    hub: String,
    /// What the hub's certificate must be signed under (PEM).
    #[arg(long)]
    hub_roots: PathBuf,
    /// Directory of the inbox, and of `key-material/`; made if need be.
    #[arg(long)]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let key_material = options.data.join("key-material");
    std::fs::create_dir_all(&key_material).with_context(|| format!("make {}", key_material.display()))?;
    let inbox = Inbox::open(&options.data.join("inbox"), &options.hub, fanout::show)?;

    let tls = |alpn| tls::server_config(&options.chain, &options.key, &options.hub_roots, alpn);
    let listener = tokio::net::TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("bind TCP {}", options.listen))?;
    let endpoint = quinn::Endpoint::server(link::quic_config(tls(link::ALPN)?)?, options.listen);
    let endpoint = endpoint.with_context(|| format!("bind UDP {}", options.listen))?;

    let directory = Directory {
        hub: options.hub.clone(),
        link: format!("{}:{}", options.domain, options.listen.port()),
    };
    tokio::spawn(directory::serve(directory, listener, tls(b"http/1.1")?));
    let follower = Arc::new(Follower {
        hub: options.hub,
        inbox: Arc::new(Mutex::new(inbox)),
        key_material,
    });
    tokio::spawn(follower.serve(endpoint.clone()));
    eprintln!("serving {} at {}", options.domain, options.listen);

    tokio::signal::ctrl_c().await?;
    // What was not acknowledged comes again: to leave it lying loses nothing.
    endpoint.close(Code::Draining.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}
