//! An OCI image layout, read with nothing but JSON and SHA-256: <https://specs.opencontainers.org/image-spec/image-layout/>.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A layout with one image for one platform.
pub(crate) struct Layout {
    folder: PathBuf,
    /// Digest of the manifest, `sha256:…`.
    pub(crate) digest: String,
    /// The manifest.
    pub(crate) manifest: Value,
}

/// A layer as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layer {
    pub(crate) kind: String,
    pub(crate) contents: String,
    pub(crate) digest: String,
}

impl Layout {
    /// Opens the layout and checks that its descriptors tell the truth.
    #[track_caller]
    pub(crate) fn open(folder: &Path) -> Self {
        let marker: Value = parse(&fs::read(folder.join("oci-layout")).expect("the marker of a layout"));
        assert_eq!(marker["imageLayoutVersion"], "1.0.0");
        let index = parse(&fs::read(folder.join("index.json")).expect("the index"));
        let manifests = index["manifests"].as_array().expect("manifests");
        assert_eq!(manifests.len(), 1, "{index}");
        let mut layout =
            Self { folder: folder.to_owned(), digest: text(&manifests[0]["digest"]), manifest: Value::Null };
        layout.manifest = parse(&layout.blob(&manifests[0]));
        layout
    }

    /// The bytes that a descriptor stands for.
    #[track_caller]
    pub(crate) fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = text(&descriptor["digest"]);
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        let bytes = fs::read(self.folder.join("blobs/sha256").join(hex)).expect("a blob of the layout");
        let found = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        assert_eq!((found.as_str(), bytes.len() as u64), (hex, descriptor["size"].as_u64().expect("a size")));
        bytes
    }

    /// The image's configuration.
    #[track_caller]
    pub(crate) fn config(&self) -> Value {
        parse(&self.blob(&self.manifest["config"]))
    }

    /// Layers from the lowest up.
    #[track_caller]
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let layer = |descriptor: &Value| {
            let annotation = |name: &str| text(&descriptor["annotations"][format!("dev.imgforge.layer.{name}")]);
            Layer { kind: annotation("kind"), contents: annotation("contents"), digest: text(&descriptor["digest"]) }
        };
        self.manifest["layers"].as_array().expect("layers").iter().map(layer).collect()
    }

    /// Names of all blobs, sorted.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("blobs/sha256")).expect("the blobs");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
