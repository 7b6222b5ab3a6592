//! Providers as processes of their own, made by `nave init` and reached through their public ports only.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NAVE: &str = env!("CARGO_BIN_EXE_nave");
/// A provider is up, or gone, by then.
const DEADLINE: Duration = Duration::from_secs(60);

/// A provider's directory, and the process that serves it.
struct Provider {
    directory: PathBuf,
    domain: String,
    listen: SocketAddr,
    admin: SocketAddr,
    process: Option<Child>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn nave(arguments: &[&str]) -> Command {
    let mut command = Command::new(NAVE);
    command.args(arguments);
    command
}

impl Provider {
    fn init(root: &Path, name: &str, ca: Option<&Self>) -> Self {
        let [listen, api, admin, operator] = nave::ports::free().unwrap();
        let (directory, domain) = (root.join(name), format!("{name}.example"));
        let all = [listen, api, admin, operator];
        let [listen_text, api, admin_text, operator] = all.map(|address| address.to_string());
        let mut init = nave(&[
            "init",
            directory.to_str().unwrap(),
            "--domain",
            &domain,
            "--listen",
            &listen_text,
        ]);
        init.args(["--api", &api, "--admin", &admin_text, "--operator", &operator]);
        init.args(["--user", &format!("{name}-user")]);
        if let Some(ca) = ca {
            init.args(["--ca", ca.directory.to_str().unwrap()]);
        }
        let output = init.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self {
            directory,
            domain,
            listen,
            admin,
            process: None,
        }
    }

    fn config(&self) -> String {
        self.directory.join("nave.toml").to_str().unwrap().to_owned()
    }

    fn knows(&self, peer: &Self) {
        let mut config = std::fs::OpenOptions::new().append(true).open(self.config()).unwrap();
        let roots = peer.directory.join("ca.pem");
        let (domain, address, roots) = (&peer.domain, peer.listen, roots.display());
        write!(
            config,
            "\n[[peers]]\ndomain = \"{domain}\"\naddress = \"{address}\"\nroots = \"{roots}\"\n"
        )
        .unwrap();
    }

    /// Starts the process and waits until it says that it is ready.
    fn serve(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .unwrap();
        let process = nave(&["serve", "--config", &self.config()])
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        let began = Instant::now();
        while !self
            .get("/readyz")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            let exited = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                exited.is_none() && began.elapsed() < DEADLINE,
                "not ready: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the admin port answers.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Dies at once, with nothing finished.
    fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.process.take().unwrap().wait().unwrap();
    }

    /// Drains and exits with 0.
    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let mut process = self.process.take().unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success(), "{status}: {}", self.log());
                return;
            }
            assert!(began.elapsed() < DEADLINE, "still draining: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// Three providers that know each other, at work.
fn three(root: &Path) -> [Provider; 3] {
    let a = Provider::init(root, "a", None);
    let b = Provider::init(root, "b", Some(&a));
    let c = Provider::init(root, "c", Some(&a));
    let mut all = [a, b, c];
    for one in &all {
        for other in all.iter().filter(|other| other.domain != one.domain) {
            one.knows(other);
        }
    }
    all.iter_mut().for_each(Provider::serve);
    all
}

fn demo(providers: &[Provider; 3], messages: &str) -> Command {
    let mut demo = nave(&["demo", "--messages", messages]);
    for provider in providers {
        demo.args(["--against", &provider.config()]);
    }
    demo
}

fn logs(providers: &[Provider]) -> String {
    providers
        .iter()
        .map(|provider| format!("--- {}\n{}", provider.domain, provider.log()))
        .collect()
}

#[test]
fn three_processes_pass_the_demo_twice_and_drain() {
    let root = tempfile::tempdir().unwrap();
    let providers = three(root.path());
    for _ in 0..2 {
        let output = demo(&providers, "200").arg("--json").output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], true, "{report:#}\n{}", logs(&providers));
        assert!(output.status.success());
        let counts = ["sent", "delivered", "lost", "duplicates", "order_violations"].map(|name| &report[name]);
        assert_eq!(counts, [200, 600, 0, 0, 0]);
        assert_eq!(report["epoch_agreement"], true);
    }
    let metrics = providers[0].get("/metrics").unwrap();
    assert!(metrics.contains("nave_append_duration_seconds_bucket"), "{metrics}");
    for provider in providers {
        provider.stop();
    }
}

/// Kills one of three providers in the middle of the demo's burst and starts it again: every check must hold.
fn kill_in_the_burst(victim: usize) {
    let root = tempfile::tempdir().unwrap();
    let mut providers = three(root.path());
    let mut demo = demo(&providers, "1200").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    // The burst follows on this.
    while !shown
        .last()
        .is_some_and(|line: &String| line.contains("minimal-metadata"))
    {
        shown.push(lines.next().expect("the demo ended early").unwrap());
    }
    std::thread::sleep(Duration::from_millis(150));
    let ended = demo.try_wait().unwrap().is_some();
    providers[victim].kill();
    providers[victim].serve();
    shown.extend(lines.map(Result::unwrap));
    let status = demo.wait().unwrap();
    assert!(status.success(), "{}\n{}", shown.join("\n"), logs(&providers));
    assert!(!ended, "killed too late to prove anything");
}

#[test]
fn a_hub_killed_in_the_middle_of_a_burst_loses_and_repeats_nothing() {
    kill_in_the_burst(0);
}

#[test]
fn a_follower_killed_in_the_middle_of_a_burst_loses_and_repeats_nothing() {
    kill_in_the_burst(2);
}

#[test]
fn two_processes_cannot_serve_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let mut one = Provider::init(root.path(), "a", None);
    one.serve();
    let other = Provider::init(root.path(), "other", None);
    let config = std::fs::read_to_string(other.config()).unwrap();
    let data = one.directory.join("data");
    std::fs::write(
        other.config(),
        config.replace("data = \"data\"", &format!("data = \"{}\"", data.display())),
    )
    .unwrap();
    let output = nave(&["serve", "--config", &other.config()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("open the store in"), "{error}");
    one.stop();
}

#[test]
fn the_demo_says_which_provider_it_cannot_reach() {
    let root = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"].map(|name| Provider::init(root.path(), name, None));
    let output = demo(&names, "10").arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let error = report["steps"][0]["error"].as_str().unwrap();
    assert!(error.contains(&names[0].config()), "{error}");
}
