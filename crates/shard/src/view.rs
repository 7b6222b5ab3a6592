//! Which nodes live, and which of them has which shard: a pure function that each node acts on alone. Where two nodes see
//! different ones alive they disagree for a while; that costs time, never safety.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use route::ShardId;
use siphasher::sip::SipHasher24;

use crate::rows::Incarnation;
use crate::site::Site;

/// Key of the placement's hash. It is no secret: who has a shard is for anybody to know.
const HASH_KEY: [u8; 16] = *b"nave: placement.";

/// A node that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its life.
    pub incarnation: Incarnation,
    /// What it says of itself.
    pub site: Site,
    /// It gives its shards away and takes none.
    pub leaving: bool,
    /// Its wall clock is too far off, or has not been compared with the others' yet: it takes no shards, if others do.
    pub unfit: bool,
}

/// The nodes that live, as far as one of them sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    members: BTreeMap<Incarnation, Member>,
}

impl FromIterator<Member> for View {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let members = members.into_iter().map(|member| (member.incarnation, member));
        Self {
            members: members.collect(),
        }
    }
}

impl View {
    /// The nodes, in the order of their incarnations.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The node of this life, if it lives.
    pub fn member(&self, incarnation: Incarnation) -> Option<&Member> {
        self.members.get(&incarnation)
    }

    /// Whether the node of this life takes no shards because it is unfit while others are not.
    pub fn is_withheld(&self, incarnation: Incarnation) -> bool {
        self.member(incarnation).is_some_and(|member| member.unfit) && self.some_are_fit()
    }

    fn some_are_fit(&self) -> bool {
        self.members.values().any(|member| !member.leaving && !member.unfit)
    }

    /// The node that should have `shard`: weighted rendezvous hashing, first over zones, then over the nodes of one. Few
    /// shards move when a node comes or goes, and those of a node that goes stay in its zone where that has others.
    /// An unfit node has none, unless all are unfit: then nobody knows whose clock is right. `None` when every node is
    /// leaving.
    pub fn place(&self, shard: ShardId) -> Option<&Member> {
        let some_fit = self.some_are_fit();
        let staying = || {
            let members = self.members.values();
            members.filter(move |member| !(member.leaving || some_fit && member.unfit))
        };
        let mut zones: BTreeMap<&str, u64> = BTreeMap::new();
        for member in staying() {
            *zones.entry(member.site.zone()).or_default() += u64::from(member.site.weight());
        }
        let zone = zones
            .into_iter()
            .min_by(|(one, weight), (other, others)| {
                let arrival = |zone: &str, weight| arrival(shard, "zone", zone, weight);
                arrival(one, *weight).total_cmp(&arrival(other, *others))
            })
            .map(|(zone, _)| zone)?;
        // Of two lives that say they are one node the earlier in order comes first, everywhere.
        staying()
            .filter(|member| member.site.zone() == zone)
            .min_by(|one, other| {
                let arrival = |site: &Site| arrival(shard, "node", site.address(), u64::from(site.weight()));
                arrival(&one.site).total_cmp(&arrival(&other.site))
            })
    }
}

/// When `name` comes for the shard: drawn from the hash, exponentially with its weight as the rate, so that whoever comes
/// first is each with a chance in proportion to its weight, and no other's time moves when one comes or goes.
fn arrival(shard: ShardId, kind: &str, name: &str, weight: u64) -> f64 {
    let mut hash = SipHasher24::new_with_key(&HASH_KEY);
    hash.write(&shard.0.to_be_bytes());
    hash.write(kind.as_bytes());
    hash.write(name.as_bytes());
    // Above 0 and at most 1, in 53 bits, as many as the type holds.
    let drawn = ((hash.finish() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -drawn.ln() / weight as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const SHARDS: u32 = 1_024;

    fn member(n: u8, zone: &str, weight: u32) -> Member {
        Member {
            incarnation: Incarnation([n; 16]),
            site: Site::new(format!("hub-{n}:7000"), zone, weight).unwrap(),
            leaving: false,
            unfit: false,
        }
    }

    fn placed(view: &View) -> Vec<Option<Incarnation>> {
        let shards = (0..SHARDS).map(ShardId);
        shards.map(|shard| view.place(shard).map(|to| to.incarnation)).collect()
    }

    fn share(view: &View, n: u8) -> usize {
        placed(view)
            .iter()
            .filter(|to| **to == Some(Incarnation([n; 16])))
            .count()
    }

    #[test]
    fn nobody_has_a_shard_where_nobody_stays() {
        assert_eq!(View::default().place(ShardId(0)), None);
        let leaving = Member {
            leaving: true,
            ..member(1, "", 1)
        };
        assert_eq!(View::from_iter([leaving]).place(ShardId(0)), None);
    }

    #[test]
    fn an_unfit_node_has_no_shard_unless_all_are_unfit_that_stay() {
        let unfit = |n| Member {
            unfit: true,
            ..member(n, "", 1)
        };
        let fit = View::from_iter([member(1, "", 1), member(2, "", 1)]);
        let one = View::from_iter([member(1, "", 1), unfit(2)]);
        assert_eq!((share(&one, 1), share(&one, 2)), (SHARDS as usize, 0));
        assert!(one.is_withheld(Incarnation([2; 16])) && !one.is_withheld(Incarnation([1; 16])));
        let all = View::from_iter([unfit(1), unfit(2)]);
        assert_eq!(placed(&all), placed(&fit));
        assert!(!all.is_withheld(Incarnation([2; 16])));
        let leaving = Member {
            leaving: true,
            ..member(1, "", 1)
        };
        assert_eq!(share(&View::from_iter([leaving, unfit(2)]), 2), SHARDS as usize);
    }

    #[test]
    fn each_node_has_its_share_by_weight() {
        let view = View::from_iter([member(1, "", 1), member(2, "", 1), member(3, "", 2)]);
        assert!((200..312).contains(&share(&view, 1)), "{}", share(&view, 1));
        assert!((200..312).contains(&share(&view, 2)), "{}", share(&view, 2));
        assert!((450..574).contains(&share(&view, 3)), "{}", share(&view, 3));
    }

    #[test]
    fn a_node_that_comes_back_has_the_shards_that_it_had() {
        let former = View::from_iter([member(1, "", 1), member(2, "", 1)]);
        let back = Member {
            incarnation: Incarnation([99; 16]),
            ..member(2, "", 1)
        };
        let now = View::from_iter([member(1, "", 1), back]);
        assert_eq!(share(&former, 2), share(&now, 99));
        for (before, after) in placed(&former).into_iter().zip(placed(&now)) {
            assert_eq!(
                before == Some(Incarnation([2; 16])),
                after == Some(Incarnation([99; 16]))
            );
        }
    }

    #[test]
    fn the_shards_of_a_node_that_goes_stay_in_its_zone_for_the_most_part() {
        let all: Vec<Member> = (1..=6)
            .map(|n| member(n, if n <= 3 { "east" } else { "west" }, 1))
            .collect();
        let before = View::from_iter(all.clone());
        let after = View::from_iter(all[1..].to_vec());
        let gone = Some(all[0].incarnation);
        let in_east = |to: &Option<Incarnation>| to.is_some_and(|to| to.0[0] <= 3);
        let moved: Vec<_> = placed(&before)
            .into_iter()
            .zip(placed(&after))
            .filter(|(before, after)| before != after)
            .collect();
        let orphans = moved.iter().filter(|(before, _)| *before == gone);
        let (stay, all) = orphans.fold((0, 0), |(stay, all), (_, after)| {
            (stay + usize::from(in_east(after)), all + 1)
        });
        assert!(stay * 10 >= all * 6, "{stay} of {all} stay in the zone");
        // East is lighter now, so some of its shards go west; none comes from there.
        assert!(moved.iter().all(|(before, _)| in_east(before)));
        assert!(moved.len() <= all * 2, "{} moved for {all}", moved.len());
    }

    proptest! {
        #[test]
        fn a_node_that_comes_takes_shards_and_moves_none_between_others(
            nodes in proptest::collection::btree_set(1..200_u8, 2..12),
            weight in 1..5_u32,
        ) {
            let all: Vec<Member> = nodes.iter().map(|n| member(*n, "", weight)).collect();
            let (newcomer, former) = all.split_last().unwrap();
            let (before, after) = (placed(&former.iter().cloned().collect()), placed(&all.iter().cloned().collect()));
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(before == after || *after == Some(newcomer.incarnation));
            }
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(moved * all.len() <= SHARDS as usize * 2, "{moved} of {SHARDS} moved to one of {}", all.len());
        }

        #[test]
        fn everybody_who_sees_the_same_nodes_places_alike(mut nodes in Just((1..9_u8).collect::<Vec<_>>()).prop_shuffle()) {
            let member = |n: &u8| member(*n, if n.is_multiple_of(2) { "east" } else { "west" }, u32::from(*n));
            let one: View = nodes.iter().map(member).collect();
            nodes.reverse();
            let other: View = nodes.iter().map(member).collect();
            prop_assert_eq!(placed(&one), placed(&other));
        }
    }
}
