//! What writes leave.

use bytes::Bytes;

use super::{Stage, rows};
use crate::error::Error;
use crate::key::Versionstamp;

pub(super) async fn clear_range_takes_exactly_the_range(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "2"), ("bb", "3"), ("c", "4")]).await?;
    let mut transaction = stage.begin();
    transaction.clear_range(stage.between("b", "c"));
    transaction.clear_range(stage.between("c", "b"));
    transaction.commit().await?;
    assert_eq!(stage.rows().await?, rows(&[("a", "1"), ("c", "4")]));
    Ok(())
}

pub(super) async fn writes_take_effect_in_their_order(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.set(stage.key("a"), "1");
    transaction.set_versionstamped_key(stage.key("b"), "", "stamped");
    transaction.clear_range(stage.between("a", "c"));
    transaction.set(stage.key("b"), "1");
    transaction.set(stage.key("b"), "2");
    transaction.clear(stage.key("d"));
    transaction.set(stage.key("d"), "3");
    transaction.set(stage.key("e"), "4");
    transaction.clear(stage.key("e"));
    transaction.commit().await?;
    assert_eq!(stage.rows().await?, rows(&[("b", "2"), ("d", "3")]));
    Ok(())
}

pub(super) async fn versionstamps_grow_with_commits(stage: Stage) -> Result<(), Error> {
    for entry in 0..10 {
        let mut transaction = stage.begin();
        transaction.set_versionstamped_key(stage.key("log/"), "/entry", format!("{entry}"));
        transaction.commit().await?;
    }
    let log: Vec<_> = stage.rows().await?.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(log, (0..10).map(|entry| entry.to_string()).collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn stamped_keys_and_values_carry_the_stamp_of_their_commit(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.set_versionstamped_key(stage.key("log/"), "/end", "entry");
    transaction.set_versionstamped_value(stage.key("last"), "before ", " after");
    let committed = transaction.commit().await?;
    let stamp = committed.versionstamp.expect("a transaction with writes has a stamp");
    assert_eq!(stamp.0[..8], committed.version.0.to_be_bytes());
    let reader = stage.begin();
    let key = [stage.key("log/"), stamp.0.to_vec(), b"/end".to_vec()].concat();
    assert_eq!(reader.get(&key).await?, Some(Bytes::from("entry")));
    let value = [b"before ".as_slice(), &stamp.0, b" after"].concat();
    assert_eq!(reader.get(&stage.key("last")).await?, Some(Bytes::from(value)));
    Ok(())
}

pub(super) async fn what_a_versionstamp_hides_is_unreadable(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.set_versionstamped_value(stage.key("value"), "", "");
    transaction.set_versionstamped_key(stage.key("log/"), "", "entry");
    assert_eq!(transaction.get(&stage.key("value")).await, Err(Error::Unreadable));
    assert_eq!(
        transaction.range(stage.between("log", "loh"), 9, false).await,
        Err(Error::Unreadable)
    );
    let one = [stage.key("log/"), vec![7; Versionstamp::OCTETS]].concat();
    assert_eq!(transaction.get(&one).await, Err(Error::Unreadable));
    assert_eq!(transaction.get(&stage.key("other")).await?, None);
    assert_eq!(transaction.commit().await, Err(Error::Unreadable));
    let kept = stage.begin().range(stage.all(), 9, false).await?;
    assert_eq!(
        kept,
        [],
        "a transaction that read what is hidden leaves something behind"
    );
    Ok(())
}

pub(super) async fn a_set_shows_what_a_versionstamp_hid(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.set_versionstamped_value(stage.key("value"), "", "");
    transaction.set(stage.key("value"), "known");
    assert_eq!(transaction.get(&stage.key("value")).await?, Some(Bytes::from("known")));
    transaction.commit().await?;
    assert_eq!(
        stage.begin().get(&stage.key("value")).await?,
        Some(Bytes::from("known"))
    );
    Ok(())
}
