//! `imgforge export`: the lock in the formats of other tools, and the documents about the image without pushing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::attest::{self, provenance};
use crate::cli::{ExportArgs, ExportFormat};
use crate::diagnostic::{Failure, Hint};
use crate::export::{Address, pylock, requirements};
use crate::lock::{Lock, LockedPlatform, LockedWheel};
use crate::oci::{Digest, Platform};
use crate::settings::DEFAULT_INDEX;
use crate::share::image::LOCK_LABEL;
use crate::spec::Spec;
use crate::store;

use super::build::{chosen, restrict, source_date_epoch};
use super::output::output_folder;
use super::outside::Outside;
use super::{Context, attestations, lock, print};

/// Why nothing is exported.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the document is about one image, and the lock is for {}", .platforms.join(", "))]
    OnePlatform { platforms: Vec<String> },
    #[error("`{folder}` holds no image of this lock for {platform}")]
    NotBuilt { folder: PathBuf, platform: Platform },
    #[error("cannot write `{path}`: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::OnePlatform { platforms } => {
                platforms.iter().take(1).map(|platform| format!("choose one with `--platform {platform}`")).collect()
            }
            Self::NotBuilt { .. } => {
                vec!["provenance names the image by its digest: run `imgforge build` without `--push` first".to_owned()]
            }
            Self::Write { .. } => Vec::new(),
        }
    }
}

pub(super) fn run(context: &Context, arguments: &ExportArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let path = Lock::path_for(&arguments.spec);
    let whole = lock::current(&spec, Lock::read(&path)?, &path)?;
    let lock_digest = whole.digest();
    let platforms = chosen(&whole, &arguments.platforms)?;
    let locked = restrict(whole, &platforms);
    let outside = Outside::new(context, &spec)?;
    let bytes = match arguments.format {
        ExportFormat::Pylock => {
            let addresses = addresses(&outside, &locked, |_| true)?;
            let locate = |wheel: &LockedWheel| addresses.get(&wheel.digest).cloned();
            let index = |name: &str| {
                let location = outside.settings.index_url(name)?;
                Some(location.url.to_string())
            };
            pylock(&locked, &locate, &index, &folder_of(arguments.output.as_deref())).into_bytes()
        }
        ExportFormat::Requirements => {
            let addresses = addresses(&outside, &locked, |wheel| wheel.index != DEFAULT_INDEX)?;
            requirements(&locked, &|wheel| addresses.get(&wheel.digest).cloned()).into_bytes()
        }
        ExportFormat::Spdx | ExportFormat::Cyclonedx | ExportFormat::Provenance => {
            document(context, arguments, &outside, &spec, &locked, lock_digest)?
        }
    };
    match &arguments.output {
        Some(path) => store::write_atomically(path, &bytes)
            .map_err(|error| Error::Write { path: path.clone(), source: error.into_io() })?,
        None => print(&String::from_utf8_lossy(&bytes)),
    }
    Ok(0)
}

/// A document about one platform's image.
fn document(
    context: &Context,
    arguments: &ExportArgs,
    outside: &Outside,
    spec: &Spec,
    locked: &Lock,
    lock_digest: Digest,
) -> Result<Vec<u8>, Failure> {
    let [platform] = locked.platforms.as_slice() else {
        let platforms = locked.platforms.iter().map(|platform| platform.name.to_string()).collect();
        return Err(Error::OnePlatform { platforms }.into());
    };
    let digest = match arguments.format {
        ExportFormat::Provenance => Some(built_digest(&locked.name, platform, lock_digest)?),
        _ => None,
    };
    let inventory = attestations::inventory(context, outside, spec, locked, platform, lock_digest, digest)?;
    Ok(match arguments.format {
        ExportFormat::Cyclonedx => attest::cyclonedx(&inventory),
        ExportFormat::Provenance => {
            let statement = provenance(&inventory, locked, source_date_epoch()?);
            let mut bytes = statement.map(|statement| statement.to_bytes()).unwrap_or_default();
            bytes.push(b'\n');
            bytes
        }
        _ => attest::spdx(&inventory),
    })
}

/// Where the lock's wheels are; of those only that are `wanted`.
fn addresses(
    outside: &Outside,
    locked: &Lock,
    wanted: impl Fn(&LockedWheel) -> bool,
) -> Result<BTreeMap<Digest, Address>, Failure> {
    let wheels: Vec<&LockedWheel> =
        locked.platforms.iter().flat_map(|platform| &platform.wheels).filter(|wheel| wanted(wheel)).collect();
    let pages: BTreeSet<(String, String)> = wheels
        .iter()
        .filter(|wheel| wheel.url.is_none())
        .map(|wheel| (wheel.index.clone(), wheel.name.clone()))
        .collect();
    outside.index.prefetch(pages);
    let mut addresses = BTreeMap::new();
    for wheel in wheels {
        let url = outside.index.address_of_locked(wheel)?;
        let address = match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => Address::Path(path),
            _ => Address::Url(url.into()),
        };
        addresses.insert(wheel.digest, address);
    }
    Ok(addresses)
}

/// The folder that the exported file will lie in, as far as can be told.
fn folder_of(output: Option<&Path>) -> PathBuf {
    let folder = output.and_then(Path::parent).unwrap_or(Path::new(""));
    std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .map(|folder| folder.components().collect())
        .unwrap_or_default()
}

/// Digest of the platform's image in the layout that `build` left, if it was made from that lock.
fn built_digest(name: &str, platform: &LockedPlatform, lock: Digest) -> Result<Digest, Error> {
    let folder = output_folder(None, name).join("oci");
    let blob = |digest: &Digest| -> Option<Value> {
        serde_json::from_slice(&fs::read(folder.join("blobs/sha256").join(digest.hex())).ok()?).ok()
    };
    let digest_at = |value: &Value, pointer: &str| value.pointer(pointer)?.as_str()?.parse::<Digest>().ok();
    let is_it = |image: &Digest| -> Option<bool> {
        let config = blob(&digest_at(&blob(image)?, "/config/digest")?)?;
        let label = config.pointer("/config/Labels")?.get(LOCK_LABEL)?.as_str()?.parse::<Digest>().ok()?;
        Some(config.get("architecture")?.as_str()? == platform.name.architecture_name() && label == lock)
    };
    let found = || -> Option<Digest> {
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).ok()?).ok()?;
        let named = digest_at(&index, "/manifests/0/digest")?;
        let listed = match blob(&named)?.get("manifests").and_then(Value::as_array) {
            Some(manifests) => manifests.iter().filter_map(|entry| digest_at(entry, "/digest")).collect(),
            None => vec![named],
        };
        listed.into_iter().find(|image| is_it(image) == Some(true))
    };
    found().ok_or_else(|| Error::NotBuilt { folder: folder.clone(), platform: platform.name })
}
