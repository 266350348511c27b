//! Package URLs: `pkg:pypi/numpy@2.2.1`. Source: the purl specification, <https://github.com/package-url/purl-spec>.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A package URL in canonical form. Empty qualifiers are left out, as the specification wants it.
pub(super) fn purl(kind: &str, path: &[&str], version: Option<&str>, qualifiers: &[(&str, &str)]) -> String {
    let mut text = format!("pkg:{kind}");
    for part in path {
        text.push('/');
        encode(&mut text, part, b"");
    }
    if let Some(version) = version {
        text.push('@');
        encode(&mut text, version, b"");
    }
    let sorted: BTreeMap<_, _> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
    let mut separator = '?';
    for (key, value) in sorted {
        let _ = write!(text, "{separator}{key}=");
        encode(&mut text, value, b"/");
        separator = '&';
    }
    text
}

/// The colon stays, wherever it stands.
fn encode(text: &mut String, part: &str, plain: &[u8]) {
    for &byte in part.as_bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) || plain.contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_canonical_form() {
        let torch = purl("pypi", &["torch"], Some("2.5.1+cu124"), &[("repository_url", "https://host/whl/a b/")]);
        assert_eq!(torch, "pkg:pypi/torch@2.5.1%2Bcu124?repository_url=https://host/whl/a%20b/");
        let git = purl(
            "deb",
            &["debian", "git"],
            Some("1:2.39~b"),
            &[("upstream", ""), ("distro", "debian-12"), ("arch", "amd64")],
        );
        assert_eq!(git, "pkg:deb/debian/git@1:2.39~b?arch=amd64&distro=debian-12");
        assert_eq!(purl("oci", &["a/b"], None, &[]), "pkg:oci/a%2Fb");
    }
}
