//! Packages whose maintainer scripts do more than `script` can read, with the reason why an image does without, or where
//! the work is done here instead. Read against the scripts of bullseye, bookworm and trixie. In names, `*` stands for
//! digits and dots.

/// Packages with known scripts, sorted by name, each with its reason.
const KNOWN: &[(&str, &str)] = &[
    (
        "adduser",
        "writes /etc/adduser.conf only when upgrading or where it is missing; adduser has the defaults built in",
    ),
    ("base-files", "folders and default files are made by `generated`"),
    ("base-passwd", "/etc/passwd and /etc/group are made by `generated` from the masters it ships"),
    ("bash", "links /bin/sh where no shell has; dash ships it"),
    ("ca-certificates", "the bundle is made by `generated`"),
    ("coreutils", "links /usr/bin/touch, which merged /usr has"),
    ("dash", "diverts /bin/sh from other shells; it ships the link itself"),
    ("debconf", "asks its own questions"),
    ("debianutils", "/etc/shells is made by `generated`"),
    ("dictionaries-common", "indexes of spelling dictionaries, rebuilt on demand"),
    ("dpkg", "its database and the native architecture are written by `status`"),
    ("fontconfig", "a cache of fonts, built on first use"),
    ("fontconfig-config", "links by debconf's answers; fontconfig's defaults hold without them"),
    ("g++", "alternatives are made here"),
    ("gawk", "alternatives are made here; removes links of manual pages of old versions"),
    ("gcc", "alternatives are made here; removes what old versions left"),
    ("git", "moves folders of old versions"),
    ("gzip", "diversions for zutils when upgrading"),
    ("init-system-helpers", "restores a link that system installers divert"),
    ("iproute2", "a capability for ordinary users, given only on request"),
    (
        "iputils-ping",
        "a capability for raw sockets; ping takes datagram sockets where the engine allows them, as Docker does",
    ),
    ("libblas3", "alternatives are made here"),
    ("libc-bin", "/etc/nsswitch.conf is made by `generated`, /etc/ld.so.cache by `loader_cache`"),
    ("libc6", "restarts services and checks the kernel when upgrading"),
    ("libgcrypt*", "looks for libraries that other systems left"),
    ("libgdk-pixbuf-*-0", "a cache of image loaders; the usual formats are built in"),
    ("libglib*-0", "caches of GSettings schemas and GIO modules, neither used without a desktop"),
    ("libglib*-0t64", "caches of GSettings schemas and GIO modules, neither used without a desktop"),
    ("libgssapi-krb5-2", "moves a file of old versions"),
    ("libgvc6", "a list of Graphviz's plug-ins, which `dot -c` makes for who uses it"),
    ("libibverbs1", "a group for device files, which the host owns"),
    ("liblapack3", "alternatives are made here"),
    ("libpam-modules", "empty files for PAM, read by login programs only"),
    ("libpam-runtime", "PAM's stacks, read by login programs only"),
    ("libpam0g", "restarts services when upgrading"),
    ("libpaper*", "the printer's paper size"),
    ("libpython3.*-minimal", "an empty sitecustomize.py for a link that may dangle"),
    ("libreadline8t64", "diversions for the move to merged /usr"),
    ("libselinux1", "removes files of old versions"),
    ("libsensors5", "removes a file of old versions"),
    ("libssl1.1", "restarts services when upgrading"),
    ("libtirpc3t64", "diversions for the move to merged /usr"),
    ("libwrap0", "/etc/hosts.allow and /etc/hosts.deny with nothing but comments, which mean what their absence means"),
    ("libxml2", "removes what old versions left"),
    ("login.defs", "takes back a file that was renamed while upgrading"),
    ("netbase", "/etc/hosts and /etc/networks, which the container's engine provides"),
    ("openmpi-bin", "alternatives are made here"),
    ("openssh-client", "gives ssh-agent a group against tracing by the same user; the agent works without"),
    ("openssl", "a link that the package ships"),
    ("passwd", "turns shadow passwords on; `generated` writes the files"),
    ("perl", "removes alternatives of old versions"),
    ("pkg-config", "names of wrappers for cross compilers"),
    ("pkgconf", "removes links of old versions"),
    ("pkgconf-bin", "a folder that may be missing"),
    ("procps", "applies kernel settings, which the host owns"),
    ("python3", "byte code, written on first use, and hooks of other packages"),
    ("python3-distutils", "byte code, written on first use"),
    ("python3-lib2to3", "byte code, written on first use"),
    ("python3.*", "byte code, written on first use"),
    ("python3.*-minimal", "byte code, written on first use, and empty folders in /usr/local"),
    ("readline-common", "/etc/inputrc is made by `generated`"),
    ("sgml-base", "catalogs of SGML, rebuilt on demand"),
    ("tzdata", "/etc/localtime and /etc/timezone are made by `generated`"),
    ("ucf", "moves files of old versions"),
    ("usr-is-merged", "checks that /usr is merged, which it is here"),
    ("usrmerge", "merged /usr is what is made here"),
    ("vim-common", "moves files of old versions"),
    ("vim-tiny", "alternatives are made here where their names are literal; vim.tiny works without"),
    ("x11-common", "asks nothing and removes old answers"),
    ("xml-core", "catalogs of XML, rebuilt on demand"),
    ("xz-utils", "alternatives for lzma's names; xz works without"),
];

/// Why the scripts of a package may be left out, if that is known.
pub(super) fn known_reason(package: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(pattern, _)| matches(pattern, package)).map(|(_, reason)| *reason)
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else { return pattern == name };
    name.strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end))
        .is_some_and(|middle| !middle.is_empty() && middle.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted_and_each_entry_has_a_reason() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0), "unsorted");
        assert!(KNOWN.iter().all(|(_, reason)| !reason.is_empty()));
    }

    #[test]
    fn a_star_is_a_version() {
        for name in ["python3.11-minimal", "libglib2.0-0t64", "libgdk-pixbuf-2.0-0", "libpaper1"] {
            assert!(known_reason(name).is_some(), "{name}");
        }
        for name in ["python3.x-minimal", "postgresql", "python3.11-venv"] {
            assert!(known_reason(name).is_none(), "{name}");
        }
    }
}
