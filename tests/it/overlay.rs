//! The overlay that `catalog/README.md` shows, used as written but for the address of its index, which is in this process.

use std::fs;

use serde_json::Value;

use crate::support::forge::{Forge, standard_output};
use crate::support::index::{digest, serve};
use crate::support::repository;

const SPEC: &str = "name: lab-model\ntargets: [lab/rack-1]\nframeworks:\n  lattice: \"1.0\"\n";
const WHEEL: &str = "acme_lattice-1.0+cu126-py3-none-manylinux_2_28_x86_64.whl";
const NEXT_WHEEL: &str = "acme_lattice-1.1+cu126-cp312-cp312-manylinux_2_28_x86_64.whl";

/// The YAML blocks of the README by the file that their first line names.
fn example(name: &str) -> String {
    let readme = fs::read_to_string(repository().join("catalog/README.md")).expect("the README");
    let block = readme.split("```yaml\n").skip(1).find(|block| block.starts_with(&format!("# lab/{name}\n")));
    block.and_then(|block| block.split("```").next()).expect("a block that names the file").to_owned()
}

fn overlay(index: &str) -> Forge {
    let forge = Forge::new();
    fs::create_dir(forge.path("lab")).expect("a folder");
    forge.write("lab/facts.yaml", example("facts.yaml"));
    forge.write("lab/sources.yaml", example("sources.yaml").replace("https://packages.example.com/", index));
    forge.write("spec.yaml", SPEC);
    forge
}

/// An index of two wheels at `/cu126/simple/`; it ends with the test.
fn index() -> String {
    serve(&[("cu126/simple/acme-lattice", &[WHEEL, NEXT_WHEEL])], "Requires-Python: >=3.11,<3.14\n")
}

#[test]
fn a_new_card_machine_framework_and_index_resolve_and_lock() {
    let forge = overlay(&index());
    let checked = standard_output(forge.imgforge().args(["catalog", "check", "--catalog", "lab"]));
    assert_eq!(checked, "");
    let shown = standard_output(forge.imgforge().args(["catalog", "show", "lab/rack-1", "--catalog", "lab"]));
    assert!(shown.starts_with("instance  lab/rack-1\nplatform  linux/amd64\ncards     8 x X100\n"), "{shown}");
    assert!(shown.contains("\nacme-lattice  1.0"), "{shown}");

    let resolve = ["resolve", "spec.yaml", "--catalog", "lab", "--format", "json"];
    let answer: Value = serde_json::from_str(&standard_output(forge.imgforge().args(resolve))).expect("JSON");
    assert_eq!(answer["frameworks"]["acme-lattice"]["build"], "cu126");
    assert_eq!(answer["stack"]["cuda"], "12.6");
    assert_eq!((&answer["targets"][0]["gpu"], &answer["python"]), (&"X100".into(), &"3.13".into()));

    standard_output(forge.imgforge().args(["lock", "spec.yaml", "--catalog", "lab"]));
    let lock = forge.read("imgforge.lock");
    for line in
        [format!("file = \"{WHEEL}\""), format!("digest = \"{}\"", digest(WHEEL)), "index = \"lab-cu126\"".to_owned()]
    {
        assert!(lock.lines().any(|found| found == line), "{line}:\n{lock}");
    }
    assert!(!lock.contains("127.0.0.1"), "{lock}");
}

#[test]
fn the_settings_name_overlays_and_the_command_line_goes_over_them() {
    let forge = overlay("https://packages.example.com/");
    let config = forge.home().join(".config/imgforge");
    fs::create_dir_all(&config).expect("a folder");
    let lab = forge.path("lab");
    fs::write(config.join("config.toml"), format!("catalog = [\"{}\"]\n", lab.display())).expect("written");
    let memory = |arguments: &[&str]| {
        let mut command = forge.imgforge();
        command.env_remove("XDG_CONFIG_HOME").args(["catalog", "show", "X100", "--format", "json"]).args(arguments);
        let card: Value = serde_json::from_str(&standard_output(&mut command)).expect("JSON");
        card["memory_gb"].clone()
    };
    assert_eq!(memory(&[]), serde_json::json!([96]));
    fs::create_dir(forge.path("newer")).expect("a folder");
    let newer = example("facts.yaml").replace("memory_gb: [96]", "memory_gb: [192]");
    forge.write("newer/facts.yaml", newer);
    assert_eq!(memory(&["--catalog", "newer"]), serde_json::json!([192]));
}

#[test]
fn mistakes_of_an_overlay_are_shown_at_their_place() {
    let forge = overlay("https://packages.example.com/");
    let broken =
        example("facts.yaml").replace("gpu: X100", "gpu: X101").replace("toolkit: \"12.6\"", "toolkit: \"12.7\"");
    forge.write("lab/facts.yaml", &broken);
    let mut check = forge.imgforge();
    let output = check.args(["catalog", "check", "--catalog", "lab"]).assert().code(1).get_output().clone();
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
    lab/facts.yaml:20:20: framework lattice 1.0 cu126: toolkit `12.7` is not listed
    lab/facts.yaml:7:24: instance lab/rack-1: no card is called `X101`
    ");
    forge.write("lab/facts.yaml", broken.replace("vendor: nvidia", "vendor: nvidai"));
    let output = forge.imgforge().args(["catalog", "check", "--catalog", "lab"]).assert().code(2).get_output().clone();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("lab/facts.yaml:5:"), "{stderr}");
    forge.write("lab/facts.yaml", broken.replace("    package: acme-lattice\n", ""));
    let output = forge.imgforge().args(["catalog", "check", "--catalog", "lab"]).assert().code(2).get_output().clone();
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    error: `lab/facts.yaml`: framework lattice: a new family needs its `package`
     --> lab/facts.yaml:9:13
      |
    9 |   - family: lattice
      |             ^^^^^^^
    ");
    forge.write("lab/facts.yaml", example("facts.yaml"));
    forge.write("lab/sources.yaml", "index-families:\n  lab: {url: https://packages.example.com/}\n");
    let output = forge.imgforge().args(["lock", "spec.yaml", "--catalog", "lab"]).assert().code(2).get_output().clone();
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    error: missing field `build`
     --> lab/sources.yaml:2:9
      |
    2 |   lab: {url: https://packages.example.com/}
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn the_overlay_is_refreshed_from_its_own_index() {
    let forge = overlay(&index());
    let update = |arguments: &[&str]| {
        let fixed = ["catalog", "update", "lattice", "--catalog", "lab", "--checked", "2030-01-02"];
        let output = forge.imgforge().args(fixed).args(arguments).output().expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, diff, stderr) = update(&[]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(diff, @r#"
    --- a/lab/facts.yaml
    +++ b/lab/facts.yaml
    @@ -11,6 +11,13 @@
         requirements:
           "*": ["acme-lattice=={version}"]
         releases:
    +      - version: "1.1"
    +        requires_python: ">=3.11,<3.14"
    +        source: "acme-lattice 1.1: names and METADATA of the wheels on the package index, read 2030-01-02"
    +        platforms:
    +          linux/amd64: {pythons: "3.12", glibc: "2.28"}
    +        builds:
    +          - {name: cu126, index: lab-cu126, toolkit: "12.6", cudnn: "9.5.1.17", sass: "9.0", source: "acme-lattice 1.1: names and METADATA of the wheels on the package index, read 2030-01-02; toolkit, cuDNN, machine code carried over from 1.0", unverified: true}
           - version: "1.0"
             requires_python: ">=3.11,<3.14"
             source: lab
    "#);
    insta::assert_snapshot!(stderr, @r"
    framework lattice 1.1 cu126: toolkit, cuDNN, machine code carried over from 1.0
    1 entry to add to `lab`
    run it with `--write` to write that
    ");
    assert_eq!(forge.read("lab/facts.yaml"), example("facts.yaml"), "nothing is written unasked");
    assert_eq!(update(&["--check", "--quiet"]).0, Some(1));

    // A second name of the file keeps what it had: the new text took its place and was not written over it, so that an
    // interrupt leaves one or the other.
    fs::hard_link(forge.path("lab/facts.yaml"), forge.path("before")).expect("a second name");
    assert_eq!(update(&["--write"]).0, Some(0));
    assert_eq!(forge.read("before"), example("facts.yaml"));
    let written = forge.read("lab/facts.yaml");
    assert!(example("facts.yaml").lines().all(|line| written.contains(line)), "{written}");
    let (code, diff, _) = update(&[]);
    assert_eq!((code, diff.as_str()), (Some(0), ""));
    let checked = standard_output(forge.imgforge().args(["catalog", "check", "--catalog", "lab"]));
    assert_eq!(checked, "");
    let shown = standard_output(forge.imgforge().args(["catalog", "show", "acme-lattice", "1.1", "--catalog", "lab"]));
    assert!(shown.contains("requires python >=3.11, <3.14"), "{shown}");

    forge.write(
        "lab/sources.yaml",
        example("sources.yaml").replace("https://packages.example.com/", "http://127.0.0.1:9/"),
    );
    let (code, stdout, stderr) = update(&["--format", "json"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with("error: nothing could be read: the index `lab-cu126`: "), "{stderr}");
    let (code, _, stderr) = update(&["latice"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean `lattice`?"), "{stderr}");
}
