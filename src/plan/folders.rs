//! Which folders an image gets for its user, and which it leaves as the base has them.

use crate::hierarchy::{STANDARD_FOLDERS, above};

/// The folders that are made for the user, where the base has none: `folder`, an absolute path, and those above it, outermost
/// first, but for [`STANDARD_FOLDERS`].
pub fn folders_for(folder: &str) -> Vec<&str> {
    let folder = folder.trim_end_matches('/');
    let all = above(folder).chain([folder]).filter(|path| !path.is_empty());
    all.filter(|path| !STANDARD_FOLDERS.contains(&path.trim_start_matches('/'))).collect()
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
