//! Two published images side by side: packages by their recipes, layers by their digests, and what a pull would move.

use imgforge::oci::{Digest, Reference};
use imgforge::registry::{Blob, BytesSource, Meter};
use serde_json::{Value, json};

use crate::support::colleague::{Machine, project, push, registries};
use crate::support::forge::standard_output;
use crate::support::registry::RegistryServer;

fn reference(answer: &Value) -> String {
    answer["images"][0]["reference"].as_str().expect("a reference").to_owned()
}

/// Name and change of each package of an answer.
fn packages(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = answer["packages"].as_array().expect("packages").iter();
    list.map(|package| (text(&package["name"]), text(&package["change"]))).collect()
}

#[test]
fn a_changed_package_moves_its_layer() {
    let (server, forge) = (RegistryServer::plain(), project());
    let before = reference(&push(&forge, &server, &[]));
    forge.write("requirements.txt", "six==1.16.0\nidna\n");
    let spec = forge.read("spec.yaml") + "env: {OMP_NUM_THREADS: \"4\"}\n";
    forge.write("spec.yaml", spec);
    let after = reference(&push(&forge, &server, &[]));

    let machine = Machine::new();
    let answer = machine.json(&["diff", &before, &after]);
    assert_eq!(answer["status"], "different");
    assert_eq!((&answer["a"], &answer["b"]), (&Value::from(before.as_str()), &Value::from(after.as_str())));
    assert_eq!(packages(&answer), [("six".to_owned(), "down".to_owned())]);
    assert_eq!(answer["image"], json!([{"name": "env.OMP_NUM_THREADS", "before": null, "after": "4"}]));
    let platform = &answer["platforms"][0];
    let layers = platform["layers"].as_array().expect("layers");
    let changed: Vec<&Value> = layers.iter().filter(|layer| layer["change"] != "same").collect();
    let [layer] = changed.as_slice() else { panic!("one package is one layer: {changed:#?}") };
    assert_eq!((&layer["change"], &layer["after"]["kind"]), (&Value::from("changed"), &Value::from("wheels")));
    assert_eq!(
        (&platform["bytes"]["new"], &answer["bytes"]["new"]),
        (&layer["after"]["size"], &layer["after"]["size"])
    );
    let fields: Vec<&Value> =
        platform["config"].as_array().expect("fields").iter().map(|field| &field["name"]).collect();
    assert!(fields.contains(&&Value::from("config.Env.OMP_NUM_THREADS")), "{fields:?}");

    let (code, text, _) = machine.fails(&["diff", &before, &after, "--exit-code"]);
    assert_eq!(code, 1);
    assert!(text.contains("packages: 1 older\n  ~ six  1.17.0 -> 1.16.0"), "{text}");
    assert!(text.contains(&format!("layers of linux/amd64: {} same, 1 changed\n", layers.len() - 1)), "{text}");
    assert!(text.contains(" to pull for whoever has the first"), "{text}");

    // An image against a lock is two locks; the tag names the second image.
    let (code, text, _) =
        machine.fails(&["diff", &after, &forge.path("spec.yaml").display().to_string(), "--exit-code"]);
    assert_eq!((code, text.as_str()), (0, "no difference\n"));
    let tagged = format!("{}/ml/churn:latest", server.host());
    let (code, text, _) = machine.fails(&["diff", &tagged, &after, "--exit-code"]);
    assert_eq!((code, text.as_str()), (0, "no difference\n"));
    // So is what is built here, in its folder.
    standard_output(forge.imgforge().args(["build", "spec.yaml"]));
    let built = forge.path("generated/churn").display().to_string();
    let (code, text, stderr) = machine.fails(&["diff", &built, &after, "--exit-code"]);
    assert_eq!((code, text.as_str()), (0, "no difference\n"), "{stderr}");
}

#[test]
fn images_without_a_recipe_say_what_they_can() {
    let (server, forge) = (RegistryServer::plain(), project());
    let with_lock = reference(&push(&forge, &server, &[]));
    forge.write("requirements.txt", "idna\n");
    let without = reference(&push(&forge, &server, &["--no-recipe"]));
    let machine = Machine::new();
    let answer = machine.json(&["diff", &with_lock, &without]);
    assert_eq!(packages(&answer), [("six".to_owned(), "removed".to_owned())]);
    assert_eq!(answer["debs"], json!([]));

    let lock = forge.path("imgforge.lock").display().to_string();
    let (code, stdout, stderr) = machine.fails(&["diff", &without, &lock]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let expected =
        format!("error: the lock of `{without}` is not known, so that it cannot be compared with another lock\n");
    assert!(stderr.starts_with(&expected), "{stderr}");

    // One of somebody else says nothing of packages.
    let foreign = push_foreign(&server);
    let (code, stdout, stderr) = machine.fails(&["diff", &with_lock, &foreign, "--format", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&answer["status"], &answer["packages"]), (&Value::from("different"), &Value::Null));
    assert_eq!(answer["bytes"]["after"], 5);
    assert!(stderr.contains("imgforge did not make `"), "{stderr}");
}

/// An image of one layer that says nothing about itself.
fn push_foreign(server: &RegistryServer) -> String {
    let reference: Reference = format!("{}/library/other:1", server.host()).parse().expect("a reference");
    let registries = registries();
    let blob = |bytes: &[u8]| {
        let (digest, source) = (Digest::of(bytes), BytesSource(bytes.into()));
        let blob = Blob { digest, size: bytes.len() as u64, source: &source };
        registries.push_blob(&reference, blob, &[], &Meter::new(|_| {})).expect("pushed");
        digest
    };
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"plain").to_string()]},
    });
    let config = config.to_string().into_bytes();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": blob(b"layer"), "size": 5,
        }],
    });
    registries.push_manifest(&reference, media_type, manifest.to_string().as_bytes()).expect("pushed");
    reference.whole()
}
