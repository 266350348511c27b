//! What a spec says, without how it is written: the JSON whose sha256 is [`Spec::digest`].
//!
//! Comments, layout, the order of mapping keys, the spec's own path and the split into requirements files do not appear.
//! Defaults do, so that writing a default out changes nothing.

use serde_json::{Value, json};

use super::{ArtifactStore, BaseChoice, Located, MlflowBackend, Spec, Target};
use crate::oci::Digest;
use crate::oci::tag::TagTemplate;

/// Address of the meaning.
pub(super) fn digest(spec: &Spec) -> Digest {
    Digest::of(meaning(spec).to_string().as_bytes())
}

fn tags(templates: &[TagTemplate]) -> Vec<String> {
    templates.iter().map(ToString::to_string).collect()
}

fn texts<T: ToString>(values: &[Located<T>]) -> Vec<String> {
    values.iter().map(|located| located.value.to_string()).collect()
}

fn text<T: ToString>(value: Option<&Located<T>>) -> Option<String> {
    value.map(|located| located.value.to_string())
}

fn paths<'a>(values: impl IntoIterator<Item = &'a Located<std::path::PathBuf>>) -> Vec<String> {
    values.into_iter().map(|path| path.value.display().to_string()).collect()
}

fn target(target: &Target) -> Value {
    match target {
        Target::Instance { cloud, instance } => json!({"cloud": cloud, "instance": instance}),
        Target::Card { gpu, driver, platform } => json!({
            "gpu": gpu,
            "driver": driver.as_ref().map(ToString::to_string),
            "platform": platform.as_ref().map(ToString::to_string),
        }),
        Target::Cpu => json!("cpu"),
    }
}

fn base(base: &BaseChoice) -> String {
    match base {
        BaseChoice::Auto => "auto".to_owned(),
        BaseChoice::Debian => "debian".to_owned(),
        BaseChoice::Slim => "slim".to_owned(),
        BaseChoice::Cuda => "cuda".to_owned(),
        BaseChoice::Reference(reference) => reference.whole(),
    }
}

/// Keys in a fixed order: the text of this value is hashed.
fn meaning(spec: &Spec) -> Value {
    let frameworks: Vec<Value> = spec
        .frameworks
        .iter()
        .map(|framework| {
            json!({
                "family": framework.family.value,
                "version": framework.version.to_string(),
                "build": text(framework.build.as_ref()),
                "with": texts(&framework.with),
            })
        })
        .collect();
    let indexes: Vec<Value> = spec
        .indexes
        .iter()
        .map(|index| json!({"name": index.name.value, "url": index.url.value.as_str(), "packages": index.packages}))
        .collect();
    let file_pins: Vec<Value> = spec
        .file_pins
        .iter()
        .map(|pin| {
            let pin = &pin.value;
            let mut digests: Vec<String> = pin.digests.iter().map(ToString::to_string).collect();
            digests.sort_unstable();
            let place = pin.place.as_ref().map(ToString::to_string);
            json!({"requirement": pin.requirement.to_string(), "place": place, "digests": digests})
        })
        .collect();
    let files: Vec<Value> = spec.files.iter().map(|file| json!({"from": paths([&file.from]), "to": file.to})).collect();
    let services = &spec.services;
    let mut meaning = json!({
        "name": spec.name.value,
        "targets": spec.targets.iter().map(|located| target(&located.value)).collect::<Vec<_>>(),
        "platforms": texts(&spec.platforms),
        "python": text(spec.python.as_ref()),
        "frameworks": frameworks,
        "packages": texts(&spec.packages),
        "constraints": texts(&spec.constraints),
        "indexes": indexes,
        "system": texts(&spec.system),
        "cuda": text(spec.cuda.as_ref()),
        "cudnn": text(spec.cudnn.as_ref()),
        "os": spec.os.as_ref().map(|os| format!("{} {}", os.value.distribution, os.value.release)),
        "base": base(&spec.base.value),
        "repository": text(spec.image.repository.as_ref()),
        "tags": tags(&spec.image.tags),
        "files": files,
        "env": spec.env,
        "workdir": spec.workdir,
        "user": spec.user,
        "entrypoint": spec.entrypoint,
        "command": spec.command,
        "run": texts(&spec.run),
        "postgres": services.postgres.as_ref().map(|postgres| json!({
            "version": postgres.version.value,
            "seed": paths(&postgres.seed),
        })),
        "redis": services.redis.as_ref().map(|redis| json!({"version": redis.version.value})),
        "mlflow": services.mlflow.as_ref().map(|mlflow| json!({
            "backend": match mlflow.backend {
                MlflowBackend::Postgres => "postgres",
                MlflowBackend::Sqlite => "sqlite",
            },
            "artifacts": match &mlflow.artifacts {
                ArtifactStore::Volume => "volume",
                ArtifactStore::Bucket(url) => url,
            },
        })),
    });
    // Keys that came later are there only where they say something, so that older locks stay current.
    if !spec.image.compression.is_default() {
        meaning["compression"] = json!(spec.image.compression);
    }
    if let Some(mirror) = &spec.image.mirror {
        meaning["mirror"] = json!(mirror.value);
    }
    if spec.compile {
        meaning["compile"] = json!(true);
    }
    if let Some(version) = &spec.image.version {
        meaning["version"] = json!(version);
    }
    if !spec.image.immutable_tags.is_empty() {
        meaning["immutable_tags"] = json!(tags(&spec.image.immutable_tags));
    }
    if !file_pins.is_empty() {
        meaning["file_pins"] = file_pins.into();
    }
    meaning
}
