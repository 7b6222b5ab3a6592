//! Ownership between two nodes on one store, under a clock that stands still unless all wait.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use route::ShardId;
use shard::{
    AcquireError, FenceError, Incarnation, Node, NodeOptions, Owned, Ownership, Site, Tenure, Term, WallClock,
};
use store::{Database, Error};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_secs(1);
const SHARD: ShardId = ShardId(7);

async fn leased(database: &Database, name: u8) -> Node {
    let ownership = Ownership::Leased {
        lease: LEASE,
        beat: BEAT,
    };
    start(database, name, ownership).await
}

async fn start(database: &Database, name: u8, ownership: Ownership) -> Node {
    start_off(database, name, ownership, Arc::default()).await
}

/// A node whose wall clock is off by some milliseconds.
async fn start_off(database: &Database, name: u8, ownership: Ownership, off_ms: Arc<AtomicI64>) -> Node {
    let options = options(name, Incarnation([name; 16]), ownership, off_ms);
    Node::start(database.clone(), options).await.unwrap()
}

fn options(name: u8, incarnation: Incarnation, ownership: Ownership, off_ms: Arc<AtomicI64>) -> NodeOptions {
    NodeOptions {
        incarnation,
        ownership,
        site: Site::new(format!("hub-{name}:7000"), "", 1).unwrap(),
        clock: wall_clock(off_ms),
    }
}

thread_local! {
    /// Each test has a thread of its own.
    static BEGUN: Instant = Instant::now();
}

fn wall_clock(off_ms: Arc<AtomicI64>) -> WallClock {
    WallClock::new(move || {
        let elapsed = u64::try_from(BEGUN.with(Instant::elapsed).as_millis()).unwrap();
        (1_767_225_600_000 + elapsed).saturating_add_signed(off_ms.load(Ordering::Relaxed))
    })
}

/// One fenced write of `value`.
async fn write(database: &Database, tenure: &Tenure, value: &'static str) -> Result<(), FenceError> {
    let mut transaction = database.begin();
    tenure.fence(&transaction).await?;
    transaction.set("written", value);
    transaction.commit().await?;
    Ok(())
}

async fn written(database: &Database) -> Option<bytes::Bytes> {
    database.begin().get(b"written").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_beats_is_held_and_one_that_does_not_is_taken_after_its_lease() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    let two = leased(&database, 2).await;
    let first = one.acquire(SHARD).await.unwrap();
    assert_eq!((first.shard(), first.term()), (SHARD, Term(1)));

    // While it beats it is never taken, however long another waits.
    for _ in 0..20 {
        let held = two.acquire(SHARD).await.unwrap_err();
        assert!(
            matches!(held, AcquireError::Held { by, .. } if by == one.incarnation()),
            "{held}"
        );
        tokio::time::sleep(BEAT).await;
    }
    assert!(!first.is_lost());
    write(&database, &first, "by the first").await.unwrap();

    // It dies: its tenure is lost after two thirds of the lease, others may take the shard after the whole.
    drop(one);
    let begun = tokio::time::Instant::now();
    let second = loop {
        match two.acquire(SHARD).await {
            Ok(tenure) => break tenure,
            Err(AcquireError::Held { retry_after, .. }) => {
                assert!(begun.elapsed() <= LEASE);
                tokio::time::sleep(retry_after.min(Duration::from_millis(100))).await;
            }
            Err(error) => panic!("{error}"),
        }
        if begun.elapsed() >= LEASE * 2 / 3 {
            assert!(first.is_lost());
        }
    };
    assert!(first.is_lost());
    assert_eq!(second.term(), Term(2));
    assert_eq!(write(&database, &first, "late").await, Err(FenceError::Fenced));
    write(&database, &second, "by the second").await.unwrap();
    assert_eq!(written(&database).await.unwrap(), "by the second");
}

#[tokio::test(start_paused = true)]
async fn of_two_nodes_that_were_started_with_one_name_only_one_can_write() {
    let database = Database::memory();
    let ownership = Ownership::Leased {
        lease: LEASE,
        beat: BEAT,
    };
    let twin = |life| options(1, Incarnation([life; 16]), ownership, Arc::default());
    let one = Node::start(database.clone(), twin(1)).await.unwrap();
    let two = Node::start(database.clone(), twin(2)).await.unwrap();
    let first = one.acquire(SHARD).await.unwrap();
    for _ in 0..20 {
        let held = two.acquire(SHARD).await.unwrap_err();
        assert!(
            matches!(held, AcquireError::Held { by, .. } if by == one.incarnation()),
            "{held}"
        );
        write(&database, &first, "by the first").await.unwrap();
        tokio::time::sleep(BEAT).await;
    }
    // The first one sleeps; what it has in mind when it wakes is refused.
    let mut late = database.begin();
    first.fence(&late).await.unwrap();
    late.set("written", "late");
    drop(one);
    tokio::time::sleep(LEASE).await;
    let second = two.acquire(SHARD).await.unwrap();
    write(&database, &second, "by the second").await.unwrap();
    assert_eq!(late.commit().await, Err(Error::Conflict));
    assert!(write(&database, &first, "late").await.is_err());
    assert_eq!(written(&database).await.unwrap(), "by the second");
}

#[tokio::test(start_paused = true)]
async fn a_write_begun_before_the_takeover_and_committed_after_it_is_refused() {
    let database = Database::memory();
    let one = start(&database, 1, Ownership::Sole).await;
    let two = start(&database, 2, Ownership::Sole).await;
    let first = one.acquire(SHARD).await.unwrap();
    let mut late = database.begin();
    first.fence(&late).await.unwrap();
    late.set("written", "late");
    let second = two.acquire(SHARD).await.unwrap();
    assert_eq!(late.commit().await, Err(Error::Conflict));
    assert_eq!(written(&database).await, None);
    assert!(!first.is_lost(), "it does not know yet");
    assert_eq!(write(&database, &first, "later").await, Err(FenceError::Fenced));
    assert!(first.is_lost() && !second.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_resigned_shard_is_taken_at_once_with_the_next_term() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    let two = leased(&database, 2).await;
    let mut in_flight = database.begin();
    let first = one.acquire(SHARD).await.unwrap();
    first.fence(&in_flight).await.unwrap();
    in_flight.set("written", "late");
    first.resign().await.unwrap();
    assert_eq!(in_flight.commit().await, Err(Error::Conflict));
    assert_eq!(two.acquire(SHARD).await.unwrap().term(), Term(2));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_owns_nothing_and_leaves_its_shards_free() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    let two = leased(&database, 2).await;
    let first = one.acquire(SHARD).await.unwrap();
    let copy = one.clone();
    one.stop().await.unwrap();
    assert!(first.is_lost());
    assert_eq!(copy.acquire(SHARD).await.unwrap_err(), AcquireError::Lapsed);
    assert_eq!(two.acquire(SHARD).await.unwrap().term(), Term(2));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_beat_stops_itself_before_others_may_take_over() {
    let database = Database::memory();
    let node = leased(&database, 1).await;
    let tenure = node.acquire(SHARD).await.unwrap();
    tokio::time::sleep(LEASE * 5).await;
    assert!(!tenure.is_lost(), "it beats");
    assert!(!node.lapse().has_begun());
    database.clone().close().await;
    let closed = Instant::now();
    node.lapse().begins().await;
    assert!(closed.elapsed() <= LEASE * 2 / 3);
    assert!(tenure.is_lost());
}

#[tokio::test(start_paused = true)]
async fn the_sole_node_of_a_store_takes_over_from_its_former_life_at_once() {
    let database = Database::memory();
    let former = start(&database, 1, Ownership::Sole).await.acquire(SHARD).await.unwrap();
    let node = start(&database, 2, Ownership::Sole).await;
    let tenure = node.acquire(SHARD).await.unwrap();
    assert_eq!((former.term(), tenure.term()), (Term(1), Term(2)));
    assert_eq!(
        node.acquire(ShardId(8)).await.unwrap().term(),
        Term(1),
        "each shard has its own fence"
    );
    tokio::time::sleep(LEASE * 100).await;
    assert!(!tenure.is_lost(), "nobody waits for its beat");
}

#[tokio::test(start_paused = true)]
async fn acquiring_again_ends_the_tenure_of_the_same_node() {
    let database = Database::memory();
    let node = leased(&database, 1).await;
    let first = node.acquire(SHARD).await.unwrap();
    let second = node.acquire(SHARD).await.unwrap();
    assert_eq!(second.term(), Term(2));
    assert_eq!(write(&database, &first, "late").await, Err(FenceError::Fenced));
    write(&database, &second, "in time").await.unwrap();
}

/// Whom a node sees, by the number in their incarnations.
fn seen(node: &Node) -> Vec<u8> {
    node.views()
        .borrow()
        .members()
        .map(|member| member.incarnation.0[0])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_see_who_lives_and_miss_the_dead_within_the_lease_and_half_a_beat() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    assert_eq!(seen(&one), [1]);
    let two = leased(&database, 2).await;
    assert_eq!(seen(&two), [1, 2], "with its first beat a node knows the others");
    tokio::time::sleep(BEAT / 2 + Duration::from_millis(1)).await;
    assert_eq!(seen(&one), [1, 2]);
    assert_eq!(one.views().borrow().place(SHARD), two.views().borrow().place(SHARD));

    let mut views = one.views();
    views.mark_unchanged();
    drop(two);
    let begun = tokio::time::Instant::now();
    views.changed().await.unwrap();
    assert_eq!(seen(&one), [1]);
    assert!(begun.elapsed() <= LEASE + BEAT / 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_says_so_at_once_and_gets_no_shard() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    let two = leased(&database, 2).await;
    one.leave();
    tokio::time::sleep(BEAT / 2 + Duration::from_millis(1)).await;
    for node in [&one, &two] {
        let views = node.views();
        let placed = |shard| views.borrow().place(ShardId(shard)).map(|to| to.incarnation);
        assert!((0..64).all(|shard| placed(shard) == Some(two.incarnation())));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_shard_learns_at_once_that_it_was_resigned() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    let two = leased(&database, 2).await;
    let tenure = one.acquire(SHARD).await.unwrap();
    let begun = tokio::time::Instant::now();
    let waits = two.await_release(SHARD, one.incarnation(), Duration::from_secs(60));
    let resigns = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tenure.resign().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waits, resigns);
    waited.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 300);
    assert!(tenure.is_lost());
    two.await_release(SHARD, one.incarnation(), Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(begun.elapsed().as_millis(), 300, "nothing is left to wait for");
    two.acquire(SHARD).await.unwrap();
    two.await_release(SHARD, two.incarnation(), BEAT).await.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 1_300, "patience ends");
    let owners = one.owners().await.unwrap();
    assert_eq!(
        owners,
        [Owned {
            shard: SHARD,
            term: Term(2),
            owner: Some(two.incarnation())
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn the_beat_of_a_dead_node_is_taken_away_in_the_end() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    drop(leased(&database, 2).await);
    let beats = async || {
        let rows = database.begin().range(store::KeyRange::prefix(b"B"), 10, false).await;
        rows.unwrap().len()
    };
    assert_eq!(beats().await, 2);
    tokio::time::sleep(LEASE * 9).await;
    assert_eq!(beats().await, 2);
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(beats().await, 1);
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_of_one_name_are_two_nodes_of_which_one_writes() {
    let database = Database::memory();
    let named_alike = async |life: u8| {
        let options = NodeOptions {
            incarnation: Incarnation([life; 16]),
            ownership: Ownership::Leased {
                lease: LEASE,
                beat: BEAT,
            },
            site: Site::new("hub-1:7000", "", 1).unwrap(),
            clock: wall_clock(Arc::default()),
        };
        Node::start(database.clone(), options).await.unwrap()
    };
    let (one, two) = (named_alike(1).await, named_alike(2).await);
    tokio::time::sleep(BEAT).await;
    assert_eq!(one.views().borrow().place(SHARD), two.views().borrow().place(SHARD));
    let tenure = one.acquire(SHARD).await.unwrap();
    let held = two.acquire(SHARD).await.unwrap_err();
    assert!(
        matches!(held, AcquireError::Held { by, .. } if by == one.incarnation()),
        "{held}"
    );
    write(&database, &tenure, "by the one").await.unwrap();
}

/// How many of 64 shards are placed with each of the nodes, which all agree.
fn shares(nodes: &[&Node]) -> Vec<usize> {
    let placed = |node: &Node| {
        let views = node.views();
        let view = views.borrow();
        (0..64)
            .map(|shard| view.place(ShardId(shard)).unwrap().incarnation)
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = nodes.iter().map(|node| placed(node)).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "the nodes do not agree");
    let share = |node: &&Node| all[0].iter().filter(|to| **to == node.incarnation()).count();
    nodes.iter().map(share).collect()
}

/// A beat that changes, a look that sees that, and one that sees what its node says then.
const COMPARED: Duration = Duration::from_millis(2_100);

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_six_seconds_off_takes_nothing_until_it_is_right_again() {
    for off in [6_000, -6_000] {
        let database = Database::memory();
        let off_ms = Arc::new(AtomicI64::new(off));
        let ownership = Ownership::Leased {
            lease: LEASE,
            beat: BEAT,
        };
        let one = leased(&database, 1).await;
        let two = leased(&database, 2).await;
        let three = start_off(&database, 3, ownership, off_ms.clone()).await;
        // Not even before it has seen anybody beat.
        assert_eq!(three.acquire(SHARD).await.unwrap_err(), AcquireError::Unfit);
        tokio::time::sleep(COMPARED).await;
        assert!(shares(&[&one, &two, &three])[2] == 0);
        assert_eq!(three.acquire(SHARD).await.unwrap_err(), AcquireError::Unfit);
        one.acquire(SHARD).await.unwrap();
        two.acquire(ShardId(8)).await.unwrap();

        off_ms.store(0, Ordering::Relaxed);
        tokio::time::sleep(COMPARED).await;
        assert!(shares(&[&one, &two, &three]).iter().all(|share| *share > 10));
        let tenure = three.acquire(ShardId(9)).await.unwrap();

        // What it has stays its own when its clock jumps.
        off_ms.store(off, Ordering::Relaxed);
        tokio::time::sleep(COMPARED).await;
        assert_eq!(shares(&[&one, &two, &three])[2], 0);
        write(&database, &tenure, "safe").await.unwrap();
        assert_eq!(three.acquire(ShardId(9)).await.unwrap().term(), Term(2));
        assert_eq!(three.acquire(ShardId(10)).await.unwrap_err(), AcquireError::Unfit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_four_seconds_off_takes_its_share() {
    for off in [4_000, -4_000] {
        let database = Database::memory();
        let ownership = Ownership::Leased {
            lease: LEASE,
            beat: BEAT,
        };
        let one = leased(&database, 1).await;
        let two = leased(&database, 2).await;
        let three = start_off(&database, 3, ownership, Arc::new(AtomicI64::new(off))).await;
        tokio::time::sleep(COMPARED).await;
        assert!(shares(&[&one, &two, &three]).iter().all(|share| *share > 10));
        three.acquire(SHARD).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_with_the_right_clock_need_not_wait_to_be_compared() {
    let database = Database::memory();
    let one = leased(&database, 1).await;
    tokio::time::sleep(BEAT * 9 / 10).await;
    let two = leased(&database, 2).await;
    two.acquire(SHARD).await.unwrap();
    drop((one, two));
}

#[tokio::test(start_paused = true)]
async fn where_no_clock_can_be_called_right_all_take() {
    let database = Database::memory();
    let ownership = Ownership::Leased {
        lease: LEASE,
        beat: BEAT,
    };
    let off = |ms| Arc::new(AtomicI64::new(ms));
    // Nobody else lives.
    let one = start_off(&database, 1, ownership, off(3_600_000)).await;
    one.acquire(SHARD).await.unwrap();
    // Of two nobody knows which is wrong.
    let two = start_off(&database, 2, ownership, off(0)).await;
    assert_eq!(
        two.acquire(ShardId(8)).await.unwrap_err(),
        AcquireError::Unfit,
        "not yet"
    );
    tokio::time::sleep(COMPARED).await;
    assert!(shares(&[&one, &two]).iter().all(|share| *share > 20));
    one.acquire(ShardId(8)).await.unwrap();
    two.acquire(ShardId(9)).await.unwrap();
    // With a third there is a majority.
    let three = start_off(&database, 3, ownership, off(1_000)).await;
    tokio::time::sleep(COMPARED).await;
    let shares = shares(&[&one, &two, &three]);
    assert!(shares[0] == 0 && shares[1] > 20 && shares[2] > 20, "{shares:?}");
}
