//! The fan-out plane: threads with a runtime of one thread each, on which couriers and the links of their followers run. A
//! follower has one of them, so that nothing between its courier and its socket changes threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use fanout::Plane;
use link::{Code, Endpoint, Identity, Limits, Roots};
use mimi::Provider;
use peer::Way;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads. Dropping it ends them and whatever runs there.
#[derive(Debug)]
pub struct Threads {
    plane: Plane,
    stop: CancellationToken,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    /// Starts as many as `count` says, at least one.
    ///
    /// # Errors
    /// A thread or its runtime cannot be made.
    pub fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let stopped = stop.clone().cancelled_owned();
            let thread = thread::Builder::new().name(format!("fan-out-{number}"));
            threads.push(thread.spawn(move || runtime.block_on(stopped))?);
        }
        Ok(Self {
            plane: handles.into(),
            stop,
            threads,
        })
    }

    /// Where each follower's courier runs.
    pub fn plane(&self) -> Plane {
        self.plane.clone()
    }

    /// Binds a socket for the links of each thread's followers: at `address`, and those behind the first at the ports
    /// above, unless the port is 0.
    ///
    /// # Errors
    /// An address is taken.
    pub fn bind(&self, address: SocketAddr, identity: &Identity, roots: &Roots, limits: &Limits) -> io::Result<Links> {
        let bind = |(number, runtime): (u16, &Handle)| {
            let port = match address.port() {
                0 => 0,
                first => first.checked_add(number).ok_or(io::ErrorKind::AddrNotAvailable)?,
            };
            let _there = runtime.enter();
            let address = SocketAddr::new(address.ip(), port);
            Endpoint::bind(address, identity.clone(), roots.clone(), limits.clone())
        };
        let endpoints = (0..).zip(self.plane.all()).map(bind).collect::<io::Result<Vec<_>>>()?;
        Ok(Links {
            plane: self.plane(),
            endpoints: endpoints.into(),
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the fan-out plane panicked");
            }
        }
    }
}

/// The sockets of the plane. Clones share them.
#[derive(Debug, Clone)]
pub struct Links {
    plane: Plane,
    endpoints: Arc<[Endpoint]>,
}

impl Links {
    /// How a follower is dialled: from the socket of its thread, and there.
    pub fn way(&self, to: &Provider) -> Way {
        Way {
            endpoint: self.endpoints[self.plane.number(to)].clone(),
            runtime: self.plane.of(to).clone(),
        }
    }

    /// Closes every link with `code`, and waits until the other ends have been told.
    pub async fn close(&self, code: Code) {
        futures::future::join_all(self.endpoints.iter().map(|endpoint| endpoint.close(code))).await;
    }
}
