//! The one place where versions are given out: decides a group of commits in order, applies it in one go, publishes it.

use bytes::Bytes;
use std::sync::Arc;
use tokio::time::Instant;

use super::core::Core;
use super::engine::{Changes, Engine, EngineError, View};
use crate::backend::{Bounds, Mutation};
use crate::error::Error;
use crate::key::{KeyRange, Version, Versionstamp};
use crate::limits::CHUNK_ROWS;
use crate::transaction::Committed;

use super::resolver::{Resolver, Touched};

/// What a transaction asks to be committed.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The version read; `None` if nothing was read.
    pub(crate) read: Option<Version>,
    pub(crate) read_ranges: Vec<KeyRange>,
    pub(crate) write_ranges: Vec<KeyRange>,
    pub(crate) mutations: Vec<Mutation>,
}

/// Owns the engine and the resolver.
#[derive(Debug)]
pub(crate) struct Committer {
    engine: Box<dyn Engine>,
    resolver: Resolver,
}

/// The rows of a group on top of the state that it starts from.
#[derive(Debug)]
struct Group {
    base: Arc<dyn View>,
    changes: Changes,
}

impl Committer {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        let resolver = Resolver::new(engine.version());
        Self { engine, resolver }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Decides the requests in order and makes the accepted ones durable together; answers in the same order. Readers see
    /// the new version before any answer is given.
    pub(crate) fn commit(&mut self, core: &Core, requests: Vec<Request>) -> Vec<Result<Committed, Error>> {
        let count = requests.len();
        match self.try_commit(core, requests) {
            Ok(answers) => answers,
            Err(EngineError(reason)) => {
                core.kill(&reason);
                vec![Err(Error::Fatal(reason)); count]
            }
        }
    }

    fn try_commit(
        &mut self,
        core: &Core,
        requests: Vec<Request>,
    ) -> Result<Vec<Result<Committed, Error>>, EngineError> {
        if let Err(error) = core.check() {
            return Ok(vec![Err(error); requests.len()]);
        }
        let now = Instant::now();
        self.resolver.forget(now);
        let start = self.engine.version();
        let mut last = start;
        let mut group = Group {
            base: self.engine.view(),
            changes: Changes::new(),
        };
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = match request.read {
                Some(version) => self.resolver.check(version, &request.read_ranges),
                None => Ok(()),
            };
            if answer.is_ok() {
                last = Version(last.0 + 1);
                let stamp = Versionstamp::new(last, 0);
                let writes = group.add(request, stamp)?;
                self.resolver.remember(last, now, writes);
            }
            answers.push(answer.map(|()| Committed {
                version: last,
                versionstamp: Some(Versionstamp::new(last, 0)),
            }));
        }
        if last > start {
            self.engine.apply(last, &group.changes)?;
            core.publish(last, self.engine.view(), &group.changes);
        }
        Ok(answers)
    }
}

impl Group {
    /// Adds a transaction's writes and says what they touch.
    fn add(&mut self, request: Request, stamp: Versionstamp) -> Result<Vec<Touched>, EngineError> {
        let mut touched: Vec<Touched> = request.write_ranges.into_iter().map(Touched::from).collect();
        touched.reserve(request.mutations.len());
        for mutation in request.mutations {
            let (key, value) = match mutation {
                Mutation::Set { key, value } => (key, Some(value)),
                Mutation::Clear { key } => (key, None),
                Mutation::SetStampedKey { prefix, suffix, value } => (stamped(&prefix, stamp, &suffix), Some(value)),
                Mutation::SetStampedValue { key, prefix, suffix } => (key, Some(stamped(&prefix, stamp, &suffix))),
                Mutation::ClearRange { range } => {
                    self.clear_range(&range)?;
                    touched.push(range.into());
                    continue;
                }
            };
            touched.push(Touched::Key(key.clone()));
            self.changes.insert(key, value);
        }
        Ok(touched)
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), EngineError> {
        for (_, value) in self.changes.range_mut::<Bytes, _>(&range.begin..&range.end) {
            *value = None;
        }
        let mut rest = range.clone();
        let bounds = Bounds {
            rows: CHUNK_ROWS,
            octets: usize::MAX,
            reverse: false,
        };
        loop {
            let chunk = self.base.range(&rest, bounds)?;
            let last = chunk.rows.last().map(|(key, _)| crate::key::after(key));
            self.changes.extend(chunk.rows.into_iter().map(|(key, _)| (key, None)));
            match last {
                Some(next) if chunk.more && next < rest.end => rest.begin = next,
                _ => return Ok(()),
            }
        }
    }
}

fn stamped(prefix: &[u8], stamp: Versionstamp, suffix: &[u8]) -> Bytes {
    [prefix, &stamp.0, suffix].concat().into()
}
