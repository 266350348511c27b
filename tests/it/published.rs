//! What lies beside an image that was pushed: documents, recipe, stack; for one platform of several and for all; on registries
//! that take it, and on one that takes images only.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use imgforge::oci::{Digest, Reference};
use imgforge::publish::artifact::Artifact;
use imgforge::share::bundle::RECIPE_TYPE;
use imgforge::share::stack::STACK_TYPE;
use serde_json::Value;

use crate::support::colleague::{Machine, project, push, registries};
use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{images, run};

/// Types of what an answer says is attached to its first image, in order.
fn attached(answer: &Value) -> Vec<&str> {
    let list = answer["images"][0]["attached"].as_array().expect("a list").iter();
    list.map(|known| known["type"].as_str().expect("a type")).collect()
}

#[test]
fn everything_beside_the_image_is_listed() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let expected = [
        RECIPE_TYPE,
        "application/spdx+json",
        "application/vnd.cyclonedx+json",
        "application/vnd.in-toto+json",
        STACK_TYPE,
    ];
    assert_eq!(attached(&answer), expected);
    let image = &answer["images"][0];
    let listed = image["attached"].as_array().expect("a list");
    assert!(listed.iter().all(|known| known["subject"] == image["digest"]), "{listed:?}");
    // What is listed is there.
    let reference: Reference = image["reference"].as_str().expect("a reference").parse().expect("a reference");
    for known in listed {
        let digest = known["digest"].as_str().expect("a digest").to_owned();
        let artifact = Artifact::read(&registries(), &reference.clone_with_digest(digest)).expect("an artifact");
        assert_eq!(known["type"], artifact.artifact_type.as_str());
    }
    let without = push(&forge, &server, &["--no-recipe", "--no-attest"]);
    assert_eq!(attached(&without), [""; 0]);
    assert_eq!(without["images"][0]["stack"], Value::Null);
}

#[test]
fn the_stack_is_one_file_that_compose_takes_from_the_registry() {
    let (server, forge) = (RegistryServer::plain(), project());
    let answer = push(&forge, &server, &[]);
    let image = &answer["images"][0];
    let stack = image["stack"].as_str().expect("a stack");
    assert_eq!(stack, format!("{}/ml/churn:latest-stack", server.host()));
    let artifact = Artifact::read(&registries(), &stack.parse().expect("a reference")).expect("an artifact");
    assert_eq!(artifact.artifact_type, STACK_TYPE);
    assert_eq!(artifact.subject.expect("the image").digest.to_string(), image["digest"]);
    let [document] = artifact.documents.as_slice() else { panic!("one file") };
    let text = std::str::from_utf8(&document.bytes).expect("UTF-8");
    assert!(text.contains(image["reference"].as_str().expect("a reference")), "the image by digest:\n{text}");
    for private in ["./", "POSTGRES_PASSWORD:-", "build:", "env_file"] {
        assert!(!text.contains(private), "`{private}`:\n{text}");
    }

    // Docker Compose resolves it on a machine that has nothing.
    let machine = Machine::new();
    let stack = Stack { machine: &machine, reference: stack.to_owned() };
    let config: Value = serde_json::from_str(&run(&mut stack.compose(&["config", "--format", "json"]))).expect("JSON");
    assert_eq!(config["services"]["app"]["image"], image["reference"]);
    let postgres = &config["services"]["postgres"];
    let mounted: Vec<&str> = postgres["configs"]
        .as_array()
        .expect("scripts")
        .iter()
        .map(|config| config["target"].as_str().expect("a target"))
        .collect();
    assert_eq!(
        mounted,
        ["/docker-entrypoint-initdb.d/01-customers.sql", "/docker-entrypoint-initdb.d/csv/01-customers.csv"]
    );
    let contents: Vec<&str> = config["configs"]
        .as_object()
        .expect("configs")
        .values()
        .map(|config| config["content"].as_str().expect("a content"))
        .collect();
    assert!(contents.contains(&"id,name\n1,Ada\n"), "{contents:?}");
    let volumes =
        config["services"].as_object().expect("services").values().filter_map(|one| one["volumes"].as_array());
    assert!(volumes.flatten().all(|volume| volume["type"] == "volume"), "no file of the first machine");
}

const SHOP: &str = "name: shop\npython: \"3.13\"\npackages: [psycopg2-binary]\nfiles: [{from: src, to: /srv/app}]\n\
                    command: [python, /srv/app/main.py]\nservices: {postgres: {seed: [data/customers.csv]}}\n";
const PROGRAM: &str = "import os, psycopg2\ncursor = psycopg2.connect(os.environ['DATABASE_URL']).cursor()\n\
                       cursor.execute('SELECT name FROM customers ORDER BY id')\nprint(*(row[0] for row in cursor))\n";

/// A stack that Docker Compose takes from a registry, on a machine with an empty home; dropping it removes containers and
/// volumes.
struct Stack<'a> {
    machine: &'a Machine,
    reference: String,
}

impl Stack<'_> {
    /// `docker compose`; before 2.34 such a place had to be allowed. Port 0 is any free one.
    fn compose(&self, arguments: &[&str]) -> Command {
        let mut compose = self.machine.docker();
        compose.args(["compose", "--file", &format!("oci://{}", self.reference)]).args(arguments);
        compose.env("COMPOSE_EXPERIMENTAL_OCI_REMOTE", "true").env("POSTGRES_PORT", "0");
        compose
    }

    /// What its own container printed, once that has ended well.
    fn printed(&self) -> String {
        let container = run(&mut self.compose(&["ps", "--all", "--quiet", "app"]));
        assert_eq!(run(self.machine.docker().args(["wait", &container])), "0");
        run(self.machine.docker().args(["logs", &container]))
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "5"]).output();
    }
}

#[test]
fn a_registry_is_all_that_a_second_machine_needs() {
    images::postgres();
    let (server, forge) = (RegistryServer::plain(), Forge::new());
    forge.write("spec.yaml", SHOP);
    forge.write("src/main.py", PROGRAM);
    forge.write("data/customers.csv", "id,name\n1,Ada\n2,Grace\n");
    let mut build = forge.imgforge_with_engine();
    let repository = format!("{}/ml/shop", server.host());
    build.args(["build", "spec.yaml", "--push", "--format", "json", "--repository", &repository]);
    let answer: Value = serde_json::from_str(&standard_output(&mut build)).expect("JSON");
    let image = &answer["images"][0];
    let reference = image["reference"].as_str().expect("a reference");
    drop(forge);

    let machine = Machine::new();
    let pulled = machine.json(&["pull", reference]);
    assert_eq!(pulled["digest"], image["digest"]);
    assert_eq!(machine.forge.read("shop/spec.yaml"), SHOP);
    let verified = machine.json(&["verify", reference]);
    assert_eq!((&verified["status"], &verified["digest"]), (&Value::from("same"), &image["digest"]));
    let version = ["run", "--rm", reference, "python", "-c", "import psycopg2; print(psycopg2.paramstyle)"];
    assert_eq!(run(machine.docker().args(version)), "pyformat");

    let stack = Stack { machine: &machine, reference: image["stack"].as_str().expect("a stack").to_owned() };
    run(&mut stack.compose(&["up", "--detach", "--quiet-pull"]));
    assert_eq!(run(&mut stack.compose(&["ps", "--format", "{{.Health}}", "postgres"])), "healthy");
    assert_eq!(stack.printed(), "Ada Grace", "the image's own program reads the seed");
    run(&mut stack.compose(&["down", "--volumes", "--timeout", "5"]));
    assert_eq!(run(&mut stack.compose(&["ps", "--all", "--quiet"])), "");
}

#[test]
fn an_index_is_inspected_as_a_whole_and_built_in_parts() {
    let server = RegistryServer::plain();
    let forge = Forge::new();
    forge.write("spec.yaml", "name: churn\npython: \"3.13\"\nplatforms: [linux/amd64, linux/arm64]\npackages: [six]\n");
    let whole = push(&forge, &server, &[]);
    let image = &whole["images"][0];
    let reference = image["reference"].as_str().expect("a reference").to_owned();
    let machine = Machine::new();

    let shown = machine.json(&["inspect", &reference]);
    assert_eq!((&shown["digest"], &shown["name"]), (&image["digest"], &Value::from("churn")));
    let platforms = shown["platforms"].as_array().expect("platforms");
    assert_eq!(platforms.iter().map(|one| &one["platform"]).collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    for platform in platforms {
        let layers = platform["layers"].as_array().expect("layers");
        let packages = layers.iter().flat_map(|layer| layer["packages"].as_array().expect("packages"));
        let six = packages.into_iter().find(|package| package["name"] == "six").expect("six");
        assert!(six["size"].as_u64().is_some_and(|size| size > 0), "{six}");
        assert_eq!(platform["size"].as_u64().map(|size| size > 10_000_000), Some(true));
    }
    // Documents belong to one platform each, the recipe to the whole.
    let subjects = |kind: &str| -> Vec<&Value> {
        let list = shown["attached"].as_array().expect("a list").iter();
        list.filter(|known| known["type"] == kind).map(|known| &known["subject"]).collect()
    };
    assert_eq!(subjects(RECIPE_TYPE), [&image["digest"]]);
    assert_eq!(subjects("application/spdx+json"), [&platforms[0]["digest"], &platforms[1]["digest"]]);
    let text = standard_output(&mut machine.imgforge(&["inspect", &reference]));
    let page = standard_output(&mut machine.imgforge(&["inspect", &reference, "--format", "html"]));
    for platform in platforms {
        for name in [&platform["platform"], &platform["digest"]] {
            let name = name.as_str().expect("a text");
            assert!(text.contains(name) && page.contains(name), "{name}");
        }
    }
    // A build into a folder shows the same, without what lies beside it.
    standard_output(forge.imgforge().args(["build", "spec.yaml"]));
    let built = standard_output(forge.imgforge().args(["inspect", "spec.yaml", "--format", "json"]));
    let built: Value = serde_json::from_str(&built).expect("JSON");
    assert_eq!(built["platforms"], shown["platforms"]);

    // One of the platforms alone names the lock that is on disk, and brings it back whole.
    let part = push(&forge, &server, &["--platform", "linux/arm64", "--no-reuse"]);
    assert_eq!(part["images"][0]["digest"], platforms[1]["digest"], "the same image as in the whole");
    let reference = part["images"][0]["reference"].as_str().expect("a reference");
    let lock = forge.read("imgforge.lock");
    let shown = machine.json(&["inspect", reference]);
    assert_eq!(shown["lock"], Digest::of(lock.as_bytes()).to_string());
    machine.json(&["pull", reference]);
    assert_eq!(machine.forge.read("churn/imgforge.lock"), lock);
    let verified = machine.json(&["verify", reference]);
    assert_eq!(verified["status"], "same");
}

/// A registry that takes images, and answers 400 to a manifest that says which artifact it is.
fn images_only(server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    // The threads end with the test process.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || pass_on(client, server));
        }
    });
    host
}

/// One request of a connection, its answer, and the end of it.
fn pass_on(client: TcpStream, server: SocketAddr) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0_usize);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            head += "connection: close\r\n\r\n";
            break;
        }
        if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut client = client;
    if head.starts_with("PUT")
        && head.contains("/manifests/")
        && String::from_utf8_lossy(&body).contains("\"artifactType\"")
    {
        let answer = r#"{"errors": [{"code": "MANIFEST_INVALID", "message": "no artifacts here"}]}"#;
        let length = answer.len();
        write!(client, "HTTP/1.1 400 Bad Request\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
            .ok()?;
        return Some(());
    }
    let mut upstream = TcpStream::connect(server).ok()?;
    upstream.write_all(head.as_bytes()).ok()?;
    upstream.write_all(&body).ok()?;
    std::io::copy(&mut upstream, &mut client).ok()?;
    Some(())
}

#[test]
fn a_registry_of_images_only_gets_the_image_and_no_signature() {
    let (server, forge) = (RegistryServer::plain(), project());
    let repository = format!("{}/ml/churn", images_only(server.address()));
    let build = |arguments: &[&str], code: i32| {
        let mut command = forge.imgforge();
        command.args(["build", "spec.yaml", "--push", "--format", "json", "--repository", &repository]).args(arguments);
        let output = command.env("COSIGN_PASSWORD", "").assert().code(code).get_output().clone();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    };
    // What goes along by default is left out with a warning each.
    let (stdout, stderr) = build(&[], 0);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(attached(&answer), [""; 0]);
    let warnings: Vec<&str> =
        stderr.lines().filter(|line| line.starts_with("warning: the image is pushed, ")).collect();
    assert_eq!(warnings.len(), 5, "recipe, stack and three documents:\n{stderr}");
    assert!(warnings.iter().all(|line| line.contains("no artifacts here")), "{stderr}");
    let plain: Reference = format!("{}/ml/churn:latest", server.host()).parse().expect("a reference");
    let found = registries().manifest_digest(&plain).expect("an answer").map(|digest| digest.to_string());
    assert_eq!(found.as_deref(), answer["images"][0]["digest"].as_str());

    // A signature was asked for.
    forge.imgforge().args(["keys", "generate"]).env("COSIGN_PASSWORD", "").assert().success();
    let (stdout, stderr) = build(&["--sign-key", "sign.key"], 2);
    assert_eq!(stdout, "");
    assert!(stderr.contains("is pushed, but `application/vnd.dev.sigstore.bundle.v0.3+json` is not: "), "{stderr}");
}
