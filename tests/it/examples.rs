//! The committed results of the examples answer their specs, and are what `render` makes of their locks.
//!
//! A result's lock lies with it, under `generated/NAME/`, and not beside the spec: whoever tries an example locks what is
//! published that day, while the results stay what they were. `BLESS=1` writes them anew and keeps the versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::forge::{Forge, standard_output};
use crate::support::{files_below, repository, run};

const EXAMPLES: [&str; 4] = ["gpu-pytorch", "jax", "quickstart", "tensorflow"];

/// The example's spec; nothing lies beside it.
fn spec(example: &str) -> PathBuf {
    Path::new("examples").join(example).join("spec.yaml")
}

/// The committed result.
fn result(example: &str) -> PathBuf {
    repository().join("generated").join(example)
}

/// A copy of the example with the committed lock beside its spec; the path of the copied spec.
fn project(forge: &Forge, example: &str) -> PathBuf {
    for (path, bytes) in files_below(&repository().join("examples").join(example)) {
        forge.write(&format!("{example}/{path}"), bytes);
    }
    if let Ok(lock) = fs::read(result(example).join("imgforge.lock")) {
        forge.write(&format!("{example}/imgforge.lock"), lock);
    }
    forge.path(example).join("spec.yaml")
}

fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

/// What `render` made of a generated folder: neither the lock, nor this machine's secrets, nor images.
fn committed(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_below(folder);
    files.retain(|path, _| path != ".env" && path != "imgforge.lock" && !path.split('/').any(|part| part == "oci"));
    files
}

#[test]
fn every_example_is_tested() {
    let mut folders: Vec<String> = fs::read_dir(repository().join("examples"))
        .expect("the examples")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    folders.sort();
    // The files for CI services are no spec; `ci.rs` runs them.
    folders.retain(|folder| folder != "ci");
    assert_eq!(folders, EXAMPLES);
}

#[test]
fn no_secrets_and_no_images_are_committed() {
    let mut list = std::process::Command::new("git");
    let listed = run(list.args(["ls-files", "generated", "examples"]).current_dir(repository()));
    let wrong: Vec<&str> = listed
        .lines()
        .filter(|path| {
            path.split('/').any(|part| part == "oci" || part == ".env")
                || path.starts_with("examples") && path.ends_with("imgforge.lock")
        })
        .collect();
    assert!(listed.contains("generated/quickstart/.env.example"), "{listed}");
    assert_eq!(wrong, Vec::<&str>::new());
}

#[test]
fn committed_locks_are_current() {
    let forge = Forge::new();
    for example in EXAMPLES {
        let mut lock = forge.imgforge();
        lock.arg("lock").arg(project(&forge, example));
        if !is_blessing() {
            lock.arg("--check");
        }
        lock.assert().success();
        if is_blessing() {
            let made = forge.read(&format!("{example}/imgforge.lock"));
            fs::write(result(example).join("imgforge.lock"), made).expect("the lock is written");
        }
    }
}

#[test]
fn committed_files_are_what_render_writes() {
    let forge = Forge::new();
    for example in EXAMPLES {
        let generated = result(example);
        let folder = if is_blessing() { generated.clone() } else { forge.path("rendered").join(example) };
        let mut render = forge.imgforge();
        render.arg("render").arg(project(&forge, example)).arg("--output").arg(&folder);
        let listed = standard_output(&mut render);
        let (rendered, expected) = (committed(&folder), committed(&generated));
        let listed: Vec<&str> = listed
            .lines()
            .map(|path| path.strip_prefix(&format!("{}/", folder.display())).expect("below it"))
            .collect();
        assert_eq!(rendered.keys().collect::<Vec<_>>(), listed, "{example}");
        assert_eq!(expected.keys().collect::<Vec<_>>(), listed, "generated/{example} holds other files");
        for (path, bytes) in &rendered {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("rendered text");
            assert_eq!(text(bytes), text(&expected[path]), "generated/{example}/{path}");
        }
    }
}

#[test]
fn three_clouds_share_one_stack() {
    let forge = Forge::new();
    let mut resolve = forge.imgforge();
    resolve.current_dir(repository()).arg("resolve").arg(spec("gpu-pytorch")).args(["--format", "json"]);
    // The catalog is in the program: nothing else is asked.
    resolve.arg("--offline").env("IMGFORGE_CACHE", forge.path("no-cache"));
    let answer: Value = serde_json::from_str(&standard_output(&mut resolve)).expect("JSON");
    assert_eq!(answer["status"], "ok");
    assert_eq!((&answer["python"], &answer["accelerator"]), (&json!("3.11"), &json!("cuda")));
    let stack = json!({
        "cuda": "12.4", "cudnn": "9.1.0.70", "driver_minimum": "525.60.13", "os": "debian 12", "glibc": "2.36",
    });
    assert_eq!(answer["stack"], stack);
    let torch = json!({"version": "2.6.0", "build": "cu124", "index": "default", "torchvision": "0.21.0"});
    assert_eq!(answer["frameworks"], json!({"torch": torch}));
    assert_eq!((&answer["base"]["kind"], &answer["base"]["reference"]), (&json!("debian"), &Value::Null));
    let target =
        |name: &str| json!({"name": name, "gpu": "T4", "compute_capability": "7.5", "platform": "linux/amd64"});
    let targets = ["aws/g4dn.xlarge", "azure/Standard_NC4as_T4_v3", "gcp/n1-standard-4+nvidia-tesla-t4"].map(target);
    assert_eq!(answer["targets"], json!(targets));
    for reason in answer["because"].as_array().expect("reasons") {
        assert!(reason["source"].as_str().is_some_and(|source| !source.is_empty()), "{reason}");
    }
}
