//! What of this machine the settings may read, handed in so that tests can invent a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Error;

/// Longest settings file that is read.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Variables, home folder and root of the file system.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// What `/etc` stands in: `/`, or a folder of a test.
    pub root: PathBuf,
}

impl Environment {
    /// The running process's. Variables that are not UTF-8 are left out: no setting of ours can be one.
    pub fn of_process() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = variables.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Self { variables, home, root: PathBuf::from("/") }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where `absolute` stands on this machine.
    pub(super) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(super) fn config_home(&self) -> Option<PathBuf> {
        let set = self.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| self.home.as_ref().map(|home| home.join(".config")))
    }

    /// `path` with a leading `~` replaced by the home folder.
    pub(super) fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

/// Text of a settings file; `None` if there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, Error> {
    let failed = |source: std::io::Error| Error::Read { path: path.to_owned(), cause: source.to_string() };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(None),
        Ok(metadata) if metadata.len() > FILE_LIMIT => {
            Err(Error::Read { path: path.to_owned(), cause: format!("it is larger than {FILE_LIMIT} bytes") })
        }
        Ok(_) => Ok(Some(String::from_utf8_lossy(&std::fs::read(path).map_err(failed)?).into_owned())),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

impl fmt::Debug for Environment {
    /// Names of variables only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Environment")
            .field("variables", &names)
            .field("home", &self.home)
            .field("root", &self.root)
            .finish()
    }
}
