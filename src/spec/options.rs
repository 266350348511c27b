//! Options of requirements files: the hashes behind a requirement, and the way out for what is refused.

use std::ops::Range;

use super::error::Problem;
use crate::oci::Digest;

/// A requirement's line, split where its options start.
pub(super) struct Split<'a> {
    /// The requirement.
    pub(super) requirement: &'a str,
    /// The hashes that a file may have; empty if the line names none.
    pub(super) digests: Vec<Digest>,
}

/// Reads the options behind a requirement; on failure the bytes of `line` to blame. pip takes sha256, sha384 and sha512.
/// Any one of a line's hashes suffices there, so those of other kinds may be left out where a sha256 stands beside them.
pub(super) fn split(line: &str) -> Result<Split<'_>, (Problem, Range<usize>)> {
    let start = line.match_indices("--").map(|(at, _)| at).find(|&at| line[..at].ends_with([' ', '\t']));
    let Some(start) = start else { return Ok(Split { requirement: line, digests: Vec::new() }) };
    let mut digests = Vec::new();
    let mut other_kind = None;
    let mut at = start;
    while let Some((word, range)) = word(line, at) {
        at = range.end;
        let (option, argument) = word.split_once('=').map_or((word, None), |(option, hash)| (option, Some(hash)));
        if option != "--hash" {
            let problem = Problem::RequirementsOption { option: option.to_owned(), help: help(option, "") };
            return Err((problem, range.start..range.start + option.len()));
        }
        let (hash, place) = match argument {
            Some(hash) => (hash, range.end - hash.len()..range.end),
            None => self::word(line, at).unwrap_or(("", range)),
        };
        at = place.end;
        match hash.split_once(':') {
            Some(("sha256", hex)) => match Digest::from_hex(&hex.to_lowercase()) {
                Ok(digest) => digests.push(digest),
                Err(_) => return Err((malformed(hash, "a sha256 has 64 hexadecimal digits"), place)),
            },
            Some(("sha384" | "sha512", _)) => other_kind = Some((hash, place)),
            _ => return Err((malformed(hash, "it is written `sha256:` and 64 hexadecimal digits"), place)),
        }
    }
    match other_kind {
        Some((hash, place)) if digests.is_empty() => {
            Err((malformed(hash, "files are known by their sha256, and none stands here"), place))
        }
        _ => Ok(Split { requirement: line[..start].trim_end(), digests }),
    }
}

/// The word from `at` on, and its place.
fn word(line: &str, at: usize) -> Option<(&str, Range<usize>)> {
    let rest = line.get(at..)?;
    let start = at + rest.find(|c: char| !c.is_whitespace())?;
    let end = line[start..].find(char::is_whitespace).map_or(line.len(), |length| start + length);
    Some((&line[start..end], start..end))
}

fn malformed(hash: &str, reason: &str) -> Problem {
    Problem::Malformed {
        kind: "the hash of a file",
        text: hash.to_owned(),
        reason: reason.to_owned(),
        help: vec!["`pip hash FILE` prints it".to_owned()],
    }
}

/// What to do instead of an option. `argument` is what follows it.
pub(super) fn help(option: &str, argument: &str) -> String {
    match option {
        "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" => match framework_build(argument) {
            Some(build) => format!(
                "builds of a framework have their index by themselves: write `frameworks: {{pytorch: {{build: {build}}}}}`"
            ),
            None => {
                "name the index under `indexes` in the spec, with the packages that it may serve; the default index is a \
                 setting of the machine"
                    .to_owned()
            }
        },
        "--no-index" | "--trusted-host" => "where indexes are, and how they are spoken to, is a setting of the machine".to_owned(),
        "-e" | "--editable" => {
            "build a wheel (`pip wheel --no-deps FOLDER`) and name it as `NAME @ file:FOLDER/FILE.whl`, or copy the folder \
             with `files`"
                .to_owned()
        }
        "--no-binary" => "only wheels are installed: build one, and name it as `NAME @ file:FOLDER/FILE.whl`".to_owned(),
        "--global-option" | "--config-settings" | "--config-setting" => {
            "it is for builds from source, and only wheels are installed: remove it".to_owned()
        }
        "--pre" => "allow a pre-release where it is wanted, as in `package>=2.0rc1`".to_owned(),
        _ => "remove the option".to_owned(),
    }
}

/// `cu121` at the end of the address of a framework's own index.
fn framework_build(address: &str) -> Option<&str> {
    let address = address.split(['?', '#']).next()?.trim_end_matches('/');
    let (rest, last) = address.rsplit_once('/')?;
    let is_build = |word: &str, prefix: &str| {
        word.strip_prefix(prefix).is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_torch = rest.contains("pytorch") || rest.ends_with("/whl");
    (is_torch && (last == "cpu" || is_build(last, "cu") || is_build(last, "rocm"))).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_are_read_behind_the_requirement() {
        let (one, other) = ("0".repeat(64), "AB".repeat(32));
        let line = format!("a==1 ; os_name == 'x'   --hash=sha256:{one} \t --hash sha256:{other} --hash=sha512:00");
        let split = split(&line).map_err(|(problem, _)| problem).expect("readable");
        assert_eq!(split.requirement, "a==1 ; os_name == 'x'");
        let hex: Vec<String> = split.digests.iter().map(Digest::hex).collect();
        assert_eq!(hex, [one, other.to_lowercase()]);
    }

    #[test]
    fn the_wrong_word_is_blamed() {
        let blamed = |line: &'static str| split(line).err().map(|(_, range)| &line[range]);
        assert_eq!(blamed("a==1 --hash=sha256:00"), Some("sha256:00"));
        assert_eq!(blamed("a==1 --hash md5:00"), Some("md5:00"));
        assert_eq!(blamed("a==1 --hash=sha512:00"), Some("sha512:00"));
        assert_eq!(blamed("a==1 --hash"), Some("--hash"));
        assert_eq!(blamed("a==1 --global-option=x"), Some("--global-option"));
        assert_eq!(blamed("a--b==1"), None);
    }

    #[test]
    fn an_index_of_builds_is_told_from_others() {
        assert_eq!(framework_build("https://packages.example.com/whl/cu121/"), Some("cu121"));
        assert_eq!(framework_build("https://pytorch.example.com/rocm6.2"), Some("rocm6.2"));
        assert_eq!(framework_build("https://packages.example.com/simple"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "[a=é -]{0,8}(--hash[= ]{0,2}(sha256|sha512|é)?:?[0-9a-f]{0,4}[ \t]?){0,3}.{0,6}") {
            if let Err((_, range)) = split(&line) {
                prop_assert!(line.get(range).is_some());
            }
        }
    }
}
