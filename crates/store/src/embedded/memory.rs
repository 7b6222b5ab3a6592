//! The engine in memory: a persistent map, so that a view costs nothing and a state once seen never changes.

use bytes::Bytes;
use imbl::OrdMap;
use std::convert::Infallible;
use std::sync::Arc;

use super::engine::{Changes, Engine, EngineError, View, bounded};
use crate::backend::{Bounds, Rows};
use crate::key::{KeyRange, Version};

#[derive(Debug, Default)]
pub(crate) struct MemoryEngine {
    version: Version,
    rows: OrdMap<Bytes, Bytes>,
}

#[derive(Debug)]
struct MemoryView(OrdMap<Bytes, Bytes>);

impl Engine for MemoryEngine {
    fn version(&self) -> Version {
        self.version
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::new(MemoryView(self.rows.clone()))
    }

    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError> {
        self.version = version;
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
        Ok(())
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, range: &KeyRange, bounds: Bounds) -> Result<Rows, EngineError> {
        let rows = self.0.range(range.begin.clone()..range.end.clone());
        let owned = |(key, value): (&Bytes, &Bytes)| Ok::<_, Infallible>((key.clone(), value.clone()));
        let taken = if bounds.reverse {
            bounded(rows.rev().map(owned), bounds)
        } else {
            bounded(rows.map(owned), bounds)
        };
        let Ok(taken) = taken;
        Ok(taken)
    }
}
