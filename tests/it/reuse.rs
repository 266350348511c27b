//! A machine with an empty cache, and the image that another one published: what is there is neither made nor brought.

use std::fs;

use imgforge::lock::Lock;
use imgforge::oci::Digest;
use imgforge::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;

const SPEC: &str = "name: shared\npython: \"3.13\"\npackages: [numpy, six]\nfiles: [{from: src, to: /srv/app}]\n";

struct Machine {
    forge: Forge,
    cache: TempDir,
}

impl Machine {
    /// A checkout on a machine that has built nothing yet.
    fn new(program: &str, lock: Option<&str>) -> Self {
        let forge = Forge::new();
        forge.write("spec.yaml", SPEC);
        forge.write("src/main.py", program);
        if let Some(lock) = lock {
            forge.write("imgforge.lock", lock);
        }
        Self { forge, cache: TempDir::with_prefix("imgforge-cache-").expect("a temporary folder") }
    }

    fn push(&self, server: &RegistryServer, arguments: &[&str]) -> Value {
        self.push_to(&format!("{}/ml/shared", server.host()), arguments)
    }

    fn push_to(&self, repository: &str, arguments: &[&str]) -> Value {
        let mut command = self.forge.imgforge();
        command.args(["build", "spec.yaml", "--push", "--format", "json", "--repository", repository]).args(arguments);
        command.env("IMGFORGE_CACHE", self.cache.path());
        serde_json::from_str(&standard_output(&mut command)).expect("JSON")
    }

    /// How many of the lock's wheels and packages the cache has.
    fn brought(&self) -> (usize, usize) {
        let lock = Lock::read(&self.forge.path("imgforge.lock")).expect("readable").expect("a lock");
        let store = Store::open(self.cache.path());
        let has = |digest: &Digest| store.blob(digest).is_some();
        let platform = &lock.platforms[0];
        let wheels = platform.wheels.iter().filter(|wheel| has(&wheel.digest)).count();
        (wheels, platform.debs.iter().filter(|deb| has(&deb.digest)).count())
    }
}

fn digests(answer: &Value) -> Vec<Value> {
    let layers = answer["images"][0]["layers"].as_array().expect("layers");
    layers.iter().map(|layer| layer["digest"].clone()).collect()
}

#[test]
fn a_fresh_machine_makes_only_what_the_registry_lacks() {
    let server = RegistryServer::plain();
    let first = Machine::new("print(1)\n", None);
    let published = first.push(&server, &[]);
    let (wheels, debs) = first.brought();
    assert!(wheels == 2 && debs > 20, "{wheels} wheels, {debs} packages");
    // Its layers went to the registry while they were made.
    assert_eq!(published["images"][0]["layout"], Value::Null);
    let lock = first.forge.read("imgforge.lock");

    // Nothing changed: the same image, and nothing was brought for it but the config that says which layers it has.
    let second = Machine::new("print(1)\n", Some(&lock));
    let again = second.push(&server, &[]);
    assert_eq!(again["images"][0]["digest"], published["images"][0]["digest"]);
    assert_eq!(again["images"][0]["layout"], Value::Null);
    assert_eq!(second.brought(), (0, 0));
    assert!(!second.forge.path("generated/shared/oci/index.json").exists());

    // Another program: one layer is made, for which no wheel is needed, nor the base that knows the user's number.
    let third = Machine::new("print(3)\n", Some(&lock));
    let changed = third.push(&server, &[]);
    assert_eq!(third.brought(), (0, 0));
    let differing = digests(&changed).iter().zip(digests(&published)).filter(|(one, other)| *one != other).count();
    assert_eq!((differing, digests(&changed).len()), (1, digests(&published).len()));

    // Made in full, by a machine that takes nothing from there, it is the same image.
    let fourth = Machine::new("print(3)\n", Some(&lock));
    let made = fourth.push(&server, &["--no-reuse"]);
    assert_eq!(made["images"][0]["digest"], changed["images"][0]["digest"]);
    assert_eq!(fourth.brought(), (wheels, debs));
}

#[test]
fn a_layer_that_was_made_once_is_looked_for_before_it_is_made_again() {
    let server = RegistryServer::plain();
    let machine = Machine::new("print(1)\n", None);
    let published = machine.push(&server, &[]);
    // The layout and the wheels are gone, and the tag leads elsewhere; what is remembered of the layers is enough.
    fs::remove_dir_all(machine.forge.path("generated")).expect("removed");
    fs::remove_dir_all(machine.cache.path().join("blobs")).expect("removed");
    machine.forge.write("spec.yaml", format!("{SPEC}image: {{tags: [other]}}\n"));
    let again = machine.push(&server, &[]);
    assert_eq!(digests(&again), digests(&published));
    assert_eq!(machine.brought(), (0, 0));
}

#[test]
fn a_layer_that_another_repository_got_is_taken_from_there() {
    let server = RegistryServer::plain();
    let machine = Machine::new("print(1)\n", None);
    let published = machine.push(&server, &[]);
    fs::remove_dir_all(machine.forge.path("generated")).expect("removed");
    fs::remove_dir_all(machine.cache.path().join("blobs")).expect("removed");
    let neighbour = format!("{}/ml/neighbour", server.host());
    let again = machine.push_to(&neighbour, &[]);
    assert_eq!(digests(&again), digests(&published));
    assert_eq!(machine.brought(), (0, 0));

    // What is remembered may be wrong: the repository is gone. Then the layers are made.
    fs::remove_dir_all(server.data()).expect("removed");
    let third = machine.push_to(&format!("{}/ml/third", server.host()), &[]);
    assert_eq!(digests(&third), digests(&published));
    assert_eq!(machine.brought().0, 2);
}

#[test]
fn a_layer_that_the_registry_lost_is_named_with_the_way_out() {
    let server = RegistryServer::plain();
    let machine = Machine::new("print(1)\n", None);
    let published = machine.push(&server, &[]);
    let wheels = |layer: &&Value| layer["annotations"]["dev.imgforge.layer.kind"] == "wheels";
    let layers = published["images"][0]["layers"].as_array().expect("layers");
    let lost = layers.iter().rev().find(wheels).expect("wheels")["digest"].as_str().expect("a digest").to_owned();
    let hex = lost.strip_prefix("sha256:").expect("sha256");
    let registry = server.data().join("docker/registry/v2");
    fs::remove_dir_all(registry.join("repositories/ml/shared/_layers/sha256").join(hex)).expect("removed");
    fs::remove_dir_all(registry.join("blobs/sha256").join(&hex[..2]).join(hex)).expect("removed");
    machine.forge.write("src/main.py", "print(2)\n");
    let repository = format!("{}/ml/shared", server.host());
    let mut command = machine.forge.imgforge();
    command
        .args(["build", "spec.yaml", "--push", "--repository", &repository])
        .env("IMGFORGE_CACHE", machine.cache.path());
    let output = command.output().expect("it ran");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let said =
        said.split_once("error: ").expect("an error").1.replace(&repository, "REPOSITORY").replace(&lost, "LAYER");
    insta::assert_snapshot!(said, @r"
    an image in `REPOSITORY` names the layer LAYER, and the registry does not have it any more
    help: push with `--no-reuse`, which takes no layer from there and makes every one anew
    ");
    // The tag still leads to the image of before.
    let again = machine.push(&server, &["--no-reuse"]);
    assert!(digests(&again).contains(&Value::from(lost)));
}

#[test]
fn a_lost_layer_that_is_here_is_sent_again() {
    let server = RegistryServer::plain();
    let machine = Machine::new("print(1)\n", None);
    // Its layers are in the layout.
    standard_output(machine.forge.imgforge().args(["build", "spec.yaml"]).env("IMGFORGE_CACHE", machine.cache.path()));
    let published = machine.push(&server, &[]);
    let lost = digests(&published).last().expect("a layer").as_str().expect("a digest").to_owned();
    let hex = lost.strip_prefix("sha256:").expect("sha256");
    let registry = server.data().join("docker/registry/v2");
    fs::remove_dir_all(registry.join("repositories/ml/shared/_layers/sha256").join(hex)).expect("removed");
    fs::remove_dir_all(registry.join("blobs/sha256").join(&hex[..2]).join(hex)).expect("removed");
    let again = machine.push(&server, &[]);
    assert_eq!(digests(&again), digests(&published));
    assert!(registry.join("blobs/sha256").join(&hex[..2]).join(hex).exists(), "it was not sent again");
}
