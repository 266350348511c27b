//! Keys made here, and images that only count with a signature: `pull --key` and `verify --key`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgforge::attest::SigningKey;
use imgforge::oci::Reference;
use imgforge::share::Image;
use imgforge::share::bundle::{Role, attached};
use serde_json::Value;

use crate::support::colleague::{Machine, project, push, registries};
use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{files_below, run};

const PASSWORD: &str = "correct horse";

/// A pair of keys in the working folder.
fn make_keys(forge: &Forge, name: &str) {
    let mut command = forge.imgforge();
    command.args(["keys", "generate", "--output", name]).env("COSIGN_PASSWORD", PASSWORD).assert().success();
}

#[test]
fn keys_serve_openssl_and_are_never_overwritten() {
    let forge = Forge::new();
    make_keys(&forge, "team");
    let mode = |name: &str| fs::metadata(forge.path(name)).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode("team.key"), 0o600);
    assert!(forge.read("team.key").starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));

    // `openssl` reads the public key, and takes a signature of the private one for right.
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments).current_dir(forge.path("")));
    let shown = openssl(&["pkey", "-pubin", "-in", "team.pub", "-noout", "-text"]);
    assert!(shown.contains("NIST CURVE: P-256") || shown.contains("prime256v1"), "{shown}");
    let key = SigningKey::read(&forge.path("team.key"), || Some(PASSWORD.to_owned())).expect("the key");
    forge.write("message", "message");
    forge.write("signature", key.sign(b"message"));
    openssl(&["dgst", "-sha256", "-verify", "team.pub", "-signature", "signature", "message"]);
    assert!(!STANDARD.encode(key.sign(b"message")).is_empty());

    let before = forge.read("team.key");
    let again =
        forge.imgforge().args(["keys", "generate", "--output", "team"]).env("COSIGN_PASSWORD", "").assert().code(2);
    let stderr = String::from_utf8(again.get_output().stderr.clone()).expect("UTF-8");
    insta::assert_snapshot!(stderr, @"
    error: `team.key` is there already, and keys are never overwritten
    help: choose another name with `--output`
    ");
    assert_eq!(forge.read("team.key"), before);
    let mut asked = forge.imgforge();
    let stderr = asked.args(["keys", "generate"]).assert().code(2).get_output().stderr.clone();
    insta::assert_snapshot!(String::from_utf8(stderr).expect("UTF-8"), @"
    error: there is no password for the key: `COSIGN_PASSWORD` is not set, and there is no terminal to ask at
    help: set `COSIGN_PASSWORD`; an empty one leaves the key without protection
    ");
    assert!(!forge.path("sign.key").exists());
}

/// Exit code and standard error.
fn refused(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = machine.fails(arguments);
    assert_eq!(stdout, "", "{stderr}");
    (code, stderr)
}

#[test]
fn only_a_signed_image_is_pulled_and_verified() {
    let (server, forge) = (RegistryServer::plain(), project());
    make_keys(&forge, "one");
    make_keys(&forge, "two");
    let key = |name: &str| forge.path(&format!("{name}.pub")).display().to_string();
    let (one, two) = (key("one"), key("two"));
    let unsigned = push(&forge, &server, &[]);
    let reference = unsigned["images"][0]["reference"].as_str().expect("a reference").to_owned();

    let machine = Machine::new();
    let (code, stderr) = refused(&machine, &["pull", &reference, "--key", &one, "--quiet"]);
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        format!("error: `{reference}` is not signed by this key\nnote: there is no signature beside it\n")
            .replace(&reference, &by_digest(&reference))
    );
    assert!(files_below(&machine.forge.path("")).is_empty());

    // Signed, it is pulled with that key and with no other.
    let mut sign = forge.imgforge();
    let repository = format!("{}/ml/churn", server.host());
    sign.args(["push", "spec.yaml", "--repository", &repository, "--sign-key", "one.key", "--format", "json"]);
    let signed: Value = serde_json::from_str(&standard_output(sign.env("COSIGN_PASSWORD", PASSWORD))).expect("JSON");
    assert_eq!(signed["images"][0]["digest"], unsigned["images"][0]["digest"]);
    let pulled = machine.json(&["pull", &reference, "--key", &one]);
    assert_eq!(pulled["signatures"].as_array().expect("signatures").len(), 2, "in both forms");
    let (code, stderr) = refused(&machine, &["pull", &reference, "--key", &two, "--quiet", "--output", "other"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("another key signed it, or its content was changed"), "{stderr}");
    let (code, _) = refused(&machine, &["verify", &reference, "--key", &two, "--quiet"]);
    assert_eq!(code, 1);
    let verified = machine.json(&["verify", &reference, "--key", &one]);
    assert_eq!(verified["status"], "same");
    assert_eq!(verified["signatures"].as_array().expect("signatures").len(), 2);
    let (code, stderr) = refused(&machine, &["pull", &reference, "--key", "nowhere.pub", "--quiet"]);
    assert_eq!(code, 2, "{stderr}");

    // Whoever may push attaches a recipe with the same lock and another stack: the signed one counts.
    let registries = registries();
    let parsed: Reference = reference.parse().expect("a reference");
    let found = Image::read(&registries, &parsed).expect("the image");
    let mut recipe = attached(&registries, &found, None).expect("the recipe").bundle;
    let compose = "generated/churn/compose.yaml";
    let file = recipe.files.get_mut(compose).expect("the stack");
    assert_eq!(file.role, Role::Rendered);
    file.bytes = b"services: {app: {image: evil}}\n".to_vec();
    let evil = recipe.to_artifact("churn", found.subject.clone());
    let evil = evil.push(&registries, &parsed, false).expect("attached").to_string();
    let pulled = machine.json(&["pull", &reference, "--key", &one, "--output", "signed"]);
    assert_ne!(pulled["recipe"], evil.as_str());
    assert_eq!(machine.forge.read(&format!("signed/{compose}")), forge.read(compose));
    let (code, stderr) =
        refused(&machine, &["pull", &reference, "--key", &one, "--recipe", &evil, "--quiet", "--output", "x"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: the image is signed by this key, but its recipe `sha256:"), "{stderr}");
}

/// The reference as a refusal names it: by digest alone.
fn by_digest(reference: &str) -> String {
    let parsed: Reference = reference.parse().expect("a reference");
    let digest = parsed.digest().expect("a digest").to_owned();
    parsed.clone_with_digest(digest).whole()
}
