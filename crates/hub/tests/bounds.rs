//! What a hub keeps in memory, as its own metrics tell. Alone in its process, since these are the process's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use hub::Options;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;
use world::{World, accepted, body, member, room, run, submit};

/// Rooms whose actors live.
fn active(registry: &Registry) -> f64 {
    let families = registry.gather();
    let rooms = families.iter().find(|family| family.name() == "nave_rooms_active");
    rooms.map_or(0.0, |rooms| rooms.get_metric()[0].get_gauge().get_value())
}

#[test]
fn however_many_rooms_are_used_no_more_than_the_bound_are_in_memory_and_none_after_the_hub() {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    let provider = SdkMeterProvider::builder().with_reader(exporter.build().unwrap());
    opentelemetry::global::set_meter_provider(provider.build());
    run(async {
        let options = Options {
            rooms_max: 4,
            ..Options::default()
        };
        let world = World::new(options).await;
        let mut founders = Vec::new();
        for n in 0..24 {
            let (id, mut founder) = (room(&n.to_string()), member("a.example/d/alice/phone"));
            world.found(&mut founder, &id).await;
            founders.push((id, founder));
        }
        for (id, founder) in &mut founders {
            let message = founder.send(id, b"again").unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let active = active(&registry);
            assert!((1.0..=4.0).contains(&active), "{active} rooms");
        }
        world.hub.drain().await;
        drop(world);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(active(&registry), 0.0);
    });
}
