//! Files into a folder: all of them, or nothing.
//!
//! They are brought together in a folder beside the target. A target that is not there yet, or is empty, appears by one
//! rename. Into one that has files, nothing is moved before every difference is known; what is moved then appears whole, the
//! spec and its lock last.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Bundle, Error};
use crate::store::UnfinishedFolder;

/// A folder in the making; dropped before [`Staging::place`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    folder: UnfinishedFolder,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Written,
    /// It replaced another.
    Replaced,
    /// It was there already.
    Unchanged,
}

impl Outcome {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Staging {
    /// An empty one in `folder`, which is made if it is not there.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let made = UnfinishedFolder::create(folder).map_err(Error::io("create a folder in", folder))?;
        Ok(Self { folder: made })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds the files of a recipe.
    pub fn add(&self, bundle: &Bundle) -> Result<(), Error> {
        for (path, file) in &bundle.files {
            let target = self.path().join(path);
            crate::store::write_atomically(&target, &file.bytes)
                .map_err(|cause| Error::io("write", &target)(cause.into_io()))?;
        }
        Ok(())
    }

    /// Puts everything into `target`; files that differ are an error unless `force`. `last` are moved after all others.
    /// Returns every file with what became of it.
    pub fn place(mut self, target: &Path, force: bool, last: &[&str]) -> Result<BTreeMap<String, Outcome>, Error> {
        let mut files = BTreeMap::new();
        list(self.path(), "", &mut files)?;
        make_open(self.path())?;
        for (path, _) in files.iter().filter(|(_, is_folder)| **is_folder) {
            make_open(&self.path().join(path))?;
        }
        // An empty folder that is somebody's working folder is filled instead.
        if is_free(target)? && self.folder.move_to(target).is_ok() {
            let written = |(path, is_folder): (String, bool)| (!is_folder).then_some((path, Outcome::Written));
            return Ok(files.into_iter().filter_map(written).collect());
        }
        let (mut outcomes, mut new_folders, mut differing) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (path, is_folder) in files {
            let (here, there) = (self.path().join(&path), target.join(&path));
            let found = fs::symlink_metadata(&there).ok();
            match found {
                None if is_folder => new_folders.push(there),
                None => drop(outcomes.insert(path, Outcome::Written)),
                Some(found) if is_folder && found.is_dir() => {}
                Some(_) if !is_folder && is_same(&here, &there) => drop(outcomes.insert(path, Outcome::Unchanged)),
                // Neither takes a file the place of a folder, nor a folder that of a file or a link.
                Some(found) if force && !is_folder && !found.is_dir() => drop(outcomes.insert(path, Outcome::Replaced)),
                Some(_) => differing.push(path),
            }
        }
        if !differing.is_empty() {
            return Err(Error::Differs { folder: target.to_owned(), paths: differing });
        }
        for folder in new_folders {
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            make_open(&folder)?;
        }
        let changed = outcomes.iter().filter(|(_, outcome)| **outcome != Outcome::Unchanged);
        let (ends, begins): (Vec<&str>, Vec<&str>) =
            changed.map(|(path, _)| path.as_str()).partition(|path| last.contains(path));
        for path in begins.into_iter().chain(ends) {
            let to = target.join(path);
            fs::rename(self.path().join(path), &to).map_err(Error::io("write", &to))?;
        }
        Ok(outcomes)
    }
}

/// Containers read what is rendered as users of their own, whatever the umask here is.
fn make_open(folder: &Path) -> Result<(), Error> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(Error::io("set the mode of", folder))
}

/// Whether there is nothing at the path, or an empty folder.
fn is_free(path: &Path) -> Result<bool, Error> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("list", path)(error)),
    }
}

/// Every path below a folder, and whether it is a folder itself.
fn list(folder: &Path, below: &str, found: &mut BTreeMap<String, bool>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let is_folder = entry.file_type().map_err(Error::io("read", &entry.path()))?.is_dir();
        if is_folder {
            list(&entry.path(), &path, found)?;
        }
        found.insert(path, is_folder);
    }
    Ok(())
}

/// Whether two files or links are the same, their right to be executed included.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(first), Ok(second)) = (fs::symlink_metadata(one), fs::symlink_metadata(other)) else { return false };
    if first.is_symlink() || second.is_symlink() {
        return first.is_symlink() && second.is_symlink() && fs::read_link(one).ok() == fs::read_link(other).ok();
    }
    let executable = |metadata: &fs::Metadata| metadata.permissions().mode() & 0o111 != 0;
    let digest = |path: &Path| crate::store::digest_file(path).ok();
    first.len() == second.len() && executable(&first) == executable(&second) && digest(one) == digest(other)
}

/// The folder beside which a target appears.
pub fn beside(target: &Path) -> PathBuf {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}
