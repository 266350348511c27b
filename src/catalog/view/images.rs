//! What `nvidia/cuda` has: by operating system, and of one that is no base here, tag by tag.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Catalog, OtherSystem};
use super::View;
use super::hardware::add;
use super::table::{fields, glibc, join, mark, optional, sources, spell, table};
use crate::version::ToolkitVersion;

/// What there is on one system.
#[derive(Default)]
struct OnSystem<'c> {
    /// Whether images have cuDNN, by toolkit.
    toolkits: BTreeMap<&'c ToolkitVersion, bool>,
    platforms: Vec<String>,
}

impl<'c> OnSystem<'c> {
    fn add(&mut self, toolkit: &'c ToolkitVersion, flavour: &str) {
        *self.toolkits.entry(toolkit).or_default() |= flavour.contains("cudnn");
    }

    fn add_platforms(&mut self, platforms: &[crate::oci::Platform]) {
        for platform in platforms.iter().map(ToString::to_string) {
            if !self.platforms.contains(&platform) {
                self.platforms.push(platform);
            }
        }
    }

    fn row(&self, os: &str, is_base: bool, note: String) -> Vec<String> {
        let (oldest, newest) = (self.toolkits.keys().next(), self.toolkits.keys().next_back());
        let with_cudnn = self.toolkits.values().filter(|with| **with).count();
        vec![
            os.to_owned(),
            if is_base { "yes" } else { "no" }.to_owned(),
            if oldest == newest { optional(newest) } else { format!("{} to {}", optional(oldest), optional(newest)) },
            self.toolkits.len().to_string(),
            with_cudnn.to_string(),
            join(&self.platforms, " "),
            note,
        ]
    }

    fn json(&self, os: &str, is_base: bool) -> Value {
        json!({
            "os": os, "base": is_base, "toolkits": self.toolkits.keys().rev().collect::<Vec<_>>(),
            "with_cudnn": self.toolkits.iter().rev().filter(|(_, with)| **with).map(|(toolkit, _)| toolkit).collect::<Vec<_>>(),
            "platforms": self.platforms,
        })
    }
}

/// `list images`: a line for each system, bases first.
pub(super) fn list(catalog: &Catalog) -> View {
    let mut bases: BTreeMap<&str, OnSystem<'_>> = BTreeMap::new();
    for image in &catalog.bases.cuda {
        let system = bases.entry(&image.os).or_default();
        system.add(&image.toolkit, &image.tag);
        system.add_platforms(&image.platforms);
    }
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (os, system) in bases.iter().rev() {
        rows.push(system.row(os, true, String::new()));
        entries.push(system.json(os, true));
    }
    for other in &catalog.other_systems {
        let mut system = OnSystem::default();
        for images in &other.images {
            for toolkit in &images.toolkits {
                images.flavours.iter().for_each(|flavour| system.add(toolkit, flavour));
            }
            system.add_platforms(&images.platforms);
        }
        rows.push(system.row(&other.os, false, mark(other.unverified)));
        let mut entry = system.json(&other.os, false);
        add(&mut entry, [("reason", json!(other.reason())), ("images", json!(other.images))]);
        entries.push(entry);
    }
    let header = ["nvidia/cuda on", "base", "toolkits", "number", "with cudnn", "platforms", ""];
    View { text: table(&header, rows), json: json!(entries) }
}

/// `show rockylinux 9`.
pub(super) fn system(catalog: &Catalog, other: &OtherSystem) -> View {
    let bases: Vec<String> = catalog.bases.ubuntu.iter().map(|suite| format!("ubuntu {}", suite.release)).collect();
    let mut text = fields(&[
        ("system", other.os.clone()),
        ("base", format!("no: {}, {}", other.os, other.reason())),
        ("instead", bases.join(", ")),
        ("packages", spell(other.packages)),
        ("glibc", other.glibc.map(glibc).unwrap_or_default()),
        ("tags", format!("nvidia/cuda:TOOLKIT-FLAVOUR-{}", other.suffix())),
        ("unverified", super::table::unconfirmed(other.unverified)),
    ]);
    let rows = other.toolkits().into_iter().flat_map(|toolkit| {
        let own = other.images.iter().filter(move |images| images.toolkits.contains(toolkit));
        own.map(move |images| {
            let ends = if other.end_of_life.contains(toolkit) { "end of life" } else { "" };
            vec![toolkit.to_string(), join(&images.flavours, " "), join(&images.platforms, " "), ends.to_owned()]
        })
    });
    text += &format!("\n{}", table(&["toolkit", "flavours", "platforms", ""], rows));
    text += &format!("\n{}", sources([other.source.as_str()]));
    let mut json = json!(other);
    add(&mut json, [("base", json!(false)), ("reason", json!(other.reason())), ("instead", json!(bases))]);
    View { text, json }
}
