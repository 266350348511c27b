//! The program's manners: exit codes, what goes to which stream, and the words of its refusals.
//!
//! Nothing here needs a network but the two tests that say so by making a lock.

use std::fs;

use serde_json::{Value, json};

use crate::support::files_below;
use crate::support::forge::{Forge, standard_output};
use crate::support::quickstart::quickstart;
use crate::support::registry::RegistryServer;

/// Exit code, standard output and standard error of `imgforge ARGUMENTS`.
fn imgforge(forge: &Forge, arguments: &[&str]) -> (i32, String, String) {
    let output = forge.imgforge().args(arguments).output().expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_platform_that_the_spec_is_not_for_is_refused_before_any_work() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\ntargets: [cpu]\npackages: [idna]\n");
    let refused = |platform: &str| imgforge(&forge, &["build", "spec.yaml", "--offline", "--platform", platform]);
    let (code, stdout, stderr) = refused("linux/riscv64");
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @r"
    error: the spec makes no image for `linux/riscv64`
    help: it makes images for `linux/amd64`
    help: `linux/riscv64` is not a platform imgforge makes images for: expected `linux/amd64` or `linux/arm64`
    ");
    let (code, stdout, stderr) = refused("linux/arm64");
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @r"
    error: the spec makes no image for `linux/arm64`
    help: it makes images for `linux/amd64`
    help: to have it as well, add it under `platforms:`
    ");
}

#[test]
fn an_unknown_key_is_pointed_at() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\ntargets: [cpu]\npakages: [pandas]\n");
    for command in [&["build", "spec.yaml"][..], &["resolve", "spec.yaml", "--format", "json"], &["lock", "spec.yaml"]]
    {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (2, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(stderr, @r#"
            error: unknown key `pakages`
             --> spec.yaml:3:1
              |
            3 | pakages: [pandas]
              | ^^^^^^^
            help: did you mean `packages`?
            help: the keys here are `name`, `targets`, `platforms`, `python`, `frameworks`, `packages`, `indexes`, `system`, `cuda`, `cudnn`, `os`, `base`, `image`, `files`, `env`, `workdir`, `user`, `entrypoint`, `command`, `run`, `compile`, `services`
            "#);
        }
    }
    assert_eq!(files_below(&forge.path("")).len(), 1, "nothing was written");
}

#[test]
fn broken_yaml_is_pointed_at() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\npackages: [pandas\nenv: {A: 1}\n");
    let (code, stdout, stderr) = imgforge(&forge, &["resolve", "spec.yaml"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @r#"
    error: not valid YAML: illegal placement of ':' indicator
     --> spec.yaml:3:4
      |
    3 | env: {A: 1}
      |    ^
    "#);
}

#[test]
fn a_conflict_is_an_answer() {
    let forge = Forge::new();
    forge
        .write("spec.yaml", "name: churn\ntargets: [{gpu: T4}]\npython: \"3.13\"\nframeworks:\n  pytorch: \"2.1.0\"\n");
    let (code, stdout, stderr) = imgforge(&forge, &["resolve", "spec.yaml", "--format", "json"]);
    assert_eq!(code, 1);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON alone");
    assert_eq!(answer["status"], "conflict");
    let reason = &answer["reasons"][0];
    assert_eq!((&reason["code"], &reason["spec_line"]), (&json!("no_wheel_for_python"), &json!(3)));
    assert_eq!(reason["fact"], "pytorch 2.1.0 (cu121) has wheels for Python 3.8 to 3.11");
    assert!(reason["source"].as_str().is_some_and(|source| !source.is_empty()));
    assert!(answer["help"].as_array().is_some_and(|help| !help.is_empty()));
    let located = "error: no environment meets this spec: pytorch 2.1.0 (cu121) has wheels for Python 3.8 to 3.11\n \
                   --> spec.yaml:3:9\n  |\n3 | python: \"3.13\"\n  |         ^^^^^^\n";
    assert!(stderr.starts_with(located), "{stderr}");

    let (code, stdout, prose) = imgforge(&forge, &["resolve", "spec.yaml"]);
    assert_eq!((code, stdout.as_str()), (1, ""), "an answer in prose goes to stderr, like every failure");
    assert_eq!(prose, stderr);
    let (code, stdout, _) = imgforge(&forge, &["lock", "spec.yaml", "--format", "json", "--offline"]);
    assert_eq!(code, 1);
    assert_eq!(serde_json::from_str::<Value>(&stdout).expect("JSON alone"), answer, "the lock finds the same");
    assert!(!forge.path("imgforge.lock").exists());
}

#[test]
fn a_conflict_of_many_targets_fits_a_screen() {
    let forge = Forge::new();
    let spec = "name: churn\ntargets: [{gpu: V100}, {gpu: B200}, {gpu: P100}]\nframeworks: {pytorch: \">=2.12\"}\n";
    forge.write("spec.yaml", spec);
    let (code, stdout, stderr) = imgforge(&forge, &["resolve", "spec.yaml", "--format", "json"]);
    assert_eq!(code, 1);
    let rows: usize = stderr.lines().map(|line| line.chars().count().div_ceil(110).max(1)).sum();
    assert!(rows <= 24, "{rows} rows:\n{stderr}");
    for target in ["V100", "B200", "P100"] {
        let told = stderr.lines().filter(|line| line.starts_with(&format!("note: `{target}` ("))).count();
        assert_eq!(told, 1, "{target}: {stderr}");
    }
    let answer: Value = serde_json::from_str(&stdout).expect("JSON alone");
    let codes: Vec<&Value> =
        answer["reasons"].as_array().expect("reasons").iter().map(|reason| &reason["code"]).collect();
    for code in ["cc_not_supported", "cc_removed_from_toolkit"] {
        assert!(codes.contains(&&json!(code)), "{code}: {answer:#}");
    }
    let split = answer["help"][0].as_str().expect("help");
    assert!(split.starts_with("split it into 2 specs: `V100` and `P100` with pytorch 2."), "{split}");
    assert!(split.contains("; `B200` with pytorch 2."), "{split}");
}

#[test]
fn a_pair_of_changes_is_offered_where_no_single_one_helps() {
    let forge = Forge::new();
    forge.write(
        "spec.yaml",
        "name: churn\ntargets: [{gpu: T4}]\nbase: debian\npython: \"3.12\"\ncuda: \"11.8\"\n\
         frameworks: {pytorch: {version: \"2.9.0\", build: cu128}}\n",
    );
    let (code, stdout, _) = imgforge(&forge, &["resolve", "spec.yaml", "--format", "json"]);
    assert_eq!(code, 1);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON alone");
    let help: Vec<&str> = answer["help"].as_array().expect("help").iter().filter_map(Value::as_str).collect();
    assert!(help.iter().any(|line| line.contains("without `cuda: \"11.8\"`")), "{help:?}");
    assert!(help.iter().all(|line| line.contains(" and ")), "{help:?}");
}

#[test]
fn explain_says_what_holds_a_version_back_and_what_frees_it() {
    let forge = Forge::new();
    forge.write(
        "spec.yaml",
        "name: churn\ntargets: [{gpu: T4}]\nframeworks:\n  pytorch: {version: \">=2.4,<2.6\", with: [torchvision]}\n",
    );
    let (code, stdout, stderr) = imgforge(&forge, &["explain", "spec.yaml", "--format", "json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let answer: Value = serde_json::from_str(&stdout).expect("JSON alone");
    let subjects: Vec<&Value> =
        answer["explanations"].as_array().expect("explanations").iter().map(|one| &one["subject"]).collect();
    assert_eq!(subjects, ["python", "torch", "torchvision", "cuda", "cudnn", "driver", "base"]);

    for name in ["torch", "pytorch", "PyTorch"] {
        let (code, stdout, _) = imgforge(&forge, &["explain", "spec.yaml", name, "--format", "json"]);
        assert_eq!(code, 0);
        let torch: Value = serde_json::from_str(&stdout).expect("JSON alone");
        assert_eq!((&torch["value"], &torch["details"]["build"]), (&json!("2.5.1 (cu124)"), &json!("cu124")));
        assert_eq!(torch["chosen_by"][0]["spec_line"], 4);
        let held = &torch["held_back"][0];
        assert_eq!(
            (&held["value"], &held["code"], &held["spec_line"]),
            (&json!("2.6.0"), &json!("pin_conflict"), &json!(4))
        );
        let freed = torch["freed_by"][0].as_str().expect("a change");
        assert!(freed.starts_with("2.6.0: without that line there is an answer: pytorch 2.6.0 ("), "{freed}");
    }
    let (code, text, _) = imgforge(&forge, &["explain", "spec.yaml", "driver"]);
    assert_eq!(code, 0);
    assert!(text.starts_with("driver 525.60.13 or newer\n  chosen because\n"), "{text}");
}

#[test]
fn explain_makes_do_with_the_lock_where_the_index_cannot_be_asked() {
    let forge = Forge::new();
    forge.locked_quickstart();
    let explain = |name: &str, code: i32| {
        let mut explain = forge.imgforge();
        explain.args(["explain", "spec.yaml", name, "--offline"]).env("IMGFORGE_CACHE", forge.path("cache"));
        let output = explain.assert().code(code).get_output().clone();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    };
    let (told, _) = explain("pandas", 0);
    assert!(told.starts_with("pandas "), "{told}");
    assert!(told.contains("the index cannot be asked: ") && told.contains("`--offline` forbids fetching it"), "{told}");
    let (told, said) = explain("pandsa", 1);
    assert_eq!(told, "");
    assert!(
        said.starts_with("error: the environment of `quickstart` has no `pandsa`\nhelp: did you mean `pandas`?\n"),
        "{said}"
    );
}

#[test]
fn diff_tells_versions_and_bytes() {
    let forge = Forge::new();
    forge.locked_quickstart();
    let path = forge.path("imgforge.lock");
    let mut lock = imgforge::lock::Lock::read(&path).expect("readable").expect("a lock");
    let (code, stdout, stderr) = imgforge(&forge, &["diff", "spec.yaml", "imgforge.lock", "--exit-code"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "no difference\n", ""));

    let wheels = &mut lock.platforms[0].wheels;
    let digest = imgforge::oci::Digest::of(b"another file");
    let position = wheels.iter().position(|wheel| wheel.name == "pandas").expect("pandas");
    let before = wheels[position].version.clone();
    wheels[position] =
        imgforge::lock::LockedWheel { version: "0.1".to_owned(), size: 7, digest, ..wheels[position].clone() };
    let removed = wheels.remove(usize::from(position == 0));
    lock.image.env.insert("OMP_NUM_THREADS".to_owned(), "4".to_owned());
    fs::create_dir(forge.path("other")).expect("a folder");
    lock.write(&forge.path("other/imgforge.lock")).expect("a lock");

    let (code, stdout, _) = imgforge(&forge, &["diff", ".", "other", "--format", "json"]);
    assert_eq!(code, 0, "a difference is no failure unless asked for");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON alone");
    assert_eq!(answer["status"], "different");
    assert_eq!(answer["image"], json!([{"name": "env.OMP_NUM_THREADS", "before": null, "after": "4"}]));
    assert_eq!(answer["bytes"]["new"], 7);
    let changes: Vec<(&str, &str)> = answer["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| (package["name"].as_str().expect("a name"), package["change"].as_str().expect("a change")))
        .collect();
    let mut expected = vec![("pandas", "down"), (removed.name.as_str(), "removed")];
    expected.sort_unstable();
    assert_eq!(changes, expected);

    let (code, text, _) = imgforge(&forge, &["diff", "imgforge.lock", "other/imgforge.lock", "--exit-code"]);
    assert_eq!(code, 1);
    assert!(text.contains(&format!("{before} -> 0.1")), "{text}");
    assert!(text.contains("packages: 1 removed, 1 older\n"), "{text}");
}

#[test]
fn diff_refuses_what_it_cannot_compare() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\n");
    let (code, _, stderr) = imgforge(&forge, &["diff", "spec.yaml", "spec.yaml"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(stderr, @r"
    error: there is no lock at `imgforge.lock`
    help: run `imgforge lock spec.yaml` first
    ");
    let (code, _, stderr) = imgforge(&forge, &["diff", "nowhere.lock", "spec.yaml"]);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: there is no file or folder `nowhere.lock`\n"), "{stderr}");
}

#[test]
fn without_a_lock_the_answer_is_no() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\npackages: [six]\n");
    for command in [
        &["build", "spec.yaml", "--locked"][..],
        &["lock", "--check", "spec.yaml"],
        &["render", "spec.yaml"],
        &["push", "spec.yaml", "--repository", "localhost:1/churn"],
    ] {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (1, ""), "{command:?}");
        assert!(
            stderr.starts_with("error: there is no lock at `imgforge.lock`\nhelp: run `imgforge lock SPEC`"),
            "{stderr}"
        );
    }
    assert!(!forge.path("generated").exists());
}

#[test]
fn a_stale_lock_is_refused_where_it_must_hold() {
    let forge = Forge::new();
    forge.locked_quickstart();
    let spec = forge.read("spec.yaml");
    let before = forge.read("imgforge.lock");
    // A comment is no change of meaning.
    forge.write("spec.yaml", format!("# first of all\n{spec}"));
    let (code, stdout, _) = imgforge(&forge, &["lock", "--check", "spec.yaml"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("sha256:"), "{stdout}");
    forge.write("spec.yaml", spec.replace("  - pandas\n", "  - pandas<3\n"));
    for command in
        [&["build", "spec.yaml", "--locked"][..], &["lock", "--check", "spec.yaml"], &["render", "spec.yaml"]]
    {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (1, ""), "{command:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(stderr, @r#"
            error: the lock `imgforge.lock` is stale: the spec has changed since
            help: run `imgforge lock SPEC`; a `build` without `--locked` does it by itself
            "#);
        }
    }
    assert_eq!(forge.read("imgforge.lock"), before);
}

#[test]
fn a_lock_of_older_layers_says_so_and_keeps_what_it_locks() {
    let forge = Forge::new();
    forge.locked_quickstart();
    let lock: toml::Table = forge.read("imgforge.lock").parse().expect("a lock");
    let format = lock["layer_format"].as_integer().expect("a number");
    let line = |format: i64| format!("layer_format = {format}\n");
    let older = forge.read("imgforge.lock").replace(&line(format), &line(1));
    forge.write("imgforge.lock", &older);
    for command in [&["build", "spec.yaml", "--locked"][..], &["lock", "--check", "spec.yaml"]] {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (1, ""), "{command:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(stderr.replace(&format!("format {format}"), "format NEW"), @r"
            error: the lock `imgforge.lock` is stale: its layers are of format 1, and this program makes format NEW
            help: run `imgforge lock SPEC`, which keeps what is locked; a `build` without `--locked` does it by itself
            help: images that exist stay as they are; new ones have layers with other digests
            ");
        }
    }
    assert_eq!(imgforge(&forge, &["lock", "spec.yaml"]).0, 0);
    let anew: toml::Table = forge.read("imgforge.lock").parse().expect("a lock");
    assert_eq!(anew["layer_format"], lock["layer_format"]);
    assert_eq!(anew["platform"], lock["platform"]);
}

#[test]
fn what_somebody_else_wrote_is_not_replaced() {
    let forge = Forge::new();
    forge.locked_quickstart();
    forge.write("Dockerfile", "FROM scratch\n");
    forge.write(".gitignore", "*.pyc\n");
    let lock = forge.read("imgforge.lock");
    fs::remove_file(forge.path("imgforge.lock")).expect("the lock");
    let refuse = |command: &[&str]| {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (2, ""), "{command:?}");
        stderr
    };
    insta::assert_snapshot!(refuse(&["build", "spec.yaml", "--output", "."]), @r"
    error: `./.gitignore`, `./Dockerfile` were not written by imgforge, and would be replaced
    help: name an empty folder with `--output`, or move what is there away
    ");
    assert!(!forge.path("imgforge.lock").exists(), "it was resolved first");
    forge.write("imgforge.lock", lock);
    fs::remove_file(forge.path(".gitignore")).expect("the file");
    insta::assert_snapshot!(refuse(&["render", "spec.yaml", "--output", "."]), @r"
    error: `./Dockerfile` was not written by imgforge, and would be replaced
    help: name an empty folder with `--output`, or move what is there away
    ");
    assert_eq!(forge.read("Dockerfile"), "FROM scratch\n");
    assert!(!forge.path("compose.yaml").exists());

    fs::remove_file(forge.path("Dockerfile")).expect("the file");
    forge.write("oci/index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
    let foreign = "error: `./oci` holds an image that imgforge did not make, and would be replaced\n\
                   help: name another folder with `--output`, or move the image away\n";
    assert_eq!(refuse(&["build", "spec.yaml", "--output", "."]), foreign);
    let push = ["push", "spec.yaml", "--repository", "localhost:1/churn", "--output", "."];
    assert_eq!(refuse(&push), foreign);
    // Rendered files leave an image alone; after that the folder is a build's.
    let (code, ..) = imgforge(&forge, &["render", "spec.yaml", "--output", "."]);
    assert_eq!(code, 0);
}

#[test]
fn a_damaged_lock_is_not_taken_for_a_missing_one() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\n");
    forge.write("imgforge.lock", "format = 1\n<<<<<<< ours\n");
    let (code, stdout, stderr) = imgforge(&forge, &["build", "spec.yaml"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @r#"
    error: `imgforge.lock` is not a lock this program can read: key with no value, expected `=`
     --> imgforge.lock:2:9
      |
    2 | <<<<<<< ours
      |         ^
    help: it is made by a program: remove `imgforge.lock` and lock again
    "#);
}

#[test]
fn offline_says_what_is_missing() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\npython: \"3.13\"\npackages: [six]\n");
    let mut build = forge.imgforge();
    build.args(["build", "spec.yaml", "--offline"]).env("IMGFORGE_CACHE", forge.path("cache"));
    build.env("IMGFORGE_DEBIAN_MIRROR", "https://mirror.example.com/debian");
    let output = build.assert().code(2).get_output().clone();
    assert_eq!(output.stdout, b"");
    insta::assert_snapshot!(String::from_utf8(output.stderr).expect("UTF-8"), @r#"
    error: https://mirror.example.com/debian/dists/trixie/InRelease is not in the cache, and `--offline` forbids fetching it
    help: run once without `--offline`
    "#);
    assert!(!forge.path("imgforge.lock").exists());

    let example = quickstart();
    let mut build = example.imgforge();
    build.args(["build", "spec.yaml", "--locked", "--offline", "--output"]).arg(forge.path("output"));
    build.env("IMGFORGE_CACHE", forge.path("cache"));
    let output = build.assert().code(2).get_output().clone();
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("is not in the cache, and `--offline` forbids fetching it\n"), "{said}");
    assert!(!forge.path("output/oci/index.json").exists());
}

#[test]
fn a_registry_that_wants_a_password_says_how_to_give_it() {
    let example = quickstart();
    let registry = RegistryServer::secure("ann", "secret");
    let forge = Forge::new();
    let push = |login: &std::path::Path| {
        let mut push = example.imgforge();
        push.args(["push", "spec.yaml", "--repository", &format!("{}/ml/churn", registry.host())]);
        push.env("IMGFORGE_CA_FILE", registry.ca_file()).env("DOCKER_CONFIG", login);
        push.assert().code(2).get_output().clone()
    };
    let output = push(&forge.home());
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).expect("UTF-8").replace(&registry.host(), "HOST");
    insta::assert_snapshot!(said.split_once("error: ").expect("an error").1, @r#"
    cannot look for a blob in `HOST/ml/churn`: access denied without credentials
    help: log in with `docker login HOST` (or `podman login HOST`)
    "#);

    let output = push(&registry.docker_config("ann", "guess"));
    let said = String::from_utf8(output.stderr).expect("UTF-8").replace(&registry.host(), "HOST");
    insta::assert_snapshot!(said.split_once("error: ").expect("an error").1, @r#"
    cannot look for a blob in `HOST/ml/churn`: access denied for user `ann`
    help: check that `ann` may do this, or log in anew with `docker login HOST`
    "#);
}

#[test]
fn pushing_needs_a_place_to_push_to() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\n");
    let (code, stdout, stderr) = imgforge(&forge, &["build", "spec.yaml", "--push"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @r#"
    error: the spec names no repository to push to
    help: add `image: {repository: HOST/NAME}` to the spec, or give `--repository HOST/NAME`
    "#);
    let (code, _, stderr) = imgforge(&forge, &["build", "spec.yaml", "--push", "--repository", "Not A Place"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(stderr, @r#"
    error: `Not A Place` is not a repository: a repository takes only lower-case letters, and `Not A Place` has others
    help: write it like `registry.example.com/ml/churn`, without a tag, in lower case
    "#);
}

#[test]
fn usage_errors_are_exit_code_2() {
    let forge = Forge::new();
    for command in [
        &["frobnicate"][..],
        &["build"],
        &["build", "missing.yaml"],
        &["resolve", "spec.yaml", "--format", "xml"],
        &["lock", "spec.yaml", "--check", "--upgrade"],
        &["catalog", "list", "nonsense"],
    ] {
        let (code, stdout, stderr) = imgforge(&forge, command);
        assert_eq!((code, stdout.as_str()), (2, ""), "{command:?}");
        assert!(stderr.starts_with("error: "), "{command:?}: {stderr}");
    }
    let (code, stdout, stderr) = imgforge(&forge, &["--version"]);
    assert_eq!((code, stdout, stderr), (0, format!("imgforge {}\n", env!("CARGO_PKG_VERSION")), String::new()));
}

#[test]
fn colours_come_when_asked_for() {
    let forge = Forge::new();
    forge.write("spec.yaml", "nmae: churn\n");
    let colours = |arguments: &[&str]| {
        let mut command = forge.imgforge();
        command.env_remove("NO_COLOR").args(["resolve", "spec.yaml"]).args(arguments);
        command.assert().code(2).get_output().stderr.contains(&0x1b)
    };
    assert!(!colours(&[]), "a pipe is no terminal");
    assert!(!colours(&["--color", "never"]));
    assert!(colours(&["--color", "always"]));
}

#[test]
fn the_catalog_answers() {
    let forge = Forge::new();
    let (code, listed, stderr) = imgforge(&forge, &["catalog", "list", "gpus", "--format", "json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert!(listed.to_string().contains("\"T4\"") && listed.to_string().contains("\"MI300X\""), "{listed}");
    for kind in ["gpus", "instances", "cuda", "frameworks", "pythons", "bases", "services", "rules"] {
        let text = standard_output(forge.imgforge().args(["catalog", "list", kind]));
        assert!(text.lines().count() > 2, "{kind}: {text}");
    }
    let card = standard_output(forge.imgforge().args(["catalog", "show", "gpu", "T4"]));
    let field = |name: &str| card.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!((field("compute capability"), field("memory gb")), (Some("7.5"), Some("16")));
    assert!(field("source").is_some(), "{card}");
    let (code, stdout, stderr) = imgforge(&forge, &["catalog", "show", "gpu", "T5"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    insta::assert_snapshot!(stderr, @r#"
    error: the catalog has no card `T5`
    help: did you mean `T4`?
    "#);
    let (code, stdout, stderr) = imgforge(&forge, &["catalog", "check"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "the catalog is consistent\n"));
    let (_, quiet, stderr) = imgforge(&forge, &["catalog", "check", "--quiet"]);
    assert_eq!((quiet.as_str(), stderr.as_str()), ("", ""));
}

#[test]
fn an_overlay_is_checked_with_the_catalog() {
    let forge = Forge::new();
    fs::create_dir(forge.path("overlay")).expect("a folder");
    forge.write("overlay/nonsense.yaml", "- {name: no such kind of file}\n");
    let (code, stdout, stderr) = imgforge(&forge, &["catalog", "check", "--catalog", "overlay"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains("nonsense.yaml"), "{stderr}");
}

#[test]
fn the_schema_knows_every_key() {
    let forge = Forge::new();
    let schema: Value = serde_json::from_str(&standard_output(forge.imgforge().arg("schema"))).expect("JSON");
    let mut keys: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
    keys.sort();
    let expected = "base command compile cuda cudnn entrypoint env files frameworks image indexes name os packages platforms python run \
                    services system targets user workdir";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn completions_name_the_commands() {
    let forge = Forge::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = standard_output(forge.imgforge().args(["completions", shell]));
        for command in ["build", "resolve", "explain", "diff", "catalog", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    // The shell itself takes it.
    let script = forge.write("completion.bash", standard_output(forge.imgforge().args(["completions", "bash"])));
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", "source \"$0\" && complete -p imgforge"]).arg(script);
    assert!(crate::support::run(&mut bash).contains("-F _imgforge"));
}

#[test]
fn pruning_removes_only_what_the_cache_wrote() {
    let forge = Forge::new();
    let cache = forge.write("cache/blobs/sha256/00/11", "bytes").ancestors().nth(4).expect("the cache").to_owned();
    forge.write("cache/mine.txt", "a user's");
    let run = |arguments: &[&str]| standard_output(forge.imgforge().args(arguments).env("IMGFORGE_CACHE", &cache));
    assert_eq!(run(&["cache", "dir"]), cache.display().to_string());
    assert_eq!(run(&["cache", "prune"]), "");
    assert_eq!(files_below(&cache).keys().collect::<Vec<_>>(), ["mine.txt"]);
}
