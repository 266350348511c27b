//! What a Python base made of Debian packages holds, and which Debian release has which Python.

use crate::version::PythonVersion;

use super::resolve::Wanted;

/// Debian's codenames with the Python of each, oldest first (Debian wiki, Python).
const SUITES: [(&str, PythonVersion); 3] = [
    ("bullseye", PythonVersion { major: 3, minor: 9 }),
    ("bookworm", PythonVersion { major: 3, minor: 11 }),
    ("trixie", PythonVersion { major: 3, minor: 13 }),
];

/// Roots of every base besides Python, each with its reason. Left out on purpose: `perl-base`, which only debconf's own
/// scripts and git need (git's closure brings it); `util-linux`, `mount`, `login`, `passwd`, `init-system-helpers` and
/// `sysvinit-utils`, which serve machines that boot and people who log in; `apt`, because an image is changed by its
/// spec; `procps`, `less` and editors, which `system:` adds for those who want them.
const ROOTS: [&str; 22] = [
    "base-files",      // the folders, /etc/os-release
    "base-passwd",     // the masters of /etc/passwd and /etc/group
    "bash",            // docker run -it IMAGE bash
    "ca-certificates", // TLS to indexes, buckets and model hubs
    "coreutils",       // ls, cp, id, env, nproc: every script's vocabulary
    "dash",            // /bin/sh: os.system, subprocess with shell=True
    "debianutils",     // which, run-parts
    "diffutils",       // cmp and diff, which configure scripts take for granted
    "dpkg",            // dpkg -l; its database is what scanners read
    "findutils",       // find, xargs
    "grep",            // every script's vocabulary
    "gzip",            // tar -z
    "hostname",        // torchrun and MPI launchers call it
    "libc-bin",        // ldconfig (triton calls it, the NVIDIA container runtime runs it), getent, C.UTF-8
    "libgcc-s1",       // every C++ wheel
    "libgomp1",        // OpenMP: wheels that were not repaired rely on the system's
    "libstdc++6",      // every C++ wheel
    "mawk",            // the smallest of the `awk`s that base-files pre-depends on
    "ncurses-base",    // terminal descriptions: without them readline and clear do not work
    "netbase",         // /etc/protocols, /etc/services: getservbyname
    "sed",             // every script's vocabulary
    "tar",             // dpkg pre-depends on it; data sets come in it
];

/// The Python that a Debian release has: 3.11 for `bookworm`.
pub fn python_of_suite(suite: &str) -> Option<PythonVersion> {
    SUITES.iter().find(|(name, _)| *name == suite).map(|(_, python)| *python)
}

/// The Debian release that has a Python: `bookworm` for 3.11.
pub fn suite_of_python(python: PythonVersion) -> Option<&'static str> {
    SUITES.iter().find(|(_, version)| *version == python).map(|(name, _)| *name)
}

/// A Python for a base that has none, of the release that the base is. `pythonX.Y-minimal` alone lacks most of the standard
/// library. The plain `python3` is left to the environment: the release's own may be another version.
pub fn python_packages(python: PythonVersion) -> Vec<Wanted> {
    let names = [format!("python{python}"), format!("libpython{python}-stdlib"), "ca-certificates".to_owned()];
    names.iter().map(|name| Wanted::named(name, "the environment's Python")).collect()
}

/// What a base with `python` is resolved from. Python's own parts are named one by one: `pythonX.Y-minimal` alone lacks
/// most of the standard library, and `python3` brings the plain `python3` command.
pub fn base_packages(python: PythonVersion) -> Vec<Wanted> {
    let python_packages =
        [format!("python{python}"), format!("libpython{python}-stdlib"), "python3".to_owned(), "tzdata".to_owned()];
    // Says that /usr is merged, as it is here; otherwise `usrmerge`, which moves files and needs perl, would be chosen by
    // the packages that ask for either. Bullseye has neither question nor package.
    let merged = Some("usr-is-merged".to_owned()).filter(|_| suite_of_python(python) != Some("bullseye"));
    let names = ROOTS.into_iter().map(str::to_owned).chain(python_packages).chain(merged);
    names.map(|name| Wanted::named(&name, "the Debian base")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_pythons_are_one_to_one() {
        for (suite, python) in SUITES {
            assert_eq!((python_of_suite(suite), suite_of_python(python)), (Some(python), Some(suite)));
        }
        assert_eq!(suite_of_python(PythonVersion { major: 3, minor: 12 }), None);
    }

    #[test]
    fn names_pythons_parts() {
        let names: Vec<_> = base_packages(PythonVersion { major: 3, minor: 11 })
            .into_iter()
            .map(|wanted| wanted.relation.name)
            .collect();
        assert_eq!(names.len(), 27);
        assert_eq!(names[22..], ["python3.11", "libpython3.11-stdlib", "python3", "tzdata", "usr-is-merged"]);
        assert_eq!(base_packages(PythonVersion { major: 3, minor: 9 }).len(), 26);
    }
}
