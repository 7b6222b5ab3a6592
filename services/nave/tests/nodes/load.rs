//! Every client says something in every room, again and again, and it is written down what was accepted and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mimi::RoomUri;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crowd::{Client, Crowd, PATIENCE};

/// Between an acceptance and the sender's next message: two cores have more to do than this.
const PACE: Duration = Duration::from_millis(60);
/// Acceptances of each sender after which something goes on.
const ROUNDS: usize = 3;

/// What was accepted of one sender's messages in one room.
type Accepted = Vec<(Bytes, Instant)>;

/// Who sends where: the places of client and room.
type Sender = (usize, usize);

#[derive(Default)]
struct Ledger(Mutex<BTreeMap<Sender, Accepted>>);

impl Ledger {
    fn accepted(&self, sender: Sender, content: Bytes) {
        let mut all = self.0.lock().unwrap();
        all.entry(sender).or_default().push((content, Instant::now()));
    }
}

/// The senders at work.
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    senders: JoinSet<()>,
    count: usize,
    progress: watch::Receiver<u64>,
    stop: CancellationToken,
}

impl Load {
    pub(crate) fn start(crowd: &Crowd) -> Self {
        let (told, progress) = watch::channel(0);
        let (ledger, stop, mut senders) = (Arc::<Ledger>::default(), CancellationToken::new(), JoinSet::new());
        for (who, client) in crowd.clients.iter().enumerate() {
            for (place, room) in crowd.rooms.iter().enumerate() {
                let (ledger, told, stop) = (ledger.clone(), told.clone(), stop.clone());
                let (client, room) = (client.clone(), room.clone());
                senders.spawn(async move {
                    let mut number = 0_u32;
                    while !stop.is_cancelled() {
                        let content = say(&client, &room, number).await;
                        ledger.accepted((who, place), content);
                        told.send_modify(|count| *count += 1);
                        number += 1;
                        tokio::time::sleep(PACE).await;
                    }
                });
            }
        }
        Self {
            ledger,
            count: senders.len(),
            senders,
            progress,
            stop,
        }
    }

    /// Waits until every client got some more messages accepted in every room.
    pub(crate) async fn goes_on(&self) {
        let counts = || {
            let all = self.ledger.0.lock().unwrap();
            all.iter()
                .map(|(sender, accepted)| (*sender, accepted.len()))
                .collect::<BTreeMap<Sender, usize>>()
        };
        let before = counts();
        let further = |_: &u64| {
            let now = counts();
            let more = now.iter().filter(|(sender, count)| {
                let known = before.get(sender).copied().unwrap_or_default();
                **count >= known + ROUNDS
            });
            more.count() == self.count
        };
        let mut progress = self.progress.clone();
        let waited = tokio::time::timeout(PATIENCE, progress.wait_for(further)).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "not every room accepts messages: {before:?}, then {:?}",
            counts()
        );
    }

    /// The longest time from `since` on in which a room accepted nothing, though something was sent.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        let mut rooms = BTreeMap::<usize, Vec<Instant>>::new();
        for ((_, room), accepted) in self.ledger.0.lock().unwrap().iter() {
            let times = accepted.iter().map(|(_, at)| *at).filter(|at| *at >= since);
            rooms.entry(*room).or_insert_with(|| vec![since]).extend(times);
        }
        let gaps = rooms.values_mut().flat_map(|times| {
            times.sort_unstable();
            times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
        });
        gaps.max().unwrap_or_default()
    }

    /// Stops, once everything that was sent is answered; says what was accepted in each room.
    pub(crate) async fn stop(mut self, rooms: &[RoomUri]) -> BTreeMap<RoomUri, BTreeSet<Bytes>> {
        self.stop.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let mut all = BTreeMap::<RoomUri, BTreeSet<Bytes>>::new();
        for ((_, room), accepted) in self.ledger.0.lock().unwrap().iter() {
            let contents = accepted.iter().map(|(content, _)| content.clone());
            all.entry(rooms[*room].clone()).or_default().extend(contents);
        }
        all
    }
}

/// Says something that nobody else says; returns it when it was accepted.
pub(crate) async fn say(client: &Client, room: &RoomUri, number: u32) -> Bytes {
    let content = Bytes::from(format!("{number} of {} in {room}", client.uri));
    let sent = client.session.send(room, &content).await;
    assert!(sent.is_ok(), "{content:?}: {sent:?}");
    content
}
