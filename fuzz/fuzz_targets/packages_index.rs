//! Any bytes are a `Packages` index, a `status` file, or an error; versions come newest first and no path leaves the archive.

#![no_main]

use imgforge::debian::{PackageSet, Wanted, installed_packages, resolve};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut set = PackageSet::new("amd64");
    if set.read("debian", bytes).is_ok() {
        let names = set.names().expect("what was read is in memory");
        for name in &names {
            let versions = set.versions(name).expect("what was read is in memory");
            assert!(versions.is_sorted_by(|one, other| one.version >= other.version), "{name}");
            for package in versions {
                assert!(!package.path.starts_with('/') && !package.path.split('/').any(|part| part == ".."));
                let _ = (package.depends("amd64"), package.provides("amd64"), package.conflicts("amd64"));
            }
        }
        let installed = installed_packages(bytes, "amd64");
        for name in names.iter().take(3) {
            if let Ok(packages) = resolve(&set, &[Wanted::named(name, "the spec")], &installed) {
                assert!(!packages.is_empty() || installed.iter().any(|package| package.name == *name));
            }
        }
    }
});
