//! The scenario: three providers, three rooms, two edges and two hubs of one of the providers; the hubs share its shards.
//! Traffic and faults come from the seed; then faults end, and everything must come to rest.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mimi::codec::Encode as _;
use mimi::{Provider, RoomUri};
use room::Keys as _;
use tokio::sync::Notify;

use crate::cast;
use crate::checkers::{self, LIVENESS, RESTORE, SAFETY};
use crate::edges;
use crate::faults::{self, Act, Plan};
use crate::follower::{self, Inbox};
use crate::hubs;
use crate::keys::SimKeys;
use crate::marks::{self, Mark, Marks};
use crate::puppet::{Puppet, Stage, Standing};
use crate::store::{Sabotage, Service};
use crate::trace::{self, Event, Record};
use crate::truth::{self, Evidence};
use crate::world::World;

const HUBS: [&str; 2] = ["hub-1", "hub-2"];
const EDGES: [&str; 2] = ["edge-1", "edge-2"];
pub(crate) const FOLLOWERS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// After faults end, everything converges within this time.
const CONVERGENCE_MAX: Duration = Duration::from_secs(60);

/// A hub that is to die during an append dies without one after this time.
const APPEND_MAX: Duration = Duration::from_secs(2);

/// How often safety is judged while faults go on.
const WATCH: Duration = Duration::from_secs(3);

/// How often it is looked whether everything has converged.
const LOOK: Duration = Duration::from_millis(250);

/// What a run leaves behind.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) evidence: Evidence,
    pub(crate) marks: Marks,
}

/// Why a run failed, and its trace so far.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: String,
    pub(crate) trace: Vec<String>,
}

/// Plays one seed to the end and judges it. The cluster may be broken on purpose.
pub(crate) fn play_with(seed: u64, sabotage: Sabotage) -> Result<Played, Failed> {
    let record = Record::default();
    let played = Run::new(seed, sabotage, record.clone()).and_then(Run::play);
    let failed = |why| Failed {
        why,
        trace: trace::lines(&record.events()).collect(),
    };
    let evidence = played.map_err(failed)?;
    checkers::judge(&SAFETY, &evidence).map_err(failed)?;
    checkers::judge(&LIVENESS, &evidence).map_err(failed)?;
    checkers::judge(&RESTORE, &evidence).map_err(failed)?;
    let mut marks = marks::told_by(&evidence).map_err(failed)?;
    marks.add(&record.marks());
    Ok(Played { evidence, marks })
}

struct Run {
    seed: u64,
    world: World,
    service: Service,
    record: Record,
    plan: Plan,
    rooms: Vec<RoomUri>,
    clients: Vec<&'static str>,
    hubs: BTreeMap<&'static str, Rc<hubs::Site>>,
    /// Counts faults of hubs, so that they strike the owner of one shard after that of the other.
    turn: u32,
    lost_answers: Rc<RefCell<f64>>,
    inboxes: BTreeMap<Provider, Rc<RefCell<Inbox>>>,
    standings: Rc<RefCell<BTreeMap<String, Standing>>>,
    /// What a fault ends with, and when.
    ends: Vec<(Duration, End)>,
    /// When the evidence so far was judged last.
    watched: Duration,
    /// How long the next hub that is struck stays down.
    down: Duration,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Start(&'static str),
    /// And starts it again so much later.
    Kill(&'static str, Duration),
    Mend(&'static str, &'static str),
    Thaw(&'static str),
}

impl Run {
    fn new(seed: u64, sabotage: Sabotage, record: Record) -> Result<Self, String> {
        let plan = Plan::of(seed, FOLLOWERS.len());
        let service = Service::new(seed, plan.rates, sabotage, record.clone());
        let mut run = Self {
            seed,
            world: World::new(seed),
            service,
            record,
            rooms: Vec::new(),
            clients: Vec::new(),
            hubs: BTreeMap::new(),
            turn: 0,
            lost_answers: Rc::new(RefCell::new(plan.lost_answers)),
            inboxes: BTreeMap::new(),
            standings: Rc::default(),
            ends: Vec::new(),
            watched: Duration::ZERO,
            down: Duration::ZERO,
            plan,
        };
        run.build_hubs();
        run.build_edges();
        run.build_followers();
        run.build_clients()?;
        run.check_shards()?;
        Ok(run)
    }

    /// Whether no shard would be idle.
    fn check_shards(&self) -> Result<(), String> {
        let shards = hubs::founding(self.seed).shards;
        let used: BTreeSet<_> = self.rooms.iter().map(|room| shards.of(room.as_str())).collect();
        let unused = shards.all().find(|shard| !used.contains(shard));
        unused.map_or(Ok(()), |shard| {
            Err(format!("no room of the scenario is in shard {shard}"))
        })
    }

    fn build_hubs(&mut self) {
        let unheard = Rc::default();
        let plans = self.plan.skew_ms.into_iter().zip(self.plan.weights);
        for ((number, name), (skew_ms, weight)) in (1..).zip(HUBS).zip(plans) {
            let site = Rc::new(hubs::Site {
                name,
                number,
                seed: self.seed,
                service: self.service.clone(),
                record: self.record.clone(),
                lost_answers: self.lost_answers.clone(),
                blind: self.plan.blind,
                skew_ms: Arc::new(AtomicI64::new(skew_ms)),
                weight,
                rooms_max: self.plan.rooms_max,
                lives: Cell::new(0),
                drain: Notify::new(),
                random: RefCell::new(faults::random(self.seed, name)),
                unheard: Rc::clone(&unheard),
            });
            self.hubs.insert(name, site.clone());
            self.world.host(name, move || hubs::run(site.clone()));
        }
    }

    fn build_edges(&mut self) {
        for ((number, name), lag) in (0..).zip(EDGES).zip(self.plan.map_lag) {
            let site = Rc::new(edges::Site {
                number,
                hubs: HUBS.map(str::to_owned).into(),
                record: self.record.clone(),
                lag,
                lives: Cell::new(0),
            });
            self.world.host(name, move || edges::run(site.clone()));
        }
    }

    fn build_followers(&mut self) {
        for name in FOLLOWERS {
            let provider: Provider = name.parse().expect("it is a domain");
            let lost_answers = self.lost_answers.clone();
            let site = follower::Site::new(self.seed, provider.clone(), self.record.clone(), lost_answers);
            let site = Rc::new(site);
            self.inboxes.insert(provider, site.inbox.clone());
            self.world.host(name, move || follower::run(site.clone()));
        }
    }

    fn build_clients(&mut self) -> Result<(), String> {
        let suite = client::mls::CIPHERSUITE.into();
        let sender = SimKeys.hub(suite).ok_or("the simulated hub has no key for the suite")?;
        let stage = Stage {
            seed: self.seed,
            record: self.record.clone(),
            edges: EDGES,
            hub_sender: Bytes::from(sender.encode()),
            key_packages: Rc::default(),
            standings: self.standings.clone(),
        };
        for cast in cast::casts(self.seed, &self.plan) {
            if !self.rooms.contains(&cast.room) {
                self.rooms.push(cast.room.clone());
            }
            let inbox = self.inboxes[cast.client.provider()].clone();
            let name = host_of(cast.client.as_str());
            self.clients.push(name);
            let puppet = Puppet::new(stage.clone(), cast, inbox).map_err(|error| error.to_string())?;
            let puppet = RefCell::new(Some(puppet));
            self.world
                .host(name, move || puppet.take().expect("a client's host never dies").run());
        }
        Ok(())
    }

    fn play(mut self) -> Result<Evidence, String> {
        while self.world.elapsed() < self.plan.until {
            let now = self.world.elapsed();
            let acts = due(&mut self.plan.acts, now);
            acts.into_iter().for_each(|act| self.strike(now, act));
            self.step(now)?;
            self.watch(now)?;
        }
        self.heal();
        let healed = self.world.elapsed();
        let mut looked = healed;
        loop {
            let now = self.world.elapsed();
            self.step(now)?;
            if now - looked < LOOK {
                continue;
            }
            looked = now;
            if self.may_be_at_rest() {
                self.service.settle();
                let evidence = self.evidence()?;
                match checkers::judge(&LIVENESS, &evidence) {
                    Ok(()) => return Ok(evidence),
                    Err(why) if now - healed > CONVERGENCE_MAX => return Err(self.unrest(&why)),
                    Err(_) => {}
                }
            } else if now - healed > CONVERGENCE_MAX {
                let busy = self.standings.borrow().clone();
                let busy = busy.into_iter().find(|(_, standing)| !standing.settled);
                return Err(self.unrest(&format!("{busy:?}")));
            }
        }
    }

    /// Why nothing comes to rest: a promise that was broken on the way, if there is one.
    fn unrest(&self, why: &str) -> String {
        let judged = self.evidence().and_then(|evidence| {
            checkers::judge(&SAFETY, &evidence)?;
            checkers::judge(&RESTORE, &evidence)
        });
        judged.err().unwrap_or_else(|| format!("no convergence: {why}"))
    }

    /// Judges what there is so far, now and then.
    fn watch(&mut self, now: Duration) -> Result<(), String> {
        if now < self.watched + WATCH {
            return Ok(());
        }
        self.watched = now;
        checkers::judge(&SAFETY, &self.evidence()?)
    }

    fn step(&mut self, now: Duration) -> Result<(), String> {
        self.world.step()?;
        if let Some(host) = self.service.struck() {
            self.kill(now, host, self.down);
        }
        let ends = due(&mut self.ends, now);
        ends.into_iter().for_each(|end| self.end(end));
        Ok(())
    }

    fn strike(&mut self, now: Duration, act: Act) {
        self.record.note(Event::Struck(format!("{act:?}")));
        match act {
            Act::Doom(fate) => self.service.doom(fate),
            Act::Stall(lasts) => {
                if let Some(host) = self.owner() {
                    self.service.stall(host, now + lasts);
                }
            }
            Act::KillHub { down, on_append } => match self.owner() {
                // One that has a shard is meant; there will be one.
                None => self.plan.acts.push((now + LOOK, Act::KillHub { down, on_append })),
                Some(host) if on_append => {
                    self.down = down;
                    self.service.arm(host);
                    self.plan.acts.push((now + APPEND_MAX, Act::KillArmed { down }));
                }
                Some(host) => self.kill(now, host, down),
            },
            Act::KillArmed { down } => {
                if let Some(host) = self.service.disarm() {
                    self.kill(now, host, down);
                }
            }
            Act::DrainHub { grace, down } => {
                if let Some(host) = self.owner() {
                    self.hubs[host].drain.notify_one();
                    self.ends.push((now + grace, End::Kill(host, down)));
                }
            }
            Act::Storm {
                turns,
                every,
                down,
                orderly,
            } => {
                if let Some(host) = self.owner() {
                    if orderly {
                        self.hubs[host].drain.notify_one();
                        self.ends.push((now + every / 2, End::Kill(host, down)));
                    } else {
                        self.kill(now, host, down);
                    }
                }
                if let Some(turns) = turns.checked_sub(1).filter(|left| *left > 0) {
                    let again = Act::Storm {
                        turns,
                        every,
                        down,
                        orderly,
                    };
                    self.plan.acts.push((now + every, again));
                }
            }
            Act::Jump(by_ms) => {
                if let Some(host) = self.owner() {
                    self.hubs[host].skew_ms.fetch_add(by_ms, Ordering::Relaxed);
                }
            }
            Act::Freeze(lasts) => {
                if let Some(host) = self.owner() {
                    self.service.stall(host, now + lasts);
                    self.others(host).for_each(|other| self.world.hold(host, other));
                    self.ends.push((now + lasts, End::Thaw(host)));
                }
            }
            Act::KillEdge { edge, down } => self.kill(now, EDGES[edge], down),
            Act::CutEdge {
                edge,
                hub,
                oneway,
                lasts,
            } => self.cut(EDGES[edge], HUBS[hub], oneway, now + lasts),
            Act::KillFollower { follower, down } => self.kill(now, FOLLOWERS[follower], down),
            Act::CutFollower {
                follower,
                oneway,
                lasts,
            } => HUBS
                .into_iter()
                .for_each(|hub| self.cut(FOLLOWERS[follower], hub, oneway, now + lasts)),
        }
    }

    /// A hub that runs and has a shard.
    fn owner(&mut self) -> Option<&'static str> {
        self.turn += 1;
        let shards = (self.turn..)
            .take(hubs::SHARDS as usize)
            .map(|turn| turn % hubs::SHARDS);
        let owners: Vec<_> = shards.filter_map(|shard| self.service.owner(shard)).collect();
        owners.into_iter().find(|host| self.world.is_running(host))
    }

    fn kill(&mut self, now: Duration, host: &'static str, down: Duration) {
        if !self.world.is_running(host) {
            return;
        }
        self.record.note(Event::Struck(format!("{host} dies")));
        self.world.kill(host);
        self.ends.push((now + down, End::Start(host)));
    }

    /// Nothing gets from `from` to `to`, nor back, unless it is one way only.
    fn cut(&mut self, from: &'static str, to: &'static str, oneway: bool, until: Duration) {
        let back = (!oneway).then_some((to, from));
        for (from, to) in [(from, to)].into_iter().chain(back) {
            self.world.cut(from, to);
            self.ends.push((until, End::Mend(from, to)));
        }
    }

    fn end(&mut self, end: End) {
        match end {
            End::Start(host) => {
                self.record.note(Event::Struck(format!("{host} starts")));
                self.record.mark(match host {
                    hub if HUBS.contains(&hub) => Mark::HubRestarted,
                    edge if EDGES.contains(&edge) => Mark::EdgeRestarted,
                    _ => Mark::FollowerRestarted,
                });
                self.world.start(host);
            }
            End::Kill(host, down) => self.kill(self.world.elapsed(), host, down),
            End::Mend(from, to) => self.world.mend(from, to),
            End::Thaw(host) => self.others(host).for_each(|other| self.world.release(host, other)),
        }
    }

    /// Every other host.
    fn others(&self, host: &'static str) -> impl Iterator<Item = &'static str> + use<> {
        let hosts: Vec<_> = HUBS
            .into_iter()
            .chain(EDGES)
            .chain(FOLLOWERS)
            .chain(self.clients.iter().copied())
            .collect();
        hosts.into_iter().filter(move |other| *other != host)
    }

    /// From now on nothing goes wrong, and everybody is there.
    fn heal(&mut self) {
        self.record.note(Event::Struck("nothing any more".to_owned()));
        self.service.calm();
        *self.lost_answers.borrow_mut() = 0.0;
        // A hub that is drained is killed and started: both now.
        while !self.ends.is_empty() {
            for (_, end) in std::mem::take(&mut self.ends) {
                self.end(end);
            }
        }
    }

    fn may_be_at_rest(&self) -> bool {
        self.standings.borrow().values().all(|standing| standing.settled)
    }

    fn evidence(&self) -> Result<Evidence, String> {
        let held = truth::read(&self.service, self.seed, &self.rooms)?;
        let inboxes = self
            .inboxes
            .iter()
            .map(|(provider, inbox)| (provider.clone(), inbox.borrow().clone()));
        Ok(Evidence {
            events: self.record.events(),
            shards: held.shards,
            rooms: held.rooms.iter().map(|room| (room.id().clone(), room.head())).collect(),
            canonical: held
                .rooms
                .iter()
                .map(|room| (room.id().clone(), room.canonical()))
                .collect(),
            inboxes: inboxes.collect(),
            standings: self.standings.borrow().clone(),
        })
    }
}

/// Takes out what is due.
fn due<T>(timed: &mut Vec<(Duration, T)>, now: Duration) -> Vec<T> {
    let due = timed.extract_if(.., |(at, _)| *at <= now);
    due.map(|(_, what)| what).collect()
}

/// Hosts of clients are named after them.
fn host_of(client: &str) -> &'static str {
    let mut parts = client.split('/').rev();
    let (device, person) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("client-{person}-{device}").leak()
}
