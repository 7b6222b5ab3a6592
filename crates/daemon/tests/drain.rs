//! Stopping by signals: a child process, as a signal is for a whole process.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use daemon::{Health, drain};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CHILD: &str = "DAEMON_TEST_CHILD";

/// Not a test of its own: what the children run. Says `ready`, then each step of stopping.
#[test]
fn child() {
    let Ok(kind) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let health = Health::default();
        let stop = drain::on_signals(health.clone(), Duration::ZERO).unwrap();
        say("ready");
        stop.cancelled().await;
        say(if health.is_ready() { "still ready" } else { "stopped" });
        if kind == "stuck" {
            std::future::pending::<()>().await;
        }
        std::process::exit(7);
    });
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{word}").unwrap();
    out.flush().unwrap();
}

fn start(kind: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, kind)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut out, "ready");
    (child, out)
}

fn wait_for(out: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while line.trim() != word {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the child ended without `{word}`");
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn the_first_signal_drains_and_the_process_ends_by_itself() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut child, mut out) = start("quick");
        send(&child, signal);
        wait_for(&mut out, "stopped");
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}

#[test]
fn the_second_signal_exits_at_once() {
    let (mut child, mut out) = start("stuck");
    send(&child, Signal::SIGTERM);
    wait_for(&mut out, "stopped");
    send(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(drain::EXIT_AT_ONCE));
}
