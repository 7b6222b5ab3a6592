//! A minimal-metadata room: its hub sees pseudonyms, its members see each other.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use client::mls::{Franked, Invitation, Linked, Message, ORDINARY, RoomProfile};
use mimi::content::NestedPart;
use mimi::{RoomUri, UserUri};
use proto::hub::AbuseVerdict;

use super::manners::verdict_on;
use crate::demo::party::Party;

/// The domain of a party's provider that has no minimal-metadata rooms, if there is one.
pub async fn without_pseudonyms(parties: &[&Party]) -> anyhow::Result<Option<String>> {
    for party in parties {
        let provider = party.api.who_am_i().await?;
        if !provider.minimal_metadata {
            return Ok(Some(provider.provider));
        }
    }
    Ok(None)
}

/// `founder` makes a room of pseudonyms and invites the user of `guest`, who invites that of `another`; each says something,
/// which all can read and the hub vouches for. The founder, as the hub's moderator, sees a report on a pseudonym proven.
/// Returns the room.
pub async fn minimal_metadata(founder: &Party, guest: &Party, another: &Party) -> anyhow::Result<RoomUri> {
    let room = founder.another_room("masked-ball")?;
    let profile = RoomProfile {
        minimal_metadata: true,
        ..RoomProfile::default()
    };
    founder.session.create_room(&room, &profile).await?;
    invite_masked(&room, founder, &[guest]).await?;
    invite_masked(&room, guest, &[another]).await?;

    let all = [founder, guest, another];
    only_pseudonyms(&room, founder, &all)?;
    for party in all {
        let said = says_masked(&room, party, &all).await?;
        if party.client == another.client {
            let verdict = verdict_on(guest, &room, said, founder).await?;
            ensure!(verdict == AbuseVerdict::Valid, "a message that was said is {verdict:?}");
        }
    }
    for party in all {
        knows(&room, party, &all)?;
    }
    Ok(room)
}

/// `host` tells a user of the room, over a channel of their own; its clients make one pseudonym, by which it is added.
pub async fn invite_masked(room: &RoomUri, host: &Party, guests: &[&Party]) -> anyhow::Result<UserUri> {
    let invitation = host.session.member(|member| member.invitation(room))?.encode();
    let invitation = Invitation::decode(&invitation)?;
    let first = guests.first().context("nobody to invite")?;
    let pseudonym = match guests {
        [only] => only.session.accept_invitation(&invitation).await?,
        _ => {
            let pseudonym = first.session.member(|member| member.new_pseudonym())?;
            let set = guests.iter().map(|guest| {
                let made = |member: &mut client::mls::Member| member.pseudonymous_key_package(&invitation, &pseudonym);
                Ok((guest.client.clone(), guest.session.member(made)?))
            });
            let set: anyhow::Result<Vec<(_, Bytes)>> = set.collect();
            first.session.upload_set(set?).await?;
            pseudonym
        }
    };
    host.session.add_user(room, &pseudonym, ORDINARY).await?;
    for guest in guests {
        guest.is_in(room).await?;
        let name = guest.session.member(|member| member.user_in(room));
        ensure!(name == pseudonym, "{} goes by {name}", guest.client);
    }
    Ok(pseudonym)
}

/// Nobody in the room has a real name.
fn only_pseudonyms(room: &RoomUri, reader: &Party, all: &[&Party]) -> anyhow::Result<()> {
    let (members, participants) = reader.session.member(|member| {
        let members = member.members(room)?;
        Ok::<_, anyhow::Error>((members, member.participants(room)?))
    })?;
    ensure!(
        members.iter().all(|client| client.user().is_pseudonym()),
        "clients in the room are {members:?}"
    );
    let masked = |each: &mimi::Participant| each.user.user().is_ok_and(|user| user.is_pseudonym());
    ensure!(
        participants.participants.iter().all(masked),
        "a participant has a real name"
    );
    ensure!(
        all.iter().all(|party| !members.contains(&party.client)),
        "a client goes by its real name"
    );
    Ok(())
}

/// `party` says something, and everybody hears it from its pseudonym, franked. Gives it as it was shown the first other.
pub async fn says_masked(room: &RoomUri, party: &Party, all: &[&Party]) -> anyhow::Result<Message> {
    let sent = party.session.say(room, NestedPart::text("guess who")).await?;
    let name = party.session.member(|member| member.client_in(room).clone());
    let mut heard = None;
    for reader in all.iter().filter(|reader| reader.client != party.client) {
        let message = reader.hears_in(room, sent.id).await?;
        ensure!(message.sender == name, "{name} is heard as {}", message.sender);
        ensure!(
            message.franked == Franked::Verified,
            "the frank is {:?}",
            message.franked
        );
        heard = heard.or(Some(message));
    }
    heard.context("nobody else is in the room")
}

/// `reader` can tell who everybody is.
pub fn knows(room: &RoomUri, reader: &Party, all: &[&Party]) -> anyhow::Result<()> {
    let linked = reader.session.member(|member| member.linked(room))?;
    for party in all {
        let name = party.session.member(|member| member.client_in(room).clone());
        match linked.get(&name) {
            Some(Linked::Client {
                client,
                confirmed: true,
            }) if *client == party.client => {}
            other => bail!("{} takes {name} for {other:?}", reader.client),
        }
    }
    Ok(())
}
