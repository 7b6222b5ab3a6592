//! Clients of whole providers' users, all in one room: real MLS clients that say things to each other and decrypt what the
//! others say. Each message has a mark, by which everybody is known to have been shown all of them, once, and in one order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use client::api::{Api, ApiError};
use client::mls::{Member, ORDINARY, Received, RoomProfile, Submitted};
use client::session::{Happening, Options, Session};
use hdrhistogram::Histogram;
use mimi::{ClientUri, RoomUri};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::drive::{Pace, drive};
use crate::measure::now_ns;
use crate::stage::{Whole, run};

/// For how long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Before a provider that cannot be reached is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// Octets of a mark: the number of who speaks, and of what it says.
const MARK: usize = 6;
/// Commits within which nothing is pending any more.
const SETTLED_WITHIN: usize = 16;
/// Faults told of one talk; more would say nothing new.
const FAULTS_MAX: usize = 16;

/// A message: who says it, and its number among what that one says.
type Mark = (u16, u32);

/// One client was shown a message.
#[derive(Debug, Clone, Copy)]
struct Came {
    mark: Mark,
    seq: u64,
    at_ns: u64,
}

#[derive(Debug, Default)]
struct Heard {
    came: Vec<Came>,
    faults: Vec<String>,
}

/// One client.
struct Party {
    /// The place of its provider.
    provider: usize,
    client: ClientUri,
    api: Api,
    session: Session,
    heard: Arc<Mutex<Heard>>,
    /// What it says next.
    next: u32,
}

/// See the module.
pub(crate) struct Parties {
    parties: Vec<Party>,
    pub(crate) room: RoomUri,
}

/// What was said and shown.
pub(crate) struct Talk {
    /// Messages accepted.
    pub(crate) messages: usize,
    /// Messages shown to clients of another provider than the speaker's.
    pub(crate) crossed: usize,
    /// From the time at which the first was due until the last was shown to the last client.
    pub(crate) took: Duration,
    /// When each was due, in nanoseconds since the UNIX epoch, in the order in which they were shown.
    pub(crate) due_ns: Vec<u64>,
    /// From due to accepted, in microseconds.
    pub(crate) accept_us: Histogram<u64>,
    /// From due to shown to each client of another provider, in microseconds.
    pub(crate) cross_us: Histogram<u64>,
    /// What is not as it must be.
    pub(crate) faults: Vec<String>,
}

/// A message on its way.
struct Spoken {
    mark: Mark,
    due_ns: u64,
    answered_ns: u64,
}

impl Parties {
    /// So many clients at each of `providers`, in a room of the first, which is called after `name`.
    ///
    /// # Errors
    /// A provider refuses, or somebody does not come in.
    pub(crate) async fn gather(providers: &[Whole], each: usize, name: &str) -> anyhow::Result<Self> {
        let hub = providers.first().context("no provider")?;
        let room: RoomUri = format!("mimi://{}/r/load-{name}-{}", hub.domain, run()).parse()?;
        let mut parties = Vec::new();
        for (place, provider) in providers.iter().enumerate() {
            for number in 0..each {
                let client = provider.client(&format!("{name}-{number}"))?;
                parties.push(Party::start(place, provider.api()?, client, room.clone())?);
            }
        }
        let all = Self { parties, room };
        let first = all.first()?;
        let room = &all.room;
        first.session.create_room(room, &RoomProfile::default()).await?;
        for (place, provider) in providers.iter().enumerate().skip(1) {
            for party in all.parties.iter().filter(|party| party.provider == place) {
                party.session.upload_key_packages(1).await?;
            }
            first.session.add_user(room, &provider.user, ORDINARY).await?;
        }
        for party in all.parties.iter().skip(1).filter(|party| party.provider == 0) {
            party.session.join(room, None).await?;
        }
        all.settle().await?;
        Ok(all)
    }

    fn first(&self) -> anyhow::Result<&Party> {
        self.parties.first().context("nobody is in the room")
    }

    /// Commits what the hub has proposed, until nothing waits and all are in one epoch.
    async fn settle(&self) -> anyhow::Result<()> {
        let first = self.first()?;
        for _ in 0..SETTLED_WITHIN {
            let epoch = || first.session.member(|member| member.epoch(&self.room));
            for party in &self.parties {
                let there = || party.session.member(|member| member.epoch(&self.room)) >= epoch();
                until(there, || format!("{} is not in the epoch of the room", party.client)).await?;
            }
            // Whatever the hub accepted before this message, the first has seen with it.
            first.session.send(&self.room, &mark((u16::MAX, 0), MARK)).await?;
            let heard = || !first.heard().came.is_empty();
            until(heard, || "the first client does not hear itself".to_owned()).await?;
            self.parties.iter().for_each(|party| party.heard().came.clear());
            if first.session.member(|member| member.pending_proposals(&self.room)) == 0 {
                return self.hush().await;
            }
            first.session.commit_pending(&self.room).await?;
        }
        bail!("something is pending after {SETTLED_WITHIN} commits");
    }

    /// Waits until everybody was shown what was said to settle, which is no part of what is measured.
    async fn hush(&self) -> anyhow::Result<()> {
        let first = self.first()?;
        first.session.send(&self.room, &mark((u16::MAX, 1), MARK)).await?;
        for party in &self.parties {
            let heard = || party.heard().came.iter().any(|came| came.mark == (u16::MAX, 1));
            until(heard, || format!("{} hears nothing", party.client)).await?;
            party.heard().came.clear();
        }
        Ok(())
    }

    /// Has so many messages of `octets` octets said by all in turn, and waits until each was shown all of them.
    ///
    /// # Errors
    /// A provider refuses, or somebody is shown nothing any more.
    pub(crate) async fn talk(
        &mut self,
        messages: usize,
        octets: usize,
        pace: Pace,
        told: impl Fn(),
    ) -> anyhow::Result<Talk> {
        let jobs = tokio::task::block_in_place(|| self.write(messages, octets))?;
        let callers: Vec<_> = self
            .parties
            .iter()
            .map(|one| (one.api.clone(), one.client.clone()))
            .collect();
        let room = self.room.clone();
        let begin = move |(mark, body): (Mark, Bytes), due_ns| {
            let ((api, client), room) = (callers[usize::from(mark.0)].clone(), room.clone());
            async move {
                submit(&api, &client, &room, body).await?;
                Ok(Spoken {
                    mark,
                    due_ns,
                    answered_ns: now_ns(),
                })
            }
        };
        let spoken = drive(jobs, pace, begin, told).await?;
        self.arrived(messages).await?;
        self.judge(&spoken)
    }

    fn write(&mut self, messages: usize, octets: usize) -> anyhow::Result<Vec<(Mark, Bytes)>> {
        let (count, room) = (self.parties.len(), &self.room);
        let mut jobs = Vec::with_capacity(messages);
        for number in 0..messages {
            let place = number % count;
            let party = &mut self.parties[place];
            let said = (u16::try_from(place)?, party.next);
            party.next += 1;
            let body = party.session.member(|member| member.send(room, &mark(said, octets)))?;
            jobs.push((said, body));
        }
        Ok(jobs)
    }

    async fn arrived(&self, messages: usize) -> anyhow::Result<()> {
        let mut last = (Instant::now(), 0);
        loop {
            let shown: Vec<usize> = self.parties.iter().map(|party| party.heard().came.len()).collect();
            if shown.iter().all(|shown| *shown >= messages) {
                return Ok(());
            }
            let sum = shown.iter().sum();
            if sum > last.1 {
                last = (Instant::now(), sum);
            }
            ensure!(
                last.0.elapsed() < PATIENCE,
                "clients were shown {shown:?} of {messages} messages, and nothing more comes: {:?}",
                self.parties.iter().flat_map(Party::take_faults).collect::<Vec<_>>()
            );
            sleep(LOOK).await;
        }
    }

    /// Compares what was said with what everybody was shown since it was last asked, and takes the times.
    fn judge(&self, spoken: &[Spoken]) -> anyhow::Result<Talk> {
        let (mut accept_us, mut cross_us) = (Histogram::new(3)?, Histogram::new(3)?);
        for one in spoken {
            accept_us.record(one.answered_ns.saturating_sub(one.due_ns) / 1_000)?;
        }
        let due: BTreeMap<Mark, u64> = spoken.iter().map(|one| (one.mark, one.due_ns)).collect();
        let first_ns = spoken.iter().map(|one| one.due_ns).min().unwrap_or_default();
        let (mut faults, mut crossed, mut last_ns) = (Vec::new(), 0, first_ns);
        let mut order: Option<Vec<Mark>> = None;
        for party in &self.parties {
            faults.extend(party.take_faults());
            let came = std::mem::take(&mut party.heard().came);
            let marks: Vec<Mark> = came.iter().map(|came| came.mark).collect();
            faults.extend(misfits(&due, &came).map(|fault| format!("{}: {fault}", party.client)));
            if *order.get_or_insert_with(|| marks.clone()) != marks {
                faults.push(format!("{} was shown another order than others", party.client));
            }
            for Came { mark, at_ns, .. } in came {
                last_ns = last_ns.max(at_ns);
                let speaker = self.parties.get(usize::from(mark.0));
                let crosses = speaker.is_some_and(|speaker| speaker.provider != party.provider);
                if let Some(due_ns) = due.get(&mark).filter(|_| crosses) {
                    crossed += 1;
                    cross_us.record(at_ns.saturating_sub(*due_ns) / 1_000)?;
                }
            }
        }
        faults.truncate(FAULTS_MAX);
        Ok(Talk {
            messages: spoken.len(),
            crossed,
            took: Duration::from_nanos(last_ns - first_ns),
            due_ns: order
                .iter()
                .flatten()
                .filter_map(|mark| due.get(mark).copied())
                .collect(),
            accept_us,
            cross_us,
            faults,
        })
    }
}

/// What is not as it must be about what one client was shown.
fn misfits(due: &BTreeMap<Mark, u64>, came: &[Came]) -> impl Iterator<Item = String> {
    let mut missing = due.clone();
    let (mut foreign, mut seq) = (0, 0);
    let mut disordered = false;
    for one in came {
        if missing.remove(&one.mark).is_none() {
            foreign += 1;
        }
        // 0: the provider was not told.
        if one.seq > 0 {
            disordered |= one.seq <= seq;
            seq = one.seq;
        }
    }
    let missing = missing.len();
    let missing = (missing > 0).then(|| format!("{missing} of {} messages never came", due.len()));
    let foreign = (foreign > 0).then(|| format!("{foreign} messages came twice, or nobody said them"));
    let disordered = disordered.then(|| "messages came in another order than the hub's".to_owned());
    missing.into_iter().chain(foreign).chain(disordered)
}

impl Party {
    fn start(provider: usize, api: Api, client: ClientUri, room: RoomUri) -> anyhow::Result<Self> {
        let options = Options {
            patience: PATIENCE,
            commits_proposals: false,
            ..Options::default()
        };
        let (session, happenings) = Session::start(api.clone(), Member::new(client.clone())?, options);
        let heard = Arc::<Mutex<Heard>>::default();
        tokio::spawn(listen(room, heard.clone(), happenings));
        Ok(Self {
            provider,
            client,
            api,
            session,
            heard,
            next: 0,
        })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_faults(&self) -> Vec<String> {
        let gaps = self.session.gaps();
        let gaps = (gaps > 0).then(|| format!("{gaps} positions of the inbox never came"));
        let faults = std::mem::take(&mut self.heard().faults);
        let all = faults.into_iter().chain(gaps);
        all.map(|fault| format!("{}: {fault}", self.client)).collect()
    }
}

async fn listen(room: RoomUri, heard: Arc<Mutex<Heard>>, mut happenings: mpsc::Receiver<Happening>) {
    while let Some(happening) = happenings.recv().await {
        if happening.room != room {
            continue;
        }
        let at_ns = now_ns();
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = match happening.received {
            Received::Message(message) => match read(&message.data) {
                Some(mark) => {
                    heard.came.push(Came {
                        mark,
                        seq: happening.seq,
                        at_ns,
                    });
                    continue;
                }
                None => "a message that nobody said".to_owned(),
            },
            Received::AgainstRules { why, .. } => format!("against the rules: {why}"),
            Received::Undecryptable(why) | Received::OutOfStep(why) => format!("out of step: {why}"),
            Received::Early { epoch } => format!("of epoch {epoch}, before it"),
            _ => continue,
        };
        if heard.faults.len() < FAULTS_MAX {
            heard.faults.push(fault);
        }
    }
}

/// Application data of `octets` octets with a mark.
fn mark((party, number): Mark, octets: usize) -> Vec<u8> {
    let mut data = vec![0x5a; octets.max(MARK)];
    data[..2].copy_from_slice(&party.to_be_bytes());
    data[2..MARK].copy_from_slice(&number.to_be_bytes());
    data
}

fn read(data: &[u8]) -> Option<Mark> {
    let party = u16::from_be_bytes(data.get(..2)?.try_into().ok()?);
    let number = u32::from_be_bytes(data.get(2..MARK)?.try_into().ok()?);
    Some((party, number))
}

/// Submits a message until it is answered: the same octets have one effect.
async fn submit(api: &Api, client: &ClientUri, room: &RoomUri, body: Bytes) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let error = match api.submit(client, room, body.clone()).await {
            Ok(answer) => match Member::submitted(&answer)? {
                Submitted::Accepted(_) => return Ok(()),
                refused => bail!("{client}: {refused:?}"),
            },
            Err(error) => error,
        };
        let pause = match &error {
            ApiError::Overloaded {
                retry_after: Some(pause),
            } => *pause,
            _ => PAUSE,
        };
        if !error.is_retryable() || began.elapsed() > PATIENCE {
            return Err(error).with_context(|| format!("{client} says something"));
        }
        sleep(pause).await;
    }
}

async fn until(holds: impl Fn() -> bool, or: impl Fn() -> String) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds() {
        ensure!(began.elapsed() < PATIENCE, "{}", or());
        sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(numbers: &[u32]) -> Vec<Came> {
        let one = |(place, number): (usize, &u32)| Came {
            mark: (0, *number),
            seq: place as u64 + 1,
            at_ns: 0,
        };
        numbers.iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_mark_is_read_from_the_data_that_it_was_written_into() {
        assert_eq!(read(&mark((3, 70_000), 900)), Some((3, 70_000)));
        assert_eq!(read(&mark((3, 1), 0)), Some((3, 1)));
        assert_eq!(read(&[0; 5]), None);
    }

    #[test]
    fn what_is_missing_came_twice_or_in_another_order_is_a_misfit() {
        let due: BTreeMap<Mark, u64> = (0..3).map(|number| ((0, number), 0)).collect();
        let count = |came: &[Came]| misfits(&due, came).count();
        assert_eq!(count(&came(&[0, 1, 2])), 0);
        assert_eq!(count(&came(&[0, 2])), 1);
        assert_eq!(count(&came(&[0, 1, 1, 2])), 1);
        assert_eq!(count(&came(&[0, 1, 3])), 2);
        let mut backwards = came(&[0, 1, 2]);
        backwards[2].seq = 1;
        assert_eq!(count(&backwards), 1);
    }
}
