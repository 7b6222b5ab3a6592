//! The abuse inbox: what is filed is there until it is closed or too old, and is not filed twice.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ledger::Digest;
use ledger::abuse::{AbuseInbox, CASE_BYTES_MAX, CASES_MAX, CaseId, Filed, Page};
use room::Millis;
use store::Database;

fn mark(n: u8) -> Digest {
    Digest([n; 32])
}

fn case(at: u64, n: u8) -> CaseId {
    CaseId::new(Millis(at), &mark(n))
}

async fn file(database: &Database, id: CaseId, marks: &[Digest], octets: &Bytes, oldest: u64) -> Filed {
    let mut transaction = database.begin();
    let filed = AbuseInbox(&mut transaction)
        .file(id, marks, octets, Millis(oldest))
        .await;
    transaction.commit().await.unwrap();
    filed.unwrap()
}

async fn close(database: &Database, id: CaseId) -> bool {
    let mut transaction = database.begin();
    let closed = AbuseInbox(&mut transaction).close(id).await.unwrap();
    transaction.commit().await.unwrap();
    closed
}

async fn page(database: &Database, after: Option<CaseId>, max: usize, bytes: usize) -> Page {
    let mut transaction = database.begin();
    AbuseInbox(&mut transaction).page(after, max, bytes).await.unwrap()
}

async fn ids(database: &Database) -> Vec<CaseId> {
    let page = page(database, None, 100, usize::MAX).await;
    assert!(!page.more);
    page.cases.into_iter().map(|(id, _)| id).collect()
}

fn octets(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn r_5_what_was_reported_is_not_filed_again_though_its_case_is_closed() {
    let database = Database::memory();
    let first = case(1, 1);
    assert_eq!(
        file(&database, first, &[mark(1), mark(2)], &octets("one"), 0).await,
        Filed::Added
    );
    assert_eq!(
        file(&database, case(2, 2), &[mark(1)], &octets("again"), 0).await,
        Filed::Known
    );
    let second = case(3, 3);
    let partly_new = [mark(2), mark(3)];
    assert_eq!(
        file(&database, second, &partly_new, &octets("two"), 0).await,
        Filed::Added
    );
    assert_eq!(ids(&database).await, [first, second]);
    assert!(close(&database, first).await);
    assert!(!close(&database, first).await);
    assert!(!close(&database, case(9, 9)).await);
    assert_eq!(ids(&database).await, [second]);
    assert_eq!(
        file(&database, case(4, 4), &[mark(1)], &octets("again"), 0).await,
        Filed::Known
    );
}

#[tokio::test]
async fn r_5_cases_go_when_they_are_too_old_and_may_come_again_then() {
    let database = Database::memory();
    for n in 1..=3 {
        assert_eq!(
            file(&database, case(n, 1), &[mark(n as u8)], &octets("case"), 0).await,
            Filed::Added
        );
    }
    assert!(close(&database, case(1, 1)).await);
    assert_eq!(
        file(&database, case(9, 9), &[mark(9)], &octets("case"), 3).await,
        Filed::Added
    );
    assert_eq!(ids(&database).await, [case(3, 1), case(9, 9)]);
    assert_eq!(
        file(&database, case(10, 1), &[mark(1)], &octets("case"), 3).await,
        Filed::Added
    );
}

#[tokio::test]
async fn r_5_a_page_is_bounded_by_cases_and_by_octets_and_goes_on_behind_its_last() {
    let database = Database::memory();
    let large = Bytes::from((0..200_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    for n in 1..=5 {
        file(&database, case(n, 1), &[mark(n as u8)], &large, 0).await;
    }
    close(&database, case(2, 1)).await;
    let first = page(&database, None, 2, usize::MAX).await;
    assert_eq!(first.cases, [(case(1, 1), large.clone()), (case(3, 1), large.clone())]);
    assert!(first.more);
    let rest = page(&database, Some(case(3, 1)), 2, usize::MAX).await;
    assert_eq!(rest.cases, [(case(4, 1), large.clone()), (case(5, 1), large.clone())]);
    assert!(!rest.more);
    let one = page(&database, None, 10, 1).await;
    assert_eq!((one.cases.len(), one.more), (1, true), "one always is");
}

#[tokio::test]
async fn r_5_the_inbox_has_bounds() {
    let database = Database::memory();
    let too_large = Bytes::from(vec![0; CASE_BYTES_MAX + 1]);
    assert_eq!(
        file(&database, case(1, 1), &[mark(1)], &too_large, 0).await,
        Filed::Full
    );
    assert_eq!(ids(&database).await, []);
    let largest = Bytes::from(vec![7; CASE_BYTES_MAX]);
    assert_eq!(file(&database, case(1, 1), &[mark(1)], &largest, 0).await, Filed::Added);
    assert_eq!(
        page(&database, None, 1, usize::MAX).await.cases,
        [(case(1, 1), largest)]
    );
    const { assert!(CASES_MAX >= 1_000) };
}

#[test]
fn the_id_of_a_case_comes_back_from_its_text() {
    let id = case(1_764_000_000_000, 0xca);
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in [
        "",
        "0",
        "+0000000000000000000000000000000",
        &"g".repeat(32),
        &"0".repeat(33),
    ] {
        assert!(bad.parse::<CaseId>().is_err(), "{bad}");
    }
}
