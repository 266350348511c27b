use std::path::Path;

use super::super::*;
use super::parse;

fn version(spec: &Spec, family: &str) -> String {
    let framework = spec.frameworks.iter().find(|framework| framework.family.value == family);
    framework.expect("the family").version.to_string()
}

fn tags(spec: &Spec) -> Vec<String> {
    spec.image.tags.iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_spec_has_defaults() {
    let spec = parse("name: churn\n").expect("valid");
    assert_eq!(spec.name.value, "churn");
    assert_eq!(spec.name.origin.as_ref().map(|origin| (origin.line(), origin.column())), Some((1, 7)));
    assert_eq!(spec.targets, [Located::default_of(Target::Cpu)]);
    assert_eq!(spec.base, Located::default_of(BaseChoice::Auto));
    assert_eq!(tags(&spec), ["latest"]);
    assert_eq!(spec.user, "app");
    assert_eq!(spec.command, ["python"]);
    assert!(spec.platforms.is_empty() && spec.python.is_none() && spec.services.postgres.is_none());
}

#[test]
fn every_key_of_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("requirements.txt", "scikit-learn==1.5.2\n"),
        ("schema.sql", "create table t (a int);"),
        ("customers.csv", "a\n1\n"),
        ("main.py", ""),
    ] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    std::fs::create_dir(folder.path().join("src")).expect("made");
    let text = r#"
name: churn
targets:
  - aws/g4dn.xlarge
  - azure/Standard_NC4as_T4_v3
  - gcp/n1-standard-4+nvidia-tesla-t4
  - {gpu: RTX 4090, driver: "535.104.05"}
  - {gpu: GH200, platform: linux/arm64}
  - cpu
platforms: [linux/amd64, linux/arm64]
python: 3.10
frameworks:
  tensorflow: 2.10
  pytorch: {version: "2.5.1", build: cu121, with: [torchvision, torchaudio]}
  jax: ">=0.4.30,<0.5"
packages:
  - transformers>=4.44
  - "Acme_Tools[fast]>=1 ; python_version < '3.12'"
  - {file: requirements.txt}
indexes:
  - {name: internal, url: "https://packages.example.com/simple", packages: ["Acme_*"]}
system: [git, libgl1, g++]
cuda: 12.10
cudnn: "9"
os: ubuntu 22.04
base: registry.example.com/base/python:3.10@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
image:
  repository: registry.example.com:5000/ml/churn
  tags: [latest, 1.0]
files:
  - {from: ./src/, to: /workspace//src/}
  - {from: main.py, to: /workspace/}
env: {OMP_NUM_THREADS: 4, DEBUG: true, RATE: 1.50, EMPTY: ""}
workdir: /workspace/
user: trainer
entrypoint: [tini, --]
command: [python, -m, main]
run: ["make -C /workspace/ext"]
services:
  postgres: {version: 16, seed: [schema.sql, customers.csv]}
  redis: {}
  mlflow: {backend: postgres, artifacts: "s3://bucket/prefix"}
"#;
    let spec = Spec::parse(Path::new("spec.yaml"), text, folder.path()).expect("valid");
    let card = |gpu: &str, driver: Option<&str>, platform| Target::Card {
        gpu: gpu.into(),
        driver: driver.map(|driver| driver.parse().expect("a driver")),
        platform,
    };
    let instance = |cloud: &str, instance: &str| Target::Instance { cloud: cloud.into(), instance: instance.into() };
    let targets: Vec<Target> = spec.targets.iter().map(|target| target.value.clone()).collect();
    assert_eq!(
        targets,
        [
            instance("aws", "g4dn.xlarge"),
            instance("azure", "Standard_NC4as_T4_v3"),
            instance("gcp", "n1-standard-4+nvidia-tesla-t4"),
            card("RTX 4090", Some("535.104.05"), None),
            card("GH200", None, Some(Platform::ARM64)),
            Target::Cpu,
        ]
    );
    assert_eq!(spec.targets.iter().map(|target| target.origin.as_ref().map_or(0, Origin::line)).sum::<usize>(), 39);
    assert_eq!(spec.platforms.len(), 2);
    assert_eq!(spec.python.as_ref().map(|python| python.value.to_string()).as_deref(), Some("==3.10.*"));
    assert_eq!(version(&spec, "tensorflow"), "==2.10.*");
    assert_eq!(version(&spec, "pytorch"), "==2.5.1");
    assert_eq!(version(&spec, "jax"), ">=0.4.30, <0.5");
    let pytorch = &spec.frameworks[1];
    assert_eq!(pytorch.build.as_ref().map(|build| build.value.as_str()), Some("cu121"));
    assert_eq!(pytorch.with.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["torchvision", "torchaudio"]);
    assert_eq!(
        spec.packages.iter().map(|package| package.value.to_string()).collect::<Vec<_>>(),
        ["transformers>=4.44", "acme-tools[fast]>=1 ; python_full_version < '3.12'", "scikit-learn==1.5.2"]
    );
    assert_eq!(spec.indexes[0].packages, ["acme-*"]);
    assert_eq!(spec.indexes[0].url.value.as_str(), "https://packages.example.com/simple");
    assert_eq!(spec.system.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["git", "libgl1", "g++"]);
    assert_eq!(spec.cuda.as_ref().map(|cuda| cuda.value.to_string()).as_deref(), Some("12.10"));
    assert_eq!(spec.cudnn.as_ref().map(|cudnn| cudnn.value.to_string()).as_deref(), Some("9"));
    let os = spec.os.as_ref().map(|os| (os.value.distribution.as_str(), os.value.release.to_string()));
    assert_eq!(os, Some(("ubuntu", "22.04".to_owned())));
    let BaseChoice::Reference(reference) = &spec.base.value else { panic!("{:?}", spec.base) };
    assert_eq!((reference.repository(), reference.tag()), ("base/python", Some("3.10")));
    assert_eq!(
        spec.image.repository.as_ref().map(|name| name.value.as_str()),
        Some("registry.example.com:5000/ml/churn")
    );
    assert_eq!(tags(&spec), ["latest", "1.0"]);
    assert_eq!(
        spec.files.iter().map(|file| (file.from.value.as_path(), file.to.as_str())).collect::<Vec<_>>(),
        [(Path::new("src"), "/workspace/src"), (Path::new("main.py"), "/workspace/main.py")]
    );
    let env: Vec<(&str, &str)> = spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("DEBUG", "true"), ("EMPTY", ""), ("OMP_NUM_THREADS", "4"), ("RATE", "1.50")]);
    assert_eq!(spec.workdir.as_deref(), Some("/workspace"));
    assert_eq!(spec.user, "trainer");
    assert_eq!(spec.entrypoint, ["tini", "--"]);
    assert_eq!(spec.command, ["python", "-m", "main"]);
    assert_eq!(spec.run[0].value, "make -C /workspace/ext");
    let postgres = spec.services.postgres.as_ref().expect("a service");
    assert_eq!(postgres.version.value, "16");
    assert_eq!(
        postgres.seed.iter().map(|seed| seed.value.as_path()).collect::<Vec<_>>(),
        [Path::new("schema.sql"), Path::new("customers.csv")]
    );
    assert_eq!(spec.services.redis.as_ref().map(|redis| redis.version.value.as_str()), Some("7"));
    let mlflow = spec.services.mlflow.as_ref().expect("a service");
    assert_eq!(mlflow.backend, MlflowBackend::Postgres);
    assert_eq!(mlflow.artifacts, ArtifactStore::Bucket("s3://bucket/prefix".into()));
}

#[test]
fn several_cards_sold_apart_are_counted_behind_their_name() {
    let spec = parse("name: x\ntargets: [gcp/n1-standard-4+nvidia-tesla-t4:2]\n").expect("valid");
    let target = spec.targets.first().map(|target| target.value.clone());
    let instance = "n1-standard-4+nvidia-tesla-t4:2".to_owned();
    assert_eq!(target, Some(Target::Instance { cloud: "gcp".to_owned(), instance }));
}

#[test]
fn an_operating_system_is_written_with_a_space_or_as_in_a_tag() {
    for (written, distribution, release) in [
        ("ubuntu 22.04", "ubuntu", "22.04"),
        ("ubuntu22.04", "ubuntu", "22.04"),
        ("debian:12", "debian", "12"),
        ("rockylinux9", "rockylinux", "9"),
        ("rockylinux 9", "rockylinux", "9"),
        ("ubi9", "ubi", "9"),
        ("amzn2023", "amzn", "2023"),
    ] {
        let spec = parse(&format!("name: x\nos: {written}\n")).expect(written);
        let os = spec.os.expect("an operating system").value;
        assert_eq!((os.distribution.as_str(), os.release.to_string().as_str()), (distribution, release), "{written}");
    }
}

#[test]
fn versions_alone_mean_what_the_contract_says() {
    for (text, meaning) in [
        ("3.11", "==3.11.*"),
        ("\"3\"", "==3.*"),
        ("'>=3.10,<3.13'", ">=3.10, <3.13"),
        ("==3.12", "==3.12"),
        ("~=3.9", "~=3.9"),
    ] {
        let spec = parse(&format!("name: x\npython: {text}\n")).expect(text);
        assert_eq!(spec.python.map(|python| python.value.to_string()).as_deref(), Some(meaning), "{text}");
    }
    for (text, meaning) in [
        ("2.5.1", "==2.5.1"),
        ("2.10", "==2.10.*"),
        ("2", "==2.*"),
        ("2.6.0rc1", "==2.6.0rc1"),
        ("2.6rc1", "==2.6rc1"),
        ("'>=2.4,<2.7'", ">=2.4, <2.7"),
        ("{build: cpu}", ""),
        ("{version: 2.10}", "==2.10.*"),
    ] {
        let spec = parse(&format!("name: x\nframeworks: {{pytorch: {text}}}\n")).expect(text);
        assert_eq!(version(&spec, "pytorch"), meaning, "{text}");
    }
}

#[test]
fn aliases_keep_the_text_of_their_anchor() {
    let spec = parse("name: x\npython: &line 3.10\nframeworks: {pytorch: &two 2.10, jax: *two, cupy: *line}\n");
    let spec = spec.expect("valid");
    assert_eq!(version(&spec, "jax"), "==2.10.*");
    assert_eq!(version(&spec, "cupy"), "==3.10.*");
}

#[test]
fn bases_and_stores() {
    for (text, base) in [
        ("auto", BaseChoice::Auto),
        ("debian", BaseChoice::Debian),
        ("slim", BaseChoice::Slim),
        ("cuda", BaseChoice::Cuda),
    ] {
        assert_eq!(parse(&format!("name: x\nbase: {text}\n")).expect(text).base.value, base);
    }
    let base = parse("name: x\nbase: python:3.11-slim\n").expect("valid").base.value;
    assert!(matches!(&base, BaseChoice::Reference(image) if image.repository() == "library/python"), "{base:?}");
    for (text, store) in [
        ("volume", ArtifactStore::Volume),
        ("gs://bucket", ArtifactStore::Bucket("gs://bucket".into())),
        (
            "wasbs://box@account.blob.core.windows.net/runs",
            ArtifactStore::Bucket("wasbs://box@account.blob.core.windows.net/runs".into()),
        ),
    ] {
        let spec = parse(&format!("name: x\nservices: {{mlflow: {{artifacts: \"{text}\"}}}}\n")).expect(text);
        let mlflow = spec.services.mlflow.expect("a service");
        assert_eq!((mlflow.artifacts, mlflow.backend), (store, MlflowBackend::Sqlite));
    }
}

#[test]
fn the_digest_follows_the_meaning_alone() {
    let digest = |text: &str| parse(text).expect(text).digest;
    let one =
        digest("name: x\npackages: [\"numpy>=1,<3\"]\nenv: {A: 1, B: 2}\nframeworks: {jax: 0.5.0, cupy: \"13\"}\n");
    let other = digest(
        "# comment\nframeworks:\n  cupy: 13\n  jax: {version: ==0.5.0}\nenv:\n  B: \"2\"\n  A: '1'\n\
         targets: [cpu]\nbase: auto\nuser: app\nimage: {tags: [latest]}\npackages:\n- numpy <3, >=1\nname: x\n",
    );
    assert_eq!(one, other);
    let base = digest("name: x\n");
    for changed in [
        "name: y\n",
        "name: x\ntargets: [aws/a]\n",
        "name: x\npython: 3.11\n",
        "name: x\nframeworks: {jax: {}}\n",
        "name: x\npackages: [a]\n",
        "name: x\nimage: {tags: [b]}\n",
        "name: x\nimage: {repository: a/b}\n",
        "name: x\nenv: {A: b}\n",
        "name: x\nrun: [make]\n",
        "name: x\nservices: {redis: {}}\n",
        "name: x\nservices: {mlflow: {}}\n",
    ] {
        assert_ne!(digest(changed), base, "{changed}");
    }
    assert_eq!(
        base.to_string(),
        "sha256:fbf078c6fef1f7529ee5179dbdd385c859b7cc7d401e9b183c33ce9aa82fbeea",
        "locks of earlier runs depend on it"
    );
}

/// Keys at `path` that the parser knows, from its own error about one that it does not know.
fn parser_keys(path: &str, wrap: impl Fn(&str) -> String) -> Vec<String> {
    let error = parse(&wrap("no_such_key")).expect_err(path);
    match error {
        Error::Invalid { problem: Problem::UnknownKey { key, allowed }, .. } => {
            assert_eq!(key, "no_such_key");
            allowed.into_iter().map(str::to_owned).collect()
        }
        other => panic!("{path}: {other}"),
    }
}

#[test]
fn the_schema_knows_the_keys_of_the_parser() {
    let schema = Spec::schema();
    for (definition, line) in [
        ("", "{}: 1"),
        ("Card", "targets: [{gpu: a, {}: 1}]"),
        ("Framework", "frameworks: {jax: {{}: 1}}"),
        ("RequirementsFile", "packages: [{{}: 1}]"),
        ("Index", "indexes: [{{}: 1}]"),
        ("Image", "image: {{}: 1}"),
        ("File", "files: [{{}: 1}]"),
        ("Services", "services: {{}: 1}"),
        ("Postgres", "services: {postgres: {{}: 1}}"),
        ("Redis", "services: {redis: {{}: 1}}"),
        ("Mlflow", "services: {mlflow: {{}: 1}}"),
    ] {
        let mut known = parser_keys(definition, |key| format!("name: x\n{}\n", line.replacen("{}", key, 1)));
        let object = if definition.is_empty() { &schema } else { &schema["$defs"][definition] };
        let properties = object["properties"].as_object().expect(definition);
        let mut keys: Vec<String> = properties.keys().cloned().collect();
        keys.sort();
        known.sort();
        assert_eq!(keys, known, "{definition}");
        assert_eq!(object["additionalProperties"], false, "{definition}");
        assert!(properties.values().all(|property| property["description"].is_string()), "{definition}");
    }
    assert_eq!(schema["required"], serde_json::json!(["name"]));
}
