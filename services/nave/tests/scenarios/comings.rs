//! S-1 to S-3, S-5, S-6 and S-8: rooms, and who comes and leaves.

use std::collections::BTreeSet;

use client::mls::{ADMIN, ORDINARY, POST_QUANTUM, RoomProfile};
use mimi::mls::KeyPackage;
use mimi::{Decode as _, RoomUri};
use nave::demo::acts::{agree, ask_and_grant, invite, leave, settle};

use crate::world::{A, B, C, World, clients, names, senders};

#[tokio::test(flavor = "multi_thread")]
async fn s_1_a_user_creates_a_room_and_comes_in_with_all_its_clients() {
    let world = World::new().await;
    let phone = world.founder().await;
    assert_eq!(phone.epoch(), 0);
    let second = world.second(A).await;
    phone.reaches(second.epoch()).await.unwrap();
    second.says("in", &phone).await.unwrap();
    let list = second
        .session
        .member(|member| member.participants(&world.room))
        .unwrap();
    let listed = list.participants.iter();
    assert_eq!(
        listed.map(|participant| participant.role).collect::<Vec<_>>(),
        [ADMIN],
        "one participant however many clients"
    );
    assert_eq!(clients(&phone).len(), 2);
    assert_eq!(senders(&phone), ["a.example"]);
    agree(&[phone, second]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_2_a_user_of_another_provider_is_added_and_each_of_its_clients_welcomed() {
    let world = World::new().await;
    let alice = world.founder().await;
    let (bob, tablet) = (world.party(B, "phone").await, world.party(B, "tablet").await);
    invite(&alice, &bob, [&alice, &bob, &tablet]).await.unwrap();
    assert_eq!(clients(&alice).len(), 3);
    names(&[&alice, &bob, &tablet], &["a.example", "b.example"]).await;
    agree(&[alice, bob, tablet]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_3_a_user_of_a_follower_adds_one_of_another_through_the_hub() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    names(&[&cathy, &alice, &bob], &["a.example", "b.example", "c.example"]).await;
    for (one, other) in [(&cathy, &alice), (&alice, &bob), (&bob, &cathy)] {
        one.says("hello", other).await.unwrap();
    }
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_5_a_user_leaves_and_its_provider_leaves_the_room_with_it() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    names(&[&alice, &bob, &cathy], &["a.example", "b.example", "c.example"]).await;
    leave(&bob, &alice, &cathy).await.unwrap();
    settle(&[&alice, &cathy]).await.unwrap();
    assert_eq!(senders(&alice), ["a.example", "c.example"]);
    assert_eq!(clients(&cathy).len(), 2);
    let shown = bob.messages().len();
    cathy.says("among us", &alice).await.unwrap();
    // Bob comes back, and has not been shown what was said without him.
    invite(&alice, &bob, [&alice, &bob, &cathy]).await.unwrap();
    settle(&[&alice, &bob, &cathy]).await.unwrap();
    let since = bob.messages().split_off(shown);
    assert!(since.iter().all(|content| content.starts_with(b"settled")), "{since:?}");
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_6_an_external_commit_takes_departures_along_and_the_hub_proposes_the_rest_again() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let second = world.second(B).await;
    // What is said in an epoch before it came in, it cannot read.
    alice.reaches(second.epoch()).await.unwrap();
    let everybody = [&alice, &bob, &cathy, &second];
    names(&everybody, &["a.example", "b.example", "c.example"]).await;
    // Of these, an external commit takes along that the phone removes itself, and voids that the second client goes, too.
    bob.session.leave(&world.room).await.unwrap();
    for party in [&alice, &cathy] {
        party.has_pending(3).await.unwrap();
    }
    let laptop = world.second(C).await;
    bob.is_removed().await.unwrap();
    for party in [&alice, &cathy] {
        party.reaches(laptop.epoch()).await.unwrap();
    }
    alice.has_pending(1).await.unwrap();
    alice.session.commit_pending(&world.room).await.unwrap();
    second.is_removed().await.unwrap();
    let bobs = |client: &String| client.contains("/bob/");
    assert!(!clients(&alice).iter().any(bobs));
    let list = alice.session.member(|member| member.participants(&world.room)).unwrap();
    assert_eq!(list.position(bob.user().as_str().as_bytes()), None);
    settle(&[&alice, &cathy, &laptop]).await.unwrap();
    assert_eq!(senders(&laptop), ["a.example", "c.example"]);
    agree(&[alice, cathy, laptop]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_8_who_is_added_with_the_key_packages_of_a_grant_is_welcomed_all_the_same() {
    let world = World::new().await;
    let alice = world.party(A, "phone").await;
    let bob = world.party(B, "phone").await;
    let room = &world.room;
    alice.session.create_room(room, &RoomProfile::default()).await.unwrap();
    ask_and_grant(&alice, &bob, room, 1).await.unwrap();
    // Nobody asks the hub for key material: it knows the KeyPackage from the commit alone.
    let user = bob.user();
    let added = alice.session.add_granted(room, &user, ORDINARY, Some(room));
    added.await.unwrap();
    bob.is_in(room).await.unwrap();
    alice.says("welcome", &bob).await.unwrap();
    agree(&[alice, bob]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m_5_a_room_of_a_post_quantum_suite_is_used_as_any_other() {
    let world = World::new().await;
    let alice = world.party(A, "phone").await;
    let bob = world.party(B, "phone").await;
    let room = &world.room;
    let suite = POST_QUANTUM;
    bob.session.upload_key_packages_in(suite, 1).await.unwrap();
    let profile = RoomProfile {
        suite,
        ..RoomProfile::default()
    };
    alice.session.create_room(room, &profile).await.unwrap();
    invite(&alice, &bob, [&alice, &bob]).await.unwrap();
    names(&[&alice, &bob], &["a.example", "b.example"]).await;
    let laptop = world.party(B, "laptop").await;
    laptop.session.join(room, None).await.unwrap();
    alice.reaches(laptop.epoch()).await.unwrap();
    alice.says("hello", &laptop).await.unwrap();
    assert_eq!(laptop.session.member(|member| member.suite(room)), Some(suite));
    agree(&[alice, bob, laptop]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ce_2_each_key_package_that_a_client_uploads_is_given_once_and_the_marked_one_last() {
    let world = World::new().await;
    let (alice, bob) = (world.party(A, "phone").await, world.party(B, "phone").await);
    let waiting = bob.session.upload_last_resort().await.unwrap();
    let mut claimed: Vec<KeyPackage> = Vec::new();
    for number in 0..=waiting {
        let room: RoomUri = alice.another_room(&number.to_string()).unwrap();
        alice.session.create_room(&room, &RoomProfile::default()).await.unwrap();
        let asked = alice
            .session
            .member(|member| member.key_material_request(&room, &bob.user()));
        let answer = alice
            .api
            .key_material(&alice.client, &room, asked.unwrap())
            .await
            .unwrap();
        let given = alice
            .session
            .member(|member| member.open_key_material(&bob.user(), &answer));
        match given {
            Ok(given) => claimed.extend(given.iter().map(|octets| KeyPackage::decode_exact(octets).unwrap())),
            Err(why) => assert!(number == waiting, "{why} for the claim after {number}"),
        }
    }
    assert_eq!(claimed.len() as u32, waiting);
    let references: BTreeSet<_> = claimed.iter().map(|package| package.reference().unwrap()).collect();
    assert_eq!(references.len(), claimed.len());
    let marked: Vec<bool> = claimed.iter().map(KeyPackage::is_last_resort).collect();
    let (last, others) = marked.split_last().unwrap();
    assert!(*last && !others.contains(&true), "{marked:?}");
    world.end().await;
}
