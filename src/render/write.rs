//! Rendered files on disk. Each is replaced whole; what a later render no longer has is removed, by names that only a
//! render gives. `.env`, the image layout and whatever a person put there stay.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Rendered};
use crate::store;

impl Rendered {
    /// Writes all files below `folder`, and leaves those alone that already have the same bytes and mode. Returns the
    /// paths that changed, relative to `folder`, removed ones included.
    pub fn write(&self, folder: &Path) -> Result<BTreeSet<String>, Error> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| Error::Write { path, source }
        };
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
        for name in present(folder).map_err(error(folder))? {
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
                if part.starts_with("services/postgres") || store::is_generated(&entry.path()) {
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
}
