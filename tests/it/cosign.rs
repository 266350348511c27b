//! Keys, signatures and statements that imgforge and cosign make for each other, read by cosign itself. Without a public log and
//! without the network, as in a closed one.

use std::process::Command;

use imgforge::share::bundle::RECIPE_TYPE;
use serde_json::Value;

use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{output, run};

const PASSWORD: &str = "correct horse";
/// Type of the statement that says no more than that somebody signed.
const SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
const SPEC: &str = "name: churn\npython: \"3.13\"\nplatforms: [linux/amd64, linux/arm64]\npackages: [six]\n";

/// `cosign` in the working folder.
fn cosign(forge: &Forge, arguments: &[&str]) -> Command {
    let mut command = Command::new("cosign");
    command.args(arguments).current_dir(forge.path("")).env("HOME", forge.home());
    command.env("COSIGN_PASSWORD", PASSWORD).env("DOCKER_CONFIG", forge.home());
    command
}

/// Signatures in the form that every release of cosign reads.
fn verify(forge: &Forge, key: &str, image: &str) -> Command {
    cosign(forge, &["verify", "--private-infrastructure", "--key", key, image])
}

/// Statements in bundles. The root of trust has nothing in it: the key is all that counts.
fn verify_statement(forge: &Forge, key: &str, kind: &str, image: &str) -> Command {
    if !forge.path("root.json").exists() {
        run(&mut cosign(forge, &["trusted-root", "create", "--out", "root.json"]));
    }
    let bundles = ["verify-attestation", "--new-bundle-format", "--trusted-root", "root.json"];
    let rest = ["--insecure-ignore-tlog", "--type", kind, "--key", key, image];
    cosign(forge, &[&bundles[..], &rest].concat())
}

fn fails(command: &mut Command) -> bool {
    !output(command).status.success()
}

fn generate(forge: &Forge, name: &str) {
    forge.imgforge().args(["keys", "generate", "--output", name]).env("COSIGN_PASSWORD", PASSWORD).assert().success();
}

/// The answer to a push of the spec.
fn push(forge: &Forge, server: &RegistryServer, arguments: &[&str]) -> Value {
    forge.write("spec.yaml", SPEC);
    let mut command = forge.imgforge();
    let repository = format!("{}/ml/churn", server.host());
    command.args(["build", "spec.yaml", "--push", "--format", "json", "--repository", &repository]).args(arguments);
    serde_json::from_str(&standard_output(command.env("COSIGN_PASSWORD", PASSWORD))).expect("JSON")
}

/// The whole, and one image per platform, each by its digest.
fn references(answer: &Value) -> (String, Vec<String>) {
    let image = &answer["images"][0];
    let reference = image["reference"].as_str().expect("a reference").to_owned();
    let (name, _) = reference.split_once(":latest@").expect("a tag and a digest");
    let attached = image["attached"].as_array().expect("a list").iter();
    let documents = attached.filter(|known| known["type"] == "application/spdx+json");
    let part = |known: &Value| format!("{name}@{}", known["subject"].as_str().expect("a digest"));
    let parts = documents.map(part).collect();
    (reference, parts)
}

/// What `imgforge signatures` finds: form, and claim or problem.
fn signatures(forge: &Forge, image: &str, key: &str, code: i32) -> Vec<(String, String)> {
    let mut command = forge.imgforge();
    let answer = command.args(["signatures", image, "--key", key, "--format", "json"]).assert().code(code);
    let answer: Value = serde_json::from_slice(&answer.get_output().stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let entry = |found: &Value| (text(&found["form"]), text(found.get("claim").unwrap_or(&found["problem"])));
    let mut found: Vec<_> = answer["found"].as_array().expect("a list").iter().map(entry).collect();
    found.sort_unstable();
    found
}

#[test]
fn cosign_takes_what_imgforge_signs() {
    let (server, forge) = (RegistryServer::plain(), Forge::new());
    for name in ["one", "two"] {
        generate(&forge, name);
        let public = run(&mut cosign(&forge, &["public-key", "--key", &format!("{name}.key")]));
        assert_eq!(public, forge.read(&format!("{name}.pub")).trim_end(), "cosign opens the private key");
    }
    let answer = push(&forge, &server, &["--sign-key", "one.key"]);
    let (whole, parts) = references(&answer);
    assert_eq!(parts.len(), 2);

    for image in parts.iter().chain([&whole]) {
        let found: Value = serde_json::from_str(&run(&mut verify(&forge, "one.pub", image))).expect("JSON");
        let (_, digest) = image.split_once('@').expect("a digest");
        assert_eq!(found[0]["critical"]["image"]["docker-manifest-digest"], digest);
        assert!(fails(&mut verify(&forge, "two.pub", image)), "{image}");
        run(&mut verify_statement(&forge, "one.pub", SIGNATURE_TYPE, image));
        assert!(fails(&mut verify_statement(&forge, "two.pub", SIGNATURE_TYPE, image)), "{image}");
    }
    // Provenance is of one platform, the recipe of the whole.
    for image in &parts {
        run(&mut verify_statement(&forge, "one.pub", "slsaprovenance1", image));
        assert!(fails(&mut verify_statement(&forge, "two.pub", "slsaprovenance1", image)), "{image}");
    }
    assert!(fails(&mut verify_statement(&forge, "one.pub", "slsaprovenance1", &whole)));
    let attached = answer["images"][0]["attached"].as_array().expect("a list");
    let recipe = attached.iter().find(|known| known["type"] == RECIPE_TYPE).expect("the recipe");
    let (name, _) = whole.split_once(":latest@").expect("a tag");
    let recipe = format!("{name}@{}", recipe["digest"].as_str().expect("a digest"));
    run(&mut verify_statement(&forge, "one.pub", SIGNATURE_TYPE, &recipe));
}

#[test]
fn imgforge_takes_what_cosign_makes() {
    let (server, forge) = (RegistryServer::plain(), Forge::new());
    run(&mut cosign(&forge, &["generate-key-pair", "--output-key-prefix", "one"]));
    generate(&forge, "two");
    let (whole, _) = references(&push(&forge, &server, &[]));
    let pair = |form: &str, text: &str| (form.to_owned(), text.to_owned());
    assert_eq!(signatures(&forge, &whole, "one.pub", 1), []);

    // A statement is none of the signatures, wherever cosign lists it.
    forge.write("predicate.json", "{}");
    let attest = ["attest", "--new-bundle-format", "--tlog-upload=false", "--yes", "--predicate", "predicate.json"];
    run(&mut cosign(&forge, &[&attest[..], &["--key", "one.key", &whole]].concat()));
    let statement = pair("bundle", "https://cosign.sigstore.dev/attestation/v1");
    assert_eq!(signatures(&forge, &whole, "one.pub", 1), [statement.clone()]);
    // With cosign's keys, with ours, side by side.
    let sign = |key: &str| run(&mut cosign(&forge, &["sign", "--tlog-upload=false", "--yes", "--key", key, &whole]));
    sign("one.key");
    let signed = pair("tag", "cosign container image signature");
    assert_eq!(signatures(&forge, &whole, "one.pub", 0), [statement.clone(), signed.clone()]);
    sign("two.key");
    let unknown = |form: &str| pair(form, "another key signed it, or its content was changed");
    assert_eq!(signatures(&forge, &whole, "two.pub", 0), [unknown("bundle"), unknown("tag"), signed.clone()]);

    // Signed by imgforge as well, with the key that cosign made: everything from before stays.
    push(&forge, &server, &["--sign-key", "one.key"]);
    let own = pair("bundle", SIGNATURE_TYPE);
    let found = signatures(&forge, &whole, "one.pub", 0);
    assert_eq!(found, [statement, own, unknown("tag"), signed.clone(), signed]);
    for key in ["one.pub", "two.pub"] {
        run(&mut verify(&forge, key, &whole));
    }
    run(&mut verify_statement(&forge, "one.pub", SIGNATURE_TYPE, &whole));
}
