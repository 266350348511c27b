//! `build` from a spec to a container that runs: what it makes is what the lock says, other tools take it, and a second
//! way to make it, the rendered Dockerfile, gives the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use imgforge::lock::{Lock, LockedDeb, LockedWheel};
use serde_json::Value;

use crate::support::engine::docker;
use crate::support::forge::{Forge, standard_output};
use crate::support::inside::{Inside, inside};
use crate::support::layout::{Layer, Layout};
use crate::support::quickstart::quickstart;
use crate::support::registry::RegistryServer;
use crate::support::{certificates, images, repository, run};

#[test]
fn a_pushed_image_runs_as_it_is() {
    let example = quickstart();
    let registry = RegistryServer::secure("ann", "secret");
    let login = registry.docker_config("ann", "secret");
    let repository = format!("{}/ml/churn", registry.host());
    let push = || {
        let mut command = example.imgforge();
        command.args(["build", "spec.yaml", "--locked", "--push", "--repository", &repository]);
        command.env("IMGFORGE_CA_FILE", registry.ca_file()).env("DOCKER_CONFIG", &login);
        let output = command.assert().success().get_output().clone();
        (String::from_utf8(output.stdout).expect("UTF-8"), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (first, said) = push();
    let digest = example.layout("quickstart").digest;
    assert_eq!(first, format!("{repository}:latest@{digest}\n"));
    assert!(!said.contains(": 0 B sent"), "{said}");

    let (second, said) = push();
    assert_eq!(second, first);
    for name in ["churn", "churn-mlflow"] {
        let line = said.lines().find(|line| line.contains(&format!("pushed `{}/ml/{name}:", registry.host())));
        assert!(line.is_some_and(|line| line.contains(": 0 B sent, ")), "{name}:\n{said}");
    }

    // The tag leads to the same manifest, for a client that trusts the private authority and no other.
    let trust = registry.ca_file().parent().expect("a folder").join("trust");
    fs::create_dir_all(&trust).expect("a folder");
    fs::copy(registry.ca_file(), trust.join("ca.crt")).expect("the authority");
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--format", "{{.Digest}}", "--authfile"]).arg(login.join("config.json"));
    inspect.arg("--cert-dir").arg(trust).arg(format!("docker://{repository}:latest"));
    assert_eq!(run(&mut inspect), digest);

    let reference = first.trim_end();
    run(docker().args(["pull", "--quiet", reference]).env("DOCKER_CONFIG", &login));
    let trained = run(docker().args(["run", "--rm", reference]));
    let last = trained.lines().last().expect("output");
    assert!(last.starts_with("180 customers trained on, 240 scored, roc_auc 0."), "{trained}");
    assert!(last.ends_with(", run untracked"), "{trained}");
    assert_eq!(run(docker().args(["run", "--rm", reference, "id", "-u"])), "1000");
}

#[test]
fn images_hold_exactly_what_is_locked() {
    let example = quickstart();
    let debs = example.lock().platforms[0].debs.clone();
    for image in ["quickstart", "quickstart-mlflow"] {
        let found = inside(&format!("{image}:latest"));
        assert_holds(&found, &example.wheels(image), &debs);
        assert_eq!(found.python, (3, 13, "/opt/venv".to_owned()), "{image}");
        assert!(found.modules > 20 && found.distributions.contains_key("packaging"), "{image}: {found:?}");
    }
    let app = inside("quickstart:latest");
    assert_eq!(app.user, (1000, 1000, "/home/app".to_owned(), "/workspace".to_owned()));
}

/// The image has the locked distributions and Debian packages, whole, and no others.
#[track_caller]
fn assert_holds(found: &Inside, wheels: &[LockedWheel], debs: &[LockedDeb]) {
    assert_eq!(found.distributions, versions(wheels));
    let nothing: [&str; 0] = [];
    assert_eq!(found.unmet, nothing, "requirements that are not met");
    assert_eq!(found.damaged, nothing, "files that differ from their RECORD");
    assert_eq!(found.not_importable, nothing, "modules without a finder");
    assert!(found.authorities > 100, "{} certificate authorities", found.authorities);
    let locked: BTreeSet<String> = debs.iter().map(|deb| format!("{} {} installed", deb.name, deb.version)).collect();
    // `NAME:ARCHITECTURE VERSION STATUS`; the lock names no architecture.
    let installed = |line: &String| {
        let (name, rest) = line.split_once(' ').expect("a version");
        format!("{} {rest}", name.split_once(':').expect("an architecture").0)
    };
    assert_eq!(found.packages.iter().map(installed).collect::<BTreeSet<_>>(), locked);
    assert_eq!(found.packages_damaged, nothing, "what dpkg complains about");
}

fn versions(wheels: &[LockedWheel]) -> BTreeMap<String, String> {
    wheels.iter().map(|wheel| (wheel.name.clone(), wheel.version.clone())).collect()
}

#[test]
fn skopeo_and_umoci_take_the_layout() {
    let example = quickstart();
    let layout = example.layout("quickstart");
    let reference = format!("{}:latest", example.path("generated/quickstart/oci").display());
    let inspected =
        run(Command::new("skopeo").args(["inspect", "--format", "{{.Digest}}"]).arg(format!("oci:{reference}")));
    assert_eq!(inspected, layout.digest);
    assert_eq!(example.answer["images"][0]["digest"], layout.digest.as_str());

    let forge = Forge::new();
    let bundle = forge.path("bundle");
    run(Command::new("umoci").args(["unpack", "--image", &reference]).arg(&bundle));
    let root = bundle.join("rootfs");
    assert_eq!(fs::read_link(root.join("opt/venv/bin/python")).expect("a link"), Path::new("/usr/bin/python3.13"));
    let entry = |path: &str| {
        let metadata = fs::symlink_metadata(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    assert_eq!(entry("workspace"), (1000, 1000, 0o755));
    assert_eq!(entry("workspace/src/train.py"), (1000, 1000, 0o644));
    assert_eq!(entry("home/app"), (1000, 1000, 0o755));
    assert_eq!(entry("tmp"), (0, 0, 0o1777));
    assert_eq!(entry("etc/shadow").0, 0);
    assert_eq!(entry("etc/shadow").2 & 0o007, 0);
    assert_eq!(entry("opt/venv/lib/python3.13/site-packages/pandas/__init__.py"), (0, 0, 0o644));
    assert_eq!(entry("opt/venv/bin/uvicorn"), (0, 0, 0o755));
    for file in ["src/train.py", "data/customers.csv"] {
        let original = fs::read(repository().join("examples/quickstart").join(file)).expect("the example");
        assert_eq!(fs::read(root.join("workspace").join(file)).expect("the copy"), original);
    }
}

#[test]
fn a_new_version_of_one_package_moves_one_layer() {
    let forge = Forge::new();
    let build = |requirement: &str| {
        let packages = format!("[six, idna, numpy, {requirement}]");
        forge.write("spec.yaml", format!("name: pinned\npython: \"3.13\"\npackages: {packages}\n"));
        forge.imgforge().args(["build", "spec.yaml"]).assert().success();
        let lock = Lock::read(&forge.path("imgforge.lock")).expect("a readable lock").expect("a lock");
        (versions(&lock.platforms[0].wheels), Layout::open(&forge.path("generated/pinned/oci")).layers())
    };
    let (newest, before) = build("psycopg2-binary");
    let newer = &newest["psycopg2-binary"];
    let (oldest, after) = build(&format!("\"psycopg2-binary<{newer}\""));
    let older = &oldest["psycopg2-binary"];
    assert_ne!(newer, older);

    let unlike = |one: &[Layer], other: &[Layer]| -> Vec<(String, String)> {
        let moved = one.iter().filter(|layer| !other.contains(layer));
        moved.map(|layer| (layer.kind.clone(), layer.contents.clone())).collect()
    };
    assert_eq!(unlike(&before, &after), [("wheels".to_owned(), format!("psycopg2-binary {newer}"))]);
    assert_eq!(unlike(&after, &before), [("wheels".to_owned(), format!("psycopg2-binary {older}"))]);
    assert_eq!(before.len(), after.len());
}

#[test]
fn the_dockerfile_gives_the_same_environment() {
    images::debian("trixie");
    let example = quickstart();
    let dockerfile = example.path("generated/quickstart");
    // As the comment in the Dockerfile has it.
    let mut build = docker();
    build.args(["build", "--quiet", "--tag", "quickstart-of-dockerfile"]);
    build.arg("--build-context").arg(format!("project={}", example.path("").display()));
    build.arg("--secret").arg(format!("id=ca,src={}", certificates().display()));
    run(build.arg(dockerfile));

    let (assembled, built) = (inside("quickstart:latest"), inside("quickstart-of-dockerfile"));
    assert_eq!(built.distributions, assembled.distributions);
    assert_eq!((&built.python, &built.user), (&assembled.python, &assembled.user));
    assert_eq!((built.unmet, built.not_importable), (assembled.unmet, assembled.not_importable));
    let stat =
        ["stat", "--format=%n %a %U:%G", "/workspace", "/workspace/data", "/workspace/src/train.py", "/opt/venv"];
    let owners = |image: &str| run(docker().args(["run", "--rm", image]).args(stat));
    assert_eq!(owners("quickstart-of-dockerfile"), owners("quickstart:latest"));
    let settings = |image: &str| {
        let mut config: Value =
            serde_json::from_str(&run(docker().args(["image", "inspect", "--format", "{{json .Config}}", image])))
                .expect("JSON");
        // The order of variables says nothing, and the stand-in for the base has a label of its own.
        config["Env"].as_array_mut().expect("variables").sort_by_key(Value::to_string);
        config["Labels"].as_object_mut().expect("labels").retain(|name, _| name != images::RECIPE_LABEL);
        ["Env", "Labels", "Cmd", "Entrypoint", "User", "WorkingDir"].map(|name| config[name].take())
    };
    assert_eq!(settings("quickstart-of-dockerfile"), settings("quickstart:latest"));
}

#[test]
fn an_engine_builds_what_the_daemonless_build_refuses() {
    images::debian("trixie");
    let forge = Forge::new();
    forge.write(
        "spec.yaml",
        "name: stepped\npython: \"3.13\"\npackages: [six]\nimage: {tags: [\"1\", \"2\"]}\nrun: [echo made here > /made]\n",
    );
    let refused = forge.imgforge_with_engine().args(["build", "spec.yaml"]).assert().code(2).get_output().clone();
    assert_eq!(refused.stdout, b"");
    let said = String::from_utf8(refused.stderr).expect("UTF-8");
    insta::assert_snapshot!(said.split_once("error: ").expect("an error").1, @r"
    `run: echo made here > /made` needs an engine: the daemonless build executes nothing
    help: build with `--engine docker` (or `podman`, `buildah`), which runs it in the rendered Dockerfile
    help: or make the result a wheel or a file, and list it under `packages:` or `files:`
    ");
    assert!(!forge.path("generated/stepped/oci/index.json").exists());

    forge.imgforge_with_engine().args(["build", "spec.yaml", "--locked", "--engine", "docker"]).assert().success();
    for tag in ["1", "2"] {
        let image = format!("stepped:{tag}");
        assert_eq!(run(docker().args(["run", "--rm", &image, "cat", "/made"])), "made here");
    }
    let lock = Lock::read(&forge.path("imgforge.lock")).expect("a readable lock").expect("a lock");
    assert_eq!(inside("stepped:1").distributions, versions(&lock.platforms[0].wheels));
}

#[test]
fn a_base_by_reference_is_built_upon() {
    let base = images::python_slim("3.13").alias("library/python", "3.13-slim-trixie");
    let forge = Forge::new();
    forge.write(
        "spec.yaml",
        "name: on-slim\npython: \"3.13\"\nbase: slim\npackages: [six, packaging]\nsystem: [tree]\n",
    );
    let answer =
        standard_output(forge.imgforge_with_engine().args(["build", "spec.yaml", "--load", "--format", "json"]));
    let answer: Value = serde_json::from_str(&answer).expect("JSON");

    let lock = Lock::read(&forge.path("imgforge.lock")).expect("a readable lock").expect("a lock");
    let locked = &lock.platforms[0].base;
    assert_eq!((locked.kind.as_str(), locked.interpreter.as_str()), ("slim", "/usr/local/bin/python3.13"));
    assert_eq!(locked.digest.map(|digest| digest.to_string()), Some(base.digest()));
    let manifest = run(Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}", base.mirrored())));
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    for (position, layer) in manifest["layers"].as_array().expect("layers").iter().enumerate() {
        assert_eq!(answer["images"][0]["layers"][position]["digest"], layer["digest"], "the base's layers come first");
    }

    let found = inside("on-slim:latest");
    assert_eq!(found.distributions, versions(&lock.platforms[0].wheels));
    assert_eq!(found.user.0, 1000);
    assert!(found.authorities > 100, "{} certificate authorities", found.authorities);
    let tree = run(docker().args(["run", "--rm", "on-slim:latest", "tree", "--noreport", "-L", "1", "/opt"]));
    assert_eq!(tree, "/opt\n└── venv");
}

#[test]
fn system_packages_work_on_the_base_of_packages() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: with-git\npython: \"3.13\"\npackages: [six]\nsystem: [git]\n");
    forge.imgforge_with_engine().args(["build", "spec.yaml", "--load"]).assert().success();
    let lock = Lock::read(&forge.path("imgforge.lock")).expect("a readable lock").expect("a lock");
    let git = lock.platforms[0].debs.iter().find(|deb| deb.name == "git").expect("git is locked");
    let upstream = git.version.split_once(':').expect("an epoch").1.split(['-', '+']).next().expect("a version");
    assert_eq!(
        run(docker().args(["run", "--rm", "with-git:latest", "git", "--version"])),
        format!("git version {upstream}")
    );
    // A clone needs what git starts: its own programs, a shell, perl's absence.
    let script = "cd /tmp && git init -q one && cd one && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first \
                  && git clone -q /tmp/one /tmp/two && git -C /tmp/two log --format=%s";
    assert_eq!(run(docker().args(["run", "--rm", "with-git:latest", "sh", "-c", script])), "first");
    assert_holds(&inside("with-git:latest"), &lock.platforms[0].wheels, &lock.platforms[0].debs);
}
