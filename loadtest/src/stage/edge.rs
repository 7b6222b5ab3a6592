//! The outer tier before a stage's hub, as a process of its own, and who calls it: a follower, with its own certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use link::{Identity, Roots, tls};
use mimi::Provider;

use super::{Ground, HUB, Process, Stage, files};
use crate::https::Way;
use crate::limits::echo::{ECHO, Echo};
use crate::measure::{self, Usage};

/// An edge's process.
pub(crate) struct Edge {
    process: Process,
    /// Where other providers connect.
    address: SocketAddr,
}

impl Edge {
    /// What it has used.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        measure::usage(self.process.id()).context("this system does not tell what a process used")
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Stage {
    /// Starts an edge before the hub.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start_edge(&self, ground: &Ground) -> anyhow::Result<Edge> {
        let files = files::edge_tier(self.directory(), self.hub_address, &self.senders, &self.peers)?;
        let program = ground.programs.path("nave-edge");
        let process = Process::start("nave-edge", &program, &[], &files.file, files.admin).await?;
        Ok(Edge {
            process,
            address: files.listen,
        })
    }

    /// Starts a bare echo that the first follower may call.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start_echo(&self) -> anyhow::Result<Echo> {
        files::certificate(self.directory(), ECHO)?;
        Echo::start(self.directory(), &self.directory().join("ca/ca.pem"), self.caller()?)
    }

    /// The ways of the first follower to an edge and to a bare echo.
    ///
    /// # Errors
    /// Its certificate cannot be read.
    pub(crate) fn ways(&self, edge: &Edge, echo: &Echo) -> anyhow::Result<[Arc<Way>; 2]> {
        let root = self.directory();
        let read = |name: &str| std::fs::read(root.join(name)).with_context(|| name.to_owned());
        let identity = Identity::from_pem(&read("f0.pem")?, &read("f0.key")?)?;
        let certificates = tls::certificates_from_pem(&read("ca/ca.pem")?)?;
        let names: [Provider; 2] = [HUB.parse()?, ECHO.parse()?];
        let roots = Roots::new(names.iter().map(|name| (name.clone(), certificates.clone())).collect())?;
        let us = self.caller()?;
        let way = |to: &Provider, address| Way::new(to, address, us, &identity, &roots).map(Arc::new);
        Ok([way(&names[0], edge.address)?, way(&names[1], echo.address)?])
    }

    fn caller(&self) -> anyhow::Result<&Provider> {
        self.followers.first().context("nobody follows")
    }
}
