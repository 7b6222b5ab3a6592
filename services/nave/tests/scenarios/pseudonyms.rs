//! MM-1 to MM-4: rooms of pseudonyms, from their founding, with clients of three providers.

use client::api::ApiError;
use client::mls::{Invitation, ORDINARY, RoomProfile};
use client::session::SessionError;
use mimi::codec::Encode as _;
use mimi::content::NestedPart;
use mimi::submit::SubmitMessageRequest;
use mimi::{Decode as _, RoomUri};
use nave::demo::acts::{agree, invite_masked, knows, minimal_metadata, says_masked};
use nave::demo::party::{PATIENCE, Party};

use crate::world::{B, C, World};

fn veiled() -> RoomProfile {
    RoomProfile {
        minimal_metadata: true,
        ..RoomProfile::default()
    }
}

fn distrusts(party: &Party, room: &RoomUri) -> Option<String> {
    let distrust = |member: &mut client::mls::Member| member.distrust(room).map(str::to_owned);
    party.session.member(distrust)
}

/// Waits until something holds that events of another room than the watched one bring about.
async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mm_1_mm_2_mm_3_mm_4_a_room_of_pseudonyms_is_founded_joined_spoken_in_and_reported_from() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let room = minimal_metadata(&alice, &bob, &cathy).await.unwrap();
    for party in [&alice, &bob, &cathy] {
        assert_eq!(distrusts(party, &room), None);
    }

    // Its provider and nobody else's vouches that a pseudonym is the user's.
    let (said, name) = bob.session.member(|member| {
        let content = member.compose(&room, NestedPart::text("not sent by bob")).unwrap();
        (
            member.send_content(&room, &content).unwrap().request,
            member.user_in(&room),
        )
    });
    let stolen = cathy.api.submit(&cathy.client, &room, said.clone()).await;
    assert!(
        matches!(stolen, Err(ApiError::Refused { status: 403, .. })),
        "{stolen:?}"
    );
    let request = SubmitMessageRequest::decode_exact(&said).unwrap();
    assert_eq!(request.sending_uri.user(), Ok(name.clone()));
    let imputed = SubmitMessageRequest {
        sending_uri: (&cathy.session.member(|member| member.user_in(&room))).into(),
        ..request
    };
    let imputed = bob.api.submit(&bob.client, &room, imputed.encode().into()).await;
    assert!(
        matches!(imputed, Err(ApiError::Refused { status: 403, .. })),
        "{imputed:?}"
    );
    let taken = cathy.api.register_pseudonym(&cathy.client, &name).await;
    assert!(taken.is_err(), "a pseudonym of another provider");

    // Whoever leaves and comes again has another name.
    bob.session.leave(&room).await.unwrap();
    until(|| alice.session.member(|member| member.pending_proposals(&room)) == 2).await;
    alice.session.commit_pending(&room).await.unwrap();
    let listed = alice.session.member(|member| member.participants(&room)).unwrap();
    assert!(listed.position(name.as_str().as_bytes()).is_none());
    until(|| bob.session.member(|member| member.epoch(&room)).is_none()).await;
    let again = invite_masked(&room, &cathy, &[&bob]).await.unwrap();
    assert_ne!(again, name);
    says_masked(&room, &bob, &[&alice, &bob, &cathy]).await.unwrap();
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mm_2_mm_3_clients_of_one_user_come_in_together_under_one_pseudonym() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let laptop = world.second(C).await;
    for party in [&alice, &bob, &cathy] {
        party.reaches(laptop.epoch()).await.unwrap();
    }
    let room = bob.another_room("quiet").unwrap();
    alice.session.create_room(&room, &veiled()).await.unwrap();
    let pseudonym = invite_masked(&room, &alice, &[&cathy, &laptop]).await.unwrap();
    let clients = alice.session.member(|member| member.members(&room)).unwrap();
    assert_eq!(clients.iter().filter(|client| client.user() == pseudonym).count(), 2);
    for reader in [&alice, &cathy, &laptop] {
        knows(&room, reader, &[&alice, &cathy, &laptop]).unwrap();
    }
    for speaker in [&laptop, &alice] {
        let all = [&alice, &cathy, &laptop];
        says_masked(&room, speaker, &all).await.unwrap();
    }
    // A client that is new joins from outside, under the pseudonym of the others.
    let tablet = world.party(C, "tablet").await;
    let told = cathy.session.member(|member| member.invitation(&room)).unwrap();
    tablet.session.join_under(&told, &pseudonym, None).await.unwrap();
    says_masked(&room, &tablet, &[&alice, &cathy, &laptop, &tablet])
        .await
        .unwrap();
    let clients = alice.session.member(|member| member.members(&room)).unwrap();
    assert_eq!(clients.iter().filter(|client| client.user() == pseudonym).count(), 3);
    let stolen = bob.session.join_under(&told, &pseudonym, None).await;
    assert!(stolen.is_err(), "a pseudonym of another provider");
    // The set is used up, and nobody knows another.
    let before = alice.session.member(|member| member.epoch(&room));
    let unknown = bob.session.member(|member| member.new_pseudonym()).unwrap();
    for user in [&unknown, &bob.user()] {
        assert!(alice.session.add_user(&room, user, ORDINARY).await.is_err());
    }
    assert_eq!(alice.session.member(|member| member.epoch(&room)), before);
    agree(&[alice, bob, cathy, laptop]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mm_3_a_provider_where_they_are_switched_off_has_no_pseudonyms_and_no_such_rooms() {
    let mut world = World::new().await;
    let config = world.stage.configs()[B].clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("minimal_metadata = true", "minimal_metadata = false"),
    )
    .unwrap();
    world.stage.stop(B).await;
    world.start_again(B).await;
    let (alice, bob) = (world.party(0, "phone").await, world.party(B, "phone").await);
    alice.session.create_room(&world.room, &veiled()).await.unwrap();

    let invitation = alice.session.member(|member| member.invitation(&world.room)).unwrap();
    let invitation = Invitation::decode(&invitation.encode()).unwrap();
    let accepted = bob.session.accept_invitation(&invitation).await.map(drop);
    let own: RoomUri = "mimi://b.example/r/quiet".parse().unwrap();
    let founded = bob.session.create_room(&own, &veiled()).await;
    for refused in [accepted, founded] {
        match refused {
            Err(SessionError::Api(ApiError::Denied(why))) => assert!(why.contains("switched off"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(bob.session.member(|member| member.epoch(&own)).is_none());
    bob.session.create_room(&own, &RoomProfile::default()).await.unwrap();
    world.end().await;
}
