//! The bases an image can start from, as a table ordered from worst to best.
//!
//! Best is the smallest that works and needs nothing from outside: `debian`, assembled from signed packages, then a slim
//! image, then an `nvidia/cuda` image for what needs a toolkit in the system.

use pubgrub::Ranges;

use crate::catalog::{Catalog, CudaFlavour};
use crate::oci::Platform;
use crate::spec::{BaseChoice, Spec};
use crate::version::{CudnnVersion, Dotted, DriverBranch, PythonVersion, ToolkitVersion};

use super::evidence::{Code, Edge, Evidence};
use super::numbers::{python_value, zero};
use super::variable::{Value, Variable};

/// That of `manylinux_2_28`.
const ASSUMED_GLIBC: (u32, u32) = (2, 28);

/// One base.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseRow {
    /// `debian`, `slim`, `cuda` or `reference`.
    pub kind: &'static str,
    /// The Python line it carries; `None` if it carries none and any may be put in.
    pub python: Option<PythonVersion>,
    /// The line in the archive of its Ubuntu, for a base without a Python: what can be put in from there.
    pub archive_python: Option<PythonVersion>,
    /// Its glibc.
    pub glibc: Dotted,
    /// CUDA toolkit in it.
    pub toolkit: Option<ToolkitVersion>,
    /// cuDNN in it.
    pub cudnn: Option<CudnnVersion>,
    /// Driver branches below that of its toolkit which its `cuda-compat` serves on datacenter cards.
    pub compat: Vec<DriverBranch>,
    /// Whether it holds compilers and headers as well, several times the size of the libraries.
    pub development: bool,
    /// `debian`, `ubuntu`, or `unknown`.
    pub distribution: String,
    /// `12`, `22.04`.
    pub release: String,
    /// Debian suite for kind `debian`.
    pub suite: Option<String>,
    /// Image reference for the other kinds.
    pub reference: Option<String>,
    /// Platforms it exists for.
    pub platforms: Vec<Platform>,
    /// Citation.
    pub source: String,
}

/// The row of an image that a reference means: by its tag, or by one that leaves the suite or the flavour open, `python:3.12`.
fn known<'r>(reference: &str, rows: &'r [BaseRow]) -> Option<&'r BaseRow> {
    let name = reference.trim_start_matches("docker.io/").trim_start_matches("library/");
    let name = name.split('@').next().filter(|name| name.contains(':'))?;
    let is_meant =
        |known: &String| known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    rows.iter().rev().find(|row| row.reference.as_ref().is_some_and(is_meant))
}

/// A reference named in the spec, of an image that the catalog does not know: a base about which nothing is known but what the
/// spec says under `os:`. Without that the glibc of `manylinux_2_28` is assumed, the oldest that current wheels need.
fn named(reference: String, spec: &Spec, catalog: &Catalog, platforms: &[Platform]) -> BaseRow {
    let os = spec.os.as_ref().map(|os| &os.value);
    let suite = os.and_then(|os| {
        let suites = match os.distribution.as_str() {
            "debian" => catalog.bases.debian.as_slice(),
            "ubuntu" => catalog.bases.ubuntu.as_slice(),
            _ => &[],
        };
        let is_release = |text: &str| text.parse().is_ok_and(|release: Dotted| release.starts_with(&os.release));
        suites.iter().find(|suite| is_release(&suite.release))
    });
    BaseRow {
        kind: "reference",
        python: None,
        archive_python: None,
        glibc: glibc(suite.map_or(ASSUMED_GLIBC, |suite| suite.glibc)),
        toolkit: None,
        cudnn: None,
        compat: Vec::new(),
        development: false,
        distribution: os.map_or_else(|| "unknown".to_owned(), |os| os.distribution.clone()),
        release: os.map(|os| os.release.to_string()).unwrap_or_default(),
        suite: None,
        reference: Some(reference),
        platforms: platforms.to_vec(),
        source: suite.map_or_else(|| "spec".to_owned(), |suite| suite.source.clone()),
    }
}

/// All bases, worst first.
pub fn rows(spec: &Spec, catalog: &Catalog) -> Vec<BaseRow> {
    let both = vec![Platform::AMD64, Platform::ARM64];
    let mut rows = Vec::new();
    let mut images: Vec<_> = catalog.bases.cuda.iter().filter(|image| image.flavour != CudaFlavour::Base).collect();
    images.sort_by_cached_key(|&image| {
        let runtime = image.flavour == CudaFlavour::Runtime;
        (runtime, image.toolkit.dotted(), image.cudnn.is_none(), &image.os, &image.tag)
    });
    rows.extend(images.into_iter().map(|image| BaseRow {
        kind: "cuda",
        python: None,
        archive_python: catalog.bases.suite(&image.os).map(|suite| suite.python),
        glibc: glibc(image.glibc),
        toolkit: Some(image.toolkit.clone()),
        cudnn: image.cudnn.clone(),
        compat: image.compat.clone(),
        development: image.flavour == CudaFlavour::Devel,
        distribution: image.os.split(' ').next().unwrap_or_default().to_owned(),
        release: image.os.split(' ').nth(1).unwrap_or_default().to_owned(),
        suite: None,
        reference: Some(image.reference()),
        platforms: image.platforms.clone(),
        source: image.source.clone(),
    }));
    let suites = &catalog.bases.debian;
    let mut slim: Vec<_> = catalog
        .bases
        .slim
        .iter()
        .filter_map(|image| Some((suites.iter().find(|suite| suite.suite == image.suite)?, image)))
        .collect();
    slim.sort_by_key(|(suite, image)| (suite.glibc, image.python));
    rows.extend(slim.into_iter().map(|(suite, image)| BaseRow {
        kind: "slim",
        python: Some(image.python),
        archive_python: None,
        glibc: glibc(suite.glibc),
        toolkit: None,
        cudnn: None,
        compat: Vec::new(),
        development: false,
        distribution: "debian".to_owned(),
        release: suite.release.clone(),
        suite: None,
        reference: Some(image.reference.clone()),
        platforms: image.platforms.clone(),
        source: image.source.clone(),
    }));
    let mut suites: Vec<_> = suites.iter().collect();
    suites.sort_by_key(|suite| suite.glibc);
    rows.extend(suites.into_iter().map(|suite| BaseRow {
        kind: "debian",
        python: Some(suite.python),
        archive_python: None,
        glibc: glibc(suite.glibc),
        toolkit: None,
        cudnn: None,
        compat: Vec::new(),
        development: false,
        distribution: "debian".to_owned(),
        release: suite.release.clone(),
        suite: Some(suite.suite.clone()),
        reference: None,
        platforms: both.clone(),
        source: suite.source.clone(),
    }));
    if let BaseChoice::Reference(reference) = &spec.base.value {
        let reference = reference.to_string();
        let os = spec.os.as_ref().map(|os| &os.value);
        let image = known(&reference, &rows)
            .filter(|row| os.is_none_or(|os| row.is_os(&os.distribution, &os.release)))
            .map(|row| BaseRow { kind: "reference", reference: Some(reference.clone()), ..row.clone() });
        rows.insert(0, image.unwrap_or_else(|| named(reference, spec, catalog, &both)));
    }
    rows
}

fn glibc((major, minor): (u32, u32)) -> Dotted {
    format!("{major}.{minor}").parse().unwrap_or_else(|_| unreachable!("two numbers are a version"))
}

/// The spec's word for a choice.
pub fn choice_name(choice: &BaseChoice) -> String {
    match choice {
        BaseChoice::Auto => "auto".to_owned(),
        BaseChoice::Debian => "debian".to_owned(),
        BaseChoice::Slim => "slim".to_owned(),
        BaseChoice::Cuda => "cuda".to_owned(),
        BaseChoice::Reference(reference) => reference.to_string(),
    }
}

impl BaseRow {
    /// Whether the spec's `base:` allows this row.
    pub fn is_choice(&self, choice: &BaseChoice) -> bool {
        match choice {
            BaseChoice::Auto => self.kind != "reference",
            BaseChoice::Reference(_) => self.kind == "reference",
            BaseChoice::Debian => self.kind == "debian",
            BaseChoice::Slim => self.kind == "slim",
            BaseChoice::Cuda => self.kind == "cuda",
        }
    }

    /// Whether the base is this operating system; `ubuntu 22` takes 22.04.
    pub fn is_os(&self, distribution: &str, release: &Dotted) -> bool {
        let own: Option<Dotted> = self.release.parse().ok();
        self.distribution == distribution && own.is_some_and(|own| own.starts_with(release))
    }

    /// The toolkit as a value, 0 for none.
    pub fn toolkit_value(&self) -> Value {
        self.toolkit.as_ref().map_or_else(zero, |toolkit| Value::Number(toolkit.dotted().clone()))
    }

    /// The cuDNN as a value, 0 for none.
    pub fn cudnn_value(&self) -> Value {
        self.cudnn.as_ref().map_or_else(zero, |cudnn| Value::Number(cudnn.dotted().clone()))
    }

    /// `debian 12 (bookworm)`, `python:3.12-slim-bookworm`.
    pub fn label(&self) -> String {
        match (&self.suite, &self.reference) {
            (Some(suite), _) => format!("debian {} ({suite})", self.release),
            (None, Some(reference)) => reference.clone(),
            (None, None) => self.kind.to_owned(),
        }
    }

    /// What the image's config and lock call the operating system.
    pub fn os(&self) -> String {
        format!("{} {}", self.distribution, self.release).trim_end().to_owned()
    }

    /// Its glibc, as far as it is known.
    pub fn glibc_fact(&self) -> String {
        let (label, glibc) = (self.label(), &self.glibc);
        match (self.kind, self.source.as_str()) {
            ("reference", "spec") if self.release.is_empty() => {
                format!("nothing is known of base {label} without `os:`: glibc {glibc} is assumed")
            }
            ("reference", "spec") => {
                format!("nothing is known of {}, which base {label} is: glibc {glibc} is assumed", self.os())
            }
            ("reference", _) if self.python.is_none() && self.toolkit.is_none() => {
                format!("the spec says that base {label} is {}, which has glibc {glibc}", self.os())
            }
            _ => format!("base {label} has glibc {glibc}"),
        }
    }

    /// What choosing this base decides.
    pub fn edges(&self, platforms: &[Platform]) -> Vec<Edge> {
        let edge = |to, values, code, fact| Edge {
            to,
            values,
            evidence: Evidence { code, fact, source: self.source.clone(), origin: None },
        };
        let label = self.label();
        let mut edges = vec![
            edge(
                Variable::Glibc,
                Ranges::singleton(Value::Number(self.glibc.clone())),
                Code::GlibcTooOld,
                self.glibc_fact(),
            ),
            edge(
                Variable::Toolkit,
                Ranges::singleton(self.toolkit_value()),
                Code::NoSuchImage,
                match &self.toolkit {
                    Some(toolkit) => format!("base {label} has the CUDA toolkit {toolkit}"),
                    None => format!("base {label} has no CUDA toolkit"),
                },
            ),
        ];
        // Without a toolkit there is nothing that could use one, and the toolkit is what is missed.
        if self.toolkit.is_some() {
            edges.push(edge(
                Variable::SystemCudnn,
                Ranges::singleton(self.cudnn_value()),
                Code::CudnnMismatch,
                match &self.cudnn {
                    Some(cudnn) => format!("base {label} has cuDNN {cudnn}"),
                    None => format!("base {label} has no cuDNN"),
                },
            ));
        }
        if let Some(python) = self.python {
            edges.push(edge(
                Variable::Python,
                Ranges::singleton(python_value(python)),
                Code::NoSuchImage,
                format!("base {label} carries Python {python}"),
            ));
        }
        for platform in platforms {
            if !self.platforms.contains(platform) {
                edges.push(edge(
                    Variable::Platform(*platform),
                    Ranges::empty(),
                    Code::NoBuildForPlatform,
                    format!("base {label} does not exist for {platform}"),
                ));
            }
        }
        edges
    }
}
