//! One UDP socket for all links of a process, dialled or accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mimi::Provider;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, MtuDiscoveryConfig, Runtime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use crate::connection::lost;
use crate::tls::{Identity, Roots, client_config, server_config};
use crate::{ALPN, Code, Connection, Limits, LinkError};

/// Why no link could be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody has roots for this provider.
    #[error("{0} is not among the providers known here")]
    UnknownPeer(Provider),
    /// The address cannot be dialled, or the endpoint is closed.
    #[error("cannot dial: {0}")]
    Dial(String),
    /// The other end did not answer, or one of the two did not like the other's certificate.
    #[error("no link: {0}")]
    Refused(LinkError),
}

/// What the system granted the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketFacts {
    /// Datagrams per system call when sending; 1: no segmentation offload, which costs most of the throughput.
    pub segments: usize,
    /// Octets of the receive buffer.
    pub receive_bytes: usize,
    /// Octets of the send buffer.
    pub send_bytes: usize,
}

/// One UDP socket with our identity and the roots of our peers. Clones share it. It dials; it accepts only while it is
/// [served](crate::serve).
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    identity: Identity,
    roots: Roots,
    limits: Arc<Limits>,
    facts: SocketFacts,
}

impl Endpoint {
    /// Binds a socket, within a tokio runtime, and logs what the system granted it.
    pub fn bind(address: SocketAddr, identity: Identity, roots: Roots, limits: Limits) -> io::Result<Self> {
        let (socket, receive_bytes, send_bytes) = socket(address, limits.socket_buffer_bytes)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket)?;
        let facts = SocketFacts {
            segments: socket.max_transmit_segments(),
            receive_bytes,
            send_bytes,
        };
        report(address, facts, &limits);
        let quinn = quinn::Endpoint::new_with_abstract_socket(quinn::EndpointConfig::default(), None, socket, runtime)?;
        Ok(Self {
            quinn,
            identity,
            roots,
            limits: Arc::new(limits),
            facts,
        })
    }

    /// Dials `peer` at `address`. The certificate there must hold the domain of `peer` and be signed under its roots.
    pub async fn connect(&self, peer: &Provider, address: SocketAddr) -> Result<Connection, ConnectError> {
        if !self.roots.knows(peer) {
            return Err(ConnectError::UnknownPeer(peer.clone()));
        }
        let tls = client_config(&self.identity, &self.roots, peer, &[ALPN]);
        let quic = QuicClientConfig::try_from(tls).expect("TLS 1.3 has the suite that QUIC begins with");
        let mut config = quinn::ClientConfig::new(Arc::new(quic));
        let mtu_max = self.limits.mtu_max_to(peer);
        config.transport_config(Arc::new(transport(&self.limits, mtu_max, 0)));
        let dialled = self.quinn.connect_with(config, address, peer.as_str());
        let connecting = dialled.map_err(|error| ConnectError::Dial(error.to_string()))?;
        match timeout(self.limits.connect_timeout, connecting).await {
            Ok(Ok(connection)) => Ok(Connection::new(peer.clone(), connection, self.limits.clone())),
            Ok(Err(error)) => Err(ConnectError::Refused(lost(error))),
            Err(_) => Err(ConnectError::Refused(LinkError::TimedOut)),
        }
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// What the system granted the socket.
    pub fn facts(&self) -> SocketFacts {
        self.facts
    }

    /// The limits it was bound with.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The roots that decide who is who.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Connections open in either direction.
    pub fn open_connections(&self) -> usize {
        self.quinn.open_connections()
    }

    /// Closes every connection with `code` and waits until the other ends have been told.
    pub async fn close(&self, code: Code) {
        self.quinn.close(code.varint(), b"");
        self.quinn.wait_idle().await;
    }

    pub(crate) fn quinn(&self) -> &quinn::Endpoint {
        &self.quinn
    }

    pub(crate) fn listen(&self, on: bool) {
        let config = on.then(|| {
            let tls = server_config(&self.identity, &self.roots, &[ALPN]);
            let quic = QuicServerConfig::try_from(tls).expect("TLS 1.3 has the suite that QUIC begins with");
            let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
            let Limits {
                mtu_max, streams_max, ..
            } = *self.limits;
            config.transport_config(Arc::new(transport(&self.limits, mtu_max, streams_max)));
            config.max_incoming(self.limits.connections_max);
            config
        });
        self.quinn.set_server_config(config);
    }
}

/// `streams`: how many the other end may open.
fn transport(limits: &Limits, mtu_max: u16, streams: u32) -> TransportConfig {
    let window = VarInt::from_u32(limits.window_bytes);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(mtu_max);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(window)
        .receive_window(VarInt::from_u32(limits.window_bytes.saturating_mul(8)))
        .send_window(u64::from(limits.window_bytes))
        .mtu_discovery_config(Some(mtu))
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(IdleTimeout::try_from(limits.idle_timeout).ok());
    config
}

fn socket(address: SocketAddr, buffer_bytes: usize) -> io::Result<(std::net::UdpSocket, usize, usize)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The system caps what it grants; how much it did is read back.
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    socket.bind(&address.into())?;
    let granted = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    Ok((socket.into(), granted.0, granted.1))
}

fn report(address: SocketAddr, facts: SocketFacts, limits: &Limits) {
    let SocketFacts {
        segments,
        receive_bytes,
        send_bytes,
    } = facts;
    tracing::info!(%address, segments, receive_bytes, send_bytes, "link socket bound");
    if segments == 1 {
        tracing::warn!("no UDP segmentation offload: links will carry a fraction of what they could");
    }
    // Linux counts its own overhead and reports twice what it granted.
    if receive_bytes < limits.socket_buffer_bytes {
        tracing::warn!(
            receive_bytes,
            wanted = limits.socket_buffer_bytes,
            "small UDP receive buffer, packets will be lost under load: raise net.core.rmem_max and wmem_max"
        );
    }
}
