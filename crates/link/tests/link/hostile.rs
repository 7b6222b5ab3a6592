//! Peers that are who they say and send what they should not.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use link::tls::{client_config, server_config};
use link::{ALPN, Answer, Call, Code, Deliver, Endpoint, Fanout, Item, Limits, LinkError};
use prost::Message;
use proto::link::{
    Acknowledge, CallStream, Credit, FanoutStream, FollowerFrame, HubFrame, ItemRefusal, Position, Resume,
    StreamHeader, Want, follower_frame, hub_frame, stream_header,
};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use crate::puppet::{Ca, Follower, LEDGER, Pair, entry, loopback, provider, roots};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of tasks, which nobody else would hear of.
fn listen_for_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            usual(info);
        }));
    });
}

fn frame(message: &impl Message) -> Vec<u8> {
    let octets = message.encode_to_vec();
    let mut frame = u32::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(octets);
    frame
}

fn header(kind: stream_header::Kind) -> Vec<u8> {
    frame(&StreamHeader { kind: Some(kind) })
}

fn call_header() -> Vec<u8> {
    header(stream_header::Kind::Call(CallStream {}))
}

fn fanout_header() -> Vec<u8> {
    let ledger = Bytes::copy_from_slice(&LEDGER);
    header(stream_header::Kind::Fanout(FanoutStream { ledger }))
}

fn hub(kind: hub_frame::Kind) -> Vec<u8> {
    frame(&HubFrame { kind: Some(kind) })
}

fn resume(shard: u32) -> Vec<u8> {
    hub(hub_frame::Kind::Resume(Resume { shard }))
}

fn deliver(items: Vec<Item>) -> Vec<u8> {
    let traceparent = String::new();
    hub(hub_frame::Kind::Deliver(Deliver {
        shard: 0,
        items,
        traceparent,
    }))
}

async fn read<M: Message + Default>(recv: &mut quinn::RecvStream) -> M {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.unwrap();
    let mut octets = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut octets).await.unwrap();
    M::decode(&octets[..]).unwrap()
}

/// A frame that announces `length` octets and brings `octets`.
fn announced(length: u32, octets: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], octets].concat()
}

/// A connection of a.example to b.example without the manners of one.
struct Raw {
    pair: Pair,
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

impl Raw {
    async fn new(limits: Limits) -> Self {
        listen_for_panics();
        let pair = Pair::new(limits, Follower::new());
        let known = roots(&[("b.example", &pair.b)]);
        let identity = pair.a.identity(&["a.example"]);
        let tls = client_config(&identity, &known, &provider("b.example"), &[ALPN]);
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = quinn::Endpoint::client(loopback()).unwrap();
        let connecting = endpoint.connect_with(config, pair.served.address, "b.example").unwrap();
        Self {
            pair,
            connection: connecting.await.unwrap(),
            _endpoint: endpoint,
        }
    }

    /// Sends `octets` on a stream of their own and says how the other side ends it: with a code, or with what it
    /// answered in full.
    async fn send(&self, octets: &[u8], finish: bool) -> Result<Vec<u8>, Code> {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        // The other side may stop it before the last octet.
        let _ = send.write_all(octets).await;
        if finish {
            let _ = send.finish();
        }
        match recv.read_to_end(1 << 20).await {
            Ok(answer) => Ok(answer),
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Err(code.into()),
            Err(error) => panic!("the connection did not survive: {error}"),
        }
    }

    async fn refused(&self, octets: &[u8]) -> Code {
        self.send(octets, false).await.unwrap_err()
    }

    /// The connection still answers, and no task has panicked.
    async fn still_works(&self) {
        let call = Call {
            endpoint: "update".into(),
            target: String::new(),
            body: Bytes::from_static(b"still here"),
        };
        let answer = self.send(&[call_header(), frame(&call)].concat(), true).await.unwrap();
        let answer = Answer::decode(&answer[4..]).unwrap();
        assert_eq!(&answer.body[..], b"still here");
        assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn bad_openings_close_the_stream_and_nothing_else() {
    let raw = Raw::new(Limits::default()).await;
    assert_eq!(raw.refused(&announced(3, &[0xff; 3])).await, Code::Malformed);
    assert_eq!(raw.refused(&announced(0, &[])).await, Code::Malformed);
    assert_eq!(raw.refused(&announced(1_000, &[])).await, Code::TooLarge);
    assert_eq!(raw.refused(&announced(u32::MAX, &[0; 100])).await, Code::TooLarge);
    assert_eq!(raw.send(&announced(100, &[0; 20]), true).await, Err(Code::Malformed));
    assert_eq!(raw.send(&[0, 0], true).await, Err(Code::Malformed));
    assert_eq!(raw.send(&[], true).await, Err(Code::Malformed));
    raw.still_works().await;
}

#[tokio::test]
async fn bad_calls_close_the_stream_and_nothing_else() {
    let raw = Raw::new(Limits::default()).await;
    let with = |octets: Vec<u8>| [call_header(), octets].concat();
    let call = Call::default();
    let long = Call {
        target: "x".repeat(2_000),
        ..Call::default()
    };
    assert_eq!(raw.refused(&with(announced(u32::MAX, &[]))).await, Code::TooLarge);
    assert_eq!(raw.refused(&with(announced(4, &[0xff; 4]))).await, Code::Malformed);
    assert_eq!(
        raw.send(&with(announced(4, &[0xff; 2])), true).await,
        Err(Code::Malformed)
    );
    assert_eq!(raw.send(&with(Vec::new()), true).await, Err(Code::Malformed));
    assert_eq!(raw.send(&with(frame(&long)), true).await, Err(Code::Malformed));
    assert_eq!(
        raw.refused(&with([frame(&call), frame(&call)].concat())).await,
        Code::Malformed
    );
    assert_eq!(
        raw.refused(&with([frame(&call), vec![0, 0, 0, 9]].concat())).await,
        Code::TooLarge
    );
    raw.still_works().await;
}

#[tokio::test]
async fn bad_fanouts_close_the_stream_and_nothing_else() {
    let limits = Limits {
        shards_max: 3,
        fanout_streams_max: 1,
        credit_bytes: 16 << 10,
        ..Limits::default()
    };
    let raw = Raw::new(limits).await;
    let ledger = Bytes::from_static(&[0; 15]);
    let other = header(stream_header::Kind::Fanout(FanoutStream { ledger }));
    assert_eq!(raw.refused(&other).await, Code::Malformed);

    let with = |frames: Vec<Vec<u8>>| [fanout_header(), frames.concat()].concat();
    let good = || entry(0, 10);
    let short_chain = Item {
        chain: Bytes::new(),
        ..good()
    };
    let want = |bytes_total| hub(hub_frame::Kind::Want(Want { shard: 0, bytes_total }));
    for (frames, code, what) in [
        (vec![announced(u32::MAX, &[])], Code::TooLarge, "a huge frame"),
        (vec![announced(2, &[0xff; 2])], Code::Malformed, "garbage"),
        (vec![announced(0, &[])], Code::Malformed, "an empty frame"),
        (
            vec![deliver(vec![good()])],
            Code::Malformed,
            "a Deliver before its Resume",
        ),
        (vec![want(1)], Code::Malformed, "a Want before its Resume"),
        (
            vec![resume(0), deliver(vec![good()])],
            Code::Credit,
            "a Deliver before the Position",
        ),
        (
            vec![resume(0), deliver(vec![Item::default(); 1_025])],
            Code::Malformed,
            "too many items",
        ),
        (
            vec![resume(0), resume(1), resume(2), resume(3)],
            Code::TooMany,
            "too many shards",
        ),
    ] {
        assert_eq!(raw.refused(&with(frames)).await, code, "{what}");
    }
    for (then, code, what) in [
        (deliver(vec![]), Code::Malformed, "no item"),
        (deliver(vec![short_chain]), Code::Malformed, "a short chain"),
        (deliver(vec![good(), good()]), Code::Malformed, "the same offset twice"),
        (deliver(vec![entry(0, 17 << 10)]), Code::Credit, "more than the window"),
        (want(1 << 40), Code::Credit, "a credit no frame needs"),
    ] {
        let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
        send.write_all(&with(vec![resume(0)])).await.unwrap();
        // Position, then Credit: now it may send.
        for _ in 0..2 {
            let _: FollowerFrame = read(&mut recv).await;
        }
        send.write_all(&then).await.unwrap();
        let ended = recv.read_to_end(1 << 20).await.unwrap_err();
        let quinn::ReadToEndError::Read(quinn::ReadError::Reset(ended)) = ended else {
            panic!("{what}: {ended}");
        };
        assert_eq!(Code::from(ended), code, "{what}");
    }
    assert!(raw.pair.follower.offsets(0).is_empty());

    let (mut first, mut answers) = raw.connection.open_bi().await.unwrap();
    first.write_all(&with(vec![resume(0)])).await.unwrap();
    let _: FollowerFrame = read(&mut answers).await;
    assert_eq!(raw.refused(&fanout_header()).await, Code::TooMany);
    raw.still_works().await;
}

#[tokio::test]
async fn a_peer_that_goes_quiet_in_the_middle_is_given_up() {
    let limits = Limits {
        call_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let raw = Raw::new(limits).await;
    assert_eq!(raw.refused(&[0, 0]).await, Code::TimedOut);
    assert_eq!(
        raw.refused(&[call_header(), announced(100, &[1; 5])].concat()).await,
        Code::TimedOut
    );
    raw.still_works().await;
}

#[tokio::test]
async fn random_octets_on_every_kind_of_stream_do_no_harm() {
    let raw = Raw::new(Limits::default()).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let session = [resume(0), resume(1), deliver(vec![entry(0, 10), entry(1, 10)])].concat();
    for round in 0..300 {
        let mut octets: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
        match round % 5 {
            0 => {}
            1 => octets = [call_header(), octets].concat(),
            2 => octets = [fanout_header(), octets].concat(),
            // Frames of random content, so that lengths do not end it at once.
            3 => octets = [fanout_header(), announced(octets.len() as u32, &octets)].concat(),
            // A proper session with one octet changed.
            _ => {
                octets = session.clone();
                let at = random() as usize % octets.len();
                octets[at] ^= 1 << (random() % 8);
                octets = [fanout_header(), octets].concat();
            }
        }
        let _ = raw.send(&octets, true).await;
    }
    raw.still_works().await;
    assert!(raw.pair.follower.offsets(0).iter().all(|offset| *offset < 1 << 60));
}

/// A follower that answers every fan-out stream with `octets`, over a proper connection: what the hub makes of it.
async fn hub_hears(octets: Vec<u8>) -> LinkError {
    listen_for_panics();
    let (a, b) = (Ca::new(), Ca::new());
    let known = roots(&[("a.example", &a), ("b.example", &b)]);
    let tls = server_config(&b.identity(&["b.example"]), &known, &[ALPN]);
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let server = quinn::Endpoint::server(config, loopback()).unwrap();
    let address = server.local_addr().unwrap();
    let hub = Endpoint::bind(loopback(), a.identity(&["a.example"]), known, Limits::default()).unwrap();
    let answering = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        let _: StreamHeader = read(&mut recv).await;
        let _: HubFrame = read(&mut recv).await;
        send.write_all(&octets).await.unwrap();
        let _ = send.finish();
        let _ = recv.read_to_end(1 << 20).await;
        (connection, server)
    });
    let link = hub.connect(&provider("b.example"), address).await.unwrap();
    let fanout: Fanout = link.fanout(LEDGER).await.unwrap();
    assert_eq!(fanout.ledger(), LEDGER);
    let heard = match fanout.position(0).await {
        Ok(_) => fanout.ended().await,
        Err(error) => error,
    };
    assert!(
        fanout.deliver(0, vec![entry(0, 10)], "").await.is_err(),
        "an ended stream stays ended"
    );
    assert!(!fanout.is_open());
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    answering.await.unwrap();
    heard
}

#[tokio::test]
async fn a_follower_that_breaks_the_protocol_is_cut_off() {
    let follower = |kind| frame(&FollowerFrame { kind: Some(kind) });
    let position = || follower_frame::Kind::Position(Position::default());
    let credit = |bytes_total| follower_frame::Kind::Credit(Credit { shard: 0, bytes_total });
    let refused = vec![ItemRefusal::default(); 5_000];
    let refusals = Acknowledge {
        refused,
        ..Acknowledge::default()
    };
    for (octets, what) in [
        (announced(u32::MAX, &[]), "a huge frame"),
        (announced(3, &[0xff; 3]), "garbage"),
        (announced(10, &[0; 2]), "a frame cut short"),
        (announced(0, &[]), "an empty frame"),
        (
            follower(follower_frame::Kind::Credit(Credit {
                shard: 9,
                bytes_total: 1,
            })),
            "a shard nobody resumed",
        ),
        (
            [follower(position()), follower(position())].concat(),
            "a Position nobody asked for",
        ),
        (
            follower(follower_frame::Kind::Acknowledge(refusals)),
            "refusals of nothing",
        ),
    ] {
        let heard = hub_hears(octets).await;
        assert!(matches!(heard, LinkError::Violation(_)), "{what}: {heard}");
    }
    let heard = hub_hears([follower(position()), follower(credit(100))].concat()).await;
    assert!(matches!(heard, LinkError::Closed(Code::Done)), "{heard}");
}
