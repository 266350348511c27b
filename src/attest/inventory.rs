//! What an image is made of: the one list that both bills of materials and the provenance are written from.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::dependencies::{About, dependencies};
use super::purl::purl;
use crate::lock::{Lock, LockedBase, LockedDeb, LockedPlatform, LockedWheel, Moment};
use crate::oci::{Digest, Platform, parse_reference};
use crate::packaging::License;
use crate::version::WheelPlace;

/// The image itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `churn`.
    pub name: String,
    /// Platform.
    pub platform: Platform,
    /// Digest of its manifest; none while it has not been built.
    pub digest: Option<Digest>,
    /// Address of the lock's text.
    pub lock: Digest,
    /// The time that documents about it bear.
    pub created: Moment,
    /// Its package URL.
    pub purl: String,
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image that this one starts from.
    BaseImage,
    /// The distribution whose packages are the base.
    System,
    /// A Debian or Ubuntu package.
    Deb,
    /// A Python package.
    Wheel,
}

/// One part of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// Version.
    pub version: Option<String>,
    /// Package URL; a distribution as such has none.
    pub purl: Option<String>,
    /// sha256 of its file, or of the base's manifest.
    pub digest: Option<Digest>,
    /// Name of the file.
    pub file: Option<String>,
    /// Where the file is to be had: an address that everybody may know.
    pub location: Option<String>,
    /// Licence, as declared by its author.
    pub license: Option<License>,
    /// Components that it needs, by position.
    pub requires: BTreeSet<usize>,
}

/// Addresses of what a lock calls by name, as everybody may know them: those of the catalog and the spec, not the mirrors of
/// one machine.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Roots of package indexes. The default index has none: which one it was is this machine's affair.
    pub indexes: BTreeMap<String, Url>,
    /// Roots of archives of Debian packages.
    pub archives: BTreeMap<String, Url>,
}

/// Everything in one platform's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The image.
    pub image: Image,
    /// Base, Debian packages, wheels; each group sorted as in the lock.
    pub components: Vec<Component>,
    /// Whether nothing else is in the image: no base that somebody else filled, no files of the project, no `run:` step.
    pub complete: bool,
}

/// The time of documents about a lock's image: `epoch` if the build was given one, else the newest state of the archives
/// that it was locked from.
pub fn moment(lock: &Lock, epoch: Option<u64>) -> Moment {
    let locked = lock.platforms.iter().flat_map(|platform| &platform.archives).map(|archive| archive.date).max();
    epoch.map(Moment::from_seconds).or(locked).unwrap_or(Moment::DEFAULT)
}

impl Inventory {
    /// The parts of a platform's image. `about` has what wheels say of themselves, by their digest, as far as it is known;
    /// `lock_digest` is that of the whole lock, from which `lock` may be derived.
    pub fn new(
        lock: &Lock,
        platform: &LockedPlatform,
        lock_digest: Digest,
        digest: Option<Digest>,
        created: Moment,
        places: &Places,
        about: &BTreeMap<Digest, About>,
    ) -> Self {
        let mut components = vec![base(lock, platform)];
        components.extend(platform.debs.iter().map(|deb| of_deb(deb, &lock.stack.os, places)));
        let first_wheel = components.len();
        let needed = dependencies(platform, lock.stack.python, about);
        for (wheel, needed) in platform.wheels.iter().zip(needed) {
            components.push(Component {
                license: about.get(&wheel.digest).and_then(|about| about.license.clone()),
                requires: needed.into_iter().map(|at| first_wheel + at).collect(),
                ..of_wheel(wheel, places)
            });
        }
        let version = digest.map(|digest| digest.to_string());
        let architecture = platform.name.architecture_name();
        let image = Image {
            name: lock.name.clone(),
            platform: platform.name,
            digest,
            lock: lock_digest,
            created,
            purl: purl("oci", &[&lock.name.to_lowercase()], version.as_deref(), &[("arch", architecture)]),
        };
        let complete = platform.base.reference.is_none() && lock.image.files.is_empty() && lock.image.run.is_empty();
        Self { image, components, complete }
    }
}

fn base(lock: &Lock, platform: &LockedPlatform) -> Component {
    let LockedBase { reference, digest, .. } = &platform.base;
    let part = |kind, name: &str, version: Option<&str>, purl| Component {
        kind,
        name: name.to_owned(),
        version: version.filter(|version| !version.is_empty()).map(str::to_owned),
        purl,
        digest: *digest,
        file: None,
        location: None,
        license: None,
        requires: BTreeSet::new(),
    };
    let Some(text) = reference else {
        let (name, version) = lock.stack.os.split_once(' ').unwrap_or((&lock.stack.os, ""));
        return part(Kind::System, name, Some(version), None);
    };
    let Ok(parsed) = parse_reference(text) else { return part(Kind::BaseImage, text, None, None) };
    let repository = format!("{}/{}", parsed.registry(), parsed.repository());
    let name = parsed.repository().rsplit('/').next().unwrap_or_default();
    let tag = parsed.tag().unwrap_or_default();
    let version = digest.map(|digest| digest.to_string());
    let qualifiers =
        [("arch", platform.name.architecture_name()), ("repository_url", repository.as_str()), ("tag", tag)];
    let purl = purl("oci", &[name], version.as_deref(), &qualifiers);
    part(Kind::BaseImage, &repository, Some(tag), Some(purl))
}

fn of_deb(deb: &LockedDeb, os: &str, places: &Places) -> Component {
    let LockedDeb { name, version, architecture, archive, path, digest, .. } = deb;
    let (namespace, _) = os.split_once(' ').unwrap_or((os, ""));
    // `pool/main/o/openssl/libssl3_3.0.15_amd64.deb`: security advisories are about the source package.
    let folders: Vec<&str> = path.split('/').collect();
    let source = match folders.as_slice() {
        ["pool", _, _, source, _] if source != name => source,
        _ => "",
    };
    let distribution = os.replace(' ', "-");
    let qualifiers = [("arch", architecture.as_str()), ("distro", &distribution), ("upstream", source)];
    Component {
        kind: Kind::Deb,
        name: name.clone(),
        version: Some(version.clone()),
        purl: Some(purl("deb", &[namespace, name], Some(version), &qualifiers)),
        digest: Some(*digest),
        file: folders.last().map(|file| (*file).to_owned()),
        location: places.archives.get(archive).and_then(|root| Some(root.join(path).ok()?.to_string())),
        license: None,
        requires: BTreeSet::new(),
    }
}

fn of_wheel(wheel: &LockedWheel, places: &Places) -> Component {
    let LockedWheel { name, version, index, url, file, digest, .. } = wheel;
    let root = places.indexes.get(index).filter(|_| url.is_none());
    let direct = match url {
        Some(WheelPlace::Url(url)) => Some(url.to_string()),
        _ => None,
    };
    let qualifiers = [
        ("download_url", direct.as_deref().unwrap_or_default()),
        ("file_name", file),
        ("repository_url", root.map_or("", Url::as_str)),
    ];
    Component {
        kind: Kind::Wheel,
        name: name.clone(),
        version: Some(version.clone()),
        purl: Some(purl("pypi", &[name], Some(version), &qualifiers)),
        digest: Some(*digest),
        file: Some(file.clone()),
        location: direct.or_else(|| Some(root?.join(&format!("{name}/")).ok()?.to_string())),
        license: None,
        requires: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{inventory, lock};
    use super::*;

    fn purls(inventory: &Inventory) -> Vec<&str> {
        inventory.components.iter().filter_map(|component| component.purl.as_deref()).collect()
    }

    #[test]
    fn every_part_has_the_name_that_scanners_know() {
        let inventory = inventory();
        assert_eq!(
            purls(&inventory),
            [
                "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2?arch=amd64&distro=debian-12",
                "pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&distro=debian-12&upstream=openssl",
                "pkg:pypi/acme@1.0?download_url=https://packages.example.com/acme-1.0-py3-none-any.whl&file_name=acme-1.0-py3-none-any.whl",
                "pkg:pypi/numpy@2.2.1?file_name=numpy-2.2.1-py3-none-any.whl",
                "pkg:pypi/torch@2.5.1%2Bcu124?file_name=torch-2.5.1%2Bcu124-py3-none-any.whl&repository_url=https://builds.example.com/whl/cu124/",
            ]
        );
        assert_eq!(inventory.image.purl, format!("pkg:oci/churn@{}?arch=amd64", Digest::of(b"image")));
        let locations: Vec<_> =
            inventory.components.iter().map(|component| component.location.as_deref().unwrap_or("-")).collect();
        assert_eq!(
            locations,
            [
                "-",
                "https://archive.example.com/debian/pool/main/g/git/git_2.39.5_amd64.deb",
                "https://archive.example.com/debian/pool/main/o/openssl/libssl3_3.0.15_amd64.deb",
                "https://packages.example.com/acme-1.0-py3-none-any.whl",
                "-",
                "https://builds.example.com/whl/cu124/torch/",
            ]
        );
        assert_eq!((inventory.components[0].kind, inventory.components[0].name.as_str()), (Kind::System, "debian"));
        let torch = inventory.components.last().expect("torch");
        assert_eq!(torch.requires, BTreeSet::from([4]));
        assert!(inventory.complete);
    }

    #[test]
    fn a_base_by_reference_is_named_by_digest_and_leaves_the_list_incomplete() {
        let mut lock = lock();
        let digest = Digest::of(b"base");
        lock.platforms[0].base.reference = Some("python:3.11-slim".to_owned());
        lock.platforms[0].base.digest = Some(digest);
        let moment = moment(&lock, None);
        let (places, about) = (Places::default(), BTreeMap::new());
        let inventory = Inventory::new(&lock, &lock.platforms[0], lock.digest(), None, moment, &places, &about);
        let expected =
            format!("pkg:oci/python@{digest}?arch=amd64&repository_url=docker.io/library/python&tag=3.11-slim");
        assert_eq!(purls(&inventory)[0], expected);
        assert!(!inventory.complete);
    }

    #[test]
    fn the_time_is_the_epochs_or_the_newest_archives() {
        let mut lock = lock();
        assert_eq!(moment(&lock, Some(0)).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(moment(&lock, None).to_string(), "2026-11-22T19:58:56Z");
        lock.platforms[0].archives.clear();
        assert_eq!(moment(&lock, None).to_string(), "1980-01-01T00:00:00Z");
    }
}
