//! `/etc/ld.so.cache`, as `ldconfig` would write it: which file the loader opens for a name, and what
//! `ctypes.util.find_library` finds, which asks `ldconfig -p`.
//!
//! Form: `glibc-ld.so.cache1.1` of glibc's `elf/dl-cache.h`, in the order of its `_dl_cache_libcmp`, greatest first, because
//! the loader searches by halves. Which names a library goes by follows `search_dir` of `elf/ldconfig.c`. Left out: the
//! section that names the program that wrote it, and libraries for newer processors in `glibc-hwcaps`, which Debian's
//! packages do without. A cache with both forms, as glibc wrote it up to 2.31, is read, and written in the newer one alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::elf::{self, Machine};
use super::root::{merged, resolve_link};
use super::tree::{Content, Node, NodeKind, Root};

const PATH: &str = "etc/ld.so.cache";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// The form before it, which may stand in front of it, and the bytes of its header and of an entry.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
/// Bytes of the header and of an entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// `cache_file_new_flags_endian_little`
const LITTLE_ENDIAN: u32 = 2;
/// Most bytes of a path in a cache, as in Linux itself.
const MAX_PATH_BYTES: usize = 4096;
/// Most links followed to a library.
const MAX_LINKS: usize = 40;

/// A name, and the file that answers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Library {
    name: String,
    flags: u32,
    /// Absolute.
    path: String,
}

/// A file of a folder that answers to a name.
struct Found {
    file: String,
    is_link: bool,
    flags: u32,
}

/// Adds the cache of a whole root's libraries, if its `ldconfig` is there to read it.
pub(super) fn add_loader_cache(root: &mut Root, architecture: &str) -> io::Result<()> {
    if root.get("usr/sbin/ldconfig").is_some() && root.get(PATH).is_none() {
        let libraries = libraries(root, architecture)?;
        root.nodes.insert(PATH.to_owned(), Node::file(write(libraries)));
    }
    Ok(())
}

/// Adds the libraries of a tree to the cache of the image below. For a name that both have, the image's own file stays in
/// front. A cache that cannot be read stays as it is: the loader looks into Debian's folders in any case.
pub(super) fn extend_loader_cache(root: &mut Root, architecture: &str, before: &[u8]) -> io::Result<()> {
    let added = libraries(root, architecture)?;
    let Some(mut known) = read(before).filter(|_| !added.is_empty()) else { return Ok(()) };
    let paths: BTreeSet<(String, String)> =
        known.iter().map(|library| (library.name.clone(), library.path.clone())).collect();
    known.extend(added.into_iter().filter(|library| !paths.contains(&(library.name.clone(), library.path.clone()))));
    root.nodes.insert(PATH.to_owned(), Node::file(write(known)));
    Ok(())
}

/// All libraries in the folders that are searched, folder by folder.
fn libraries(root: &Root, architecture: &str) -> io::Result<Vec<Library>> {
    let mut libraries = Vec::new();
    let mut seen = BTreeSet::new();
    for folder in folders(root, architecture)? {
        // `/lib` and `/usr/lib` are one folder; the first name of it counts.
        let place = place(&folder);
        if seen.insert(place.clone()) {
            libraries.extend(libraries_in(root, &folder, &place)?);
        }
    }
    Ok(libraries)
}

/// Folders in the order in which they are searched: those of `ld.so.conf.d`, file by file, then the usual ones.
fn folders(root: &Root, architecture: &str) -> io::Result<Vec<String>> {
    const CONFIGURATION: &str = "etc/ld.so.conf.d/";
    let paths = root.nodes.range(CONFIGURATION.to_owned()..).map(|(path, _)| path);
    let paths = paths.take_while(|path| path.starts_with(CONFIGURATION));
    let mut folders = Vec::new();
    for path in paths.filter(|path| path.strip_suffix(".conf").is_some()) {
        let text = root.read(path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().trim_end_matches('/'));
        folders.extend(lines.filter(|line| line.starts_with('/')).map(str::to_owned));
    }
    let triplet = match architecture {
        "arm64" => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    };
    folders.extend([format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
    folders.extend(["/lib", "/usr/lib"].map(str::to_owned));
    Ok(folders)
}

/// Where the files of a folder stand in the tree, ending in `/`.
fn place(folder: &str) -> String {
    let mut place = merged(&format!("{}/x", folder.trim_start_matches('/')));
    place.pop();
    place
}

/// The libraries of one folder, which stand at `place`, by the names they answer to.
fn libraries_in(root: &Root, folder: &str, place: &str) -> io::Result<Vec<Library>> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let paths = root.nodes.range(place.to_owned()..).take_while(|(path, _)| path.starts_with(place));
    for (path, node) in paths {
        let file = &path[place.len()..];
        if file.contains('/') || !is_library_name(file) {
            continue;
        }
        let Some(content) = file_behind(root, path) else { continue };
        let read_at = |offset: u64, length: u64| root.read_at(content, offset, length);
        let Some(object) = elf::read_shared_object(&read_at)? else { continue };
        let flags = match object.machine {
            Machine::X86_64 => 0x0303,
            Machine::Aarch64 => 0x0a03,
        };
        let soname = object.soname.unwrap_or_else(|| file.to_owned());
        // `libz.so`, the link that compilers use, is a name of its own; any other link is a file like the one behind it.
        let is_link = matches!(node.kind, NodeKind::Symlink(_))
            && (file == soname || file.strip_suffix(".so").is_some() && soname.starts_with(file));
        let name = if is_link { file.to_owned() } else { soname };
        let candidate = Found { file: file.to_owned(), is_link, flags };
        let better = found.get(&name).is_none_or(|other| match (candidate.is_link, other.is_link) {
            (false, true) => true,
            (true, false) => false,
            _ => compare(other.file.as_bytes(), candidate.file.as_bytes()) == Ordering::Less,
        });
        if better {
            found.insert(name, candidate);
        }
    }
    let library = |(name, found): (String, Found)| {
        // The link of a library's own name is what is opened, where the package ships it.
        let file = if root.get(&format!("{place}{name}")).is_some() { &name } else { &found.file };
        Library { path: format!("{folder}/{file}"), flags: found.flags, name }
    };
    Ok(found.into_iter().map(library).collect())
}

fn is_library_name(file: &str) -> bool {
    (file.starts_with("lib") || file.starts_with("ld-")) && file.contains(".so") && !file.ends_with("-gdb.py")
}

/// The content of the file at a path, links followed.
fn file_behind<'a>(root: &'a Root, path: &str) -> Option<&'a Content> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        path = match &root.get(&path)?.kind {
            NodeKind::File(content) => return Some(content),
            NodeKind::Symlink(target) => resolve_link(&path, target)?,
            NodeKind::Hardlink(target) => target.clone(),
            NodeKind::Directory => return None,
        };
    }
    None
}

/// The loader's order: numbers count as numbers, and come after everything else.
fn compare(mut left: &[u8], mut right: &[u8]) -> Ordering {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    loop {
        let order = match (digits(left), digits(right)) {
            (0, 0) => match (left.split_first(), right.split_first()) {
                (Some((one, left_rest)), Some((other, right_rest))) if one == other => {
                    (left, right) = (left_rest, right_rest);
                    continue;
                }
                (one, other) => return one.map(|(byte, _)| byte).cmp(&other.map(|(byte, _)| byte)),
            },
            (0, _) => Ordering::Less,
            (_, 0) => Ordering::Greater,
            (one, other) => {
                let number =
                    |text: &[u8]| -> Vec<u8> { text.iter().copied().skip_while(|&byte| byte == b'0').collect() };
                let (first, second) = (number(&left[..one]), number(&right[..other]));
                (left, right) = (&left[one..], &right[other..]);
                first.len().cmp(&second.len()).then(first.cmp(&second))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The entries of a cache but those for newer processors; `None` if it is none, or says something that cannot be.
fn read(cache: &[u8]) -> Option<Vec<Library>> {
    let number = |at: usize| Some(u32::from_le_bytes(cache.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let start = match cache.starts_with(OLD_MAGIC) {
        true => {
            let entries = usize::try_from(number(12)?).ok()?.checked_mul(OLD_ENTRY)?;
            entries.checked_add(OLD_HEADER)?.checked_next_multiple_of(8)?
        }
        false => 0,
    };
    let cache = cache.get(start..)?;
    if !cache.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(cache.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let text = |at: u32| {
        let bytes = cache.get(usize::try_from(at).ok()?..)?;
        let end = bytes.iter().take(MAX_PATH_BYTES).position(|&byte| byte == 0)?;
        String::from_utf8(bytes[..end].to_vec()).ok()
    };
    let count = usize::try_from(number(20)?).ok()?;
    let entries = cache.get(HEADER..count.checked_mul(ENTRY)?.checked_add(HEADER)?)?;
    let mut libraries = Vec::new();
    for index in 0..entries.len() / ENTRY {
        let at = HEADER + index * ENTRY;
        let is_for_any_processor = number(at + 16)? == 0 && number(at + 20)? == 0;
        if is_for_any_processor {
            libraries.push(Library { flags: number(at)?, name: text(number(at + 4)?)?, path: text(number(at + 8)?)? });
        }
    }
    Some(libraries)
}

fn write(mut libraries: Vec<Library>) -> Vec<u8> {
    libraries
        .sort_by(|left, right| compare(right.name.as_bytes(), left.name.as_bytes()).then(right.flags.cmp(&left.flags)));
    let mut strings = Vec::new();
    let mut entries = Vec::new();
    let first = HEADER + ENTRY * libraries.len();
    let mut add = |text: &str| {
        let at = (first + strings.len()) as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    for library in &libraries {
        let value = add(&library.path);
        // A path ends with the name, but for a file whose link is missing.
        let key = match library.path.strip_suffix(&library.name) {
            Some(folder) => value + folder.len() as u32,
            None => add(&library.name),
        };
        for number in [library.flags, key, value, 0, 0, 0] {
            entries.extend(number.to_le_bytes());
        }
    }
    let mut bytes = MAGIC.to_vec();
    for number in [libraries.len() as u32, strings.len() as u32, LITTLE_ENDIAN, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(entries);
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn root(nodes: Vec<(&str, Node)>) -> Root {
        let nodes: BTreeMap<String, Node> = nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect();
        Root { nodes, spool: tempfile::tempfile().expect("a temporary file") }
    }

    fn library(soname: &str) -> Node {
        Node::file(elf::invented(62, Some(soname)))
    }

    /// `name => path` of a cache's entries, read back by the offsets that are in it.
    fn listing(cache: &[u8]) -> Vec<String> {
        assert_eq!(&cache[..20], MAGIC);
        let number = |at: usize| u32::from_le_bytes(cache[at..at + 4].try_into().expect("four bytes")) as usize;
        let text = |at: usize| {
            let end = cache[at..].iter().position(|&byte| byte == 0).expect("an end");
            String::from_utf8_lossy(&cache[at..at + end]).into_owned()
        };
        assert_eq!(cache.len(), HEADER + ENTRY * number(20) + number(24));
        let entries = (0..number(20)).map(|index| HEADER + ENTRY * index);
        entries.map(|at| format!("{} => {}", text(number(at + 4)), text(number(at + 8)))).collect()
    }

    #[test]
    fn lists_what_ldconfig_would() {
        let mut root = root(vec![
            ("etc/ld.so.conf.d/b.conf", Node::file("# multiarch\n/lib/triplet/\n/usr/lib/triplet\n")),
            ("etc/ld.so.conf.d/a.conf", Node::file("/usr/local/lib\n")),
            ("etc/ld.so.conf.d/README", Node::file("/opt/not-read\n")),
            ("usr/sbin/ldconfig", Node::file("")),
            ("usr/lib/libold.so.1.2", library("libold.so.1")),
            ("usr/lib/triplet/libz.so.1", Node::symlink("libz.so.1.3")),
            ("usr/lib/triplet/libz.so.1.3", library("libz.so.1")),
            ("usr/lib/triplet/libz.so", Node::symlink("libz.so.1.3")),
            ("usr/lib/triplet/libz.so.10", library("libz.so.10")),
            ("usr/lib/triplet/libblas.so.3", Node::symlink("/etc/alternatives/libblas")),
            ("etc/alternatives/libblas", Node::symlink("/usr/lib/triplet/blas/libblas.so.3")),
            ("usr/lib/triplet/blas/libblas.so.3", library("libblas.so.3")),
            ("usr/lib/triplet/libscript.so", Node::file("INPUT(libz.so.1)")),
            ("usr/lib/triplet/libgone.so.1", Node::symlink("nowhere")),
            ("usr/lib/triplet/plugin.so", library("plugin.so")),
            ("usr/lib/triplet/libz.so.1-gdb.py", library("libz.so.1")),
        ]);
        add_loader_cache(&mut root, "amd64").expect("made");
        let cache = root.read(PATH).expect("readable").expect("there");
        assert_eq!(
            listing(&cache),
            [
                "libz.so.10 => /lib/triplet/libz.so.10",
                "libz.so.1 => /lib/triplet/libz.so.1",
                "libz.so => /lib/triplet/libz.so",
                "libold.so.1 => /lib/libold.so.1.2",
                "libblas.so.3 => /lib/triplet/libblas.so.3",
            ]
        );
    }

    #[test]
    fn libraries_come_to_those_of_the_image_below() {
        let of = |name: &str, path: &str| Library { name: name.to_owned(), flags: 0x0303, path: path.to_owned() };
        let before = write(vec![
            of("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"),
            of("libssl.so.3", "/usr/local/lib/libssl.so.3"),
        ]);
        let nodes = |soname: &str| {
            let path = format!("usr/lib/x86_64-linux-gnu/{soname}");
            root(vec![(path.as_str(), library(soname)), ("usr/lib/x86_64-linux-gnu/libz.so.1", library("libz.so.1"))])
        };
        let extended = |mut root: Root, before: &[u8]| {
            extend_loader_cache(&mut root, "amd64", before).expect("made");
            root.read(PATH).expect("readable").map(|cache| listing(&cache))
        };
        assert_eq!(
            extended(nodes("libssl.so.3"), &before).expect("a cache"),
            [
                "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1",
                "libssl.so.3 => /usr/local/lib/libssl.so.3",
                "libssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3",
            ]
        );
        // In front of it may stand an older form, as glibc 2.31 writes it.
        let mut both = [OLD_MAGIC, &[0], &1u32.to_le_bytes(), &[0; 12 + 4]].concat();
        both.extend(&before);
        assert_eq!(extended(nodes("liba.so.1"), &both).expect("a cache").len(), 3);
        assert_eq!(extended(root(Vec::new()), &before), None);
        assert_eq!(extended(nodes("liba.so.1"), b"not a cache"), None);
    }

    #[test]
    fn an_image_without_ldconfig_gets_none() {
        let mut root = root(vec![("usr/lib/libz.so.1", library("libz.so.1"))]);
        add_loader_cache(&mut root, "amd64").expect("nothing made");
        assert!(root.get(PATH).is_none());
    }

    #[test]
    fn numbers_count_as_numbers() {
        for (smaller, larger) in [
            ("libz.so.1", "libz.so.10"),
            ("libz.so.9", "libz.so.10"),
            ("libz.so", "libz.so.1"),
            ("libz.so", "libz3.so"),
        ] {
            assert_eq!(compare(smaller.as_bytes(), larger.as_bytes()), Ordering::Less, "{smaller} < {larger}");
            assert_eq!(compare(larger.as_bytes(), smaller.as_bytes()), Ordering::Greater);
        }
        assert_eq!(compare(b"lib01", b"lib1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn any_cache_is_read(changes in proptest::collection::vec((0usize..200, any::<u8>()), 0..8), cut in 0usize..200) {
            let library = |name: &str| Library { name: name.to_owned(), flags: 3, path: format!("/lib/{name}") };
            let mut cache = write(vec![library("liba.so.1"), library("libb.so.2")]);
            prop_assert_eq!(read(&cache).map(|libraries| libraries.len()), Some(2));
            for (at, byte) in changes {
                let at = at % cache.len();
                cache[at] = byte;
            }
            let _ = read(&cache);
            cache.truncate(cut);
            let _ = read(&cache);
        }

        #[test]
        fn the_order_is_one(one in "[a-z0-9.]{0,8}", two in "[a-z0-9.]{0,8}", three in "[a-z0-9.]{0,8}") {
            let compare = |left: &str, right: &str| compare(left.as_bytes(), right.as_bytes());
            prop_assert_eq!(compare(&one, &two), compare(&two, &one).reverse());
            if compare(&one, &two).is_le() && compare(&two, &three).is_le() {
                prop_assert!(compare(&one, &three).is_le());
            }
        }
    }
}
