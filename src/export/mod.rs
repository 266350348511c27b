//! A lock in the words of other tools: `pylock.toml` (PEP 751) and a requirements file with hashes.
//!
//! Both need addresses, which a lock does not have; whoever calls finds them out and hands them in.

mod pylock;
mod requirements;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::oci::Platform;
use crate::version::wheel_tag::machine_name;

pub use pylock::pylock;
pub use requirements::requirements;

/// The name that locks give to the machine's own index.
const DEFAULT_INDEX: &str = "default";

/// Where a wheel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address, without credentials.
    Url(String),
    /// A file on this machine.
    Path(PathBuf),
}

/// The marker of some of the platforms; none if it is all of them.
fn marker(platforms: &BTreeSet<Platform>, all: &BTreeSet<Platform>) -> Option<String> {
    let machine =
        |platform: &Platform| format!("platform_machine == \"{}\"", machine_name(platform.architecture_name()));
    (platforms != all).then(|| platforms.iter().map(machine).collect::<Vec<_>>().join(" or "))
}

#[cfg(test)]
mod testing {
    use crate::lock::{Lock, LockedWheel};
    use crate::oci::{Digest, Platform};

    pub(super) fn wheel(name: &str, version: &str, index: &str, tag: &str) -> LockedWheel {
        let file = format!("{name}-{version}-{tag}.whl");
        LockedWheel {
            name: name.to_owned(),
            version: version.to_owned(),
            index: index.to_owned(),
            url: None,
            digest: Digest::of(file.as_bytes()),
            file,
            size: 1000,
        }
    }

    /// Two platforms that share one wheel; a second is for each its own, a third for one alone.
    pub(super) fn lock() -> Lock {
        let text = include_str!("../../tests/cases/render/cpu/imgforge.lock");
        let mut lock = Lock::parse(std::path::Path::new("imgforge.lock"), text).expect("a lock");
        let mut amd64 = lock.platforms[0].clone();
        amd64.wheels = vec![
            wheel("numpy", "2.2.1", "default", "cp311-cp311-manylinux_2_17_x86_64"),
            wheel("six", "1.17.0", "default", "py2.py3-none-any"),
            wheel("torch", "2.5.1+cu124", "pytorch-cu124", "cp311-cp311-linux_x86_64"),
        ];
        let place = "file:wheels/acme-1.0-py3-none-any.whl".parse().expect("a place");
        amd64.wheels.insert(0, LockedWheel { url: Some(place), ..wheel("acme", "1.0", "direct", "py3-none-any") });
        let mut arm64 = amd64.clone();
        arm64.name = Platform::ARM64;
        arm64.wheels.remove(3);
        arm64.wheels[1] = wheel("numpy", "2.2.1", "default", "cp311-cp311-manylinux_2_17_aarch64");
        lock.platforms = vec![amd64, arm64];
        lock
    }
}
