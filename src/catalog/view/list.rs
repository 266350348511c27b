//! `imgforge catalog list KIND`.

use pep440_rs::Version;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::framework::Framework;
use super::super::{AttachableGpu, Catalog, Gpu, Instance};
use super::table::{glibc, join, mark, optional, spell, table};
use super::{Error, Kind, View, images};
use crate::diagnostic::suggestion;

/// Which entries to list, where the kind has what is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Instances of this cloud.
    pub cloud: Option<String>,
    /// Instances with this card, by any of its names.
    pub gpu: Option<String>,
}

impl Filter {
    fn allows(&self, catalog: &Catalog, cloud: &str, gpu: Option<&str>) -> bool {
        let name = |gpu: &str| catalog.gpu(gpu).map_or_else(|| gpu.to_owned(), |gpu| gpu.name.clone());
        let right_cloud = self.cloud.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(cloud));
        let right_gpu = self.gpu.as_ref().is_none_or(|wanted| gpu.is_some_and(|gpu| name(gpu) == name(wanted)));
        right_cloud && right_gpu
    }
}

/// All entries of a kind that the filter allows. Only instances can be filtered.
pub fn list(catalog: &Catalog, kind: Kind, filter: &Filter) -> Result<View, Error> {
    if *filter != Filter::default() && kind != Kind::Instances {
        let kind = Kind::ALL.into_iter().find(|(_, known)| *known == kind).map_or("entries", |(word, _)| word);
        return Err(Error::NoFilter { kind });
    }
    if let Some(gpu) = filter.gpu.as_ref().filter(|gpu| catalog.gpu(gpu).is_none()) {
        let suggestion = suggestion(gpu, catalog.gpu_names()).map(str::to_owned);
        return Err(Error::UnknownName { kind: "card", name: gpu.clone(), suggestion });
    }
    if let Some(cloud) =
        filter.cloud.as_ref().filter(|cloud| !catalog.clouds().iter().any(|c| c.eq_ignore_ascii_case(cloud)))
    {
        let suggestion = suggestion(cloud, catalog.clouds()).map(str::to_owned);
        return Err(Error::UnknownName { kind: "cloud", name: cloud.clone(), suggestion });
    }
    Ok(match kind {
        Kind::Gpus => {
            let row = |gpu: &Gpu| {
                vec![gpu.name.clone(), architecture(gpu), spell(gpu.class), drivers(gpu), mark(gpu.unverified)]
            };
            view(&["card", "architecture", "class", "drivers", ""], catalog.gpus.iter().map(row), &catalog.gpus)
        }
        Kind::Instances => {
            let allowed = |instance: &&Instance| filter.allows(catalog, &instance.cloud, instance.gpu.as_deref());
            let instances: Vec<&Instance> = catalog.instances.iter().filter(allowed).collect();
            let mut rows: Vec<Vec<String>> = instances.iter().map(|instance| machine(instance)).collect();
            let attachable: Vec<&AttachableGpu> = catalog
                .attachable_gpus
                .iter()
                .filter(|gpu| filter.allows(catalog, &gpu.cloud, Some(&gpu.gpu)))
                .collect();
            for family in &catalog.machine_families {
                for gpu in attachable.iter().filter(|gpu| family.attachable.contains(&gpu.name)) {
                    let name = format!("{}/{}*+{}", family.cloud, family.prefix, gpu.name);
                    rows.push(vec![
                        name,
                        gpu.gpu.clone(),
                        join(&gpu.counts, ", "),
                        family.platform.to_string(),
                        String::new(),
                    ]);
                }
            }
            let header = ["instance", "card", "count", "platform", ""];
            let json = json!({
                "instances": instances,
                "machine_families": catalog.machine_families,
                "attachable_gpus": attachable,
            });
            View { text: table(&header, rows), json }
        }
        Kind::Cuda => {
            let rows = catalog.cuda.toolkits.iter().map(|toolkit| {
                let floor = catalog.floor(toolkit.version.major()).map(|floor| floor.driver.to_string());
                let (first, last) = (toolkit.compute_capabilities.first(), toolkit.compute_capabilities.last());
                vec![
                    toolkit.version.to_string(),
                    floor.unwrap_or_default(),
                    optional(toolkit.driver.as_ref()),
                    format!("{} to {}", optional(first), optional(last)),
                    mark(toolkit.unverified),
                ]
            });
            view(&["toolkit", "driver", "driver for PTX", "compute capability", ""], rows, &catalog.cuda)
        }
        Kind::Frameworks => {
            let rows = catalog.frameworks.iter().map(|framework| {
                let newest = framework.releases.first();
                let builds: Vec<&str> =
                    newest.iter().flat_map(|release| &release.builds).map(|build| build.name.as_str()).collect();
                vec![
                    framework.family.clone(),
                    framework.package.clone(),
                    framework.releases.len().to_string(),
                    optional(newest.map(|release| &release.version)),
                    builds.join(", "),
                ]
            });
            let summary: Vec<Value> = catalog.frameworks.iter().map(summary).collect();
            View { text: table(&["family", "package", "releases", "newest", "its builds"], rows), json: json!(summary) }
        }
        Kind::Pythons => {
            let rows = catalog.pythons.iter().map(|line| {
                let eol = line.eol.clone().unwrap_or_default();
                vec![line.version.to_string(), spell(line.status), eol, mark(line.unverified)]
            });
            view(&["python", "status", "end of life", ""], rows, &catalog.pythons)
        }
        Kind::Bases => bases(catalog),
        Kind::Images => images::list(catalog),
        Kind::Services => {
            let rows = catalog.services.iter().map(|service| {
                let tag = service.default_tag.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default();
                let image = format!("{}{tag}", service.image);
                vec![service.name.clone(), image, service.port.to_string(), mark(service.unverified)]
            });
            view(&["service", "image", "port", ""], rows, &catalog.services)
        }
        Kind::Rules => {
            let rows = catalog.rules.iter().map(|rule| vec![rule.name.clone(), rule.fact.clone()]);
            view(&["rule", "fact"], rows, &catalog.rules)
        }
    })
}

fn bases(catalog: &Catalog) -> View {
    let mut rows = Vec::new();
    for (distribution, suites) in [("debian", &catalog.bases.debian), ("ubuntu", &catalog.bases.ubuntu)] {
        for suite in suites {
            let name = format!("{distribution} {} {}", suite.release, suite.suite);
            rows.push(vec![name, suite.python.to_string(), glibc(suite.glibc), String::new(), mark(suite.unverified)]);
        }
    }
    for image in &catalog.bases.slim {
        let libc = catalog.bases.debian.iter().find(|suite| suite.suite == image.suite).map(|suite| glibc(suite.glibc));
        let python = image.python.to_string();
        rows.push(vec![
            image.reference.clone(),
            python,
            libc.unwrap_or_default(),
            String::new(),
            mark(image.unverified),
        ]);
    }
    for image in &catalog.bases.cuda {
        let python = catalog.bases.suite(&image.os).map(|suite| suite.python.to_string()).unwrap_or_default();
        let cuda = match &image.cudnn {
            Some(cudnn) => format!("{}, cuDNN {cudnn}", image.toolkit),
            None => image.toolkit.to_string(),
        };
        let note = if image.end_of_life { "end of life".to_owned() } else { mark(image.unverified) };
        rows.push(vec![image.reference(), python, glibc(image.glibc), cuda, note]);
    }
    view(&["base", "python", "glibc", "cuda", ""], rows, &catalog.bases)
}

/// A family with the numbers of its releases, without their builds.
pub(super) fn summary(framework: &Framework) -> Value {
    let versions: Vec<&Version> = framework.releases.iter().map(|release| &release.version).collect();
    json!({
        "family": framework.family,
        "package": framework.package,
        "companions": framework.companions,
        "releases": versions,
    })
}

fn machine(instance: &Instance) -> Vec<String> {
    let count = if instance.fractional { "part of one".to_owned() } else { instance.gpu_count.to_string() };
    vec![
        format!("{}/{}", instance.cloud, instance.name),
        instance.gpu.clone().unwrap_or_default(),
        count,
        instance.platform.to_string(),
        mark(instance.unverified),
    ]
}

pub(super) fn architecture(gpu: &Gpu) -> String {
    gpu.compute_capability.as_ref().map(ToString::to_string).or_else(|| gpu.gfx.clone()).unwrap_or_default()
}

pub(super) fn drivers(gpu: &Gpu) -> String {
    match (&gpu.minimum_driver, gpu.last_driver_branch) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        (Some(first), None) => format!("from {first}"),
        (None, Some(last)) => format!("up to {last}"),
        (None, None) => String::new(),
    }
}

fn view(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, entries: &impl Serialize) -> View {
    View { text: table(header, rows), json: json!(entries) }
}
