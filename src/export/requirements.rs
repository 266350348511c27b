//! One requirements file with hashes. pip takes one index for a whole file, so what comes from another than the machine's own
//! is named by its address, and the hashes decide in every case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use url::Url;

use super::{Address, DEFAULT_INDEX, marker};
use crate::lock::{Lock, LockedWheel};
use crate::oci::{Digest, Platform};

/// The file's text for the platforms of a lock. `locate` knows the addresses of wheels that are not of the default index.
pub fn requirements(lock: &Lock, locate: &dyn Fn(&LockedWheel) -> Option<Address>) -> String {
    type Wanted = (String, String, Option<String>);
    let all: BTreeSet<Platform> = lock.platforms.iter().map(|platform| platform.name).collect();
    let mut pins: BTreeMap<Wanted, (BTreeSet<Platform>, BTreeSet<Digest>)> = BTreeMap::new();
    for platform in &lock.platforms {
        for wheel in &platform.wheels {
            let address =
                (wheel.index != DEFAULT_INDEX).then(|| locate(wheel)).flatten().map(|address| match address {
                    Address::Url(url) => url,
                    Address::Path(path) => {
                        Url::from_file_path(&path).map_or_else(|()| path.display().to_string(), String::from)
                    }
                });
            let (platforms, hashes) = pins.entry((wheel.name.clone(), wheel.version.clone(), address)).or_default();
            platforms.insert(platform.name);
            hashes.insert(wheel.digest);
        }
    }
    let mut text = format!("# Exported by imgforge for Python {}; edit the spec instead.\n", lock.stack.python);
    for ((name, version, address), (platforms, hashes)) in pins {
        text.push_str(&name);
        let _ = match address {
            Some(address) => write!(text, " @ {address}"),
            None => write!(text, "=={version}"),
        };
        if let Some(marker) = marker(&platforms, &all) {
            let _ = write!(text, " ; {marker}");
        }
        for hash in hashes {
            let _ = write!(text, " \\\n    --hash={hash}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::lock;
    use super::*;

    #[test]
    fn the_file_has_these_lines() {
        let locate = |wheel: &LockedWheel| match &wheel.url {
            Some(_) => Some(Address::Path(format!("/work/wheels/{}", wheel.file).into())),
            None => Some(Address::Url(format!("https://files.example.com/{}", wheel.file))),
        };
        insta::assert_snapshot!(requirements(&lock(), &locate));
    }
}
