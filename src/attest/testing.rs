//! A small invented lock for the tests of this module, and its inventory.

use std::collections::BTreeMap;
use std::path::Path;

use super::{About, Inventory, Places, moment};
use crate::lock::{Lock, LockedArchive, LockedDeb, LockedWheel};
use crate::oci::Digest;

const HEAD: &str = r#"
format = 2
layer_format = 2
name = "churn"

[inputs]
spec = "sha256:86b4566b1ec5605ac33299618356dfcb1d7c4d1a2f00996a6db850bafb602e30"
catalog = "sha256:652f55016243bf1b9f1bbea46d5749ef892dbe394e46de9d66ab1aacf0b4af57"

[stack]
python = "3.11"
accelerator = "cuda"
cuda = "12.4"
os = "debian 12"
glibc = "2.36"

[image]
tags = ["latest"]
user = "app"
workdir = "/workspace"
entrypoint = []
command = ["python"]

[[platform]]
name = "linux/amd64"

[platform.base]
kind = "debian"
suite = "bookworm"
interpreter = "/usr/bin/python3.11"
reason = "smallest"
"#;

/// A wheel of the default index.
pub(super) fn wheel(name: &str, version: &str) -> LockedWheel {
    let file = format!("{name}-{version}-py3-none-any.whl");
    LockedWheel {
        name: name.to_owned(),
        version: version.to_owned(),
        index: "default".to_owned(),
        url: None,
        digest: Digest::of(file.as_bytes()),
        file,
        size: 1000,
    }
}

fn deb(name: &str, version: &str, path: &str) -> LockedDeb {
    LockedDeb {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        archive: "debian".to_owned(),
        path: path.to_owned(),
        size: 1000,
        digest: Digest::of(path.as_bytes()),
    }
}

/// A lock with one platform, two Debian packages and three wheels from three kinds of places.
pub(super) fn lock() -> Lock {
    let mut lock = Lock::parse(Path::new("imgforge.lock"), HEAD).expect("a lock");
    let platform = &mut lock.platforms[0];
    let date = "2026-11-22T19:58:56Z".parse().expect("a time");
    platform.archives = vec![LockedArchive { name: "debian".to_owned(), suite: "bookworm".to_owned(), date }];
    platform.debs = vec![
        deb("git", "1:2.39.5-0+deb12u2", "pool/main/g/git/git_2.39.5_amd64.deb"),
        deb("libssl3", "3.0.15-1~deb12u1", "pool/main/o/openssl/libssl3_3.0.15_amd64.deb"),
    ];
    let place = "https://packages.example.com/acme-1.0-py3-none-any.whl".parse().expect("a place");
    platform.wheels = vec![
        LockedWheel { index: "direct".to_owned(), url: Some(place), ..wheel("acme", "1.0") },
        wheel("numpy", "2.2.1"),
        LockedWheel { index: "builds-cu124".to_owned(), ..wheel("torch", "2.5.1+cu124") },
    ];
    lock
}

/// What its wheels say of themselves.
pub(super) fn about() -> BTreeMap<Digest, About> {
    let texts = [
        (wheel("acme", "1.0"), "Name: acme\nVersion: 1.0\nLicense-Expression: LicenseRef-Acme\n"),
        (wheel("numpy", "2.2.1"), "Name: numpy\nVersion: 2.2.1\nLicense: BSD\n"),
        (
            wheel("torch", "2.5.1+cu124"),
            "Name: torch\nVersion: 2.5.1+cu124\nLicense-Expression: BSD-3-Clause\nRequires-Dist: numpy\n",
        ),
    ];
    texts.map(|(wheel, text)| (wheel.digest, About::read(text.as_bytes()).expect("METADATA"))).into()
}

/// The inventory of the lock's image.
pub(super) fn inventory() -> Inventory {
    let lock = lock();
    let url = |text: &str| text.parse().expect("an address");
    let places = Places {
        indexes: [("builds-cu124".to_owned(), url("https://builds.example.com/whl/cu124/"))].into(),
        archives: [("debian".to_owned(), url("https://archive.example.com/debian/"))].into(),
    };
    let digest = Some(Digest::of(b"image"));
    let created = moment(&lock, None);
    Inventory::new(&lock, &lock.platforms[0], Digest::of(b"lock"), digest, created, &places, &about())
}
