//! To our own clients: each room's entries in order, from the first one that the client has not acknowledged. Whoever does
//! not read is waited for; whoever comes back begins where it stopped.

use std::collections::BTreeMap;

use ledger::follower::{InboxEntry, InboxPosition, Inboxes};
use mimi::{ClientUri, RoomUri};
use proto::follower::Event;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::limits::{CLIENT_ROOMS_MAX, LOOK_AT_ALL, STREAM_EVENTS_MAX, STREAM_PAGE_BYTES};
use crate::wake::{Listener, Woken};
use crate::{Fault, Follower};

/// A client's events. The stream ends with a fault, or when it is dropped.
pub type Events = mpsc::Receiver<Result<Event, Fault>>;

/// Takes a client's acknowledgements.
#[derive(Debug, Clone)]
pub struct Acks {
    follower: Follower,
    client: ClientUri,
}

/// Where one stream stands in each room it shows: the next place to send.
type Places = BTreeMap<RoomUri, InboxPosition>;

impl Follower {
    /// Opens a client's event stream.
    ///
    /// # Errors
    /// The client is not ours, or the store does not serve.
    pub async fn open(&self, client: ClientUri) -> Result<(Events, Acks), Fault> {
        self.own(&client)?;
        let mut listener = self.wake.listen(&client);
        let places = self.places(&client).await?;
        places.keys().for_each(|room| listener.follow(room));
        let (sender, events) = mpsc::channel(STREAM_EVENTS_MAX);
        let stream = Stream {
            follower: self.clone(),
            client: client.clone(),
            places,
            listener,
            sender,
        };
        self.metrics.streams.add(1, &[]);
        tokio::spawn(stream.run());
        Ok((
            events,
            Acks {
                follower: self.clone(),
                client,
            },
        ))
    }

    async fn places(&self, client: &ClientUri) -> Result<Places, Fault> {
        let mut transaction = self.database.begin();
        let followed = Inboxes(&mut transaction)
            .subscriptions(client, None, CLIENT_ROOMS_MAX)
            .await?;
        Ok(followed
            .into_iter()
            .map(|subscription| (subscription.room, subscription.next))
            .collect())
    }
}

impl Acks {
    /// The client has stored everything of the room up to and including `position`.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn acknowledge(&self, room: &RoomUri, position: InboxPosition) -> Result<(), Fault> {
        self.follower
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut inboxes = Inboxes(open);
                let Some(next) = inboxes.subscription(&self.client, room).await? else {
                    return Ok((transaction, ()));
                };
                // Nobody can acknowledge what is not there yet.
                let past = position.next().min(inboxes.head(room).await?.next);
                if past > next {
                    inboxes.put_subscription(&self.client, room, past);
                }
                Ok::<_, Fault>((transaction, ()))
            })
            .await
    }
}

struct Stream {
    follower: Follower,
    client: ClientUri,
    places: Places,
    listener: Listener,
    sender: mpsc::Sender<Result<Event, Fault>>,
}

impl Stream {
    async fn run(mut self) {
        if let Err(Stop::Fault(fault)) = self.show().await {
            tracing::warn!(%fault, "an event stream ends");
            self.sender.send(Err(fault)).await.ok();
        }
        self.follower.metrics.streams.add(-1, &[]);
    }

    async fn show(&mut self) -> Result<(), Stop> {
        for room in self.places.keys().cloned().collect::<Vec<_>>() {
            self.show_room(&room).await?;
        }
        let mut looks = tokio::time::interval(LOOK_AT_ALL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once.
        looks.reset();
        loop {
            let woken = tokio::select! {
                biased;
                () = self.sender.closed() => return Err(Stop::Gone),
                woken = self.listener.woken() => woken,
                _ = looks.tick(), if self.follower.others.is_some() => Woken::ForAll,
            };
            match woken {
                Woken::For(rooms) => {
                    for (room, of_client) in rooms {
                        self.changed(&room, of_client).await?;
                    }
                }
                Woken::ForAll => self.all_changed().await?,
            }
        }
    }

    async fn changed(&mut self, room: &RoomUri, of_client: bool) -> Result<(), Stop> {
        if of_client {
            // Before it is read: what comes after that wakes again.
            self.listener.follow(room);
            let mut transaction = self.follower.database.begin();
            let next = Inboxes(&mut transaction).subscription(&self.client, room).await;
            match next.map_err(Fault::from)? {
                Some(next) => self.goes_on(room, next),
                None => {
                    self.listener.leave(room);
                    self.places.remove(room);
                }
            }
        }
        self.show_room(room).await
    }

    /// The room is followed from `next` on. What was shown already is not shown again; a client that followed anew in the
    /// meantime begins at the later place.
    fn goes_on(&mut self, room: &RoomUri, next: InboxPosition) {
        let place = self.places.entry(room.clone()).or_insert(next);
        *place = next.max(*place);
    }

    /// Some wake-ups were missed: what is followed, and where each inbox stands, is read again.
    async fn all_changed(&mut self) -> Result<(), Stop> {
        let followed = self.follower.places(&self.client).await?;
        let listener = &mut self.listener;
        self.places.retain(|room, _| {
            let goes_on = followed.contains_key(room);
            if !goes_on {
                listener.leave(room);
            }
            goes_on
        });
        for (room, next) in followed {
            self.listener.follow(&room);
            self.goes_on(&room, next);
            self.show_room(&room).await?;
        }
        Ok(())
    }

    /// Sends what the room has from this stream's place on.
    async fn show_room(&mut self, room: &RoomUri) -> Result<(), Stop> {
        let mut is_first = true;
        while let Some(from) = self.places.get(room).copied() {
            let mut transaction = self.follower.database.begin();
            let page = Inboxes(&mut transaction).entries(room, from, STREAM_PAGE_BYTES).await;
            let page = page.map_err(Fault::from)?;
            // What this client did not acknowledge in time is not there any more.
            let first = match page.first() {
                Some((first, _)) => *first,
                None if is_first => Inboxes(&mut transaction).head(room).await.map_err(Fault::from)?.next,
                None => break,
            };
            drop(transaction);
            is_first = false;
            if first > from {
                let last = InboxPosition(first.0 - 1);
                self.sender.send(Ok(lost(room, last))).await.map_err(|_| Stop::Gone)?;
                self.places.insert(room.clone(), first);
            }
            for (position, entry) in page {
                let event = self.event(room, position, entry);
                self.sender.send(Ok(event)).await.map_err(|_| Stop::Gone)?;
                self.places.insert(room.clone(), position.next());
            }
        }
        Ok(())
    }

    /// What this client is shown of an entry; of a Welcome for others, only that its place is taken.
    fn event(&self, room: &RoomUri, position: InboxPosition, entry: InboxEntry) -> Event {
        let mut event = Event {
            room: room.as_str().to_owned(),
            position: position.0,
            seq: entry.seq.0,
            message: entry.message,
            key_package_refs: Vec::new(),
            rejoin: false,
        };
        event.rejoin = entry.welcome.is_none() && event.message.is_empty();
        if let Some(to) = entry.welcome {
            let mine = to.into_iter().filter(|to| to.client == self.client);
            event.key_package_refs = mine.map(|to| to.reference).collect();
            if event.key_package_refs.is_empty() {
                event.message.clear();
            }
        }
        event
    }
}

/// What the client is told instead of the entries up to `last`, which are gone.
fn lost(room: &RoomUri, last: InboxPosition) -> Event {
    Event {
        room: room.as_str().to_owned(),
        position: last.0,
        rejoin: true,
        ..Event::default()
    }
}

enum Stop {
    /// The client went away.
    Gone,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
