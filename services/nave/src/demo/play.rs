//! The steps: the example flow of mimi-protocol §3 with clients of three providers, then two commits at once, then a burst.
//! Each step checks what it promises; the first that does not hold ends the play.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use client::mls::RoomProfile;
use mimi::RoomUri;

use super::acts::{self, LATE};
use super::cast::Cast;
use super::party::{Burst, Party};
use super::report::{ClientReport, Report, Step};
use super::tally::Outcome;
use super::view::View;

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
pub(super) const STEPS: [&str; 17] = [
    "providers",
    "create-room",
    "invite-b",
    "invite-c",
    "first-message",
    "leave-b",
    "second-client",
    "commit-race",
    "return-b",
    "consent",
    "policy-refusal",
    "abuse-report",
    "asset-proxy",
    "asset-ohttp",
    "minimal-metadata",
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

        let invite = acts::invite(&alice, &bob, [&alice, &bob]);
        self.step(STEPS[2], Instant::now(), invite, |()| {
            "key material from b; b joins by Welcome".to_owned()
        })
        .await?;

        let invite = acts::invite(&bob, &cathy, [&alice, &bob, &cathy]);
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

        let leave = acts::leave(&bob, &alice, &cathy);
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

        let race = acts::race(&alice, &cathy, &laptop);
        let note = |current: &u64| format!("one won; the other was told epoch {current}, and won the next");
        self.step(STEPS[7], Instant::now(), race, note).await?;

        let back = acts::invite(&cathy, &bob, [&alice, &bob, &cathy, &laptop]);
        self.step(STEPS[8], Instant::now(), back, |()| {
            "c's user invites b's user again".to_owned()
        })
        .await?;

        let parties = [alice, bob, cathy, laptop];
        self.manners(&parties).await?;
        self.pseudonyms(&parties).await?;

        let began = Instant::now();
        let burst = Arc::new(Burst::new(parties.len()));
        let bar = self.view.burst(u64::from(self.messages) * (parties.len() as u64 - 1));
        let sent = acts::send_all(&parties, self.messages, &burst, &bar).await;
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
        self.step(STEPS[15], began, checked, note).await?;

        let agreed = acts::agree(&parties);
        let note = |epoch: &u64| format!("all in epoch {epoch}");
        self.agreement = self.step(STEPS[16], Instant::now(), agreed, note).await.is_ok();
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

    /// What the rules of the room and its users forbid, and what assets and reports of abuse are for.
    async fn manners(&mut self, parties: &[Party; 4]) -> anyhow::Result<()> {
        let [alice, bob, cathy, _] = parties;
        let consent = acts::consent(alice, bob);
        self.step(STEPS[9], Instant::now(), consent, |()| {
            "b's user wants to be asked: refused, then asked, granted and added".to_owned()
        })
        .await?;

        let everybody: Vec<&Party> = parties.iter().collect();
        let refused = acts::policy_refusal(bob, cathy, &everybody);
        let note = "an ordinary user bans nobody and makes nobody an administrator".to_owned();
        self.step(STEPS[10], Instant::now(), refused, |()| note).await?;

        let report = acts::abuse_report(cathy, bob, alice);
        self.step(STEPS[11], Instant::now(), report, |()| {
            "a's moderator sees one message proven, one disproven".to_owned()
        })
        .await?;

        let plain = acts::ASSET;
        let proxied = async {
            let shared = acts::share_asset(cathy, bob, plain).await?;
            let fetched = bob.session.download(&bob.room, &cathy.user(), &shared).await?;
            ensure!(fetched == plain, "not the asset that was shared");
            Ok(shared)
        };
        let note = "b's user opens an asset of c's, fetched by the hub".to_owned();
        let shared = self.step(STEPS[12], Instant::now(), proxied, |_| note).await?;

        let oblivious = async {
            let (session, sender) = (&bob.session, cathy.user());
            let fetched = session.download_obliviously(&bob.room, &sender, &shared).await?;
            ensure!(fetched == plain, "not the asset that was shared");
            Ok(())
        };
        self.step(STEPS[13], Instant::now(), oblivious, |()| {
            "the same, and b does not learn which".to_owned()
        })
        .await?;
        Ok(())
    }

    /// A room of which the hub learns no names, where the providers have such rooms.
    async fn pseudonyms(&mut self, parties: &[Party; 4]) -> anyhow::Result<()> {
        let [alice, bob, cathy, _] = parties;
        let masked = async {
            let without = acts::without_pseudonyms(&[alice, bob, cathy]).await?;
            if without.is_none() {
                acts::minimal_metadata(alice, bob, cathy).await?;
            }
            Ok(without)
        };
        let note = |without: &Option<String>| match without {
            None => "the hub sees pseudonyms only, the members who is behind them".to_owned(),
            Some(provider) => format!("not played: switched off at {provider}"),
        };
        self.step(STEPS[14], Instant::now(), masked, note).await?;
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
