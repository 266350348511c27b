//! Wheels that nobody's tool would make: each is refused, or becomes exactly the layer that its directory describes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;

/// A member as an archive of ours writes it: nothing stops a name or a size from being a lie.
#[derive(Debug, Clone)]
struct Raw {
    name: Vec<u8>,
    content: Vec<u8>,
    stored: bool,
}

impl From<Invented> for Raw {
    fn from(Invented { name, content, stored, .. }: Invented) -> Self {
        Self { name: name.into_bytes(), content, stored }
    }
}

/// Where a member's headers begin.
struct Offsets {
    local: usize,
    central: usize,
}

/// An archive of the members as they are, and where their headers lie (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn raw_archive(members: &[Raw]) -> (Vec<u8>, Vec<Offsets>) {
    let (mut bytes, mut directory, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for Raw { name, content, stored } in members {
        let packed = if *stored {
            content.clone()
        } else {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).expect("memory");
            encoder.finish().expect("memory")
        };
        let mut fields = vec![20, 0, 0, 8, if *stored { 0 } else { 8 }, 0, 0, 0, 0x21, 0];
        for number in [crc32fast::hash(content) as usize, packed.len(), content.len()] {
            fields.extend_from_slice(&(number as u32).to_le_bytes());
        }
        fields.extend_from_slice(&(name.len() as u16).to_le_bytes());
        fields.extend_from_slice(&[0, 0]);
        offsets.push(Offsets { local: bytes.len(), central: directory.len() });
        directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        directory.extend_from_slice(&fields);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(0o100_644u32 << 16).to_le_bytes());
        directory.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        directory.extend_from_slice(name);
        bytes.extend_from_slice(b"PK\x03\x04");
        bytes.extend_from_slice(&fields);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&packed);
    }
    let start = bytes.len();
    for offsets in &mut offsets {
        offsets.central += start;
    }
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend_from_slice(&[count, count].concat());
    bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(start as u32).to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    (bytes, offsets)
}

fn raw_wheel(members: Vec<Invented>) -> Vec<u8> {
    raw_archive(&complete(members).into_iter().map(Raw::from).collect::<Vec<_>>()).0
}

/// Files that a wheel with these members puts below `opt/venv`, but for RECORD and INSTALLER; `None` if it must be refused.
/// Written after the specification and the words of the errors, not after the code.
fn model(members: &[Invented]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut names = BTreeSet::new();
    for Invented { name, content, .. } in members {
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.len() <= 255
                && !part.starts_with(".wh.")
                && !part.contains(['\\', '\0', '\n'])
        };
        let path = name.strip_suffix('/').unwrap_or(name);
        if !names.insert(name) || !path.split('/').all(plain) {
            return None;
        }
        let parts: Vec<&str> = path.split('/').collect();
        if parts[0].ends_with(".dist-info") && parts[0] != "demo-1.0.dist-info" {
            return None;
        }
        if path != name || path == "demo-1.0.dist-info/RECORD" {
            continue;
        }
        let library = "lib/python3.11/site-packages";
        let is_data = |top: &str| top.strip_suffix(".data").is_some();
        let place = match parts.as_slice() {
            [top, scheme, first, rest @ ..] if is_data(top) => {
                let below = [&[*first], rest].concat().join("/");
                match *scheme {
                    "purelib" | "platlib" => format!("{library}/{below}"),
                    "scripts" => format!("bin/{below}"),
                    "headers" => format!("include/site/python3.11/demo/{below}"),
                    "data" if *first == "lib64" && !rest.is_empty() => format!("lib/{}", rest.join("/")),
                    "data" => below,
                    _ => return None,
                }
            }
            [top, _] if is_data(top) => return None,
            _ => format!("{library}/{path}"),
        };
        let own = ["bin", "include", "lib", "lib64", "lib/python3.11", library, "pyvenv.cfg"];
        let interpreter = ["bin/python", "bin/python3", "bin/python3.11"];
        if own.contains(&place.as_str()) || interpreter.contains(&place.as_str()) {
            return None;
        }
        if files.insert(place, content.clone()).is_some() {
            return None;
        }
    }
    let below_a_file = |path: &str| path.match_indices('/').any(|(at, _)| files.contains_key(&path[..at]));
    (!files.keys().any(|path| below_a_file(path))).then_some(files)
}

/// What a layer holds in the same terms.
fn found(layer: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let tree = Tree::read(layer);
    assert!(tree.0.iter().all(|entry| matches!(entry.kind, 'f' | 'd') && entry.owner == (0, 0)));
    let file = |(path, content): (&str, &[u8])| {
        let path = path.strip_prefix("opt/venv/").expect("in the environment");
        (!path.ends_with(".dist-info/RECORD") && !path.ends_with(".dist-info/INSTALLER"))
            .then(|| (path.to_owned(), content.to_vec()))
    };
    tree.files().into_iter().filter_map(file).collect()
}

fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "lib", "bin", "x.py"]),
        2 => prop::sample::select(vec!["data", "scripts", "purelib", "platlib", "headers", "elsewhere"]),
        2 => prop::sample::select(vec!["demo-1.0.data", "demo-1.0.dist-info", "other-1.0.dist-info", "other.data"]),
        2 => prop::sample::select(vec!["python", "python3.11", "site-packages", "lib64", "pyvenv.cfg", "include", "site"]),
        2 => prop::sample::select(vec!["..", ".", "", ".wh.a", ".wh..wh..opq", "a\\b", "...", "~", "a\nb", "..\\..", "C:"]),
    ];
    let folder = prop_oneof![
        6 => Just(""),
        2 => Just("demo-1.0.data/data/"),
        1 => Just("demo-1.0.data/data/lib/"),
        1 => Just("demo-1.0.data/scripts/"),
        1 => Just("/"),
    ];
    let end = prop_oneof![9 => Just(""), 1 => Just("/")];
    (folder, prop::collection::vec(part, 1..4), end)
        .prop_map(|(folder, parts, end)| format!("{folder}{}{end}", parts.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_members_are_refused_or_lie_where_they_say(
        names in prop::collection::vec((hostile_name(), any::<bool>()), 1..4),
    ) {
        let invent = |(index, (name, stored)): (usize, (String, bool))| {
            let content = if name.ends_with('/') { Vec::new() } else { vec![index as u8; 10] };
            Invented { name, content, mode: 0o644, stored }
        };
        let members = complete(names.into_iter().enumerate().map(invent).collect());
        let bytes = raw_archive(&members.iter().cloned().map(Raw::from).collect::<Vec<_>>()).0;
        prop_assert_eq!(install(&bytes).ok().map(|layer| found(&layer)), model(&members));
    }

    #[test]
    fn a_lie_about_a_member_is_refused_or_makes_no_difference(
        at in any::<prop::sample::Index>(),
        field in prop::sample::select(vec![("flags", 6, 2), ("method", 8, 2), ("crc", 14, 4), ("packed", 18, 4),
            ("plain", 22, 4), ("name", 26, 2), ("extra", 28, 2)]),
        (in_local, in_central) in prop::sample::select(vec![(true, false), (false, true), (true, true)]),
        value in prop_oneof![(-5i64..6), Just(1 << 31), any::<i64>()],
    ) {
        let members: Vec<Raw> = complete(vec![
            member("demo/large.py", &[b'x'; 9000]),
            member("demo/small.py", b"small"),
            Invented { stored: true, ..member("demo/stored.bin", &[7; 300]) },
        ]).into_iter().map(Raw::from).collect();
        let (mut bytes, offsets) = raw_archive(&members);
        let sound = install(&bytes).expect("a sound wheel");
        let Offsets { local, central } = offsets[at.index(offsets.len())];
        let (_, offset, length) = field;
        // A line of the directory has two bytes more in front.
        for place in [in_local.then_some(local + offset), in_central.then_some(central + offset + 2)].into_iter().flatten() {
            let old = bytes[place..place + length].iter().rev().fold(0i64, |value, &byte| value << 8 | i64::from(byte));
            let new = old.wrapping_add(value).to_le_bytes();
            bytes[place..place + length].copy_from_slice(&new[..length]);
        }
        if let Ok(layer) = install(&bytes) {
            prop_assert_eq!(layer, sound);
        }
    }
}

#[test]
fn a_place_of_the_environment_is_not_a_files() {
    for path in ["bin", "include", "lib", "lib/python3.11", "lib/python3.11/site-packages", "lib64"] {
        let name = format!("demo-1.0.data/data/{path}");
        let reason = "would replace a part of the environment itself";
        assert_eq!(problem(&raw_wheel(vec![member(&name, b"x")])), format!("its member `{name}` {reason}"));
    }
    let commands = member("demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\npython3.11 = demo:main\n");
    assert_eq!(
        problem(&raw_wheel(vec![commands])),
        "its member `demo-1.0.dist-info/entry_points.txt` would replace a part of the environment itself"
    );
}

#[test]
fn names_that_no_file_system_takes_are_refused() {
    let (longest, long) = ("n".repeat(255), "n".repeat(256));
    install(&raw_wheel(vec![member(&longest, b"")])).expect("the longest name");
    assert!(problem(&raw_wheel(vec![member(&long, b"")])).contains("not a plain relative path"));
    let deep = "d/".repeat(2100) + "file";
    assert!(problem(&raw_wheel(vec![member(&deep, b"")])).contains("not a plain relative path"));

    let mut members: Vec<Raw> = complete(vec![member("x", b"")]).into_iter().map(Raw::from).collect();
    members[0].name = b"\xff".to_vec();
    assert_eq!(
        problem(&raw_archive(&members).0),
        "its member `\u{fffd}` has a name that is neither ASCII nor marked as UTF-8"
    );
}

/// Little in the archive, and so little memory: the content passes in pieces.
#[test]
fn a_content_that_is_a_thousand_times_larger_than_its_stream_passes_through() {
    let zeros = vec![0; 64 << 20];
    let bytes = raw_wheel(vec![member("zeros", &zeros)]);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let layer = install(&bytes).expect("a sound wheel");
    assert!(layer.len() < bytes.len() + 4096, "{}", layer.len());
    let tree = Tree::read(&layer);
    assert!(tree.files()[format!("{LIBRARY}/zeros").as_str()] == zeros);
}

#[test]
fn what_must_be_read_whole_has_a_limit() {
    let reason = "is too large for what it is";
    let large = vec![b'\n'; 65 << 20];
    let record = member("demo-1.0.dist-info/entry_points.txt", &large);
    assert_eq!(problem(&raw_wheel(vec![record])), format!("its member `demo-1.0.dist-info/entry_points.txt` {reason}"));
    // Scripts are rewritten in memory: together they may be no larger.
    let mut script = b"#!python\n".to_vec();
    script.resize(22 << 20, b'#');
    let scripts = |count: u32| (0..count).map(|n| member(&format!("demo-1.0.data/scripts/s{n}"), &script)).collect();
    install(&raw_wheel(scripts(2))).expect("two of them");
    assert_eq!(problem(&raw_wheel(scripts(3))), format!("its member `demo-1.0.data/scripts/s2` {reason}"));
}

/// Work grows with the number of things, not with its square.
#[test]
fn many_members_and_many_commands_are_done_in_time() {
    let members: Vec<Invented> =
        (0..40_000).map(|number| member(&format!("d{}/m{number}", number % 100), b"")).collect();
    let mut commands = "[console_scripts]\n".to_owned();
    (0..20_000).for_each(|number| commands.push_str(&format!("c{number} = demo:main\n")));
    let commands = member("demo-1.0.dist-info/entry_points.txt", commands.as_bytes());
    let bytes = raw_wheel([members, vec![commands]].concat());
    let started = Instant::now();
    let mut opened = [open(&bytes).expect("a sound wheel")];
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    write_opened(&mut opened, &mut layer).expect("a layer");
    assert_eq!(opened[0].1.files.len(), 60_000 + 5);
    // Six seconds on a busy machine without optimisation; the square would take hours.
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
}
