//! A follower that a command starts, and that can be killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;

use crate::Subject;

/// The FanoutMessages of each room.
type Entries = Arc<Mutex<BTreeMap<String, Vec<Bytes>>>>;

/// A follower in a process of its own. Its output is read: a line `entry ROOM SEQ HEX` says that it has stored a
/// FanoutMessage, given in hexadecimal digits. A follower that prints such lines prints them all again when it starts, and
/// is held to what it prints. The process dies with this.
#[derive(Debug)]
pub struct Process {
    command: Command,
    address: SocketAddr,
    prints: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    entries: Entries,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts `command`, which is to accept links at `address`. `prints`: whether it prints entries.
    ///
    /// # Errors
    /// The command does not start.
    pub fn start(command: Command, address: SocketAddr, prints: bool) -> anyhow::Result<Self> {
        let mut process = Self {
            command,
            address,
            prints,
            running: None,
        };
        process.start_again()?;
        Ok(process)
    }

    /// The FanoutMessages of a room that it has printed since it was started last.
    pub fn printed(&self, room: &str) -> Vec<Bytes> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let entries = running.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(room).cloned().unwrap_or_default()
    }

    /// Kills it: it finishes nothing.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            let _ = running.child.kill();
            let _ = running.child.wait();
            let _ = running.reader.join();
        }
    }

    /// Kills it, and starts it with what is on its disk.
    ///
    /// # Errors
    /// The command does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        let spawned = self.command.spawn();
        let mut child = spawned.with_context(|| format!("start {:?}", self.command.get_program()))?;
        let entries = Entries::default();
        let output = child.stdout.take().context("its output is a pipe")?;
        let reader = std::thread::spawn({
            let entries = entries.clone();
            move || read(output, &entries)
        });
        self.running = Some(Running { child, entries, reader });
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait]
impl Subject for Process {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn crash(&mut self) -> anyhow::Result<bool> {
        self.start_again()?;
        Ok(true)
    }

    async fn stored(&mut self, room: &str) -> Option<Vec<Bytes>> {
        self.prints.then(|| self.printed(room))
    }
}

fn read(output: impl Read, entries: &Entries) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        if words.next() != Some("entry") {
            continue;
        }
        let (room, message) = (words.next(), words.nth(1).map(hex::decode));
        if let (Some(room), Some(Ok(message))) = (room, message) {
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.entry(room.to_owned()).or_default().push(message.into());
        }
    }
}
