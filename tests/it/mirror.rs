//! `imgforge mirror`: the images of others, copied into a registry of one's own; then the one that they came from is gone.

use imgforge::oci::{Digest, Reference};
use imgforge::registry::{Blob, BytesSource, Meter};
use serde_json::{Value, json};

use crate::support::colleague::registries;
use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image for several platforms with a document beside them, as the official ones are. Returns its digest.
fn push_official(server: &RegistryServer, name: &str) -> Digest {
    let reference: Reference = format!("{}/library/{name}", server.host()).parse().expect("a reference");
    let registries = registries();
    let blob = |media_type: &str, bytes: &[u8]| {
        let (digest, source) = (Digest::of(bytes), BytesSource(bytes.into()));
        let blob = Blob { digest, size: bytes.len() as u64, source: &source };
        registries.push_blob(&reference, blob, &[], &Meter::new(|_| {})).expect("pushed");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let entry = |architecture: &str, os: &str| {
        let config = json!({"os": os, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        let layer = format!("{name} for {architecture}, {}", "x".repeat(5000));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
            "layers": [
                blob("application/vnd.oci.image.layer.v1.tar+gzip", layer.as_bytes()),
                blob("application/vnd.oci.image.layer.v1.tar+gzip", b"the same for all"),
            ],
        });
        let manifest = manifest.to_string();
        let digest = Digest::of(manifest.as_bytes());
        let by_digest = reference.clone_with_digest(digest.to_string());
        registries.push_manifest(&by_digest, MANIFEST, manifest.as_bytes()).expect("pushed");
        json!({
            "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": {"os": os, "architecture": architecture},
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry("amd64", "linux"), entry("arm64", "linux"), entry("unknown", "unknown")],
    });
    registries.push_manifest(&reference, INDEX, index.to_string().as_bytes()).expect("pushed")
}

/// Every blob of an image, read to its end; the number of manifests.
fn read_whole(reference: &Reference) -> usize {
    let registries = registries();
    let manifest = registries.manifest(reference).expect("a manifest");
    let document: Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
    let digest = |entry: &Value| -> Digest { entry["digest"].as_str().expect("a digest").parse().expect("a digest") };
    if let Some(below) = document["manifests"].as_array() {
        let below = below.iter().map(|entry| reference.clone_with_digest(digest(entry).to_string()));
        return 1 + below.map(|reference| read_whole(&reference)).sum::<usize>();
    }
    for entry in document["layers"].as_array().expect("layers").iter().chain([&document["config"]]) {
        let mut reader = registries.open_blob(reference, &digest(entry), entry["size"].as_u64(), 0).expect("a blob");
        std::io::copy(&mut reader, &mut std::io::sink()).expect("its bytes");
    }
    1
}

#[test]
fn a_stack_is_served_from_the_copies_alone() {
    let (public, private) = (RegistryServer::plain(), RegistryServer::plain());
    let digest = push_official(&public, "postgres:16");
    push_official(&public, "redis:7");
    let mirrors = format!("docker.io={}", public.host());
    let forge = Forge::new();
    let mirror = format!("{}/mirror", private.host());
    let spec = format!(
        "name: churn\npython: \"3.13\"\nservices: {{postgres: {{version: \"16\"}}, redis: {{}}}}\nimage: {{mirror: {mirror}}}\n"
    );
    forge.write("spec.yaml", spec);
    let imgforge = |arguments: &[&str]| {
        let mut command = forge.imgforge();
        command.args(arguments).env("IMGFORGE_REGISTRY_MIRRORS", &mirrors);
        command
    };
    imgforge(&["lock", "spec.yaml"]).assert().success();
    let answer = standard_output(&mut imgforge(&["mirror", "spec.yaml", "--format", "json"]));
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let images = answer["images"].as_array().expect("images");
    assert_eq!(
        images.iter().map(|image| &image["image"]).collect::<Vec<_>>(),
        ["docker.io/library/postgres:16", "docker.io/library/redis:7"]
    );
    assert_eq!(images[0]["reference"], format!("{mirror}/docker.io/library/postgres:16@{digest}"));
    assert_eq!(images[0]["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert!(images[0]["bytes_sent"].as_u64().is_some_and(|bytes| bytes > 15_000), "{answer:#}");

    // Once more there is nothing to send.
    let again = standard_output(&mut imgforge(&["mirror", "spec.yaml", "--format", "json"]));
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert!(again["images"].as_array().expect("images").iter().all(|image| image["bytes_sent"] == 0), "{again:#}");

    // The public registry is gone, and nobody mirrors it: the rendered stack names what is there, down to the last blob.
    drop(public);
    forge.imgforge().args(["render", "spec.yaml"]).assert().success();
    let compose = forge.read("generated/churn/compose.yaml");
    let named: Vec<Reference> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: \""))
        .map(|rest| rest.trim_end_matches('"'))
        .filter(|image| image.contains("/mirror/"))
        .map(|image| image.parse().expect("a reference"))
        .collect();
    assert_eq!(named.len(), 2, "{compose}");
    assert!(!compose.contains("image: \"postgres") && !compose.contains("image: \"redis"), "{compose}");
    for image in &named {
        assert!(image.digest().is_some(), "{image}");
        assert_eq!(read_whole(image), 4, "an index over three manifests");
    }
    // Found by its tags as well, so that nobody takes it for garbage.
    let registries = registries();
    for tag in ["16".to_owned(), format!("16-{}", &digest.hex()[..12])] {
        let tagged: Reference = format!("{mirror}/docker.io/library/postgres:{tag}").parse().expect("a reference");
        assert_eq!(registries.manifest_digest(&tagged).expect("an answer"), Some(digest), "{tag}");
    }
    // A changed spec keeps what is locked, although nobody can be asked.
    forge.write("spec.yaml", forge.read("spec.yaml") + "env: {A: \"1\"}\n");
    forge.imgforge().args(["lock", "spec.yaml"]).assert().success();
    assert!(forge.read("imgforge.lock").contains(&digest.to_string()));
}

#[test]
fn what_cannot_be_copied_is_named() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\npython: \"3.13\"\nservices: {redis: {}}\n");
    let mut lock = forge.imgforge();
    // No registry answers there.
    lock.args(["lock", "spec.yaml"]).env("IMGFORGE_REGISTRY_MIRRORS", "docker.io=127.0.0.1:1").assert().success();
    let stderr = |arguments: &[&str], code: i32| {
        let output = forge.imgforge().args(arguments).assert().code(code).get_output().stderr.clone();
        String::from_utf8(output).expect("UTF-8")
    };
    insta::assert_snapshot!(stderr(&["mirror", "spec.yaml"], 2), @"
    error: the spec names no place for copies of images
    help: add `image: {mirror: HOST/PREFIX}` to the spec, so that the Compose stack uses the copies, or give `--to HOST/PREFIX`
    ");
    insta::assert_snapshot!(stderr(&["mirror", "spec.yaml", "--to", "nowhere"], 2), @"
    error: `nowhere` is not a place for copies of images: it names no registry and prefix
    help: write it like `registry.example.com/mirror`, in lower case
    ");
    insta::assert_snapshot!(stderr(&["mirror", "spec.yaml", "--to", "registry.example.com/mirror"], 2), @"
    error: `redis:7` is locked by its tag only
    help: run `imgforge lock SPEC` where its registry can be reached, so that its digest is known
    ");
}
