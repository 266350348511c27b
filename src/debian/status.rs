//! dpkg's database: what a base image has, and the record of what was put in (`/var/lib/dpkg`), so that `dpkg -l`,
//! `dpkg -L` and scanners see the packages.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::deb::ControlFiles;
use super::relation::RelationGroup;
use super::resolve::InstalledPackage;
use super::stanza::{Stanza, StanzaReader};

/// Packages that a `status` file lists as installed for an architecture. Entries that cannot be read are passed over.
pub fn installed_packages(status: &[u8], architecture: &str) -> Vec<InstalledPackage> {
    let mut packages = Vec::new();
    for stanza in StanzaReader::new(status).map_while(Result::ok) {
        let field = |name: &str| stanza.get(name).unwrap_or_default().replace('\n', " ");
        let fits = matches!(field("Architecture").as_str(), "all") || field("Architecture") == architecture;
        let (Ok(version), true, true) = (field("Version").parse(), is_installed(&stanza), fits) else { continue };
        let list = |name: &str| RelationGroup::parse_list(&field(name), architecture);
        let groups = |name: &str| RelationGroup::parse_field(&field(name), architecture);
        packages.push(InstalledPackage {
            name: field("Package"),
            version,
            provides: list("Provides"),
            depends: [groups("Pre-Depends"), groups("Depends")].concat(),
            conflicts: [list("Conflicts"), list("Breaks")].concat(),
        });
    }
    packages
}

fn is_installed(stanza: &Stanza) -> bool {
    stanza.get("Status").is_some_and(|status| status.ends_with(" installed"))
}

/// The `status` text: entries of `before` that were not replaced, as they were, and one for each of `packages`; sorted.
pub(super) fn status_text(before: Option<&[u8]>, packages: &[&ControlFiles]) -> String {
    let mut entries: BTreeMap<(String, String), String> = BTreeMap::new();
    let key = |stanza: &Stanza| {
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        (field("Package"), field("Architecture"))
    };
    for stanza in before.into_iter().flat_map(StanzaReader::new).map_while(Result::ok) {
        entries.insert(key(&stanza), entry_text(&stanza, None));
    }
    for package in packages {
        let (name, architecture) = key(&package.control);
        // A package may change between `all` and an architecture; it is installed once all the same.
        entries.retain(|(other, other_architecture), _| {
            *other != name
                || *other_architecture != architecture && *other_architecture != "all" && architecture != "all"
        });
        entries.insert((name, architecture), entry_text(&package.control, Some("install ok installed")));
    }
    entries.into_values().collect::<Vec<_>>().join("\n")
}

fn entry_text(stanza: &Stanza, status: Option<&str>) -> String {
    let mut text = String::new();
    for (name, value) in stanza.fields() {
        let blank = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
        let _ = writeln!(text, "{name}:{blank}{value}");
        if let (Some(status), true) = (status, name.eq_ignore_ascii_case("Package")) {
            let _ = writeln!(text, "Status: {status}");
        }
    }
    text
}

/// Name under which dpkg files a package's records: with the architecture if several may be installed side by side.
pub(super) fn record_name(control: &Stanza) -> String {
    let name = control.get("Package").unwrap_or_default();
    match control.get("Multi-Arch") {
        Some("same") => format!("{name}:{}", control.get("Architecture").unwrap_or_default()),
        _ => name.to_owned(),
    }
}

/// Whether `package` fulfils one of `replaces`, the relations of another package's `Replaces` field.
pub(super) fn replaces(replacing: &Stanza, package: &Stanza, architecture: &str) -> bool {
    let field = |stanza: &Stanza, name: &str| stanza.get(name).unwrap_or_default().replace('\n', " ");
    let Ok(version) = field(package, "Version").parse() else { return false };
    RelationGroup::parse_list(&field(replacing, "Replaces"), architecture)
        .iter()
        .any(|relation| Some(relation.name.as_str()) == package.get("Package") && relation.allows(&version))
}

/// Whether `before` does not have a package, so that its scripts would see a first installation.
pub(super) fn is_new(before: Option<&[u8]>, name: &str) -> bool {
    let Some(before) = before else { return true };
    !StanzaReader::new(before)
        .map_while(Result::ok)
        .any(|stanza| stanza.get("Package") == Some(name) && is_installed(&stanza))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(text: &str) -> ControlFiles {
        ControlFiles { control: Stanza::parse(text.as_bytes()).expect("readable"), ..ControlFiles::default() }
    }

    #[test]
    fn replaces_and_adds_entries_in_order() {
        let before = b"Package: b\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n\
                       Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nDescription: short\n long\n";
        let new = [
            control("Package: b\nVersion: 2\nArchitecture: amd64\n"),
            control("Package: c\nVersion: 1\nArchitecture: all\n"),
        ];
        assert_eq!(
            status_text(Some(before), &[&new[0], &new[1]]),
            "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nDescription: short\n long\n\n\
             Package: b\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\n\n\
             Package: c\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
        );
        assert!(is_new(Some(before), "c") && !is_new(Some(before), "a"));
    }

    #[test]
    fn reads_what_is_installed() {
        let status =
            b"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nDepends: b, c | d\n\n\
                       Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n\
                       Package: foreign\nStatus: install ok installed\nVersion: 1\nArchitecture: i386\n";
        let packages = installed_packages(status, "amd64");
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].depends.len()), ("a", 2));
    }

    #[test]
    fn replaces_by_version() {
        let old = control("Package: old\nVersion: 1.5\n").control;
        let replacing = |bound: &str| control(&format!("Package: new\nReplaces: other, old{bound}\n")).control;
        assert!(replaces(&replacing(""), &old, "amd64"));
        assert!(replaces(&replacing(" (<< 2)"), &old, "amd64"));
        assert!(!replaces(&replacing(" (<< 1.5)"), &old, "amd64"));
    }
}
