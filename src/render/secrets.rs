//! `.env`: the only place where the stack's secrets are. It is never rendered, published or read back into a lock.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::store::Unfinished;

/// Makes `.env` in `folder` for the rendered `.env.example` beside it: every name that has an empty value there gets a
/// random secret, unless `.env` has a value already. The file is readable by its owner alone from its first byte on, and
/// replaced whole. Returns whether a secret was made.
pub fn ensure_secrets(folder: &Path) -> io::Result<bool> {
    let example = match fs::read_to_string(folder.join(".env.example")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        read => read?,
    };
    let names: Vec<&str> =
        example.lines().filter_map(assignment).filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    // A link to a file elsewhere stays a link.
    let link = folder.join(".env");
    let path = fs::canonicalize(&link).unwrap_or(link);
    loop {
        let present = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(text) = completed(present.as_deref().unwrap_or_default(), &names)? else {
            // Written by hand, or checked out: what it holds is for its owner alone all the same.
            if present.is_some() {
                let mode = fs::metadata(&path)?.permissions().mode();
                if mode & 0o077 != 0 {
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o700))?;
                }
            }
            return Ok(false);
        };
        let parent = path.parent().unwrap_or(folder);
        let mut file = Unfinished::create(parent)?;
        file.write_all(text.as_bytes())?;
        file.file().sync_all()?;
        let stored = if present.is_some() { file.keep(&path) } else { file.keep_new(&path) };
        match stored {
            Ok(()) => return Ok(true),
            // Somebody else made it meanwhile, and their secrets may be in use: look again.
            Err(failure) if failure.kind() == ErrorKind::AlreadyExists => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// `text` with a secret for each of `names` that has no value in it; `None` if all have one.
fn completed(text: &str, names: &[&str]) -> io::Result<Option<String>> {
    let given: BTreeSet<&str> =
        text.lines().filter_map(assignment).filter(|(_, value)| !value.is_empty()).map(|(name, _)| name).collect();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !given.contains(name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut complete = String::new();
    for line in text.lines() {
        let replaced = assignment(line).is_some_and(|(name, _)| missing.contains(&name));
        if !replaced {
            complete.push_str(line);
            complete.push('\n');
        }
    }
    for name in missing {
        complete.push_str(&format!("{name}={}\n", secret()?));
    }
    Ok(Some(complete))
}

/// Name and value of a line such as `NAME=value`, `export NAME="value"`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| (name, value.trim().trim_matches(['"', '\''])))
}

/// 24 random bytes as 32 characters that need no quoting in a URL, a shell or a Compose file.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(example: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join(".env.example"), example).expect("written");
        folder
    }

    #[test]
    fn makes_secrets_once_and_for_the_owner_alone() {
        let folder = folder_with("# note=\nPOSTGRES_PASSWORD=\nMLFLOW_DB_PASSWORD=\n#POSTGRES_PORT=5432\n");
        assert!(ensure_secrets(folder.path()).expect("written"));
        let path = folder.path().join(".env");
        let text = fs::read_to_string(&path).expect("read");
        let pairs: Vec<(&str, &str)> = text.lines().filter_map(assignment).collect();
        assert_eq!(pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), ["POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD"]);
        assert!(pairs.iter().all(|(_, value)| value.len() == 32), "{text}");
        assert_ne!(pairs[0].1, pairs[1].1);
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert!(!ensure_secrets(folder.path()).expect("nothing to do"));
        assert_eq!(fs::read_to_string(&path).expect("read"), text);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_file_that_others_may_read_is_closed() {
        let folder = folder_with("POSTGRES_PASSWORD=\n");
        let path = folder.path().join(".env");
        fs::write(&path, "POSTGRES_PASSWORD=chosen\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(!ensure_secrets(folder.path()).expect("nothing to make"));
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).expect("read"), "POSTGRES_PASSWORD=chosen\n");
    }

    #[test]
    fn keeps_what_is_there_and_adds_what_is_missing() {
        let folder = folder_with("POSTGRES_PASSWORD=\nMLFLOW_DB_PASSWORD=\n");
        let path = folder.path().join(".env");
        fs::write(&path, "# mine\nexport POSTGRES_PASSWORD=\"chosen\"\nMLFLOW_DB_PASSWORD=\nPOSTGRES_PORT=15432")
            .expect("written");
        assert!(ensure_secrets(folder.path()).expect("written"));
        let text = fs::read_to_string(&path).expect("read");
        let (kept, added) = text.split_at(text.find("MLFLOW").expect("added"));
        assert_eq!(kept, "# mine\nexport POSTGRES_PASSWORD=\"chosen\"\nPOSTGRES_PORT=15432\n");
        assert_eq!(added.len(), "MLFLOW_DB_PASSWORD=".len() + 33, "{added}");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_stack_without_secrets_needs_no_file() {
        let folder = folder_with("#MLFLOW_PORT=5000\n");
        assert!(!ensure_secrets(folder.path()).expect("nothing to do"));
        assert!(!folder.path().join(".env").exists());
    }
}
