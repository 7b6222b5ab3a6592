//! What a follower is due that the memory tail no longer holds, from the log by way of its index rows: window by window, the
//! next of which is read while one is on its way.

use std::sync::Arc;

use ledger::{Offset, ReadError, ReadLimit};
use mimi::Provider;
use tokio_util::task::AbortOnDropHandle;

use crate::couriers::Shared;
use crate::window::Window;
use crate::{Due, Entry, Failure};

/// Index blocks read at a time.
const INDEX_BLOCKS: usize = 1;

/// One follower's.
pub(crate) struct Backlog<'a> {
    shared: &'a Arc<Shared>,
    provider: &'a Provider,
    ahead: Option<Ahead>,
}

/// A window that nobody has asked for yet.
struct Ahead {
    from: u64,
    read: AbortOnDropHandle<Result<Vec<Due>, ReadError>>,
}

impl<'a> Backlog<'a> {
    pub(crate) const fn new(shared: &'a Arc<Shared>, provider: &'a Provider) -> Self {
        Self {
            shared,
            provider,
            ahead: None,
        }
    }

    /// Keeps nothing of what was read ahead: it is not wanted soon.
    pub(crate) fn rest(&mut self) {
        self.ahead = None;
    }

    /// The window that begins at `from`; empty when nothing is due until `until`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn window(&mut self, from: u64, until: u64) -> Result<Vec<Due>, Failure> {
        let mut items = match self.ahead.take().filter(|ahead| ahead.from == from) {
            Some(ahead) => read(ahead).await?,
            None => Vec::new(),
        };
        // What was read ahead and is empty says nothing of what was indexed since.
        if items.is_empty() {
            items = read(self.begin(from, until)).await?;
        }
        let next = items.last().map(|due| due.entry.offset.0 + 1);
        self.ahead = next.filter(|next| *next < until).map(|next| self.begin(next, until));
        Ok(items)
    }

    fn begin(&self, from: u64, until: u64) -> Ahead {
        let (shared, provider) = (self.shared.clone(), self.provider.clone());
        let reader = self.shared.plane.readers(self.provider);
        let read = reader.spawn(async move {
            let reading = Reading {
                shared: &shared,
                provider: &provider,
            };
            reading.window(from, until).await
        });
        Ahead {
            from,
            read: AbortOnDropHandle::new(read),
        }
    }
}

async fn read(window: Ahead) -> Result<Vec<Due>, Failure> {
    let read = window.read.await;
    let read = read.map_err(|error| Failure::new(error.to_string()))?;
    read.map_err(|error| Failure::new(error.to_string()))
}

struct Reading<'a> {
    shared: &'a Shared,
    provider: &'a Provider,
}

impl Reading<'_> {
    /// The window that is on its way and the one behind it are as large together as a delivery may be.
    fn bytes_max(&self) -> usize {
        self.shared.options.window_bytes_max / 2
    }

    async fn window(&self, mut from: u64, until: u64) -> Result<Vec<Due>, ReadError> {
        let (ledger, shard) = (&self.shared.ledger, self.shared.shard);
        let mut window = Window::of(&self.shared.options, self.bytes_max());
        while from < until && window.items.is_empty() {
            let mut named = ledger
                .read_index(shard, self.provider, Offset(from), INDEX_BLOCKS)
                .await?;
            let Some(last) = named.last() else { break };
            from = last.0 + 1;
            named.retain(|offset| offset.0 < until);
            self.shared.retain_due(self.provider, &mut named);
            self.fill(&mut window, &named).await?;
        }
        Ok(window.items)
    }

    /// Reads the entries at `offsets`, neighbours together, until the window is full.
    async fn fill(&self, window: &mut Window<'_>, mut offsets: &[Offset]) -> Result<(), ReadError> {
        let options = &self.shared.options;
        while let Some(first) = offsets.first() {
            let neighbours = (0u64..)
                .zip(offsets)
                .take_while(|(n, offset)| first.plus(*n) == **offset)
                .count();
            let limit = ReadLimit {
                entries: neighbours.min(options.window_entries_max),
                bytes: self.bytes_max(),
            };
            let entries = self.shared.ledger.read_log(self.shared.shard, *first, limit).await?;
            let mut read = 0;
            for entry in Entry::encoded(entries) {
                let Some(at) = offsets[..neighbours].iter().position(|offset| *offset == entry.offset) else {
                    break;
                };
                if !window.push(entry, self.provider) {
                    return Ok(());
                }
                read = at + 1;
            }
            // Trimmed: what is not there is not due.
            offsets = &offsets[if read == 0 { neighbours } else { read }..];
        }
        Ok(())
    }
}
