//! The store as a service outside the hosts: it does not die with them, but it takes its time, refuses, and leaves open
//! what became of a commit. What it holds is always right: the memory backend decides, this only delays and lies.
//!
//! A commit that is under way arrives whether or not whoever sent it still lives. It is carried out when the service is
//! next looked at, in the order of arrival; nobody can tell that from its being carried out on time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use rand::Rng;
use rand::rngs::StdRng;
use store::limits::TRANSACTION_AGE_MAX;
use store::{
    Backend, BackendTransaction, Bounds, Committed, ConflictKind, Database, Error, Isolation, KeyRange, Mutation, Rows,
    Version, Watch,
};
use tokio::runtime::Runtime;

use crate::faults::{self, Fate, Rates};
use crate::marks::Mark;
use crate::trace::Record;
use crate::world;
use crate::written::{Wrote, WroteFence};

/// One way to or from the store.
const LATENCY_MS: std::ops::Range<u64> = 1..8;

/// The same for an append whose sender is to die while it is on its way: longer than a step of the world.
const LATENCY_ARMED: Duration = Duration::from_millis(20);

/// What the service does to the cluster on purpose, so that it is seen whether the promises' checkers notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// A hub that has a shard is shown the fence it wrote itself: as if it never looked who owns it.
    HideTakeovers,
    /// Now and then an entry of the log is not written.
    LoseEntries,
    /// A shard that is taken over has lost its last entry.
    DropOnTakeover,
    /// A room that is opened again is not shown what it answered before.
    ForgetAnswers,
}

/// The tag of the rows that [`Sabotage::ForgetAnswers`] hides, as the ledger's golden keys fix it.
const ANSWER_TAG: u8 = 0x0b;

/// The service. All clones are the same.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    /// The clock under the memory backend stands still: age is judged here, by the world's clock, which all hosts share.
    standstill: Runtime,
    record: Record,
    sabotage: Sabotage,
    state: Mutex<State>,
}

struct State {
    clock: Duration,
    random: StdRng,
    rates: Rates,
    calm: bool,
    doomed: VecDeque<Fate>,
    stalled: BTreeMap<&'static str, Duration>,
    /// Who is to die with its next append on its way, and who just did send one.
    armed: Option<&'static str>,
    struck: Option<&'static str>,
    flights: u64,
    air: BTreeMap<(Duration, u64), Flight>,
    landed: BTreeMap<u64, Result<Committed, Error>>,
    /// The fences by which hosts have shards, until they resign, learn that somebody else has them, or die. Where
    /// takeovers are hidden they are shown in place of the truth.
    held: BTreeMap<(&'static str, Bytes), Bytes>,
    /// Who took each shard last, and whether it still has it or resigned.
    owners: BTreeMap<u32, (&'static str, bool)>,
}

/// A commit on its way.
struct Flight {
    host: &'static str,
    transaction: Box<dyn BackendTransaction>,
    begun: Option<Duration>,
    wrote: Wrote,
    orphan: bool,
    late: bool,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    pub(crate) fn new(seed: u64, rates: Rates, sabotage: Sabotage, record: Record) -> Self {
        let standstill = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        Self(Arc::new(Inner {
            backend: Database::memory().backend(),
            standstill: standstill.expect("a runtime without threads and sockets needs nothing"),
            record,
            sabotage,
            state: Mutex::new(State {
                clock: Duration::ZERO,
                random: faults::random(seed, "store"),
                rates,
                calm: false,
                doomed: VecDeque::new(),
                stalled: BTreeMap::new(),
                armed: None,
                struck: None,
                flights: 0,
                air: BTreeMap::new(),
                landed: BTreeMap::new(),
                held: BTreeMap::new(),
                owners: BTreeMap::new(),
            }),
        }))
    }

    /// The store as one host reaches it.
    pub(crate) fn door(&self, host: &'static str) -> Database {
        Database::from_backend(Arc::new(Door {
            service: self.clone(),
            host,
        }))
    }

    /// Everything on its way arrives.
    pub(crate) fn settle(&self) {
        self.arrive(&mut self.lock(), Duration::MAX);
    }

    /// What the store holds, without faults and delays.
    pub(crate) fn contents(&self) -> Database {
        Database::from_backend(self.0.backend.clone())
    }

    /// The next append meets `fate`.
    pub(crate) fn doom(&self, fate: Fate) {
        self.lock().doomed.push_back(fate);
    }

    /// `host` does not reach the store before `until`.
    pub(crate) fn stall(&self, host: &'static str, until: Duration) {
        self.lock().stalled.insert(host, until);
    }

    /// `host` is to die with its next append on its way.
    pub(crate) fn arm(&self, host: &'static str) {
        self.lock().armed = Some(host);
    }

    /// Nobody is to die any more with an append on its way. Returns who was.
    pub(crate) fn disarm(&self) -> Option<&'static str> {
        self.lock().armed.take()
    }

    /// Who is to die now.
    pub(crate) fn struck(&self) -> Option<&'static str> {
        self.lock().struck.take()
    }

    /// A new life of `host` knows nothing of what the former one had.
    pub(crate) fn begins(&self, host: &'static str) {
        self.lock().held.retain(|(holder, _), _| *holder != host);
    }

    /// Who took this shard last, as far as it has not resigned.
    pub(crate) fn owner(&self, shard: u32) -> Option<&'static str> {
        let owner = self.lock().owners.get(&shard).copied();
        owner.filter(|(_, owned)| *owned).map(|(host, _)| host)
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&self) {
        let mut state = self.lock();
        state.calm = true;
        state.rates = Rates::default();
        state.doomed.clear();
        state.stalled.clear();
        state.armed = None;
    }

    /// Runs what never waits, with the clock that stands still.
    pub(crate) fn at_once<T>(&self, future: impl Future<Output = T>) -> T {
        let _entered = self.0.standstill.enter();
        future.now_or_never().expect("the memory backend never waits")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }

    /// The way to the store, and whether a read is refused there.
    fn way(&self, host: &'static str) -> (Duration, Option<Error>) {
        let mut state = self.lock();
        let state = &mut *state;
        let wait = latency(state, host);
        let refused = state.random.random_bool(state.rates.read_refused);
        let error = refused.then(|| [Error::TooOld, Error::Busy][state.random.random_range(0..2)].clone());
        (wait, error)
    }

    /// Brings the service up to the world's time and returns that.
    fn now(&self) -> Duration {
        let mut state = self.lock();
        let now = world::now().unwrap_or_default().max(state.clock);
        self.arrive(&mut state, now);
        state.clock = now;
        now
    }

    /// Carries out whatever arrives until `now`.
    fn arrive(&self, state: &mut State, now: Duration) {
        while let Some(entry) = state.air.first_entry() {
            let (at, id) = *entry.key();
            if at > now {
                return;
            }
            let Flight {
                host,
                transaction,
                begun,
                wrote,
                orphan,
                late,
            } = entry.remove();
            let result = match begun {
                Some(begun) if at.saturating_sub(begun) > TRANSACTION_AGE_MAX => Err(Error::TooOld),
                _ => self.at_once(transaction.commit()),
            };
            let record = &self.0.record;
            let happened = [
                (orphan && result.is_ok(), Mark::OrphanLanded),
                (wrote.log && late && result.is_ok(), Mark::LateWithEffect),
                (wrote.log && late && result.is_err(), Mark::LateRefused),
                (wrote.index && result.is_ok(), Mark::Indexed),
            ];
            happened
                .into_iter()
                .filter(|(reached, _)| *reached)
                .for_each(|(_, mark)| record.mark(mark));
            if result.is_ok() {
                wrote.rows.into_iter().for_each(|row| record.note(row));
                if let Some(fence) = wrote.fence {
                    self.moved(state, host, fence);
                }
            }
            state.landed.insert(id, result);
        }
    }

    /// A fence has moved.
    fn moved(&self, state: &mut State, host: &'static str, fence: WroteFence) {
        let former = state.owners.insert(fence.shard, (host, fence.owned));
        if !fence.owned {
            state.held.remove(&(host, fence.key));
            return;
        }
        state.held.insert((host, fence.key), fence.row);
        let mut flights = state.air.values();
        if flights.any(|flight| flight.host != host && flight.wrote.log_of == Some(fence.shard)) {
            self.0.record.mark(Mark::TakenOverInFlight);
        }
        match former {
            Some((_, true)) => {
                self.0.record.mark(Mark::TakenOver);
                if self.0.sabotage == Sabotage::DropOnTakeover {
                    self.drop_last_entry(fence.shard);
                }
            }
            Some((other, false)) if other != host => self.0.record.mark(Mark::HandedOver),
            Some(_) | None => {}
        }
    }

    fn drop_last_entry(&self, shard: u32) {
        let entries = KeyRange::prefix(&[&b"S"[..], &shard.to_be_bytes(), b"l"].concat());
        let database = self.contents();
        let dropped = async {
            let mut transaction = database.begin();
            let last = transaction.range(entries, 1, true).await?;
            last.into_iter().for_each(|(key, _)| transaction.clear(key));
            transaction.commit().await
        };
        drop(self.at_once(dropped));
    }

    /// A host reads a row. Whoever sees that it lost a shard knows so from then on; unless that is hidden.
    fn shown(&self, host: &'static str, key: &[u8], truth: Option<Bytes>) -> Option<Bytes> {
        let at = (host, Bytes::copy_from_slice(key));
        let mut state = self.lock();
        match state.held.get(&at) {
            Some(held) if truth.as_ref() != Some(held) => {
                if self.0.sabotage == Sabotage::HideTakeovers {
                    return Some(held.clone());
                }
                state.held.remove(&at);
                self.0.record.mark(Mark::Deposed);
                truth
            }
            _ => truth,
        }
    }

    /// Whether sabotage makes nothing of this write.
    fn is_lost(&self, mutation: &Mutation) -> bool {
        let Mutation::Set { key, .. } = mutation else {
            return false;
        };
        match (self.0.sabotage, key.as_ref()) {
            (Sabotage::LoseEntries, [b'S', _, _, _, _, b'l', .., offset]) => offset % 64 == 63,
            _ => false,
        }
    }

    /// Whether sabotage hides this row from whoever opens a room.
    fn is_forgotten(&self, key: &[u8]) -> bool {
        let row = match key {
            [b'S', _, _, _, _, b'r', room @ ..] => {
                room.iter().position(|octet| *octet == 0).map(|end| &room[end + 1..])
            }
            _ => None,
        };
        self.0.sabotage == Sabotage::ForgetAnswers && matches!(row, Some([ANSWER_TAG, ..]))
    }

    /// Sends a commit on its way.
    fn launch(&self, host: &'static str, transaction: Box<dyn BackendTransaction>, sent: Sent) -> Launch {
        self.now();
        // The sender's time, which may be a step behind the service's: its answer is not to be back before the arrival.
        let now = world::now().unwrap_or_default();
        let mut state = self.lock();
        let state = &mut *state;
        let Sent { begun, wrote } = sent;
        let fate = match wrote.log.then(|| state.doomed.pop_front()).flatten() {
            Some(doomed) => doomed,
            None => state.rates.fate(&mut state.random),
        };
        let (mut there, mut back) = (latency(state, host), latency(state, host));
        let mut orphan = false;
        if wrote.log && state.armed == Some(host) {
            state.armed = None;
            state.struck = Some(host);
            (there, back, orphan) = (LATENCY_ARMED, LATENCY_ARMED, true);
            self.0.record.mark(Mark::KilledDuringAppend);
        }
        if wrote.log && matches!(fate, Fate::Conflict | Fate::TooOld | Fate::Busy) {
            self.0.record.mark(Mark::AppendRefused);
        }
        let (arrival, error) = match fate {
            Fate::Answered => (Some(there), None),
            Fate::Conflict => (None, Some(Error::Conflict)),
            Fate::TooOld => (None, Some(Error::TooOld)),
            Fate::Busy => (None, Some(Error::Busy)),
            Fate::UnknownApplied => (Some(there), Some(Error::Unknown)),
            Fate::UnknownLost => (None, Some(Error::Unknown)),
            Fate::Late(by) => (Some(there + by), Some(Error::TimedOut)),
        };
        let flight = arrival.map(|there| {
            state.flights += 1;
            let late = matches!(fate, Fate::Late(_));
            let flight = Flight {
                host,
                transaction,
                begun,
                wrote: wrote.clone(),
                orphan,
                late,
            };
            state.air.insert((now + there, state.flights), flight);
            state.flights
        });
        Launch {
            flight,
            error,
            log: wrote.log,
            round_trip: there + back,
        }
    }

    /// The answer to a commit, once it had the time to come back.
    fn answer(&self, launch: &Launch) -> Result<Committed, Error> {
        self.now();
        let landed = launch.flight.and_then(|flight| self.lock().landed.remove(&flight));
        match (&launch.error, landed) {
            (None, landed) => landed.expect("a commit arrives before its answer is back"),
            (Some(error), landed) => {
                if launch.log && *error == Error::Unknown {
                    let effect = matches!(landed, Some(Ok(_)));
                    let mark = if effect {
                        Mark::UnknownWithEffect
                    } else {
                        Mark::UnknownWithoutEffect
                    };
                    self.0.record.mark(mark);
                }
                Err(error.clone())
            }
        }
    }
}

/// One way, and the rest of a stall.
fn latency(state: &mut State, host: &'static str) -> Duration {
    let stalled = state.stalled.get(host).copied().unwrap_or_default();
    let rest = stalled.saturating_sub(world::now().unwrap_or_default());
    rest + Duration::from_millis(state.random.random_range(LATENCY_MS))
}

struct Sent {
    begun: Option<Duration>,
    wrote: Wrote,
}

/// A commit that was sent.
struct Launch {
    flight: Option<u64>,
    /// What its sender is told in place of the truth.
    error: Option<Error>,
    log: bool,
    round_trip: Duration,
}

/// The store as one host reaches it.
#[derive(Debug)]
struct Door {
    service: Service,
    host: &'static str,
}

impl Door {
    fn faulty(&self, inner: Box<dyn BackendTransaction>) -> Box<dyn BackendTransaction> {
        Box::new(Faulty {
            service: self.service.clone(),
            host: self.host,
            inner,
            begun: OnceLock::new(),
            wrote: Wrote::default(),
        })
    }
}

#[async_trait]
impl Backend for Door {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        self.faulty(self.service.0.backend.begin())
    }

    /// How old `version` is nobody knows here: a host that sleeps meanwhile is refused by the fence it lost.
    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        self.faulty(self.service.0.backend.begin_after(version))
    }

    /// The service goes on without this client.
    async fn close(&self) {}
}

#[derive(Debug)]
struct Faulty {
    service: Service,
    host: &'static str,
    inner: Box<dyn BackendTransaction>,
    /// When it first read.
    begun: OnceLock<Duration>,
    wrote: Wrote,
}

impl Faulty {
    /// The way to the store and back; whether it answers then.
    async fn travel(&self) -> Result<(), Error> {
        let (wait, refused) = self.service.way(self.host);
        tokio::time::sleep(wait).await;
        let now = self.service.now();
        let begun = *self.begun.get_or_init(|| now);
        match refused {
            Some(error) => Err(error),
            None if now - begun > TRANSACTION_AGE_MAX => Err(Error::TooOld),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl BackendTransaction for Faulty {
    async fn read_version(&self) -> Result<Version, Error> {
        self.travel().await?;
        self.service.at_once(self.inner.read_version())
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        self.travel().await?;
        let truth = self.service.at_once(self.inner.get(key, isolation))?;
        Ok(self.service.shown(self.host, key, truth))
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        self.travel().await?;
        let mut rows = self.service.at_once(self.inner.range(range, bounds, isolation))?;
        rows.rows.retain(|(key, _)| !self.service.is_forgotten(key));
        Ok(rows)
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.wrote.see(&mutation);
        if !self.service.is_lost(&mutation) {
            self.inner.mutate(mutation);
        }
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.wrote.anything |= kind == ConflictKind::Write;
        self.inner.add_conflict_range(kind, range);
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        self.travel().await?;
        self.service.at_once(self.inner.watch(key))
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        if !self.wrote.anything {
            self.travel().await?;
            let Self { service, inner, .. } = *self;
            return service.at_once(inner.commit());
        }
        let Self {
            service,
            host,
            inner,
            begun,
            wrote,
        } = *self;
        let launch = service.launch(
            host,
            inner,
            Sent {
                begun: begun.get().copied(),
                wrote,
            },
        );
        tokio::time::sleep(launch.round_trip).await;
        service.answer(&launch)
    }
}
