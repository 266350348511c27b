//! `imgforge keys`: a pair of keys to sign images with, in cosign's own form, so that either program can use it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use console::Term;
use serde_json::json;

use crate::attest::SigningKey;
use crate::cli::{Format, KeysCommand};
use crate::diagnostic::{Failure, Hint};

use super::{Context, print, print_json};

/// The variable that cosign takes the password from.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("`{0}` is there already, and keys are never overwritten")]
    Exists(PathBuf),
    #[error("there is no password for the key: `{PASSWORD}` is not set, and there is no terminal to ask at")]
    NoPassword,
    #[error("the two passwords are not the same")]
    Mistyped,
    #[error("the password cannot be read: {0}")]
    Ask(io::Error),
    #[error("a key cannot be made: {0}")]
    Make(io::Error),
    #[error("cannot write `{path}`: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Exists(_) => vec!["choose another name with `--output`".to_owned()],
            Self::NoPassword => vec![format!("set `{PASSWORD}`; an empty one leaves the key without protection")],
            _ => Vec::new(),
        }
    }
}

pub(super) fn run(context: &Context, command: &KeysCommand) -> Result<u8, Failure> {
    let KeysCommand::Generate { output, format } = command;
    let [private, public] = ["key", "pub"].map(|extension| with_extension(output, extension));
    // Said before a password is asked for; what appears meanwhile is not overwritten either.
    if let Some(path) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Error::Exists(path.clone()).into());
    }
    let password = new_password()?;
    let key = SigningKey::generate().map_err(Error::Make)?;
    let (secret, open) =
        (key.to_encrypted_pem(&password).map_err(Error::Make)?, key.public().to_pem().map_err(Error::Make)?);
    write_new(&private, &secret, 0o600)?;
    if let Err(error) = write_new(&public, &open, 0o644) {
        // Half a pair is of no use, and would be in the way of the next try.
        let _ = std::fs::remove_file(&private);
        return Err(error.into());
    }
    match format {
        Format::Json => {
            print_json(&json!({"status": "ok", "private": private, "public": public, "hint": key.public().hint()}));
        }
        Format::Text => [&private, &public].into_iter().for_each(|path| print(&path.display().to_string())),
    }
    if password.is_empty() {
        context.progress.say(format!("warning: the password is empty: whoever reads `{}` can sign", private.display()));
    }
    context.progress.say(format!("next: imgforge build SPEC --push --sign-key {}", private.display()));
    Ok(0)
}

/// `sign.key`; a dot in the name is part of it.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    name.into()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Write { path: path.to_owned(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| {
        let _ = std::fs::remove_file(path);
        Error::Write { path: path.to_owned(), source }
    })
}

/// The password of a new key: the variable's, or one that is typed twice.
fn new_password() -> Result<String, Error> {
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(password);
    }
    let password = ask("password for the private key: ")?.ok_or(Error::NoPassword)?;
    match ask("the same again: ")? {
        Some(again) if again == password => Ok(password),
        _ => Err(Error::Mistyped),
    }
}

/// The password of a key that is there: the variable's, or one that is typed.
pub(super) fn password() -> Option<String> {
    std::env::var(PASSWORD).ok().or_else(|| ask("password of the private key: ").ok().flatten())
}

/// What is typed at the terminal, unseen; nothing if there is none.
fn ask(question: &str) -> Result<Option<String>, Error> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Ok(None);
    }
    terminal.write_str(question).and_then(|()| terminal.read_secure_line()).map(Some).map_err(Error::Ask)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_for_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = with_extension(&folder.path().join("team.2026"), "key");
        assert_eq!(path.file_name().expect("a name"), "team.2026.key");
        write_new(&path, "one", 0o600).expect("written");
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        let error = write_new(&path, "two", 0o600).expect_err("it is there");
        assert!(matches!(error, Error::Exists(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "one");
    }
}
