//! What happens around a build: an interrupt, a kill, a full disk, a cache that cannot be written, a second build. It leaves
//! nothing that looks whole and is not, and the next build is right.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use imgforge::lock::{Lock, LockedFile};
use imgforge::oci::Digest;
use imgforge::spec::Spec;
use imgforge::store::{Store, is_unfinished};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::forge::Forge;
use crate::support::invented::mirror;
use crate::support::layout::Layout;
use crate::support::registry::RegistryServer;
use crate::support::wheels::{Pinned, pinned};
use crate::support::{files_below, numbers, output, repository, run};

/// Wheels that take a second or two to become layers: three with a layer of their own, the others in buckets.
const WHEELS: [&str; 7] = ["black", "boto", "docutils-0.17.1", "pelican", "pip-20.3.4", "tbb", "widgetsnbextension"];
const SPEC: &str = "name: robust\npython: \"3.13\"\nbase: docker.io/library/invented:1\npackages: [black]\n\
                    files: [{from: src, to: /srv/app}]\n";

/// A project with a lock, a cache of its own, and the registry that has the base.
struct World {
    forge: Forge,
    cache: TempDir,
    mirror: String,
    _server: RegistryServer,
}

fn wheels() -> impl Iterator<Item = &'static Pinned> {
    WHEELS.iter().map(|start| {
        let is_wanted = |wheel: &&Pinned| wheel.input.filename.starts_with(&format!("{start}-"));
        pinned().iter().find(is_wanted).unwrap_or_else(|| panic!("no {start} among the pinned wheels"))
    })
}

impl World {
    fn new() -> Self {
        let forge = Forge::new();
        let spec = forge.write("spec.yaml", SPEC);
        forge.write("src/main.py", "print(1)\n".repeat(5000));
        let template = repository().join("tests/cases/golden/quickstart/imgforge.lock");
        let mut lock = Lock::read(&template).expect("a readable lock").expect("a lock");
        "robust".clone_into(&mut lock.name);
        lock.inputs.spec = Spec::load(&spec).expect("a spec").digest;
        lock.image.files = vec![LockedFile { from: "src".to_owned(), to: "/srv/app".to_owned() }];
        lock.platforms[0].wheels = wheels().map(Pinned::locked).collect();
        lock.write(&forge.path("imgforge.lock")).expect("a lock");
        let server = RegistryServer::plain();
        let mirror = mirror(&server);
        Self { forge, cache: TempDir::with_prefix("imgforge-cache-").expect("a folder"), mirror, _server: server }
    }

    /// A build into the default folder.
    fn build(&self) -> Command {
        let mut command = self.forge.program();
        command.args(["build", "spec.yaml", "--locked"]).stdin(Stdio::null());
        command.env("IMGFORGE_CACHE", self.cache.path()).env("IMGFORGE_REGISTRY_MIRRORS", &self.mirror);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Puts the wheels into a cache, so that a build need not fetch them.
    fn fill(cache: &Path) {
        let store = Store::open(cache);
        for wheel in wheels() {
            let mut file = fs::File::open(&wheel.input.path).expect("a wheel");
            store.insert(&wheel.name, &mut file, &wheel.input.digest, None, &mut |_| {}).expect("in the cache");
        }
    }

    /// Takes back what builds made: they would find it.
    fn forget(&self) {
        for folder in [self.forge.path("generated"), self.cache.path().join("facts")] {
            if folder.exists() {
                fs::remove_dir_all(folder).expect("removed");
            }
        }
    }

    /// The next build is right, and so is everything in the cache and in the layout.
    #[track_caller]
    fn assert_right(&self) {
        assert_eq!(run(&mut self.build()), expected());
        assert_sound(self.cache.path());
        let layout = Layout::open(&self.forge.path("generated/robust/oci"));
        let digest = |descriptor: &Value| descriptor["digest"].as_str().expect("a digest").to_owned();
        let layers = layout.manifest["layers"].as_array().expect("layers").iter().map(digest);
        let all = layers.chain([digest(&layout.manifest["config"]), layout.digest.clone()]);
        let mut named: Vec<String> = all.map(|digest| digest.trim_start_matches("sha256:").to_owned()).collect();
        named.sort();
        assert_eq!(layout.blobs(), named);
        assert_eq!(unfinished(&self.forge.path("")), Vec::<String>::new());
    }
}

/// The digest of a build that nothing disturbs.
fn expected() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let world = World::new();
        World::fill(world.cache.path());
        run(&mut world.build())
    })
}

/// Every blob of a cache is what its name says.
#[track_caller]
fn assert_sound(cache: &Path) {
    for (path, bytes) in files_below(&cache.join("blobs/sha256")) {
        assert_eq!(Digest::of(&bytes).hex(), path.replace('/', ""));
    }
}

/// Files that are not whole, below a folder that may be changing.
fn unfinished(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name().to_str().is_some_and(is_unfinished) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

fn signal(child: &Child, name: &str) {
    run(Command::new("kill").args([format!("-{name}"), child.id().to_string()]));
}

/// The same command, begun by another program that becomes it.
fn started_by(mut starter: Command, command: &Command) -> Command {
    starter.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        starter.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    starter
}

/// How it ended, and what it said.
fn end(mut child: Child) -> (ExitStatus, String) {
    let mut said = String::new();
    child.stderr.take().expect("the pipe asked for").read_to_string(&mut said).expect("UTF-8");
    (child.wait().expect("an end"), said)
}

#[test]
fn an_interrupted_build_leaves_nothing_unfinished() {
    let world = World::new();
    // Without the wheels it is interrupted while they come, with them while layers are made.
    for (name, number, is_filled) in
        [("INT", 2, false), ("TERM", 15, false), ("INT", 2, true), ("TERM", 15, true), ("HUP", 1, true)]
    {
        // A build that is quicker than the signal is begun again.
        let (status, said) = (0..50)
            .map(|_| {
                world.forget();
                match is_filled {
                    true => World::fill(world.cache.path()),
                    false => drop(fs::remove_dir_all(world.cache.path().join("blobs"))),
                }
                let places = [world.forge.path("generated/robust/oci"), world.cache.path().join("tmp")];
                // Whoever runs the tests may ignore a hang-up, which the program would go on doing.
                let mut usual = Command::new("env");
                usual.arg("--default-signal=HUP,INT,TERM");
                let mut build = started_by(usual, &world.build());
                let mut child = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
                let deadline = Instant::now() + Duration::from_mins(1);
                while places.iter().all(|place| unfinished(place).is_empty()) {
                    assert!(
                        Instant::now() < deadline && child.try_wait().expect("a state").is_none(),
                        "nothing was unfinished"
                    );
                    std::thread::sleep(Duration::from_millis(1));
                }
                signal(&child, name);
                end(child)
            })
            .find(|(status, _)| !status.success())
            .expect("an interrupted build");
        assert_eq!(status.signal(), Some(number), "{name}: {status}\n{said}");
        assert_eq!(unfinished(&world.forge.path("")), Vec::<String>::new());
        let left = fs::read_dir(world.cache.path().join("tmp")).expect("the folder").count();
        assert_eq!(left, 0, "{name}");
        assert!(!world.forge.path("generated/robust/oci/index.json").exists());
    }
    world.assert_right();
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let world = World::new();
    World::fill(world.cache.path());
    let mut ignorant = Command::new("sh");
    ignorant.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let mut build = started_by(ignorant, &world.build());
    let child = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    let place = world.forge.path("generated/robust/oci");
    while unfinished(&place).is_empty() && !place.join("index.json").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&child, "HUP");
    let (status, said) = end(child);
    assert!(status.success(), "{status}\n{said}");
    world.assert_right();
}

#[test]
fn whenever_a_build_is_killed_the_next_one_is_right() {
    const KILLS: usize = 25;
    let world = World::new();
    World::fill(world.cache.path());
    let started = Instant::now();
    world.assert_right();
    let whole = u64::try_from(started.elapsed().as_millis()).expect("a short time");
    let (mut killed, mut left) = (0, 0);
    for delay in numbers(whole) {
        // What a build that came to its end made would be all that the next one needs.
        if world.forge.path("generated/robust/oci/index.json").exists() {
            world.forget();
        }
        let mut child = world.build().spawn().expect("the program");
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("killed");
        killed += usize::from(end(child).0.signal() == Some(9));
        left += usize::from(!unfinished(world.forge.path("").parent().expect("a folder")).is_empty());
        assert_sound(world.cache.path());
        if killed % 8 == 0 {
            world.assert_right();
            world.forget();
        }
        if killed == KILLS {
            break;
        }
    }
    assert!(left > 0, "no kill came while a file was unfinished");
    world.assert_right();
}

#[test]
fn two_builds_share_a_cache() {
    let world = World::new();
    for output in [["one", "two"], ["same", "same"]] {
        world.forget();
        drop(fs::remove_dir_all(world.cache.path().join("blobs")));
        let start = |output: &str| world.build().args(["--output", output]).spawn().expect("the program");
        let children = output.map(start);
        for child in children {
            let output = child.wait_with_output().expect("an end");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected());
        }
        for folder in output {
            assert_eq!(Layout::open(&world.forge.path(folder).join("oci")).digest, expected());
        }
    }
    assert_eq!(unfinished(&world.forge.path("")), Vec::<String>::new());
    assert_eq!(fs::read_dir(world.cache.path().join("tmp")).expect("the folder").count(), 0);
    world.assert_right();
}

/// A small file system in memory; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said aloud, where mounting is not allowed: in a container without that privilege.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        let answer = output(&mut mount);
        if !answer.status.success() {
            eprintln!("not tested, since nothing can be mounted here: {}", String::from_utf8_lossy(&answer.stderr));
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    fn remount(&self, options: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// What a build says that cannot be done.
fn refusal(command: &mut Command) -> String {
    let output = output(command);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    said.split_once("error: ").unwrap_or_else(|| panic!("no error in {said}")).1.to_owned()
}

#[test]
fn a_full_cache_is_said_and_stays_right() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.cache.path(), "6m") else { return };
    let said = refusal(&mut world.build());
    assert!(said.contains("No space left on device"), "{said}");
    assert!(
        said.contains("help: free space there (`imgforge cache prune`), or name another folder in `IMGFORGE_CACHE`"),
        "{said}"
    );
    assert_sound(world.cache.path());
    assert_eq!(fs::read_dir(world.cache.path().join("tmp")).expect("the folder").count(), 0);
    disk.remount("size=100m");
    world.assert_right();
}

#[test]
fn a_full_output_is_said_and_the_build_goes_on_when_there_is_space() {
    let world = World::new();
    World::fill(world.cache.path());
    let folder = world.forge.path("generated");
    let Some(disk) = Disk::mount(&folder, "300k") else { return };
    for size in ["300k", "2m", "5m"] {
        disk.remount(&format!("size={size}"));
        let said = refusal(&mut world.build());
        assert!(said.contains("No space left on device") && said.contains("help: free space"), "{size}: {said}");
        assert_eq!(unfinished(&folder), Vec::<String>::new());
        assert!(!folder.join("robust/oci/index.json").exists());
    }
    disk.remount("size=100m");
    world.assert_right();
}

#[test]
fn a_cache_that_cannot_be_written_is_said_and_left_as_it_is() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.cache.path(), "100m") else { return };
    for is_filled in [false, true] {
        if is_filled {
            World::fill(world.cache.path());
        }
        let before = files_below(world.cache.path());
        disk.remount("ro");
        let said = refusal(&mut world.build());
        assert!(said.contains("Read-only file system"), "{said}");
        assert!(said.contains("help: name a folder that can be written in `IMGFORGE_CACHE`"), "{said}");
        disk.remount("rw");
        assert!(files_below(world.cache.path()) == before);
        assert_eq!(unfinished(&world.forge.path("")), Vec::<String>::new());
    }
    world.assert_right();
}

#[test]
fn a_wheel_that_the_disk_forgot_is_named_and_fetched_again() {
    let world = World::new();
    World::fill(world.cache.path());
    let wheel = wheels().next().expect("a wheel");
    let path = Store::open(world.cache.path()).blob_path(&wheel.input.digest);
    let mut bytes = fs::read(&path).expect("the wheel");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("damaged");
    let said = refusal(&mut world.build());
    assert!(
        said.starts_with(&format!("the cache's copy of `{}` was damaged, and is removed", wheel.input.filename)),
        "{said}"
    );
    assert!(!path.exists());
    world.assert_right();
}

#[test]
fn a_layer_that_somebody_damaged_is_made_again() {
    let world = World::new();
    World::fill(world.cache.path());
    world.assert_right();
    let folder = world.forge.path("generated/robust/oci");
    let layers = Layout::open(&folder).manifest["layers"].as_array().expect("layers").clone();
    let kind = |layer: &Value| layer["annotations"]["dev.imgforge.layer.kind"].as_str().map(str::to_owned);
    let of_wheels = layers.iter().rfind(|layer| kind(layer).as_deref() == Some("wheels"));
    // The lowest is the base's: a link to the cache's copy, so that both are damaged.
    for layer in [of_wheels, layers.first()].map(|layer| layer.expect("a layer")) {
        let digest = layer["digest"].as_str().expect("a digest");
        let path = folder.join("blobs").join(digest.replace(':', "/"));
        let bytes = fs::read(&path).expect("the layer");
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        // Later than the file system's clock tells apart.
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&path, damaged).expect("damaged");
        world.assert_right();
        assert!(fs::read(&path).expect("the layer") == bytes, "{layer}");
    }
}
