//! A client: a real MLS member that talks, renews its keys, invites and leaves as its random source says. It asks again
//! with the same octets until it is answered, and reads only its provider's inbox.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use client::mls::{Answered, Member, MemberError, ORDINARY, Received, RoomProfile, Submitted};
use mimi::codec::Decode as _;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::SubmitMessageRequest;
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{ClientUri, RoomUri, UserUri};
use prost::Message as _;
use proto::hub::{CreateRoom, RoomRequest, RoomResponse, room_request, room_response};
use rand::Rng;
use rand::rngs::StdRng;
use room::Digest;

use crate::edges::PORT;
use crate::faults;
use crate::follower::Inbox;
use crate::marks::Mark;
use crate::trace::{Asked, Body, Event, Record, Request, Verdict, What};
use crate::wire;
use crate::world::{self, Ended, Stream};

/// An answer that takes longer does not come.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// The pause between looks at the inbox.
const LOOK: Duration = Duration::from_millis(40);

/// What is to be committed for so long is committed by whoever sees it, not only by the first member.
const PENDING_MAX: Duration = Duration::from_secs(4);

/// What a client does beside talking and renewing its keys.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Founds the room and invites these, each not before its time.
    Founder { invites: Vec<(Duration, UserUri)> },
    /// Waits to be invited.
    Guest,
    /// Waits to be invited, and leaves at this time.
    Leaver { at: Duration },
    /// Another device of a user who is invited: comes in by itself when it sees that something is proposed, not before the
    /// one time and in any case at the other.
    Joiner { from: Duration, latest: Duration },
}

/// The commit by which a client came in.
struct Entrance {
    digest: Digest,
    epoch: u64,
}

/// Where a client stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `None`: not in the room (any more).
    pub(crate) epoch: Option<u64>,
    pub(crate) authenticator: Option<Bytes>,
    /// Its last entry read.
    pub(crate) seq: u64,
    /// Nothing is pending, and it has nothing more to do.
    pub(crate) settled: bool,
}

/// What a client is made with.
pub(crate) struct Cast {
    pub(crate) client: ClientUri,
    pub(crate) room: RoomUri,
    pub(crate) part: Part,
    /// When it does nothing.
    pub(crate) lull: Range<Duration>,
    /// When it stops doing anything of its own.
    pub(crate) until: Duration,
}

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) record: Record,
    pub(crate) edges: [&'static str; 2],
    pub(crate) hub_sender: Bytes,
    /// KeyPackages of everybody, as their providers would hand them out.
    pub(crate) key_packages: Rc<RefCell<BTreeMap<UserUri, Vec<Bytes>>>>,
    pub(crate) standings: Rc<RefCell<BTreeMap<String, Standing>>>,
}

pub(crate) struct Puppet {
    stage: Stage,
    cast: Cast,
    name: String,
    member: Member,
    inbox: Rc<RefCell<Inbox>>,
    random: StdRng,
    stream: Option<Stream>,
    /// The edge asked last, and first next time.
    edge: usize,
    /// Whether the other one is asked first next time.
    roams: bool,
    read: u64,
    said: u32,
    pending_since: Option<Duration>,
    /// Which invitations were accepted.
    invited: BTreeSet<usize>,
    /// Something is proposed in the room, as far as the inbox tells.
    proposed: bool,
    entrance: Option<Entrance>,
}

impl Puppet {
    pub(crate) fn new(stage: Stage, cast: Cast, inbox: Rc<RefCell<Inbox>>) -> Result<Self, MemberError> {
        let member = Member::new(cast.client.clone())?;
        if !matches!(cast.part, Part::Joiner { .. }) {
            let mut all = stage.key_packages.borrow_mut();
            all.entry(member.user()).or_default().extend(member.key_packages(2)?);
        }
        let name = cast.client.as_str().to_owned();
        stage.standings.borrow_mut().insert(name.clone(), Standing::default());
        let random = faults::random(stage.seed, &name);
        Ok(Self {
            stage,
            cast,
            name,
            member,
            inbox,
            random,
            stream: None,
            edge: 0,
            roams: false,
            read: 0,
            said: 0,
            pending_since: None,
            invited: BTreeSet::new(),
            proposed: false,
            entrance: None,
        })
    }

    /// The client's software. It never ends.
    pub(crate) async fn run(mut self) -> Ended {
        if let Part::Founder { .. } = self.cast.part {
            self.found().await?;
        }
        loop {
            self.catch_up()?;
            let idle = !self.act().await?;
            self.catch_up()?;
            self.stand(idle);
            let pause = if idle {
                LOOK
            } else {
                Duration::from_millis(self.random.random_range(20..400))
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn found(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let profile = RoomProfile {
            epoch_tolerance: 2,
            ..RoomProfile::default()
        };
        let founding = self
            .member
            .create_room(&self.cast.room, &self.stage.hub_sender, &profile)?;
        let (group_info, ratchet_tree) = (founding.group_info, founding.ratchet_tree);
        let octets = CreateRoom {
            group_info: group_info.clone(),
            ratchet_tree: ratchet_tree.clone(),
        };
        let octets = Bytes::from(octets.encode_to_vec());
        let request = Request::Found {
            group_info,
            ratchet_tree,
        };
        let ask = self.ask(What::Found, request, 0, None);
        let (attempts, answer) = self.call(room_request::Body::Create(octets)).await;
        let verdict = match answer {
            Ok(_) => Verdict::Accepted { at: 0 },
            Err(status) => Verdict::Refused(status_name(status)),
        };
        self.stage.record.note(Event::Answered { ask, attempts, verdict });
        Ok(())
    }

    /// Reads what the inbox has got.
    fn catch_up(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let fresh: Vec<(u64, Bytes)> = match self.inbox.borrow().rooms.get(&self.cast.room) {
            None => return Ok(()),
            Some(entries) => {
                let fresh = entries.range(self.read + 1..).map(|(seq, item)| (*seq, &item.shown));
                fresh
                    .map(|(seq, shown)| match shown {
                        Body::Message(message) => (seq, message.clone()),
                        Body::Digest(_) => (seq, Bytes::new()),
                    })
                    .collect()
            }
        };
        for (seq, message) in fresh {
            self.read = seq;
            if message.is_empty() {
                continue;
            }
            let fanout = FanoutMessage::decode_exact(&message)?;
            match fanout.content {
                FanoutContent::Proposals { .. } => self.proposed = true,
                FanoutContent::Commit { .. } => self.proposed = false,
                _ => {}
            }
            let mut what = self.member.receive(&self.cast.room, &fanout)?;
            // Whether its answer or its fan-out came first, with this commit the client came in.
            let is_entrance = |entrance: &&Entrance| Digest::of(fanout.message().octets()) == entrance.digest;
            if let Some(Entrance { epoch, .. }) = self.entrance.as_ref().filter(is_entrance) {
                what = Received::Joined { epoch: *epoch };
            }
            match &what {
                Received::Removed => self.stage.record.mark(Mark::Left),
                // Whoever knows of an epoch from one owner is not to be told of an earlier one by another.
                Received::EpochChanged { mine: false, .. } => self.roams = self.random.random_bool(0.5),
                _ => {}
            }
            let (client, room) = (self.name.clone(), self.cast.room.clone());
            self.stage.record.note(Event::Heard {
                client,
                room,
                seq,
                what,
            });
        }
        Ok(())
    }

    fn stand(&self, idle: bool) {
        let room = &self.cast.room;
        let standing = Standing {
            epoch: self.member.epoch(room),
            authenticator: self.member.epoch_authenticator(room),
            seq: self.read,
            settled: idle && self.now() >= self.cast.until && self.member.pending_proposals(room) == 0,
        };
        self.stage.standings.borrow_mut().insert(self.name.clone(), standing);
    }

    /// Does one thing. Returns whether there was anything to do.
    async fn act(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let (room, now) = (self.cast.room.clone(), self.now());
        if self.cast.lull.contains(&now) {
            // Whoever comes back after so long tries another edge.
            self.roams = true;
            return Ok(false);
        }
        if self.member.epoch(&room).is_none() {
            return match self.cast.part {
                Part::Joiner { from, latest } if now >= from && (self.proposed || now >= latest) => {
                    self.join().await?;
                    Ok(true)
                }
                _ => Ok(false),
            };
        }
        if self.member.pending_proposals(&room) > 0 {
            return self.commit_pending(now).await;
        }
        self.pending_since = None;
        if let Some((invitation, user)) = self.to_invite(now) {
            let key_package = self.stage.key_packages.borrow()[&user].last().cloned();
            let body = self.member.add_user(&room, &user, ORDINARY, key_package.as_slice())?;
            if let Verdict::Accepted { .. } = self.update(What::Commit, body).await? {
                self.invited.insert(invitation);
                self.stage.key_packages.borrow_mut().entry(user).or_default().pop();
            }
            return Ok(true);
        }
        if let Part::Leaver { at } = self.cast.part
            && now >= at
        {
            let body = self.member.leave(&room)?;
            self.update(What::Proposals, body).await?;
            return Ok(true);
        }
        if now >= self.cast.until {
            return Ok(false);
        }
        if self.random.random_bool(0.2) {
            let body = self.member.self_update(&room)?;
            self.update(What::Commit, body).await?;
        } else {
            self.say().await?;
        }
        Ok(true)
    }

    /// Asks for the GroupInfo and comes in by it, if the user is a participant by now.
    async fn join(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let (request, keys) = self.member.group_info_request(&self.cast.room)?;
        let (_, Ok(granted)) = self.call(room_request::Body::GroupInfo(request)).await else {
            return Ok(());
        };
        let body = match self.member.join_by_external_commit(&granted, &keys, None) {
            Ok(body) => body,
            Err(why) => {
                tracing::debug!(%why, "not let in");
                return Ok(());
            }
        };
        if let HandshakeBundle::Commit { commit, .. } = UpdateRequest::decode_exact(&body)?.bundle {
            self.entrance = Some(Entrance {
                digest: Digest::of(commit.octets()),
                epoch: commit.epoch().unwrap_or_default() + 1,
            });
        }
        self.update(What::Commit, body).await?;
        Ok(())
    }

    async fn commit_pending(&mut self, now: Duration) -> Result<bool, Box<dyn std::error::Error>> {
        let room = self.cast.room.clone();
        let since = *self.pending_since.get_or_insert(now);
        let turn = self.member.is_first_to_commit(&room) || now - since > PENDING_MAX;
        if self.member.is_leaving(&room) || !turn {
            return Ok(false);
        }
        let body = self.member.commit_pending(&room)?;
        self.update(What::Commit, body).await?;
        Ok(true)
    }

    /// Who is to be invited now and is not in the room, and by which invitation.
    fn to_invite(&self, now: Duration) -> Option<(usize, UserUri)> {
        let Part::Founder { invites } = &self.cast.part else {
            return None;
        };
        let members = self.member.members(&self.cast.room).ok()?;
        let due = invites
            .iter()
            .enumerate()
            .filter(|(n, (at, _))| now >= *at && !self.invited.contains(n));
        due.map(|(n, (_, user))| (n, user.clone()))
            .find(|(_, user)| !members.iter().any(|client| client.user() == *user))
    }

    async fn say(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.said += 1;
        let text = format!("{} {}", self.name, self.said);
        let body = self.member.send(&self.cast.room, text.as_bytes())?;
        let epoch = self.member.epoch(&self.cast.room).unwrap_or_default();
        let message = SubmitMessageRequest::decode_exact(&body)?.app_message;
        let ask = self.ask(
            What::Message,
            Request::Submit(body.clone()),
            epoch,
            Some(Digest::of(message.octets())),
        );
        let (attempts, answer) = self.call(room_request::Body::Submit(body)).await;
        let verdict = match answer {
            Err(status) => Verdict::Refused(status_name(status)),
            Ok(body) => match Member::submitted(&body)? {
                Submitted::Accepted(at) => Verdict::Accepted { at },
                Submitted::NotAllowed => Verdict::Refused("notAllowed"),
                Submitted::EpochTooOld(current) => Verdict::EpochTooOld { current },
            },
        };
        self.stage.record.note(Event::Answered { ask, attempts, verdict });
        Ok(())
    }

    async fn update(&mut self, what: What, body: Bytes) -> Result<Verdict, Box<dyn std::error::Error>> {
        let room = self.cast.room.clone();
        let bundle = UpdateRequest::decode_exact(&body)?.bundle;
        let message = match &bundle {
            HandshakeBundle::Commit { commit, .. } => commit,
            HandshakeBundle::Proposals { proposals } => &proposals[0],
        };
        let (digest, epoch) = (Digest::of(message.octets()), message.epoch().unwrap_or_default());
        let ask = self.ask(what, Request::Update(body.clone()), epoch, Some(digest));
        let (attempts, answer) = self.call(room_request::Body::Update(body)).await;
        let verdict = match answer {
            Err(status) => {
                self.member.on_refused(&room)?;
                Verdict::Refused(status_name(status))
            }
            Ok(body) => match self.member.on_answer(&room, &body)? {
                Answered::Accepted(at) => Verdict::Accepted { at },
                Answered::WrongEpoch(current) => {
                    self.stage.record.mark(Mark::WrongEpoch);
                    Verdict::WrongEpoch { current }
                }
                Answered::NotAllowed(why) => {
                    tracing::debug!(why, "not allowed");
                    Verdict::Refused("notAllowed")
                }
                Answered::InvalidProposal(why) => {
                    tracing::debug!(why, "invalid proposal");
                    Verdict::Refused("invalidProposal")
                }
            },
        };
        self.stage.record.note(Event::Answered { ask, attempts, verdict });
        Ok(verdict)
    }

    fn ask(&self, what: What, request: Request, epoch: u64, digest: Option<Digest>) -> u64 {
        let ask = self.stage.record.next_ask();
        let room = self.cast.room.clone();
        self.stage.record.note(Event::Asked(Asked {
            ask,
            client: self.name.clone(),
            from: self.cast.client.provider().clone(),
            what,
            // Of a commit it is the one that it ends.
            epoch,
            room,
            request,
            digest,
        }));
        ask
    }

    /// The draft's answer, or an HTTP status that is one; and how many attempts it took.
    async fn call(&mut self, body: room_request::Body) -> (u32, Result<Bytes, u32>) {
        let request = RoomRequest {
            room: self.cast.room.as_str().to_owned(),
            source: self.cast.client.provider().as_str().to_owned(),
            body: Some(body),
        };
        let mut attempts = 0;
        if std::mem::take(&mut self.roams) {
            self.edge += 1;
            self.stream = None;
        }
        loop {
            attempts += 1;
            let answered = tokio::time::timeout(ANSWER_MAX, self.exchange(&request)).await;
            let mut pause = Duration::from_millis(self.random.random_range(20..200));
            match answered.ok().and_then(Result::ok).and_then(|response| response.outcome) {
                Some(room_response::Outcome::Answer(body)) => return (attempts, Ok(body)),
                Some(room_response::Outcome::Refused(refused)) if refused.status == 503 => {
                    pause += Duration::from_millis(refused.retry_after_ms);
                }
                Some(room_response::Outcome::Refused(refused)) => return (attempts, Err(refused.status)),
                // An edge follows who is elsewhere by itself.
                Some(room_response::Outcome::Elsewhere(_)) | None => {
                    self.edge += 1;
                    self.stream = None;
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn exchange(&mut self, request: &RoomRequest) -> io::Result<RoomResponse> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => world::connect(self.stage.edges[self.edge % 2], PORT).await?,
        };
        wire::write(&mut stream, request).await?;
        let response = wire::expect(&mut stream).await?;
        self.stream = Some(stream);
        Ok(response)
    }

    fn now(&self) -> Duration {
        world::now().unwrap_or_default()
    }
}

/// A status in the words of a verdict.
pub(crate) fn status_name(status: u32) -> &'static str {
    match status {
        400 => "400",
        403 => "403",
        404 => "404",
        409 => "409",
        _ => "another status",
    }
}
