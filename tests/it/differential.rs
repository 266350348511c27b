//! Real wheels become the same tree whoever installs them: imgforge into a layer, uv and pip into a virtual environment.
//!
//! `tests/cases/wheels/pinned.txt` names the wheels. They are installed many at a time, in batches without a path in common.
//! All of them are compared with uv, and a part with pip, by content, mode, owner and kind of every file and folder. What
//! may differ is listed in [`differences`], each with its reason; anything else fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use imgforge::assemble::LayerWriter;
use imgforge::assemble::byte_code::{Compiler, Interpreter, Release, write_byte_code};
use imgforge::assemble::wheel::{Site, Wheel, WheelInput, write_wheels};
use imgforge::oci::Compression;
use imgforge::version::PythonVersion;
use tempfile::TempDir;

use crate::support::run;
use crate::support::tree::{self, Kind, Node, Tree};
use crate::support::wheels::{Pinned, pinned};

/// A module's folder in the library of an environment whose wheels hold none of these: pip's own.
const SEEDED: [&str; 3] = ["pip", "setuptools", "wheel"];
/// Every which wheel pip installs as well: it takes much longer than uv.
const EVERY: usize = 4;

/// A file's name with tags that every interpreter takes, since no installer lets tags decide where a file goes.
fn universal(wheel: &Pinned) -> String {
    let distribution: Vec<&str> = wheel.input.filename.splitn(3, '-').take(2).collect();
    format!("{}-py3-none-any.whl", distribution.join("-"))
}

/// Paths of a wheel's files in an environment.
fn paths(wheel: &Pinned, site: &Site) -> Vec<String> {
    let file = File::open(&wheel.input.path).expect("a wheel");
    let mut wheel = Wheel::open(file, &wheel.input.filename).expect("a sound wheel");
    wheel.installation(site).expect("an installation").files.into_keys().collect()
}

/// The wheels in as few batches as their paths allow, none of which holds a distribution twice.
fn batches<'p>(wheels: impl Iterator<Item = &'p Pinned>, site: &Site) -> Vec<Vec<&'p Pinned>> {
    let mut batches: Vec<(BTreeSet<String>, Vec<&Pinned>)> = Vec::new();
    for wheel in wheels {
        let mut paths = paths(wheel, site);
        paths.push(wheel.name.clone());
        let place = batches.iter().position(|(taken, _)| paths.iter().all(|path| !taken.contains(path)));
        let place = place.unwrap_or_else(|| {
            batches.push(Default::default());
            batches.len() - 1
        });
        batches[place].0.extend(paths);
        batches[place].1.push(wheel);
    }
    batches.into_iter().map(|(_, wheels)| wheels).collect()
}

/// The interpreter of this machine, which both installers ask for paths, and its version.
fn interpreter() -> (String, PythonVersion) {
    let ask = "import sys; print(sys.executable, *sys.version_info[:2])";
    let answer = run(Command::new("python3").args(["-c", ask]));
    let [path, major, minor] = answer.split(' ').collect::<Vec<_>>().try_into().expect("three words");
    let number = |text: &str| text.parse().expect("a number");
    (path.to_owned(), PythonVersion { major: number(major), minor: number(minor) })
}

fn by_imgforge(wheels: &[&Pinned], site: &Site) -> Tree {
    let inputs: Vec<WheelInput> = wheels.iter().map(|wheel| wheel.input.clone()).collect();
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a layer");
    write_wheels(&inputs, site, &mut layer).expect("a layer of wheels");
    tree::of_layer(&layer.finish().expect("a layer").sink, site.prefix.trim_start_matches('/'))
}

/// A program of the machine that neither sees its user's settings nor inherits a narrower mask.
fn plainly(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$0\" \"$@\"", program]);
    for (name, _) in std::env::vars_os() {
        let foreign =
            |name: &str| ["UV_", "PIP_", "PYTHON", "VIRTUAL_ENV"].iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(foreign) {
            command.env_remove(name);
        }
    }
    command.env("PIP_CONFIG_FILE", "/dev/null").env("UV_NO_CONFIG", "1");
    command
}

/// The wheels under their universal names, and requirements for exactly them.
fn offer(wheels: &[&Pinned], folder: &Path) -> (PathBuf, PathBuf) {
    let (offered, requirements) = (folder.join("wheels"), folder.join("requirements.txt"));
    fs::create_dir(&offered).expect("a folder");
    let mut text = String::new();
    for wheel in wheels {
        fs::copy(&wheel.input.path, offered.join(universal(wheel))).expect("a copy");
        text.push_str(&format!("{}=={}\n", wheel.name, wheel.version));
    }
    fs::write(&requirements, text).expect("a file");
    (offered, requirements)
}

/// An environment with wheels in it.
struct Installed {
    site: Site,
    tree: Tree,
    /// What was there before the wheels.
    empty: Tree,
}

impl Installed {
    fn new(environment: &Path, install: &mut Command) -> Self {
        let empty = tree::of_folder(environment);
        run(install);
        let site = Site { prefix: environment.to_str().expect("UTF-8").to_owned(), python: interpreter().1 };
        Self { site, tree: tree::of_folder(environment), empty }
    }
}

fn by_uv(wheels: &[&Pinned], python: &str, folder: &Path) -> Installed {
    let (offered, requirements) = offer(wheels, folder);
    let environment = folder.join("venv");
    run(plainly("uv").args(["venv", "--quiet", "--no-project", "--python", python]).arg(&environment));
    let mut install = plainly("uv");
    install.args(["pip", "install", "--quiet", "--no-deps", "--no-index", "--offline", "--link-mode", "hardlink"]);
    install.arg("--cache-dir").arg(folder.join("cache")).arg("--python").arg(environment.join("bin/python"));
    install.arg("--find-links").arg(offered).arg("--requirement").arg(requirements);
    Installed::new(&environment, &mut install)
}

fn by_pip(wheels: &[&Pinned], python: &str, folder: &Path) -> Installed {
    pip(wheels, python, folder, &["--no-compile"])
}

fn by_pip_compiled(wheels: &[&Pinned], python: &str, folder: &Path) -> Installed {
    pip(wheels, python, folder, &["--compile"])
}

fn pip(wheels: &[&Pinned], python: &str, folder: &Path, options: &[&str]) -> Installed {
    let (offered, requirements) = offer(wheels, folder);
    let environment = folder.join("venv");
    run(plainly(python).args(["-m", "venv"]).arg(&environment));
    let mut install = plainly(environment.join("bin/python").to_str().expect("UTF-8"));
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]);
    install.args(options);
    install.args(["--no-cache-dir", "--root-user-action=ignore", "--find-links"]).arg(offered);
    install.arg("--requirement").arg(requirements).env("PYTHONDONTWRITEBYTECODE", "1");
    Installed::new(&environment, &mut install)
}

/// What differs between an environment that imgforge made and one that `installer` made, but for what may.
fn differences(installer: &str, ours: &Tree, theirs: &Installed) -> Vec<String> {
    let Installed { tree: theirs, empty, .. } = theirs;
    let mut found = Vec::new();
    // Scripts that stand for entry points are each installer's own text. They must start the same function.
    let is_generated = |path: &str| {
        let scripts = [ours.get(path), theirs.get(path)].map(|node| node.and_then(Node::text).and_then(Script::parse));
        path.starts_with("bin/") && matches!(scripts, [Some(one), Some(other)] if one == other)
    };
    for path in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let name =
            path.rsplit_once('/').map_or("", |(folder, name)| if folder.ends_with(".dist-info") { name } else { "" });
        match (ours.get(path), theirs.get(path)) {
            (Some(one), Some(other)) if one == other => {}
            // uv leaves the mode that RECORD has in the archive. It is written anew by everybody.
            (Some(one), Some(other)) if (one.mode, one.owner) == (other.mode, other.owner) || name == "RECORD" => {
                match name {
                    // The installer's name.
                    "INSTALLER" if one.text() == Some("imgforge\n") => {
                        if other.text().map(str::trim_end) != Some(installer) {
                            found.push(format!("`{path}` says {:?}", other.text()));
                        }
                    }
                    // The order of rows, and the rows of files that differ by what is said here. A file that the wheel's own
                    // RECORD does not list gets a row from pip and from us.
                    "RECORD" => {
                        let [one, other] = [one, other].map(|node| rows(node, path, &is_generated));
                        let unlisted =
                            |row: &&String| installer == "uv" && row.ends_with(",,") && !other.contains(*row);
                        let differing = one.symmetric_difference(&other).filter(|row| !unlisted(row));
                        found.extend(differing.map(|row| format!("`{path}` has {row:?} on one side only")));
                    }
                    _ if is_generated(path) => {}
                    _ => found.push(format!("`{path}` is {one}, and {other} by {installer}, of other content")),
                }
            }
            // Remembers which distributions the user named. An image has no user who will uninstall the others.
            (None, Some(_)) if name == "REQUESTED" => {}
            // uv's own: a lock against other uvs, and where in its cache a wheel from a folder came from.
            (None, Some(_)) if installer == "uv" && (path == ".lock" || name == "uv_cache.json") => {}
            // Folders that a wheel lists and puts nothing into are made by uv, and not by pip.
            (None, Some(Node { kind: Kind::Folder, .. })) if installer == "uv" && is_empty(theirs, path) => {}
            // Wheels of pip name a command after the Python they were made with. Other installers know pip's commands and
            // name them after the interpreter; for us all wheels are the same.
            (one, other) if is_command_of_pip(path) && (one.is_some() != other.is_some()) => {}
            (None, Some(other)) if empty.get(path) == Some(other) => {}
            (None, Some(other)) => found.push(format!("`{path}` is missing, {other} by {installer}")),
            (Some(one), None) => found.push(format!("`{path}` is {one}, and not there by {installer}")),
            (None, None) => unreachable!("the path is of one of them"),
            (Some(one), Some(other)) => found.push(format!("`{path}` is {one}, and {other} by {installer}")),
        }
    }
    found
}

fn is_empty(tree: &Tree, folder: &str) -> bool {
    !tree.keys().any(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// `bin/pip3.11`
fn is_command_of_pip(path: &str) -> bool {
    path.strip_prefix("bin/pip3.").is_some_and(|minor| minor.parse::<u8>().is_ok())
}

/// Rows of a RECORD, as the standard library of Python would read them, without those of generated files.
fn rows(record: &Node, path: &str, is_generated: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let text = record.text().expect("UTF-8");
    let info = path.rsplit_once('/').expect("a folder").0.rsplit_once('/').expect("a folder").1;
    let own = ["INSTALLER", "REQUESTED", "uv_cache.json"].map(|name| format!("{info}/{name},"));
    let is_wanted = |row: &&str| {
        let in_environment = row.strip_prefix("../../../").and_then(|row| row.split(',').next());
        !own.iter().any(|own| row.starts_with(own))
            && !in_environment.is_some_and(|path| is_generated(path) || is_command_of_pip(path))
    };
    text.lines().filter(is_wanted).map(str::to_owned).collect()
}

/// What a script that stands for an entry point does.
#[derive(PartialEq, Eq)]
struct Script {
    interpreter: String,
    import: String,
    exit: String,
}

impl Script {
    fn parse(text: &str) -> Option<Self> {
        let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start)).map(str::to_owned);
        let interpreter = text.lines().next()?.strip_prefix("#!")?.to_owned();
        Some(Self { interpreter, import: line("from ")?, exit: line("sys.exit(")? })
    }
}

type Installer = fn(&[&Pinned], &str, &Path) -> Installed;

fn compare<'p>(name: &str, install: Installer, wheels: impl Iterator<Item = &'p Pinned>) -> BTreeMap<String, usize> {
    let (python, version) = interpreter();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for batch in batches(wheels, &Site { prefix: "/venv".to_owned(), python: version }) {
        let folder = TempDir::with_prefix("imgforge-differential-").expect("a temporary folder");
        let theirs = install(&batch, &python, folder.path());
        let ours = by_imgforge(&batch, &theirs.site);
        found.extend(differences(name, &ours, &theirs));
        *kinds.entry("wheels".to_owned()).or_default() += batch.len();
        for node in ours.values() {
            let kind = match &node.kind {
                Kind::Folder => "folders",
                Kind::File(_) if node.mode & 0o111 == 0 => "files",
                Kind::File(_) => "programs",
                Kind::Link(_) => "links",
            };
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    assert!(found.is_empty(), "{} differences from {name}:\n{}", found.len(), found.join("\n"));
    kinds
}

#[test]
fn wheels_are_installed_as_uv_installs_them() {
    let compared = compare("uv", by_uv, pinned().iter());
    assert!(compared["wheels"] >= 300 && compared["programs"] > 300, "{compared:?}");
}

#[test]
fn wheels_are_installed_as_pip_installs_them() {
    let wheels = pinned().iter().filter(|wheel| !SEEDED.contains(&wheel.name.as_str()));
    let compared = compare("pip", by_pip, wheels.step_by(EVERY));
    assert!(compared["wheels"] >= 75, "{compared:?}");
}

/// Every which wheel is compiled: both sides take a while for large packages.
const EVERY_COMPILED: usize = 9;

/// Compares code as Python sees it, without the marks and the order in which it was written.
const EQUAL_CODE: &str = "
import marshal, os, sys
ours, theirs = sys.argv[1:]
different = 0
for folder, _, names in os.walk(ours):
    for name in names:
        path = os.path.join(folder, name)
        pair = [open(p, 'rb').read()[16:] for p in (path, os.path.join(theirs, os.path.relpath(path, ours)))]
        if marshal.loads(pair[0]) != marshal.loads(pair[1]):
            print(path)
            different = 1
sys.exit(different)
";

#[test]
fn modules_are_compiled_as_pip_compiles_them() {
    let (python, line) = interpreter();
    let text = run(Command::new("python3").args(["-c", "import sys; print(*sys.version_info[:3], sep='.')"]));
    let release = Release::parse(&text, line).expect("a final release");
    let wheels = pinned().iter().filter(|wheel| !SEEDED.contains(&wheel.name.as_str())).step_by(EVERY_COMPILED);
    let (mut compiled, mut skipped) = (0, 0);
    for batch in batches(wheels, &Site { prefix: "/venv".to_owned(), python: line }) {
        let folder = TempDir::with_prefix("imgforge-differential-").expect("a temporary folder");
        let theirs = by_pip_compiled(&batch, &python, folder.path());
        let inputs: Vec<WheelInput> = batch.iter().map(|wheel| wheel.input.clone()).collect();
        let interpreter = Interpreter::installed(&release).expect("the interpreter of pip");
        let compiler = Compiler::new(interpreter, release.clone()).expect("threads");
        let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a layer");
        write_byte_code(&inputs, &theirs.site, &compiler, &mut layer).expect("a layer of byte-code");
        let prefix = theirs.site.prefix.trim_start_matches('/');
        let ours = tree::of_layer(&layer.finish().expect("a layer").sink, prefix);

        let is_code = |path: &&String| path.contains("/__pycache__/") && !theirs.empty.contains_key(*path);
        let [one, other] = [&ours, &theirs.tree].map(|tree| tree.keys().filter(is_code).collect::<BTreeSet<_>>());
        assert_eq!(one.symmetric_difference(&other).collect::<Vec<_>>(), [] as [&&String; 0]);
        compiled += one.len();
        skipped += compiler.skipped().values().sum::<usize>();
        let code = folder.path().join("code");
        for path in one {
            let Some(Node { kind: Kind::File(bytes), .. }) = ours.get(path) else { panic!("{path}") };
            fs::create_dir_all(code.join(path).parent().expect("a folder")).expect("a folder");
            fs::write(code.join(path), bytes).expect("a file");
        }
        run(Command::new(&python).args(["-c", EQUAL_CODE]).arg(&code).arg(&theirs.site.prefix));

        // What was installed stays, by its own name and by that of its byte-code.
        for (path, record) in ours.iter().filter(|(path, _)| path.ends_with("/RECORD")) {
            let is_generated = |path: &str| path.starts_with("bin/");
            let [one, other] = [record, &theirs.tree[path]].map(|record| rows(record, path, &is_generated));
            assert_eq!(one.symmetric_difference(&other).collect::<Vec<_>>(), [] as [&String; 0], "{path}");
        }
    }
    assert!(compiled > 1000, "{compiled} modules compiled, {skipped} not");
}
