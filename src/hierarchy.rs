//! Where things stand in a Linux base: the Filesystem Hierarchy Standard 3.0, with the links that Debian's merged `/usr` and
//! `/run` bring. Paths are those of layers and packages, from the top and without a slash in front: `usr/bin`.

/// Folders that every base has, as folders or as links to one.
pub const STANDARD_FOLDERS: &[&str] = &[
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "run/lock",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/games",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/lib64",
    "usr/libexec",
    "usr/libx32",
    "usr/local",
    "usr/local/bin",
    "usr/local/etc",
    "usr/local/games",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/local/share",
    "usr/local/src",
    "usr/sbin",
    "usr/share",
    "usr/src",
    "var",
    "var/backups",
    "var/cache",
    "var/lib",
    "var/local",
    "var/log",
    "var/opt",
    "var/run",
    "var/spool",
    "var/tmp",
];

/// Folders that each container gets of its own from the kernel, over whatever the image has there.
pub const KERNEL_FOLDERS: &[&str] = &["dev", "proc", "sys"];

/// What is a link at the top where `/usr` is merged, to the folder of the same name in `usr`.
pub const MERGED: &[&str] = &["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// Links of `/var`, and what each leads to.
pub const VAR_LINKS: &[(&str, &str)] = &[("var/lock", "run/lock"), ("var/run", "run")];

/// Mode of one of [`STANDARD_FOLDERS`], all of which are root's.
pub fn standard_mode(folder: &str) -> u32 {
    match folder {
        "run/lock" | "tmp" | "var/tmp" => 0o1777,
        "root" => 0o700,
        _ => 0o755,
    }
}

/// Whether a folder is in a part of the system that programs only read. A certificate that is copied to `/etc/ssl/certs` must
/// not make that folder the user's. Of `usr`, `local` and `src` are whoever's that puts something there.
pub fn is_of_system(folder: &str) -> bool {
    let mut names = folder.split('/');
    match names.next() {
        Some("usr") => names.next().is_some_and(|name| !["local", "src"].contains(&name)),
        Some(name) => ["boot", "etc"].contains(&name) || MERGED.contains(&name),
        None => false,
    }
}

/// The link of a merged system that a path is or leads through: the link, where it leads, and what of the path is below it,
/// with its slash in front.
pub fn link_in(path: &str) -> Option<(&'static str, String, &str)> {
    let below = |link: &str| path.strip_prefix(link).filter(|below| below.is_empty() || below.starts_with('/'));
    let merged = MERGED.iter().find_map(|&link| below(link).map(|below| (link, format!("usr/{link}"), below)));
    merged.or_else(|| {
        VAR_LINKS.iter().find_map(|&(link, target)| below(link).map(|below| (link, target.to_owned(), below)))
    })
}

/// The folders that a path lies in, outermost first.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(slash, _)| path.get(..slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_through_a_link_is_told_by_both_its_ends() {
        let behind = |path| link_in(path).map(|(link, target, below)| format!("{link}: {target}{below}"));
        assert_eq!(behind("bin").as_deref(), Some("bin: usr/bin"));
        assert_eq!(behind("lib64/ld.so").as_deref(), Some("lib64: usr/lib64/ld.so"));
        assert_eq!(behind("var/run").as_deref(), Some("var/run: run"));
        assert_eq!(behind("var/run/app.pid").as_deref(), Some("var/run: run/app.pid"));
        assert_eq!(behind("var/lock/app").as_deref(), Some("var/lock: run/lock/app"));
        for path in ["", "binary", "lib3", "usr/bin", "var", "var/running", "run/lock"] {
            assert_eq!(behind(path), None, "{path}");
        }
    }

    #[test]
    fn parts_that_programs_only_read_are_the_systems() {
        for folder in ["etc", "etc/ssl/certs", "usr/share/fonts", "usr/libexec/x", "lib64/x"] {
            assert!(is_of_system(folder), "{folder}");
        }
        for folder in ["", "usr", "usr/local/share", "usr/src/app", "opt/etc", "var/lib", "etcetera"] {
            assert!(!is_of_system(folder), "{folder}");
        }
    }

    #[test]
    fn folders_above_a_path_come_outermost_first() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(above("a").count(), 0);
    }
}
