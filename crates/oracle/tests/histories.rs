//! mls-rs follows random histories of groups beside the hub's OpenMLS, and both have the same tree hash and confirmed
//! transcript hash after each commit. The proposals that mls-rs cannot read yet are played without it, and a test notices
//! when it can.
//!
//! A failing history prints its seed: `ORACLE_SEED=17 cargo test -p oracle` makes the same choices again (with other keys),
//! and `ORACLE_SEEDS=5000` plays more.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use openmls::prelude::Ciphersuite;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use world::{Plan, Second, World, hashes};

/// Histories of an ordinary run.
const HISTORIES: u64 = 200;
/// Commits of one history.
const COMMITS: usize = 50;
/// A group grows no larger.
const MEMBERS_MAX: usize = 6;

/// Prints how a history is played again, if it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again: ORACLE_SEED={} cargo test -p oracle", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays one history for each seed, on as many threads as there are processors.
fn play(histories: u64, history: fn(u64)) {
    if let Some(seed) = number("ORACLE_SEED") {
        return history(seed);
    }
    let last = number("ORACLE_SEEDS").unwrap_or(histories);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    let _replay = Replay(seed);
                    history(seed);
                }
            });
        }
    });
}

struct History {
    world: World,
    /// `None` where mls-rs cannot follow.
    second: Option<Second>,
    random: StdRng,
}

impl History {
    fn begin(seed: u64, followed: bool) -> Self {
        // One suite in ten is P-256, which is slow.
        let suite = match seed % 10 {
            0 => Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
            1..5 => Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
            _ => Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        };
        let (world, info) = World::found(suite);
        let history = Self {
            world,
            second: followed.then(|| Second::observe(&info)),
            random: StdRng::seed_from_u64(seed),
        };
        history.world.assert_agreed();
        history
    }

    fn one_in(&mut self, of: u32) -> bool {
        self.random.random_ratio(1, of)
    }

    fn member(&mut self) -> usize {
        self.random.random_range(0..self.world.members.len())
    }

    /// Shows mls-rs a message; everybody else has it already.
    fn show(&mut self, octets: &[u8]) {
        if let Some(second) = &mut self.second {
            let theirs = second.take(octets).unwrap_or_else(|error| panic!("mls-rs: {error}"));
            assert_eq!(theirs, hashes(self.world.hub.group_context()));
        }
    }

    /// A proposal of a member, or of the hub where there is none, comes to everybody.
    fn propose(&mut self, by: Option<usize>, proposal: &[u8]) {
        self.world.deliver(proposal, by);
        self.show(proposal);
    }

    fn step(&mut self) {
        let commit = if self.one_in(8) {
            self.external_commit()
        } else {
            self.ordinary_commit()
        };
        self.show(&commit);
        self.world.assert_agreed();
    }

    fn external_commit(&mut self) -> Vec<u8> {
        let teller = self.member();
        let info = self.world.members[teller].group_info();
        let psk = self.one_in(4);
        let full = self.world.members.len() == MEMBERS_MAX;
        let comes_back = full || self.world.members.len() > 1 && self.one_in(2);
        let joiner = if comes_back {
            let index = self.member();
            self.world.members.swap_remove(index)
        } else {
            self.world.newcomer()
        };
        self.world.join(joiner, &info, psk)
    }

    fn ordinary_commit(&mut self) -> Vec<u8> {
        let committer = self.member();
        let mut plan = Plan {
            fresh_leaf: self.one_in(3),
            ..Plan::default()
        };
        self.change_others(committer, &mut plan);
        self.change_context(&mut plan);
        let room = MEMBERS_MAX - self.world.members.len();
        for _ in 0..room.min(2) {
            if self.one_in(3) {
                self.add_somebody(&mut plan);
            }
        }
        self.world.commit(committer, plan)
    }

    /// At most one thing happens to each of the others: one Update or Remove for a leaf.
    fn change_others(&mut self, committer: usize, plan: &mut Plan) {
        let mut others: Vec<usize> = (0..self.world.members.len())
            .filter(|index| *index != committer)
            .collect();
        others.shuffle(&mut self.random);
        for other in others {
            let leaf = self.world.members[other].leaf();
            match self.random.random_range(0..12) {
                0 | 1 => {
                    let proposal = self.world.members[other].proposes_update();
                    self.propose(Some(other), &proposal);
                }
                2 => plan.removed.push(leaf),
                3 => {
                    let proposal = self.world.members[committer].proposes_remove(leaf);
                    self.propose(Some(committer), &proposal);
                }
                4 => {
                    let proposal = self.world.hub_proposes_remove(leaf);
                    self.propose(None, &proposal);
                }
                5 if self.second.is_none() => {
                    let proposal = self.world.members[other].proposes_self_remove();
                    self.propose(Some(other), &proposal);
                }
                _ => {}
            }
        }
    }

    /// Pre-shared key and extensions, by value or by reference; components where nobody has to follow.
    fn change_context(&mut self, plan: &mut Plan) {
        let (value, by) = (self.random.random(), self.member());
        match self.random.random_range(0..8) {
            0 => plan.psk = true,
            1 => {
                let proposal = self.world.members[by].proposes_psk();
                self.propose(Some(by), &proposal);
            }
            _ => {}
        }
        match self.random.random_range(0..8) {
            0 => plan.opaque = Some(value),
            1 => {
                let proposal = self.world.members[by].proposes_opaque(value);
                self.propose(Some(by), &proposal);
            }
            2 | 3 if self.second.is_none() => plan.component = Some(value),
            4 if self.second.is_none() => {
                let proposal = self.world.members[by].proposes_component(value);
                self.propose(Some(by), &proposal);
            }
            _ => {}
        }
    }

    fn add_somebody(&mut self, plan: &mut Plan) {
        let newcomer = self.world.newcomer();
        match self.random.random_range(0..3) {
            0 => plan.joiners.push(newcomer),
            1 => {
                let by = self.member();
                let proposal = self.world.members[by].proposes_add(&newcomer.key_package());
                self.propose(Some(by), &proposal);
                plan.expected.push(newcomer);
            }
            _ => {
                let proposal = self.world.hub_proposes_add(newcomer.key_package());
                self.propose(None, &proposal);
                plan.expected.push(newcomer);
            }
        }
    }
}

#[test]
fn h_19_mls_rs_has_the_hubs_tree_and_transcript_after_each_commit() {
    play(HISTORIES, |seed| {
        let mut history = History::begin(seed, true);
        for _ in 0..COMMITS {
            history.step();
        }
    });
}

#[test]
fn h_10_h_19_hub_and_members_stay_in_one_epoch_where_mls_rs_cannot_follow() {
    play(HISTORIES / 4, |seed| {
        let mut history = History::begin(seed, false);
        for _ in 0..COMMITS {
            history.step();
        }
    });
}

#[test]
fn mls_rs_cannot_read_app_data_updates_yet() {
    let (mut world, info) = World::found(Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519);
    let mut second = Second::observe(&info);
    let plan = Plan {
        component: Some(1),
        ..Plan::default()
    };
    let commit = world.commit(0, plan);
    assert!(
        second.take(&commit).is_err(),
        "mls-rs reads AppDataUpdate: let it follow the histories that have it"
    );
}

#[test]
fn mls_rs_cannot_read_self_removes_of_the_drafts_number_yet() {
    let (mut world, _) = World::found(Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519);
    let newcomer = world.newcomer();
    let plan = Plan {
        joiners: vec![newcomer],
        ..Plan::default()
    };
    world.commit(0, plan);
    let mut second = Second::observe(&world.members[0].group_info());
    let proposal = world.members[1].proposes_self_remove();
    assert!(
        second.take(&proposal).is_err(),
        "mls-rs reads SelfRemove: let it follow the histories that have it"
    );
}
