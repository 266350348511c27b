//! Which folders an image gets for its user, and which it leaves as the base has them.

/// Folders that every Linux base has, as folders or as links to one: they keep mode and owner (Filesystem Hierarchy Standard
/// 3.0, and Debian's merged `/usr`).
pub const STANDARD_FOLDERS: &[&str] = &[
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/lib64",
    "usr/local",
    "usr/local/bin",
    "usr/local/etc",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/local/share",
    "usr/local/src",
    "usr/sbin",
    "usr/share",
    "usr/src",
    "var",
    "var/cache",
    "var/lib",
    "var/log",
    "var/run",
    "var/tmp",
];

/// Mode of one of [`STANDARD_FOLDERS`], all of which are root's.
pub fn standard_mode(folder: &str) -> u32 {
    match folder {
        "tmp" | "var/tmp" => 0o1777,
        "root" => 0o700,
        _ => 0o755,
    }
}

/// The folders that are made for the user, where the base has none: `folder`, an absolute path, and those above it, outermost
/// first, but for [`STANDARD_FOLDERS`].
pub fn folders_for(folder: &str) -> Vec<&str> {
    let ends = folder.char_indices().skip(1).filter(|(_, character)| *character == '/').map(|(end, _)| end);
    let above = ends.chain([folder.len()]).filter_map(|end| folder.get(..end));
    above.filter(|path| !path.ends_with('/') && !STANDARD_FOLDERS.contains(&path.trim_start_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_base_are_left_alone() {
        assert_eq!(folders_for("/workspace"), ["/workspace"]);
        assert_eq!(folders_for("/var/lib/churn/data"), ["/var/lib/churn", "/var/lib/churn/data"]);
        assert_eq!(folders_for("/home/app/"), ["/home/app"]);
        for standard in ["/", "/tmp", "/usr/", "/var/tmp", "/usr/local/bin"] {
            assert_eq!(folders_for(standard), [""; 0], "{standard}");
        }
    }
}
