//! The steps: the example flow of mimi-protocol §3 with clients of three providers, then two commits at once, then a burst.
//! Each step checks what it promises; the first that does not hold ends the play.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use client::mls::{Answered, ORDINARY, RoomProfile, Submitted};
use mimi::RoomUri;

use super::cast::Cast;
use super::party::{Burst, PATIENCE, Party};
use super::report::{ClientReport, Report, Step};
use super::tally::{Mark, Outcome};
use super::view::View;

/// Octets of each message of the burst before encryption.
const CONTENT_BYTES: usize = 256;
/// Messages that each party encrypts, and sends only when the epoch has moved on.
const LATE: u32 = 5;

/// Everything about one play.
pub(super) struct Play {
    view: View,
    room: RoomUri,
    messages: u32,
    steps: Vec<Step>,
    burst: Outcome,
    agreement: bool,
    clients: Vec<ClientReport>,
}

/// The names of the steps, in their order.
pub(super) const STEPS: [&str; 11] = [
    "providers",
    "create-room",
    "invite-b",
    "invite-c",
    "first-message",
    "leave-b",
    "second-client",
    "commit-race",
    "return-b",
    "burst",
    "agreement",
];

impl Play {
    pub(super) fn new(view: View, room: RoomUri, messages: u32) -> Self {
        Self {
            view,
            room,
            messages,
            steps: Vec::new(),
            burst: Outcome::default(),
            agreement: false,
            clients: Vec::new(),
        }
    }

    /// Plays everything.
    pub(super) async fn run(mut self, cast: Cast, began: Instant) -> Report {
        if let Err(error) = Box::pin(self.acts(cast, began)).await {
            tracing::debug!(%error, "the play ends early");
        }
        for name in STEPS.into_iter().skip(self.steps.len()) {
            let error = Some("not reached".to_owned());
            self.steps.push(Step {
                name,
                ok: false,
                ms: 0,
                error,
            });
        }
        Report::of(self.steps, self.burst, self.agreement, self.clients)
    }

    async fn acts(&mut self, cast: Cast, began: Instant) -> anyhow::Result<()> {
        let room = self.room.clone();
        let all = async {
            let [a, b, c] = cast.users;
            let alice = Party::join_in("a's user", a.api.clone(), a.client("phone")?, room.clone()).await?;
            let bob = Party::join_in("b's user", b.api.clone(), b.client("phone")?, room.clone()).await?;
            let cathy = Party::join_in("c's user", c.api.clone(), c.client("phone")?, room.clone()).await?;
            Ok((alice, bob, cathy, c))
        };
        let (alice, bob, cathy, c) = self
            .step(STEPS[0], began, all, |_| {
                "up, each with its own store and certificates".to_owned()
            })
            .await?;

        let create = async {
            let profile = RoomProfile {
                name: "clubhouse".to_owned(),
                ..RoomProfile::default()
            };
            Ok(alice.session.create_room(&room, &profile).await?)
        };
        self.step(STEPS[1], Instant::now(), create, |()| {
            format!("{} makes {room}", alice.name)
        })
        .await?;

        let invite = invite(&alice, &bob, [&alice, &bob]);
        self.step(STEPS[2], Instant::now(), invite, |()| {
            "key material from b; b joins by Welcome".to_owned()
        })
        .await?;

        let invite = self::invite(&bob, &cathy, [&alice, &bob, &cathy]);
        let note = "b's user invites; the hub relays the key material of c".to_owned();
        self.step(STEPS[3], Instant::now(), invite, |()| note).await?;

        let said = async {
            cathy.session.send(&room, b"hello from c").await?;
            for reader in [&alice, &bob] {
                let message = reader.reads(b"hello from c").await?;
                ensure!(
                    message.sender == cathy.client,
                    "the message is not from whom it should be"
                );
            }
            Ok(())
        };
        self.step(STEPS[4], Instant::now(), said, |()| {
            "c's user sends, everybody decrypts".to_owned()
        })
        .await?;

        let leave = leave(&bob, &alice, &cathy);
        let note = "proposals cached; a commit without them refused, with them accepted".to_owned();
        self.step(STEPS[5], Instant::now(), leave, |()| note).await?;

        let second = async {
            let client = c.client("laptop")?;
            let laptop = Party::join_in("c's user, second client", c.api.clone(), client, room.clone()).await?;
            laptop.session.join(&room, None).await?;
            let epoch = laptop.epoch();
            for party in [&alice, &cathy, &laptop] {
                party.reaches(epoch).await?;
            }
            Ok(laptop)
        };
        let note = |_: &Party| "joins by groupInfo and an external commit".to_owned();
        let laptop = self.step(STEPS[6], Instant::now(), second, note).await?;

        let race = race(&alice, &cathy, &laptop);
        let note = |current: &u64| format!("one won; the other was told epoch {current}, and won the next");
        self.step(STEPS[7], Instant::now(), race, note).await?;

        let back = self::invite(&cathy, &bob, [&alice, &bob, &cathy, &laptop]);
        self.step(STEPS[8], Instant::now(), back, |()| {
            "c's user invites b's user again".to_owned()
        })
        .await?;

        let parties = [alice, bob, cathy, laptop];
        let began = Instant::now();
        let burst = Arc::new(Burst::new(parties.len()));
        let bar = self.view.burst(u64::from(self.messages) * (parties.len() as u64 - 1));
        let sent = send_all(&parties, self.messages, &burst, &bar).await;
        bar.finish_and_clear();
        self.burst = burst.tally().outcome();
        let told = self.burst.clone();
        let checked = async {
            sent?;
            let Outcome {
                lost,
                duplicates,
                order_violations,
                late,
                ..
            } = told;
            ensure!(lost == 0, "{lost} decryptions did not happen");
            ensure!(duplicates == 0, "{duplicates} decryptions happened twice");
            ensure!(order_violations == 0, "{order_violations} messages came out of order");
            ensure!(
                told.sent < u64::from(LATE) * 4 || late > 0,
                "no message arrived after its epoch"
            );
            Ok(told)
        };
        let note = |told: &Outcome| {
            format!(
                "{} sent, {} decrypted, {} of them late",
                told.sent, told.delivered, told.late
            )
        };
        self.step(STEPS[9], began, checked, note).await?;

        let agreed = agree(&parties);
        let note = |epoch: &u64| format!("all in epoch {epoch}");
        self.agreement = self.step(STEPS[10], Instant::now(), agreed, note).await.is_ok();
        let clients = parties.iter().enumerate().map(|(place, party)| ClientReport {
            client: party.client.to_string(),
            room: room.to_string(),
            epoch: party.epoch(),
            sent: burst.tally().sent_by(place),
            decrypted: party.decrypted(),
        });
        self.clients = clients.collect();
        Ok(())
    }

    /// Runs a step, shows it and remembers it. `note` says what it showed.
    async fn step<T>(
        &mut self,
        name: &'static str,
        began: Instant,
        act: impl Future<Output = anyhow::Result<T>>,
        note: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        let result = Box::pin(act).await;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        let step = Step {
            name,
            ok: result.is_ok(),
            ms,
            error,
        };
        self.view.step(&step, &result.as_ref().map(note).unwrap_or_default());
        self.steps.push(step);
        result
    }
}

/// `host` adds the user of `guest`; everybody in `members` arrives in the epoch of that commit.
async fn invite<const N: usize>(host: &Party, guest: &Party, members: [&Party; N]) -> anyhow::Result<()> {
    host.session.add_user(&host.room, &guest.user(), ORDINARY).await?;
    let epoch = host.epoch();
    for party in members {
        party.reaches(epoch).await?;
    }
    Ok(())
}

/// The user of `leaver` leaves: the hub keeps its proposals, refuses the next commit without them, accepts one with them.
async fn leave(leaver: &Party, committer: &Party, witness: &Party) -> anyhow::Result<()> {
    let room = &leaver.room;
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
async fn race(one: &Party, other: &Party, witness: &Party) -> anyhow::Result<u64> {
    let room = &one.room;
    one.reaches(other.epoch()).await?;
    other.reaches(one.epoch()).await?;
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

/// Everybody sends its share at once; in the middle, each holds some messages back until the epoch has moved on. Waits
/// until everything that was sent is decrypted everywhere, or nothing more comes.
async fn send_all(
    parties: &[Party],
    messages: u32,
    burst: &Arc<Burst>,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    for (place, party) in parties.iter().enumerate() {
        party.take_part(place, burst);
    }
    let count = u32::try_from(parties.len()).context("too many parties")?;
    let shares = (0..count).map(|place| messages / count + u32::from(place < messages % count));
    let senders = shares
        .enumerate()
        .map(|(place, share)| send_share(parties, place, share, burst));
    let watching = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            bar.set_position(burst.tally().delivered());
        }
    };
    let sent = tokio::select! {
        biased;
        sent = futures::future::try_join_all(senders) => sent,
        () = watching => unreachable!("it never ends"),
    };
    let mut delivered = 0;
    let mut moved = Instant::now();
    while !burst.tally().is_whole() && moved.elapsed() < PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let now = burst.tally().delivered();
        bar.set_position(now);
        if now > delivered {
            (delivered, moved) = (now, Instant::now());
        }
    }
    sent.map(drop)
}

async fn send_share(parties: &[Party], place: usize, share: u32, burst: &Burst) -> anyhow::Result<()> {
    let party = &parties[place];
    let late = (share / 2)..(share / 2 + LATE).min(share);
    let mut number = 0;
    while number < share {
        if number == late.start && share >= LATE {
            let neighbour = &parties[(place + 1) % parties.len()];
            send_late(party, neighbour, place, late.clone(), burst).await?;
            number = late.end;
            continue;
        }
        let mark = Mark { sender: place, number };
        let content = mark.content(CONTENT_BYTES);
        let at = burst.elapsed();
        burst.tally().sending(mark, CONTENT_BYTES, at);
        party.session.send(&party.room, &content).await?;
        number += 1;
    }
    Ok(())
}

/// Messages encrypted in one epoch and sent in the next: they must be accepted and decrypted all the same.
async fn send_late(
    party: &Party,
    neighbour: &Party,
    place: usize,
    numbers: std::ops::Range<u32>,
    burst: &Burst,
) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for number in numbers {
        let mark = Mark { sender: place, number };
        held.push((mark, party.encrypt(&mark.content(CONTENT_BYTES))?));
    }
    neighbour.session.self_update(&party.room).await?;
    for (mark, body) in held {
        let at = burst.elapsed();
        burst.tally().sending(mark, CONTENT_BYTES, at);
        match party.submit(body).await? {
            Submitted::Accepted(_) => {}
            other => bail!("a message of the epoch before was answered {other:?}"),
        }
    }
    Ok(())
}

/// Everybody is in the same epoch, with the same secrets; nobody saw anything that should not have happened.
async fn agree(parties: &[Party]) -> anyhow::Result<u64> {
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
