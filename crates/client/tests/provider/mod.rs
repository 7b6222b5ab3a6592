//! A provider with one room: the provider API over TLS in front of a [`Relay`], with inboxes that survive their streams.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use client::api::Target;
use client::mls::CIPHERSUITES;
use futures::{Stream, StreamExt as _};
use mimi::codec::{Decode as _, Encode as _};
use mimi::key_material::{
    ClientKeyMaterial, ClientStatus, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode,
};
use mimi::mls::{Body, GroupInfo, KeyPackage};
use mimi::notify::FanoutMessage;
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::RatchetTreeOption;
use mimi::{ClientUri, Protocol};
use proto::follower::{Done, Event, EventsRequest, UploadResponse, events_request};
use proto::provider::provider_server::{Provider, ProviderServer};
use proto::provider::{
    Answer, CreateRoomRequest, FollowCall, HubSender, RegisterPseudonymRequest, RoomCall, UploadKeyPackagesRequest,
    WhoAmIRequest, WhoAmIResponse,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::relay::Relay;

/// What the provider keeps of one client.
#[derive(Default)]
struct Inbox {
    key_packages: Vec<KeyPackage>,
    /// Where in the room's log the inbox begins, once the client follows the room.
    begins: Option<usize>,
    /// Position up to which the client acknowledged.
    acknowledged: u64,
    opened: usize,
}

struct State {
    relay: Relay,
    inboxes: BTreeMap<String, Inbox>,
    /// Calls that are answered 503 first.
    overloads: u32,
    /// Submits whose answer is lost.
    losses: u32,
}

/// A running provider, and what a test does to it.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    /// How much of the log there is, and how often the streams were cut.
    head: watch::Sender<(usize, usize)>,
    pub target: Target,
}

impl Fake {
    pub async fn start() -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            state: Arc::new(Mutex::new(State {
                relay: Relay::new(),
                inboxes: BTreeMap::new(),
                overloads: 0,
                losses: 0,
            })),
            head: watch::Sender::new((0, 0)),
            target: Target {
                address: listener.local_addr().unwrap(),
                server_name: "a.example".to_owned(),
                roots_pem: key.cert.pem().into_bytes(),
            },
        };
        let chain = vec![key.cert.der().clone()];
        let private = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let mut tls =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, private.into())
                .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let incoming = TcpListenerStream::new(listener).then(move |tcp| {
            let acceptor = acceptor.clone();
            async move { Ok::<_, std::io::Error>(Tls(acceptor.accept(tcp?).await?)) }
        });
        let service = ProviderServer::new(fake.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next calls are answered 503.
    pub fn overload(&self, calls: u32) {
        self.state().overloads = calls;
    }

    /// The answers to the next submits are lost.
    pub fn lose(&self, answers: u32) {
        self.state().losses = answers;
    }

    /// Ends every event stream.
    pub fn cut(&self) {
        self.head.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// How often a client has opened its event stream.
    pub fn opened(&self, client: &str) -> usize {
        self.state().inboxes.get(client).map_or(0, |inbox| inbox.opened)
    }

    /// Waits until a client acknowledged everything.
    pub async fn all_acknowledged(&self, client: &str) {
        let done = || {
            let state = self.state();
            let inbox = &state.inboxes[client];
            inbox.begins.unwrap() as u64 + inbox.acknowledged == state.relay.log.len() as u64
        };
        while !done() {
            tokio::task::yield_now().await;
        }
    }

    pub fn log(&self) -> Vec<FanoutMessage> {
        self.state().relay.log.clone()
    }

    fn answer(&self, call: impl FnOnce(&mut State) -> Vec<u8>) -> Result<Response<Answer>, Status> {
        let mut state = self.state();
        if let Some(left) = state.overloads.checked_sub(1) {
            state.overloads = left;
            return Ok(Response::new(Answer {
                status: 503,
                retry_after_ms: 1,
                ..Answer::default()
            }));
        }
        let body = call(&mut state).into();
        let length = state.relay.log.len();
        self.head
            .send_if_modified(|(log, _)| std::mem::replace(log, length) != length);
        Ok(Response::new(Answer {
            status: 200,
            body,
            ..Answer::default()
        }))
    }
}

/// What of the log is due to a client from a position on.
fn due(state: &mut State, client: &str, next: u64) -> Vec<Event> {
    let State { relay, inboxes, .. } = state;
    let inbox = inboxes.entry(client.to_owned()).or_default();
    let refs_of = |fanout: &FanoutMessage| -> Vec<Bytes> {
        let Body::Welcome(welcome) = fanout.message().body() else {
            return Vec::new();
        };
        let own = inbox.key_packages.iter().map(|each| each.reference().unwrap());
        own.filter(|own| welcome.key_package_refs().any(|each| each == &own[..]))
            .collect()
    };
    let begins = match inbox.begins {
        Some(begins) => begins,
        None => match relay.log.iter().position(|fanout| !refs_of(fanout).is_empty()) {
            None => return Vec::new(),
            Some(welcome) => welcome,
        },
    };
    let skip = begins + usize::try_from(next - 1).unwrap();
    let due = relay.log.iter().skip(skip).zip(next..);
    let due = due
        .map(|(fanout, position)| Event {
            room: crate::relay::room().to_string(),
            position,
            seq: 0,
            message: fanout.encode().into(),
            rejoin: false,
            key_package_refs: refs_of(fanout),
        })
        .collect();
    inbox.begins = Some(begins);
    due
}

#[tonic::async_trait]
impl Provider for Fake {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let bearer = request
            .metadata()
            .get("authorization")
            .map(|value| value.to_str().unwrap());
        if bearer != Some("Bearer secret") {
            return Err(Status::unauthenticated("no such token"));
        }
        let state = self.state();
        Ok(Response::new(WhoAmIResponse {
            provider: "a.example".to_owned(),
            user: "mimi://a.example/u/alice".to_owned(),
            hub_sender: state.relay.sender().encode().into(),
            hub_senders: CIPHERSUITES
                .into_iter()
                .map(|suite| HubSender {
                    cipher_suite: u16::from(suite).into(),
                    sender: state.relay.sender_of(suite).encode().into(),
                })
                .collect(),
            minimal_metadata: false,
        }))
    }

    async fn upload_key_packages(
        &self,
        request: Request<UploadKeyPackagesRequest>,
    ) -> Result<Response<UploadResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state();
        let inbox = state.inboxes.entry(request.client).or_default();
        let uploaded = request
            .key_packages
            .iter()
            .map(|each| KeyPackage::decode_exact(each).unwrap());
        inbox.key_packages.extend(uploaded);
        Ok(Response::new(UploadResponse {
            stored: request.key_packages.len() as u32,
            available: inbox.key_packages.len() as u32,
        }))
    }

    async fn register_pseudonym(&self, _: Request<RegisterPseudonymRequest>) -> Result<Response<Done>, Status> {
        Err(Status::unimplemented("no pseudonyms here"))
    }

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Answer>, Status> {
        let request = request.into_inner();
        self.answer(|state| {
            let group_info = GroupInfo::decode_exact(&request.group_info).unwrap();
            let tree = RatchetTreeOption::decode_exact(&request.ratchet_tree).unwrap();
            state.relay.state = Some((group_info, tree));
            Vec::new()
        })
    }

    async fn key_material(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        let request = KeyMaterialRequest::decode_exact(&request.into_inner().body).unwrap();
        let target = request.target_user.user().unwrap();
        self.answer(|state| {
            let of_target = state
                .inboxes
                .iter()
                .filter_map(|(client, inbox)| Some((client.parse::<ClientUri>().ok()?, inbox)))
                .filter(|(client, _)| client.user() == target);
            KeyMaterialResponse {
                protocol: Protocol::Mls10,
                user_status: KeyMaterialUserCode::Success,
                user: request.target_user.clone(),
                clients: of_target
                    .map(|(client, inbox)| ClientKeyMaterial {
                        status: ClientStatus::Success(inbox.key_packages.last().unwrap().clone()),
                        client: mimi::IdentifierUri::from(&client),
                    })
                    .collect(),
            }
            .encode()
        })
    }

    async fn update(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        self.answer(|state| state.relay.update(&request.get_ref().body))
    }

    async fn submit(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        let lost = {
            let mut state = self.state();
            let left = state.losses.checked_sub(1);
            state.losses = left.unwrap_or_default();
            left.is_some()
        };
        let answer = self.answer(|state| {
            let accepted_timestamp = state.relay.submit(&request.get_ref().body);
            SubmitMessageResponse::from(SubmitOutcome::Accepted {
                accepted_timestamp,
                frank: None,
            })
            .encode()
        });
        if lost {
            Err(Status::unavailable("the answer is lost"))
        } else {
            answer
        }
    }

    async fn group_info(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        let request = request.into_inner();
        self.answer(|state| {
            let room = request.room.parse().unwrap();
            state.relay.group_info_of(&state.relay, &request.body, &room)
        })
    }

    async fn report_abuse(&self, _: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        Err(Status::unimplemented("this provider takes no reports"))
    }

    async fn follow(&self, request: Request<FollowCall>) -> Result<Response<Done>, Status> {
        let mut state = self.state();
        let head = state.relay.log.len();
        let inbox = state.inboxes.entry(request.into_inner().client).or_default();
        inbox.begins.get_or_insert(head);
        Ok(Response::new(Done {}))
    }

    async fn unfollow(&self, request: Request<FollowCall>) -> Result<Response<Done>, Status> {
        self.state().inboxes.remove(&request.into_inner().client);
        Ok(Response::new(Done {}))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn events(&self, request: Request<Streaming<EventsRequest>>) -> Result<Response<Self::EventsStream>, Status> {
        let mut requests = request.into_inner();
        let open = requests.message().await?.and_then(|first| first.kind);
        let Some(events_request::Kind::Open(open)) = open else {
            return Err(Status::invalid_argument("not opened"));
        };
        self.state().inboxes.entry(open.client.clone()).or_default().opened += 1;
        let (events, stream) = mpsc::channel(4);
        let (fake, client) = (self.clone(), open.client.clone());
        let mut head = self.head.subscribe();
        let cuts = head.borrow().1;
        tokio::spawn(async move {
            let mut next = fake.state().inboxes[&client].acknowledged + 1;
            loop {
                if head.borrow_and_update().1 != cuts {
                    return;
                }
                let due = due(&mut fake.state(), &client, next);
                next += due.len() as u64;
                for event in due {
                    if events.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    biased;
                    changed = head.changed() => changed.unwrap(),
                    request = requests.message() => match request {
                        Ok(Some(EventsRequest { kind: Some(events_request::Kind::Ack(ack)) })) => {
                            let mut state = fake.state();
                            let inbox = state.inboxes.get_mut(&client).unwrap();
                            inbox.acknowledged = inbox.acknowledged.max(ack.position);
                        }
                        _ => return,
                    },
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// TLS as tonic wants to see it.
struct Tls(TlsStream<TcpStream>);

impl Connected for Tls {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.0.get_ref().0.peer_addr().unwrap()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
