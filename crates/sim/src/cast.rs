//! Who plays: three rooms, and the clients of three providers in them.

use std::time::Duration;

use mimi::RoomUri;
use rand::Rng;

use crate::faults::{self, Plan};
use crate::puppet::{Cast, Part};

/// Who is in which room, and does what there.
pub(crate) fn casts(seed: u64, plan: &Plan) -> Vec<Cast> {
    let mut random = faults::random(seed, "casts");
    let mut joining = faults::random(seed, "joiners");
    let mut casts = Vec::new();
    let rooms = [
        (
            "lobby",
            [
                "a.example/d/alice",
                "b.example/d/bob",
                "c.example/d/carol",
                "b.example/d/dave",
            ],
        ),
        (
            "garden",
            [
                "a.example/d/erin",
                "c.example/d/frank",
                "b.example/d/gina",
                "a.example/d/hugo",
            ],
        ),
        (
            "cellar",
            [
                "a.example/d/ivan",
                "b.example/d/judy",
                "b.example/d/karl",
                "c.example/d/lena",
            ],
        ),
    ];
    for (name, people) in rooms {
        let room: RoomUri = format!("mimi://a.example/r/{name}").parse().expect("it is a room's");
        let clients = people.map(|person| format!("mimi://{person}/phone").parse::<mimi::ClientUri>());
        let clients = clients.map(|client| client.expect("it is a client's"));
        let mut at = |ms| Duration::from_millis(random.random_range(ms));
        let (joins, leaves) = (at(6_000..12_000), at(12_500..17_000));
        let again = leaves + at(1_000..5_000);
        let [_, second, third, last] = clients.each_ref().map(|client| client.user());
        let invites = vec![
            (Duration::ZERO, second),
            (Duration::ZERO, third),
            (joins, last.clone()),
            // It left meanwhile and is invited anew; and leaves again.
            (again, last),
        ];
        let guests = [
            Part::Founder { invites },
            Part::Guest,
            Part::Guest,
            Part::Leaver { at: leaves },
        ];
        let until = plan.until;
        let cast = |(client, part)| Cast {
            client,
            room: room.clone(),
            part,
            lull: plan.lull.clone(),
            until,
        };
        // Another device of somebody who is in the room comes in by itself, if it can when somebody leaves.
        let tablet = format!("mimi://{}/tablet", people[1]).parse::<mimi::ClientUri>();
        let tablet = tablet.expect("it is a client's");
        let from = leaves - Duration::from_millis(joining.random_range(0..3_000));
        let joiner = Part::Joiner {
            from,
            latest: from + Duration::from_millis(joining.random_range(3_000..7_000)),
        };
        let parts = clients.into_iter().zip(guests).chain([(tablet, joiner)]);
        casts.extend(parts.map(cast));
    }
    casts
}
