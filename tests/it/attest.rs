//! What is attached to an image, read by the tools of those who specified it; and signatures, right and wrong ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgforge::attest::signature::{self, Form};
use imgforge::attest::{Error, PublicKey, SigningKey, Statement, bundle};
use imgforge::diagnostic::Hint as _;
use imgforge::http;
use imgforge::oci::{Digest, Reference};
use imgforge::publish::artifact::{Artifact, Descriptor, Document};
use imgforge::registry::{Blob, BytesSource, Config, Meter, Registries};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{repository, run};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A registry with one small image, and two pairs of keys.
struct Desk {
    server: RegistryServer,
    registries: Registries,
    repository: Reference,
    image: Descriptor,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let server = RegistryServer::plain();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registries = registries(folder.path());
        let repository: Reference = format!("{}/ml/churn:latest", server.host()).parse().expect("a reference");
        let image = push_image(&registries, &repository, b"{}");
        Self { server, registries, repository, image, folder }
    }

    /// A private key that `openssl` makes, with the public one beside it.
    fn key(&self, name: &str) -> PathBuf {
        make_key(self.folder.path(), name)
    }

    fn public(&self, name: &str) -> PublicKey {
        PublicKey::read(&self.folder.path().join(format!("{name}.pub"))).expect("a public key")
    }

    fn sign(&self, key: &str) {
        let key = SigningKey::read(&self.key(key), || None).expect("a key");
        signature::sign(&self.registries, &self.repository, &self.image, &key).expect("signed");
    }

    /// How many signatures of the key there are, by form; else why there are none.
    fn verify(&self, key: &str) -> Result<(usize, usize), Error> {
        let found = signature::verify(&self.registries, &self.repository, &self.image.digest, &self.public(key))?;
        let count = |form| found.iter().filter(|found| found.form == form).count();
        Ok((count(Form::Bundle), count(Form::Tag)))
    }

    /// The notes of a refusal, which must be a no and not a failure.
    fn refusal(&self, key: &str) -> Vec<String> {
        let error = self.verify(key).expect_err("no signature");
        assert_eq!(error.exit_code(), 1, "{error}");
        error.notes()
    }

    fn tag(&self) -> Reference {
        let tag = format!("sha256-{}.sig", self.image.digest.hex());
        format!("{}/ml/churn:{tag}", self.server.host()).parse().expect("a reference")
    }

    fn push(&self, bytes: &[u8]) -> Digest {
        push_blob(&self.registries, &self.repository, bytes)
    }

    /// Puts a bundle beside the image, as anybody with write access can.
    fn attach(&self, bundle: Vec<u8>) {
        let document = Document::new(BUNDLE_TYPE, bundle);
        let artifact = Artifact::new(BUNDLE_TYPE, vec![document], Some(self.image.clone()));
        artifact.push(&self.registries, &self.repository, false).expect("attached");
    }

    /// Writes the manifest of the tag form with these payloads and signatures.
    fn write_tag(&self, layers: &[(&[u8], &str)]) {
        let layer = |(payload, signature): &(&[u8], &str)| {
            json!({
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": self.push(payload),
                "size": payload.len(), "annotations": {"dev.cosignproject.cosign/signature": signature},
            })
        };
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": layers,
            "config": {"mediaType": CONFIG_TYPE, "digest": self.push(b"{}"), "size": 2},
        });
        let bytes = manifest.to_string().into_bytes();
        self.registries.push_manifest(&self.tag(), MANIFEST_TYPE, &bytes).expect("a manifest");
    }

    /// Payloads and signatures of the tag form.
    fn read_tag(&self) -> Vec<(Vec<u8>, String)> {
        let manifest: Value =
            serde_json::from_slice(&self.registries.manifest(&self.tag()).expect("a manifest").bytes).expect("JSON");
        let layers = manifest["layers"].as_array().expect("layers");
        let read = |layer: &Value| {
            let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().expect("a signature");
            (read_blob(&self.registries, &self.repository, &layer["digest"]), signature.to_owned())
        };
        layers.iter().map(read).collect()
    }
}

fn registries(docker_config: &Path) -> Registries {
    let config = Config { docker_config: Some(docker_config.to_owned()), ..Config::default() };
    Registries::new(http::Client::new(&http::Options::default()).expect("a client"), config)
}

fn make_key(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.key"));
    if !path.exists() {
        let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments).current_dir(folder));
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", &format!("{name}.key")]);
        openssl(&["ec", "-in", &format!("{name}.key"), "-pubout", "-out", &format!("{name}.pub")]);
    }
    path
}

fn push_blob(registries: &Registries, repository: &Reference, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let blob = Blob { digest, size: bytes.len() as u64, source: &BytesSource(bytes.into()) };
    registries.push_blob(repository, blob, &[], &Meter::new(|_| {})).expect("a blob");
    digest
}

fn read_blob(registries: &Registries, repository: &Reference, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest").parse().expect("a digest");
    let mut bytes = Vec::new();
    let mut reader = registries.open_blob(repository, &digest, None, 0).expect("a blob");
    std::io::copy(&mut reader, &mut bytes).expect("its bytes");
    bytes
}

fn push_image(registries: &Registries, reference: &Reference, config: &[u8]) -> Descriptor {
    let digest = push_blob(registries, reference, config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": [],
        "config": {"mediaType": CONFIG_TYPE, "digest": digest, "size": config.len()},
    });
    let bytes = manifest.to_string().into_bytes();
    let digest = registries.push_manifest(reference, MANIFEST_TYPE, &bytes).expect("a manifest");
    let media_type = MANIFEST_TYPE.to_owned();
    Descriptor { media_type, digest, size: bytes.len() as u64, annotations: BTreeMap::new() }
}

/// `openssl` as a witness: whether the signature over the message is the key's.
fn openssl_verifies(folder: &Path, key: &str, message: &[u8], signature: &str) -> bool {
    fs::write(folder.join("message"), message).expect("written");
    fs::write(folder.join("signature"), STANDARD.decode(signature).expect("base64")).expect("written");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-verify", &format!("{key}.pub"), "-signature", "signature", "message"]);
    openssl.current_dir(folder).output().expect("openssl").status.success()
}

#[test]
fn an_image_is_signed_once_in_both_forms() {
    let desk = Desk::new();
    desk.key("one");
    assert_eq!(desk.refusal("one"), ["there is no signature beside it"]);
    desk.sign("one");
    desk.sign("one");
    assert_eq!(desk.verify("one").expect("signed"), (1, 1));
    let [(payload, signature)] = desk.read_tag().try_into().expect("one signature");
    assert!(openssl_verifies(desk.folder.path(), "one", &payload, &signature));
    desk.key("two");
    assert!(!openssl_verifies(desk.folder.path(), "two", &payload, &signature));

    let referrers = desk.registries.referrers(&desk.repository, &desk.image.digest).expect("a list");
    let [referrer] = referrers.try_into().expect("one referrer");
    assert_eq!(referrer.artifact_type.as_deref(), Some(BUNDLE_TYPE));
    let reference = desk.repository.clone_with_digest(referrer.digest.to_string());
    let bundle = Artifact::read(&desk.registries, &reference).expect("an artifact").documents.remove(0).bytes;
    let bundle: Value = serde_json::from_slice(&bundle).expect("JSON");
    let text = |pointer: &str| bundle.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
    let statement = STANDARD.decode(text("/dsseEnvelope/payload")).expect("base64");
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", statement.len());
    let signed = [head.as_bytes(), &statement].concat();
    assert!(openssl_verifies(desk.folder.path(), "one", &signed, &text("/dsseEnvelope/signatures/0/sig")));
}

#[test]
fn another_keys_signature_does_not_count_and_both_stay() {
    let desk = Desk::new();
    desk.sign("one");
    desk.key("two");
    let notes = desk.refusal("two");
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().all(|note| note.ends_with("another key signed it, or its content was changed")), "{notes:?}");
    desk.sign("two");
    for key in ["one", "two"] {
        assert_eq!(desk.verify(key).expect("signed"), (1, 1), "{key}");
    }
    assert_eq!(desk.read_tag().len(), 2);
}

#[test]
fn a_signature_is_of_one_image() {
    let desk = Desk::new();
    desk.sign("one");
    let signed = desk.read_tag();
    // Another image, beside which somebody puts what was signed for the first.
    let other = push_image(&desk.registries, &desk.repository, b"{ }");
    let bundle = desk.registries.referrers(&desk.repository, &desk.image.digest).expect("a list").remove(0);
    let reference = desk.repository.clone_with_digest(bundle.digest.to_string());
    let bundle = Artifact::read(&desk.registries, &reference).expect("an artifact").documents.remove(0).bytes;
    let desk = Desk { image: other, ..desk };
    desk.attach(bundle);
    desk.write_tag(&[(&signed[0].0, &signed[0].1)]);
    let notes = desk.refusal("one");
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().all(|note| note.ends_with("it is about another image")), "{notes:?}");
}

#[test]
fn what_was_tampered_with_hides_nothing_and_counts_for_nothing() {
    let desk = Desk::new();
    desk.sign("one");
    let signed = desk.read_tag().remove(0);
    let changed = String::from_utf8(signed.0.clone()).expect("UTF-8").replace("ml/churn", "ml/other").into_bytes();
    let statement = Statement::new(None, &desk.image.digest, "https://example.com/vulnerable/v1", json!({}));
    let key = SigningKey::read(&desk.key("one"), || None).expect("a key");
    let said = bundle::seal(&statement, &key);
    let garbled = String::from_utf8(said.clone()).expect("UTF-8").replace("\"payload\":\"", "\"payload\":\"AAAA");
    for bundle in [b"{".to_vec(), b"[1, 2]".to_vec(), Vec::new(), garbled.into_bytes(), said] {
        desk.attach(bundle);
    }
    desk.write_tag(&[(&changed, &signed.1), (b"", ""), (&signed.0, "no base64"), (&signed.0, &signed.1)]);
    assert_eq!(desk.verify("one").expect("still signed"), (1, 1));

    let found = signature::look(&desk.registries, &desk.repository, &desk.image.digest, &desk.public("one"));
    let mut problems: Vec<String> = found
        .expect("a list")
        .into_iter()
        .map(|found| found.claim.map_or_else(|problem| problem, |claim| format!("says {claim}")))
        .map(|text| text.split(": ").next().unwrap_or_default().to_owned())
        .collect();
    problems.sort_unstable();
    assert_eq!(
        problems,
        [
            "another key signed it, or its content was changed",
            "another key signed it, or its content was changed",
            "another key signed it, or its content was changed",
            "it is no bundle",
            "it is no bundle",
            "it is no bundle",
            "its signature is not base64",
            "says cosign container image signature",
            "says https://example.com/vulnerable/v1",
            "says https://sigstore.dev/cosign/sign/v1",
        ]
    );
}

#[test]
fn a_statement_of_the_key_is_no_signature() {
    let desk = Desk::new();
    let key = SigningKey::read(&desk.key("one"), || None).expect("a key");
    let statement = Statement::new(None, &desk.image.digest, "https://example.com/vulnerable/v1", json!({}));
    signature::attach(&desk.registries, &desk.repository, &desk.image, &statement, &key).expect("attached");
    let notes = desk.refusal("one");
    assert!(notes[0].ends_with("it is no signature, but says `https://example.com/vulnerable/v1`"), "{notes:?}");
}

#[test]
fn a_signature_whose_content_is_gone_or_huge_does_not_count() {
    let desk = Desk::new();
    desk.key("one");
    let layer = |digest: Digest, size: u64| {
        json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": digest, "size": size,
            "annotations": {"dev.cosignproject.cosign/signature": "AA=="},
        })
    };
    let large = vec![b' '; 5 << 20];
    let layers = [layer(desk.push(&large), large.len() as u64), layer(desk.push(b"short"), 3), json!({"digest": "x"})];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": layers,
        "config": {"mediaType": CONFIG_TYPE, "digest": desk.push(b"{}"), "size": 2},
    });
    let bytes = manifest.to_string().into_bytes();
    // The CNCF registry looks at descriptors; what it refuses cannot be there.
    if desk.registries.push_manifest(&desk.tag(), MANIFEST_TYPE, &bytes).is_ok() {
        assert_eq!(desk.refusal("one").len(), 3);
    }
    desk.write_tag(&[(&large, "AA==")]);
    assert!(desk.refusal("one")[0].ends_with("it has 5242880 bytes, more than any signature"));
}

const RECIPE: &str = "application/vnd.imgforge.recipe.v1";

/// The documents beside the image of a build, by artifact type. The recipe, which is no statement about it, is left out.
fn documents(registries: &Registries, image: &Reference) -> BTreeMap<String, Vec<u8>> {
    let digest: Digest = image.digest().expect("a digest").parse().expect("a digest");
    let mut documents = BTreeMap::new();
    let attached = registries.referrers(image, &digest).expect("a list");
    for referrer in attached.iter().filter(|referrer| referrer.artifact_type.as_deref() != Some(RECIPE)) {
        let reference = image.clone_with_digest(referrer.digest.to_string());
        let artifact = Artifact::read(registries, &reference).expect("an artifact");
        let kind = match artifact.annotations.get("dev.sigstore.bundle.predicateType") {
            Some(predicate) => format!("bundle {predicate}"),
            None => artifact.artifact_type.clone(),
        };
        assert_eq!(documents.insert(kind, artifact.documents[0].bytes.clone()), None, "each is there once");
    }
    documents
}

/// Hands documents to the Python tools of their projects.
fn read_with_their_tools(folder: &Path, arguments: &[&str]) {
    let python = repository().join("target/tools/readers/bin/python");
    let script = repository().join("tests/it/support/readers.py");
    run(Command::new(python).arg(script).args(arguments).current_dir(folder));
}

#[test]
fn documents_of_a_build_are_what_their_projects_call_valid() {
    let server = RegistryServer::plain();
    let forge = Forge::new();
    let spec = "name: shared\npython: \"3.13\"\npackages: [numpy, requests, rich]\nsystem: [git]\n";
    forge.write("spec.yaml", spec);
    make_key(&forge.path(""), "sign");
    let repository = format!("{}/ml/shared", server.host());
    let push = || {
        let mut command = forge.imgforge();
        command.args(["build", "spec.yaml", "--push", "--repository", &repository, "--sign-key", "sign.key"]);
        standard_output(&mut command)
    };
    let printed = push();
    let image: Reference = printed.parse().expect("a reference");
    let registries = registries(&forge.home());
    let first = documents(&registries, &image);
    let kinds: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "application/spdx+json",
            "application/vnd.cyclonedx+json",
            "application/vnd.in-toto+json",
            "bundle https://sigstore.dev/cosign/sign/v1",
            "bundle https://slsa.dev/provenance/v1",
        ]
    );
    push();
    assert_eq!(documents(&registries, &image), first, "a second push attaches nothing new");

    for (kind, name) in [
        ("application/spdx+json", "sbom.spdx.json"),
        ("application/vnd.cyclonedx+json", "sbom.cdx.json"),
        ("application/vnd.in-toto+json", "provenance.json"),
    ] {
        forge.write(name, &first[kind]);
    }
    // The push left no layout, and these documents name the image.
    standard_output(forge.imgforge().args(["build", "spec.yaml"]));
    for (format, name) in [
        ("spdx", "export.spdx.json"),
        ("cyclonedx", "export.cdx.json"),
        ("pylock", "pylock.toml"),
        ("requirements", "requirements.txt"),
        ("provenance", "export.provenance.json"),
    ] {
        let arguments = ["export", "spec.yaml", "--format", format, "--output", name];
        standard_output(forge.imgforge().args(arguments));
    }
    let documents = ["sbom.spdx.json", "sbom.cdx.json", "provenance.json"];
    read_with_their_tools(&forge.path(""), &documents);
    read_with_their_tools(&forge.path(""), &["export.spdx.json", "export.cdx.json", "export.provenance.json"]);
    read_with_their_tools(&forge.path(""), &["pylock.toml", "requirements.txt"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&first["application/vnd.in-toto+json"]).expect("JSON"),
        serde_json::from_str::<Value>(&forge.read("export.provenance.json")).expect("JSON"),
        "what is exported is what is attached"
    );
    let spdx: Value = serde_json::from_slice(&first["application/spdx+json"]).expect("JSON");
    let relationships = spdx["relationships"].as_array().expect("relationships");
    let expected = json!({
        "spdxElementId": "SPDXRef-pypi-requests", "relationshipType": "DEPENDS_ON",
        "relatedSpdxElement": "SPDXRef-pypi-certifi",
    });
    assert!(relationships.contains(&expected), "what METADATA says is in the document");

    let signatures = |key: &str| {
        let mut command = forge.imgforge();
        command.args(["signatures", &format!("{repository}:latest"), "--key", key, "--format", "json"]);
        command
    };
    let answer: Value = serde_json::from_str(&standard_output(&mut signatures("sign.pub"))).expect("JSON");
    assert_eq!((&answer["status"], answer["found"].as_array().map(Vec::len)), (&json!("ok"), Some(3)));
    make_key(&forge.path(""), "other");
    let refused = signatures("other.pub").assert().code(1);
    let answer: Value = serde_json::from_slice(&refused.get_output().stdout).expect("JSON");
    assert_eq!(answer["status"], json!("not_signed"));
}

#[test]
fn documents_can_be_left_out() {
    let server = RegistryServer::plain();
    let forge = Forge::new();
    forge.write("spec.yaml", "name: bare\npython: \"3.13\"\npackages: [six]\n");
    let mut command = forge.imgforge();
    let repository = format!("{}/ml/bare", server.host());
    command.args(["build", "spec.yaml", "--push", "--no-attest", "--repository", &repository]);
    let image: Reference = standard_output(&mut command).parse().expect("a reference");
    assert_eq!(documents(&registries(&forge.home()), &image), BTreeMap::new());
}

#[test]
fn a_key_that_cannot_sign_stops_before_anything_is_built() {
    let forge = Forge::new();
    forge.write("spec.yaml", "name: bare\npackages: [six]\n");
    forge.write("wrong.key", "hello\n");
    make_key(&forge.path(""), "sign");
    let refused = |arguments: &[&str], message: &str| {
        let mut command = forge.imgforge();
        command.args(["build", "spec.yaml"]).args(arguments);
        let assertion = command.assert().code(2);
        let stderr = String::from_utf8_lossy(&assertion.get_output().stderr).into_owned();
        assert!(stderr.contains(message), "{stderr}");
    };
    refused(&["--push", "--sign-key", "wrong.key"], "`wrong.key` holds no private key: there is no PEM block in it");
    refused(&["--push", "--sign-key", "sign.pub"], "`sign.pub` holds no private key: it holds `PUBLIC KEY`");
    refused(&["--push", "--sign-key", "gone.key"], "cannot read the key `gone.key`");
    refused(&["--sign-key", "sign.key"], "there is nothing to sign without `--push`");
    let engine = ["--push", "--engine", "docker", "--sign-key", "sign.key"];
    refused(&engine, "an image that an engine builds is not signed here");
    assert!(!forge.path("imgforge.lock").exists());
}
