//! What is too much.

use super::Stage;
use crate::error::Error;
use crate::key::KeyRange;
use crate::limits::{KEY_OCTETS_MAX, TRANSACTION_OCTETS_MAX, VALUE_OCTETS_MAX};

pub(super) async fn keys_and_values_have_their_longest_length(stage: Stage) -> Result<(), Error> {
    let longest = padded(&stage, KEY_OCTETS_MAX);
    let mut transaction = stage.begin();
    transaction.set(longest.clone(), vec![7; VALUE_OCTETS_MAX]);
    transaction.commit().await?;
    let transaction = stage.begin();
    assert_eq!(
        transaction.get(&longest).await?.map(|value| value.len()),
        Some(VALUE_OCTETS_MAX)
    );
    assert_eq!(transaction.range(KeyRange::key(&longest), 9, false).await?.len(), 1);

    let too_long = padded(&stage, KEY_OCTETS_MAX + 1);
    assert!(matches!(
        transaction.get(&too_long).await,
        Err(Error::KeyTooLarge { .. })
    ));
    let mut transaction = stage.begin();
    transaction.set(too_long, "value");
    transaction.set(stage.key("a"), "value");
    assert!(matches!(transaction.commit().await, Err(Error::KeyTooLarge { .. })));
    let mut transaction = stage.begin();
    transaction.set(stage.key("a"), vec![7; VALUE_OCTETS_MAX + 1]);
    assert!(matches!(transaction.commit().await, Err(Error::ValueTooLarge { .. })));
    let mut transaction = stage.begin();
    transaction.set_versionstamped_value(stage.key("a"), vec![7; VALUE_OCTETS_MAX - 9], "");
    assert!(matches!(transaction.commit().await, Err(Error::ValueTooLarge { .. })));
    assert_eq!(stage.rows().await?.len(), 1);
    Ok(())
}

pub(super) async fn a_transaction_has_its_largest_size(stage: Stage) -> Result<(), Error> {
    let rows = TRANSACTION_OCTETS_MAX / VALUE_OCTETS_MAX;
    for (count, fits) in [(rows - 1, true), (rows + 1, false)] {
        let mut transaction = stage.begin();
        transaction.clear_range(stage.all());
        for row in 0..count {
            transaction.set(stage.key(&format!("{row:03}")), vec![7; VALUE_OCTETS_MAX]);
        }
        let outcome = transaction.commit().await;
        assert_eq!(
            !matches!(outcome, Err(Error::TooLarge { .. })),
            fits,
            "{count} rows: {outcome:?}"
        );
    }
    assert_eq!(stage.rows().await?.len(), rows - 1);
    Ok(())
}

pub(super) async fn the_stores_own_keys_are_refused(stage: Stage) -> Result<(), Error> {
    let transaction = stage.begin();
    assert_eq!(transaction.get(b"\xff/key").await, Err(Error::IllegalKey));
    assert_eq!(transaction.get(b"").await, Err(Error::IllegalKey));
    let beyond = KeyRange::from(b"a".as_slice()..b"\xff\xff".as_slice());
    assert_eq!(
        transaction.range(beyond.clone(), 9, false).await,
        Err(Error::IllegalKey)
    );
    let mut transaction = stage.begin();
    transaction.clear_range(beyond);
    assert_eq!(transaction.commit().await, Err(Error::IllegalKey));
    let mut transaction = stage.begin();
    transaction.set(b"\xff".to_vec(), "value");
    assert_eq!(transaction.commit().await, Err(Error::IllegalKey));
    Ok(())
}

fn padded(stage: &Stage, octets: usize) -> Vec<u8> {
    let mut key = stage.key("");
    key.resize(octets, b'k');
    key
}
