//! Consent, roles, reports of abuse and assets.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::mls::{ADMIN, MemberError, Message, ORDINARY, RoomProfile};
use client::session::SessionError;
use mimi::content::{ExternalPart, NestedPart, Part};
use mimi::{RoomUri, UserUri};
use proto::follower::{ConsentBook, Profile, WhoMayAdd};
use proto::hub::{AbuseCase, AbuseVerdict};

use crate::demo::party::{PATIENCE, Party};

/// How often something is looked for that no event tells of.
const LOOK: Duration = Duration::from_millis(20);
/// What is shared.
pub const ASSET: &[u8] = b"not a picture, but nobody between its sender and its receivers can tell";

/// The user of `guest` wants to be asked. It is not added to another room of `host` unasked; when asked it consents, and
/// is added. Afterwards everybody may add it again.
pub async fn consent(host: &Party, guest: &Party) -> anyhow::Result<()> {
    let room = host.another_room("lounge")?;
    let before = guest.session.profile().await?;
    let cautious = Profile {
        who_may_add: WhoMayAdd::WithConsent.into(),
        ..before.clone()
    };
    guest.session.set_profile(&cautious).await?;
    let played = async {
        host.session.create_room(&room, &RoomProfile::default()).await?;
        match host.session.add_user(&room, &guest.user(), ORDINARY).await {
            Err(SessionError::Member(MemberError::Refused(why))) if why.starts_with("no consent") => {}
            other => bail!("without consent, an addition ended with {other:?}"),
        }
        ask_and_grant(host, guest, &room, 0).await?;
        host.session.add_user(&room, &guest.user(), ORDINARY).await?;
        guest.is_in(&room).await
    };
    let played = played.await;
    guest.session.set_profile(&before).await?;
    played
}

/// `host` asks the user of `guest` for consent to be added to `room`, who grants it, with this many KeyPackages. Returns
/// when the grant has arrived.
pub async fn ask_and_grant(host: &Party, guest: &Party, room: &RoomUri, key_packages: usize) -> anyhow::Result<()> {
    host.session.request_consent(&guest.user(), Some(room)).await?;
    listed(guest, ConsentBook::Asked, &host.user(), room).await?;
    guest
        .session
        .grant_consent(&host.user(), Some(room), key_packages)
        .await?;
    listed(host, ConsentBook::Received, &guest.user(), room).await
}

/// Waits until one of a user's books of consents says something of another and a room.
async fn listed(party: &Party, book: ConsentBook, other: &UserUri, room: &RoomUri) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let consents = party.session.consents(book).await?;
        let is_it =
            |consent: &proto::follower::Consent| consent.other == other.as_str() && consent.room == room.as_str();
        if consents.iter().any(is_it) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("{} waited {} s for consent", party.client, PATIENCE.as_secs())
}

/// `party`, an ordinary user, wants to ban `victim` and to rise: the hub refuses, and the room is as it was.
pub async fn policy_refusal(party: &Party, victim: &Party, everybody: &[&Party]) -> anyhow::Result<()> {
    super::settle(everybody).await?;
    let room = &party.room;
    let state = |party: &Party| {
        let participants = party.session.member(|member| member.participants(room));
        participants.map(|participants| (party.epoch(), participants))
    };
    let before = state(party)?;
    let ban = party.session.ban(room, &victim.user()).await;
    let rise = party.session.set_role(room, &party.user(), ADMIN).await;
    for (what, answer) in [("a ban", ban), ("a rise", rise)] {
        match answer {
            Err(SessionError::NotAllowed(_)) => {}
            other => bail!("{what} by an ordinary user was answered {other:?}"),
        }
    }
    // Whatever the hub accepted before this message, everybody has seen with it.
    victim.session.send(room, b"still here").await?;
    for each in everybody {
        each.reads(b"still here").await?;
        ensure!(state(each)? == before, "{} sees another room than before", each.client);
    }
    Ok(())
}

/// `accused` says two things; `reporter` reports one as it was, and one with a time that it was not accepted at. `moderator`
/// sees what each report proves, and closes them.
pub async fn abuse_report(accused: &Party, reporter: &Party, moderator: &Party) -> anyhow::Result<()> {
    let said = accused.says("something bad", reporter).await?;
    let verdict = verdict_on(reporter, &reporter.room, said, moderator).await?;
    ensure!(verdict == AbuseVerdict::Valid, "a message that was said is {verdict:?}");

    let said = accused.says("something good", reporter).await?;
    let forged = Message {
        accepted: said.accepted + 1,
        ..said
    };
    let verdict = verdict_on(reporter, &reporter.room, forged, moderator).await?;
    ensure!(verdict == AbuseVerdict::Invalid, "a forged message is {verdict:?}");
    Ok(())
}

/// Reports a message to the hub of `room`, and reads in the moderator's inbox what that proves. The case is closed.
pub async fn verdict_on(
    reporter: &Party,
    room: &RoomUri,
    message: Message,
    moderator: &Party,
) -> anyhow::Result<AbuseVerdict> {
    let note = format!("{} of {}", message.accepted, message.sender);
    let content = message.data.clone();
    reporter.session.report_abuse(room, &[message], &note).await?;
    let case = case_of(moderator, room, &note).await?;
    ensure!(
        case.messages.len() == 1 && case.messages[0].content == content,
        "not the message that was reported"
    );
    moderator.api.close_abuse(&case.id).await?;
    Ok(case.messages[0].verdict())
}

/// The newest open case on a room with this note.
async fn case_of(moderator: &Party, room: &RoomUri, note: &str) -> anyhow::Result<AbuseCase> {
    let (mut found, mut after) = (None, String::new());
    loop {
        let page = moderator.api.list_abuse(&after, 0).await?;
        after = page.cases.last().map(|case| case.id.clone()).unwrap_or_default();
        found = page
            .cases
            .into_iter()
            .rfind(|case| case.room == room.as_str() && case.note == note)
            .or(found);
        if !page.more || after.is_empty() {
            return found.context("the report is not in the moderator's inbox");
        }
    }
}

/// `owner` uploads an asset, encrypted, and tells the room; what it said as `reader` reads it.
pub async fn share_asset(owner: &Party, reader: &Party, plain: &[u8]) -> anyhow::Result<ExternalPart> {
    let part = owner.session.upload(&owner.room, plain, "image/png").await?;
    let sent = owner.session.say(&owner.room, NestedPart::attachment(part)).await?;
    let message = reader.hears(sent.id).await?;
    let said = message.content.said().context("not a message content")?;
    match &said.content.body.part {
        Part::External(part) => Ok((**part).clone()),
        other => bail!("an asset became {other:?}"),
    }
}
