//! Single files of a base image, as a container would see them, without unpacking it.
//!
//! Layers are streamed from the top until every file is found or hidden; what a layer says about the wanted paths is
//! remembered by its digest, so that a second look costs nothing. Whiteouts: OCI image specification, `layer.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use tar::EntryType;

use super::tar_stream::TarStream;
use super::{Base, Error};
use crate::oci::{Hasher, Layer, LayerSource};
use crate::registry::Registries;
use crate::store::Store;

/// Links that are followed from one path.
const LINK_DEPTH: usize = 8;
/// Kind under which the store remembers a layer's answer; the number changes with the answer's meaning.
const FACT: &str = "base-files-1";

/// How much is read.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// Largest file, in bytes.
    pub file: u64,
    /// Largest uncompressed layer, in bytes.
    pub layer: u64,
}

impl Default for FileLimits {
    /// A package database has a few megabytes; the largest published images have layers of some tens of gigabytes.
    fn default() -> Self {
        Self { file: 64 << 20, layer: 256 << 30 }
    }
}

/// What one layer says about a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    /// A file, base64.
    File(String),
    /// A link to another path, relative to the image's root.
    Link(String),
    /// Whatever lower layers have there is gone.
    Hidden,
}

/// The regular files at `paths` (`etc/passwd`, without a leading slash) that the base has; links at the path itself are
/// followed, folders on the way are taken by name. `progress` is told of compressed bytes read.
pub fn read_files(
    registries: &Registries,
    store: &Store,
    base: &Base,
    paths: &[&str],
    limits: FileLimits,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut wanted: BTreeSet<String> = paths.iter().map(|path| normalize(path)).collect();
    if wanted.contains("etc/os-release") {
        // It is a link nearly everywhere: looking for its target at once saves a second walk over all layers.
        wanted.insert("usr/lib/os-release".to_owned());
    }
    let mut found: BTreeMap<String, Finding> = BTreeMap::new();
    for _ in 0..LINK_DEPTH {
        let mut missing: BTreeSet<String> = wanted.difference(&found.keys().cloned().collect()).cloned().collect();
        for layer in base.layers.iter().rev() {
            if missing.is_empty() {
                break;
            }
            for (path, finding) in layer_findings(registries, store, base, layer, &missing, limits, progress)? {
                missing.remove(&path);
                found.insert(path, finding);
            }
        }
        found.extend(missing.into_iter().map(|path| (path, Finding::Hidden)));
        let targets = found.values().filter_map(|finding| match finding {
            Finding::Link(target) => Some(target.clone()),
            _ => None,
        });
        let new: Vec<String> = targets.filter(|target| !found.contains_key(target)).collect();
        if new.is_empty() {
            break;
        }
        wanted.extend(new);
    }
    let mut files = BTreeMap::new();
    for &path in paths {
        let mut at = normalize(path);
        for _ in 0..LINK_DEPTH {
            match found.get(&at) {
                Some(Finding::Link(target)) => at.clone_from(target),
                Some(Finding::File(text)) => {
                    files.extend(decode(text).map(|bytes| (path.to_owned(), bytes)));
                    break;
                }
                Some(Finding::Hidden) | None => break,
            }
        }
    }
    Ok(files)
}

fn layer_findings(
    registries: &Registries,
    store: &Store,
    base: &Base,
    layer: &Layer,
    wanted: &BTreeSet<String>,
    limits: FileLimits,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<String, Finding>, Error> {
    let failed = |source| Error::Layer { reference: base.reference.to_string(), digest: layer.digest, source };
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let key = format!("{} {}", layer.digest, serde_json::to_string(&names).unwrap_or_default());
    if let Some(text) = store.recall(FACT, &key)
        && let Ok(findings) = serde_json::from_str(&text)
    {
        return Ok(findings);
    }
    let local = match &layer.source {
        LayerSource::File(path) => Some(path.clone()),
        LayerSource::Registry(_) => store.blob(&layer.digest),
    };
    let raw: Box<dyn Read> = match (&local, &layer.source) {
        (Some(path), _) => Box::new(File::open(path).map_err(failed)?),
        (None, LayerSource::Registry(reference)) => {
            Box::new(registries.open_blob(reference, &layer.digest, Some(layer.size), 0)?)
        }
        (None, LayerSource::File(path)) => Box::new(File::open(path).map_err(failed)?),
    };
    let mut counted = Counted { reader: raw, progress };
    let mut plain =
        Hashed { reader: decompress(&mut counted).map_err(failed)?.take(limits.layer), hasher: Hasher::new() };
    let findings = search(&mut plain, wanted, limits.file).map_err(failed)?;
    // Found before it is believed: the plain tar is the one that the image's config names.
    if plain.hasher.diff_id() != layer.diff_id {
        let problem = "its content is not what the image's config promises";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    let text = serde_json::to_string(&findings).unwrap_or_default();
    store.remember(FACT, &key, &text)?;
    Ok(findings)
}

/// What the tar says about the wanted paths. The whole stream is read, so that its hash can be compared.
fn search(reader: &mut impl Read, wanted: &BTreeSet<String>, file_limit: u64) -> io::Result<BTreeMap<String, Finding>> {
    let mut stream = TarStream::new(reader);
    let mut present: BTreeMap<String, Finding> = BTreeMap::new();
    let mut hidden: BTreeSet<String> = BTreeSet::new();
    while let Some(entry) = stream.next_entry()? {
        let Ok(raw) = std::str::from_utf8(&entry.path) else { continue };
        let path = normalize(raw);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(removed) = name.strip_prefix(".wh.") {
            let below = match removed {
                ".wh..opq" => folder.to_owned(),
                name if folder.is_empty() => name.to_owned(),
                name => format!("{folder}/{name}"),
            };
            let is_opaque = removed == ".wh..opq";
            hidden.extend(
                wanted.iter().filter(|path| is_below(path, &below) || (!is_opaque && **path == below)).cloned(),
            );
            continue;
        }
        if wanted.contains(&path) {
            let finding = match entry.kind {
                EntryType::Regular | EntryType::Continuous => Finding::File(encode(&stream.read_body(file_limit)?)),
                EntryType::Symlink => Finding::Link(resolve_link(folder, &entry.link)),
                EntryType::Link => Finding::Link(resolve_link("", &entry.link)),
                _ => Finding::Hidden,
            };
            present.insert(path, finding);
        } else if entry.kind != EntryType::Directory {
            // Anything but a folder in the place of a folder hides what was in it.
            hidden.extend(wanted.iter().filter(|wanted| is_below(wanted, &path)).cloned());
        }
    }
    stream.drain()?;
    for path in hidden {
        present.entry(path).or_insert(Finding::Hidden);
    }
    Ok(present)
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The path without `/` or `./` in front, and with `.` and `..` carried out.
fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn resolve_link(folder: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    if target.starts_with('/') { normalize(&target) } else { normalize(&format!("{folder}/{target}")) }
}

fn decompress<'a>(reader: &'a mut (impl Read + 'a)) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    (&mut *reader).take(4).read_to_end(&mut start)?;
    let magic = start.clone();
    let whole = io::Cursor::new(start).chain(reader);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

struct Counted<'a> {
    reader: Box<dyn Read>,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}

struct Hashed<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::http;
    use crate::oci::{DiffId, Digest};
    use crate::registry::Config;

    enum Made<'a> {
        File(&'a str, &'a str),
        Link(&'a str, &'a str),
    }
    use Made::{File as F, Link as L};

    fn tar(entries: &[Made<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(0);
            match entry {
                F(path, body) => {
                    header.set_size(body.len() as u64);
                    builder.append_data(&mut header, path, body.as_bytes()).expect("a file");
                }
                L(path, target) => {
                    header.set_entry_type(EntryType::Symlink);
                    builder.append_link(&mut header, path, target).expect("a link");
                }
            }
        }
        builder.into_inner().expect("an archive")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("compressed");
        encoder.finish().expect("compressed")
    }

    struct World {
        folder: tempfile::TempDir,
        layers: Vec<Layer>,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a temporary folder"), layers: Vec::new() }
        }
        fn layer(mut self, plain: &[u8], compressed: Vec<u8>) -> Self {
            let path = self.folder.path().join(self.layers.len().to_string());
            std::fs::write(&path, &compressed).expect("a layer");
            self.layers.push(Layer {
                digest: Digest::of(&compressed),
                diff_id: DiffId::of(plain),
                size: compressed.len() as u64,
                media_type: String::new(),
                annotations: BTreeMap::new(),
                source: LayerSource::File(path),
            });
            self
        }
        fn read(&self, paths: &[&str]) -> Result<BTreeMap<String, String>, Error> {
            let registries =
                Registries::new(http::Client::new(&http::Options::default()).expect("a client"), Config::default());
            let store = Store::open(self.folder.path());
            let base = Base {
                reference: "registry.test/base:1".parse().expect("a reference"),
                digest: Digest::of(b""),
                config: Vec::new(),
                layers: self.layers.clone(),
            };
            let files = read_files(&registries, &store, &base, paths, FileLimits::default(), &mut |_| {})?;
            Ok(files.into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())).collect())
        }
    }

    fn expected<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, String> {
        files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
    }

    #[test]
    fn the_topmost_layer_wins_whatever_its_compression() {
        let low = tar(&[
            F("./etc/passwd", "low"),
            F("./etc/group", "group"),
            F("usr/lib/os-release", "ID=debian"),
            L("etc/os-release", "../usr/lib/os-release"),
        ]);
        let high = tar(&[F("etc/passwd", "high")]);
        let compressed = zstd::encode_all(high.as_slice(), 1).expect("compressed");
        let world = World::new().layer(&low, gzip(&low)).layer(&high, compressed);
        let files = world.read(&["etc/passwd", "etc/group", "etc/os-release", "var/lib/dpkg/status"]).expect("files");
        assert_eq!(files, expected([("etc/passwd", "high"), ("etc/group", "group"), ("etc/os-release", "ID=debian")]));
    }

    #[test]
    fn whiteouts_hide_lower_layers_and_not_their_own() {
        let low = tar(&[F("a/one", "1"), F("a/two", "2"), F("b/three", "3"), F("c/d/four", "4"), F("e/five", "5")]);
        let high = tar(&[F("a/.wh.one", ""), F("b/.wh..wh..opq", ""), F("b/new", "new"), F(".wh.c", ""), L("e", "/a")]);
        let world = World::new().layer(&low, low.clone()).layer(&high, gzip(&high));
        let files = world.read(&["a/one", "a/two", "b/three", "b/new", "c/d/four", "e/five"]).expect("files");
        assert_eq!(files, expected([("a/two", "2"), ("b/new", "new")]));
    }

    #[test]
    fn links_are_followed_across_layers_and_loops_end() {
        let low = tar(&[F("data/file", "content"), L("loop/a", "b"), L("loop/b", "a")]);
        let high = tar(&[L("etc/link", "/data/file"), L("gone", "nowhere")]);
        let world = World::new().layer(&low, gzip(&low)).layer(&high, gzip(&high));
        assert_eq!(world.read(&["etc/link", "loop/a", "gone"]).expect("files"), expected([("etc/link", "content")]));
    }

    #[test]
    fn what_was_found_is_remembered_by_the_layers_digest() {
        let layer = tar(&[F("etc/passwd", "root")]);
        let world = World::new().layer(&layer, gzip(&layer));
        let first = world.read(&["etc/passwd"]).expect("files");
        std::fs::remove_file(world.folder.path().join("0")).expect("removed");
        assert_eq!(world.read(&["etc/passwd"]).expect("remembered"), first);
        assert!(matches!(world.read(&["etc/group"]), Err(Error::Layer { .. })));
    }

    #[test]
    fn a_layer_that_is_not_what_its_config_says_is_refused() {
        let layer = tar(&[F("etc/passwd", "root")]);
        let world = World::new().layer(b"another", gzip(&layer));
        let error = world.read(&["etc/passwd"]).expect_err("a wrong layer");
        assert!(error.to_string().ends_with("its content is not what the image's config promises"), "{error}");
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(normalize("./a//b/../c/"), "a/c");
        assert_eq!(normalize("/../x"), "x");
        assert_eq!(resolve_link("etc", b"../usr/lib/os-release"), "usr/lib/os-release");
        assert_eq!(resolve_link("etc", b"/run/x"), "run/x");
    }
}
