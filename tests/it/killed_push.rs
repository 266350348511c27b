//! A push that is killed at any moment: the tag names the old image or the new one, whole in both cases, and the next push
//! completes what the killed one began. A hundred kills, in two tests that run side by side.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imgforge::http;
use imgforge::oci::{Digest, Reference};
use imgforge::registry::{Blob, BytesSource, Config, Meter, Registries};
use serde_json::{Value, json};

use crate::support::forge::Forge;
use crate::support::invented::mirror;
use crate::support::registry::RegistryServer;
use crate::support::witness::Witness;
use crate::support::{copy_folder, numbers, repository, run};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const TAGS: [&str; 2] = ["1.0", "latest"];
/// Kills in one repository before a push may complete.
const KILLS_IN_A_ROW: usize = 5;

/// A project with images for two platforms, built, so that a push has nothing to do but to push.
struct Project {
    forge: Forge,
    digest: Digest,
    mirrors: String,
    registries: Registries,
    _mirror: RegistryServer,
}

impl Project {
    fn new() -> Self {
        let (forge, server) = (Forge::new(), RegistryServer::plain());
        copy_folder(&repository().join("tests/cases/golden/project"), &forge.path(""));
        // Large enough that a kill may come in its midst, and nothing that a compressor could make small.
        let data: Vec<u8> = numbers(256).take(2_000_000).map(|number| number as u8).collect();
        forge.write("src/data", data);
        let mirrors = mirror(&server);
        let mut build = forge.program();
        build.args(["build", "spec.yaml", "--locked"]).env("IMGFORGE_REGISTRY_MIRRORS", &mirrors);
        let digest = run(&mut build).parse().expect("a digest");
        let config = Config { docker_config: Some(forge.home()), ..Config::default() };
        let registries = Registries::new(http::Client::new(&http::Options::default()).expect("a client"), config);
        Self { forge, digest, mirrors, registries, _mirror: server }
    }

    fn push(&self, repository: &str) -> Command {
        let mut push = self.forge.program();
        push.args(["push", "spec.yaml", "--repository", repository]).env("IMGFORGE_REGISTRY_MIRRORS", &self.mirrors);
        push.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        push
    }

    /// Sets the tags to an earlier image.
    fn publish_old(&self, repository: &str) -> Digest {
        let source = BytesSource(b"{}".as_slice().into());
        let config = Blob { digest: Digest::of(b"{}"), size: 2, source: &source };
        let reference = |tag: &str| format!("{repository}:{tag}").parse::<Reference>().expect("a reference");
        self.registries.push_blob(&reference("old"), config, &[], &Meter::new(|_| {})).expect("a blob");
        let config_type = "application/vnd.oci.image.config.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": [],
            "config": {"mediaType": config_type, "digest": config.digest, "size": config.size},
        });
        let manifest = manifest.to_string().into_bytes();
        for tag in TAGS {
            self.registries.push_manifest(&reference(tag), MANIFEST_TYPE, &manifest).expect("a manifest");
        }
        Digest::of(&manifest)
    }

    /// The images that the tags name; each is whole, and there are no others than these.
    #[track_caller]
    fn tagged(&self, repository: &str, allowed: &[Digest]) -> BTreeSet<Digest> {
        TAGS.map(|tag| {
            let reference = format!("{repository}:{tag}").parse::<Reference>().expect("a reference");
            let manifest = self.registries.manifest(&reference).expect("the tag names something");
            assert!(allowed.contains(&manifest.digest), "{reference} is {}", manifest.digest);
            self.assert_whole(&reference, &manifest.digest);
            manifest.digest
        })
        .into()
    }

    #[track_caller]
    fn assert_whole(&self, repository: &Reference, digest: &Digest) {
        let manifest = self.registries.manifest(&repository.clone_with_digest(digest.to_string()));
        let manifest: Value = serde_json::from_slice(&manifest.expect("a manifest").bytes).expect("JSON");
        let digest = |descriptor: &Value| descriptor["digest"].as_str()?.parse::<Digest>().ok();
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        list("manifests").iter().filter_map(digest).for_each(|inner| self.assert_whole(repository, &inner));
        for blob in list("layers").iter().chain([&manifest["config"]]).filter_map(digest) {
            assert!(self.registries.has_blob(repository, &blob).expect("asked"), "{repository} has no {blob}");
        }
    }

    /// A push that nothing disturbs.
    #[track_caller]
    fn push_whole(&self, repository: &str) {
        let reference = run(self.push(repository).stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert_eq!(reference, format!("{repository}:1.0@{}", self.digest));
    }

    /// The same, into a repository that has had others, with a look at what is there then.
    #[track_caller]
    fn complete(&self, repository: &str) {
        self.push_whole(repository);
        assert_eq!(self.tagged(repository, &[self.digest]), BTreeSet::from([self.digest]));
    }
}

/// Whether it was the kill that ended it.
fn kill(mut child: Child) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    child.kill().expect("killed");
    child.wait().expect("an end").signal() == Some(9)
}

/// Kills pushes until so many were killed. `wait` returns when the time has come for the push of that number. Returns how many
/// left the old image and how many the new one.
fn kill_pushes(
    project: &Project,
    host: &str,
    kills: usize,
    mut wait: impl FnMut(usize, &mut Child),
    mut look: impl FnMut(&str),
) -> (usize, usize) {
    let (mut killed, mut number, mut left_old, mut left_new) = (0, 0, 0, 0);
    while killed < kills {
        let repository = format!("{host}/killed/r{number}");
        for _ in 0..KILLS_IN_A_ROW {
            // The tags go back each time; blobs that came stay.
            let old = project.publish_old(&repository);
            let mut child = project.push(&repository).spawn().expect("the program");
            wait(number, &mut child);
            killed += usize::from(kill(child));
            let tagged = project.tagged(&repository, &[old, project.digest]);
            left_old += usize::from(tagged.contains(&old));
            left_new += usize::from(tagged.contains(&project.digest));
        }
        look(&repository);
        project.complete(&repository);
        look(&repository);
        number += 1;
        assert!(number <= kills, "pushes end before they are killed");
    }
    (left_old, left_new)
}

#[test]
fn no_manifest_comes_before_its_blobs_whenever_a_push_is_killed() {
    let (project, witness) = (Project::new(), Witness::start());
    let first = format!("{}/killed/first", witness.host());
    project.publish_old(&first);
    let before = witness.requests();
    project.push_whole(&first);
    let whole = witness.requests() - before;
    let (mut moments, mut pauses) = (numbers(whole), numbers(3000));
    let wait = |_: usize, child: &mut Child| {
        let moment = witness.requests() + moments.next().expect("a number");
        while witness.requests() < moment && child.try_wait().expect("a state").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(pauses.next().expect("a number")));
    };
    let look = |_: &str| assert_eq!(witness.offences(), Vec::<String>::new());
    let (left_old, left_new) = kill_pushes(&project, witness.host(), 70, wait, look);
    assert!(left_old > 10 && left_new > 3, "{left_old} kills left the old image, {left_new} the new one");
}

#[test]
fn a_registry_on_disk_survives_pushes_that_are_killed() {
    let (project, server) = (Project::new(), RegistryServer::plain());
    let host = server.host();
    project.publish_old(&format!("{host}/killed/first"));
    let started = Instant::now();
    project.push_whole(&format!("{host}/killed/first"));
    let whole = u64::try_from(started.elapsed().as_micros()).expect("a short time");
    let mut moments = numbers(whole);
    let wait = |_: usize, _: &mut Child| {
        std::thread::sleep(Duration::from_micros(moments.next().expect("a number")));
    };
    let look = |repository: &str| {
        // All that anybody can ask for by digest: referrers and their lists as well.
        let name = repository.split_once('/').expect("a host").1;
        let folder = server.data().join("docker/registry/v2/repositories").join(name);
        let revisions = fs::read_dir(folder.join("_manifests/revisions/sha256")).expect("manifests");
        let repository: Reference = repository.parse().expect("a reference");
        for revision in revisions {
            let hex = revision.expect("an entry").file_name().into_string().expect("UTF-8");
            project.assert_whole(&repository, &format!("sha256:{hex}").parse().expect("a digest"));
        }
    };
    kill_pushes(&project, &host, 30, wait, look);
}
