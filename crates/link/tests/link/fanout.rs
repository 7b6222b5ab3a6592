//! Entries from a hub to a follower.

use std::sync::Arc;
use std::time::Duration;

use link::tls::server_config;
use link::{ALPN, Call, Code, Endpoint, Fanout, Limits, LinkError};
use prost::Message;
use proto::link::{
    Acknowledge, Credit, FollowerFrame, HubFrame, Position, Resume, StreamHeader, follower_frame, hub_frame,
};
use quinn::crypto::rustls::QuicServerConfig;

use crate::puppet::{Ca, Follower, LEDGER, Pair, entry, loopback, provider, roots, served_at};

async fn fanout(pair: &Pair) -> Fanout {
    pair.connect().await.fanout(LEDGER).await.unwrap()
}

/// Delivers the entries of `offsets` one call at a time.
async fn deliver_all(fanout: Fanout, shard: u32, offsets: std::ops::Range<u64>, size: usize) -> Result<(), LinkError> {
    for offset in offsets {
        let acknowledged = fanout.deliver(shard, vec![entry(offset, size)], "").await?;
        assert!(acknowledged.next_offset > offset);
    }
    Ok(())
}

#[tokio::test]
async fn two_shards_share_a_stream_and_each_keeps_its_order() {
    let limits = Limits {
        credit_bytes: 16 << 10,
        ..Limits::default()
    };
    let pair = Pair::new(limits, Follower::new());
    let fanout = fanout(&pair).await;
    assert_eq!(fanout.position(0).await.unwrap(), None);
    let (one, two) = tokio::join!(deliver_all(fanout.clone(), 0, 0..200, 1_000), async {
        // Many entries at once, over several windows.
        let items = (0..500).map(|offset| entry(offset, 500));
        fanout.deliver(1, items, "").await
    },);
    one.unwrap();
    assert_eq!(two.unwrap().next_offset, 500);
    assert_eq!(pair.follower.offsets(0), (0..200).collect::<Vec<_>>());
    assert_eq!(pair.follower.offsets(1), (0..500).collect::<Vec<_>>());
    assert_eq!(fanout.position(1).await.unwrap(), Some(500));
}

#[tokio::test]
async fn a_shard_that_is_stuck_holds_up_no_other() {
    let pair = Pair::new(Limits::default(), Follower::new());
    *pair.follower.gated.lock().unwrap() = Some(0);
    let fanout = fanout(&pair).await;
    // More than the window: the sender itself gets stuck.
    let items = (0..100).map(|offset| entry(offset, 10_000));
    let stuck = tokio::spawn({
        let fanout = fanout.clone();
        async move { fanout.deliver(0, items, "").await }
    });
    deliver_all(fanout.clone(), 1, 0..50, 10_000).await.unwrap();
    assert!(pair.follower.offsets(0).is_empty());
    pair.follower.gate.add_permits(1_000);
    assert_eq!(stuck.await.unwrap().unwrap().next_offset, 100);
    assert_eq!(pair.follower.offsets(0), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_entry_larger_than_the_window_gets_credit_of_its_own() {
    let limits = Limits {
        credit_bytes: 16 << 10,
        deliver_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let pair = Pair::new(limits, Follower::new());
    let fanout = fanout(&pair).await;
    let items = vec![
        entry(0, 100),
        entry(1, 600_000),
        entry(2, 100),
        entry(3, 900_000),
        entry(4, 100),
    ];
    let acknowledged = fanout.deliver(0, items, "").await.unwrap();
    assert_eq!(acknowledged.next_offset, 5);
    // Other shards want as much at the same time, and together more than is set aside for all.
    let all = (1..6).map(|shard| deliver_all(fanout.clone(), shard, 0..3, 900_000));
    futures::future::try_join_all(all).await.unwrap();
    let too_large = fanout.deliver(0, vec![entry(5, 2 << 20)], "").await;
    assert!(matches!(too_large, Err(LinkError::TooLarge { .. })));
    assert_eq!(pair.follower.offsets(0), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn after_a_reconnect_the_hub_goes_on_where_the_follower_is() {
    let mut pair = Pair::new(Limits::default(), Follower::new());
    let link = pair.connect().await;
    let before = link.fanout(LEDGER).await.unwrap();
    deliver_all(before.clone(), 3, 0..10, 100).await.unwrap();
    link.close(Code::Done);
    assert!(matches!(before.ended().await, LinkError::Lost(_)));
    assert!(!link.is_open());

    // The follower restarts at the same address with what it has durably.
    let address = pair.served.address;
    pair.served.drain.cancel();
    pair.served.done.await.unwrap();
    let known = roots(&[("a.example", &pair.a), ("b.example", &pair.b)]);
    let identity = pair.b.identity(&["b.example"]);
    pair.served = served_at(address, identity, known, Limits::default(), pair.follower.clone());
    let after = fanout(&pair).await;
    assert_eq!(after.position(3).await.unwrap(), Some(10));
    deliver_all(after, 3, 10..20, 100).await.unwrap();
    assert_eq!(pair.follower.offsets(3), (0..20).collect::<Vec<_>>());
    let other = pair.connect().await.fanout([8; 16]).await.unwrap();
    assert_eq!(
        other.position(3).await.unwrap(),
        None,
        "offsets of another ledger count for nothing"
    );
}

#[tokio::test]
async fn a_service_that_cannot_take_it_ends_the_stream_and_nothing_is_acknowledged() {
    let pair = Pair::new(Limits::default(), Follower::new());
    let link = pair.connect().await;
    let first = link.fanout(LEDGER).await.unwrap();
    *pair.follower.available.lock().unwrap() = false;
    let refused = first.deliver(0, vec![entry(0, 10)], "").await;
    assert!(
        matches!(refused, Err(LinkError::Closed(Code::Unavailable))),
        "{refused:?}"
    );
    *pair.follower.available.lock().unwrap() = true;
    let second = link.fanout(LEDGER).await.unwrap();
    assert_eq!(second.position(0).await.unwrap(), None);
    deliver_all(second, 0, 0..1, 10).await.unwrap();
}

#[tokio::test]
async fn entries_refused_for_good_are_named_to_whoever_sent_them() {
    let pair = Pair::new(Limits::default(), Follower::new());
    *pair.follower.refuse.lock().unwrap() = vec![2, 5];
    let fanout = fanout(&pair).await;
    let first = fanout
        .send(0, (0..4).map(|offset| entry(offset, 10)), "")
        .await
        .unwrap();
    let second = fanout
        .send(0, (4..8).map(|offset| entry(offset, 10)), "")
        .await
        .unwrap();
    let (second, first) = (
        second.acknowledged().await.unwrap(),
        first.acknowledged().await.unwrap(),
    );
    let refused = |acknowledge: &Acknowledge| -> Vec<(u64, u32)> {
        acknowledge
            .refused
            .iter()
            .map(|item| (item.offset, item.status))
            .collect()
    };
    assert_eq!(refused(&first), [(2, 403)]);
    assert_eq!(refused(&second), [(5, 403)]);
    assert_eq!(first.refused[0].reason.chars().count(), 200);
    assert_eq!(pair.follower.offsets(0), [0, 1, 3, 4, 6, 7]);
}

#[tokio::test]
async fn a_delivery_that_nobody_waits_for_any_more_leaves_the_stream_whole() {
    let pair = Pair::new(Limits::default(), Follower::new());
    *pair.follower.gated.lock().unwrap() = Some(0);
    let fanout = fanout(&pair).await;
    let sent = fanout.send(0, vec![entry(0, 10)], "").await.unwrap();
    drop(sent);
    // This one waits for credit when it is dropped.
    let items = (1..60).map(|offset| entry(offset, 10_000));
    let given_up = tokio::time::timeout(Duration::from_millis(1), fanout.deliver(0, items, "")).await;
    assert!(given_up.is_err());
    pair.follower.gate.add_permits(1_000);
    let next = fanout.position(0).await.unwrap().unwrap();
    deliver_all(fanout, 0, next..next + 5, 10).await.unwrap();
    assert_eq!(pair.follower.offsets(0), (0..next + 5).collect::<Vec<_>>());
}

#[tokio::test]
async fn draining_acknowledges_what_has_arrived_and_then_says_so() {
    let pair = Pair::new(Limits::default(), Follower::new());
    *pair.follower.gated.lock().unwrap() = Some(0);
    let link = pair.connect().await;
    let fanout = link.fanout(LEDGER).await.unwrap();
    let delivery = fanout.send(0, vec![entry(0, 10)], "").await.unwrap();
    // Answered after the Deliver was read, since both go the same way.
    fanout.position(1).await.unwrap();
    pair.served.drain.cancel();
    pair.follower.gate.add_permits(1);
    assert_eq!(delivery.acknowledged().await.unwrap().next_offset, 1);
    assert!(matches!(link.closed().await, LinkError::Lost(why) if why == Code::Draining.to_string()));
    pair.served.done.await.unwrap();
    let call = link.call(Call::default()).await;
    assert!(matches!(call, Err(LinkError::Lost(_))));
}

#[tokio::test]
async fn a_stream_carries_only_so_many_shards() {
    let limits = Limits {
        shards_max: 2,
        ..Limits::default()
    };
    let pair = Pair::new(limits, Follower::new());
    let fanout = fanout(&pair).await;
    fanout.position(0).await.unwrap();
    fanout.position(1).await.unwrap();
    assert!(matches!(fanout.position(2).await, Err(LinkError::TooManyShards)));
    deliver_all(fanout, 1, 0..3, 10).await.unwrap();
}

/// A follower that gives more credit for shard 0 only when shard 1 is resumed, and fails when more comes than it gave:
/// what the hub sent before the Resume arrives before it.
async fn stingy(connection: quinn::Connection, entries: usize) -> Vec<u64> {
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    let mut read = async || -> Vec<u8> {
        let mut length = [0; 4];
        recv.read_exact(&mut length).await.unwrap();
        let mut octets = vec![0; u32::from_be_bytes(length) as usize];
        recv.read_exact(&mut octets).await.unwrap();
        octets
    };
    let mut write = async |kind: follower_frame::Kind| {
        let octets = FollowerFrame { kind: Some(kind) }.encode_to_vec();
        let length = u32::try_from(octets.len()).unwrap();
        send.write_all(&length.to_be_bytes()).await.unwrap();
        send.write_all(&octets).await.unwrap();
    };
    let credit = |shard, bytes_total| follower_frame::Kind::Credit(Credit { shard, bytes_total });
    StreamHeader::decode(&read().await[..]).unwrap();
    let (mut granted, mut used, mut wanted, mut wants, mut offsets) = (0, 0, 0, 0, Vec::new());
    loop {
        let octets = read().await;
        match HubFrame::decode(&octets[..]).unwrap().kind.unwrap() {
            hub_frame::Kind::Resume(Resume { shard }) => {
                let position = Position {
                    shard,
                    ..Position::default()
                };
                write(follower_frame::Kind::Position(position)).await;
                write(credit(shard, 2_000)).await;
                granted = (used + 2_000).max(wanted).max(granted);
                if shard == 1 {
                    write(credit(0, granted)).await;
                }
            }
            hub_frame::Kind::Want(want) => {
                wanted = want.bytes_total;
                wants += 1;
            }
            hub_frame::Kind::Deliver(deliver) => {
                used += octets.len() as u64;
                assert!(used <= granted, "{used} octets came for {granted}");
                offsets.extend(deliver.items.iter().map(|item| item.offset));
            }
        }
        if offsets.len() == entries {
            assert!(wants >= 2);
            let acknowledge = Acknowledge {
                shard: 0,
                next_offset: offsets.last().unwrap() + 1,
                refused: Vec::new(),
            };
            write(follower_frame::Kind::Acknowledge(acknowledge)).await;
            return offsets;
        }
    }
}

#[tokio::test]
async fn nothing_is_ever_sent_beyond_the_credit() {
    let (a, b) = (Ca::new(), Ca::new());
    let known = roots(&[("a.example", &a), ("b.example", &b)]);
    let tls = server_config(&b.identity(&["b.example"]), &known, &[ALPN]);
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let server = quinn::Endpoint::server(config, loopback()).unwrap();
    let address = server.local_addr().unwrap();
    let follower = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        (stingy(connection.clone(), 102).await, connection, server)
    });
    let hub = Endpoint::bind(loopback(), a.identity(&["a.example"]), known, Limits::default()).unwrap();
    let link = hub.connect(&provider("b.example"), address).await.unwrap();
    let fanout = link.fanout(LEDGER).await.unwrap();
    let mut entries: Vec<_> = (0..100)
        .map(|offset| entry(offset, 20 + (offset as usize * 37) % 400))
        .collect();
    entries.extend([entry(100, 5_000), entry(101, 9_000)]);
    let all = fanout.deliver(0, entries, "");
    let more_credit = async {
        loop {
            fanout.position(1).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        delivered = all => assert_eq!(delivered.unwrap().next_offset, 102),
        () = more_credit => {}
    }
    let (offsets, _connection, _server) = follower.await.unwrap();
    assert_eq!(offsets, (0..102).collect::<Vec<_>>());
}
