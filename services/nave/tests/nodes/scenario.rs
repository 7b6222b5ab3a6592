//! The scenario, and what must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::api::ApiError;
use client::mls::{Member, MemberError, Submitted};
use futures::future::join_all;
use mimi::RoomUri;

use crate::crowd::Crowd;
use crate::load::{Load, say};
use crate::shards::Shards;
use crate::site::{HUBS, Site};

/// The longest that a room accepts nothing after its hub was killed: the lease of 3 s, the takeover, the pauses of edges and
/// clients, and all of it on a machine that is busy with something else.
const GAP_MAX: Duration = Duration::from_secs(30);

/// The longest that a hub that is to leave waits for a store that is away, and what a busy machine adds to it.
const LEAVES_WITHIN: Duration = Duration::from_secs(60);

/// What never is accepted.
const REFUSED: &[u8] = b"refused";

/// What can be done to hubs, by their place.
pub(crate) trait Cluster {
    /// Starts it; returns when it is ready.
    async fn start(&mut self, hub: usize);
    /// It dies at once, with nothing finished.
    async fn kill(&mut self, hub: usize);
    /// It hangs: it lives, and reaches nobody.
    async fn cut_off(&mut self, hub: usize);
    /// It goes on where it hung.
    async fn heal(&mut self, hub: usize);
    /// It hands its shards over and ends; returns when it has ended well.
    async fn drain(&mut self, hub: usize);
}

/// Plays it: a hub dies and comes back, one hangs and comes back, one leaves, each of them while it serves a room.
pub(crate) async fn play(site: &Site, cluster: &mut impl Cluster) {
    let shards = Shards::new(site);
    let crowd = Crowd::gather(site, &shards.a_room_at_each().await).await;
    let load = Load::start(&crowd);
    load.goes_on().await;
    be_refused(&crowd).await;
    let steps = Instant::now();
    let step = |what: &str| println!("{:>6} ms  {what}", steps.elapsed().as_millis());

    let (dead, others) = shards.server_of(&crowd.rooms[0]).await;
    let killed = Instant::now();
    cluster.kill(dead).await;
    shards.served_by(&others).await;
    step("the others serve what the dead hub had");
    load.goes_on().await;
    let gap = load.longest_gap(killed);
    println!(
        "longest gap of acceptance after a hub was killed: {} ms",
        gap.as_millis()
    );
    assert!(gap < GAP_MAX, "{gap:?}");
    move_on(&crowd).await;

    cluster.start(dead).await;
    shards.served_by(&[others[0], others[1], dead]).await;
    step("it is back and serves shards");
    load.goes_on().await;

    let (cut_off, others) = shards.server_of(&crowd.rooms[1]).await;
    cluster.cut_off(cut_off).await;
    shards.served_by(&others).await;
    step("the others serve what the cut-off hub had");
    load.goes_on().await;
    be_refused(&crowd).await;
    move_on(&crowd).await;
    cluster.heal(cut_off).await;
    shards.served_by(&[others[0], others[1], cut_off]).await;
    step("it is back and serves shards");
    load.goes_on().await;

    let (leaving, others) = shards.server_of(&crowd.rooms[2]).await;
    cluster.drain(leaving).await;
    shards.served_by(&others).await;
    step("the others serve what the drained hub had");
    load.goes_on().await;
    move_on(&crowd).await;

    let accepted = load.stop(&crowd.rooms).await;
    check(&crowd, &accepted).await;
    step("everything arrived");
}

/// No hub reaches the store for a while, by which every lease lapses; later one does not reach it while it is to leave.
pub(crate) async fn be_away(site: &Site, cluster: &mut impl Cluster) {
    let shards = Shards::new(site);
    let crowd = Crowd::gather(site, &shards.a_room_at_each().await).await;
    let mut bodies = Vec::new();
    for (client, room) in crowd.clients.iter().zip(&crowd.rooms) {
        let content = Bytes::from(format!("{} while the store is away", client.uri));
        bodies.push(loop {
            match client.session.member(|member| member.send(room, &content)) {
                Err(MemberError::PendingProposals) => client.session.self_update(room).await.unwrap(),
                encrypted => break encrypted.unwrap(),
            };
        });
    }
    for hub in 0..HUBS {
        cluster.cut_off(hub).await;
    }
    let clients = crowd.clients.iter().zip(&crowd.rooms).zip(bodies);
    let answers = clients.map(|((client, room), body)| client.api.submit(&client.uri, room, body));
    for answer in join_all(answers).await {
        let told = matches!(
            answer,
            Err(ApiError::Overloaded {
                retry_after: Some(after)
            }) if !after.is_zero()
        );
        assert!(told, "{answer:?}");
    }
    for hub in 0..HUBS {
        cluster.heal(hub).await;
    }
    for (client, room) in crowd.clients.iter().zip(&crowd.rooms) {
        let said = say(client, room, 0).await;
        for reader in &crowd.clients {
            reader.reads(room, &said).await;
            // What nobody was told of may have been accepted, and then it comes before.
            let messages = reader.shown(room).messages;
            assert!(messages.len() <= 2 && messages.last() == Some(&said), "{messages:?}");
            assert!(reader.faults().is_empty(), "{:?}", reader.faults());
        }
    }

    // Whoever ends a hub does not have to wait for the store.
    cluster.cut_off(0).await;
    let left = tokio::time::timeout(LEAVES_WITHIN, cluster.drain(0)).await;
    assert!(left.is_ok(), "a hub that is to leave waits for the store");
}

/// Somebody commits in each room.
async fn move_on(crowd: &Crowd) {
    for room in &crowd.rooms {
        crowd.clients[0].session.self_update(room).await.unwrap();
    }
}

/// What was encrypted for one room is refused in another.
async fn be_refused(crowd: &Crowd) {
    for client in &crowd.clients {
        for (place, room) in crowd.rooms.iter().enumerate() {
            let other = &crowd.rooms[(place + 1) % crowd.rooms.len()];
            let body = client.session.member(|member| member.send(other, REFUSED)).unwrap();
            let refused = loop {
                match client.api.submit(&client.uri, room, body.clone()).await {
                    Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
                    answered => break answered,
                }
            };
            match refused.map(|answer| Member::submitted(&answer)) {
                Err(ApiError::Refused { .. }) | Ok(Ok(Submitted::NotAllowed)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Each client was shown each accepted message of each room once and nothing else, in one order; all are in one epoch.
async fn check(crowd: &Crowd, accepted: &BTreeMap<RoomUri, BTreeSet<Bytes>>) {
    assert_eq!(accepted.len(), crowd.rooms.len());
    for (room, accepted) in accepted {
        let epoch = crowd.clients[0].epoch(room);
        let mut orders = Vec::new();
        for client in &crowd.clients {
            client.reads_all(room, accepted).await;
            client.reaches(room, epoch).await;
            orders.push((client, client.shown(room)));
        }
        for (client, shown) in &orders {
            let once: BTreeSet<&Bytes> = shown.messages.iter().collect();
            let (lost, alien): (Vec<_>, Vec<_>) = (
                accepted.iter().filter(|content| !once.contains(content)).collect(),
                once.iter().filter(|content| !accepted.contains(**content)).collect(),
            );
            assert!(
                lost.is_empty() && alien.is_empty(),
                "{}: {lost:?} {alien:?}",
                client.uri
            );
            assert_eq!(
                once.len(),
                shown.messages.len(),
                "{} was shown something twice",
                client.uri
            );
            assert_eq!(
                shown.messages, orders[0].1.messages,
                "{} was shown another order",
                client.uri
            );
            assert!(
                shown.seqs.windows(2).all(|pair| pair[0] < pair[1]),
                "{}: {:?}",
                client.uri,
                shown.seqs
            );
        }
        // The hub's numbers are told within its provider: none is missing, from the first message on.
        for (client, shown) in &orders[..2] {
            let tail = &shown.seqs[shown.seqs.len() - accepted.len()..];
            let gapless = tail.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            assert!(gapless, "{}: {tail:?}", client.uri);
        }
        let secrets = crowd.clients.iter().map(|client| {
            assert_eq!(client.epoch(room), epoch, "{}", client.uri);
            client
                .session
                .member(|member| member.epoch_authenticator(room))
                .unwrap()
        });
        assert_eq!(
            secrets.collect::<BTreeSet<_>>().len(),
            1,
            "the clients do not share an epoch"
        );
    }
    let faults: Vec<String> = crowd.clients.iter().flat_map(|client| client.faults()).collect();
    assert!(faults.is_empty(), "{faults:?}");
}
