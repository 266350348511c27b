//! Config and manifest of an image, derived from its base, its layers and the plan.
//!
//! Source: OCI image specification 1.1, config.md and manifest.md. The bytes are made here, once, with keys in a fixed
//! order; whoever publishes the image sends them as they are. The result says what a Dockerfile with the same settings
//! would: the base's variables stay under ours, its entry point and command do not.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::layers::Kind;
use crate::diagnostic::Hint;
use crate::lock::Moment;
use crate::oci::{AssembledImage, Compression, Digest, Layer, Platform};
use crate::plan::ImageConfig;

const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Fields of a base's `config` that stay; the others are ours, or are left over from the container it was committed from.
const KEPT_FIELDS: [&str; 5] = ["ExposedPorts", "Volumes", "StopSignal", "Healthcheck", "Shell"];

/// Why no image can be made of a base.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config is not JSON of the right shape.
    #[error("the config of the base is damaged: {0}")]
    Config(String),
    /// The base is for another platform.
    #[error("the base is made for {found}, and {wanted} was wanted")]
    Platform {
        /// The plan's platform.
        wanted: Platform,
        /// What the base's config says.
        found: String,
    },
    /// The config lists other layers than the manifest.
    #[error("the config of the base does not list the layers of its manifest")]
    Layers,
    /// A base layer in a format that no engine would find in an OCI image.
    #[error("a layer of the base has the media type `{0}`, which cannot be part of an OCI image")]
    MediaType(String),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        vec!["choose another `base:`".to_owned()]
    }
}

/// A base image that exists already.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Name for the manifest's annotation, `docker.io/library/python:3.11-slim`, and digest of its manifest.
    pub reference: Option<(String, Digest)>,
    /// Its config's bytes.
    pub config: Vec<u8>,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// The image of a base, if there is one, and the layers on top of it. `created` is in seconds since 1970.
pub fn compose(
    platform: Platform,
    base: Option<&BaseImage>,
    layers: Vec<Layer>,
    settings: &ImageConfig,
    created: u64,
) -> Result<AssembledImage, Error> {
    let mut annotations =
        BTreeMap::from([("org.opencontainers.image.created", Moment::from_seconds(created).to_string())]);
    let (mut all, base_config) = match base {
        Some(base) => {
            let config = base_config(base, platform)?;
            if let Some((name, digest)) = &base.reference {
                annotations.insert("org.opencontainers.image.base.name", name.clone());
                annotations.insert("org.opencontainers.image.base.digest", digest.to_string());
            }
            (base.layers.iter().map(base_layer).collect::<Result<Vec<_>, _>>()?, config)
        }
        None => (Vec::new(), json!({})),
    };
    let created_text = Moment::from_seconds(created).to_string();
    let mut history = base_history(&base_config, &all, &created_text);
    for layer in &layers {
        history.push(json!({"created": created_text, "created_by": created_by(layer), "comment": contents(layer)}));
    }
    all.extend(layers);

    let mut config = Map::new();
    config.insert("created".to_owned(), json!(created_text));
    config.insert("architecture".to_owned(), json!(platform.architecture_name()));
    for key in ["variant", "os.version"] {
        if let Some(value) = base_config.get(key).filter(|value| value.is_string()) {
            config.insert(key.to_owned(), value.clone());
        }
    }
    config.insert("os".to_owned(), json!("linux"));
    config.insert("config".to_owned(), runtime_config(base_config.get("config"), settings));
    let diff_ids: Vec<_> = all.iter().map(|layer| layer.diff_id).collect();
    config.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    config.insert("history".to_owned(), json!(history));
    let config = Value::Object(config).to_string().into_bytes();

    let descriptors: Vec<Value> = all
        .iter()
        .map(|layer| {
            let Layer { media_type, digest, size, annotations, .. } = layer;
            json!({"mediaType": media_type, "digest": digest, "size": size, "annotations": annotations})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "config": {"mediaType": CONFIG_MEDIA_TYPE, "digest": Digest::of(&config), "size": config.len()},
        "layers": descriptors,
        "annotations": annotations,
    });
    Ok(AssembledImage {
        platform,
        layers: all,
        config,
        manifest: manifest.to_string().into_bytes(),
        manifest_media_type: MANIFEST_MEDIA_TYPE.to_owned(),
    })
}

fn base_config(base: &BaseImage, platform: Platform) -> Result<Value, Error> {
    let config: Value = serde_json::from_slice(&base.config).map_err(|error| Error::Config(error.to_string()))?;
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
    let found = format!("{}/{}", text("os"), text("architecture"));
    if found != platform.to_string() {
        return Err(Error::Platform { wanted: platform, found });
    }
    let listed = config.pointer("/rootfs/diff_ids").and_then(Value::as_array).ok_or(Error::Layers)?;
    let same = listed.len() == base.layers.len()
        && listed.iter().zip(&base.layers).all(|(id, layer)| id.as_str() == Some(&layer.diff_id.to_string()));
    if same { Ok(config) } else { Err(Error::Layers) }
}

/// The layer as part of an OCI manifest; the bytes are the same under Docker's names for them.
fn base_layer(layer: &Layer) -> Result<Layer, Error> {
    let media_type = match layer.media_type.as_str() {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => Compression::Gzip.media_type(),
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd.media_type(),
        oci if oci.starts_with("application/vnd.oci.image.layer.v1.tar") => oci,
        other => return Err(Error::MediaType(other.to_owned())),
    };
    let mut annotations = layer.annotations.clone();
    annotations.entry("dev.imgforge.layer.kind".to_owned()).or_insert_with(|| Kind::Base.to_string());
    Ok(Layer { media_type: media_type.to_owned(), annotations, ..layer.clone() })
}

/// The base's history if it fits its layers, else one line a layer: engines refuse a history that does not fit.
fn base_history(config: &Value, layers: &[Layer], created: &str) -> Vec<Value> {
    let history = config.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_layer = |entry: &&Value| entry.get("empty_layer") != Some(&Value::Bool(true));
    if history.iter().filter(is_layer).count() == layers.len() {
        return history;
    }
    layers.iter().map(|_| json!({"created": created, "created_by": "base layer"})).collect()
}

fn created_by(layer: &Layer) -> String {
    format!("imgforge {}", layer.annotations.get("dev.imgforge.layer.kind").map_or("layer", String::as_str))
}

fn contents(layer: &Layer) -> &str {
    layer.annotations.get("dev.imgforge.layer.contents").map_or("", String::as_str)
}

fn runtime_config(base: Option<&Value>, settings: &ImageConfig) -> Value {
    let field = |key: &str| base.and_then(|base| base.get(key)).filter(|value| !value.is_null());
    let mut config = Map::new();
    config.insert("User".to_owned(), json!(settings.user));
    config.insert("Env".to_owned(), json!(merged_env(field("Env"), &settings.env)));
    if !settings.entrypoint.is_empty() {
        config.insert("Entrypoint".to_owned(), json!(settings.entrypoint));
    }
    if !settings.command.is_empty() {
        config.insert("Cmd".to_owned(), json!(settings.command));
    }
    config.insert("WorkingDir".to_owned(), json!(settings.workdir));
    let mut labels: BTreeMap<String, Value> = BTreeMap::new();
    if let Some(Value::Object(base_labels)) = field("Labels") {
        labels.extend(base_labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    labels.extend(settings.labels.iter().map(|(name, value)| (name.clone(), json!(value))));
    config.insert("Labels".to_owned(), json!(labels));
    for key in KEPT_FIELDS {
        if let Some(value) = field(key) {
            config.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(config)
}

/// The base's variables in their order, with our values in their places, then ours. `PATH` keeps the base's folders, since
/// a CUDA base has its tools there; those of ours that it lacks come first.
fn merged_env(base: Option<&Value>, ours: &BTreeMap<String, String>) -> Vec<String> {
    let mut left = ours.clone();
    let mut env = Vec::new();
    for variable in base.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        env.push(match left.remove(name) {
            Some(our_path) if name == "PATH" => {
                let known: Vec<&str> = value.split(':').collect();
                let mut folders: Vec<&str> = our_path.split(':').filter(|folder| !known.contains(folder)).collect();
                folders.extend(known);
                format!("PATH={}", folders.join(":"))
            }
            Some(our_value) => format!("{name}={our_value}"),
            None => variable.to_owned(),
        });
    }
    env.extend(left.iter().map(|(name, value)| format!("{name}={value}")));
    env
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::oci::{DiffId, ImageConfiguration, ImageManifest, LayerSource};

    fn layer(name: &str, media_type: &str, annotations: &[(&str, &str)]) -> Layer {
        Layer {
            digest: Digest::of(name.as_bytes()),
            diff_id: DiffId::of(name.as_bytes()),
            size: name.len() as u64,
            media_type: media_type.to_owned(),
            annotations: annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            source: LayerSource::File(PathBuf::from(name)),
        }
    }

    fn settings() -> ImageConfig {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        ImageConfig {
            env: map(&[("LANG", "C.UTF-8"), ("PATH", "/opt/venv/bin:/usr/bin:/bin")]),
            labels: map(&[("title", "churn")]),
            user: "app".to_owned(),
            workdir: "/workspace".to_owned(),
            entrypoint: Vec::new(),
            command: vec!["python".to_owned()],
        }
    }

    fn base() -> BaseImage {
        let docker = layer("base", "application/vnd.docker.image.rootfs.diff.tar.gzip", &[]);
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
            "config": {
                "Env": ["PATH=/usr/local/cuda/bin:/usr/bin:/bin", "CUDA_VERSION=12.4.1", "LANG=C"],
                "Entrypoint": ["/entrypoint.sh"], "Labels": {"title": "cuda", "maintainer": "m"}, "Hostname": "abc",
                "StopSignal": "SIGTERM",
            },
            "rootfs": {"type": "layers", "diff_ids": [docker.diff_id]},
            "history": [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": true}],
        });
        BaseImage { reference: None, config: config.to_string().into_bytes(), layers: vec![docker] }
    }

    fn wheels() -> Layer {
        let annotations = [("dev.imgforge.layer.kind", "wheels"), ("dev.imgforge.layer.contents", "numpy 2.1.0")];
        layer("wheels", Compression::Gzip.media_type(), &annotations)
    }

    #[test]
    fn an_image_without_a_base_has_these_bytes() {
        let image = compose(Platform::AMD64, None, vec![wheels()], &settings(), 0).expect("an image");
        let id = DiffId::of(b"wheels");
        assert_eq!(
            String::from_utf8_lossy(&image.config),
            format!(
                r#"{{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{{"User":"app","Env":["LANG=C.UTF-8","PATH=/opt/venv/bin:/usr/bin:/bin"],"Cmd":["python"],"WorkingDir":"/workspace","Labels":{{"title":"churn"}}}},"rootfs":{{"type":"layers","diff_ids":["{id}"]}},"history":[{{"created":"1970-01-01T00:00:00Z","created_by":"imgforge wheels","comment":"numpy 2.1.0"}}]}}"#
            )
        );
        let manifest = ImageManifest::from_reader(image.manifest.as_slice()).expect("a manifest");
        assert_eq!(manifest.config().digest().to_string(), image.config_digest().to_string());
        assert_eq!(manifest.layers()[0].annotations().as_ref().map(std::collections::HashMap::len), Some(2));
    }

    #[test]
    fn a_bases_settings_stay_under_ours() {
        let image = compose(Platform::AMD64, Some(&base()), vec![wheels()], &settings(), 86_400).expect("an image");
        let config = ImageConfiguration::from_reader(image.config.as_slice()).expect("a config");
        let runtime = config.config().as_ref().expect("a runtime config");
        assert_eq!(
            runtime.env().as_deref(),
            Some(
                [
                    "PATH=/opt/venv/bin:/usr/local/cuda/bin:/usr/bin:/bin".to_owned(),
                    "CUDA_VERSION=12.4.1".to_owned(),
                    "LANG=C.UTF-8".to_owned(),
                ]
                .as_slice()
            )
        );
        assert_eq!((runtime.entrypoint(), runtime.stop_signal().as_deref()), (&None, Some("SIGTERM")));
        let labels = runtime.labels().as_ref().expect("labels");
        assert_eq!((labels["title"].as_str(), labels["maintainer"].as_str()), ("churn", "m"));
        assert_eq!(config.history().as_ref().map(Vec::len), Some(3));
        assert_eq!(image.layers[0].media_type, Compression::Gzip.media_type());
        assert!(!String::from_utf8_lossy(&image.config).contains("Hostname"));
    }

    #[test]
    fn a_base_that_does_not_fit_is_refused() {
        let compose = |platform, base: &BaseImage| compose(platform, Some(base), Vec::new(), &settings(), 0);
        let error = compose(Platform::ARM64, &base()).expect_err("another platform");
        assert_eq!(error.to_string(), "the base is made for linux/amd64, and linux/arm64 was wanted");
        let other = BaseImage { layers: Vec::new(), ..base() };
        assert!(matches!(compose(Platform::AMD64, &other), Err(Error::Layers)));
        let damaged = BaseImage { config: b"{".to_vec(), ..base() };
        assert!(matches!(compose(Platform::AMD64, &damaged), Err(Error::Config(_))));
        let mut foreign = base();
        foreign.layers[0].media_type = "application/x-tar".to_owned();
        assert!(matches!(compose(Platform::AMD64, &foreign), Err(Error::MediaType(_))));
    }

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Moment::from_seconds(seconds).to_string(), text);
        }
    }
}
