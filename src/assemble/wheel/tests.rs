//! Invented wheels, made with the `zip` crate, and an installer of its own to compare with.

mod hostile;

use std::io::Cursor;

use ::zip::write::{SimpleFileOptions, ZipWriter};
use ::zip::{CompressionMethod, DateTime};
use proptest::prelude::*;

use super::*;
use crate::assemble::testing::{Tree, layer_bytes, layer_tree};
use crate::oci::Compression;
use crate::oci::Digest;

const LIBRARY: &str = "opt/venv/lib/python3.11/site-packages";
const NAME: &str = "demo-1.0-py3-none-any.whl";
const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// A member of an invented wheel.
#[derive(Debug, Clone)]
struct Invented {
    name: String,
    content: Vec<u8>,
    mode: u32,
    stored: bool,
}

fn member(name: &str, content: &[u8]) -> Invented {
    Invented { name: name.to_owned(), content: content.to_vec(), mode: 0o644, stored: false }
}

/// The bytes of an archive with exactly these members.
fn archive(members: &[Invented]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for Invented { name, content, mode, stored } in members {
        let method = if *stored { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .unix_permissions(*mode)
            .last_modified_time(DateTime::default());
        zip.start_file(name.as_str(), options).expect("a member");
        zip.write_all(content).expect("a member");
    }
    zip.finish().expect("an archive").into_inner()
}

/// The members with METADATA, WHEEL and a RECORD that is right for all of them.
fn complete(mut members: Vec<Invented>) -> Vec<Invented> {
    members.push(member("demo-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"));
    members.push(member("demo-1.0.dist-info/WHEEL", WHEEL.as_bytes()));
    let mut record = String::new();
    for Invented { name, content, .. } in &members {
        record.push_str(&format!("{name},{},{}\n", RecordedHash::of(content), content.len()));
    }
    record.push_str("demo-1.0.dist-info/RECORD,,\n");
    members.push(member("demo-1.0.dist-info/RECORD", record.as_bytes()));
    members
}

fn site() -> Site {
    Site { prefix: "/opt/venv".to_owned(), python: PythonVersion { major: 3, minor: 11 } }
}

type Opened<'a> = (Wheel<Cursor<&'a [u8]>>, Installation);

fn open(bytes: &[u8]) -> Result<Opened<'_>, Error> {
    let mut wheel = Wheel::open(Cursor::new(bytes), NAME)?;
    let installation = wheel.installation(&site())?;
    Ok((wheel, installation))
}

/// The whole way: open, plan, write.
fn install(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut opened = [open(bytes)?];
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    write_opened(&mut opened, &mut layer)?;
    Ok(layer.finish().expect("memory").sink)
}

fn tree(members: Vec<Invented>) -> Tree {
    let bytes = archive(&complete(members));
    layer_tree(|layer| write_opened(&mut [open(&bytes)?], layer))
}

/// What is wrong with a wheel.
fn problem(bytes: &[u8]) -> String {
    install(bytes).expect_err("refused").problem.to_string()
}

#[test]
fn every_scheme_has_its_place() {
    let script = Invented { mode: 0o600, ..member("demo-1.0.data/scripts/run", b"#!python -x\nprint()\n") };
    let tree = tree(vec![
        member("demo/__init__.py", b"x = 1\n"),
        Invented { mode: 0o755, stored: true, ..member("demo/tool.so", b"\x7fELF") },
        member("demo-1.0.data/purelib/pure.py", b"p"),
        member("demo-1.0.data/platlib/plat.py", b"q"),
        member("demo-1.0.data/headers/demo.h", b"h"),
        member("demo-1.0.data/data/share/demo/conf", b"d"),
        member("demo-1.0.data/data/lib64/x", b"l"),
        member("demo-1.0.data/scripts/demo-script.py", b"#!python\nstands for an entry point\n"),
        script,
        member("demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\ndemo = demo.cli:main\n"),
    ]);
    let files: Vec<String> =
        tree.0.iter().filter(|entry| entry.kind == 'f').map(|e| format!("{:o} {}", e.mode, e.path)).collect();
    assert_eq!(
        files,
        [
            "755 opt/venv/bin/demo".to_owned(),
            "755 opt/venv/bin/run".to_owned(),
            "644 opt/venv/include/site/python3.11/demo/demo.h".to_owned(),
            format!("644 {LIBRARY}/demo-1.0.dist-info/INSTALLER"),
            format!("644 {LIBRARY}/demo-1.0.dist-info/METADATA"),
            format!("644 {LIBRARY}/demo-1.0.dist-info/RECORD"),
            format!("644 {LIBRARY}/demo-1.0.dist-info/WHEEL"),
            format!("644 {LIBRARY}/demo-1.0.dist-info/entry_points.txt"),
            format!("644 {LIBRARY}/demo/__init__.py"),
            format!("755 {LIBRARY}/demo/tool.so"),
            format!("644 {LIBRARY}/plat.py"),
            format!("644 {LIBRARY}/pure.py"),
            "644 opt/venv/lib/x".to_owned(),
            "644 opt/venv/share/demo/conf".to_owned(),
        ]
    );
    assert_eq!(tree.text("opt/venv/bin/run"), "#!/opt/venv/bin/python\nprint()\n");
    assert!(
        tree.text("opt/venv/bin/demo").starts_with("#!/opt/venv/bin/python\nimport sys\nfrom demo.cli import main\n")
    );
}

#[test]
fn record_names_every_file_with_its_hash() {
    let tree = tree(vec![
        member("demo/__init__.py", b""),
        member("demo-1.0.data/scripts/run", b"#!python\n"),
        member("demo-1.0.data/data/lib/libdemo.so", b"l"),
        member("demo-1.0.data/data/share/demo", b"d"),
        member("demo-1.0.data/headers/demo.h", b"h"),
        member("demo-1.0.dist-info/entry_points.txt", b"[gui_scripts]\nshow = demo:show\n"),
    ]);
    let rows = record::parse(tree.text(&format!("{LIBRARY}/demo-1.0.dist-info/RECORD"))).expect("a RECORD");
    let files = tree.files();
    assert_eq!(rows.len(), files.len());
    for (path, content) in files {
        let outside = || match path.strip_prefix("opt/venv/lib/") {
            Some(path) => format!("../../{path}"),
            None => format!("../../../{}", path.strip_prefix("opt/venv/").expect("in the environment")),
        };
        let relative = path.strip_prefix(&format!("{LIBRARY}/")).map_or_else(outside, str::to_owned);
        let row = rows.get(&relative).unwrap_or_else(|| panic!("no row `{relative}`"));
        if relative.ends_with("/RECORD") {
            assert_eq!(*row, Row::default());
        } else {
            assert_eq!(*row, Row { hash: Some(RecordedHash::of(content)), size: Some(content.len() as u64) }, "{path}");
        }
    }
}

#[test]
fn hostile_names_are_refused() {
    for name in ["../evil", "/etc/passwd", "a/../../b", "a\\b", "a//b", "a/./b", "demo/.wh.x", "a\nb"] {
        let message = problem(&archive(&complete(vec![member(name, b"x")])));
        assert!(message.contains("name"), "{name}: {message}");
    }
    for (name, reason) in [
        ("demo-1.0.data/data/pyvenv.cfg", "would replace a part of the environment itself"),
        ("demo-1.0.data/scripts/python3", "would replace a part of the environment itself"),
        ("demo-1.0.data/elsewhere/x", "lies in `.data` under a scheme that is not known"),
        ("demo-1.0.data/x", "lies in `.data` without a scheme"),
    ] {
        assert_eq!(problem(&archive(&complete(vec![member(name, b"x")]))), format!("its member `{name}` {reason}"));
    }
    let twice = [member("x.py", b"1"), member("demo-1.0.data/purelib/x.py", b"2")];
    assert_eq!(
        problem(&archive(&complete(twice.to_vec()))),
        "it would put two files at `lib/python3.11/site-packages/x.py`"
    );
}

#[test]
fn a_wheel_with_zip64_fields_is_the_same() {
    let members = complete(vec![member("demo.py", &[7; 5000])]);
    let plain = archive(&members);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for Invented { name, content, .. } in &members {
        zip.start_file(name.as_str(), SimpleFileOptions::default().large_file(true)).expect("a member");
        zip.write_all(content).expect("a member");
    }
    let wide = zip.finish().expect("an archive").into_inner();
    let layer = install(&plain).expect("a sound wheel");
    assert!(wide.len() > plain.len());
    assert_eq!(install(&wide).expect("wide local headers"), layer);

    // Both end records of APPNOTE 4.3.14 and 4.3.15, with the narrow fields all ones.
    let end = plain.len() - 22;
    let narrow = |at: usize, length: usize| {
        plain[end + at..end + at + length].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let (count, size, offset) = (narrow(10, 2), narrow(12, 4), narrow(16, 4));
    let with_ends = |count: u64| {
        let mut bytes = plain[..end].to_vec();
        bytes.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\x03\x2d\0\0\0\0\0\0\0\0\0");
        for value in [count, count, size, offset] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        bytes.extend_from_slice(&(end as u64).to_le_bytes());
        bytes.extend_from_slice(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&[0xff; 12]);
        bytes.extend_from_slice(&[0, 0]);
        bytes
    };
    assert_eq!(install(&with_ends(count)).expect("wide end records"), layer);
    assert_eq!(
        problem(&with_ends(count + 1)),
        "it is not a sound zip archive: its directory has another number of entries than it says"
    );
}

#[test]
fn links_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("demo/link", "/etc/passwd", SimpleFileOptions::default()).expect("a link");
    let bytes = zip.finish().expect("an archive").into_inner();
    assert_eq!(problem(&bytes), "its member `demo/link` is a symbolic link, which no wheel may hold");
}

#[test]
fn a_wheel_must_be_what_its_name_says() {
    let rename = |from: &str, to: &str| -> Vec<Invented> {
        let rename = |member: Invented| Invented { name: member.name.replace(from, to), ..member };
        complete(vec![member("demo.py", b"")]).into_iter().map(rename).collect()
    };
    assert_eq!(
        problem(&archive(&rename("demo-1.0.dist", "demo-1.1.dist"))),
        "its folder `demo-1.1.dist-info` does not match the file name"
    );
    assert_eq!(
        problem(&archive(&rename("demo-1.0.dist", "other-1.0.dist"))),
        "its folder `other-1.0.dist-info` does not match the file name"
    );
    install(&archive(&rename("demo-1.0.dist", "Demo-1.0.0.dist")))
        .expect("the same name and version, spelled differently");
    assert_eq!(problem(&archive(&[])), "it has 0 folders `.dist-info`, and must have one");
    let mut two = complete(Vec::new());
    two.push(member("other-1.0.dist-info/WHEEL", b""));
    assert_eq!(problem(&archive(&two)), "it has 2 folders `.dist-info`, and must have one");
    assert_eq!(problem(&archive(&rename("RECORD", "RECORDS"))), "it has no `demo-1.0.dist-info/RECORD`");
    let mut newer = complete(Vec::new());
    newer[1].content = b"Wheel-Version: 2.0\n".to_vec();
    assert_eq!(problem(&archive(&newer)), "its Wheel-Version is `2.0`, and only 1.x is known");
}

#[test]
fn a_file_that_differs_from_its_record_is_refused() {
    for stored in [false, true] {
        let mut members = complete(vec![Invented { stored, ..member("demo.py", b"right") }]);
        members[0].content = b"wrong".to_vec();
        let (right, wrong) = (RecordedHash::of(b"right"), RecordedHash::of(b"wrong"));
        assert_eq!(
            problem(&archive(&members)),
            format!("its member `demo.py` is not what its RECORD says: {wrong} in place of {right}")
        );
        members[0].content = b"longer".to_vec();
        assert_eq!(
            problem(&archive(&members)),
            "its member `demo.py` is not what its RECORD says: 6 bytes in place of 5 bytes"
        );
    }
}

#[test]
fn a_file_that_record_does_not_know_is_noted() {
    let mut members = complete(Vec::new());
    members.push(member("stray.py", b""));
    let bytes = archive(&members);
    let (_, installation) = open(&bytes).expect("tolerated, as pip does");
    assert_eq!(installation.notes, ["`stray.py` has no hash in RECORD"]);
}

#[test]
fn lies_of_the_directory_are_refused() {
    let bytes = archive(&complete(vec![member("demo.py", &[7; 5000])]));
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").expect("a directory");
    let with = |at: usize, value: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + value.len()].copy_from_slice(value);
        changed
    };
    let crc = with(directory + 16, b"\0\0\0\0");
    assert!(problem(&crc).contains("is described differently by its local header"));
    let mut both = crc;
    both[14..18].copy_from_slice(b"\0\0\0\0");
    assert!(problem(&both).contains("CRC-32"), "{}", problem(&both));
    for size in [4999u32, 5001, u32::MAX - 1] {
        let mut both = with(directory + 24, &size.to_le_bytes());
        both[22..26].copy_from_slice(&size.to_le_bytes());
        assert!(problem(&both).contains("is not what its RECORD says"), "{}", problem(&both));
    }
    let encrypted = with(directory + 8, &[1, 0]);
    assert_eq!(problem(&encrypted), "its member `demo.py` is encrypted");
    let method = with(directory + 10, &[14, 0]);
    assert_eq!(problem(&method), "its member `demo.py` is compressed with a method other than deflate");
    let mut prefixed = b"#!".to_vec();
    prefixed.extend_from_slice(&bytes);
    assert!(problem(&prefixed).contains("bytes were put in front of it"), "{}", problem(&prefixed));
    let mut followed = bytes.clone();
    followed.push(0);
    assert!(problem(&followed).contains("it has no directory at its end"));
}

#[test]
fn members_may_not_overlap_or_repeat() {
    let mut bytes = archive(&complete(vec![member("a.py", b"same"), member("b.py", b"same")]));
    let twice: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"b.py")).collect();
    for at in twice {
        bytes[at..at + 4].copy_from_slice(b"a.py");
    }
    assert_eq!(problem(&bytes), "its member `a.py` is there twice");

    let mut bytes = archive(&complete(vec![member("a.py", b"same"), member("b.py", b"same")]));
    let second = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")).nth(1).expect("two members");
    bytes[second + 42..second + 46].copy_from_slice(&0u32.to_le_bytes());
    let message = problem(&bytes);
    assert!(message.contains("overlaps") || message.contains("described differently"), "{message}");
}

#[test]
fn a_cut_wheel_is_refused_wherever_it_is_cut() {
    let bytes = archive(&complete(vec![member("demo.py", b"content")]));
    for length in 0..bytes.len() {
        assert!(install(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn wheels_of_one_layer_may_share_a_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = |name: &str, shared: &[u8]| {
        let rename = |member: Invented| Invented {
            name: member.name.replace("demo-1.0", &format!("{name}-1.0")),
            content: String::from_utf8_lossy(&member.content).replace("demo-1.0", &format!("{name}-1.0")).into_bytes(),
            ..member
        };
        let members = complete(vec![member("space/__init__.py", shared), member(&format!("space/{name}.py"), b"")]);
        // METADATA and WHEEL do not hold the name, so their hashes stay right.
        let bytes = archive(&members.into_iter().map(rename).collect::<Vec<_>>());
        let filename = format!("{name}-1.0-py3-none-any.whl");
        let path = folder.path().join(&filename);
        std::fs::write(&path, &bytes).expect("a file");
        WheelInput { path, filename, digest: Digest::of(&bytes) }
    };
    let same = [input("b", b"1"), input("a", b"1")];
    assert_eq!(examine(&same, &site()).expect("wheels"), (Vec::new(), Vec::new()));

    let different = [input("b", b"2"), input("a", b"1")];
    let conflicts: Vec<String> =
        examine(&different, &site()).expect("wheels").0.iter().map(ToString::to_string).collect();
    let path = format!("{LIBRARY}/space/__init__.py");
    assert_eq!(conflicts, [format!("`a 1.0` and `b 1.0` bring different files `/{path}`; the image has one of them")]);
    let layer = |wheels: &[WheelInput]| layer_bytes(|layer| write_wheels(wheels, &site(), layer));
    assert_eq!(Tree::read(&layer(&different)).text(&path), "2");
    let reversed: Vec<WheelInput> = different.iter().rev().cloned().collect();
    assert_eq!(layer(&different), layer(&reversed));
}

/// Members with plain names, any content and both methods. Equal names cannot happen, nor a folder that is a file.
fn members() -> impl Strategy<Value = Vec<Invented>> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6000),
        (any::<u8>(), 0usize..40_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let member = (content, any::<bool>(), prop_oneof![Just(0o644u32), Just(0o755), Just(0o600), Just(0o444)]);
    prop::collection::btree_map("(demo|démo|demo-1[.]0[.]data/purelib)/[a-z]{1,40}/[a-zé]{1,60}[.]py", member, 0..12)
        .prop_map(|members| {
            let invent = |(name, (content, stored, mode))| Invented { name, content, mode, stored };
            members.into_iter().map(invent).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_layer_holds_what_the_wheel_holds(members in members()) {
        let mut expected: BTreeMap<String, (u32, Vec<u8>)> = BTreeMap::new();
        for Invented { name, content, mode, .. } in &members {
            let name = name.strip_prefix("demo-1.0.data/purelib/").unwrap_or(name);
            let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
            expected.insert(format!("{LIBRARY}/{name}"), (mode, content.clone()));
        }
        let bytes = archive(&complete(members));
        let layer = install(&bytes).expect("a sound wheel");
        prop_assert_eq!(&layer, &install(&bytes).expect("a sound wheel"));
        let tree = Tree::read(&layer);
        let info = format!("{LIBRARY}/demo-1.0.dist-info/");
        let found: BTreeMap<String, (u32, Vec<u8>)> = tree.0.iter()
            .filter(|entry| entry.kind == 'f' && !entry.path.starts_with(&info))
            .map(|entry| (entry.path.clone(), (entry.mode, entry.content.clone())))
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert!(tree.0.iter().all(|entry| entry.owner == (0, 0)));
    }

    #[test]
    fn a_damaged_wheel_is_refused_or_means_the_same(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let script = member("demo-1.0.data/scripts/run", b"#!python\n");
        let entry_points = member("demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\na = demo:main\n");
        let large = member("demo.py", &[b'x'; 9000]);
        let stored = Invented { stored: true, ..member("data.bin", &[1; 100]) };
        let mut bytes = archive(&complete(vec![script, entry_points, large, stored]));
        let contents = |bytes: &[u8]| install(bytes).map(|layer| {
            let tree = Tree::read(&layer);
            tree.files().into_iter().map(|(path, content)| (path.to_owned(), content.to_vec())).collect::<Vec<_>>()
        });
        let sound = contents(&bytes).expect("a sound wheel");
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        // Times, versions and modes are not protected by any checksum; contents and names are.
        if let Ok(found) = contents(&bytes) {
            prop_assert_eq!(found, sound);
        }
    }

    #[test]
    fn any_bytes_are_no_wheel(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(install(&bytes).is_err());
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x40\0\0\0\0\0\0\0\0\0");
        prop_assert!(install(&bytes).is_err());
    }
}
