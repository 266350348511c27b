//! Packages that nobody's tool would make: each is refused, or becomes a tree that a layer can hold, of what was shipped.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testing::{DebBuilder, Packing};
use super::*;

fn build(debs: Vec<DebBuilder>) -> Result<Root, Error> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let debs: Vec<_> = debs.into_iter().map(|deb| deb.write(folder.path())).collect();
    build_root(&debs, &RootOptions { spool_folder: folder.path().to_owned(), below: None })
}

/// Everything of a tree.
fn contents(root: &Root) -> Vec<(String, Node, Option<Vec<u8>>)> {
    let entry = |(path, node): (&str, &Node)| (path.to_owned(), node.clone(), root.read(path).expect("readable"));
    root.nodes().map(entry).collect()
}

/// Of a file's bytes, as one package.
fn build_bytes(bytes: &[u8]) -> Result<Root, Error> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.deb");
    std::fs::write(&path, bytes).expect("a file");
    let deb = super::super::testing::locked("a", "1", bytes);
    build_root(&[(deb, path)], &RootOptions { spool_folder: folder.path().to_owned(), below: None })
}

fn sample(packing: Packing) -> Vec<u8> {
    let deb = DebBuilder::new("a", "1").packing(packing).script("md5sums", "");
    let deb = deb.directory("./usr/", 0o755).file_with("./usr/bin/a", &b"content ".repeat(50), 0o4755, 0, 42);
    deb.symlink("./usr/bin/b", "a").hardlink("./usr/bin/c", "./usr/bin/a").file("./etc/a", b"x").build()
}

fn hostile_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        5 => prop::sample::select(vec!["usr", "bin", "etc", "a", "b", "lib", "var", "run"]),
        2 => prop::sample::select(vec!["..", ".", "", ".wh.a", ".wh..wh..opq", "...", "a\nb", "usr\\bin"]),
    ];
    let top = prop_oneof![5 => Just("./"), 1 => Just("/"), 1 => Just(""), 1 => Just("../"), 1 => Just("./../")];
    (top, prop::collection::vec(part, 1..4)).prop_map(|(top, parts)| format!("{top}{}", parts.join("/")))
}

#[derive(Debug, Clone)]
enum Shipped {
    Directory,
    File,
    Symlink(String),
    Hardlink(String),
}

fn shipped() -> impl Strategy<Value = (String, Shipped)> {
    let kind = prop_oneof![
        Just(Shipped::Directory),
        Just(Shipped::File),
        hostile_path().prop_map(Shipped::Symlink),
        hostile_path().prop_map(Shipped::Hardlink),
    ];
    (hostile_path(), kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hostile_entries_are_refused_or_stay_in_the_tree(
        packages in prop::collection::vec(prop::collection::vec(shipped(), 1..5), 1..3),
    ) {
        let mut files = BTreeSet::new();
        let mut debs = Vec::new();
        for (number, entries) in packages.into_iter().enumerate() {
            let mut deb = DebBuilder::new(&format!("p{number}"), "1");
            for (index, (path, kind)) in entries.into_iter().enumerate() {
                let content = format!("{number}.{index}").into_bytes();
                deb = match kind {
                    Shipped::Directory => deb.directory(&path, 0o755),
                    Shipped::Symlink(target) => deb.symlink(&path, &target),
                    Shipped::Hardlink(target) => deb.hardlink(&path, &target),
                    Shipped::File => {
                        let name = path.rsplit('/').find(|part| !matches!(*part, "" | ".")).unwrap_or_default().to_owned();
                        files.insert((name, content.clone()));
                        deb.file(&path, &content)
                    }
                };
            }
            debs.push(deb);
        }
        let Ok(root) = build(debs) else { return Ok(()) };
        for (path, node) in root.nodes() {
            let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(".wh.");
            prop_assert!(path.split('/').all(plain), "{path:?}");
            if let Some((folder, _)) = path.rsplit_once('/') {
                prop_assert_eq!(root.get(folder).map(|node| &node.kind), Some(&NodeKind::Directory), "{}", path);
            }
            let kind = |path: &str| root.get(path).map(|node| &node.kind);
            if let NodeKind::Hardlink(target) = &node.kind {
                prop_assert!(matches!(kind(target), Some(NodeKind::File(_))), "{path:?} leads to {target:?}");
            }
            let is_ours = root.read(path).expect("readable").is_some_and(|content| content.first().is_some_and(u8::is_ascii_digit) && content.contains(&b'.') && content.len() == 3);
            if is_ours {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                let content = root.read(path).expect("readable").expect("a file");
                prop_assert!(files.contains(&(name, content)), "{path:?} has the content of another file");
            }
        }
    }

    /// Of what is packed with a checksum: a lock's sha256 covers the rest.
    #[test]
    fn a_damaged_package_is_refused_or_means_the_same(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        is_xz in any::<bool>(),
    ) {
        let mut bytes = sample(if is_xz { Packing::Xz } else { Packing::Gzip });
        let sound = contents(&build_bytes(&bytes).expect("a sound package"));
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        if let Ok(root) = build_bytes(&bytes) {
            prop_assert_eq!(contents(&root), sound);
        }
    }
}

/// What random cases of the above once found.
#[test]
fn links_lead_to_the_top_and_to_no_whiteout() {
    let deb = DebBuilder::new("a", "1").symlink("./etc", "./.").directory("./etc/srv", 0o755).file("./etc/srv/a", b"x");
    let root = build(vec![deb]).expect("a tree");
    assert_eq!(root.read("srv/a").expect("readable").as_deref(), Some(&b"x"[..]));
    assert!(root.nodes().all(|(path, _)| !path.is_empty() && !path.starts_with('/')));
    let deb = DebBuilder::new("a", "1").symlink("./etc", ".wh.srv").directory("./etc/a", 0o755);
    assert!(matches!(build(vec![deb]), Err(Error::BadPath { .. })));
    // What stays out of the image is held to the same.
    let deb = DebBuilder::new("a", "1").file("./usr/share/doc/a/.wh.b", b"x");
    assert!(matches!(build(vec![deb]), Err(Error::BadPath { .. })));
}

#[test]
fn a_cut_package_is_refused_wherever_it_is_cut() {
    for packing in [Packing::None, Packing::Gzip, Packing::Xz, Packing::Zstd] {
        let bytes = sample(packing);
        let sound = contents(&build_bytes(&bytes).expect("a sound package"));
        let step = if matches!(packing, Packing::None) { 97 } else { 1 };
        for length in (0..bytes.len()).rev().step_by(step) {
            if let Ok(root) = build_bytes(&bytes[..length]) {
                // Only the zeros behind the last entry, or the byte that makes the length even, are missing.
                assert!(length + 1025 > bytes.len(), "{packing:?} {length} of {}", bytes.len());
                assert_eq!(contents(&root), sound, "{packing:?} {length}");
            }
        }
    }
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let cause = |deb: DebBuilder| match build(vec![deb]) {
        Err(Error::Malformed { cause, .. }) => cause,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let zeros = "0".repeat(65 << 20);
    for packing in [Packing::Gzip, Packing::Xz, Packing::Zstd] {
        let deb = DebBuilder::new("a", "1").packing(packing).script("md5sums", &zeros);
        assert_eq!(cause(deb), "it unpacks to too many bytes");
    }
    let long = format!("./{}", "d/".repeat(2500));
    assert_eq!(cause(DebBuilder::new("a", "1").file(&long, b"")), "a path in it is too long");
}

#[test]
fn what_lies_below_a_link_that_comes_later_is_refused() {
    let early = DebBuilder::new("a", "1").file("./usr/share/x/file", b"1");
    let late = DebBuilder::new("b", "1").symlink("./usr/share/x", "../../etc");
    match build(vec![early, late]) {
        Err(Error::BadPath { path, cause, .. }) => {
            assert_eq!((path.as_str(), cause), ("usr/share/x/file", "lies below what is no folder"));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}
