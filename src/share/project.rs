//! The project's files, read back from their layer of a published image.
//!
//! The image is the only place that has them: a lock names them without pinning their contents, which the image's digest
//! does. Where a file lay in the project follows from the `files:` of the lock. Owners and times are not the project's.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tar::EntryType;

use super::Error;
use crate::assemble::files::{project_path, stays_inside};
use crate::lock::LockedFile;
use crate::oci::{AssembledImage, Layer, LayerSource};
use crate::registry::Registries;

/// Largest uncompressed layer that is read, in bytes.
const LAYER_LIMIT: u64 = 256 << 30;

/// Bytes of the layers of project files.
pub fn size(image: &AssembledImage) -> u64 {
    layers(image).map(|layer| layer.size).sum()
}

fn layers(image: &AssembledImage) -> impl Iterator<Item = &Layer> {
    image
        .layers
        .iter()
        .filter(|layer| layer.annotations.get("dev.imgforge.layer.kind").is_some_and(|kind| kind == "files"))
}

/// Unpacks the project's files into `folder`, that of the spec. Files that are there stay as they are. Returns the paths that
/// were left out because they belong to a repository's own data.
pub fn unpack(
    registries: &Registries,
    image: &AssembledImage,
    files: &[LockedFile],
    folder: &Path,
) -> Result<Vec<String>, Error> {
    let mut left_out = Vec::new();
    for layer in layers(image) {
        let failed = |cause: io::Error| match cause.downcast::<crate::registry::Error>() {
            Ok(error) => error.into(),
            Err(cause) => Error::Layer { digest: layer.digest, problem: cause.to_string() },
        };
        let mut raw = open(registries, layer).map_err(failed)?;
        let plain = decompress(&layer.media_type, &mut raw).map_err(failed)?;
        let mut archive = tar::Archive::new(plain.take(LAYER_LIMIT));
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            unpack_entry(&mut entry, files, folder, &mut left_out).map_err(failed)?;
        }
        drop(archive);
        // To the end, where the layer's digest is compared.
        io::copy(&mut raw, &mut io::sink()).map_err(failed)?;
    }
    Ok(left_out)
}

/// Something of the name of each project file that is not there.
pub fn stand_in(files: &[LockedFile], folder: &Path) -> Result<(), Error> {
    for file in files {
        let path = folder.join(&file.from);
        if !path.exists() && !Path::new(&file.from).components().any(|part| part == std::path::Component::ParentDir) {
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
    }
    Ok(())
}

/// The compressed bytes; at their end the digest is checked.
pub(super) fn open(registries: &Registries, layer: &Layer) -> io::Result<Box<dyn Read>> {
    match &layer.source {
        LayerSource::File(path) => Ok(Box::new(fs::File::open(path)?)),
        LayerSource::Registry(reference) => {
            let reader = registries.open_blob(reference, &layer.digest, Some(layer.size), 0);
            Ok(Box::new(reader.map_err(io::Error::other)?))
        }
    }
}

pub(super) fn decompress<'r>(media_type: &str, raw: &'r mut dyn Read) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match media_type.rsplit_once(['+', '.']) {
        Some((_, "gzip")) => Box::new(flate2::read::MultiGzDecoder::new(raw)),
        Some((_, "zstd")) => Box::new(zstd::Decoder::new(raw)?),
        _ => Box::new(raw),
    })
}

fn unpack_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    files: &[LockedFile],
    folder: &Path,
    left_out: &mut Vec<String>,
) -> io::Result<()> {
    let refuse = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    let bytes = entry.path_bytes().into_owned();
    let Ok(name) = std::str::from_utf8(&bytes) else { return refuse("a path is not UTF-8".to_owned()) };
    let name = name.trim_end_matches('/');
    let Some(path) = project_path(name, files) else { return Ok(()) };
    if path.is_empty() {
        return Ok(());
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains(['\\', '\0']) {
        return refuse(format!("the path `{}` leads out of the folder", name.escape_debug()));
    }
    if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
        left_out.push(path);
        return Ok(());
    }
    let target = folder.join(&path);
    // Nothing is written through a link, whatever it leads to.
    let above = path.match_indices('/').map(|(at, _)| folder.join(&path[..at]));
    if above.into_iter().any(|above| fs::symlink_metadata(above).is_ok_and(|found| found.is_symlink())) {
        return refuse(format!("`{}` lies below a link", name.escape_debug()));
    }
    let found = fs::symlink_metadata(&target).ok();
    match entry.header().entry_type() {
        EntryType::Directory => {
            match found {
                Some(found) if !found.is_dir() => refuse(format!("`{path}` is a file and a folder"))?,
                Some(_) => {}
                None => fs::create_dir_all(&target)?,
            }
            return Ok(());
        }
        EntryType::Regular | EntryType::Symlink if found.is_some() => return Ok(()),
        _ => {}
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.header().entry_type() {
        EntryType::Regular => {
            let executable = entry.header().mode()? & 0o111 != 0;
            let mut file = fs::File::create_new(&target)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.unwrap_or_default();
            let inside = link.to_str().is_some_and(|link| stays_inside(&path, link));
            if !inside {
                return refuse(format!("the link `{path}` leads out of the folder"));
            }
            std::os::unix::fs::symlink(link, &target)
        }
        other => refuse(format!("`{}` is neither a file, a folder nor a link ({other:?})", name.escape_debug())),
    }
}
