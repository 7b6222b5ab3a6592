#![allow(clippy::unwrap_used, reason = "tests")]

use tempfile::TempDir;

use super::*;

const LEDGER: Ledger = [7; 16];
const ROOM: &str = "mimi://a.example/r/clubhouse";

struct World {
    directory: TempDir,
    head: [u8; 32],
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            head: [0; 32],
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("inbox")
    }

    /// The inbox, and the offsets of what it holds.
    fn open(&self) -> (Inbox, Vec<u64>) {
        let mut offsets = Vec::new();
        let inbox = Inbox::open(&self.path(), "a.example", |items| {
            offsets.extend(items.iter().map(|item| item.offset));
        });
        (inbox.unwrap(), offsets)
    }

    /// The next entry of the room: entry n is at offset 10 n.
    fn next(&mut self, seq: u64) -> Item {
        let message = Bytes::from(format!("message {seq}"));
        self.head = chain(&self.head, seq, &Sha256::digest(&message).into());
        Item {
            offset: 10 * seq,
            room: ROOM.to_owned(),
            seq,
            previous_seq: seq - 1,
            chain: self.head.to_vec().into(),
            recipient_set: vec![0; 16].into(),
            epoch: 0,
            body: Some(item::Body::Message(message)),
        }
    }
}

fn deliver(items: Vec<Item>) -> Deliver {
    Deliver {
        shard: 3,
        items,
        traceparent: String::new(),
    }
}

#[test]
fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let mut world = World::new();
    let (mut inbox, _) = world.open();
    assert_eq!(inbox.position(LEDGER, 3), None);
    let items = vec![world.next(1), world.next(2)];
    let stored = inbox.store(LEDGER, deliver(items.clone())).unwrap();
    assert_eq!((stored.acknowledge.next_offset, stored.items.len()), (21, 2));
    // A repeat has no second effect, not even in the file.
    let length = std::fs::metadata(world.path()).unwrap().len();
    let repeat = inbox.store(LEDGER, deliver(items)).unwrap();
    assert_eq!((repeat.acknowledge.next_offset, repeat.items.len()), (21, 0));
    assert_eq!(std::fs::metadata(world.path()).unwrap().len(), length);
    drop(inbox);
    let (mut inbox, found) = world.open();
    assert_eq!(found, [10, 20]);
    assert_eq!(inbox.position(LEDGER, 3), Some(21));
    assert_eq!(inbox.position([8; 16], 3), None);
    let third = inbox.store(LEDGER, deliver(vec![world.next(3)])).unwrap();
    assert!(third.alarms.is_empty(), "{:?}", third.alarms);
}

#[test]
fn a_torn_last_record_is_dropped_wherever_it_was_torn() {
    let mut world = World::new();
    let (mut inbox, _) = world.open();
    inbox.store(LEDGER, deliver(vec![world.next(1)])).unwrap();
    let one = std::fs::read(world.path()).unwrap();
    inbox.store(LEDGER, deliver(vec![world.next(2)])).unwrap();
    drop(inbox);
    let two = std::fs::read(world.path()).unwrap();
    for cut in one.len()..two.len() {
        std::fs::write(world.path(), &two[..cut]).unwrap();
        let (inbox, found) = world.open();
        assert_eq!((found, inbox.position(LEDGER, 3)), (vec![10], Some(11)), "cut at {cut}");
        assert_eq!(std::fs::read(world.path()).unwrap(), one);
    }
    let mut torn = two.clone();
    *torn.last_mut().unwrap() ^= 1;
    std::fs::write(world.path(), torn).unwrap();
    assert_eq!(world.open().1, [10]);
}

#[test]
fn damage_before_the_last_record_is_an_error_and_no_loss() {
    let mut world = World::new();
    let (mut inbox, _) = world.open();
    inbox.store(LEDGER, deliver(vec![world.next(1)])).unwrap();
    inbox.store(LEDGER, deliver(vec![world.next(2)])).unwrap();
    drop(inbox);
    let mut octets = std::fs::read(world.path()).unwrap();
    octets[HEAD + 3] ^= 1;
    std::fs::write(world.path(), &octets).unwrap();
    assert!(Inbox::open(&world.path(), "a.example", |_| {}).is_err());
    assert_eq!(std::fs::read(world.path()).unwrap(), octets);
}

#[test]
fn a_gap_and_a_broken_chain_are_noticed_and_others_rooms_refused() {
    let mut world = World::new();
    let (mut inbox, _) = world.open();
    inbox.store(LEDGER, deliver(vec![world.next(1)])).unwrap();
    let _lost = world.next(2);
    let gap = inbox.store(LEDGER, deliver(vec![world.next(3)])).unwrap();
    assert_eq!((gap.alarms.len(), gap.items.len()), (1, 1));
    let mut other = world.next(4);
    other.body = Some(item::Body::Message(Bytes::from_static(b"another message")));
    let broken = inbox.store(LEDGER, deliver(vec![other])).unwrap();
    assert_eq!(broken.alarms.len(), 1);
    let mut digest = world.next(5);
    digest.body = Some(item::Body::Digest(Bytes::copy_from_slice(&Sha256::digest(
        b"message 5",
    ))));
    assert!(inbox.store(LEDGER, deliver(vec![digest])).unwrap().alarms.is_empty());

    let mut foreign = world.next(6);
    foreign.room = "mimi://a.example.c.example/r/x".to_owned();
    let refused = inbox.store(LEDGER, deliver(vec![foreign])).unwrap();
    assert_eq!(refused.acknowledge.next_offset, 61, "refused for good is passed, too");
    assert_eq!(refused.acknowledge.refused[0].status, 403);
    assert!(refused.items.is_empty());
}

#[test]
fn the_chain_is_that_of_the_document() {
    let document = include_str!("../../../../docs/link.md");
    let mut head = [0; 32];
    for (seq, message) in (1..).zip(["first", "second", "third"]) {
        head = chain(&head, seq, &Sha256::digest(message).into());
        let row = format!("| {seq} | {} | {} |", hex::encode(message), hex::encode(head));
        assert!(document.contains(&row), "{row}");
    }
}
