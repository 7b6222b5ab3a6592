//! The hub's side of the wire, with and without manners.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use prost::Message;
use proto::link::{
    Answer, Call, CallStream, Deliver, FanoutStream, FollowerFrame, HubFrame, Item, Position, Resume, StreamHeader,
    Want, follower_frame, hub_frame, stream_header,
};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;

/// The ALPN protocol name of the link.
const ALPN: &[u8] = b"nave-link/1";
/// Octets of the largest Deliver frame.
pub(crate) const DELIVER_BYTES_MAX: u64 = (16 << 20) + (64 << 10);
/// Octets of the largest FanoutMessage.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 9 << 20;
/// Octets of the largest frame of a follower.
const FOLLOWER_BYTES_MAX: usize = 512 << 10;
/// Whatever a follower has to do, it has done by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A follower that was started accepts links by then.
const START: Duration = Duration::from_secs(60);

/// As whom the suite speaks, and to whom.
#[derive(Debug)]
pub struct Hub {
    /// The domain that its certificate names; the rooms are of it.
    pub domain: String,
    /// The follower's domain, which the follower's certificate names.
    pub follower: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// What a caller shows of itself.
pub(crate) enum Showing {
    /// The hub's certificate.
    Hub,
    /// A certificate for the hub's domain that somebody else signed.
    Stranger,
    /// None.
    Nothing,
}

impl Hub {
    /// A hub with this certificate and key, which the follower knows; `roots` signed the follower's. PEM.
    ///
    /// # Errors
    /// A file cannot be read or is not PEM.
    pub fn from_files(domain: &str, follower: &str, chain: &Path, key: &Path, roots: &Path) -> anyhow::Result<Self> {
        let certificates = |path: &Path| -> anyhow::Result<Vec<_>> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.with_context(|| format!("read {}", path.display()))
        };
        let mut store = RootCertStore::empty();
        for root in certificates(roots)? {
            store.add(root)?;
        }
        Ok(Self {
            domain: domain.to_owned(),
            follower: follower.to_owned(),
            chain: certificates(chain)?,
            key: PrivateKeyDer::from_pem_file(key).with_context(|| format!("read {}", key.display()))?,
            roots: Arc::new(store),
        })
    }

    /// Waits until a follower that was just started lets this hub in.
    ///
    /// # Errors
    /// It does not.
    pub async fn reaches(&self, address: SocketAddr) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            match self.dial(address).await {
                Ok(link) => {
                    link.close();
                    return Ok(());
                }
                Err(error) if began.elapsed() > START => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Dials as a hub does.
    pub(crate) async fn dial(&self, address: SocketAddr) -> anyhow::Result<Link> {
        self.dial_as(address, &Showing::Hub, ALPN).await?.context("refused")
    }

    /// Dials as somebody, with some ALPN protocol: `Err` when nobody is there, `Ok(Err)` when the connection is refused,
    /// at once or as soon as the follower has seen the certificate.
    pub(crate) async fn dial_as(
        &self,
        address: SocketAddr,
        showing: &Showing,
        alpn: &[u8],
    ) -> anyhow::Result<Result<Link, quinn::ConnectionError>> {
        let local = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = quinn::Endpoint::client(local)?;
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls(showing, alpn)?)?));
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(0_u32.into())
            .max_concurrent_uni_streams(0_u32.into())
            .keep_alive_interval(Some(Duration::from_secs(5)))
            .max_idle_timeout(Some(Duration::from_secs(20).try_into()?));
        config.transport_config(Arc::new(transport));
        let connecting = endpoint.connect_with(config, address, &self.follower)?;
        let connection = match timeout(PATIENCE, connecting).await.context("no handshake in time")? {
            Err(quinn::ConnectionError::TimedOut) => bail!("nobody answers at {address}"),
            Err(refused) => return Ok(Err(refused)),
            Ok(connection) => connection,
        };
        Ok(Ok(Link {
            connection,
            _endpoint: endpoint,
        }))
    }

    fn tls(&self, showing: &Showing, alpn: &[u8]) -> anyhow::Result<ClientConfig> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots.clone());
        let mut config = match showing {
            Showing::Hub => config.with_client_auth_cert(self.chain.clone(), self.key.clone_key())?,
            Showing::Nothing => config.with_no_client_auth(),
            Showing::Stranger => {
                let made = rcgen::generate_simple_self_signed(vec![self.domain.clone()])?;
                let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|why| anyhow!(why))?;
                config.with_client_auth_cert(vec![made.cert.der().clone()], key)?
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

/// An open connection.
pub(crate) struct Link {
    connection: quinn::Connection,
    /// Its socket.
    _endpoint: quinn::Endpoint,
}

impl Link {
    /// A stream with these octets on it.
    pub(crate) async fn stream(&self, octets: &[u8]) -> anyhow::Result<Stream> {
        let (send, receive) = self.connection.open_bi().await?;
        let mut stream = Stream { send, receive };
        stream.write(octets).await;
        Ok(stream)
    }

    /// A fan-out stream for the shards of `ledger`.
    pub(crate) async fn fanout(&self, ledger: [u8; 16]) -> anyhow::Result<Stream> {
        self.stream(&fanout_header(&ledger)).await
    }

    /// One call and its answer.
    pub(crate) async fn call(&self, call: &Call) -> anyhow::Result<Answer> {
        let header = StreamHeader {
            kind: Some(stream_header::Kind::Call(CallStream {})),
        };
        let mut stream = self.stream(&[frame(&header), frame(call)].concat()).await?;
        stream.finish();
        stream.read().await
    }

    /// Whether the follower ends the connection by itself.
    pub(crate) async fn is_ended(&self) -> Option<quinn::ConnectionError> {
        timeout(PATIENCE, self.connection.closed()).await.ok()
    }

    /// Ends it as a hub that has nothing more to do.
    pub(crate) fn close(&self) {
        self.connection.close(0_u32.into(), b"");
    }
}

/// An open stream.
pub(crate) struct Stream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

/// How a stream or what was sent on it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a code of the follower.
    Code(u64),
    /// Properly.
    Finished,
}

/// Where a follower is with a shard, and how much it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first offset that it lacks; `None`: it knows nothing of the shard.
    pub(crate) position: Option<u64>,
    /// The first credit.
    pub(crate) window: u64,
}

impl Stream {
    /// Sends octets as they are. A follower that has stopped the stream says why in the other direction.
    pub(crate) async fn write(&mut self, octets: &[u8]) {
        let _ = self.send.write_all(octets).await;
    }

    /// Ends our direction.
    pub(crate) fn finish(&mut self) {
        let _ = self.send.finish();
    }

    pub(crate) async fn hub(&mut self, kind: hub_frame::Kind) {
        self.write(&hub_frame(kind)).await;
    }

    /// Asks where the follower is with `shard`, and waits for the Position and the first Credit.
    pub(crate) async fn resume(&mut self, shard: u32) -> anyhow::Result<Place> {
        self.hub(hub_frame::Kind::Resume(Resume { shard })).await;
        // What it says before belongs to an account that has ended.
        let Position { known, next_offset, .. } = loop {
            match self.next().await? {
                follower_frame::Kind::Position(position) if position.shard == shard => break position,
                follower_frame::Kind::Position(other) => bail!("nobody asked for {other:?}"),
                follower_frame::Kind::Credit(_) | follower_frame::Kind::Acknowledge(_) => {}
            }
        };
        let window = loop {
            match self.next().await? {
                follower_frame::Kind::Credit(credit) if credit.shard == shard => break credit.bytes_total,
                follower_frame::Kind::Acknowledge(acknowledge) if acknowledge.shard == shard => {
                    bail!("a Credit was to come, and not {acknowledge:?}")
                }
                follower_frame::Kind::Position(other) => bail!("nobody asked for {other:?}"),
                follower_frame::Kind::Credit(_) | follower_frame::Kind::Acknowledge(_) => {}
            }
        };
        anyhow::ensure!(window > 0, "the first Credit gives nothing");
        Ok(Place {
            position: known.then_some(next_offset),
            window,
        })
    }

    /// Sends one Deliver, whatever the credit is; gives the octets that it takes of it.
    pub(crate) async fn deliver(&mut self, shard: u32, items: &[Item]) -> u64 {
        let frame = deliver(shard, items);
        self.write(&frame).await;
        frame.len() as u64 - 4
    }

    pub(crate) async fn want(&mut self, shard: u32, bytes_total: u64) {
        self.hub(hub_frame::Kind::Want(Want { shard, bytes_total })).await;
    }

    /// The next frame of the follower.
    pub(crate) async fn next(&mut self) -> anyhow::Result<follower_frame::Kind> {
        let frame: FollowerFrame = self.read().await?;
        frame.kind.context("a frame of no known kind")
    }

    /// Reads frames until what was sent up to `last` is acknowledged. Gives the highest credit and the refusals heard on
    /// the way.
    pub(crate) async fn acknowledged(&mut self, shard: u32, last: u64) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        while heard.next_offset <= last {
            self.hear(shard, &mut heard).await?;
        }
        anyhow::ensure!(
            heard.next_offset == last + 1,
            "{} was acknowledged of {last}",
            heard.next_offset
        );
        Ok(heard)
    }

    /// Takes one frame about `shard` into account.
    pub(crate) async fn hear(&mut self, shard: u32, heard: &mut Heard) -> anyhow::Result<()> {
        match self.next().await? {
            follower_frame::Kind::Acknowledge(acknowledge) if acknowledge.shard == shard => {
                heard.next_offset = heard.next_offset.max(acknowledge.next_offset);
                let refused = acknowledge.refused.into_iter();
                heard.refused.extend(refused.map(|item| (item.offset, item.status)));
            }
            follower_frame::Kind::Credit(credit) if credit.shard == shard => {
                anyhow::ensure!(credit.bytes_total >= heard.credit, "credit was taken back");
                heard.credit = credit.bytes_total;
            }
            other => bail!("not about shard {shard}: {other:?}"),
        }
        Ok(())
    }

    /// How the follower ends the stream, whatever it says before.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Ended> {
        let read = timeout(PATIENCE, self.receive.read_to_end(16 << 20)).await;
        match read.context("the stream was not ended")? {
            Ok(_) => Ok(Ended::Finished),
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Ok(Ended::Code(code.into_inner())),
            Err(error) => Err(error.into()),
        }
    }

    async fn read<M: Message + Default>(&mut self) -> anyhow::Result<M> {
        let reading = async {
            let mut length = [0; 4];
            self.receive.read_exact(&mut length).await?;
            let length = usize::try_from(u32::from_be_bytes(length))?;
            anyhow::ensure!(length <= FOLLOWER_BYTES_MAX, "a frame of {length} octets");
            let mut octets = vec![0; length];
            self.receive.read_exact(&mut octets).await?;
            Ok(M::decode(&octets[..])?)
        };
        timeout(PATIENCE, reading).await.context("no frame in time")?
    }
}

/// What a follower said about one shard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) next_offset: u64,
    pub(crate) credit: u64,
    /// Offset and status of each.
    pub(crate) refused: Vec<(u64, u32)>,
}

impl Heard {
    /// Nothing yet, but the first credit.
    pub(crate) fn within(window: u64) -> Self {
        Self {
            credit: window,
            ..Self::default()
        }
    }
}

/// A frame, with its length before it.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    announced(&message.encode_to_vec())
}

/// `octets` with their length before them.
pub(crate) fn announced(octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).expect("no case sends 4 GiB");
    [&length.to_be_bytes()[..], octets].concat()
}

pub(crate) fn hub_frame(kind: hub_frame::Kind) -> Vec<u8> {
    frame(&HubFrame { kind: Some(kind) })
}

pub(crate) fn deliver(shard: u32, items: &[Item]) -> Vec<u8> {
    hub_frame(hub_frame::Kind::Deliver(Deliver {
        shard,
        items: items.to_vec(),
        traceparent: String::new(),
    }))
}

pub(crate) fn fanout_header(ledger: &[u8]) -> Vec<u8> {
    let fanout = FanoutStream {
        ledger: Bytes::copy_from_slice(ledger),
    };
    frame(&StreamHeader {
        kind: Some(stream_header::Kind::Fanout(fanout)),
    })
}
