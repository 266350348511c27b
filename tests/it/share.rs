//! An environment that leaves through a registry and comes back on a machine that has nothing: no project, no home, no cache.

use std::fs;

use imgforge::oci::{Digest, Reference};
use imgforge::publish::artifact::{Artifact, Descriptor, Document};
use imgforge::registry::{Blob, BytesSource, Meter, Registries};
use imgforge::share::Image;
use imgforge::share::bundle::{IMAGE_ANNOTATION, RECIPE_TYPE, Role, attached};
use serde_json::Value;

use crate::support::colleague::{Machine, SPEC, project, push, registries};
use crate::support::files_below;
use crate::support::forge::standard_output;
use crate::support::registry::RegistryServer;

fn holds(haystacks: &[Vec<u8>], needle: &str) -> bool {
    haystacks.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

#[test]
fn a_colleague_brings_the_environment_back_and_builds_the_same_image() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let image = &answer["images"][0];
    let reference = image["reference"].as_str().expect("a reference");
    assert_eq!(image["attached"][0]["type"], RECIPE_TYPE);

    let machine = Machine::new();
    let pulled = machine.json(&["pull", reference]);
    assert_eq!((&pulled["status"], &pulled["digest"]), (&Value::from("ok"), &image["digest"]));
    assert_eq!(
        (&pulled["recipe"], &pulled["spec"]),
        (&image["attached"][0]["digest"], &Value::from("churn/spec.yaml"))
    );
    let (mut here, mut there) = (files_below(&forge.path("")), files_below(&machine.forge.path("churn")));
    here.retain(|path, _| !path.contains("/oci/") && path.rsplit('/').next() != Some(".env"));
    let secrets = there.remove("generated/churn/.env").expect("secrets of its own");
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    assert_eq!(there, here);

    // The same digest, from nothing but what came.
    let mut build = machine.imgforge(&["build", "spec.yaml", "--locked"]);
    build.current_dir(machine.forge.path("churn"));
    assert_eq!(Value::from(standard_output(&mut build)), image["digest"]);

    // Nothing secret left the first machine.
    let own = forge.read("generated/churn/.env");
    assert_ne!(own.as_bytes(), secrets);
    let everything = server.contents();
    assert!(holds(&everything, "1,Ada") && holds(&everything, "print(1)"), "the scan sees what was pushed");
    let passwords =
        own.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value).filter(|value| value.len() > 10);
    for secret in passwords.chain(["do-not-publish-me"]) {
        assert!(!holds(&everything, secret), "`{secret}` was published");
    }

    // Pushed again it is the same recipe, and by tag it is found as well.
    assert_eq!(push(&forge, &server, &[])["images"][0]["attached"], image["attached"]);
    let tagged = format!("{}/ml/churn:latest", server.host());
    assert_eq!(machine.json(&["pull", &tagged, "--output", "by/tag"])["recipe"], pulled["recipe"]);
}

#[test]
fn a_folder_with_other_contents_is_left_alone() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let reference = answer["images"][0]["reference"].as_str().expect("a reference").to_owned();
    let machine = Machine::new();
    machine.forge.write("mine/spec.yaml", "name: mine\n");
    let (code, stdout, stderr) = machine.fails(&["pull", &reference, "--output", "mine"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    insta::assert_snapshot!(stderr, @"
    error: `mine` has other contents in `spec.yaml`
    help: name another folder with `--output`, or overwrite them with `--force`
    ");
    assert_eq!(files_below(&machine.forge.path("mine")).len(), 1);
    machine.json(&["pull", &reference, "--output", "mine", "--force"]);
    assert_eq!(machine.forge.read("mine/spec.yaml"), SPEC);
    // Again, there is nothing to do.
    let again = machine.json(&["pull", &reference, "--output", "mine"]);
    let outcomes = again["files"].as_array().expect("files").iter().map(|file| &file["outcome"]);
    assert_eq!(outcomes.filter(|outcome| *outcome != "unchanged").count(), 0);
}

#[test]
fn an_image_without_a_recipe_says_what_to_do() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &["--no-recipe"]);
    let attached = answer["images"][0]["attached"].as_array().expect("a list");
    assert!(attached.iter().all(|known| known["type"] != RECIPE_TYPE), "{attached:?}");
    let reference = format!("{}/ml/churn:latest", server.host());
    let (code, _, stderr) = Machine::new().fails(&["pull", &reference]);
    assert_eq!(code, 2);
    let (error, help) = stderr.split_once('\n').expect("lines");
    assert!(error.starts_with(&format!("error: no recipe is attached to `{reference}@sha256:")), "{error}");
    insta::assert_snapshot!(help, @"
    help: `imgforge build --push` attaches it, unless `--no-recipe` says otherwise
    help: of an image for several platforms, name the tag: the recipe belongs to the whole
    ");
    assert!(!holds(&server.contents(), "name: churn"), "the spec stayed at home");
}

#[test]
fn recipes_that_do_not_belong_to_the_image_are_refused() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let image = &answer["images"][0];
    let reference: Reference = image["reference"].as_str().expect("a reference").parse().expect("a reference");
    let registries = registries();
    let found = Image::read(&registries, &reference).expect("the image");
    let genuine = attached(&registries, &found, None).expect("the recipe");
    let subject = found.subject.clone();

    // Attached last, and so the first to be taken if nothing spoke against it.
    let attach = |change: &dyn Fn(&mut Artifact)| -> Digest {
        let mut artifact = genuine.bundle.to_artifact("churn", subject.clone());
        change(&mut artifact);
        artifact.push(&registries, &reference, false).expect("attached")
    };
    let text = reference.whole();
    let refused = |recipe: Digest| -> String {
        let machine = Machine::new();
        let (code, stdout, stderr) = machine.fails(&["pull", &text, "--quiet", "--recipe", &recipe.to_string()]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(files_below(&machine.forge.path("")).is_empty());
        let prefix = format!("error: the recipe `{recipe}` is refused: ");
        stderr
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{stderr}"))
            .to_owned()
    };
    let replace = |role: Role, bytes: &'static [u8]| {
        move |artifact: &mut Artifact| {
            for document in artifact.documents.iter_mut().filter(|document| document.media_type == role.media_type()) {
                document.bytes = bytes.to_vec();
            }
        }
    };
    let lock = refused(attach(&replace(Role::Lock, b"format = 2\n")));
    assert!(lock.contains("and the image was made from"), "{lock}");
    let spec = refused(attach(&replace(Role::Spec, b"name: churn\npackages: [evil]\n")));
    assert_eq!(spec, "its lock answers another spec");
    let outside = refused(attach(&|artifact| {
        artifact.documents.push(Document::new(Role::Input.media_type(), b"x".to_vec()).titled("../../outside"));
    }));
    assert_eq!(outside, "the path `../../outside` leads out of the folder");
    let named = refused(attach(&|artifact| {
        artifact.annotations.insert(IMAGE_ANNOTATION.to_owned(), "other".to_owned());
    }));
    assert_eq!(named, "it is for an image `other`, which its lock does not have");

    // One that is damaged in the registry's storage.
    let blob = Digest::of(SPEC.as_bytes()).hex();
    let path = files_below(&server.data())
        .into_keys()
        .find(|path| path.ends_with(&format!("{blob}/data")))
        .expect("the spec's blob");
    fs::write(server.data().join(path), SPEC.replace("churn", "chorn")).expect("written");
    let (code, _, stderr) = Machine::new().fails(&["pull", &text, "--recipe", &genuine.digest.to_string()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("digest"), "{stderr}");
    let (code, _, stderr) = Machine::new().fails(&["pull", &text, "--recipe", "sha256:12"]);
    assert_eq!(
        (code, stderr.as_str()),
        (2, "error: `sha256:12` is no digest: expected `sha256:` and 64 hexadecimal digits\n")
    );
}

/// The image with one file of one layer replaced, as somebody who may push could do it, under the tag `altered` with the
/// genuine recipe.
fn alter(reference: &Reference, file: &str, content: &str) -> Reference {
    let registries = registries();
    let found = Image::read(&registries, reference).expect("the image");
    let recipe = attached(&registries, &found, None).expect("the recipe").bundle;
    let image = &found.images[0];
    let mut manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
    let mut config: Value = serde_json::from_slice(&image.config).expect("JSON");
    for (position, layer) in image.layers.iter().enumerate() {
        let mut packed = registries.open_blob(reference, &layer.digest, Some(layer.size), 0).expect("a blob");
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&mut packed));
        let (mut builder, mut is_altered) = (tar::Builder::new(Vec::new()), false);
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its content");
            let mut header = entry.header().clone();
            let path = entry.path().expect("a path").into_owned();
            if path.ends_with(file) {
                bytes = content.as_bytes().to_vec();
                header.set_size(bytes.len() as u64);
                is_altered = true;
            }
            match header.entry_type() {
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let link = entry.link_name().expect("a target").expect("a target").into_owned();
                    builder.append_link(&mut header, path, link)
                }
                _ => builder.append_data(&mut header, path, bytes.as_slice()),
            }
            .expect("an entry");
        }
        if is_altered {
            let plain = builder.into_inner().expect("an archive");
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &plain).expect("packed");
            let packed = encoder.finish().expect("packed");
            manifest["layers"][position]["digest"] =
                Value::from(push_blob(&registries, reference, &packed).to_string());
            manifest["layers"][position]["size"] = Value::from(packed.len());
            config["rootfs"]["diff_ids"][position] = Value::from(Digest::of(&plain).to_string());
        }
    }
    config["config"]["Env"].as_array_mut().expect("variables").push(Value::from("LD_PRELOAD=/tmp/x.so"));
    let config = config.to_string().into_bytes();
    manifest["config"]["digest"] = Value::from(push_blob(&registries, reference, &config).to_string());
    manifest["config"]["size"] = Value::from(config.len());
    let manifest = manifest.to_string().into_bytes();
    let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
    let altered = Reference::with_tag(registry, repository, "altered".to_owned());
    registries.push_manifest(&altered, &found.subject.media_type, &manifest).expect("pushed");
    let digest = Digest::of(&manifest);
    let subject = Descriptor { digest, size: manifest.len() as u64, ..found.subject };
    recipe.to_artifact("churn", subject).push(&registries, &altered, false).expect("attached");
    altered
}

fn push_blob(registries: &Registries, to: &Reference, bytes: &[u8]) -> Digest {
    let (digest, source) = (Digest::of(bytes), BytesSource(bytes.into()));
    let blob = Blob { digest, size: bytes.len() as u64, source: &source };
    registries.push_blob(to, blob, &[], &Meter::new(|_| {})).expect("pushed");
    digest
}

#[test]
fn an_image_is_made_again_and_compared() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let image = &answer["images"][0];
    let text = image["reference"].as_str().expect("a reference");

    let machine = Machine::new();
    let verified = machine.json(&["verify", text]);
    assert_eq!((&verified["status"], &verified["rebuilt"]), (&Value::from("same"), &image["digest"]));
    assert_eq!(verified["project_files"], "image");
    let layers = verified["platforms"][0]["layers"].as_array().expect("layers");
    assert!(layers.len() > 4 && layers.iter().all(|layer| layer["status"] == "same"), "{layers:#?}");
    assert!(files_below(&machine.forge.path("")).is_empty(), "nothing is left behind");
    assert_eq!(fs::read_dir(machine.cache.path().join("tmp")).expect("a folder").count(), 0);

    // With the packages there, the checkout decides what the project's files should be.
    let checkout = forge.path("").display().to_string();
    let verified = machine.json(&["verify", text, "--project", &checkout, "--platform", "linux/amd64"]);
    assert_eq!((&verified["status"], &verified["project_files"]), (&Value::from("same"), &Value::from("checkout")));
    forge.write("src/main.py", "print(2)\n");
    let (code, stdout, _) = machine.fails(&["verify", text, "--project", &checkout]);
    assert_eq!(code, 1);
    assert!(stdout.contains("\n    srv/app/main.py has another content\n"), "{stdout}");

    let altered = alter(&text.parse().expect("a reference"), "site-packages/six.py", "import os\n").whole();
    let (code, stdout, _) = machine.fails(&["verify", &altered, "--format", "json"]);
    assert_eq!(code, 1);
    let verified: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(verified["status"], "different");
    let platform = &verified["platforms"][0];
    let layers = platform["layers"].as_array().expect("layers").iter();
    let differing: Vec<&Value> = layers.filter(|layer| layer["status"] == "different").collect();
    assert_eq!(differing.len(), 1, "{differing:#?}");
    assert_eq!(differing[0]["packages"], serde_json::json!(["six 1.17.0"]));
    assert_eq!(differing[0]["files"][0]["change"], "content");
    assert_eq!(platform["config"][0]["name"], "config.Env.LD_PRELOAD");
    let (code, stdout, _) = machine.fails(&["verify", &altered]);
    assert_eq!(code, 1);
    assert!(stdout.contains("1 files differ of six 1.17.0"), "{stdout}");
    assert!(stdout.contains("  config: `config.Env.LD_PRELOAD` is `/tmp/x.so`, and should not be there\n"), "{stdout}");

    let (code, _, stderr) = machine.fails(&["verify", text, "--platform", "linux/arm64"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(stderr, @"
    error: the image has no platform `linux/arm64`
    help: it has `linux/amd64`
    ");
}
