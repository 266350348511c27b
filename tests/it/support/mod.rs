//! What the end-to-end tests share.
//!
//! Nothing here is a double: a test talks to a Docker engine, a registry and package indexes as users have them. A part that
//! cannot be had fails the test. `tests/run` installs and starts the parts; a bare `cargo test` starts them on demand.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod colleague;
pub(crate) mod engine;
pub(crate) mod forge;
pub(crate) mod images;
pub(crate) mod index;
pub(crate) mod inside;
pub(crate) mod invented;
pub(crate) mod layout;
pub(crate) mod quickstart;
pub(crate) mod registry;
pub(crate) mod tree;
pub(crate) mod wheels;
pub(crate) mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The checkout.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What tests keep between runs: downloads, and the storage of the registry that holds the stand-ins.
///
/// `tests/engine` computes the same folder.
pub(crate) fn test_cache() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("test-cache")
}

/// The certificate authorities this machine trusts, as one PEM file. Behind a proxy that inspects TLS, a container needs it
/// handed in before it can reach a package index.
pub(crate) fn certificates() -> PathBuf {
    std::env::var_os("SSL_CERT_FILE").map_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into(), PathBuf::from)
}

/// Runs a command that must succeed and returns its standard output without the last line end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("output in UTF-8").trim_end().to_owned()
}

/// Runs a command whatever its exit status.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `tests/run` installs what the tests need"))
}

/// Copies a folder with what lies below it; links stay links.
#[track_caller]
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is made");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if let Ok(link) = fs::read_link(entry.path()) {
            std::os::unix::fs::symlink(link, target).expect("the link is made");
        } else if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file is copied");
        }
    }
}

/// Every file below a folder, by its path relative to it.
#[track_caller]
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap_or_else(|error| panic!("{}: {error}", current.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("below the folder").to_str().expect("UTF-8").to_owned();
                files.insert(relative, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            }
        }
    }
    files
}

/// The numbers of a fixed sequence below `limit` (xorshift), so that a failure can be had again, nearly.
pub(crate) fn numbers(limit: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15), |&state: &u64| {
        let state = state ^ state << 13;
        let state = state ^ state >> 7;
        Some(state ^ state << 17)
    })
    .map(move |state| (state >> 11) % limit)
}
