//! Minimal-metadata rooms at their hub: whoever is in one goes by a pseudonym. Clients are real; those that break a rule keep
//! MLS.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::rc::Rc;

use bytes::Bytes;
use client::mls::{ORDINARY, Received, RoomProfile};
use mimi::mls::{Credential, GroupInfo, PseudonymousCredential};
use mimi::{ClientUri, Decode as _, Participant, ParticipantListUpdate, UserUri};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{CredentialWithKey, Extensions, GroupContext};
use openmls_basic_credential::SignatureKeyPair;
use room::{Founding, Refusal, Room};
use world::keys::Signers;
use world::raw::{Raw, Wish, join, key_package};
use world::{World, founding, id, not_allowed};

const BOB: &str = "00000000-0000-4000-8000-00000000000b";
const PHONE: &str = "00000000-0000-4000-8000-000000000001";
const LAPTOP: &str = "00000000-0000-4000-8000-000000000002";

fn veiled() -> RoomProfile {
    RoomProfile {
        minimal_metadata: true,
        ..RoomProfile::default()
    }
}

fn fields(client: &ClientUri, key: &[u8]) -> PseudonymousCredential {
    PseudonymousCredential {
        client_pseudonym: client.into(),
        user_pseudonym: (&client.user()).into(),
        signature_public_key: Bytes::copy_from_slice(key),
        identity_link_ciphertext: Bytes::from_static(b"opaque to the hub"),
    }
}

/// A client under a pseudonym, by its path.
fn masked(path: &str) -> Raw {
    let mut raw = Raw::new(path);
    raw.credential = Some(fields(&raw.uri, raw.signer.public()).credential());
    raw
}

fn extensions(founding: &Founding) -> Extensions<GroupContext> {
    let info = GroupInfo::decode_exact(&founding.group_info).unwrap();
    let info = VerifiableGroupInfo::tls_deserialize_exact_bytes(info.octets()).unwrap();
    info.group_context().extensions().clone()
}

/// What a room of pseudonyms is founded with, and the path of a client of its one participant.
fn parts() -> (Extensions<GroupContext>, SignatureKeyPair, String) {
    let (alice, founding, signer) = founding(&veiled());
    let user = alice.user_in(&id());
    let name = user.as_str().rsplit('/').next().unwrap();
    (extensions(&founding), signer, format!("a.example/d/{name}/{LAPTOP}"))
}

/// A room of pseudonyms, whose founder does what it likes.
fn raw_founder() -> (World, Raw) {
    let (extensions, signer, path) = parts();
    let mut mallory = masked(&path);
    let (founding, group) = mallory.found(b"group", extensions);
    mallory.group = Some(group);
    (World::of(founding, signer), mallory)
}

fn added(user: &UserUri) -> ParticipantListUpdate {
    ParticipantListUpdate {
        added: vec![Participant {
            user: user.into(),
            role: ORDINARY,
        }],
        ..ParticipantListUpdate::default()
    }
}

#[test]
fn mm_1_mm_2_a_room_of_pseudonyms_is_founded_joined_and_opened_again() {
    let (mut world, mut alice) = World::found(&veiled());
    let invitation = alice.invitation(&id()).unwrap();
    let mut clients = ["phone", "laptop"].map(|device| world::member(&format!("b.example/d/bob/{device}")));
    let pseudonym = clients[0].new_pseudonym().unwrap();
    let packages: Vec<Bytes> = clients
        .iter_mut()
        .map(|client| client.pseudonymous_key_package(&invitation, &pseudonym).unwrap())
        .collect();
    let add = alice.add_user(&id(), &pseudonym, ORDINARY, &packages).unwrap();
    world.handshake(&mut alice, &add).unwrap();
    let [mut phone, mut laptop] = clients;
    for bob in [&mut phone, &mut laptop] {
        let received = world.bring(bob);
        assert!(matches!(received.last(), Some(Received::Joined { .. })), "{received:?}");
    }
    world.restart();
    let update = phone.self_update(&id()).unwrap();
    world.handshake(&mut phone, &update).unwrap();
    for each in [&mut alice, &mut laptop, &mut phone] {
        world.bring(each);
    }
    world.assert_agreed(&[&alice, &phone, &laptop]);
    assert!(world.room.view().is_minimal_metadata());
    assert_eq!(world.room.view().clients(&pseudonym).count(), 2);
    assert!(world.room.view().active_users().all(UserUri::is_pseudonym));
    let message = laptop.send(&id(), b"hello").unwrap();
    world.submit("b.example", &message).unwrap();

    // Leaving works under pseudonyms, too.
    let leave = phone.leave(&id()).unwrap();
    world.handshake(&mut phone, &leave).unwrap();
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(!world.room.view().is_active(&pseudonym));
}

#[test]
fn mm_1_no_room_of_pseudonyms_is_founded_under_a_real_name_or_another_leafs_pseudonym() {
    let (extensions, signer, path) = parts();
    let signer = Rc::new(signer);
    let found = |raw: &Raw| {
        let (founding, _) = raw.found(b"group", extensions.clone());
        Room::found(id(), founding, room::Millis(1), &Signers::of(&signer)).map(drop)
    };
    assert_eq!(found(&masked(&path)), Ok(()));
    not_allowed(found(&Raw::new(&path)), "a real name in a room of pseudonyms");
    let mut borrowed = Raw::new(&path);
    borrowed.credential = Some(fields(&borrowed.uri, b"another key").credential());
    not_allowed(found(&borrowed), "not its leaf's");
}

#[test]
fn mm_1_mm_2_a_commit_brings_in_no_real_name_and_no_other_pseudonym_than_is_listed() {
    let (mut world, mut mallory) = raw_founder();
    let phone = format!("b.example/d/{BOB}/{PHONE}");
    let bob: ClientUri = format!("mimi://{phone}").parse().unwrap();
    let named: UserUri = "mimi://b.example/u/bob".parse().unwrap();
    let mut other_key = Raw::new(&phone);
    other_key.credential = Some(fields(&bob, mallory.signer.public()).credential());
    let stranger = masked(&format!("b.example/d/{PHONE}/{PHONE}"));
    let attempts = [
        (
            added(&bob.user()),
            vec![Raw::new(&phone)],
            "a real name in a room of pseudonyms",
        ),
        (added(&named), vec![], "a participant with a real name"),
        (
            added(&named),
            vec![Raw::new("b.example/d/bob/phone")],
            "a real name in a room of pseudonyms",
        ),
        (added(&bob.user()), vec![other_key], "not its leaf's"),
        (
            added(&bob.user()),
            vec![masked(&phone), stranger],
            "a client whose user is not in the list",
        ),
    ];
    let epoch = world.room.epoch();
    for (list, clients, why) in attempts {
        let adds = clients
            .iter()
            .map(|client| key_package(&client.key_package()))
            .collect();
        let wish = Wish {
            adds,
            list: Some(list),
            ..Wish::default()
        };
        let body = mallory.commit(wish).body();
        not_allowed(world.update("a.example", &body), why);
        mallory.forget();
    }
    assert_eq!(world.room.epoch(), epoch);
    let laptop = masked(&format!("b.example/d/{BOB}/{LAPTOP}"));
    let adds = [&masked(&phone), &laptop].map(|client| key_package(&client.key_package()));
    let wish = Wish {
        adds: adds.to_vec(),
        list: Some(added(&bob.user())),
        ..Wish::default()
    };
    let body = mallory.commit(wish).body();
    world.update("a.example", &body).unwrap();
    assert_eq!(world.room.view().clients(&bob.user()).count(), 2);
}

#[test]
fn mm_1_a_client_does_not_lay_its_pseudonym_down() {
    let (mut world, mut mallory) = raw_founder();
    let named = Credential::basic(mallory.uri.as_str().to_owned());
    let credential = CredentialWithKey {
        credential: openmls::prelude::Credential::new(named.credential_type.into(), named.content.to_vec()),
        signature_key: mallory.signer.public().into(),
    };
    let wish = Wish {
        credential: Some(credential),
        ..Wish::default()
    };
    let body = mallory.commit(wish).body();
    not_allowed(world.update("a.example", &body), "a real name in a room of pseudonyms");
}

#[test]
fn mm_1_nobody_comes_into_a_room_of_pseudonyms_from_outside_by_another_name() {
    let (mut world, mallory) = raw_founder();
    let user = mallory.uri.user();
    let name = user.as_str().rsplit('/').next().unwrap();
    let path = format!("a.example/d/{name}/{PHONE}");
    let epoch = world.room.epoch().0;
    let refused = world.update("a.example", &join(&Raw::new(&path), &world, epoch));
    let named = "a real name in a room of pseudonyms";
    assert!(
        matches!(refused, Err(Refusal::InvalidProposal { why, .. }) if why == named),
        "{refused:?}"
    );
    let accepted = world.update("a.example", &join(&masked(&path), &world, epoch));
    assert!(accepted.is_ok(), "{accepted:?}");
}
