//! Files that maintainer scripts would have made, made from what the packages ship. Each rule belongs to a package and
//! applies when that package is new: on an image that has it already, these files are the image's own.
//!
//! Not made: links of `/etc/ssl/certs` by subject hash, because OpenSSL and everything on it reads the bundle; byte code,
//! which Python writes when it may.

use std::io;
use std::path::Path;

use super::tree::{Node, NodeKind, Root};
use crate::hierarchy::VAR_LINKS;

/// Numeric groups of Debian's `group.master`, which never change.
const GROUP_MAIL: u32 = 8;
const GROUP_SHADOW: u32 = 42;

/// Makes the files of one package.
type Rule = fn(&mut Root) -> io::Result<()>;

/// Adds the generated files. `is_new` says of a package's name whether it is installed for the first time.
pub(super) fn add_generated(root: &mut Root, is_new: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let rules: [(&str, Rule); 8] = [
        ("base-files", base_files),
        ("base-passwd", accounts),
        ("ca-certificates", certificates),
        ("debianutils", shells),
        ("libc-bin", |root| copy(root, "usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf")),
        ("openssl", openssl),
        ("readline-common", |root| copy(root, "usr/share/readline/inputrc", "etc/inputrc")),
        ("tzdata", time_zone),
    ];
    rules.into_iter().filter(|(package, _)| is_new(package)).try_for_each(|(_, rule)| rule(root))
}

fn put(root: &mut Root, path: &str, node: Node) {
    root.nodes.entry(path.to_owned()).or_insert(node);
}

fn copy(root: &mut Root, from: &str, to: &str) -> io::Result<()> {
    if let Some(bytes) = root.read(from)? {
        put(root, to, Node::file(bytes));
    }
    Ok(())
}

/// Folders and files of base-files' postinst. The login records of /var/log are left out: nobody logs in.
fn base_files(root: &mut Root) -> io::Result<()> {
    for path in ["mnt", "srv", "opt", "etc/opt", "var/opt", "media", "dev", "proc", "sys", "run"] {
        put(root, path, Node::directory(0o755));
    }
    for path in ["tmp", "var/tmp", "run/lock"] {
        put(root, path, Node::directory(0o1777));
    }
    for name in ["bin", "etc", "games", "include", "lib", "sbin", "share", "share/man", "src"] {
        put(root, &format!("usr/local/{name}"), Node::directory(0o755));
    }
    put(root, "usr/local/man", Node::symlink("share/man"));
    put(root, "var/mail", Node { gid: GROUP_MAIL, ..Node::directory(0o2775) });
    put(root, "var/spool/mail", Node::symlink("../mail"));
    for (link, target) in VAR_LINKS {
        put(root, link, Node::symlink(&format!("/{target}")));
    }
    put(root, "etc/dpkg/origins/default", Node::symlink("debian"));
    for (from, to) in [
        ("dot.profile", "root/.profile"),
        ("dot.bashrc", "root/.bashrc"),
        ("profile", "etc/profile"),
        ("motd", "etc/motd"),
    ] {
        copy(root, &format!("usr/share/base-files/{from}"), to)?;
    }
    Ok(())
}

/// `/etc/passwd` and `/etc/group` from the masters, and shadow files that let nobody in by password. The field for the
/// day of the last change stays empty: it would be the day of the build.
fn accounts(root: &mut Root) -> io::Result<()> {
    for (master, path, shadow, tail) in [
        ("passwd.master", "etc/passwd", "etc/shadow", ":*::0:99999:7:::\n"),
        ("group.master", "etc/group", "etc/gshadow", ":*::\n"),
    ] {
        let Some(bytes) = root.read(&format!("usr/share/base-passwd/{master}"))? else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
        let entries: String = names.flat_map(|name| [name, tail]).collect();
        put(root, shadow, Node { mode: 0o640, gid: GROUP_SHADOW, ..Node::file(entries) });
        put(root, path, Node::file(bytes));
    }
    Ok(())
}

/// The bundle of all certificates of the package, in the order of their names, and the list that
/// `update-ca-certificates` would read.
fn certificates(root: &mut Root) -> io::Result<()> {
    const FOLDER: &str = "usr/share/ca-certificates/";
    let is_certificate =
        |path: &str| path.starts_with(FOLDER) && Path::new(path).extension().is_some_and(|suffix| suffix == "crt");
    let paths: Vec<String> = root.nodes.keys().filter(|path| is_certificate(path)).cloned().collect();
    let (mut bundle, mut list) = (Vec::new(), String::new());
    for path in paths {
        if let Some(bytes) = root.read(&path)? {
            bundle.extend_from_slice(&bytes);
            if !bytes.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            list.push_str(&path[FOLDER.len()..]);
            list.push('\n');
        }
    }
    put(root, "etc/ssl/certs/ca-certificates.crt", Node::file(bundle));
    put(root, "etc/ca-certificates.conf", Node::file(list));
    Ok(())
}

/// OpenSSL's default file of certificates, which some versions of the package lack: with it no hashed links are needed.
#[expect(clippy::unnecessary_wraps, reason = "a `Rule`")]
fn openssl(root: &mut Root) -> io::Result<()> {
    put(root, "usr/lib/ssl/cert.pem", Node::symlink("/etc/ssl/certs/ca-certificates.crt"));
    Ok(())
}

/// `/etc/shells`: the package's list, then those that packages register, under both of their paths.
fn shells(root: &mut Root) -> io::Result<()> {
    let Some(bytes) = root.read("usr/share/debianutils/shells")? else { return Ok(()) };
    let mut lines: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
    let folder = "usr/share/debianutils/shells.d/";
    let files: Vec<String> = root.nodes.keys().filter(|path| path.starts_with(folder)).cloned().collect();
    for path in files {
        let Some(bytes) = root.read(&path)? else { continue };
        for shell in String::from_utf8_lossy(&bytes).lines().filter(|line| line.starts_with('/')) {
            for path in [shell.to_owned(), format!("/usr{shell}")] {
                let is_there = root.nodes.contains_key(path.trim_start_matches('/')) || path == shell;
                if is_there && !lines.contains(&path) {
                    lines.push(path);
                }
            }
        }
    }
    put(root, "etc/shells", Node::file(lines.join("\n") + "\n"));
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a `Rule`")]
fn time_zone(root: &mut Root) -> io::Result<()> {
    put(root, "etc/localtime", Node::symlink("/usr/share/zoneinfo/Etc/UTC"));
    put(root, "etc/timezone", Node::file("Etc/UTC\n"));
    Ok(())
}

/// Gives every path its parents: folders that no package ships are root's.
pub(super) fn add_parents(root: &mut Root) {
    let mut missing = Vec::new();
    for path in root.nodes.keys() {
        for (at, _) in path.match_indices('/') {
            if !root.nodes.contains_key(&path[..at]) {
                missing.push(path[..at].to_owned());
            }
        }
    }
    for path in missing {
        put(root, &path, Node::directory(0o755));
    }
}

/// Whether something that is no folder stands at a path.
pub(super) fn is_occupied(root: &Root, path: &str) -> bool {
    root.get(path).is_some_and(|node| node.kind != NodeKind::Directory)
}
