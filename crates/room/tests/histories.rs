//! Whatever clients do in whatever order, and wherever the room's process dies in between: the room opened from its rows
//! equals the live one after every command, and everybody in it agrees.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{ADMIN, MODERATOR, Member, ORDINARY, RoomProfile};
use proptest::prelude::*;
use room::{Answer, Command};
use world::{World, id, member, provider};

/// Something that somebody does; numbers pick who.
#[derive(Debug, Clone)]
enum Step {
    Invite { by: usize, role: u32, devices: usize },
    SelfUpdate(usize),
    Send(usize),
    Leave(usize),
    Retire(usize),
    CommitPending(usize),
    RemoveUser { by: usize, whom: usize },
    JoinWithAnotherDevice(usize),
    Repeat(usize),
    Nonsense(Vec<u8>),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..8;
    prop_oneof![
        4 => (who.clone(), prop_oneof![Just(ORDINARY), Just(MODERATOR), Just(ADMIN)], 1usize..3)
            .prop_map(|(by, role, devices)| Step::Invite { by, role, devices }),
        2 => who.clone().prop_map(Step::SelfUpdate),
        4 => who.clone().prop_map(Step::Send),
        2 => who.clone().prop_map(Step::Leave),
        1 => who.clone().prop_map(Step::Retire),
        3 => who.clone().prop_map(Step::CommitPending),
        1 => (who.clone(), who.clone()).prop_map(|(by, whom)| Step::RemoveUser { by, whom }),
        2 => who.prop_map(Step::JoinWithAnotherDevice),
        2 => (0usize..64).prop_map(Step::Repeat),
        1 => proptest::collection::vec(any::<u8>(), 0..64).prop_map(Step::Nonsense),
        1 => Just(Step::Restart),
    ]
}

struct History {
    world: World,
    /// In the room, as far as they know.
    members: Vec<Member>,
    /// Commands answered, with their answers.
    past: Vec<(Command, Answer)>,
    names: usize,
}

impl History {
    fn pick(&self, who: usize) -> usize {
        who % self.members.len()
    }

    /// Asks for a handshake, which may be refused, and shows everybody what came of it.
    fn handshake(&mut self, who: usize, body: Result<Bytes, client::mls::MemberError>) {
        let Ok(body) = body else { return self.spread() };
        let member = &mut self.members[who];
        let command = Command::Update {
            from: member.client().provider().clone(),
            body,
        };
        match self.world.command(&command) {
            Ok(Answer::Update(answer)) => {
                member.on_answer(&id(), &answer).unwrap();
                self.past.push((command, Answer::Update(answer)));
            }
            Ok(other) => panic!("{other:?} to a handshake"),
            Err(_) => member.on_refused(&id()).unwrap(),
        }
        self.spread();
    }

    fn spread(&mut self) {
        for member in &mut self.members {
            self.world.bring(member);
        }
        // Whose leaf is gone is out, and so is who is still not in.
        let view = self.world.room.view().clone();
        self.members
            .retain(|member| view.clients(&member.user()).any(|client| client == member.client()));
        let all: Vec<&Member> = self.members.iter().collect();
        self.world.assert_agreed(&all);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Invite { by, role, devices } => {
                let by = self.pick(by);
                self.names += 1;
                let domain = ["a.example", "b.example", "c.example"][self.names % 3];
                let guests: Vec<Member> = (0..devices)
                    .map(|device| member(&format!("{domain}/d/user{}/{device}", self.names)))
                    .collect();
                let user = guests[0].user();
                let packages = self.world.key_material(&self.members[by], &guests);
                let body = match packages {
                    Ok(packages) => self.members[by].add_user(&id(), &user, role, &packages),
                    Err(_) => return,
                };
                self.members.extend(guests);
                self.handshake(by, body);
            }
            Step::SelfUpdate(who) => {
                let who = self.pick(who);
                let body = self.members[who].self_update(&id());
                self.handshake(who, body);
            }
            Step::Send(who) => {
                let who = self.pick(who);
                let Ok(body) = self.members[who].send(&id(), b"hello") else {
                    return;
                };
                let command = Command::Submit {
                    from: self.members[who].client().provider().clone(),
                    body,
                };
                if let Ok(answer) = self.world.command(&command) {
                    self.past.push((command, answer));
                }
                self.spread();
            }
            Step::Leave(who) => {
                let who = self.pick(who);
                let body = self.members[who].leave(&id());
                self.handshake(who, body);
            }
            Step::Retire(who) => {
                let who = self.pick(who);
                let body = self.members[who].retire(&id());
                self.handshake(who, body);
            }
            Step::CommitPending(who) => {
                let who = self.pick(who);
                let body = self.members[who].commit_pending(&id());
                self.handshake(who, body);
            }
            Step::RemoveUser { by, whom } => {
                let (by, whom) = (self.pick(by), self.pick(whom));
                let user = self.members[whom].user();
                if self.members[by].user() != user {
                    let body = self.members[by].remove_user(&id(), &user);
                    self.handshake(by, body);
                }
            }
            Step::JoinWithAnotherDevice(who) => {
                let who = self.pick(who);
                self.names += 1;
                let user = self.members[who].user();
                let path = user.as_str().trim_start_matches("mimi://").replacen("/u/", "/d/", 1);
                let mut device = member(&format!("{path}/extra{}", self.names));
                if let Ok(body) = self.world.external_commit(&mut device, None) {
                    self.members.push(device);
                    self.handshake(self.members.len() - 1, Ok(body));
                }
            }
            Step::Repeat(which) => {
                if !self.past.is_empty() {
                    let (command, answer) = self.past[which % self.past.len()].clone();
                    let seq = self.world.room.seq();
                    assert_eq!(self.world.command(&command), Ok(answer), "the first answer");
                    assert_eq!(self.world.room.seq(), seq, "and nothing more");
                }
            }
            Step::Nonsense(body) => {
                let (from, body) = (provider("b.example"), Bytes::from(body));
                let commands = [
                    Command::Update {
                        from: from.clone(),
                        body: body.clone(),
                    },
                    Command::Submit {
                        from: from.clone(),
                        body: body.clone(),
                    },
                    Command::GroupInfo {
                        from: from.clone(),
                        body: body.clone(),
                    },
                    Command::AuthorizeKeyMaterial { from, body },
                ];
                for command in commands {
                    assert!(self.world.command(&command).is_err());
                }
            }
            Step::Restart => self.world.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_reopened_room_equals_the_live_one_after_every_command(
        steps in proptest::collection::vec(step(), 24..40)
    ) {
        let (world, alice) = World::found(&RoomProfile::default());
        let mut history = History { world, members: vec![alice], past: Vec::new(), names: 0 };
        for step in steps {
            if history.members.is_empty() {
                break;
            }
            history.take(step);
        }
    }
}
