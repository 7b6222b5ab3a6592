//! A hub's nodes, as somebody knows them who brings requests to them, and the way of one request to the owner of its room.
//! Nothing here asks anybody: whoever does tells what it heard.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Owner, ShardMap, Shards};

/// Pauses before a request is brought again; the last one repeats. A takeover takes seconds, a hand-over much less.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

/// The nodes known so far: seeds, and those that the last map names.
#[derive(Debug, Default)]
pub struct Nodes {
    seeds: Vec<String>,
    shards: Option<Shards>,
    map: ShardMap,
    /// The seeds, and whoever owns something, each once.
    all: Vec<String>,
    turn: AtomicUsize,
}

impl Nodes {
    /// Some nodes are always found at one of `seeds`; the others are learned from them. Different `turn`s begin with different
    /// nodes.
    pub fn found_at(seeds: Vec<String>, turn: usize) -> Self {
        let mut nodes = Self {
            seeds,
            turn: AtomicUsize::new(turn),
            ..Self::default()
        };
        nodes.count();
        nodes
    }

    /// Takes a map that a node told, but for owners of whom something newer is known. Without `shards` no room's owner is
    /// known.
    pub fn learn(&mut self, shards: Option<Shards>, told: ShardMap) {
        self.shards = shards;
        let known = std::mem::replace(&mut self.map, told);
        for (shard, owner) in &mut self.map.owners {
            if let Some(newer) = known.owner(*shard).filter(|known| known.term > owner.term) {
                owner.clone_from(newer);
            }
        }
        self.count();
    }

    /// Takes note of the owner of a room's shard, as a node told that was asked for the room. One without a name is none.
    pub fn note(&mut self, room: &str, owner: Owner) {
        if let Some(shards) = self.shards.filter(|_| !owner.node.is_empty()) {
            self.map.note(shards.of(room), owner);
            self.count();
        }
    }

    /// The owner of a room, as far as is known.
    pub fn owner(&self, room: &str) -> Option<&str> {
        let owner = self.map.owner(self.shards?.of(room))?;
        Some(owner.node.as_str()).filter(|node| !node.is_empty())
    }

    /// The seeds, and whoever owns something, each once.
    pub fn all(&self) -> &[String] {
        &self.all
    }

    fn count(&mut self) {
        let owners = self.map.owners.values().map(|owner| owner.node.as_str());
        let mut nodes: Vec<&str> = self.seeds.iter().map(String::as_str).chain(owners).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let named = nodes.into_iter().filter(|node| !node.is_empty());
        self.all = named.map(str::to_owned).collect();
    }

    /// The next of all nodes, and not `node` if there is another.
    pub fn other_than(&self, node: &str) -> String {
        let others = || self.all.iter().filter(|other| *other != node);
        let turn = match others().count() {
            0 => return node.to_owned(),
            count => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        others().nth(turn).map_or_else(|| node.to_owned(), String::clone)
    }

    /// Whether a node is a seed or owns something.
    pub fn has(&self, node: &str) -> bool {
        self.all.iter().any(|known| known == node)
    }
}

/// The way of one request: to the owner of its room, as far as is known, and on from each node that was lost or sent it
/// elsewhere. It has no end of its own: whoever brings the request loses patience.
#[derive(Debug)]
pub struct Course {
    node: String,
    tried: usize,
}

impl Course {
    /// Begins at the owner of `room`, or, where that is not known, at any node.
    pub fn to(room: &str, nodes: &Nodes) -> Self {
        let owner = nodes.owner(room).map(str::to_owned);
        Self {
            node: owner.unwrap_or_else(|| nodes.other_than("")),
            tried: 0,
        }
    }

    /// The node to ask.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether a node had to be left.
    pub fn has_turned(&self) -> bool {
        self.tried > 0
    }

    /// The node was lost before it answered, or does not have the room: how long to wait before the course [turns](Self::turn).
    pub fn leave(&mut self) -> Duration {
        let pause = PAUSES[self.tried.min(PAUSES.len() - 1)];
        self.tried += 1;
        pause
    }

    /// Turns to the owner, if another one is known by now, else to any other node.
    pub fn turn(&mut self, room: &str, nodes: &Nodes) {
        let owner = nodes.owner(room).filter(|owner| *owner != self.node).map(str::to_owned);
        self.node = owner.unwrap_or_else(|| nodes.other_than(&self.node));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::ShardId;

    const ROOM: &str = "mimi://a.example/r/1";

    fn owner(node: &str, term: u64) -> Owner {
        Owner {
            node: node.to_owned(),
            term,
        }
    }

    fn map(node: &str, term: u64) -> ShardMap {
        ShardMap {
            version: term,
            owners: [(ShardId(0), owner(node, term))].into(),
        }
    }

    fn nodes() -> Nodes {
        let mut nodes = Nodes::found_at(vec!["a".to_owned(), "b".to_owned()], 0);
        nodes.learn(Shards::new(1, [7; 16]).ok(), map("c", 2));
        nodes
    }

    #[test]
    fn a_map_does_not_take_back_what_a_node_said_of_a_later_term() {
        let mut nodes = nodes();
        nodes.note(ROOM, owner("d", 3));
        nodes.learn(Shards::new(1, [7; 16]).ok(), map("c", 2));
        assert_eq!(nodes.owner(ROOM), Some("d"));
        nodes.learn(Shards::new(1, [7; 16]).ok(), map("a", 4));
        assert_eq!(nodes.owner(ROOM), Some("a"));
        nodes.note(ROOM, owner("", 5));
        assert_eq!(nodes.owner(ROOM), Some("a"), "nobody was named");
    }

    #[test]
    fn a_node_that_neither_seeds_nor_map_name_is_forgotten() {
        let mut nodes = nodes();
        assert!(nodes.has("a") && nodes.has("c") && !nodes.has("d"));
        nodes.learn(None, ShardMap::default());
        assert!(nodes.has("a") && !nodes.has("c"));
        assert_eq!(nodes.owner(ROOM), None);
        assert_eq!(nodes.all(), ["a", "b"]);
    }

    #[test]
    fn a_course_begins_at_the_owner_and_passes_every_other_node_before_it_comes_back() {
        let nodes = nodes();
        let mut course = Course::to(ROOM, &nodes);
        assert_eq!((course.node(), course.has_turned()), ("c", false));
        let mut passed = Vec::new();
        for _ in 0..2 {
            course.leave();
            course.turn(ROOM, &nodes);
            passed.push(course.node().to_owned());
        }
        assert!(course.has_turned());
        assert_ne!(passed[0], "c");
        assert_eq!(passed[1], "c", "the map still names it");
    }

    #[test]
    fn a_course_follows_what_was_learned_while_it_paused() {
        let mut nodes = nodes();
        let mut course = Course::to(ROOM, &nodes);
        course.leave();
        nodes.note(ROOM, owner("b", 3));
        course.turn(ROOM, &nodes);
        assert_eq!(course.node(), "b");
    }

    #[test]
    fn pauses_grow_to_less_than_half_a_second() {
        let mut course = Course::to(ROOM, &nodes());
        let pauses: Vec<Duration> = (0..6).map(|_| course.leave()).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[5], Duration::from_millis(400));
    }

    #[test]
    fn who_knows_one_node_asks_it_again_and_who_knows_none_has_none() {
        let one = Nodes::found_at(vec!["a".to_owned()], 5);
        assert_eq!(one.other_than("a"), "a");
        assert_eq!(Nodes::default().other_than(""), "");
    }
}
