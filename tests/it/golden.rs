//! The digests of three locked specs, the same on every machine: see `tests/cases/golden/README.md`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use imgforge::lock::{FORMAT, LAYER_FORMAT, Lock};
use imgforge::spec::Spec;
use imgforge::store::Store;

use crate::support::forge::{Forge, standard_output};
use crate::support::registry::RegistryServer;
use crate::support::{copy_folder, repository, run, test_cache};

fn cases() -> PathBuf {
    repository().join("tests/cases/golden")
}

/// The invented base in a registry, for `IMGFORGE_REGISTRY_MIRRORS`.
fn mirror(server: &RegistryServer) -> String {
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--all", "--dest-tls-verify=false"]);
    copy.arg(format!("oci:{}:1", cases().join("base").display()));
    run(copy.arg(format!("docker://{}/library/invented:1", server.host())));
    format!("docker.io={}", server.host())
}

/// Packages that no archive has, where a build finds those that it fetched before.
fn keep_packages(lock: &Lock, case: &str) {
    let store = Store::open(&test_cache().join("imgforge"));
    for deb in lock.platforms.iter().flat_map(|platform| &platform.debs) {
        let file = deb.path.strip_prefix("pool/").expect("a path in the pool");
        let bytes = fs::read(cases().join(case).join("debs").join(file)).expect("the package");
        store.insert(file, &mut bytes.as_slice(), &deb.digest, Some(deb.size), &mut |_| {}).expect("in the cache");
    }
}

/// Digests of the committed cases, with what a case has now in its place if they are to be written anew.
fn expected(case: &str, found: &str) -> String {
    static FILE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FILE.lock();
    let path = cases().join("digests.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_suffix(case)?.strip_suffix(' ').map(str::to_owned));
    if is_blessing() && line.as_deref() != Some(found) {
        let others = text.lines().filter(|line| line.split(' ').next_back() != Some(case)).map(str::to_owned);
        let mut lines: Vec<String> = others.chain([format!("{found} {case}")]).collect();
        lines.sort_by_key(|line| line.split(' ').next_back().map(str::to_owned));
        fs::write(&path, lines.join("\n") + "\n").expect("the digests");
        return found.to_owned();
    }
    line.unwrap_or_else(|| panic!("`{}` has no line for {case}", path.display()))
}

fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

fn holds(case: &str) {
    let forge = Forge::new();
    copy_folder(&cases().join(case), &forge.path(""));
    let path = forge.path("imgforge.lock");
    let mut lock = Lock::read(&path).expect("a readable lock").expect("a lock");
    if is_blessing() {
        (lock.format, lock.layer_format) = (FORMAT, LAYER_FORMAT);
        lock.inputs.spec = Spec::load(&forge.path("spec.yaml")).expect("a spec").digest;
        lock.write(&path).expect("a lock");
        fs::copy(&path, cases().join(case).join("imgforge.lock")).expect("the lock is written");
    }
    keep_packages(&lock, case);
    let server = RegistryServer::plain();
    let mut build = forge.imgforge();
    build.args(["build", "spec.yaml", "--locked"]).env("IMGFORGE_REGISTRY_MIRRORS", mirror(&server));
    let found = standard_output(&mut build);
    assert_eq!(found, expected(case, &found), "{case}: if this is wanted, change `LAYER_FORMAT`, and bless");
}

#[test]
fn an_environment_of_real_wheels() {
    holds("quickstart");
}

#[test]
fn packages_of_the_operating_system() {
    holds("system");
}

#[test]
fn project_files_for_two_platforms() {
    holds("project");
}
