//! A follower that is more than one: any instance takes what hubs bring, and serves any client. Nothing but the store is shared.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brought;

use std::time::Duration;

use ::client::mls::{Member, ORDINARY};
use brought::{
    Courier, LEDGER, SHARD, client, events, inviter, message, messages, provider, response, room, user, welcome,
};
use bytes::Bytes;
use ledger::Offset;
use ledger::follower::InboxPosition;
use mimi::key_material::KeyMaterialUserCode;
use nave_follower::limits::LOOK_AT_ALL;
use nave_follower::{Follower, Item};
use store::Database;

/// An instance of b.example's follower that is woken by no other.
fn deaf(database: &Database) -> Follower {
    Follower::new(provider("b"), database.clone(), Follower::system_clock()).with_others(true)
}

/// Instances of b.example's follower.
fn instances<const N: usize>() -> [Follower; N] {
    let database = Database::memory();
    [(); N].map(|()| {
        let follower = deaf(&database);
        let lookout = follower.clone();
        tokio::spawn(async move { lookout.look_out().await });
        follower
    })
}

#[tokio::test]
async fn what_is_brought_to_one_instance_reaches_the_clients_of_another_which_go_on_at_a_third() {
    let [one, two, three] = instances();
    let bob = Member::new(client("bob", "phone")).unwrap();
    let key_packages = bob.key_packages(1).unwrap();
    two.upload(&user("bob"), bob.client(), &key_packages).await.unwrap();
    let (mut stream, acks) = two.open(bob.client().clone()).await.unwrap();

    let mut alice = inviter("alice");
    let add = alice.add_user(&room(), &user("bob"), ORDINARY, &key_packages).unwrap();
    alice.on_accepted(&room()).unwrap();
    let mut courier = Courier::new();
    let brought: Vec<Bytes> = [welcome(&add)]
        .into_iter()
        .chain((0..3).map(|n| message(&mut alice, &format!("{n}"))))
        .collect();
    let items: Vec<Item> = brought.iter().map(|octets| courier.message(octets)).collect();
    let mut seen = Vec::new();
    // A hub that does not hear the first instance asks the next one, and brings it everything again.
    for (instance, items) in [(&one, &items[..2]), (&three, &items[..])] {
        let stored = instance.deliver(&provider("a"), LEDGER, SHARD, items).await.unwrap();
        assert_eq!(stored.next, Offset(items.last().unwrap().offset.0 + 1));
        seen.extend(messages(&events(&mut stream, 2).await));
    }
    assert_eq!(seen, brought);
    let position = two.position(&provider("a"), LEDGER, SHARD).await.unwrap();
    assert_eq!(position, Some(Offset(41)));

    acks.acknowledge(&room(), InboxPosition(2)).await.unwrap();
    let (mut elsewhere, _) = three.open(bob.client().clone()).await.unwrap();
    assert_eq!(messages(&events(&mut elsewhere, 2).await), brought[2..]);
    assert!(stream.try_recv().is_err(), "a repeat was shown");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_tells_of_is_seen_within_a_minute() {
    let database = Database::memory();
    let [one, two] = [deaf(&database), deaf(&database)];
    let bob = Member::new(client("bob", "phone")).unwrap();
    let key_packages = bob.key_packages(1).unwrap();
    two.upload(&user("bob"), bob.client(), &key_packages).await.unwrap();
    let (mut stream, _acks) = two.open(bob.client().clone()).await.unwrap();
    let mut alice = inviter("alice");
    let add = alice.add_user(&room(), &user("bob"), ORDINARY, &key_packages).unwrap();
    alice.on_accepted(&room()).unwrap();
    let mut courier = Courier::new();
    let brought = welcome(&add);
    let items = [courier.message(&brought)];
    one.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();
    let shown = tokio::time::timeout(LOOK_AT_ALL + Duration::from_secs(1), stream.recv()).await;
    assert_eq!(messages(&[shown.unwrap().unwrap().unwrap()]), [brought]);
}

#[tokio::test]
async fn a_key_package_is_given_away_once_by_however_many_instances() {
    let instances: [Follower; 4] = instances();
    let bob = Member::new(client("bob", "phone")).unwrap();
    let key_packages = bob.key_packages(1).unwrap();
    instances[0]
        .upload(&user("bob"), bob.client(), &key_packages)
        .await
        .unwrap();
    let asked = (0..16).map(|n| {
        let asks = inviter(&format!("user{n}"));
        let request = asks.key_material_request(&room(), &user("bob")).unwrap();
        let follower = instances[n % 4].clone();
        tokio::spawn(async move { follower.claim(&provider("a"), &request).await.unwrap() })
    });
    let answers = futures::future::join_all(asked).await;
    let given = answers.into_iter().map(|answer| response(&answer.unwrap()).user_status);
    assert_eq!(
        given.filter(|status| *status == KeyMaterialUserCode::Success).count(),
        1
    );
}
