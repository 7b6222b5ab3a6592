//! A provider of several nodes of each tier on one store: hubs die, hang and leave under load, and clients of two providers
//! see nothing of it but time. The same scenario is played on a store in memory, inside one process, and (feature `fdb`)
//! with a process for each node on FoundationDB.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crowd;
mod inside;
mod load;
mod operators;
#[cfg(feature = "fdb")]
mod processes;
mod scenario;
mod shards;
mod site;

#[tokio::test(flavor = "multi_thread")]
async fn hubs_that_die_hang_and_leave_lose_and_repeat_nothing_on_a_store_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let site = site::Site::make(root.path(), "fdb:in-memory");
    let mut cluster = inside::Inside::set_up(&site).await;
    Box::pin(scenario::play(&site, &mut cluster)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_hub_reaches_the_store_clients_are_told_to_come_back_and_afterwards_they_are_served() {
    let root = tempfile::tempdir().unwrap();
    let site = site::Site::make(root.path(), "fdb:in-memory");
    let mut cluster = inside::Inside::set_up(&site).await;
    Box::pin(scenario::be_away(&site, &mut cluster)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_order_reaches_every_hub_and_holds_when_one_dies() {
    let root = tempfile::tempdir().unwrap();
    let site = site::Site::make(root.path(), "fdb:in-memory");
    let mut cluster = inside::Inside::set_up(&site).await;
    Box::pin(operators::play(&site, &mut cluster)).await;
    cluster.end().await;
}

#[cfg(feature = "fdb")]
#[tokio::test(flavor = "multi_thread")]
async fn hubs_that_die_hang_and_leave_lose_and_repeat_nothing_on_foundationdb() {
    let Some(foundationdb) = store_fdb::testing::Cluster::start().unwrap() else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let store = format!("fdb:{}", foundationdb.cluster_file().display());
    let site = site::Site::make(root.path(), &store);
    let mut cluster = Box::pin(processes::Processes::set_up(&site)).await;
    Box::pin(scenario::play(&site, &mut cluster)).await;
    cluster.end().await;
}
