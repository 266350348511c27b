//! The program under test, with a home and a working folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

use super::{copy_folder, engine, images, repository, test_cache};

/// Prefixes of variables that would let the machine's user decide how a test ends.
const USER_VARIABLES: [&str; 7] =
    ["IMGFORGE_", "DOCKER_", "COMPOSE_", "XDG_", "CLICOLOR", "FORCE_COLOR", "SOURCE_DATE_EPOCH"];

/// `imgforge` with an empty home in `home`. The cache of downloads is shared by all tests and outlives them, so that a
/// wheel is fetched once; settings for proxies, certificates and package indexes stay as the machine has them.
pub(crate) fn imgforge(home: &Path) -> Command {
    Command::from_std(program(home))
}

/// The same, for a test that does not wait for its end.
fn program(home: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_imgforge"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| USER_VARIABLES.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("IMGFORGE_CACHE", test_cache().join("imgforge")).env("NO_COLOR", "1");
    command
}

/// The same, with the engine of the tests and with the stand-ins in place of docker.io.
pub(crate) fn imgforge_with_engine(home: &Path) -> Command {
    let mut command = imgforge(home);
    command.env("DOCKER_HOST", engine::docker_host()).env("IMGFORGE_REGISTRY_MIRRORS", images::mirrors());
    command
}

/// What a command that must succeed prints on standard output, without the last line end.
#[track_caller]
pub(crate) fn standard_output(command: &mut Command) -> String {
    let assertion = command.assert().success();
    String::from_utf8(assertion.get_output().stdout.clone()).expect("output in UTF-8").trim_end().to_owned()
}

/// A user's folder: specs and what `imgforge` makes of them. Removed when dropped.
pub(crate) struct Forge {
    root: TempDir,
}

impl Forge {
    /// An empty folder, and beside it an empty home.
    pub(crate) fn new() -> Self {
        let root = TempDir::with_prefix("imgforge-test-").expect("a temporary folder");
        for folder in ["home", "work"] {
            fs::create_dir(root.path().join(folder)).expect("a folder in it");
        }
        Self { root }
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join("work").join(relative)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Writes a file, and the folders on the way to it.
    #[track_caller]
    pub(crate) fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the file's folder");
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Reads a file as text.
    #[track_caller]
    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Copies the quickstart into the working folder, with the committed lock beside its spec.
    pub(crate) fn locked_quickstart(&self) {
        copy_folder(&repository().join("examples/quickstart"), &self.path(""));
        let lock = repository().join("generated/quickstart/imgforge.lock");
        self.write("imgforge.lock", fs::read(lock).expect("the committed lock"));
    }

    /// `imgforge` in the working folder.
    pub(crate) fn imgforge(&self) -> Command {
        let mut command = imgforge(&self.home());
        command.current_dir(self.path(""));
        command
    }

    /// The same, for a test that does not wait for its end.
    pub(crate) fn program(&self) -> std::process::Command {
        let mut command = program(&self.home());
        command.current_dir(self.path(""));
        command
    }

    /// `imgforge` in the working folder, with the engine of the tests and with the stand-ins in place of docker.io.
    pub(crate) fn imgforge_with_engine(&self) -> Command {
        let mut command = imgforge_with_engine(&self.home());
        command.current_dir(self.path(""));
        command
    }
}
