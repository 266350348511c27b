//! Wheel file names and which interpreter and platform may install them.
//!
//! Follows the platform compatibility tags specification (PEP 425, PEP 600 for `manylinux_X_Y`) for CPython on glibc
//! Linux, the only interpreter and C library an image of ours holds. A tag set that does not fit says why, since that
//! reason ends up in an explanation.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use pep440_rs::Version;

use super::PythonVersion;

/// A parsed wheel file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFilename {
    /// Normalised distribution name (PEP 503).
    pub name: String,
    /// Version, with its local label if it has one.
    pub version: Version,
    /// Build number and suffix; among equal tags the larger wins.
    pub build: Option<(u64, String)>,
    /// Compressed tag sets, split at the dots.
    pub python_tags: Arc<[String]>,
    /// ABI tags.
    pub abi_tags: Arc<[String]>,
    /// Platform tags.
    pub platform_tags: Arc<[String]>,
}

/// Why a text is not a wheel file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{filename}` is not a wheel file name: {reason}")]
pub struct FilenameError {
    /// The text as it was given.
    pub filename: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What a wheel must run on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WheelEnvironment {
    /// CPython line.
    pub python: PythonVersion,
    /// OCI architecture: `amd64` or `arm64`.
    pub architecture: String,
    /// glibc of the base, major and minor.
    pub glibc: (u32, u32),
}

/// Why a wheel does not fit an environment; the first test that fails, in the order python, abi, platform, glibc.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Incompatible {
    /// Made for other Python lines or implementations.
    Python,
    /// Made for another ABI (free-threaded, debug, an older stable ABI).
    Abi,
    /// Made for another operating system or processor.
    Platform,
    /// Needs a newer glibc than the base has: the version needed.
    Glibc(u32, u32),
}

/// How well a wheel fits; larger is better. Order: ABI first, then platform, then build number, as pip does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    python: u32,
    platform: u32,
    build: Option<(u64, String)>,
}

/// Normalises a distribution name (PEP 503): lower case, runs of `-`, `_` and `.` become one `-`.
pub fn normalize_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' => {
                if !normal.ends_with('-') {
                    normal.push('-');
                }
            }
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

impl FromStr for WheelFilename {
    type Err = FilenameError;

    fn from_str(filename: &str) -> Result<Self, FilenameError> {
        WheelReader::default().read(filename)
    }
}

/// Reads many wheel file names. Those of a page repeat their parts, so each distinct name, version and tag set is read
/// once and shared: a lock looks at a hundred thousand of them.
#[derive(Default)]
pub struct WheelReader {
    name: Option<(String, String)>,
    version: Option<(String, Version)>,
    tags: HashMap<String, Arc<[String]>>,
}

impl WheelReader {
    /// The parts of a wheel file name.
    pub fn read(&mut self, filename: &str) -> Result<WheelFilename, FilenameError> {
        let error = |reason| FilenameError { filename: filename.to_owned(), reason };
        let stem = filename.strip_suffix(".whl").ok_or_else(|| error("it does not end in `.whl`"))?;
        let mut parts = stem.split('-');
        let mut next = || parts.next().unwrap_or_default();
        let six = [next(), next(), next(), next(), next(), next()];
        let count = stem.split('-').count();
        let (name, version, build, tags) = match (count, six) {
            (5, [name, version, python, abi, platform, _]) => (name, version, None, [python, abi, platform]),
            (6, [name, version, build, python, abi, platform]) => (name, version, Some(build), [python, abi, platform]),
            _ => return Err(error("it must have five or six parts separated by `-`")),
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte)) {
            return Err(error("the distribution name has characters that no wheel may have"));
        }
        let version = self.version(version).ok_or_else(|| error("the version is not PEP 440"))?;
        let build = match build {
            None => None,
            Some(text) => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let number = text[..digits].parse().map_err(|_| error("the build tag does not start with a number"))?;
                Some((number, text[digits..].to_owned()))
            }
        };
        let mut split = |text| self.tags(text).ok_or_else(|| error("a tag is empty"));
        let (python_tags, abi_tags, platform_tags) = (split(tags[0])?, split(tags[1])?, split(tags[2])?);
        Ok(WheelFilename { name: self.name(name), version, build, python_tags, abi_tags, platform_tags })
    }

    fn name(&mut self, text: &str) -> String {
        match &self.name {
            Some((known, name)) if known == text => name.clone(),
            _ => {
                let name = normalize_name(text);
                self.name = Some((text.to_owned(), name.clone()));
                name
            }
        }
    }

    fn version(&mut self, text: &str) -> Option<Version> {
        match &self.version {
            Some((known, version)) if known == text => Some(version.clone()),
            _ => {
                let version = Version::from_str(&text.replace('_', "-")).ok()?;
                self.version = Some((text.to_owned(), version.clone()));
                Some(version)
            }
        }
    }

    fn tags(&mut self, text: &str) -> Option<Arc<[String]>> {
        if let Some(known) = self.tags.get(text) {
            return Some(Arc::clone(known));
        }
        let tags: Arc<[String]> = text.split('.').map(str::to_owned).collect();
        if tags.iter().any(String::is_empty) {
            return None;
        }
        self.tags.insert(text.to_owned(), Arc::clone(&tags));
        Some(tags)
    }
}

impl WheelFilename {
    /// How well this wheel fits `environment`, or why it does not.
    pub fn fit(&self, environment: &WheelEnvironment) -> Result<Fit, Incompatible> {
        let interpreter = self.interpreter_fit(environment.python)?;
        let platform = self.platform_fit(environment)?;
        Ok(Fit { python: interpreter, platform, build: self.build.clone() })
    }

    /// The best pair of python and ABI tag: `cp311-cp311` before `cp311-abi3` before older `abi3` before `py3-none`.
    fn interpreter_fit(&self, python: PythonVersion) -> Result<u32, Incompatible> {
        let own = python.cpython_tag();
        let mut best = None;
        let mut python_fits = false;
        for python_tag in self.python_tags.iter() {
            let Some((implementation, major, minor)) = split_python_tag(python_tag) else { continue };
            if major != python.major || minor.is_some_and(|minor| minor > python.minor) {
                continue;
            }
            let same_line = minor == Some(python.minor);
            let age = minor.map_or(99, |minor| python.minor - minor);
            for abi_tag in self.abi_tags.iter() {
                let score = match (implementation, abi_tag.as_str()) {
                    ("cp", abi) if same_line && abi == own => Some(1000),
                    ("cp", "abi3") if minor.is_some() => Some(900 - age),
                    ("cp", "none") if same_line || minor.is_none() => Some(700 - age),
                    ("py", "none") => Some(500 - age),
                    _ => None,
                };
                let of_this_line = match implementation {
                    "cp" => same_line || minor.is_none() || abi_tag == "abi3",
                    "py" => true,
                    _ => false,
                };
                python_fits |= of_this_line;
                best = best.max(score);
            }
        }
        best.ok_or(if python_fits { Incompatible::Abi } else { Incompatible::Python })
    }

    fn platform_fit(&self, environment: &WheelEnvironment) -> Result<u32, Incompatible> {
        let mut best = None;
        let mut glibc_needed: Option<(u32, u32)> = None;
        for tag in self.platform_tags.iter() {
            if tag == "any" {
                best = best.max(Some(0));
                continue;
            }
            let Some((needed, machine)) = split_linux_tag(tag) else { continue };
            if machine != machine_name(&environment.architecture) {
                continue;
            }
            if needed <= environment.glibc {
                best = best.max(Some(1 + needed.0 * 1000 + needed.1));
            } else {
                glibc_needed = Some(glibc_needed.map_or(needed, |known| known.min(needed)));
            }
        }
        best.ok_or(match glibc_needed {
            Some((major, minor)) => Incompatible::Glibc(major, minor),
            None => Incompatible::Platform,
        })
    }

    /// Oldest glibc that one of its tags for this machine (`x86_64`) runs on, `(0, 0)` if the tag does not tell; `None`
    /// if it has no tag for the machine.
    pub fn linux_glibc(&self, machine: &str) -> Option<(u32, u32)> {
        let tags = self.platform_tags.iter().filter_map(|tag| split_linux_tag(tag));
        tags.filter(|(_, tagged)| *tagged == machine).map(|(glibc, _)| glibc).min()
    }

    /// Whether it is for Linux on this machine: by a tag of its own, or for every machine.
    pub fn is_for(&self, machine: &str) -> bool {
        self.linux_glibc(machine).is_some() || self.platform_tags.iter().any(|tag| tag == "any")
    }

    /// Python lines of the `cpXY` tags, for messages like "wheels exist for 3.9 to 3.12". Empty for pure wheels.
    pub fn cpython_lines(&self) -> Vec<PythonVersion> {
        self.python_tags
            .iter()
            .filter_map(|tag| match split_python_tag(tag) {
                Some(("cp", major, Some(minor))) => Some(PythonVersion { major, minor }),
                _ => None,
            })
            .collect()
    }
}

/// `cp311` to `("cp", 3, Some(11))`; `py3` to `("py", 3, None)`.
fn split_python_tag(tag: &str) -> Option<(&str, u32, Option<u32>)> {
    let split = tag.find(|character: char| character.is_ascii_digit())?;
    let (implementation, digits) = tag.split_at(split);
    let major = digits.get(..1)?.parse().ok()?;
    let minor = match digits.get(1..)? {
        "" => None,
        text => Some(text.parse().ok()?),
    };
    Some((implementation, major, minor))
}

/// glibc needed and machine of a Linux platform tag; legacy names map as PEP 600 says; plain `linux_*` needs none known.
fn split_linux_tag(tag: &str) -> Option<((u32, u32), &str)> {
    if let Some(rest) = tag.strip_prefix("manylinux_") {
        let mut parts = rest.splitn(3, '_');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        return Some(((major, minor), parts.next()?));
    }
    for (prefix, glibc) in
        [("manylinux2014_", (2, 17)), ("manylinux2010_", (2, 12)), ("manylinux1_", (2, 5)), ("linux_", (0, 0))]
    {
        if let Some(machine) = tag.strip_prefix(prefix) {
            return Some((glibc, machine));
        }
    }
    None
}

/// `uname -m` of an OCI architecture, as wheel tags spell it.
pub fn machine_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python => f.write_str("made for other Python versions"),
            Self::Abi => f.write_str("made for another Python ABI"),
            Self::Platform => f.write_str("made for another platform"),
            Self::Glibc(major, minor) => write!(f, "needs glibc {major}.{minor} or newer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(filename: &str) -> Result<Fit, Incompatible> {
        let environment = WheelEnvironment {
            python: PythonVersion { major: 3, minor: 11 },
            architecture: "amd64".into(),
            glibc: (2, 36),
        };
        filename.parse::<WheelFilename>().expect("a wheel name").fit(&environment)
    }

    #[test]
    fn the_most_specific_wheel_wins() {
        let order = [
            "a-1-py2.py3-none-any.whl",
            "a-1-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1-cp38-abi3-manylinux_2_17_x86_64.whl",
            "a-1-cp311-abi3-manylinux_2_17_x86_64.whl",
            "a-1-cp311-cp311-manylinux_2_17_x86_64.whl",
            "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
            "a-1-2b-cp311-cp311-manylinux_2_28_x86_64.whl",
        ];
        for pair in order.windows(2) {
            assert!(fit(pair[0]).expect("fits") < fit(pair[1]).expect("fits"), "{pair:?}");
        }
    }

    #[test]
    fn says_why_a_wheel_does_not_fit() {
        assert_eq!(fit("a-1-cp312-cp312-manylinux_2_17_x86_64.whl"), Err(Incompatible::Python));
        assert_eq!(fit("a-1-cp310-cp310-manylinux_2_17_x86_64.whl"), Err(Incompatible::Python));
        assert_eq!(fit("a-1-cp311-cp311t-manylinux_2_17_x86_64.whl"), Err(Incompatible::Abi));
        assert_eq!(fit("a-1-cp311-cp311-manylinux_2_17_aarch64.whl"), Err(Incompatible::Platform));
        assert_eq!(fit("a-1-cp311-cp311-win_amd64.whl"), Err(Incompatible::Platform));
        assert_eq!(fit("a-1-cp311-cp311-manylinux_2_39_x86_64.whl"), Err(Incompatible::Glibc(2, 39)));
        assert_eq!(fit("a-1-cp312-abi3-manylinux_2_17_x86_64.whl"), Err(Incompatible::Python));
        assert_eq!(fit("a-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl"), Err(Incompatible::Python));
    }

    #[test]
    fn a_reader_of_many_names_reads_each_as_alone() {
        let mut reader = WheelReader::default();
        for name in [
            "a-1-py3-none-any.whl",
            "A-1-2b-py3-none-any.whl",
            "b-1_1-cp311-abi3-linux_x86_64.whl",
            "b-1-cp311-abi3-linux_x86_64.whl",
            "b-x!-py3-none-any.whl",
            "a-1-py3..py2-none-any.whl",
            "a-1-2-3-py3-none-any.whl",
            "a-1-py3-none-any.whl",
        ] {
            assert_eq!(reader.read(name), name.parse(), "{name}");
        }
    }

    #[test]
    fn rejects_names_that_are_no_wheels() {
        for name in [
            "a.whl",
            "a-1.tar.gz",
            "a-1-py3-none.whl",
            "a-x!-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a-1-b-py3-none-any.whl",
        ] {
            assert!(name.parse::<WheelFilename>().is_err(), "{name}");
        }
    }

    #[test]
    fn local_versions_and_names_are_normalised() {
        let name: WheelFilename = "Foo.Bar_baz-2.5.1+cu124-py3-none-any.whl".parse().expect("a wheel name");
        assert_eq!((name.name.as_str(), name.version.to_string().as_str()), ("foo-bar-baz", "2.5.1+cu124"));
    }
}
