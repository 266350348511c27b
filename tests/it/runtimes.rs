//! Pushed images in engines other than Docker: Podman and containerd pull and run what imgforge assembles, in either
//! compression, with byte-code and without.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::engine::containerd;
use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{output, run};

/// Says which packages there are, who runs it, and whether modules were compiled before.
const PROGRAM: &str = "import importlib.util as u, markupsafe._speedups, os, six; \
                       print(six.__version__, os.getuid(), os.path.exists(u.cache_from_source(six.__file__)))";

/// Pushes `six` and a package with a compiled module; returns the reference by digest.
fn push(server: &RegistryServer, name: &str, rest: &str) -> String {
    let forge = Forge::new();
    forge.write("spec.yaml", format!("name: {name}\npython: \"3.13\"\npackages: [six==1.17.0, markupsafe]\n{rest}"));
    let mut command = forge.imgforge();
    let repository = format!("{}/ml/{name}", server.host());
    command.args(["build", "spec.yaml", "--push", "--repository", &repository, "--format", "json"]);
    let answer: Value = serde_json::from_str(&standard_output(&mut command)).expect("JSON");
    answer["images"][0]["reference"].as_str().expect("a reference").to_owned()
}

/// Both kinds of image, with what the program says in them.
fn images(server: &RegistryServer) -> [(String, &'static str); 2] {
    [
        (push(server, "plain", ""), "1.17.0 1000 False"),
        (push(server, "packed", "image: {compression: zstd}\ncompile: true\n"), "1.17.0 1000 True"),
    ]
}

/// Podman with a storage of its own.
struct Podman(TempDir);

impl Podman {
    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let mut command = Command::new("podman");
        // Without systemd; and of the two runtimes of Debian runc does with the control groups of more machines.
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc"]);
        command.args(["--root", &path("root"), "--runroot", &path("run")]).args(arguments);
        command.env("HOME", self.0.path()).env_remove("REGISTRY_AUTH_FILE");
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its storage is mounted onto itself, and the folder cannot be removed with that. (`podman system reset` takes networks
        // that are not its own.)
        let _ = Command::new("umount").arg(self.0.path().join("root/overlay")).output();
    }
}

#[test]
fn podman_runs_what_was_pushed() {
    let server = RegistryServer::plain();
    let podman = Podman(TempDir::with_prefix("imgforge-podman-").expect("a temporary folder"));
    for (image, expected) in images(&server) {
        run(&mut podman.command(&["pull", "--quiet", "--tls-verify=false", &image]));
        // Limits that need not be raised: root of a virtual machine may not always.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"];
        let program = [&["run", "--rm"], &limits[..], &[&image, "python", "-c", PROGRAM]].concat();
        assert_eq!(run(&mut podman.command(&program)), expected, "{image}");
    }
}

/// A namespace in the containerd of the tests' engine.
struct Namespace {
    name: String,
    images: Vec<String>,
}

impl Namespace {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(PathBuf::from(containerd())).args(["--namespace", &self.name]).args(arguments);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may be the machine's own, which is left as it was.
        for image in &self.images {
            let _ = self.command(&["images", "remove", "--sync", image]).output();
        }
        let _ = self.command(&["namespaces", "remove", &self.name]).output();
    }
}

#[test]
fn containerd_runs_what_was_pushed() {
    let server = RegistryServer::plain();
    let mut namespace = Namespace { name: format!("imgforge-test-{}", std::process::id()), images: Vec::new() };
    for (image, expected) in images(&server) {
        namespace.images.push(image.clone());
        run(&mut namespace.command(&["images", "pull", "--plain-http", &image]));
        let program = ["run", "--rm", &image, "program", "python", "-c", PROGRAM];
        assert_eq!(run(&mut namespace.command(&program)), expected, "{image}");
    }
    let listed = output(&mut namespace.command(&["containers", "list", "--quiet"]));
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "", "nothing is left running");
}
