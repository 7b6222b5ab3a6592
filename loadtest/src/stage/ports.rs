//! Loopback ports for what is configured now and started later.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

/// Below the ports that systems give to outgoing connections, so that none of these takes one meanwhile.
const FIRST: u16 = 10_240;
const COUNT: u16 = 20_000;

/// From one process to the next: several that run at a time have many ports each, and a port is free until its server has
/// started.
const STRIDE: u32 = 1_009;

/// Apart from where other programs of the project look that are started with neighbouring ids.
const APART: u32 = 10_007;

/// A port that nobody has, for TCP and UDP alike. A process gives each of them once, and another process begins elsewhere.
///
/// # Errors
/// There is none.
pub(crate) fn free() -> anyhow::Result<SocketAddr> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let found = (0..COUNT).find_map(|_| {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let from = std::process::id().wrapping_mul(STRIDE).wrapping_add(APART);
        let at = from.wrapping_add(given) % u32::from(COUNT);
        let port = FIRST + u16::try_from(at).ok()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()).then_some(address)
    });
    found.context("no free ports on the loopback interface")
}
