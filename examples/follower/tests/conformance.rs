//! The example passes the link's conformance test.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use link_conformance::run;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_passes_the_links_conformance_test() {
    let world = World::new();
    let mut follower = world.follower();
    let hub = world.hub();
    hub.reaches(world.listen).await.unwrap();
    let report = run(&hub, &mut follower).await;
    assert!(report.is_good(), "{report}");
    // Nothing is passed over: it can be killed, and shows what it stores.
    assert!(!report.to_string().contains("skip"), "{report}");
    // Nor does what the suite sends contradict itself.
    assert!(!world.said().contains("ALARM"), "{}", world.said());
}
