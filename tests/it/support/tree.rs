//! A tree of files with everything about them that a layer can hold, read from a folder or from a layer by means that are not
//! imgforge's.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Entries by path, relative and without a slash at the end.
pub(crate) type Tree = BTreeMap<String, Node>;

/// One entry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u64, u64),
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File(Vec<u8>),
    /// A symbolic link, whose mode says nothing.
    Link(String),
}

impl Node {
    /// The content of a file, as text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::File(content) => std::str::from_utf8(content).ok(),
            _ => None,
        }
    }
}

/// Attributes and kind in a line; of contents only the size.
impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (user, group) = self.owner;
        match &self.kind {
            Kind::Folder => write!(f, "folder {:o} {user}:{group}", self.mode),
            Kind::File(content) => write!(f, "file {:o} {user}:{group} of {} bytes", self.mode, content.len()),
            Kind::Link(target) => write!(f, "link to {target} {user}:{group}"),
        }
    }
}

/// What lies below a folder.
#[track_caller]
pub(crate) fn of_folder(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("attributes");
            let kind = if metadata.is_dir() {
                folders.push(path.clone());
                Kind::Folder
            } else if metadata.is_symlink() {
                Kind::Link(fs::read_link(&path).expect("a link").to_str().expect("UTF-8").to_owned())
            } else {
                Kind::File(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
            };
            let mode = if metadata.is_symlink() { 0o777 } else { metadata.mode() & 0o7777 };
            let relative = path.strip_prefix(root).expect("below the folder").to_str().expect("UTF-8").to_owned();
            let owner = (metadata.uid().into(), metadata.gid().into());
            tree.insert(relative, Node { mode, owner, kind });
        }
    }
    tree
}

/// What a gzip layer holds below `root`, a path without slashes around it.
#[track_caller]
pub(crate) fn of_layer(layer: &[u8], root: &str) -> Tree {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(layer));
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let Some(path) = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let path = path.trim_end_matches('/').to_owned();
        if path.is_empty() {
            continue;
        }
        let header = entry.header();
        let (mode, owner) =
            (header.mode().expect("a mode"), (header.uid().expect("a user"), header.gid().expect("one")));
        let kind = match header.entry_type() {
            tar::EntryType::Directory => Kind::Folder,
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("a content");
                Kind::File(content)
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().expect("a target").into_owned();
                Kind::Link(String::from_utf8(target).expect("UTF-8"))
            }
            other => panic!("`{path}` has the type {other:?}"),
        };
        assert!(tree.insert(path.clone(), Node { mode, owner, kind }).is_none(), "`{path}` is in the layer twice");
    }
    tree
}
