//! Certificates of a hub a.example and the example as b.example.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use daemon::certificates::DevelopmentCa;
use link_conformance::{Hub, Process};
use nave::ports;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) listen: SocketAddr,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [listen] = ports::free().unwrap();
        let world = Self { directory, listen };
        for name in ["a", "b"] {
            std::fs::create_dir(world.path(name)).unwrap();
            let ca = DevelopmentCa::in_directory(&world.path(name)).unwrap();
            let issued = ca.issue(&[&format!("{name}.example")]).unwrap();
            let (chain, key) = (format!("{name}/tls.pem"), format!("{name}/tls.key"));
            issued.write(&world.path(&chain), &world.path(&key)).unwrap();
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The example at work, as b.example.
    pub(crate) fn follower(&self) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-follower"));
        command.args(["--domain", "b.example", "--hub", "a.example"]);
        command.arg("--listen").arg(self.listen.to_string());
        for (option, name) in [
            ("--chain", "b/tls.pem"),
            ("--key", "b/tls.key"),
            ("--hub-roots", "a/ca.pem"),
            ("--data", "b/data"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        let said = std::fs::File::create(self.path("b/said")).unwrap();
        command.stderr(said);
        Process::start(command, self.listen, true).unwrap()
    }

    /// What the example has said beside the entries.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path("b/said")).unwrap()
    }

    /// The conformance test as a.example.
    pub(crate) fn hub(&self) -> Hub {
        let [chain, key, roots] = ["a/tls.pem", "a/tls.key", "b/ca.pem"].map(|name| self.path(name));
        Hub::from_files("a.example", "b.example", &chain, &key, &roots).unwrap()
    }
}
