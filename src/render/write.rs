//! Rendered files on disk. Each is replaced whole; what a later render no longer has is removed, by names that only a
//! render gives. `.env`, the image layout and whatever a person put there stay: a file of such a name that no render wrote is
//! refused. The first line tells; copies of seeds have none, and are taken for ours where the Dockerfile is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Rendered};
use crate::store;

/// Where the copies of seeds lie.
const SEEDS: &str = "services/postgres";
/// Files that every render writes.
const ALWAYS: [&str; 6] =
    [".dockerignore", ".env.example", ".gitignore", "Dockerfile", "compose.yaml", "requirements.txt"];

/// Refuses a folder with files that any render would replace or remove, and that none wrote.
pub fn check_folder(folder: &Path) -> Result<(), Error> {
    let stale = present(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    refuse_foreign(folder, ALWAYS.into_iter().chain(stale.iter().map(String::as_str)))
}

fn refuse_foreign<'a>(folder: &Path, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let is_ours = store::is_generated(&folder.join("Dockerfile"));
    let is_foreign = |name: &&str| {
        let path = folder.join(name);
        let is_written = store::is_generated(&path) || is_ours && name.starts_with(SEEDS);
        !is_written && fs::symlink_metadata(&path).is_ok()
    };
    let foreign: BTreeSet<&str> = names.filter(is_foreign).collect();
    match foreign.is_empty() {
        true => Ok(()),
        false => Err(Error::Foreign { paths: foreign.into_iter().map(|name| folder.join(name)).collect() }),
    }
}

impl Rendered {
    /// Writes all files below `folder`, and leaves those alone that already have the same bytes and mode. Returns the
    /// paths that changed, relative to `folder`, removed ones included. Writes nothing if one would replace or remove what
    /// no render wrote.
    pub fn write(&self, folder: &Path) -> Result<BTreeSet<String>, Error> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| Error::Write { path, source }
        };
        let stale: Vec<String> = present(folder).map_err(error(folder))?;
        refuse_foreign(folder, self.files.keys().chain(&stale).map(String::as_str))?;
        let mut changed = BTreeSet::new();
        for (name, file) in &self.files {
            let path = folder.join(name);
            if is_same(&path, &file.bytes, file.mode) {
                continue;
            }
            store::write_atomically(&path, &file.bytes).map_err(|cause| error(&path)(cause.into_io()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).map_err(error(&path))?;
            changed.insert(name.clone());
        }
        // Containers read these as users of their own, whatever the umask here is.
        for name in ["services", "services/postgres", "services/postgres/csv"].map(|name| folder.join(name)) {
            match fs::set_permissions(&name, fs::Permissions::from_mode(0o755)) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(error(&name)(cause)),
                _ => {}
            }
        }
        for name in stale {
            if !self.files.contains_key(&name) {
                let path = folder.join(&name);
                fs::remove_file(&path).map_err(error(&path))?;
                changed.insert(name);
            }
        }
        for name in ["services/postgres/csv", "services/postgres", "services/mlflow", "services"] {
            match fs::remove_dir(folder.join(name)) {
                Err(cause) if !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    return Err(error(&folder.join(name))(cause));
                }
                _ => {}
            }
        }
        Ok(changed)
    }
}

fn is_same(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && metadata.len() == bytes.len() as u64
        && fs::read(path).is_ok_and(|present| present == bytes)
}

/// Files below `folder` that some render may have written.
fn present(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for part in ["", "services/mlflow", "services/postgres", "services/postgres/csv"] {
        let entries = match fs::read_dir(folder.join(part)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = PathBuf::from(part).join(entry.file_name());
            if let Some(name) = path.to_str().filter(|name| is_rendered(name) && entry.path().is_file()) {
                // Seeds are copies, so only their names tell.
                if part.starts_with(SEEDS) || store::is_generated(&entry.path()) {
                    names.push(name.to_owned());
                }
            }
        }
    }
    Ok(names)
}

/// Whether `name` is one that a render gives.
fn is_rendered(name: &str) -> bool {
    let requirements = |name: &str| {
        name == "requirements.txt"
            || name.strip_prefix("requirements-").is_some_and(|rest| rest.strip_suffix(".txt").is_some())
    };
    let numbered = |name: &str, extension: &str| {
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        digits >= 2 && name[digits..].starts_with('-') && name.ends_with(extension)
    };
    if let Some(name) = name.strip_prefix("services/postgres/csv/") {
        numbered(name, ".csv")
    } else if let Some(name) = name.strip_prefix("services/postgres/") {
        name == super::MLFLOW_DATABASE || numbered(name, ".sql")
    } else {
        let name = name.strip_prefix("services/mlflow/").unwrap_or(name);
        matches!(
            name,
            "Dockerfile" | ".dockerignore" | "compose.yaml" | "compose.cpu.yaml" | ".env.example" | ".gitignore"
        ) || requirements(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::RenderedFile;
    use super::*;

    fn rendered(names: &[&str]) -> Rendered {
        let file = |name: &&str| {
            ((*name).to_owned(), RenderedFile { bytes: format!("# {}", store::GENERATED).into_bytes(), mode: 0o644 })
        };
        Rendered { files: names.iter().map(file).collect() }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_second_render_removes_what_is_gone_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let first =
            ["Dockerfile", "requirements-x.txt", "services/postgres/01-a.sql", "services/postgres/csv/02-b.csv"];
        assert_eq!(rendered(&first).write(path).expect("written"), names(&first));
        for kept in [".env", "oci/index.json", "requirements-dev.txt", "services/postgres/mine.sql"] {
            store::write_atomically(&path.join(kept), b"kept").expect("written");
        }
        let gone = ["requirements-x.txt", "services/postgres/01-a.sql", "services/postgres/csv/02-b.csv"];
        assert_eq!(rendered(&["Dockerfile"]).write(path).expect("written"), names(&gone));
        for kept in [".env", "oci/index.json", "requirements-dev.txt", "services/postgres/mine.sql", "Dockerfile"] {
            assert!(path.join(kept).exists(), "{kept}");
        }
        assert!(!path.join("services/postgres/csv").exists());
        assert_eq!(rendered(&["Dockerfile"]).write(path).expect("written"), names(&[]));
    }

    #[test]
    fn what_no_render_wrote_is_neither_replaced_nor_removed() {
        let files = ["Dockerfile", "compose.yaml", "services/postgres/01-a.sql"];
        for mine in ["compose.yaml", "Dockerfile", "services/postgres/01-a.sql", "services/postgres/csv/07-mine.csv"] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join(mine);
            store::write_atomically(&path, b"mine").expect("written");
            let error = rendered(&files).write(folder.path()).expect_err(mine);
            let Error::Foreign { paths } = &error else { panic!("{error}") };
            assert_eq!(paths, std::slice::from_ref(&path));
            assert!(matches!(check_folder(folder.path()), Err(Error::Foreign { .. })), "{mine}");
            assert_eq!(fs::read(&path).expect("still there"), b"mine");
            let others = files.iter().filter(|name| **name != mine && folder.path().join(name).exists());
            assert_eq!(others.count(), 0, "{mine}");
        }
        // A link that leads nowhere is somebody's as well, and so is whatever replaced a rendered file.
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::os::unix::fs::symlink("nowhere", folder.path().join("compose.yaml")).expect("a link");
        assert!(check_folder(folder.path()).is_err());
        fs::remove_file(folder.path().join("compose.yaml")).expect("removed");
        rendered(&files).write(folder.path()).expect("written");
        check_folder(folder.path()).expect("written by a render");
        fs::write(folder.path().join("compose.yaml"), "mine").expect("written");
        assert!(rendered(&files).write(folder.path()).is_err());
    }
}
