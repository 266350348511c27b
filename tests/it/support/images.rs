//! Stand-ins for public images, where no public registry can be reached: made from Debian packages, under the names that
//! specs and Compose files use, in the registry that the engine mirrors docker.io from.
//!
//! A stand-in keeps to what imgforge and its stacks rely on (where the interpreter is, which variables an entry point reads),
//! not to the original's bytes. It carries the digest of its recipe as a label and is made again when the recipe changes;
//! otherwise it stays in the registry's storage from run to run.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use imgforge::oci::Digest;

use super::engine::{docker, mirror};
use super::{output, run, test_cache};

/// The label that carries a recipe's digest.
pub(crate) const RECIPE_LABEL: &str = "dev.imgforge.test.recipe";

const PYTHON: &str = include_str!("stand_ins/python.Dockerfile");
const POSTGRES: &str = include_str!("stand_ins/postgres.Dockerfile");
const POSTGRES_ENTRY_POINT: &str = include_str!("stand_ins/postgres-entrypoint.sh");

/// An image that is in the mirror.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    repository: String,
    tag: String,
}

impl StandIn {
    /// The name that a spec or a Compose file uses: `docker.io/library/python:3.13-slim`.
    pub(crate) fn reference(&self) -> String {
        format!("docker.io/{}:{}", self.repository, self.tag)
    }

    /// Where it is: `localhost:PORT/library/python:3.13-slim`.
    pub(crate) fn mirrored(&self) -> String {
        format!("{}/{}:{}", mirror(), self.repository, self.tag)
    }

    /// The manifest's digest, `sha256:…`.
    pub(crate) fn digest(&self) -> String {
        run(skopeo(["inspect", "--format", "{{.Digest}}", "--tls-verify=false"]).arg(self.transport()))
    }

    /// Puts it into another registry (`HOST:PORT`, any certificate, `credentials` as `USER:PASSWORD`) under the same
    /// repository and tag, and returns its reference there.
    pub(crate) fn copy_to(&self, registry: &str, credentials: Option<&str>) -> String {
        let reference = format!("{registry}/{}:{}", self.repository, self.tag);
        let mut command = skopeo(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        if let Some(credentials) = credentials {
            command.arg("--dest-creds").arg(credentials);
        }
        run(command.arg(self.transport()).arg(format!("docker://{reference}")));
        reference
    }

    /// The same image under one more name in the mirror, for an original that no package can stand for:
    /// `alias("nvidia/cuda", "12.4.1-runtime-ubuntu22.04")`.
    pub(crate) fn alias(&self, repository: &str, tag: &str) -> Self {
        let alias = Self { repository: repository.to_owned(), tag: tag.to_owned() };
        run(skopeo(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .arg(self.transport())
            .arg(alias.transport()));
        alias
    }

    fn transport(&self) -> String {
        format!("docker://{}", self.mirrored())
    }

    /// Makes the image unless the mirror has it from this very recipe. `make` gets the recipe's digest, for the label, and
    /// the name to give the image in the engine.
    fn ensure(self, recipe: &[&str], make: impl FnOnce(&str, &str)) -> Self {
        // One at a time in this process, and among the processes of nextest: they build on each other.
        static MAKING: Mutex<()> = Mutex::new(());
        let _in_process = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fs::create_dir_all(test_cache()).expect("the tests' cache folder");
        let lock = File::create(test_cache().join("stand-ins.lock")).expect("a lock file in the tests' cache folder");
        lock.lock().expect("the lock");

        let digest = Digest::of(recipe.join("\0").as_bytes()).hex();
        let mut inspect = skopeo(["inspect", "--config", "--tls-verify=false"]);
        let present = output(inspect.arg(self.transport()));
        let config: serde_json::Value = serde_json::from_slice(&present.stdout).unwrap_or_default();
        if config["config"]["Labels"][RECIPE_LABEL] != digest.as_str() {
            make(&digest, &self.mirrored());
            run(docker().args(["push", "--quiet", &self.mirrored()]));
        }
        self
    }
}

/// The setting that makes imgforge look for docker.io's images in the mirror, for `IMGFORGE_REGISTRY_MIRRORS`.
pub(crate) fn mirrors() -> String {
    format!("docker.io={}", mirror())
}

/// `debian:SUITE-slim`, for `bookworm` or `trixie`: the required packages and the certificate authorities.
pub(crate) fn debian(suite: &str) -> StandIn {
    let image = StandIn { repository: "library/debian".to_owned(), tag: format!("{suite}-slim") };
    let options = ["--variant=minbase", "--include=ca-certificates"];
    image.ensure(&["debian", &options.join(" ")], |recipe, name| {
        let mut bootstrap = Command::new("mmdebstrap")
            .args(options)
            .args([suite, "-", &debian_mirror()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mmdebstrap; `tests/run` installs it");
        let archive = bootstrap.stdout.take().expect("the pipe asked for");
        let label = format!("LABEL {RECIPE_LABEL}={recipe}");
        run(docker().args(["import", "--change", "CMD [\"bash\"]", "--change", &label, "-", name]).stdin(archive));
        assert!(bootstrap.wait().expect("mmdebstrap's end").success(), "mmdebstrap {suite} failed");
    })
}

/// `python:VERSION-slim`, for the versions that Debian has: `3.11` and `3.13`.
pub(crate) fn python_slim(version: &str) -> StandIn {
    let suite = match version {
        "3.11" => "bookworm",
        "3.13" => "trixie",
        _ => panic!("no suite of Debian has Python {version}"),
    };
    let base = debian(suite);
    let image = StandIn { repository: "library/python".to_owned(), tag: format!("{version}-slim") };
    image.ensure(&["python", PYTHON], |recipe, name| {
        build(&[("Dockerfile", PYTHON)], &[("BASE", &base.mirrored()), ("PYTHON", version)], recipe, name);
    })
}

/// `python:3.13-slim` after one more command, as `library/changed:TAG`.
pub(crate) fn changed(tag: &str, command: &str) -> StandIn {
    let base = python_slim("3.13");
    let dockerfile = format!("ARG BASE\nFROM ${{BASE}}\nRUN {command}\n");
    let image = StandIn { repository: "library/changed".to_owned(), tag: tag.to_owned() };
    image.ensure(&["changed", PYTHON, &dockerfile], |recipe, name| {
        build(&[("Dockerfile", &dockerfile)], &[("BASE", &base.mirrored())], recipe, name);
    })
}

/// `postgres:16`, which is really the version of Debian's stable release.
pub(crate) fn postgres() -> StandIn {
    let base = debian("trixie");
    let image = StandIn { repository: "library/postgres".to_owned(), tag: "16".to_owned() };
    image.ensure(&["postgres", POSTGRES, POSTGRES_ENTRY_POINT], |recipe, name| {
        let files = [("Dockerfile", POSTGRES), ("docker-entrypoint.sh", POSTGRES_ENTRY_POINT)];
        build(&files, &[("BASE", &base.mirrored())], recipe, name);
    })
}

fn build(files: &[(&str, &str)], arguments: &[(&str, &str)], recipe: &str, name: &str) {
    let context = tempfile::tempdir().expect("a temporary folder");
    for (file, text) in files {
        fs::write(context.path().join(file), text).expect("a file in the build context");
    }
    let mut command = docker();
    command.args(["build", "--quiet", "--tag", name, "--label", &format!("{RECIPE_LABEL}={recipe}")]);
    for (argument, value) in arguments {
        command.args(["--build-arg", &format!("{argument}={value}")]);
    }
    run(command.arg(context.path()));
}

/// The mirror that this machine installs its own packages from.
fn debian_mirror() -> String {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages", "Origin: Debian"]);
    let targets = run(&mut command);
    // The security archive has another label, and is not a whole suite.
    let mirror = targets.lines().find_map(|line| line.strip_suffix(" Debian"));
    mirror.expect("a Debian mirror in apt's configuration, after `apt-get update`").to_owned()
}

fn skopeo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("skopeo");
    // No policy file of the machine decides which images a test may copy. A file that does not exist holds no login.
    command.arg("--insecure-policy").args(arguments).env("REGISTRY_AUTH_FILE", test_cache().join("no-logins.json"));
    command
}
