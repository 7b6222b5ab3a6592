use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use link::{Acknowledge, Answer, Call, Deliver, Item, LedgerId, Peer, Service, Unavailable, item, serve};
use peer::{Directory, Endpoint};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::puppet::{Setup, World, bind, loopback, provider};

/// b.example behind its link.
struct Behind;

#[async_trait]
impl Service for Behind {
    async fn call(&self, peer: &Peer, call: Call) -> Answer {
        assert!(peer.may_speak_for(&provider("a.example")));
        Answer {
            status: 200,
            retry_after_ms: 0,
            body: [b"by link: ", &call.body[..]].concat().into(),
        }
    }

    async fn position(&self, _: &Peer, _: LedgerId, _: u32) -> Result<Option<u64>, Unavailable> {
        Ok(Some(5))
    }

    async fn deliver(&self, _: &Peer, _: LedgerId, deliver: Deliver) -> Result<Acknowledge, Unavailable> {
        Ok(Acknowledge {
            shard: deliver.shard,
            next_offset: deliver.items.last().unwrap().offset + 1,
            refused: Vec::new(),
        })
    }
}

struct Listening {
    address: SocketAddr,
    drain: CancellationToken,
    done: JoinHandle<()>,
}

impl Listening {
    fn start(world: &World, address: SocketAddr) -> Self {
        let endpoint = bind(address, world.b.identity(&["b.example"]), &world.roots);
        let address = endpoint.local_addr().unwrap();
        let drain = CancellationToken::new();
        let done = tokio::spawn({
            let drain = drain.clone();
            async move {
                serve(endpoint.clone(), Arc::new(Behind), drain).await;
                endpoint.close(link::Code::Draining).await;
            }
        });
        Self { address, drain, done }
    }

    async fn stop(self) {
        self.drain.cancel();
        self.done.await.unwrap();
    }
}

/// A world in which b.example advertises the port of `listening`.
async fn advertise(world: &World, address: SocketAddr) {
    let advertised = format!("b.example:{}", address.port());
    world
        .server
        .publish(&Directory::publish("b.example", Endpoint::ALL, Some(advertised)).unwrap());
}

async fn linked() -> (World, Listening) {
    let setup = Setup {
        with_link: true,
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let listening = Listening::start(&world, loopback());
    advertise(&world, listening.address).await;
    (world, listening)
}

fn entry(offset: u64) -> Item {
    Item {
        offset,
        room: "mimi://a.example/r/clubhouse".into(),
        chain: vec![0; 32].into(),
        recipient_set: vec![0; 16].into(),
        body: Some(item::Body::Message(Bytes::from_static(b"message"))),
        ..Item::default()
    }
}

#[tokio::test]
async fn a_link_that_is_offered_is_preferred() {
    let (world, _listening) = linked().await;
    let answer = world.update(b"octets").await.unwrap();
    assert_eq!(&answer.body[..], b"by link: octets");
    assert!(world.server.asked().0.is_empty());
}

#[tokio::test]
async fn without_a_link_of_our_own_everything_goes_over_https() {
    let world = World::new(Setup::default()).await;
    let listening = Listening::start(&world, loopback());
    advertise(&world, listening.address).await;
    assert_eq!(&world.update(b"octets").await.unwrap().body[..], b"octets");
    assert!(world.peers.link(&provider("b.example")).await.is_none());
}

#[tokio::test]
async fn a_link_that_fails_falls_back_to_https_and_comes_back_later() {
    let (world, listening) = linked().await;
    let address = listening.address;
    assert_eq!(&world.update(b"1").await.unwrap().body[..], b"by link: 1");
    listening.stop().await;
    assert_eq!(&world.update(b"2").await.unwrap().body[..], b"2");
    assert_eq!(world.server.asked().0.len(), 1);

    // Whoever waits for the link learns that there is none, and from then on it is left alone for a while.
    assert!(world.peers.link(&provider("b.example")).await.is_none());
    let listening = Listening::start(&world, address);
    assert_eq!(&world.update(b"3").await.unwrap().body[..], b"3");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;
    tokio::time::resume();
    assert_eq!(&world.update(b"4").await.unwrap().body[..], b"by link: 4");
    assert_eq!(world.server.asked().0.len(), 2);
    drop(listening);
}

#[tokio::test]
async fn e_1_a_link_may_not_lead_to_another_provider() {
    let setup = Setup {
        with_link: true,
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let endpoint = bind(loopback(), world.a.identity(&["a.example"]), &world.roots);
    let address = endpoint.local_addr().unwrap();
    let serving = tokio::spawn(serve(endpoint, Arc::new(Behind), CancellationToken::new()));
    advertise(&world, address).await;
    assert!(world.peers.link(&provider("b.example")).await.is_none());
    assert_eq!(&world.update(b"octets").await.unwrap().body[..], b"octets");
    serving.abort();
}

#[tokio::test]
async fn all_who_bring_entries_of_a_ledger_share_its_stream() {
    let (world, _listening) = linked().await;
    let b = provider("b.example");
    let (first, second) = tokio::join!(world.peers.fanout(&b, [1; 16]), world.peers.fanout(&b, [1; 16]));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.position(0).await.unwrap(), Some(5));
    assert_eq!(second.deliver(0, vec![entry(5)], "").await.unwrap().next_offset, 6);
    world.peers.close();
    first.ended().await;
    assert!(!second.is_open());
    let again = world.peers.fanout(&b, [1; 16]).await.unwrap();
    assert_eq!(again.position(0).await.unwrap(), Some(5));
}
