//! One user's view of the provider API: gRPC over TLS with the provider's certificate checked and a bearer token on every
//! call. Bodies pass through unread; a refusal by HTTP status becomes an error, a refusal inside a body does not.

mod assets;
mod contacts;
mod moderation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use mimi::{ClientUri, RoomUri, UserUri};
use proto::follower::{Event, EventAck, EventsRequest, Open, PseudonymousKeyPackage, UploadResponse, events_request};
use proto::provider::assets_client::AssetsClient;
use proto::provider::contacts_client::ContactsClient;
use proto::provider::moderation_client::ModerationClient;
use proto::provider::provider_client::ProviderClient;
use proto::provider::{
    Answer, CreateRoomRequest, FollowCall, RegisterPseudonymRequest, RoomCall, UploadKeyPackagesRequest, WhoAmIRequest,
    WhoAmIResponse,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub use contacts::Consent;

/// Octets of the largest message accepted: a Welcome of a large room carries its whole tree.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Acknowledgements that may wait to be sent on one event stream.
const ACKS_MAX: usize = 64;
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why a call to the provider API brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// What this client was configured with is unusable.
    #[error("this client's configuration: {0}")]
    Configuration(String),
    /// No answer came; whether the call had an effect is unknown.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    /// The provider asks to be called later (HTTP 429 or 503).
    #[error("the provider is overloaded")]
    Overloaded {
        /// For how long to wait, when the provider said so.
        retry_after: Option<Duration>,
    },
    /// The token is not accepted, or not for this.
    #[error("the provider denies this user: {0}")]
    Denied(String),
    /// The provider or the room's hub refuses, with an HTTP status.
    #[error("refused with status {status}: {reason}")]
    Refused {
        /// HTTP status.
        status: u32,
        /// What the refuser said.
        reason: String,
    },
}

impl ApiError {
    /// Whether the same call may succeed later. Repeating it has no second effect: the requests are idempotent.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Overloaded { .. })
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied(message),
            Code::ResourceExhausted => Self::Overloaded { retry_after: None },
            Code::InvalidArgument | Code::FailedPrecondition => Self::Refused {
                status: 400,
                reason: message,
            },
            Code::NotFound => Self::Refused {
                status: 404,
                reason: message,
            },
            code => Self::Unreachable(format!("{code:?}: {message}")),
        }
    }
}

/// Where a provider API listens and how its certificate is checked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// The name its certificate must hold.
    pub server_name: String,
    /// Certificates, PEM, one of which must have issued it.
    pub roots_pem: Vec<u8>,
}

impl Target {
    fn tls(&self) -> Result<(TlsConnector, ServerName<'static>), ApiError> {
        let configuration = |why: String| ApiError::Configuration(why);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.roots_pem) {
            let certificate = certificate.map_err(|error| configuration(format!("the root certificates: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| configuration(format!("the root certificates: {error}")))?;
        }
        if roots.is_empty() {
            return Err(configuration("no root certificate".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| configuration(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(self.server_name.clone())
            .map_err(|_| configuration(format!("`{}` is no server name", self.server_name)))?;
        Ok((TlsConnector::from(Arc::new(tls)), name))
    }

    fn channel(&self) -> Result<Channel, ApiError> {
        let (connector, name) = self.tls()?;
        let address = self.address;
        let dial = tower::service_fn(move |_| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
            }
        });
        // `http` because TLS is below: tonic itself has none.
        let endpoint = Endpoint::from_shared(format!("http://{}:{}", self.server_name, address.port()))
            .map_err(|error| ApiError::Configuration(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE);
        Ok(endpoint.connect_with_connector_lazy(dial))
    }
}

#[derive(Debug, Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// One user at its provider. Clones share one connection, which is made when first used and again after it broke.
#[derive(Debug, Clone)]
pub struct Api {
    client: ProviderClient<Authorized>,
    contacts: ContactsClient<Authorized>,
    moderation: ModerationClient<Authorized>,
    assets: AssetsClient<Authorized>,
}

type Authorized = InterceptedService<Channel, Bearer>;

impl Api {
    /// The API at `target` for the user whose `token` this is. Connects with the first call.
    pub fn new(target: &Target, token: &str) -> Result<Self, ApiError> {
        Self::over(target.channel()?, token)
    }

    /// The same over a channel that exists already.
    pub fn over(channel: Channel, token: &str) -> Result<Self, ApiError> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| ApiError::Configuration("the token holds characters that a header cannot".to_owned()))?;
        bearer.set_sensitive(true);
        let channel = InterceptedService::new(channel, Bearer(bearer));
        Ok(Self {
            client: ProviderClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            contacts: ContactsClient::new(channel.clone()),
            moderation: ModerationClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            assets: AssetsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }

    /// Whom the token names, and what this provider's hub signs with.
    pub async fn who_am_i(&self) -> Result<WhoAmIResponse, ApiError> {
        Ok(self.client.clone().who_am_i(WhoAmIRequest {}).await?.into_inner())
    }

    /// Stores KeyPackages that others may claim to add `client`.
    pub async fn upload_key_packages(
        &self,
        client: &ClientUri,
        key_packages: Vec<Bytes>,
    ) -> Result<UploadResponse, ApiError> {
        let request = UploadKeyPackagesRequest {
            client: client.to_string(),
            key_packages,
            pseudonymous: Vec::new(),
        };
        Ok(self.client.clone().upload_key_packages(request).await?.into_inner())
    }

    /// Stores KeyPackages of clients of the user under one pseudonym, a set that is claimed whole.
    pub async fn upload_key_package_set(
        &self,
        client: &ClientUri,
        set: Vec<(ClientUri, Bytes)>,
    ) -> Result<UploadResponse, ApiError> {
        let member = |(client, key_package): (ClientUri, Bytes)| PseudonymousKeyPackage {
            client: client.to_string(),
            key_package,
        };
        let request = UploadKeyPackagesRequest {
            client: client.to_string(),
            key_packages: Vec::new(),
            pseudonymous: set.into_iter().map(member).collect(),
        };
        Ok(self.client.clone().upload_key_packages(request).await?.into_inner())
    }

    /// Makes it a pseudonym of the user.
    pub async fn register_pseudonym(&self, client: &ClientUri, pseudonym: &UserUri) -> Result<(), ApiError> {
        let request = RegisterPseudonymRequest {
            client: client.to_string(),
            pseudonym: pseudonym.to_string(),
        };
        self.client.clone().register_pseudonym(request).await?;
        Ok(())
    }

    /// Founds a room whose hub this provider is.
    pub async fn create_room(
        &self,
        client: &ClientUri,
        room: &RoomUri,
        group_info: Bytes,
        ratchet_tree: Bytes,
    ) -> Result<Bytes, ApiError> {
        let request = CreateRoomRequest {
            client: client.to_string(),
            room: room.to_string(),
            group_info,
            ratchet_tree,
        };
        outcome(self.client.clone().create_room(request).await?.into_inner())
    }

    /// KeyMaterialRequest to KeyMaterialResponse (mimi-protocol §5.2).
    pub async fn key_material(&self, client: &ClientUri, room: &RoomUri, body: Bytes) -> Result<Bytes, ApiError> {
        let call = room_call(client, room, body);
        outcome(self.client.clone().key_material(call).await?.into_inner())
    }

    /// UpdateRequest to UpdateRoomResponse (§5.3).
    pub async fn update(&self, client: &ClientUri, room: &RoomUri, body: Bytes) -> Result<Bytes, ApiError> {
        let call = room_call(client, room, body);
        outcome(self.client.clone().update(call).await?.into_inner())
    }

    /// SubmitMessageRequest to SubmitMessageResponse (§5.4).
    pub async fn submit(&self, client: &ClientUri, room: &RoomUri, body: Bytes) -> Result<Bytes, ApiError> {
        let call = room_call(client, room, body);
        outcome(self.client.clone().submit(call).await?.into_inner())
    }

    /// GroupInfoRequest to GroupInfoResponse (§5.6).
    pub async fn group_info(&self, client: &ClientUri, room: &RoomUri, body: Bytes) -> Result<Bytes, ApiError> {
        let call = room_call(client, room, body);
        outcome(self.client.clone().group_info(call).await?.into_inner())
    }

    /// From now on `client` is shown the room's entries.
    pub async fn follow(&self, client: &ClientUri, room: &RoomUri) -> Result<(), ApiError> {
        self.client.clone().follow(follow_call(client, room)).await?;
        Ok(())
    }

    /// From now on it is not.
    pub async fn unfollow(&self, client: &ClientUri, room: &RoomUri) -> Result<(), ApiError> {
        self.client.clone().unfollow(follow_call(client, room)).await?;
        Ok(())
    }

    /// Everything due to `client`, from its last acknowledgement on, room by room in order.
    pub async fn events(
        &self,
        client: &ClientUri,
    ) -> Result<(Acks, impl Stream<Item = Result<Event, ApiError>> + Send + Unpin + use<>), ApiError> {
        let (requests, queue) = mpsc::channel(ACKS_MAX);
        let open = EventsRequest {
            kind: Some(events_request::Kind::Open(Open {
                client: client.to_string(),
            })),
        };
        requests.try_send(open).expect("a new queue has room for one");
        let stream = self
            .client
            .clone()
            .events(ReceiverStream::new(queue))
            .await?
            .into_inner();
        Ok((Acks(requests), stream.map(|event| event.map_err(ApiError::from))))
    }
}

/// The way back of one event stream.
#[derive(Debug, Clone)]
pub struct Acks(mpsc::Sender<EventsRequest>);

impl Acks {
    /// Everything of `room` up to and including `position` is stored here. A lost acknowledgement means a repeat.
    pub async fn ack(&self, room: &str, position: u64) {
        let ack = EventsRequest {
            kind: Some(events_request::Kind::Ack(EventAck {
                room: room.to_owned(),
                position,
            })),
        };
        // The stream ended: its successor repeats what was not acknowledged.
        let _ = self.0.send(ack).await;
    }
}

fn room_call(client: &ClientUri, room: &RoomUri, body: Bytes) -> RoomCall {
    RoomCall {
        client: client.to_string(),
        room: room.to_string(),
        body,
    }
}

fn follow_call(client: &ClientUri, room: &RoomUri) -> FollowCall {
    FollowCall {
        client: client.to_string(),
        room: room.to_string(),
    }
}

fn outcome(answer: Answer) -> Result<Bytes, ApiError> {
    match answer.status {
        200..=299 => Ok(answer.body),
        429 | 503 => Err(ApiError::Overloaded {
            retry_after: (answer.retry_after_ms > 0).then(|| Duration::from_millis(answer.retry_after_ms)),
        }),
        502 | 504 => Err(ApiError::Unreachable(answer.reason)),
        status => Err(ApiError::Refused {
            status,
            reason: answer.reason,
        }),
    }
}
