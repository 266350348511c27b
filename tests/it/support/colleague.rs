//! A project that is pushed, and the machine of a colleague who has nothing but its reference.

use std::sync::OnceLock;

use assert_cmd::Command;
use imgforge::http;
use imgforge::registry::{Config, Registries};
use serde_json::Value;
use tempfile::TempDir;

use super::engine::docker_host;
use super::forge::{Forge, standard_output};
use super::registry::RegistryServer;

pub(crate) const SPEC: &str = "name: churn\npython: \"3.13\"\npackages: [{file: requirements.txt}]\n\
                    files: [{from: src, to: /srv/app}, {from: ., to: /srv/all}]\n\
                    services: {postgres: {seed: [data/customers.csv]}}\n";

/// A checkout of the project with its lock, and with credentials beside it as users have them.
pub(crate) fn project() -> Forge {
    static LOCK: OnceLock<String> = OnceLock::new();
    let lock = LOCK.get_or_init(|| {
        let forge = unlocked_project();
        forge.imgforge().args(["lock", "spec.yaml"]).assert().success();
        forge.read("imgforge.lock")
    });
    let forge = unlocked_project();
    forge.write("imgforge.lock", lock);
    forge
}

pub(crate) fn unlocked_project() -> Forge {
    let forge = Forge::new();
    forge.write("spec.yaml", SPEC);
    forge.write("requirements.txt", "six\nidna\n");
    forge.write("src/main.py", "print(1)\n");
    forge.write("src/run.sh", "#!/bin/sh\n");
    forge.write("data/customers.csv", "id,name\n1,Ada\n");
    forge.write(".env", "TOKEN=do-not-publish-me\n");
    forge.write(".dockerignore", "*\n!src\n!setup.cfg\n");
    forge.write("setup.cfg", "[metadata]\n");
    forge
}

/// A machine with nothing on it.
pub(crate) struct Machine {
    /// Its working folder and home.
    pub(crate) forge: Forge,
    /// Its cache.
    pub(crate) cache: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { forge: Forge::new(), cache: TempDir::with_prefix("imgforge-cache-").expect("a temporary folder") }
    }

    pub(crate) fn imgforge(&self, arguments: &[&str]) -> Command {
        let mut command = self.forge.imgforge();
        command.args(arguments).env("IMGFORGE_CACHE", self.cache.path());
        command
    }

    /// `docker` with this machine's home, talking to the engine of the tests.
    pub(crate) fn docker(&self) -> std::process::Command {
        let mut command = std::process::Command::new("docker");
        command.current_dir(self.forge.path("")).env("HOME", self.forge.home());
        command.env("DOCKER_HOST", docker_host()).env("XDG_CACHE_HOME", self.cache.path());
        command.env_remove("DOCKER_CONFIG").env_remove("DOCKER_CONTEXT");
        command
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = standard_output(&mut self.imgforge(&[arguments, &["--format", "json"]].concat()));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Exit code, standard output, standard error.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.imgforge(arguments).output().expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
    }
}

pub(crate) fn push(forge: &Forge, server: &RegistryServer, arguments: &[&str]) -> Value {
    let repository = format!("{}/ml/churn", server.host());
    let mut command = forge.imgforge();
    command.args(["build", "spec.yaml", "--push", "--format", "json", "--repository", &repository]).args(arguments);
    serde_json::from_str(&standard_output(&mut command)).expect("JSON")
}

pub(crate) fn registries() -> Registries {
    Registries::new(http::Client::new(&http::Options::default()).expect("a client"), Config::default())
}
