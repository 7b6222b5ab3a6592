//! What a room lacks is noticed, and stored only if the chain says that it is what was left out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brought;

use std::collections::BTreeSet;

use brought::{Courier, LEDGER, SHARD, client, events, follower, inviter, message, messages, provider, room};
use bytes::Bytes;
use ledger::{Chain, Digest, Offset, Seq};
use mimi::IdentifierUri;
use mimi::catch_up::RoomHead;
use nave_follower::{AsIs, Body, Fault, Filled, Follower, Gap, Item, Stored};
use proptest::prelude::*;

/// Up to a gap.
async fn deliver(follower: &Follower, items: &[Item]) -> Stored {
    let (hub, as_is) = (provider("a"), AsIs::Rooms(BTreeSet::new()));
    let stored = follower.deliver_up_to_a_gap(&hub, LEDGER, SHARD, items, &as_is);
    stored.await.unwrap()
}

async fn as_is(follower: &Follower, items: &[Item]) -> Stored {
    follower.deliver(&provider("a"), LEDGER, SHARD, items).await.unwrap()
}

async fn fill(follower: &Follower, items: &[Item]) -> Filled {
    follower.fill(&provider("a"), &room(), items, None).await.unwrap()
}

async fn notify(follower: &Follower, text: &Bytes, seq: Option<u64>) {
    let (hub, room, numbers) = (provider("a"), room(), seq.map(|seq| (Seq(seq), Seq(seq))));
    let notified = follower.notify_numbered(&hub, &room, text, numbers);
    notified.await.unwrap();
}

fn gap(have: u64, until: u64) -> Option<Gap> {
    Some(Gap {
        room: room(),
        have: Seq(have),
        until: Seq(until),
    })
}

async fn stands(follower: &Follower) -> (u64, Chain) {
    let (rooms, more) = follower.rooms(None, None, 9).await.unwrap();
    assert!(rooms.len() <= 1 && !more);
    rooms
        .first()
        .map_or_else(|| (0, Chain::default()), |room| (room.seq.0, room.chain))
}

/// Real messages, and where every third stands one that is for others.
fn history(count: usize) -> (Vec<Bytes>, Vec<Item>) {
    let (mut alice, mut courier) = (inviter("alice"), Courier::new());
    let mut texts = Vec::new();
    let items = (1..=count).map(|n| match n % 3 {
        0 => courier.item(Body::Digest(Digest::of(b"a Welcome for others"))),
        _ => {
            let text = message(&mut alice, &format!("{n}"));
            texts.push(text.clone());
            courier.message(&text)
        }
    });
    let items = items.collect();
    (texts, items)
}

#[tokio::test]
async fn b_1_what_was_left_out_is_stored_in_its_place_and_clients_see_everything_in_order() {
    let follower = follower();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let (mut stream, _) = follower.open(phone).await.unwrap();
    let (texts, items) = history(12);
    assert_eq!(deliver(&follower, &items[..4]).await.gap, None);
    // Whatever is before the gap is stored, whatever is behind it is not.
    let stored = deliver(&follower, &items[8..]).await;
    assert_eq!((stored.gap, stored.next), (gap(4, 8), items[8].offset));
    let filled = fill(&follower, &items[4..8]).await;
    assert_eq!((filled.seq, filled.broken), (Seq(8), false));
    let stored = deliver(&follower, &items[8..]).await;
    assert_eq!((stored.gap, stored.next, stored.alarms), (None, Offset(121), vec![]));
    assert_eq!(messages(&events(&mut stream, texts.len()).await), texts);
    assert_eq!(stands(&follower).await, (12, items[11].chain));
    // A second answer has no second effect.
    assert_eq!(fill(&follower, &items).await.seq, Seq(12));
    assert!(stream.try_recv().is_err());
}

#[tokio::test]
async fn b_1_a_gap_that_is_taken_as_it_is_is_an_alarm_and_holds_up_nothing() {
    let follower = follower();
    let (_, items) = history(9);
    as_is(&follower, &items[..3]).await;
    let stored = as_is(&follower, &items[5..]).await;
    assert_eq!(
        (stored.gap, stored.next, stored.alarms),
        (None, Offset(91), vec!["gap"])
    );
    assert_eq!(stands(&follower).await, (9, items[8].chain));
}

#[tokio::test]
async fn b_1_a_stretch_by_notify_whose_numbers_were_said_is_no_gap() {
    let follower = follower();
    let (texts, items) = history(8);
    deliver(&follower, &items[..1]).await;
    notify(&follower, &texts[1], Some(2)).await;
    // The third is for others: it has no form over HTTPS.
    notify(&follower, &texts[2], Some(4)).await;
    notify(&follower, &texts[3], Some(5)).await;
    assert_eq!(stands(&follower).await, (2, items[1].chain));
    assert_eq!(deliver(&follower, &items[5..]).await.gap, gap(2, 5));
    assert_eq!(fill(&follower, &items[2..5]).await.seq, Seq(5));
    let stored = deliver(&follower, &items[5..]).await;
    assert_eq!((stored.gap, stored.alarms), (None, vec![]));
    assert_eq!(stands(&follower).await, (8, items[7].chain));
}

#[tokio::test]
async fn b_1_a_stretch_by_notify_without_numbers_is_no_alarm_though_nobody_says_what_came_in_between() {
    let follower = follower();
    let (texts, items) = history(8);
    as_is(&follower, &items[..1]).await;
    for text in &texts[1..4] {
        notify(&follower, text, None).await;
    }
    let stored = as_is(&follower, &items[5..7]).await;
    assert_eq!((stored.gap, stored.alarms), (None, vec![]));
    // From here on the numbers are known again, and so is what is lacking.
    assert_eq!(as_is(&follower, &items[6..7]).await.alarms, vec![] as Vec<&str>);
    let (_, mut longer) = history(10);
    longer.drain(..9);
    assert_eq!(as_is(&follower, &longer).await.alarms, ["gap"]);
}

#[tokio::test]
async fn b_1_a_follower_that_knows_nothing_of_a_room_is_told_all_of_it() {
    let follower = follower();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let (texts, items) = history(5);
    assert_eq!(deliver(&follower, &items[4..]).await.gap, gap(0, 4));
    // The provider's view begins with the second entry.
    let mut kept = items[1..4].to_vec();
    kept[0].previous = Seq(0);
    assert_eq!(fill(&follower, &kept).await.seq, Seq(4));
    assert_eq!(deliver(&follower, &items[4..]).await.alarms, vec![] as Vec<&str>);
    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(messages(&events(&mut stream, texts.len() - 1).await), texts[1..]);
}

#[tokio::test]
async fn b_1_entries_of_another_room_or_hub_fill_nothing() {
    let follower = follower();
    let (_, items) = history(2);
    let filled = follower.fill(&provider("c"), &room(), &items, None).await;
    assert!(matches!(filled, Err(Fault::Forbidden(_))));
    let other = "mimi://a.example/r/other".parse().unwrap();
    let filled = follower.fill(&provider("a"), &other, &items, None).await;
    assert!(matches!(filled, Err(Fault::Forbidden(_))));
    assert_eq!(stands(&follower).await.0, 0);
}

fn head(seq: u64, chain: Chain) -> RoomHead {
    RoomHead {
        room: IdentifierUri::from(&room()),
        ledger: LEDGER.0,
        seq,
        chain: chain.0,
        epoch: 1,
        cipher_suite: 1,
        signature: Bytes::from_static(b"verified before it came here"),
    }
}

#[tokio::test]
async fn b_1_the_last_signed_head_is_kept_and_none_that_contradicts_what_is_known() {
    let follower = follower();
    let (_, items) = history(6);
    deliver(&follower, &items[..4]).await;
    let kept = async || {
        let (rooms, _) = follower.rooms(None, None, 9).await.unwrap();
        rooms[0].head.as_ref().map(|head| head.seq)
    };
    let chain = |seq: usize| items[seq - 1].chain;
    assert_eq!(kept().await, None);
    for (head, expected) in [
        (head(2, chain(2)), 2),
        // Not the one that we have after four entries.
        (head(4, chain(5)), 2),
        (head(4, chain(4)), 4),
        (head(6, chain(6)), 6),
        (head(5, chain(5)), 6),
        // Nor the one that was signed before.
        (head(6, chain(5)), 6),
    ] {
        follower.keep_heads(std::slice::from_ref(&head)).await.unwrap();
        assert_eq!(kept().await, Some(expected), "{head:?}");
    }
    let (rooms, _) = follower.rooms(None, None, 9).await.unwrap();
    assert_eq!(rooms[0].head, Some(head(6, chain(6))));
    assert!(follower.keep_heads(&vec![head(6, chain(6)); 101]).await.is_err());
}

/// Something that a hub did to a room's history on its way.
#[derive(Debug, Clone)]
enum Harm {
    Dropped(prop::sample::Index),
    Swapped(prop::sample::Index),
    Altered(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Harm::Dropped),
        at().prop_map(Harm::Swapped),
        at().prop_map(Harm::Altered),
    ]
}

/// Entries that nobody can read: the chain does not care.
fn unreadable(shown: &[bool]) -> Vec<Item> {
    let mut courier = Courier::new();
    let entry = |(n, shown): (usize, &bool)| {
        let octets = Bytes::from(format!("entry {n}"));
        match shown {
            true => courier.message(&octets),
            false => courier.item(Body::Digest(Digest::of(&octets))),
        }
    };
    shown.iter().enumerate().map(entry).collect()
}

/// The history after the harm, and how many entries before it are as they were. `None`: nothing can be seen of it.
fn harmed(mut items: Vec<Item>, harm: &Harm) -> Option<(Vec<Item>, usize)> {
    let length = items.len();
    let at = match harm {
        // Nobody can tell that the last one is not there.
        Harm::Dropped(at) if length > 1 => {
            let at = at.index(length - 1);
            items.remove(at);
            at
        }
        Harm::Swapped(at) if length > 1 => {
            let at = at.index(length - 1);
            let (one, other) = (items[at].body.clone(), items[at + 1].body.clone());
            items[at].body = other;
            items[at + 1].body = one;
            at
        }
        Harm::Altered(at) => {
            let at = at.index(length);
            items[at].body = Body::Message(Bytes::from_static(b"something else"));
            at
        }
        Harm::Dropped(_) | Harm::Swapped(_) => return None,
    };
    Some((items, at))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b_1_the_chain_holds_over_any_entries_shown_or_not_and_no_dropped_swapped_or_altered_one_goes_unnoticed(
        shown in prop::collection::vec(any::<bool>(), 1..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        harm in harm(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let items = unreadable(&shown);
            let whole = follower();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(items.len())).collect();
            cuts.extend([0, items.len()]);
            cuts.sort_unstable();
            for cut in cuts.windows(2) {
                let filled = fill(&whole, &items[cut[0]..cut[1]]).await;
                assert_eq!((filled.seq, filled.broken), (Seq(cut[1] as u64), false));
            }
            assert_eq!(stands(&whole).await, (items.len() as u64, items.last().unwrap().chain));

            let Some((harmed, before)) = harmed(items, &harm) else { return };
            let (filling, delivering) = (follower(), follower());
            let filled = fill(&filling, &harmed).await;
            assert_eq!((filled.seq, filled.broken), (Seq(before as u64), true));
            // Whoever has nothing of a room yet, and takes what comes as it is, lacks nothing that it knows of.
            if before > 0 || !matches!(harm, Harm::Dropped(_)) {
                let stored = as_is(&delivering, &harmed).await;
                let expected = if matches!(harm, Harm::Dropped(_)) { "gap" } else { "chain" };
                assert_eq!(stored.alarms.first(), Some(&expected));
            }
        });
    }
}
