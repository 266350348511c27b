//! `pylock.toml`. Source: <https://packaging.python.org/en/latest/specifications/pylock-toml/> (PEP 751).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::{Address, marker};
use crate::lock::{Lock, LockedWheel};
use crate::oci::Platform;
use crate::version::wheel_tag::machine_name;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: &'static str,
    environments: Vec<String>,
    requires_python: String,
    created_by: &'static str,
    packages: Vec<Package>,
}

#[derive(Serialize)]
struct Package {
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wheels: Vec<File>,
}

#[derive(Serialize)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    size: u64,
    hashes: BTreeMap<&'static str, String>,
}

/// The file's text for the platforms of a lock. `locate` knows each wheel's address, `index` that of an index; paths are
/// written as seen from `folder`, where the file will lie.
pub fn pylock(
    lock: &Lock,
    locate: &dyn Fn(&LockedWheel) -> Option<Address>,
    index: &dyn Fn(&str) -> Option<String>,
    folder: &Path,
) -> String {
    type Key<'l> = (&'l str, &'l str);
    let all: BTreeSet<Platform> = lock.platforms.iter().map(|platform| platform.name).collect();
    let mut packages: BTreeMap<Key<'_>, (BTreeSet<Platform>, Vec<&LockedWheel>)> = BTreeMap::new();
    for platform in &lock.platforms {
        for wheel in &platform.wheels {
            let (platforms, wheels) = packages.entry((&wheel.name, &wheel.version)).or_default();
            platforms.insert(platform.name);
            if wheels.iter().all(|known| known.digest != wheel.digest) {
                wheels.push(wheel);
            }
        }
    }
    let file = |wheel: &LockedWheel, named: bool| file(wheel, locate(wheel), named, folder);
    let packages = packages.into_iter().map(|((name, version), (platforms, wheels))| {
        // A wheel that no index holds is a thing of its own, and its address is part of what is installed.
        let direct = wheels.iter().find(|wheel| wheel.url.is_some()).map(|wheel| file(wheel, false));
        let listed = wheels.iter().filter(|_| direct.is_none());
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            marker: marker(&platforms, &all),
            index: wheels.first().filter(|_| direct.is_none()).and_then(|wheel| index(&wheel.index)),
            wheels: listed.map(|wheel| file(wheel, true)).collect(),
            archive: direct,
        }
    });
    let line = lock.stack.python;
    let environment = |platform: &Platform| {
        format!(
            "implementation_name == \"cpython\" and python_version == \"{line}\" and sys_platform == \"linux\" and \
             platform_machine == \"{}\"",
            machine_name(platform.architecture_name())
        )
    };
    let pylock = Pylock {
        lock_version: "1.0",
        environments: all.iter().map(environment).collect(),
        requires_python: format!("=={line}.*"),
        created_by: "imgforge",
        packages: packages.collect(),
    };
    toml::to_string(&pylock).unwrap_or_else(|_| unreachable!("every field has a TOML form"))
}

fn file(wheel: &LockedWheel, address: Option<Address>, named: bool, folder: &Path) -> File {
    let (url, path) = match address {
        Some(Address::Url(url)) => (Some(url), None),
        Some(Address::Path(path)) => {
            (None, Some(path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned()))
        }
        None => (None, None),
    };
    File {
        name: named.then(|| wheel.file.clone()),
        url,
        path,
        size: wheel.size,
        hashes: BTreeMap::from([("sha256", wheel.digest.hex())]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::lock;
    use super::*;

    #[test]
    fn the_file_has_these_lines() {
        let lock = lock();
        let locate = |wheel: &LockedWheel| match &wheel.url {
            Some(_) => Some(Address::Path(format!("/work/wheels/{}", wheel.file).into())),
            None => Some(Address::Url(format!("https://files.example.com/{}", wheel.file))),
        };
        let index = |name: &str| Some(format!("https://index.example.com/{name}/"));
        insta::assert_snapshot!(pylock(&lock, &locate, &index, Path::new("/work")));
    }
}
