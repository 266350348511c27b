//! What is in an image, as a Python program sees it that runs there: see `inside.py`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use serde::Deserialize;

use super::engine::docker;

/// The answers of `inside.py`.
#[derive(Debug, Deserialize)]
pub(crate) struct Inside {
    /// User, group, home and working folder.
    pub(crate) user: (u32, u32, String, String),
    /// Major and minor version, and `sys.prefix`.
    pub(crate) python: (u32, u32, String),
    /// Versions of the distributions in the environment, by normalized name.
    pub(crate) distributions: BTreeMap<String, String>,
    /// Requirements among them that are not met.
    pub(crate) unmet: Vec<String>,
    /// Files that are not what a RECORD says.
    pub(crate) damaged: Vec<String>,
    /// Top-level modules, and those of them that the import system does not find.
    pub(crate) modules: usize,
    pub(crate) not_importable: Vec<String>,
    /// Certificate authorities in the default context of TLS.
    pub(crate) authorities: usize,
    /// `NAME:ARCHITECTURE VERSION STATUS` of each Debian package.
    pub(crate) packages: Vec<String>,
    /// What `dpkg --verify` and `dpkg --audit` complain about.
    pub(crate) packages_damaged: Vec<String>,
}

/// Runs the examination in a container of the image, as its own user.
#[track_caller]
pub(crate) fn inside(image: &str) -> Inside {
    let mut container = docker()
        .args(["run", "--rm", "--interactive", "--entrypoint", "python", image, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker");
    let mut input = container.stdin.take().expect("the pipe asked for");
    input.write_all(include_bytes!("inside.py")).expect("the container reads");
    drop(input);
    let output = container.wait_with_output().expect("the container's end");
    assert!(output.status.success(), "`inside.py` in {image}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}
