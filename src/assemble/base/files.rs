//! Single files of a base image, as a container would see them, without unpacking it.
//!
//! Layers are read from the top until every file is found or hidden: by their table of contents if they have one, else as a
//! whole. What a layer says about the wanted paths is remembered by its digest, so that a second look costs nothing.
//! Whiteouts: OCI image specification, `layer.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use tar::EntryType;

use super::contents;
use super::tar_stream::TarStream;
use super::{Base, Error};
use crate::assemble::toc::TOC_ANNOTATION;
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
pub(super) enum Finding {
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
) -> Result<Found, Error> {
    let failed = |source| Error::Layer { reference: base.reference.to_string(), digest: layer.digest, source };
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let key = format!("{} {}", layer.digest, serde_json::to_string(&names).unwrap_or_default());
    if let Some(text) = store.recall(FACT, &key)
        && let Ok(findings) = serde_json::from_str(&text)
    {
        return Ok(findings);
    }
    let open = |offset: u64| -> Result<Box<dyn Read>, Error> {
        let path = match &layer.source {
            LayerSource::File(path) => path.clone(),
            LayerSource::Registry(reference) => match store.blob(&layer.digest) {
                Some(path) => path,
                None => {
                    return Ok(Box::new(registries.open_blob(reference, &layer.digest, Some(layer.size), offset)?));
                }
            },
        };
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Box::new(file))
    };
    let by_table = layer.annotations.get(TOC_ANNOTATION).and_then(|table| table.parse().ok()).and_then(|table| {
        let mut range = |offset, length| {
            let mut bytes = Vec::new();
            open(offset).map_err(io::Error::other)?.take(length).read_to_end(&mut bytes)?;
            progress(bytes.len() as u64);
            Ok(bytes)
        };
        // Whatever is wrong with the table: the whole layer tells as well.
        contents::search(Search::new(wanted, limits.file), layer.size, &table, &mut range).ok()
    });
    let whole = || whole_layer(open(0)?, layer, wanted, limits, progress).map_err(failed);
    let findings = by_table.map_or_else(whole, Ok)?;
    let text = serde_json::to_string(&findings).unwrap_or_default();
    store.remember(FACT, &key, &text)?;
    Ok(findings)
}

/// What the whole layer says.
fn whole_layer(
    raw: Box<dyn Read>,
    layer: &Layer,
    wanted: &BTreeSet<String>,
    limits: FileLimits,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Found> {
    let mut counted = Counted { reader: raw, progress };
    let mut plain = Hashed { reader: decompress(&mut counted)?.take(limits.layer), hasher: Hasher::new() };
    let found = search_tar(&mut plain, Search::new(wanted, limits.file))?;
    // Found before it is believed: the plain tar is the one that the image's config names.
    if plain.hasher.diff_id() != layer.diff_id {
        let problem = "its content is not what the image's config promises";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(found)
}

/// What the tar says about the wanted paths. The whole stream is read, so that its hash can be compared.
fn search_tar(reader: &mut impl Read, mut search: Search<'_>) -> io::Result<Found> {
    let mut stream = TarStream::new(reader);
    while let Some(entry) = stream.next_entry()? {
        let Ok(path) = std::str::from_utf8(&entry.path) else { continue };
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                let limit = search.file_limit;
                search.file(path, entry.size, &mut || stream.read_body(limit))?;
            }
            EntryType::Symlink => search.symlink(path, &entry.link),
            EntryType::Link => search.hard_link(path, &entry.link),
            EntryType::Directory => search.folder(path),
            _ => search.other(path),
        }
    }
    stream.drain()?;
    Ok(search.found())
}

/// What one layer says about paths.
pub(super) type Found = BTreeMap<String, Finding>;

/// A walk over one layer's entries, looking for paths.
pub(super) struct Search<'a> {
    wanted: &'a BTreeSet<String>,
    file_limit: u64,
    present: Found,
    hidden: BTreeSet<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(wanted: &'a BTreeSet<String>, file_limit: u64) -> Self {
        Self { wanted, file_limit, present: Found::new(), hidden: BTreeSet::new() }
    }

    /// Number of paths that are looked for.
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// A file of `size` bytes, which `content` reads if they are wanted.
    pub(super) fn file(
        &mut self,
        path: &str,
        size: u64,
        content: &mut dyn FnMut() -> io::Result<Vec<u8>>,
    ) -> io::Result<()> {
        let limit = self.file_limit;
        let Some((path, _)) = self.see(path, false) else { return Ok(()) };
        if size > limit {
            let problem = format!("`{path}` has {size} bytes, more than the {limit} that are read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.present.insert(path, Finding::File(encode(&content()?)));
        Ok(())
    }

    pub(super) fn symlink(&mut self, path: &str, target: &[u8]) {
        if let Some((path, folder)) = self.see(path, false) {
            self.present.insert(path, Finding::Link(resolve_link(&folder, target)));
        }
    }

    pub(super) fn hard_link(&mut self, path: &str, target: &[u8]) {
        if let Some((path, _)) = self.see(path, false) {
            self.present.insert(path, Finding::Link(resolve_link("", target)));
        }
    }

    pub(super) fn folder(&mut self, path: &str) {
        if let Some((path, _)) = self.see(path, true) {
            self.present.insert(path, Finding::Hidden);
        }
    }

    /// A device, a pipe or something unknown.
    pub(super) fn other(&mut self, path: &str) {
        if let Some((path, _)) = self.see(path, false) {
            self.present.insert(path, Finding::Hidden);
        }
    }

    /// What was found, at the end of the layer.
    pub(super) fn found(mut self) -> Found {
        for path in self.hidden {
            self.present.entry(path).or_insert(Finding::Hidden);
        }
        self.present
    }

    /// Notes what an entry hides. If it is wanted itself: its path, and the folder that it is in.
    fn see(&mut self, raw: &str, is_folder: bool) -> Option<(String, String)> {
        let path = normalize(raw);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(removed) = name.strip_prefix(".wh.") {
            let below = match removed {
                ".wh..opq" => folder.to_owned(),
                name if folder.is_empty() => name.to_owned(),
                name => format!("{folder}/{name}"),
            };
            let is_opaque = removed == ".wh..opq";
            let gone = |path: &&String| is_below(path, &below) || (!is_opaque && **path == below);
            self.hidden.extend(self.wanted.iter().filter(gone).cloned());
            return None;
        }
        if self.wanted.contains(&path) {
            let folder = folder.to_owned();
            return Some((path, folder));
        }
        if !is_folder {
            // Anything but a folder in the place of a folder hides what was in it.
            self.hidden.extend(self.wanted.iter().filter(|wanted| is_below(wanted, &path)).cloned());
        }
        None
    }
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
    use crate::assemble::layer::LayerWriter;
    use crate::assemble::tar::Owner;
    use crate::http;
    use crate::oci::{Compression, DiffId, Digest};
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
        /// A layer with a table of contents, as this program makes them.
        fn with_table(mut self, write: impl Fn(&mut LayerWriter<Vec<u8>>)) -> Self {
            let mut writer = LayerWriter::new(Vec::new(), 0, Compression::default()).expect("a writer");
            write(&mut writer);
            let layer = writer.finish().expect("a layer");
            self = self.layer(b"", layer.sink);
            let made = self.layers.last_mut().expect("the layer");
            made.diff_id = layer.diff_id;
            made.annotations.extend(layer.toc.map(|toc| (TOC_ANNOTATION.to_owned(), toc.to_string())));
            self
        }
        fn read(&self, paths: &[&str]) -> Result<BTreeMap<String, String>, Error> {
            self.read_counting(paths).map(|(files, _)| files)
        }
        fn read_counting(&self, paths: &[&str]) -> Result<(BTreeMap<String, String>, u64), Error> {
            let mut count = 0;
            let registries =
                Registries::new(http::Client::new(&http::Options::default()).expect("a client"), Config::default());
            let store = Store::open(self.folder.path());
            let base = Base {
                reference: "registry.test/base:1".parse().expect("a reference"),
                digest: Digest::of(b""),
                config: Vec::new(),
                layers: self.layers.clone(),
            };
            let files =
                read_files(&registries, &store, &base, paths, FileLimits::default(), &mut |read| count += read)?;
            let texts = files.into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned()));
            Ok((texts.collect(), count))
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

    /// Bytes that do not compress.
    fn noise(length: usize) -> String {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 27) as u8 % 26)
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn files_are_read_by_the_table_of_contents_and_the_rest_is_not() {
        let (status, library) = (noise(3 << 20), noise(9 << 20));
        let world = World::new().with_table(|layer| {
            layer.file_bytes("etc/passwd", 0o644, Owner::ROOT, b"low").expect("written");
            layer.file_bytes("etc/group", 0o644, Owner::ROOT, b"group").expect("written");
            layer.file_bytes("lib/large.so", 0o644, Owner::ROOT, library.as_bytes()).expect("written");
            layer.file_bytes("var/lib/dpkg/status", 0o644, Owner::ROOT, status.as_bytes()).expect("written");
            layer.file_bytes("etc/empty", 0o644, Owner::ROOT, b"").expect("written");
            layer.file_bytes("data/gone", 0o644, Owner::ROOT, b"gone").expect("written");
        });
        let world = world.with_table(|layer| {
            layer.file_bytes("etc/passwd", 0o644, Owner::ROOT, b"high").expect("written");
            layer.hard_link("etc/passwd-", "etc/passwd", 0o644, Owner::ROOT).expect("written");
            layer.symlink("bin", "usr/bin", Owner::ROOT).expect("written");
            layer.symlink("data", "elsewhere", Owner::ROOT).expect("written");
        });
        let paths = ["etc/passwd", "etc/passwd-", "etc/group", "etc/empty", "var/lib/dpkg/status", "data/gone"];
        let (files, count) = world.read_counting(&paths).expect("files");
        let found = [
            ("etc/passwd", "high"),
            ("etc/passwd-", "high"),
            ("etc/group", "group"),
            ("etc/empty", ""),
            ("var/lib/dpkg/status", status.as_str()),
        ];
        assert_eq!(files, expected(found));
        let whole: u64 = world.layers.iter().map(|layer| layer.size).sum();
        assert!(count < whole / 2, "{count} bytes of {whole} were read");
    }

    #[test]
    fn a_table_that_is_not_what_the_manifest_names_is_not_believed() {
        let mut world = World::new().with_table(|layer| {
            layer.file_bytes("etc/passwd", 0o644, Owner::ROOT, b"root").expect("written");
        });
        let layer = &mut world.layers[0];
        layer.annotations.insert(TOC_ANNOTATION.to_owned(), Digest::of(b"another").to_string());
        let whole = layer.size;
        let (files, count) = world.read_counting(&["etc/passwd"]).expect("the long way");
        assert_eq!(files, expected([("etc/passwd", "root")]));
        assert!(count > whole, "{count} bytes of {whole} were read");
    }

    #[test]
    fn a_file_that_is_not_what_the_table_says_is_refused() {
        let world = World::new().with_table(|layer| {
            layer.file_bytes("etc/passwd", 0o644, Owner::ROOT, noise(100_000).as_bytes()).expect("written");
        });
        let path = world.folder.path().join("0");
        let mut bytes = std::fs::read(&path).expect("the layer");
        bytes[20_000] ^= 1;
        std::fs::write(&path, bytes).expect("damaged");
        assert!(matches!(world.read(&["etc/passwd"]), Err(Error::Layer { .. })));
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
