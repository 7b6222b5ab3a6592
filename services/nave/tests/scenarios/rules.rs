//! S-7, S-12 and S-13: what the hub refuses, and what it sees to.

use bytes::Bytes;
use client::mls::{Answered, ORDINARY, RoomProfile, Submitted};
use client::session::SessionError;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::{Message, wire_format};
use mimi::update::{HandshakeBundle, UpdateRequest};
use nave::demo::acts::{agree, leave, policy_refusal, settle};

use crate::world::{B, World, clients};

#[tokio::test(flavor = "multi_thread")]
async fn s_7_who_is_banned_neither_speaks_nor_commits_nor_comes_back() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    policy_refusal(&bob, &cathy, &[&alice, &bob, &cathy]).await.unwrap();

    let held = bob.encrypt(b"on its way").unwrap();
    let commit = bob.session.member(|member| member.self_update(&world.room)).unwrap();
    alice.session.ban(&world.room, &bob.user()).await.unwrap();
    assert_eq!(bob.submit(held).await.unwrap(), Submitted::NotAllowed);
    let answer = bob.api.update(&bob.client, &world.room, commit).await.unwrap();
    let answered = bob.session.member(|member| member.on_answer(&world.room, &answer));
    assert!(
        matches!(answered, Ok(Answered::NotAllowed(_) | Answered::WrongEpoch(_))),
        "{answered:?}"
    );
    bob.is_removed().await.unwrap();

    // Another client of the user gets no GroupInfo, so it has nothing to make an external commit of.
    let tablet = world.party(B, "tablet").await;
    let joined = tablet.session.join(&world.room, None).await;
    assert!(
        matches!(
            joined,
            Err(SessionError::Member(_) | SessionError::Api(_) | SessionError::NotAllowed(_))
        ),
        "{joined:?}"
    );
    cathy.reaches(alice.epoch()).await.unwrap();
    assert!(!clients(&cathy).iter().any(|client| client.contains("/bob/")));
    cathy.says("in peace", &alice).await.unwrap();
    assert!(!alice.messages().iter().any(|content| content == "on its way"));
    agree(&[alice, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_a_semi_private_message_is_refused_clearly_and_changes_nothing() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let mut writer = Writer::default();
    writer.raw(&[0, 1]);
    wire_format::SEMI_PRIVATE_MESSAGE.write(&mut writer);
    writer.opaque(world.room.as_str().replacen("/r/", "/g/", 1).as_bytes());
    bob.epoch().write(&mut writer);
    // A proposal, and nothing in what would be encrypted.
    writer.raw(&[2, 0, 0, 0, 0, 0, 0]);
    let message = Message::decode_exact(&writer.into_octets()).unwrap();
    let bundle = HandshakeBundle::Proposals {
        proposals: vec![message],
    };
    let body: Bytes = UpdateRequest { bundle }.encode().into();
    let answer = bob.api.update(&bob.client, &world.room, body).await.unwrap();
    let answered = bob.session.member(|member| member.on_answer(&world.room, &answer));
    let Ok(Answered::NotAllowed(why)) = answered else {
        panic!("{answered:?}");
    };
    assert!(why.contains("SemiPrivateMessage"), "{why}");
    let epoch = alice.epoch();
    cathy.says("as before", &alice).await.unwrap();
    assert_eq!(alice.epoch(), epoch);
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_13_p_19_who_leaves_a_room_is_taken_out_of_those_that_depend_on_it() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let annex = alice.another_room("annex").unwrap();
    let depending = RoomProfile {
        parent: Some(world.room.clone()),
        ..RoomProfile::default()
    };
    alice.session.create_room(&annex, &depending).await.unwrap();
    alice.session.add_user(&annex, &bob.user(), ORDINARY).await.unwrap();
    bob.is_in(&annex).await.unwrap();
    bob.session.send(&annex, b"in the annex").await.unwrap();

    leave(&bob, &alice, &cathy).await.unwrap();
    alice.has_pending_in(&annex, 1).await.unwrap();
    let sent = bob.session.send(&annex, b"not any more").await;
    assert!(sent.is_err(), "{sent:?}");
    alice.session.commit_pending(&annex).await.unwrap();
    let members = alice.session.member(|member| member.members(&annex)).unwrap();
    assert_eq!(members, std::slice::from_ref(&alice.client));
    let list = alice.session.member(|member| member.participants(&annex)).unwrap();
    assert_eq!(list.position(bob.user().as_str().as_bytes()), None);
    // With Cathy it would be no part of its parent any more, but all of it.
    alice
        .session
        .add_user(&annex, &cathy.user(), ORDINARY)
        .await
        .unwrap_err();
    settle(&[&alice, &cathy]).await.unwrap();
    agree(&[alice, cathy]).await.unwrap();
    world.end().await;
}
