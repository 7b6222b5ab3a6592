//! Random interleaved transactions against a naive store that keeps every state it ever had.
//!
//! Two oracles: each answer equals the naive store's, conflicts included; and what was committed reads the same when it
//! is run again one after the other, in the order of commits.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use store::{Committed, Database, Error, KeyRange, Transaction};

const CLIENTS: usize = 4;
const KEYS: u8 = 10;

#[derive(Clone, Debug)]
enum Step {
    Begin,
    ReadVersion,
    Get {
        key: u8,
        snapshot: bool,
    },
    Range {
        begin: u8,
        end: u8,
        limit: usize,
        reverse: bool,
        snapshot: bool,
    },
    Set {
        key: u8,
        value: u8,
    },
    Clear {
        key: u8,
    },
    ClearRange {
        begin: u8,
        end: u8,
    },
    AddRead {
        begin: u8,
        end: u8,
    },
    AddWrite {
        begin: u8,
        end: u8,
    },
    Commit,
}

type State = BTreeMap<u8, u8>;

/// A bit for each key.
type Keys = u32;

/// What a step returned: rows, or how the commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Rows(Vec<(u8, u8)>),
    Committed(bool),
    Conflict,
}

#[derive(Debug)]
struct Naive {
    /// The state after each commit, and what the commit wrote.
    history: Vec<(State, Keys)>,
}

#[derive(Clone, Debug, Default)]
struct Client {
    version: Option<usize>,
    writes: Vec<Step>,
    read: Keys,
    written: Keys,
    /// What it did since it began, with the answers.
    done: Vec<(Step, Answer)>,
}

fn keys(begin: u8, end: u8) -> Keys {
    (begin..end).fold(0, |keys, key| keys | 1 << key)
}

fn write(state: &mut State, step: &Step) {
    match *step {
        Step::Set { key, value } => drop(state.insert(key, value)),
        Step::Clear { key } => drop(state.remove(&key)),
        Step::ClearRange { begin, end } => state.retain(|key, _| *key < begin || *key >= end),
        _ => {}
    }
}

/// The rows and the keys that they depend on.
fn look(state: &State, begin: u8, end: u8, limit: usize, reverse: bool) -> (Vec<(u8, u8)>, Keys) {
    let mut rows: Vec<_> = state
        .iter()
        .map(|(k, v)| (*k, *v))
        .filter(|(k, _)| (begin..end).contains(k))
        .collect();
    if reverse {
        rows.reverse();
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let looked = match rows.last() {
        Some((last, _)) if more && reverse => keys(*last, end),
        Some((last, _)) if more => keys(begin, last + 1),
        _ => keys(begin, end),
    };
    (rows, looked)
}

impl Naive {
    fn step(&mut self, client: &mut Client, step: &Step) -> Answer {
        let newest = self.history.len() - 1;
        if matches!(step, Step::ReadVersion | Step::Get { .. } | Step::Range { .. }) {
            client.version.get_or_insert(newest);
        }
        let mut state = self.history[client.version.unwrap_or(newest)].0.clone();
        client.writes.iter().for_each(|earlier| write(&mut state, earlier));
        match *step {
            Step::Begin => *client = Client::default(),
            Step::ReadVersion => {}
            Step::Get { key, snapshot } => {
                // A key that the transaction wrote itself depends on nobody.
                let own = client.writes.iter().fold(0, |own, earlier| own | written(earlier)) & keys(key, key + 1) != 0;
                if !snapshot && !own {
                    client.read |= keys(key, key + 1);
                }
                return Answer::Rows(state.get(&key).map(|value| (key, *value)).into_iter().collect());
            }
            Step::Range {
                begin,
                end,
                limit,
                reverse,
                snapshot,
            } => {
                let (rows, looked) = look(&state, begin, end, limit, reverse);
                if !snapshot && limit > 0 {
                    client.read |= looked;
                }
                return Answer::Rows(rows);
            }
            Step::Set { .. } | Step::Clear { .. } | Step::ClearRange { .. } => {
                client.writes.push(step.clone());
                client.written |= written(step);
            }
            Step::AddRead { begin, end } => client.read |= keys(begin, end),
            Step::AddWrite { begin, end } => client.written |= keys(begin, end),
            Step::Commit => return self.commit(client),
        }
        Answer::Nothing
    }

    fn commit(&mut self, client: &Client) -> Answer {
        if client.written == 0 {
            return Answer::Committed(false);
        }
        let since = client.version.unwrap_or(self.history.len() - 1) + 1;
        if self.history[since..]
            .iter()
            .any(|(_, written)| written & client.read != 0)
        {
            return Answer::Conflict;
        }
        let mut state = self.history.last().unwrap().0.clone();
        client.writes.iter().for_each(|earlier| write(&mut state, earlier));
        self.history.push((state, client.written));
        Answer::Committed(true)
    }
}

fn written(step: &Step) -> Keys {
    match *step {
        Step::Set { key, .. } | Step::Clear { key } => keys(key, key + 1),
        Step::ClearRange { begin, end } => keys(begin, end),
        _ => 0,
    }
}

async fn play(database: &Database, slot: &mut Transaction, step: &Step) -> Answer {
    let between = |begin: u8, end: u8| KeyRange::from([begin]..[end]);
    match *step {
        Step::Begin => *slot = database.begin(),
        Step::ReadVersion => drop(slot.read_version().await.unwrap()),
        Step::Get { key, snapshot } => {
            let value = if snapshot {
                slot.snapshot_get(&[key]).await
            } else {
                slot.get(&[key]).await
            };
            return Answer::Rows(value.unwrap().map(|value| (key, value[0])).into_iter().collect());
        }
        Step::Range {
            begin,
            end,
            limit,
            reverse,
            snapshot,
        } => {
            let range = between(begin, end);
            let rows = match snapshot {
                true => slot.snapshot_range(range, limit, reverse).await,
                false => slot.range(range, limit, reverse).await,
            };
            return Answer::Rows(
                rows.unwrap()
                    .into_iter()
                    .map(|(key, value)| (key[0], value[0]))
                    .collect(),
            );
        }
        Step::Set { key, value } => slot.set(vec![key], vec![value]),
        Step::Clear { key } => slot.clear(vec![key]),
        Step::ClearRange { begin, end } => slot.clear_range(between(begin, end)),
        Step::AddRead { begin, end } => slot.add_read_conflict_range(between(begin, end)),
        Step::AddWrite { begin, end } => slot.add_write_conflict_range(between(begin, end)),
        Step::Commit => {
            return match std::mem::replace(slot, database.begin()).commit().await {
                Ok(Committed { versionstamp, .. }) => Answer::Committed(versionstamp.is_some()),
                Err(Error::Conflict) => Answer::Conflict,
                Err(other) => panic!("{other}"),
            };
        }
    }
    Answer::Nothing
}

/// Runs the committed transactions one after the other on an empty state.
fn replay(committed: &[Client]) -> State {
    let mut state = State::new();
    for client in committed {
        let mut own = state.clone();
        for (step, answer) in &client.done {
            match *step {
                Step::Get { key, snapshot: false } => {
                    let rows = own.get(&key).map(|value| (key, *value)).into_iter().collect();
                    assert_eq!(Answer::Rows(rows), *answer, "{step:?} is not serializable");
                }
                Step::Range {
                    begin,
                    end,
                    limit,
                    reverse,
                    snapshot: false,
                } => {
                    let (rows, _) = look(&own, begin, end, limit, reverse);
                    assert_eq!(Answer::Rows(rows), *answer, "{step:?} is not serializable");
                }
                _ => write(&mut own, step),
            }
        }
        state = own;
    }
    state
}

fn step() -> impl Strategy<Value = Step> {
    let key = 1..=KEYS;
    let range = (1..=KEYS, 0..5_u8).prop_map(|(begin, length)| (begin, (begin + length).min(KEYS + 1)));
    prop_oneof![
        1 => Just(Step::Begin),
        1 => Just(Step::ReadVersion),
        4 => (key.clone(), prop::bool::weighted(0.2)).prop_map(|(key, snapshot)| Step::Get { key, snapshot }),
        4 => (range.clone(), 0..4_usize, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |((begin, end), limit, reverse, snapshot)| Step::Range { begin, end, limit, reverse, snapshot }
        ),
        6 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Set { key, value }),
        2 => key.prop_map(|key| Step::Clear { key }),
        2 => range.clone().prop_map(|(begin, end)| Step::ClearRange { begin, end }),
        1 => range.clone().prop_map(|(begin, end)| Step::AddRead { begin, end }),
        1 => range.prop_map(|(begin, end)| Step::AddWrite { begin, end }),
        5 => Just(Step::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_a_naive_one(steps in prop::collection::vec((0..CLIENTS, step()), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let database = Database::memory();
            let mut slots: Vec<_> = (0..CLIENTS).map(|_| database.begin()).collect();
            let mut naive = Naive { history: vec![(State::new(), 0)] };
            let mut clients = vec![Client::default(); CLIENTS];
            let mut committed = Vec::new();
            for (index, step) in &steps {
                let (slot, client) = (&mut slots[*index], &mut clients[*index]);
                let expected = naive.step(client, step);
                let answer = play(&database, slot, step).await;
                prop_assert_eq!(&answer, &expected, "client {} {:?}", index, step);
                client.done.push((step.clone(), answer.clone()));
                if matches!(step, Step::Commit) {
                    let ended = std::mem::take(client);
                    if answer == Answer::Committed(true) {
                        committed.push(ended);
                    }
                }
            }
            let rows = database.begin().range([0]..[0xff], 1_000, false).await.unwrap();
            let stored: State = rows.into_iter().map(|(key, value): (Bytes, Bytes)| (key[0], value[0])).collect();
            prop_assert_eq!(&stored, &naive.history.last().unwrap().0);
            prop_assert_eq!(replay(&committed), stored);
            Ok(())
        })?;
    }
}
