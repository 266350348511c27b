//! The workflow files of `examples/ci`, held against the schemas of their services, and their steps run as a runner would run
//! them: from a clean folder, without Docker, into a registry with a password.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::forge::{Forge, standard_output};
use crate::support::invented::mirror;
use crate::support::registry::RegistryServer;
use crate::support::{copy_folder, files_below, output, repository, run};

const GITHUB: &str = "examples/ci/github.yaml";
const GITLAB: &str = "examples/ci/gitlab-ci.yml";
const USER: &str = "robot";
const PASSWORD: &str = "do-not-show-me";

fn read(file: &str) -> Value {
    let text = fs::read_to_string(repository().join(file)).expect("the file");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A checkout of a project, the company's registry, the registry that has the base, and a key to sign with.
struct World {
    forge: Forge,
    target: RegistryServer,
    mirrors: String,
    keys: TempDir,
    _mirror: RegistryServer,
}

impl World {
    fn new() -> Self {
        let forge = Forge::new();
        copy_folder(&repository().join("tests/cases/golden/project"), &forge.path(""));
        let server = RegistryServer::plain();
        let keys = TempDir::with_prefix("imgforge-keys-").expect("a temporary folder");
        let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments).current_dir(keys.path()));
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "sign.key"]);
        openssl(&["pkey", "-in", "sign.key", "-pubout", "-out", "sign.pub"]);
        let mirrors = mirror(&server);
        Self { forge, target: RegistryServer::secure(USER, PASSWORD), mirrors, keys, _mirror: server }
    }

    /// A shell with what a runner has, and with the machine's own settings for mirrors and certificates.
    fn shell(&self, shell: &str, script: &Path) -> Command {
        let mut command = Command::new(shell);
        if shell == "bash" {
            command.args(["--noprofile", "--norc", "-o", "pipefail"]);
        }
        command.arg("-e").arg(script).current_dir(self.forge.path("")).stdin(Stdio::null());
        for (name, value) in self.forge.program().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // An engine would not answer there.
        command.env("DOCKER_HOST", "unix:///nonexistent").env("IMGFORGE_REGISTRY_MIRRORS", &self.mirrors);
        command.env("IMGFORGE_CA_FILE", self.target.ca_file());
        let program = Path::new(env!("CARGO_BIN_EXE_imgforge"));
        let sum = run(Command::new("sha256sum").arg(program));
        command.env("IMGFORGE_URL", format!("file://{}", program.display()));
        command.env("IMGFORGE_SHA256", sum.split(' ').next().expect("a sum"));
        command
    }

    /// The digest that the project has on every machine.
    fn digest() -> String {
        let digests = fs::read_to_string(repository().join("tests/cases/golden/digests.txt")).expect("the digests");
        let line = digests.lines().find_map(|line| line.strip_suffix(" project"));
        line.expect("a line for the project").to_owned()
    }

    /// What was pushed is signed, by whom it should be.
    fn assert_signed(&self, reference: &str) {
        let mut signatures = self.forge.imgforge();
        signatures.args(["signatures", reference, "--key"]).arg(self.keys.path().join("sign.pub"));
        signatures.env("IMGFORGE_CA_FILE", self.target.ca_file());
        signatures.env("DOCKER_CONFIG", self.target.docker_config(USER, PASSWORD));
        assert!(standard_output(&mut signatures).contains("signed by the key"));
    }

    /// Neither what was said nor what lies in the checkout holds a secret.
    fn assert_discreet(&self, said: &str) {
        let key = fs::read_to_string(self.keys.path().join("sign.key")).expect("the key");
        let secret = key.lines().nth(1).expect("a line of the key");
        let files = files_below(&self.forge.path(""));
        let files = files.iter().map(|(path, bytes)| (path.as_str(), String::from_utf8_lossy(bytes)));
        for (place, text) in files.chain([("the log", said.into())]) {
            for secret in [PASSWORD, secret, "cm9ib3Q6ZG8tbm90LXNob3ctbWU="] {
                assert!(!text.contains(secret), "{place} holds `{secret}`");
            }
        }
    }

    fn is_empty(&self) -> bool {
        !self.target.data().join("docker/registry/v2/repositories").exists()
    }

    /// Makes the lock one of another spec.
    fn outdate(&self) {
        self.forge.write("spec.yaml", self.forge.read("spec.yaml").replace("packages: [idna,", "packages: [six,"));
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// GitHub's runner, as far as the workflow leans on it:
/// <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.
struct Runner<'a> {
    world: &'a World,
    workflow: Value,
    /// `github.actor` and the like.
    known: BTreeMap<String, String>,
    temp: TempDir,
    log: String,
}

impl<'a> Runner<'a> {
    fn new(world: &'a World, event: &str) -> Self {
        let known = [("github.event_name", event), ("github.repository", "Ann/Churn"), ("github.actor", "ann")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            world,
            workflow: read(GITHUB),
            known: known.into(),
            temp: TempDir::with_prefix("imgforge-runner-").expect("a temporary folder"),
            log: String::new(),
        }
    }

    fn know(&mut self, name: &str, value: &str) {
        self.known.insert(name.to_owned(), value.to_owned());
    }

    fn term(&self, term: &str) -> String {
        let term = term.trim();
        if let Some(literal) = term.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return literal.to_owned();
        }
        match self.known.get(term) {
            Some(value) => value.clone(),
            // What nobody set is empty.
            None if term.starts_with("vars.") || term.starts_with("secrets.") => String::new(),
            None => panic!("the workflow asks for `{term}`"),
        }
    }

    fn filled_in(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").expect("an end of the expression");
            let mut values = expression.split("||").map(|term| self.term(term));
            filled += before;
            filled += &values.find(|value| !value.is_empty()).unwrap_or_default();
            rest = after;
        }
        filled + rest
    }

    fn condition(&self, text: &str) -> bool {
        match (text.split_once(" == "), text.split_once(" != ")) {
            (Some((one, other)), _) => self.term(one) == self.term(other),
            (_, Some((one, other))) => self.term(one) != self.term(other),
            _ => panic!("`{text}` is another kind of condition"),
        }
    }

    fn environment(&self, of: &Value) -> Vec<(String, String)> {
        let none = Map::new();
        let pairs = of["env"].as_object().unwrap_or(&none).iter();
        pairs.map(|(name, value)| (name.clone(), self.filled_in(text(value)))).collect()
    }

    /// Runs the jobs that the event asks for; the outputs of the last, or the step that failed and its exit code.
    fn run(&mut self) -> Result<BTreeMap<String, String>, (String, Option<i32>)> {
        let mut outputs = BTreeMap::new();
        for (name, job) in self.workflow["jobs"].as_object().expect("jobs").clone() {
            if !self.condition(text(&job["if"])) {
                continue;
            }
            self.log += &format!("job {name}\n");
            for step in job["steps"].as_array().expect("steps") {
                self.step(step)?;
            }
            let promised = job["outputs"].as_object().into_iter().flatten();
            outputs = promised.map(|(name, value)| (name.clone(), self.filled_in(text(value)))).collect();
        }
        Ok(outputs)
    }

    fn step(&mut self, step: &Value) -> Result<(), (String, Option<i32>)> {
        if let Some(action) = step["uses"].as_str() {
            // The folder is the checkout.
            assert!(action.starts_with("actions/checkout@"), "{action}");
            return Ok(());
        }
        let name = text(&step["name"]);
        let temp = |name: &str| self.temp.path().join(name);
        fs::write(temp("script"), text(&step["run"])).expect("the script");
        fs::write(temp("output"), "").expect("a file");
        let mut command = self.world.shell("bash", &temp("script"));
        // A workflow's variables go before the runner's own: these are what the machine's stand for.
        let ours = |(variable, _): &(String, String)| !variable.starts_with("IMGFORGE_");
        command.envs(self.environment(&self.workflow).into_iter().filter(ours)).envs(self.environment(step));
        let kept = fs::read_to_string(temp("env")).unwrap_or_default();
        command.envs(kept.lines().filter_map(|line| line.split_once('=')));
        let path = fs::read_to_string(temp("path")).unwrap_or_default();
        let machine = std::env::var("PATH").expect("a path");
        command.env("PATH", path.lines().rev().chain([machine.as_str()]).collect::<Vec<_>>().join(":"));
        for (variable, file) in [("ENV", "env"), ("PATH", "path"), ("OUTPUT", "output"), ("STEP_SUMMARY", "summary")] {
            command.env(format!("GITHUB_{variable}"), temp(file));
        }
        command.env("RUNNER_TEMP", temp(""));
        let answer = output(&mut command);
        for line in said(&answer).lines().filter(|line| !line.starts_with("::add-mask::")) {
            self.log += &format!("{name}: {line}\n");
        }
        if !answer.status.success() {
            return Err((name.to_owned(), answer.status.code()));
        }
        let outputs = fs::read_to_string(temp("output")).expect("the outputs");
        for (key, value) in outputs.lines().filter_map(|line| line.split_once('=')) {
            self.know(&format!("steps.{}.outputs.{key}", text(&step["id"])), value);
        }
        Ok(())
    }
}

#[test]
fn the_files_meet_the_schemas_of_their_services() {
    let validator = repository().join("target/tools/readers/bin/check-jsonschema");
    for (schema, file) in [("github-workflows", GITHUB), ("gitlab-ci", GITLAB)] {
        let mut check = Command::new(&validator);
        run(check.arg("--builtin-schema").arg(format!("vendor.{schema}")).arg(repository().join(file)));
    }
}

#[test]
fn the_shell_in_the_files_is_sound() {
    let workflow = read(GITHUB);
    let jobs = workflow["jobs"].as_object().expect("jobs").values();
    let steps = jobs.flat_map(|job| job["steps"].as_array().expect("steps"));
    let scripts = steps.filter_map(|step| Some(("bash", step["run"].as_str()?.to_owned())));
    let gitlab = [("sh", gitlab_script("check")), ("sh", gitlab_script("publish"))];
    let folder = TempDir::with_prefix("imgforge-scripts-").expect("a temporary folder");
    for (number, (shell, script)) in scripts.chain(gitlab).enumerate() {
        let file = folder.path().join(number.to_string());
        fs::write(&file, script).expect("a script");
        run(Command::new("shellcheck").arg(format!("--shell={shell}")).arg(file));
    }
}

#[test]
fn the_workflow_asks_for_no_more_than_it_needs() {
    let workflow = read(GITHUB);
    let [check, publish] = ["check", "publish"].map(|job| &workflow["jobs"][job]);
    assert_eq!(workflow["permissions"], Value::Object(Map::new()));
    assert_eq!(check["permissions"], serde_json::json!({"contents": "read"}));
    assert_eq!(publish["permissions"], serde_json::json!({"contents": "read", "packages": "write"}));
    // Pull requests run other people's code: nothing secret is named where they do.
    assert!(!check.to_string().contains("secrets.") && !check.to_string().contains("github.token"));
    assert!(workflow["on"].get("pull_request_target").is_none());
    let [first, second] = [check, publish].map(|job| job["steps"].as_array().expect("steps"));
    assert_eq!(first[..3], second[..3], "both jobs begin alike");
    for step in first.iter().chain(second) {
        let Some(action) = step["uses"].as_str() else { continue };
        let commit = action.split_once('@').expect("a version").1;
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
    }
    for job in [check, publish] {
        // Neither needs a container's privileges, and no value is pasted into a script, where it could be code.
        assert!(job.get("container").is_none() && job.get("services").is_none());
        let steps = job["steps"].as_array().expect("steps").iter();
        assert!(steps.filter_map(|step| step["run"].as_str()).all(|script| !script.contains("${{")));
    }
}

#[test]
fn the_workflow_publishes_and_signs_what_the_lock_says() {
    let world = World::new();
    let mut runner = Runner::new(&world, "push");
    runner.know("vars.IMAGE_REGISTRY", &world.target.host());
    runner.know("vars.REGISTRY_USER", USER);
    runner.know("secrets.REGISTRY_PASSWORD", PASSWORD);
    runner.know("github.token", "a token of the job, for ghcr.io");
    let key = fs::read_to_string(world.keys.path().join("sign.key")).expect("the key");
    runner.know("secrets.IMAGE_SIGN_KEY", &key);
    let outputs = runner.run().unwrap_or_else(|failed| panic!("{failed:?}\n{}", runner.log));
    let (host, digest) = (world.target.host(), World::digest());
    let reference = format!("{host}/ann/churn:1.0@{digest}");
    let expected = [("digest", digest.as_str()), ("reference", &reference), ("tags", r#"["1.0","latest"]"#)];
    assert_eq!(outputs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    world.assert_signed(&reference);
    world.assert_discreet(&runner.log);
    assert!(!runner.temp.path().join("sign.key").exists());
    let summary = fs::read_to_string(runner.temp.path().join("summary")).expect("a summary");
    assert_eq!(summary, format!("- `{reference}`\n"));

    // The next machine has the registry and nothing else: it makes no layer again, and the image is the same.
    fs::remove_dir_all(world.forge.path("generated")).expect("removed");
    runner.temp = TempDir::with_prefix("imgforge-runner-").expect("a temporary folder");
    assert_eq!(runner.run().expect("published again"), outputs);
    assert!(!world.forge.path("generated/project/oci/index.json").exists());
}

#[test]
fn the_workflow_builds_pull_requests_and_pushes_nothing() {
    let world = World::new();
    let mut runner = Runner::new(&world, "pull_request");
    let outputs = runner.run().unwrap_or_else(|failed| panic!("{failed:?}\n{}", runner.log));
    assert_eq!(outputs, BTreeMap::new());
    assert!(world.forge.path("generated/project/oci/index.json").exists());
    assert!(world.is_empty());

    world.outdate();
    let step = "The lock answers the spec".to_owned();
    assert_eq!(runner.run(), Err((step, Some(1))));
    assert!(runner.log.contains("does not answer the spec") || runner.log.contains("stale"), "{}", runner.log);
}

#[test]
fn a_program_that_is_not_the_one_named_is_not_run() {
    let world = World::new();
    let workflow = read(GITHUB);
    let install = &workflow["jobs"]["check"]["steps"][1];
    let folder = TempDir::with_prefix("imgforge-runner-").expect("a temporary folder");
    let script = folder.path().join("script");
    fs::write(&script, text(&install["run"])).expect("the script");
    let mut command = world.shell("bash", &script);
    command.env("RUNNER_TEMP", folder.path()).env("GITHUB_PATH", folder.path().join("path"));
    let refused = output(command.env("IMGFORGE_SHA256", "0".repeat(64)));
    assert!(!refused.status.success() && said(&refused).contains("did NOT match"), "{}", said(&refused));
    let unset = output(command.env("IMGFORGE_SHA256", ""));
    assert!(!unset.status.success() && said(&unset).contains("set this variable"), "{}", said(&unset));
    assert!(!folder.path().join("path").exists());
}

/// What GitLab's runner runs for a job: one script of `before_script` and `script`.
fn gitlab_script(job: &str) -> String {
    let file = read(GITLAB);
    let lines = [&file["default"]["before_script"], &file[job]["script"]];
    let lines = lines.iter().flat_map(|lines| lines.as_array().expect("lines")).map(text);
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn gitlab_job(world: &World, shell: &str, job: &str, variables: &[(&str, &str)]) -> Output {
    let folder = TempDir::with_prefix("imgforge-runner-").expect("a temporary folder");
    let script: PathBuf = folder.path().join("script");
    fs::write(&script, gitlab_script(job)).expect("the script");
    let file = read(GITLAB);
    let mut command = world.shell(shell, &script);
    let own = file["variables"].as_object().expect("variables");
    command.envs(own.iter().map(|(name, value)| (name, text(value)))).envs(variables.iter().copied());
    output(&mut command)
}

#[test]
fn the_pipeline_publishes_and_signs_what_the_lock_says() {
    let world = World::new();
    let key = world.keys.path().join("sign.key").display().to_string();
    let (host, digest) = (world.target.host(), World::digest());
    let image = format!("{host}/ann/churn");
    let login = [("CI_REGISTRY", host.as_str()), ("CI_REGISTRY_USER", USER), ("CI_REGISTRY_PASSWORD", PASSWORD)];
    let variables = [&login[..], &[("CI_REGISTRY_IMAGE", &image), ("IMAGE_SIGN_KEY", &key)]].concat();
    // Images without bash run the script with whatever `sh` is.
    for shell in ["bash", "sh"] {
        let answer = gitlab_job(&world, shell, "publish", &variables);
        assert!(answer.status.success(), "{shell}: {}", said(&answer));
        let reference = format!("{image}:1.0@{digest}");
        assert_eq!(world.forge.read("image.env"), format!("IMAGE_REFERENCE={reference}\nIMAGE_DIGEST={digest}\n"));
        let published: Value = serde_json::from_str(&world.forge.read("image.json")).expect("JSON");
        assert_eq!(published["images"][0]["reference"], reference);
        world.assert_signed(&reference);
        world.assert_discreet(&said(&answer));
    }
}

#[test]
fn the_pipeline_builds_merge_requests_and_pushes_nothing() {
    let world = World::new();
    let answer = gitlab_job(&world, "bash", "check", &[]);
    assert!(answer.status.success(), "{}", said(&answer));
    assert!(world.is_empty());
    world.outdate();
    for job in ["check", "publish"] {
        assert_eq!(gitlab_job(&world, "bash", job, &[]).status.code(), Some(1), "{job}");
    }
    assert!(world.is_empty());
}
