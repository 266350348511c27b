//! `examples/quickstart`, locked and built once for all tests that look at the result, and loaded into the engine
//! of the tests.
//!
//! Its folder lasts as long as the process that started the tests, as the engine does: processes of nextest share it.

use std::fs::{self, File};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use assert_cmd::Command;
use imgforge::lock::{Lock, LockedWheel};
use serde_json::Value;

use super::forge::{imgforge_with_engine, standard_output};
use super::layout::Layout;
use super::{copy_folder, repository};

/// The built example.
pub(crate) struct Quickstart {
    root: PathBuf,
    /// What `build --load --format json` printed.
    pub(crate) answer: Value,
}

/// Builds the example, or finds it built.
pub(crate) fn quickstart() -> &'static Quickstart {
    static QUICKSTART: OnceLock<Quickstart> = OnceLock::new();
    QUICKSTART.get_or_init(|| {
        let (scratch, parent) = (Path::new(env!("CARGO_TARGET_TMPDIR")), parent_id());
        remove_abandoned(scratch);
        let root = scratch.join(format!("quickstart-{parent}"));
        fs::create_dir_all(&root).expect("a folder for the example");
        let lock = File::create(root.join("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let answer = root.join("answer.json");
        if !answer.exists() {
            let text = build(&root);
            fs::write(&answer, text).expect("the answer");
        }
        let answer = serde_json::from_slice(&fs::read(answer).expect("the answer")).expect("JSON");
        Quickstart { root, answer }
    })
}

fn build(root: &Path) -> String {
    // What an interrupted build of the same process id left.
    let _ = fs::remove_dir_all(root.join("work"));
    copy_folder(&repository().join("examples/quickstart"), &root.join("work"));
    // A developer's own lock of the example is ignored by git, and by this.
    let _ = fs::remove_file(root.join("work/imgforge.lock"));
    fs::create_dir_all(root.join("home")).expect("a home");
    let mut command = imgforge_with_engine(&root.join("home"));
    command.current_dir(root.join("work"));
    standard_output(command.args(["build", "spec.yaml", "--load", "--format", "json"]))
}

/// Removes the folders of test runs that are over.
fn remove_abandoned(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix("quickstart-");
        if owner.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Quickstart {
    /// A path in the folder of `spec.yaml`.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join("work").join(relative)
    }

    /// `imgforge` in that folder, with the engine of the tests. What it writes must not differ from what is there.
    pub(crate) fn imgforge(&self) -> Command {
        let mut command = imgforge_with_engine(&self.root.join("home"));
        command.current_dir(self.path(""));
        command
    }

    /// Its lock.
    pub(crate) fn lock(&self) -> Lock {
        Lock::read(&self.path("imgforge.lock")).expect("a readable lock").expect("a lock")
    }

    /// Locked wheels of an image: `quickstart` or `quickstart-mlflow`.
    pub(crate) fn wheels(&self, image: &str) -> Vec<LockedWheel> {
        let lock = self.lock();
        match image {
            "quickstart" => lock.platforms[0].wheels.clone(),
            _ => lock.services.into_iter().find(|service| service.kind == "mlflow").expect("the service").wheels,
        }
    }

    /// The layout of an image.
    pub(crate) fn layout(&self, image: &str) -> Layout {
        Layout::open(&self.path(match image {
            "quickstart" => "generated/quickstart/oci",
            _ => "generated/quickstart/services/mlflow/oci",
        }))
    }
}
