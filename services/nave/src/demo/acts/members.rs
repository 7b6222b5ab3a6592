//! Coming, leaving and racing: the example flow of mimi-protocol §3.

use anyhow::{Context, bail, ensure};
use client::mls::{Answered, MemberError, ORDINARY};
use client::session::SessionError;

use crate::demo::party::Party;

/// Epochs within which nothing is pending any more.
const SETTLED_WITHIN: u32 = 8;

/// Commits what the hub has proposed, until nothing waits and everybody knows it: afterwards nobody's commit is refused for
/// what it does not hold.
pub async fn settle(parties: &[&Party]) -> anyhow::Result<()> {
    let (first, room) = (parties[0], &parties[0].room);
    for attempt in 0..SETTLED_WITHIN {
        // Whatever the hub accepted before this message, everybody has seen with it.
        let content = format!("settled {} {attempt}?", first.epoch());
        first.session.send(room, content.as_bytes()).await?;
        for party in parties {
            party.reads(content.as_bytes()).await?;
        }
        if first.session.member(|member| member.pending_proposals(room)) == 0 {
            return Ok(());
        }
        match first.session.commit_pending(room).await {
            Ok(_) | Err(SessionError::Member(MemberError::NothingPending)) => {}
            Err(error) => return Err(error.into()),
        }
        for party in parties {
            party.reaches(first.epoch()).await?;
        }
    }
    bail!("something is pending after {SETTLED_WITHIN} commits");
}

/// `host` adds the user of `guest`; everybody in `members` arrives in the epoch of that commit.
pub async fn invite<const N: usize>(host: &Party, guest: &Party, members: [&Party; N]) -> anyhow::Result<()> {
    host.session.add_user(&host.room, &guest.user(), ORDINARY).await?;
    let epoch = host.epoch();
    for party in members {
        party.reaches(epoch).await?;
    }
    Ok(())
}

/// The user of `leaver` leaves: the hub keeps its proposals, refuses the next commit without them, accepts one with them.
pub async fn leave(leaver: &Party, committer: &Party, witness: &Party) -> anyhow::Result<()> {
    let room = &leaver.room;
    settle(&[committer, leaver, witness]).await?;
    // Made before the proposals are known, so without them.
    let without = committer.session.member(|member| member.self_update(room))?;
    leaver.session.leave(room).await?;
    let answer = committer.api.update(&committer.client, room, without).await?;
    match committer.session.member(|member| member.on_answer(room, &answer))? {
        Answered::NotAllowed(_) => {}
        other => bail!("a commit without the pending proposals was answered {other:?}"),
    }
    for party in [committer, witness] {
        party.has_pending(1).await?;
    }
    committer.session.commit_pending(room).await?;
    leaver.is_removed().await?;
    witness.reaches(committer.epoch()).await?;
    leaver.session.unfollow(room).await?;
    leaver.session.member(|member| member.forget(room));
    Ok(())
}

/// Two clients commit in the same epoch: one wins, the other is told the current epoch and succeeds when it tries again.
/// Returns the epoch that it was told.
pub async fn race(one: &Party, other: &Party, witness: &Party) -> anyhow::Result<u64> {
    let room = &one.room;
    settle(&[one, other, witness]).await?;
    let before = one.epoch();
    let bodies = [one, other].map(|party| party.session.member(|member| member.self_update(room)));
    let [first, second] = bodies;
    let (first, second) = tokio::join!(
        one.api.update(&one.client, room, first?),
        other.api.update(&other.client, room, second?)
    );
    let mut losers = Vec::new();
    for (party, answer) in [(one, first?), (other, second?)] {
        match party.session.member(|member| member.on_answer(room, &answer))? {
            Answered::Accepted(_) => {}
            Answered::WrongEpoch(current) => losers.push((party, current)),
            answered => bail!("a commit was answered {answered:?}"),
        }
    }
    let [(loser, current)] = losers[..] else {
        bail!("{} of two commits in one epoch lost", losers.len());
    };
    ensure!(
        current == before + 1,
        "the loser was told epoch {current}, the room is in {}",
        before + 1
    );
    loser.reaches(current).await?;
    loser.session.self_update(room).await?;
    for party in [one, other, witness] {
        party.reaches(current + 1).await?;
    }
    Ok(current)
}

/// Everybody is in the same epoch, with the same secrets; nobody saw anything that should not have happened.
pub async fn agree(parties: &[Party]) -> anyhow::Result<u64> {
    let epoch = parties.iter().map(Party::epoch).max().unwrap_or_default();
    let mut authenticators = Vec::new();
    for party in parties {
        party.reaches(epoch).await?;
        let authenticator = party.session.member(|member| member.epoch_authenticator(&party.room));
        authenticators.push(authenticator.with_context(|| format!("{} is not in the room", party.client))?);
    }
    ensure!(
        authenticators.windows(2).all(|pair| pair[0] == pair[1]),
        "the epoch authenticators differ"
    );
    let faults: Vec<String> = parties.iter().flat_map(Party::faults).collect();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    Ok(epoch)
}
