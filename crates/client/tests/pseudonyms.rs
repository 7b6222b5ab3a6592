//! Minimal-metadata rooms as their members see them: pseudonyms, who is behind them, and what the hub vouches for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use bytes::Bytes;
use client::mls::{CIPHERSUITES, Franked, Invitation, Linked, Member, MemberError, ORDINARY, Received, RoomProfile};
use mimi::abuse::AbuseReport;
use mimi::codec::{Decode as _, Encode as _};
use mimi::content::NestedPart;
use mimi::key_material::KeyMaterialRequest;
use mimi::mls::{Credential, KeyPackage};
use mimi::submit::SubmitMessageRequest;
use mimi::{ClientUri, RoomUri, UserUri};
use relay::{Relay, assert_agreed, done, founded, invited, joined, member, room};

fn veiled() -> RoomProfile {
    RoomProfile {
        minimal_metadata: true,
        ..RoomProfile::default()
    }
}

/// What a member makes of an invitation that it was sent.
fn accept(member: &mut Member, invitation: &Bytes) -> (UserUri, Bytes) {
    let invitation = Invitation::decode(invitation).unwrap();
    let pseudonym = member.new_pseudonym().unwrap();
    let key_package = member.pseudonymous_key_package(&invitation, &pseudonym).unwrap();
    (pseudonym, key_package)
}

/// A member's user is invited into the room, and comes with these clients.
fn invite(relay: &mut Relay, host: &mut Member, guests: &mut [&mut Member]) -> UserUri {
    let invitation = host.invitation(&room()).unwrap();
    let pseudonym = guests[0].new_pseudonym().unwrap();
    let key_packages: Vec<Bytes> = guests
        .iter_mut()
        .map(|guest| guest.pseudonymous_key_package(&invitation, &pseudonym).unwrap())
        .collect();
    let add = host.add_user(&room(), &pseudonym, ORDINARY, &key_packages).unwrap();
    done(relay, host, &add);
    relay.bring(host);
    for guest in guests {
        let received = relay.bring(guest);
        assert!(matches!(received.last(), Some(Received::Joined { .. })), "{received:?}");
    }
    pseudonym
}

fn is_pseudonym(client: &ClientUri) -> bool {
    client.user().is_pseudonym() && client.as_str().rsplit('/').next().unwrap().len() == 36
}

#[test]
fn mm_1_mm_2_a_room_of_pseudonyms_is_founded_and_joined_in_each_cipher_suite() {
    for suite in CIPHERSUITES {
        let (mut alice, mut relay) = founded(&RoomProfile { suite, ..veiled() });
        let mut phone = member("b.example/d/bob/phone");
        let mut laptop = member("b.example/d/bob/laptop");
        let pseudonym = invite(&mut relay, &mut alice, &mut [&mut phone, &mut laptop]);
        assert_agreed(&room(), &[&alice, &phone, &laptop]);
        let clients = alice.members(&room()).unwrap();
        assert_eq!(clients.len(), 3);
        assert!(clients.iter().all(is_pseudonym), "{clients:?}");
        // A user's clients share its pseudonym, and it is the one in the list.
        for bob in [&phone, &laptop] {
            assert_eq!(bob.user_in(&room()), pseudonym);
            assert_ne!(bob.user(), pseudonym);
            assert!(clients.contains(bob.client_in(&room())));
        }
        assert_ne!(phone.client_in(&room()), laptop.client_in(&room()));
        let listed: Vec<UserUri> = alice
            .participants(&room())
            .unwrap()
            .participants
            .iter()
            .map(|each| each.user.user().unwrap())
            .collect();
        assert_eq!(listed, [alice.user_in(&room()), pseudonym]);
        // Two new pseudonyms of one user have nothing in common but the provider.
        let (one, other) = (phone.new_pseudonym().unwrap(), phone.new_pseudonym().unwrap());
        assert!(one != other && one.provider() == phone.user().provider());

        let update = laptop.self_update(&room()).unwrap();
        done(&mut relay, &mut laptop, &update);
        for each in [&mut alice, &mut phone, &mut laptop] {
            relay.bring(each);
        }
        assert_agreed(&room(), &[&alice, &phone, &laptop]);
    }
}

#[test]
fn mm_3_members_and_nobody_else_can_tell_who_is_behind_a_pseudonym() {
    let (mut alice, mut relay) = founded(&veiled());
    let mut bob = member("b.example/d/bob/phone");
    invite(&mut relay, &mut alice, &mut [&mut bob]);
    let real = |member: &Member, confirmed| Linked::Client {
        client: member.client().clone(),
        confirmed,
    };
    for (reader, other) in [(&alice, &bob), (&bob, &alice)] {
        let linked = reader.linked(&room()).unwrap();
        assert_eq!(linked.len(), 2);
        assert_eq!(linked[reader.client_in(&room())], real(reader, true));
        // By its own word, as long as they share no room under their real names.
        assert_eq!(linked[other.client_in(&room())], real(other, false));
    }

    // Everything that the hub is given names nobody.
    let (group_info, tree) = relay.state.clone().unwrap();
    let mut seen: Vec<Vec<u8>> = relay.log.iter().map(|entry| entry.encode()).collect();
    seen.extend([group_info.encode(), tree.encode()]);
    for name in ["alice", "bob", "phone"] {
        let names = |octets: &Vec<u8>| octets.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(!seen.iter().any(names), "{name}");
    }
}

#[test]
fn mm_3_a_link_is_confirmed_by_the_key_that_the_client_has_where_it_goes_by_its_name() {
    let (mut alice, mut bob, mut relay) = invited();
    let elsewhere: RoomUri = "mimi://a.example/r/quiet".parse().unwrap();
    let hub = relay.sender().encode();
    alice.create_room(&elsewhere, &hub, &veiled()).unwrap();
    let invitation = alice.invitation(&elsewhere).unwrap();
    let (pseudonym, key_package) = accept(&mut bob, &invitation.encode());
    alice
        .add_user(&elsewhere, &pseudonym, ORDINARY, &[key_package])
        .unwrap();
    alice.on_accepted(&elsewhere).unwrap();
    let confirmed = |alice: &Member| {
        let linked = alice.linked(&elsewhere).unwrap();
        let of_bob = linked
            .into_iter()
            .find(|(client, _)| client.user() == pseudonym)
            .unwrap()
            .1;
        of_bob
            == Linked::Client {
                client: "mimi://b.example/d/bob/phone".parse().unwrap(),
                confirmed: true,
            }
    };
    assert!(confirmed(&alice));
    // Somebody who calls itself the same is somebody else.
    let update = alice.remove_user(&room(), &bob.user()).unwrap();
    done(&mut relay, &mut alice, &update);
    assert!(!confirmed(&alice));
    let mut laptop = member("a.example/d/alice/laptop");
    joined(&mut relay, &mut alice, &mut laptop, None);
    assert!(!confirmed(&alice));
}

#[test]
fn mm_3_nobody_is_added_of_whom_the_members_cannot_tell_who_it_is() {
    let (mut alice, _) = founded(&veiled());
    let mut other = member("a.example/d/alice/tablet");
    let hub = Relay::new().sender().encode();
    other.create_room(&room(), &hub, &veiled()).unwrap();
    let mut bob = member("b.example/d/bob/phone");
    // An invitation into another room of this name has another identity key.
    let elsewhere = other.invitation(&room()).unwrap().encode();
    let (pseudonym, foreign) = accept(&mut bob, &elsewhere);
    let refused = alice.add_user(&room(), &pseudonym, ORDINARY, &[foreign]);
    assert!(
        matches!(refused, Err(MemberError::Refused("encrypted under another key"))),
        "{refused:?}"
    );
    let named = bob.key_packages(1).unwrap();
    let refused = alice.add_user(&room(), &bob.user(), ORDINARY, &named);
    assert!(
        matches!(refused, Err(MemberError::Refused("a real name"))),
        "{refused:?}"
    );
    // MM-2: each client under the pseudonym that is added.
    let invitation = alice.invitation(&room()).unwrap().encode();
    let (_, key_package) = accept(&mut bob, &invitation);
    let another = bob.new_pseudonym().unwrap();
    assert!(alice.add_user(&room(), &another, ORDINARY, &[key_package]).is_err());
    assert_eq!(alice.epoch(&room()), Some(0));
}

#[test]
fn mm_1_a_key_package_for_one_room_leads_into_no_other() {
    let (mut alice, mut relay) = founded(&veiled());
    let mut bob = member("b.example/d/bob/phone");
    let invitation = alice.invitation(&room()).unwrap().encode();
    let (pseudonym, key_package) = accept(&mut bob, &invitation);
    let parsed = KeyPackage::decode_exact(&key_package).unwrap();
    assert_eq!(parsed.credential().credential_type, Credential::PSEUDONYMOUS);
    let add = alice.add_user(&room(), &pseudonym, ORDINARY, &[key_package]).unwrap();
    done(&mut relay, &mut alice, &add);
    let elsewhere: RoomUri = "mimi://a.example/r/elsewhere".parse().unwrap();
    let received: Vec<Received> = relay
        .log
        .iter()
        .map(|entry| bob.receive(&elsewhere, entry).unwrap())
        .collect();
    assert!(
        matches!(received[..], [Received::NotForMe, Received::OutOfStep(_)]),
        "{received:?}"
    );
    assert!(bob.rooms().next().is_none());

    let octets = Bytes::from_static(b"\x05mimi:");
    assert!(Invitation::decode(&octets).is_err() && Invitation::decode(b"").is_err());
    let (named, _) = founded(&RoomProfile::default());
    assert!(named.invitation(&room()).is_err() && named.linked(&room()).is_err());
}

#[test]
fn mm_2_another_client_of_a_user_joins_from_outside_under_the_same_pseudonym() {
    let (mut alice, mut relay) = founded(&veiled());
    let mut phone = member("b.example/d/bob/phone");
    let mut laptop = member("b.example/d/bob/laptop");
    let pseudonym = invite(&mut relay, &mut alice, &mut [&mut phone]);
    let told = phone.invitation(&room()).unwrap();
    let (request, keys) = laptop.group_info_request_under(&told, &pseudonym).unwrap();
    let answer = relay.group_info_of(&relay, &request, &room());
    let update = laptop.join_by_external_commit(&answer, &keys, None).unwrap();
    done(&mut relay, &mut laptop, &update);
    for each in [&mut alice, &mut phone, &mut laptop] {
        relay.bring(each);
    }
    assert_agreed(&room(), &[&alice, &phone, &laptop]);
    assert_eq!(laptop.user_in(&room()), pseudonym);
    let behind = Linked::Client {
        client: laptop.client().clone(),
        confirmed: false,
    };
    assert_eq!(alice.linked(&room()).unwrap()[laptop.client_in(&room())], behind);
    assert_eq!(alice.participants(&room()).unwrap().participants.len(), 2);
    let foreign = alice.new_pseudonym().unwrap();
    assert!(laptop.group_info_request_under(&told, &foreign).is_err());
}

#[test]
fn mm_4_franks_requests_and_reports_name_pseudonyms() {
    let (mut alice, mut relay) = founded(&veiled());
    let mut bob = member("b.example/d/bob/phone");
    let pseudonym = invite(&mut relay, &mut alice, &mut [&mut bob]);

    let content = bob.compose(&room(), NestedPart::text("hello")).unwrap();
    assert_eq!(content.extensions.sender_uri(), Some(pseudonym.as_str()));
    let outgoing = bob.send_content(&room(), &content).unwrap();
    let request = SubmitMessageRequest::decode_exact(&outgoing.request).unwrap();
    assert_eq!(request.sending_uri.user(), Ok(pseudonym.clone()));
    relay.submit(&outgoing.request);
    let received = relay.bring(&mut alice);
    let [Received::Message(message)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(message.franked, Franked::Verified);
    assert_eq!(message.sender, *bob.client_in(&room()));

    let report = alice.report(&room(), std::slice::from_ref(message), 0, "").unwrap();
    let report = AbuseReport::decode_exact(&report).unwrap();
    assert_eq!(report.alleged_abuser.user(), Ok(pseudonym.clone()));
    assert_eq!(report.reporting_user.user(), Ok(alice.user_in(&room())));

    let asked = alice.key_material_request(&room(), &pseudonym).unwrap();
    let asked = KeyMaterialRequest::decode_exact(&asked).unwrap();
    assert_eq!(asked.requesting_user.user(), Ok(alice.user_in(&room())));
    assert_eq!(
        asked.requester_credential.client().as_ref(),
        Ok(alice.client_in(&room()))
    );
    assert_eq!(asked.required_capabilities.credential_types, [Credential::PSEUDONYMOUS]);

    // A content that claims a real name is no content of the room's.
    let mut claims = content;
    claims.extensions = bob
        .compose(&"mimi://a.example/r/x".parse().unwrap(), NestedPart::text("x"))
        .unwrap()
        .extensions;
    assert!(bob.send_content(&room(), &claims).is_err());
}
