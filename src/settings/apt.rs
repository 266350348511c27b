//! Mirrors of Debian that this machine's apt uses, if the machine is Debian itself.
//!
//! Only an entry that looks like the whole official archive counts: its path ends in `/debian` or `/debian-security` and
//! it has the component `main`. A vendor's repository or a dated snapshot is passed over. Both notations of sources.list(5)
//! are read; a line that cannot be understood counts for nothing, since apt itself is the one to complain.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::read_file;
use super::location::Root;
use super::{Environment, Error};

/// Roots by archive name: `debian`, `debian-security`. The first entry of each kind wins.
pub(super) fn mirrors(environment: &Environment) -> Result<BTreeMap<String, Root>, Error> {
    let mut mirrors = BTreeMap::new();
    let release = read_file(&environment.path("/etc/os-release"))?.unwrap_or_default();
    if !release.lines().any(|line| matches!(line.trim(), "ID=debian" | "ID=\"debian\"")) {
        return Ok(mirrors);
    }
    for path in files(environment) {
        let text = read_file(&path)?.unwrap_or_default();
        let entries = if path.extension().is_some_and(|extension| extension == "sources") {
            deb822_entries(&text)
        } else {
            text.lines().filter_map(one_line_entry).collect()
        };
        for entry in entries.iter().filter(|entry| entry.components.iter().any(|component| component == "main")) {
            for root in entry.uris.iter().filter_map(|uri| Root::parse(uri).ok()) {
                let last =
                    root.url.path_segments().and_then(|segments| segments.rev().find(|segment| !segment.is_empty()));
                if let Some(name @ ("debian" | "debian-security")) = last {
                    let name = name.to_owned();
                    mirrors.entry(name).or_insert(root);
                }
            }
        }
    }
    Ok(mirrors)
}

/// `sources.list`, then the parts in the order of their names, as apt reads them.
fn files(environment: &Environment) -> Vec<PathBuf> {
    let parts = std::fs::read_dir(environment.path("/etc/apt/sources.list.d"));
    let mut parts: Vec<PathBuf> = parts.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    parts.retain(|path| path.extension().is_some_and(|extension| extension == "list" || extension == "sources"));
    parts.sort();
    parts.insert(0, environment.path("/etc/apt/sources.list"));
    parts
}

struct Entry {
    uris: Vec<String>,
    components: Vec<String>,
}

/// `deb [option=value ...] uri suite component ...`
fn one_line_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = line.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    Some(Entry { uris: vec![uri], components: words.skip(1).collect() })
}

/// Stanzas of `Types:`, `URIs:`, `Suites:`, `Components:`.
fn deb822_entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut stanza: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut field = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            let mut take = |name: &str| stanza.remove(name).unwrap_or_default();
            let enabled = !take("enabled").iter().any(|word| matches!(word.as_str(), "no" | "false" | "0" | "off"));
            if enabled && take("types").iter().any(|word| word == "deb") {
                entries.push(Entry { uris: take("uris"), components: take("components") });
            }
            stanza.clear();
            continue;
        }
        let value = if line.starts_with([' ', '\t']) {
            line
        } else {
            let Some((name, value)) = line.split_once(':') else { continue };
            field = name.to_ascii_lowercase();
            value
        };
        stanza.entry(field.clone()).or_default().extend(value.split_whitespace().map(str::to_owned));
    }
    entries
}
