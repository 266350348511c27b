//! Locked packages as a root file system with merged `/usr`, deterministic, without running anything.
//!
//! Bookworm's packages still ship `/bin`, `/sbin` and `/lib*`; a folder entry of that name in a layer would replace the
//! link below it and leave the image without a shell, so their paths are written under `/usr`. Left out to stay small:
//! documentation (licences stay), manual pages, translations. Scripts are read (`script`), what they would make is made
//! (`generated`, alternatives), and dpkg's database is written, so that the packages are seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::hierarchy::{MERGED, link_in};
use crate::lock::LockedDeb;

use super::accounts::{AccountError, AccountFiles, add_declared_accounts};
use super::deb::{self, ControlFiles, Entry, EntryKind};
use super::error::Error;
use super::generated::{add_generated, add_parents, is_occupied};
use super::loader_cache::{add_loader_cache, extend_loader_cache};
use super::script::{self, Alternative};
use super::script_table;
use super::status;
use super::tree::{Node, NodeKind, Root, Spool};

/// Most links followed on the way to a path, as in the kernel.
const MAX_LINKS: usize = 40;
/// For dpkg in the image: what was left out is not missing.
const DPKG_EXCLUDES: &str = "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n\
    path-exclude=/usr/share/man/*\npath-exclude=/usr/share/info/*\npath-exclude=/usr/share/lintian/*\n\
    path-exclude=/usr/share/doc-base/*\npath-exclude=/usr/share/locale/*\npath-include=/usr/share/locale/C*\n\
    path-include=/usr/share/locale/locale.alias\n";

/// How a tree is built.
#[derive(Debug, Clone)]
pub struct RootOptions {
    /// Folder for the spool file, which has no name and goes with the tree.
    pub spool_folder: PathBuf,
    /// What the image has that the tree is put on. `None` makes a whole root, with the links of merged `/usr` and the empty
    /// folders that a system needs.
    pub below: Option<FilesBelow>,
}

/// The files of an image that packages on top of it change.
#[derive(Debug, Clone, Default)]
pub struct FilesBelow {
    /// `/var/lib/dpkg/status`.
    pub status: Vec<u8>,
    /// Account files.
    pub accounts: AccountFiles,
    /// `/etc/ld.so.cache`.
    pub loader_cache: Option<Vec<u8>>,
}

/// One package being unpacked.
struct Part<'a> {
    deb: &'a LockedDeb,
    path: &'a Path,
    control: ControlFiles,
    /// Paths as shipped, for `dpkg -L`.
    shipped: Vec<String>,
}

/// The tree while it grows.
struct Builder<'a> {
    parts: Vec<Part<'a>>,
    nodes: BTreeMap<String, Node>,
    /// Which part a file or link came from.
    owners: BTreeMap<String, usize>,
    spool: Spool,
    architecture: String,
}

/// Unpacks `debs`, each with the path of its file, into one tree. Packages are taken in the order of their names, whatever
/// the order of the argument. Refused by name: a maintainer script that is not known, a path outside the root, a file that two
/// packages hold without one replacing the other.
pub fn build_root(debs: &[(LockedDeb, PathBuf)], options: &RootOptions) -> Result<Root, Error> {
    let mut debs: Vec<_> = debs.iter().collect();
    debs.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
    let mut parts = Vec::new();
    for (deb, path) in debs {
        let control = deb::read_control(&deb.name, open(path)?)?;
        check_identity(deb, &control)?;
        check_scripts(deb, &control)?;
        parts.push(Part { deb, path, control, shipped: Vec::new() });
    }
    let architecture = parts.iter().map(|part| part.deb.architecture.as_str()).find(|name| *name != "all");
    let spool = Spool::create(&options.spool_folder).map_err(io_error("create a file in", &options.spool_folder))?;
    let architecture = architecture.unwrap_or("all").to_owned();
    let mut builder = Builder { parts, nodes: BTreeMap::new(), owners: BTreeMap::new(), spool, architecture };
    for index in 0..builder.parts.len() {
        builder.unpack(index)?;
    }
    builder.finish(options)
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(io_error("open", path))
}

/// The lock's hash says which bytes; this says that they are what the lock calls them.
fn check_identity(deb: &LockedDeb, control: &ControlFiles) -> Result<(), Error> {
    for (field, locked) in [("Package", &deb.name), ("Version", &deb.version), ("Architecture", &deb.architecture)] {
        let found = control.control.get(field).unwrap_or_default();
        if found != locked {
            let cause = format!("its `{field}` is `{found}`, but the lock says `{locked}`");
            return Err(Error::Malformed { package: deb.name.clone(), cause });
        }
    }
    // The name becomes part of paths below /var/lib/dpkg.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !deb.name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !deb.name.chars().all(is_plain) {
        return Err(Error::Malformed { package: deb.name.clone(), cause: "its name is no package name".to_owned() });
    }
    Ok(())
}

fn check_scripts(deb: &LockedDeb, control: &ControlFiles) -> Result<(), Error> {
    for script in ["preinst", "postinst"] {
        let unknown = control.files.get(script).and_then(|text| script::unknown_line(text));
        if let Some(line) = unknown.filter(|_| script_table::known_reason(&deb.name).is_none()) {
            return Err(Error::UnknownScript { package: deb.name.clone(), script, line });
        }
    }
    Ok(())
}

impl Builder<'_> {
    fn unpack(&mut self, index: usize) -> Result<(), Error> {
        let (name, path) = (self.parts[index].deb.name.clone(), self.parts[index].path.to_owned());
        deb::visit_entries(&name, open(&path)?, &mut |entry, content| {
            let bad = |cause| Error::BadPath { package: name.clone(), path: entry.path.clone(), cause };
            let shipped = clean(&entry.path).ok_or_else(|| bad("leaves the root"))?;
            let deletes = || bad("has a name that deletes files in layers");
            if is_whiteout(&shipped) {
                return Err(deletes());
            }
            if is_left_out(&shipped, &entry.kind) {
                return Ok(());
            }
            self.parts[index].shipped.push(shipped.clone());
            let Some(place) = self.place(&shipped) else { return Err(bad("leaves the root through links")) };
            if is_whiteout(&place) {
                return Err(deletes());
            }
            // The top, and the links of merged /usr, are not a package's to define.
            if place.is_empty() || MERGED.contains(&place.as_str()) {
                return Ok(());
            }
            let kind = match &entry.kind {
                EntryKind::Directory => NodeKind::Directory,
                EntryKind::Symlink(target) => NodeKind::Symlink(relocated(&shipped, &place, target)),
                EntryKind::Hardlink(target) => {
                    let target = clean(target).and_then(|target| self.place(&target));
                    NodeKind::Hardlink(target.ok_or_else(|| bad("links out of the root"))?)
                }
                EntryKind::File(_) => {
                    if !self.may_put(index, &place)? {
                        return Ok(());
                    }
                    NodeKind::File(
                        self.spool
                            .append(content)
                            .map_err(|error| Error::Malformed { package: name.clone(), cause: error.to_string() })?,
                    )
                }
            };
            self.put(index, place, kind, &entry)
        })
    }

    fn put(&mut self, index: usize, place: String, kind: NodeKind, entry: &Entry) -> Result<(), Error> {
        let mode = if matches!(kind, NodeKind::Symlink(_)) { 0o777 } else { entry.mode };
        let node = Node { kind, mode, uid: entry.uid, gid: entry.gid };
        match (&node.kind, self.nodes.get(&place).map(|node| &node.kind)) {
            // What is a folder once stays one, as with dpkg; a link to itself is what /bin/x becomes beside /usr/bin/x.
            (NodeKind::Directory, Some(NodeKind::Directory | NodeKind::Symlink(_)))
            | (NodeKind::Symlink(_), Some(NodeKind::Directory)) => return Ok(()),
            (NodeKind::Symlink(target), _) if resolve_link(&place, target).as_deref() == Some(place.as_str()) => {
                return Ok(());
            }
            (NodeKind::Symlink(target), Some(NodeKind::Symlink(other))) if target == other => return Ok(()),
            (NodeKind::Directory, Some(_)) | (_, Some(NodeKind::Directory)) => {
                return Err(self.file_conflict(index, &place));
            }
            (NodeKind::Directory, None) => {}
            (NodeKind::File(_), _) => {
                self.owners.insert(place.clone(), index);
            }
            _ => {
                if !self.may_put(index, &place)? {
                    return Ok(());
                }
                self.owners.insert(place.clone(), index);
            }
        }
        self.nodes.insert(place, node);
        Ok(())
    }

    /// Whether a package's file goes to a path: no if another package replaces it there, an error if neither does.
    fn may_put(&self, index: usize, place: &str) -> Result<bool, Error> {
        let Some(&owner) = self.owners.get(place) else { return Ok(true) };
        let (new, old) = (&self.parts[index].control.control, &self.parts[owner].control.control);
        if status::replaces(new, old, &self.architecture) {
            return Ok(true);
        }
        if owner != index && status::replaces(old, new, &self.architecture) {
            return Ok(false);
        }
        Err(self.file_conflict(index, place))
    }

    fn file_conflict(&self, index: usize, place: &str) -> Error {
        let owner = self.owners.get(place).map_or(index, |&owner| owner);
        Error::FileConflict {
            first: self.parts[owner].deb.name.clone(),
            second: self.parts[index].deb.name.clone(),
            path: format!("/{place}"),
        }
    }

    /// Where a shipped path comes to stand: under `/usr` if its top is merged, `/run` for `/var/run`, and behind links
    /// that other packages ship for its folders. `None` if the links lead out of the root or in a circle.
    fn place(&self, shipped: &str) -> Option<String> {
        let mut path = merged(shipped);
        for _ in 0..MAX_LINKS {
            let link = path.match_indices('/').find_map(|(at, _)| match &self.nodes.get(&path[..at])?.kind {
                NodeKind::Symlink(target) => Some((at, target)),
                _ => None,
            });
            let Some((at, target)) = link else { return Some(path) };
            let led = format!("{}{}", resolve_link(&path[..at], target)?, &path[at..]);
            // A link to the top leaves nothing in front of the slash.
            path = merged(led.trim_start_matches('/'));
        }
        None
    }

    fn finish(self, options: &RootOptions) -> Result<Root, Error> {
        let before = options.below.as_ref().map(|below| below.status.as_slice());
        let spool = self.spool.finish().map_err(io_error("write a file in", &options.spool_folder))?;
        let mut root = Root { nodes: self.nodes, spool };
        if before.is_none() {
            add_merged_links(&mut root);
        }
        let groups = self.parts.iter().filter_map(|part| part.control.files.get("postinst"));
        add_alternatives(&mut root, groups.flat_map(|script| script::alternatives(script)).collect());
        let is_new = |name: &str| self.parts.iter().any(|part| part.deb.name == name) && status::is_new(before, name);
        add_generated(&mut root, &is_new).map_err(io_error("read a file in", &options.spool_folder))?;
        let accounts = options.below.as_ref().map(|below| below.accounts.clone()).unwrap_or_default();
        add_declared_accounts(&mut root, &accounts).map_err(|error| match error {
            AccountError::Line { path, line } => {
                let package = self.owners.get(&path).map(|&owner| self.parts[owner].deb.name.clone());
                Error::UnknownAccount { package: package.unwrap_or_default(), line }
            }
            AccountError::Io(source) => io_error("read a file in", &options.spool_folder)(source),
        })?;
        let cached = match &options.below {
            None => add_loader_cache(&mut root, &self.architecture),
            Some(FilesBelow { loader_cache: Some(cache), .. }) => {
                extend_loader_cache(&mut root, &self.architecture, cache)
            }
            Some(_) => Ok(()),
        };
        cached.map_err(io_error("read a file in", &options.spool_folder))?;
        add_database(&mut root, &self.parts, before, &self.architecture);
        add_parents(&mut root);
        for (path, node) in &root.nodes {
            let kind = |path: &str| root.get(path).map(|node| &node.kind);
            let above = path.rsplit_once('/').map(|(folder, _)| folder);
            let cause = match &node.kind {
                _ if above.is_some_and(|folder| kind(folder) != Some(&NodeKind::Directory)) => {
                    "lies below what is no folder"
                }
                NodeKind::Hardlink(target) if !matches!(kind(target), Some(NodeKind::File(_))) => {
                    "links to a file that is not there"
                }
                _ => continue,
            };
            let package = self.owners.get(path).map_or_else(String::new, |&owner| self.parts[owner].deb.name.clone());
            return Err(Error::BadPath { package, path: path.clone(), cause });
        }
        Ok(root)
    }
}

/// A path without `./` and doubled slashes, `""` for the top; `None` if it climbs.
fn clean(path: &str) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// Whether a path would delete files when a layer is applied (OCI image specification, `layer.md`).
fn is_whiteout(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with(".wh."))
}

/// A path with the system's own links on its way resolved. A link at the top is its own place.
pub(super) fn merged(path: &str) -> String {
    if MERGED.contains(&path) {
        return path.to_owned();
    }
    link_in(path).map_or_else(|| path.to_owned(), |(_, target, below)| format!("{target}{below}"))
}

/// What a link at `place` names, from the top; `None` if it climbs out.
pub(super) fn resolve_link(place: &str, target: &str) -> Option<String> {
    let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => parent.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(merged(&parts.join("/")))
}

/// The target that a relative link needs after its move from `shipped` to `place`.
fn relocated(shipped: &str, place: &str, target: &str) -> String {
    let meant = resolve_link(shipped, target);
    match meant {
        Some(meant) if shipped != place && resolve_link(place, target).as_ref() != Some(&meant) => format!("/{meant}"),
        _ => target.to_owned(),
    }
}

/// Whether a path stays out of the image: documentation but licences, manual pages, translations but `C`'s.
fn is_left_out(path: &str, kind: &EntryKind) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).filter(|rest| !rest.is_empty());
    if let Some(rest) = below("usr/share/doc/") {
        let name = rest.rsplit('/').next().unwrap_or(rest);
        // A link in the place of a package's folder leads to the copyright file of another.
        let is_licence = name == "copyright" && *kind != EntryKind::Directory;
        let is_package_link = matches!(kind, EntryKind::Symlink(_)) && !rest.contains('/');
        return !(is_licence || is_package_link);
    }
    if let Some(rest) = below("usr/share/locale/") {
        return !rest.starts_with('C') && rest != "locale.alias";
    }
    ["usr/share/man/", "usr/share/info/", "usr/share/lintian/", "usr/share/doc-base/"]
        .iter()
        .any(|folder| below(folder).is_some())
}

/// `/bin -> usr/bin` and its like. `/lib64` and the rarer ones are there if something lies behind them.
fn add_merged_links(root: &mut Root) {
    for &name in MERGED {
        let behind = format!("usr/{name}");
        let always = matches!(name, "bin" | "sbin" | "lib");
        let prefix = format!("{behind}/");
        let is_used = root.nodes.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix));
        if always || is_used {
            root.nodes.entry(behind.clone()).or_insert_with(|| Node::directory(0o755));
            root.nodes.insert(name.to_owned(), Node::symlink(&behind));
        }
    }
}

/// Links of alternatives: in each group the highest priority whose file is there, the first by path among equals.
fn add_alternatives(root: &mut Root, groups: Vec<Alternative>) {
    let mut best: BTreeMap<String, Alternative> = BTreeMap::new();
    let is_there = |root: &Root, path: &str| clean(path).is_some_and(|path| root.nodes.contains_key(&merged(&path)));
    for group in groups.into_iter().filter(|group| is_there(root, &group.path)) {
        let rank = |group: &Alternative| (-group.priority, group.path.clone());
        if best.get(&group.name).is_none_or(|other| rank(&group) < rank(other)) {
            best.insert(group.name.clone(), group);
        }
    }
    for group in best.into_values() {
        let mut links = vec![(group.link, group.name, group.path)];
        links.extend(group.slaves);
        for (link, name, path) in links {
            let Some(place) = clean(&link).map(|link| merged(&link)) else { continue };
            if is_there(root, &path) && !is_occupied(root, &place) {
                root.nodes.insert(place, Node::symlink(&format!("/etc/alternatives/{name}")));
                root.nodes.insert(format!("etc/alternatives/{name}"), Node::symlink(&path));
            }
        }
    }
}

/// `/var/lib/dpkg`: the status, and per package its list of paths and what its control archive says of its files.
fn add_database(root: &mut Root, parts: &[Part<'_>], before: Option<&[u8]>, architecture: &str) {
    let folder = "var/lib/dpkg";
    let controls: Vec<_> = parts.iter().map(|part| &part.control).collect();
    let mut put = |path: String, text: Vec<u8>| root.nodes.insert(format!("{folder}/{path}"), Node::file(text));
    put("status".to_owned(), status::status_text(before, &controls).into_bytes());
    if before.is_none() {
        put("available".to_owned(), Vec::new());
        put("arch-native".to_owned(), format!("{architecture}\n").into_bytes());
        put("info/format".to_owned(), b"1\n".to_vec());
    }
    for part in parts {
        let name = status::record_name(&part.control.control);
        let mut list = String::new();
        for path in &part.shipped {
            list.push_str(if path.is_empty() { "/." } else { "/" });
            list.push_str(path);
            list.push('\n');
        }
        put(format!("info/{name}.list"), list.into_bytes());
        for file in ["md5sums", "conffiles", "triggers", "shlibs", "symbols"] {
            if let Some(bytes) = part.control.files.get(file) {
                put(format!("info/{name}.{file}"), bytes.clone());
            }
        }
    }
    if before.is_none() && root.nodes.contains_key("usr/bin/dpkg") {
        root.nodes.insert("etc/dpkg/dpkg.cfg.d/imgforge".to_owned(), Node::file(DPKG_EXCLUDES));
    }
}

#[cfg(test)]
#[path = "root_hostile_tests.rs"]
mod hostile_tests;
#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
