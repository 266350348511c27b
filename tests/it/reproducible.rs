//! Same lock, same bytes: whoever builds, wherever, with whatever settings.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use imgforge::lock::Lock;
use imgforge::oci::Digest;
use imgforge::store::Store;
use tempfile::TempDir;

use crate::support::forge::{Forge, standard_output};
use crate::support::layout::Layout;
use crate::support::{run, test_cache};

const SPEC: &str = "name: same\npython: \"3.13\"\npackages: [numpy, six, charset-normalizer]\nsystem: [tree]\n\
                    files: [{from: src, to: /srv/app}]\nenv: {ONE: \"1\", TWO: \"2\"}\n";

/// The project of `SPEC`, as a checkout at `time` under `umask` leaves it.
fn check_out(folder: &Path, umask: u32, time: SystemTime) {
    fs::create_dir_all(folder.join("src/nested")).expect("folders");
    let files = [("spec.yaml", SPEC, 0o666), ("src/b.py", "print('b')\n", 0o666), ("src/a.sh", "#!/bin/sh\n", 0o777)];
    for (name, text, mode) in files {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode & !umask)).expect("its mode");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("its time");
    }
    fs::write(folder.join("src/nested/empty"), "").expect("a file");
    symlink("../b.py", folder.join("src/nested/link")).expect("a link");
    for name in ["src", "src/nested"] {
        fs::set_permissions(folder.join(name), Permissions::from_mode(0o777 & !umask)).expect("its mode");
    }
}

/// A cache that holds the bytes a lock names, and nothing remembered of any service.
fn cache_of(lock: &Lock, root: &Path) -> PathBuf {
    let (from, to) = (Store::open(&test_cache().join("imgforge")), Store::open(root));
    let platform = &lock.platforms[0];
    let digests = platform.wheels.iter().map(|wheel| &wheel.digest).chain(platform.debs.iter().map(|deb| &deb.digest));
    for digest in digests {
        let target = to.blob_path(digest);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(from.blob(digest).expect("the first build fetched it"), &target).expect("a copy");
    }
    root.to_owned()
}

#[test]
fn two_users_of_one_lock_build_the_same_image() {
    let forge = Forge::new();
    check_out(&forge.path(""), 0o022, SystemTime::now());
    let mut build = forge.imgforge();
    let printed = standard_output(build.args(["build", "spec.yaml"]).env("TZ", "UTC"));
    let first = Layout::open(&forge.path("generated/same/oci"));
    assert_eq!(printed, first.digest);

    // Another user elsewhere, years later: a home, a cache, a mask, a zone and a locale of their own, files of another time,
    // and no network.
    let place = TempDir::with_prefix("elsewhere-").expect("a temporary folder");
    let project = place.path().join("deep/er/project");
    check_out(&project, 0o077, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    fs::copy(forge.path("imgforge.lock"), project.join("imgforge.lock")).expect("the lock");
    let lock = Lock::read(&project.join("imgforge.lock")).expect("a readable lock").expect("a lock");
    let cache = cache_of(&lock, &place.path().join("cache"));
    let program = place.path().join("imgforge");
    fs::copy(env!("CARGO_BIN_EXE_imgforge"), &program).expect("the program");
    run(Command::new("chown").args(["--recursive", "--no-dereference", "65534:65534"]).arg(place.path()));
    let mut build = Command::new("setpriv");
    build.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    build.args(["sh", "-c", "umask 077 && exec \"$@\"", "sh", "faketime", "2031-05-06 07:08:09"]).arg(&program).args([
        "build",
        "spec.yaml",
        "--locked",
        "--offline",
    ]);
    build.current_dir(&project).env("HOME", place.path()).env("IMGFORGE_CACHE", cache);
    build
        .env("TZ", "Pacific/Kiritimati")
        .env("LC_ALL", "C")
        .env("TMPDIR", place.path())
        .env_remove("SOURCE_DATE_EPOCH");
    assert_eq!(run(&mut build), first.digest);
    let second = Layout::open(&project.join("generated/same/oci"));
    assert_eq!(second.blobs(), first.blobs());

    // What was rendered is the same as well.
    for file in ["Dockerfile", "compose.yaml", "requirements.txt"] {
        let read = |folder: &Path| fs::read(folder.join("generated/same").join(file)).expect("a rendered file");
        assert_eq!(read(&project), read(&forge.path("")), "{file}");
    }
}

#[test]
fn a_layout_that_was_left_unfinished_is_completed() {
    let forge = Forge::new();
    check_out(&forge.path(""), 0o022, SystemTime::now());
    let build = |output: &str| {
        let mut command = forge.imgforge();
        standard_output(command.args(["build", "spec.yaml", "--output", output]))
    };
    let digest = build("one");
    let layout = Layout::open(&forge.path("one/oci"));
    let layers = layout.layers();
    let cut = forge.path("one/oci/blobs/sha256").join(layers[1].digest.trim_start_matches("sha256:"));
    fs::remove_file(&cut).expect("a layer");
    fs::remove_file(forge.path("one/oci/index.json")).expect("the index");
    assert_eq!(build("one"), digest);
    assert_eq!(Layout::open(&forge.path("one/oci")).blobs(), layout.blobs());
    assert_eq!(Digest::of(&fs::read(cut).expect("the layer")).to_string(), layers[1].digest);
}

#[test]
fn the_asked_time_is_the_time_of_everything() {
    let forge = Forge::new();
    check_out(&forge.path(""), 0o022, SystemTime::now());
    let build = |seconds: &str, output: &str| {
        let mut command = forge.imgforge();
        command.args(["build", "spec.yaml", "--output", output]).env("SOURCE_DATE_EPOCH", seconds);
        standard_output(&mut command);
        Layout::open(&forge.path(output).join("oci"))
    };
    let (one, other) = (build("1700000000", "one"), build("1700000001", "other"));
    assert_ne!(one.digest, other.digest);
    assert_eq!(one.config()["created"], "2023-11-14T22:13:20Z");
    assert_eq!(other.config()["created"], "2023-11-14T22:13:21Z");
    assert_eq!(one.manifest["annotations"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    for layer in one.manifest["layers"].as_array().expect("layers") {
        let bytes = one.blob(layer);
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()));
        for entry in archive.entries().expect("an archive") {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a path").into_owned();
            assert_eq!(entry.header().mtime().expect("a time"), 1_700_000_000, "{}", path.display());
        }
    }
}
