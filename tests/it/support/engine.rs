//! The Docker engine of the tests and the registry it mirrors docker.io from, started by `tests/engine`.
//!
//! `tests/run` starts both before the tests. Without it the first test that asks does, and the script's watchdog stops them
//! with the parent process: cargo, or nextest, whose test processes then share one engine.

use std::collections::HashMap;
use std::os::unix::process::parent_id;
use std::process::Command;
use std::sync::OnceLock;

use super::{repository, run, test_cache};

struct Engine {
    /// `unix://…`
    docker_host: String,
    /// `localhost:PORT`
    mirror: String,
    /// The socket of the containerd beneath.
    containerd: String,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let read = |get: &dyn Fn(&str) -> Option<String>| {
            let (docker_host, mirror) = (get("DOCKER_HOST")?, get("IMGFORGE_TEST_MIRROR")?);
            Some(Engine { docker_host, mirror, containerd: get("IMGFORGE_TEST_CONTAINERD")? })
        };
        // DOCKER_HOST alone could be an engine of the user's, which lacks the mirror.
        if let Some(engine) = read(&|name| std::env::var(name).ok()) {
            return engine;
        }
        let parent = parent_id().to_string();
        let folder = std::env::temp_dir().join(format!("imgforge-engine-{parent}"));
        let settings = run(Command::new(repository().join("tests/engine")).arg("start").arg(folder).arg(parent));
        let settings: HashMap<_, _> = settings.lines().filter_map(|line| line.split_once('=')).collect();
        read(&|name| settings.get(name).map(|value| (*value).to_owned())).expect("what `tests/engine` prints")
    })
}

/// `docker`, talking to the engine of the tests, without the user's credentials and contexts.
pub(crate) fn docker() -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", docker_host()).env("DOCKER_CONFIG", test_cache().join("docker-config"));
    command.env_remove("DOCKER_CONTEXT");
    command
}

/// The address of the engine, for a program that starts `docker` itself.
pub(crate) fn docker_host() -> &'static str {
    &engine().docker_host
}

/// The registry, `localhost:PORT`, that the engine asks before docker.io. It holds the stand-ins and is shared by all
/// tests: push elsewhere.
pub(crate) fn mirror() -> &'static str {
    &engine().mirror
}

/// The socket of the engine's containerd, which may be the machine's own: use a namespace of your own.
pub(crate) fn containerd() -> &'static str {
    &engine().containerd
}
