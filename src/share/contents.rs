//! What a layer holds, entry by entry, and which package each file belongs to: by `RECORD` of installed wheels, and by dpkg's
//! lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use tar::EntryType;

use super::{Error, project};
use crate::oci::{Digest, Hasher, Layer};
use crate::registry::Registries;

/// Largest uncompressed layer that is read, in bytes.
const LAYER_LIMIT: u64 = 256 << 30;
/// Largest list of a package's files that is read, in bytes.
const LIST_LIMIT: u64 = 32 << 20;

/// Everything about an entry but its path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    modified: u64,
    link: Vec<u8>,
    content: Digest,
}

/// The entries of a layer.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    entries: BTreeMap<String, Facts>,
    /// Package by path.
    owners: BTreeMap<String, String>,
}

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Only the first layer has it.
    Missing,
    /// Only the second layer has it.
    Added,
    /// Its content is another, or what it is.
    Content,
    /// Its mode, owner or time is another.
    Metadata,
}

impl Change {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Content => "content",
            Self::Metadata => "metadata",
        }
    }
}

/// An entry that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path in the image, without slash in front.
    pub path: String,
    /// How.
    pub change: Change,
    /// `numpy 2.1.0`, if a package says that the file is its own.
    pub package: Option<String>,
}

impl Contents {
    /// Reads a layer to its end, where its digest is compared.
    pub fn read(registries: &Registries, layer: &Layer) -> Result<Self, Error> {
        let failed = |cause: io::Error| match cause.downcast::<crate::registry::Error>() {
            Ok(error) => error.into(),
            Err(cause) => Error::Layer { digest: layer.digest, problem: cause.to_string() },
        };
        let mut raw = project::open(registries, layer).map_err(failed)?;
        let mut contents = Self::default();
        let plain = project::decompress(&layer.media_type, &mut raw).map_err(failed)?;
        contents.read_tar(plain.take(LAYER_LIMIT)).map_err(failed)?;
        io::copy(&mut raw, &mut io::sink()).map_err(failed)?;
        Ok(contents)
    }

    fn read_tar(&mut self, plain: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(plain);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).trim_matches('/').to_owned();
            let header = entry.header();
            // Fields may be left blank.
            let (kind, mode) = (header.entry_type(), header.mode().unwrap_or_default());
            let owner = (header.uid().unwrap_or_default(), header.gid().unwrap_or_default());
            let modified = header.mtime().unwrap_or_default();
            let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
            let mut hasher = Hasher::new();
            let mut list = is_list(&path).then(Vec::new);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = entry.read(&mut buffer)?;
                let piece = buffer.get(..count).unwrap_or_default();
                if piece.is_empty() {
                    break;
                }
                hasher.update(piece);
                if let Some(list) = list.as_mut().filter(|list| list.len() as u64 <= LIST_LIMIT) {
                    list.extend_from_slice(piece);
                }
            }
            if let Some(list) = list {
                self.note_owner(&path, &String::from_utf8_lossy(&list));
            }
            let content = hasher.digest();
            self.entries.insert(path, Facts { kind, mode, owner, modified, link, content });
        }
        Ok(())
    }

    /// Notes the files that a package's own list names.
    fn note_owner(&mut self, path: &str, list: &str) {
        if let Some(name) = path.strip_prefix("var/lib/dpkg/info/").and_then(|name| name.strip_suffix(".list")) {
            let name = name.split(':').next().unwrap_or(name);
            for file in list.lines() {
                self.owners.insert(file.trim_start_matches('/').to_owned(), name.to_owned());
            }
            return;
        }
        let Some((site, name)) = path.strip_suffix(".dist-info/RECORD").and_then(|start| start.rsplit_once('/')) else {
            return;
        };
        let package = name.replacen('-', " ", 1);
        for line in list.lines() {
            // A path with a comma or a quote stands in quotes.
            let file = match line.strip_prefix('"') {
                Some(rest) => rest.split("\",").next().unwrap_or(rest).replace("\"\"", "\""),
                None => line.split(',').next().unwrap_or(line).to_owned(),
            };
            self.owners.insert(joined(site, &file), package.clone());
        }
    }

    /// What differs from this layer to another, by path. Tables of contents say nothing that the entries do not.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let paths: BTreeSet<&String> = self.entries.keys().chain(other.entries.keys()).collect();
        let difference = |path: &String| {
            let change = match (self.entries.get(path), other.entries.get(path)) {
                (Some(_), None) => Change::Missing,
                (None, _) => Change::Added,
                (Some(one), Some(two)) if one == two => return None,
                (Some(one), Some(two)) => {
                    let meaning = |facts: &Facts| (facts.kind, facts.link.clone(), facts.content);
                    if meaning(one) == meaning(two) { Change::Metadata } else { Change::Content }
                }
            };
            let package = other.owners.get(path).or_else(|| self.owners.get(path)).cloned();
            Some(Difference { path: path.clone(), change, package })
        };
        paths.into_iter().filter(|path| *path != "stargz.index.json").filter_map(difference).collect()
    }
}

/// Whether a file says which files belong to a package.
fn is_list(path: &str) -> bool {
    let is_deb = path.starts_with("var/lib/dpkg/info/") && path.rsplit_once('.').is_some_and(|(_, end)| end == "list");
    is_deb || path.ends_with(".dist-info/RECORD")
}

/// A path below a folder, with `..` carried out.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar of files with content and mode.
    fn contents(files: &[(&str, &str, u32)]) -> Contents {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content, mode) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            archive.append_data(&mut header, path, content.as_bytes()).expect("an entry");
        }
        let mut contents = Contents::default();
        contents.read_tar(archive.into_inner().expect("an archive").as_slice()).expect("readable");
        contents
    }

    #[test]
    fn files_are_told_by_package() {
        let site = "opt/venv/lib/python3.13/site-packages";
        let record =
            "six.py,sha256=x,1\n\"odd,\"\"name\"\".py\",,\n../../../bin/tool,,\nsix-1.17.0.dist-info/RECORD,,\n";
        let list = "/.\n/usr/bin/tree\n";
        let layer = |content: &str, mode: u32| {
            contents(&[
                (&format!("{site}/six.py"), content, 0o644),
                (&format!("{site}/odd,\"name\".py"), "", mode),
                ("opt/venv/bin/tool", content, 0o755),
                (&format!("{site}/six-1.17.0.dist-info/RECORD"), record, 0o644),
                ("usr/bin/tree", content, 0o755),
                ("var/lib/dpkg/info/tree:amd64.list", list, 0o644),
                ("stargz.index.json", content, 0o444),
            ])
        };
        let (one, mut two) = (layer("1", 0o644), layer("2", 0o600));
        two.entries.remove("usr/bin/tree");
        let found: Vec<_> = one
            .differences(&two)
            .into_iter()
            .map(|found| (found.path, found.change.name(), found.package.unwrap_or_default()))
            .collect();
        let expected = [
            ("opt/venv/bin/tool".to_owned(), "content", "six 1.17.0".to_owned()),
            (format!("{site}/odd,\"name\".py"), "metadata", "six 1.17.0".to_owned()),
            (format!("{site}/six.py"), "content", "six 1.17.0".to_owned()),
            ("usr/bin/tree".to_owned(), "missing", "tree".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(one.differences(&one), []);
    }
}
