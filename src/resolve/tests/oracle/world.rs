//! Random catalogs: a few cards, toolkits, bases and families, written out as the YAML that a catalog is read from.
//!
//! Values come from short lists, so that they collide: what makes a search hard is not many facts but facts that exclude
//! each other. Everything is kept as data, for the rules of the oracle to read and for a failing case to be readable.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(super) const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
pub(super) const PYTHONS: [&str; 3] = ["3.10", "3.11", "3.12"];
/// Releases of every family, oldest first; the last one is a release candidate.
pub(super) const RELEASES: [&str; 4] = ["1.0.0", "1.1.0", "2.0.0", "2.1.0rc1"];
pub(super) const FAMILIES: [&str; 3] = ["alpha", "beta", "gamma"];
pub(super) const CARDS: [&str; 3] = ["Ada", "Bell", "Curie"];
const CAPABILITIES: [&str; 5] = ["5.2", "7.5", "8.0", "8.6", "9.0"];
const GLIBCS: [&str; 4] = ["2.17", "2.31", "2.36", "2.41"];
/// Release and glibc.
const UBUNTUS: [(&str, &str); 2] = [("ubuntu 22.04", "2.35"), ("ubuntu 20.04", "2.31")];
pub(super) const DRIVERS: [&str; 5] = ["450.80", "470.10", "520.61", "530.30", "550.54"];
/// Kernel drivers of the other maker; nothing is known of the last one.
pub(super) const ROCM_DRIVERS: [&str; 4] = ["6.0", "6.1", "6.2", "5.9"];
const CUDNN: [&str; 4] = ["8.9.0.5", "9.1.0.60", "9.1.0.70", "9.5.0.10"];

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) cards: Vec<Card>,
    pub(super) toolkits: Vec<Toolkit>,
    /// CUDA major and the oldest driver of its machine code.
    pub(super) floors: Vec<(u64, &'static str)>,
    /// Oldest first.
    pub(super) pythons: Vec<&'static str>,
    pub(super) bases: Vec<Base>,
    /// The Python line in the archive of each of [`UBUNTUS`].
    pub(super) ubuntu_pythons: Vec<&'static str>,
    pub(super) families: Vec<Family>,
    /// Releases of cuDNN with the CUDA majors each is for.
    pub(super) cudnn: Vec<(&'static str, Vec<u64>)>,
    /// The first cuDNN without kernels for cards below a capability; what is older left older cards behind.
    pub(super) cudnn_floors: Vec<(&'static str, &'static str)>,
    /// Kernel drivers of the other maker with the ROCm releases they run.
    pub(super) rocm_drivers: Vec<(&'static str, Vec<&'static str>)>,
}

/// What a build asks of cuDNN: a release, or that and what follows in its major.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) version: &'static str,
    pub(super) or_newer: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) name: &'static str,
    /// `None` for a card of the other maker.
    pub(super) capability: Option<&'static str>,
    pub(super) gfx: &'static str,
    pub(super) last_branch: Option<u64>,
    pub(super) first_driver: Option<&'static str>,
    pub(super) is_datacenter: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Toolkit {
    pub(super) version: &'static str,
    pub(super) driver: &'static str,
    pub(super) capabilities: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cuda,
    Slim,
    Debian,
}

#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) kind: Kind,
    /// Suite, image or tag.
    pub(super) name: String,
    pub(super) os: &'static str,
    pub(super) glibc: &'static str,
    pub(super) python: Option<&'static str>,
    pub(super) toolkit: Option<&'static str>,
    pub(super) cudnn: Option<&'static str>,
    pub(super) has_compilers: bool,
    pub(super) platforms: Vec<&'static str>,
    /// Driver branches that its cuda-compat libraries help.
    pub(super) compat: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) releases: Vec<Release>,
}

#[derive(Debug, Clone)]
pub(super) struct Release {
    /// Index into [`RELEASES`].
    pub(super) version: usize,
    pub(super) is_yanked: bool,
    /// Oldest Python line of `requires_python`.
    pub(super) oldest_python: Option<&'static str>,
    /// Another family, and the releases of it that go with this one.
    pub(super) companion: Option<(&'static str, Vec<usize>)>,
    pub(super) builds: Vec<Build>,
}

#[derive(Debug, Clone)]
pub(super) struct Build {
    pub(super) name: &'static str,
    pub(super) toolkit: Option<&'static str>,
    pub(super) cudnn: Option<Need>,
    pub(super) rocm: Option<&'static str>,
    pub(super) sass: Vec<&'static str>,
    pub(super) ptx: Vec<&'static str>,
    pub(super) gfx: Vec<&'static str>,
    pub(super) is_default: bool,
    pub(super) has_own_index: bool,
    pub(super) needs_system_cuda: bool,
    pub(super) wheels: Vec<Wheels>,
}

#[derive(Debug, Clone)]
pub(super) struct Wheels {
    pub(super) platform: &'static str,
    pub(super) pythons: Vec<&'static str>,
    pub(super) glibc: &'static str,
    /// Whether they compute on the processor alone, whatever the build's name says.
    pub(super) is_cpu: bool,
}

impl World {
    pub(super) fn card(&self, name: &str) -> &Card {
        self.cards.iter().find(|card| card.name == name).expect("a card of this world")
    }

    pub(super) fn family(&self, name: &str) -> &Family {
        self.families.iter().find(|family| family.name == name).expect("a family of this world")
    }

    /// The Python line that can be put into a base from its archive, for one that carries none.
    pub(super) fn archive_python(&self, base: &Base) -> Option<&'static str> {
        let index = UBUNTUS.iter().position(|(os, _)| *os == base.os)?;
        self.ubuntu_pythons.get(index).copied()
    }

    /// The catalog's text.
    pub(super) fn to_yaml(&self) -> String {
        let mut text =
            "format: \"1.0.0\"\nrules:\n  - {name: ptx, fact: as everywhere, source: doc}\n  - {name: forward-compatibility, \
             fact: as everywhere, source: doc}\ngpus:\n"
                .to_owned();
        for card in &self.cards {
            let kind = match card.capability {
                Some(capability) => format!("vendor: nvidia, compute_capability: \"{capability}\""),
                None => format!("vendor: amd, gfx: {}", card.gfx),
            };
            let branch = card.last_branch.map(|branch| format!(", last_driver_branch: R{branch}")).unwrap_or_default();
            let first = card.first_driver.map(|first| format!(", minimum_driver: \"{first}\"")).unwrap_or_default();
            let class = if card.is_datacenter { "datacenter" } else { "consumer" };
            text += &format!("  - {{name: {}, {kind}, class: {class}{branch}{first}, source: doc}}\n", card.name);
        }
        text += "toolkits:\n";
        for Toolkit { version, driver, capabilities } in &self.toolkits {
            let capabilities = capabilities.join(" ");
            text += &format!(
                "  - {{version: \"{version}\", driver: \"{driver}\", compute_capabilities: \"{capabilities}\", source: doc}}\n"
            );
        }
        text += "driver_floors:\n";
        for (major, driver) in &self.floors {
            text += &format!("  - {{major: {major}, driver: \"{driver}\", source: doc}}\n");
        }
        text += &section("cudnn", &self.cudnn, |(version, majors)| {
            let majors: Vec<String> = majors.iter().map(u64::to_string).collect();
            format!("version: \"{version}\", cuda_majors: \"{}\"", majors.join(" "))
        });
        text += &section("cudnn_floors", &self.cudnn_floors, |(since, capability)| {
            format!("since: \"{since}\", compute_capability: \"{capability}\"")
        });
        text += &section("rocm_drivers", &self.rocm_drivers, |(driver, releases)| {
            format!("driver: \"{driver}\", user_space: \"{}\"", releases.join(" "))
        });
        text += "pythons:\n";
        for python in &self.pythons {
            text += &format!("  - {{version: \"{python}\", status: final, source: doc}}\n");
        }
        for (section, kind) in [("debian", Kind::Debian), ("slim_images", Kind::Slim), ("cuda_images", Kind::Cuda)] {
            let bases: String = self.bases.iter().filter(|base| base.kind == kind).map(Base::to_yaml).collect();
            if !bases.is_empty() {
                text += &format!("{section}:\n{bases}");
            }
        }
        text += "ubuntu:\n";
        for ((os, glibc), python) in UBUNTUS.iter().zip(&self.ubuntu_pythons) {
            let release = os.trim_start_matches("ubuntu ");
            text += &format!(
                "  - {{suite: u{release}, release: \"{release}\", python: \"{python}\", glibc: \"{glibc}\", source: doc}}\n"
            );
        }
        text += "frameworks:\n";
        for family in &self.families {
            text += &format!("  - family: {}\n    package: {}-wheel\n    releases:\n", family.name, family.name);
            for release in &family.releases {
                text += &release.to_yaml();
            }
        }
        text
    }
}

/// A list of the catalog, a line for each entry.
fn section<T>(name: &str, entries: &[T], line: impl Fn(&T) -> String) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = entries.iter().map(|entry| format!("  - {{{}, source: doc}}\n", line(entry))).collect();
    format!("{name}:\n{}", lines.concat())
}

impl Need {
    pub(super) fn to_text(self) -> String {
        format!("{}{}", if self.or_newer { ">=" } else { "" }, self.version)
    }
}

impl Base {
    fn to_yaml(&self) -> String {
        let Self { name, os, glibc, .. } = self;
        let python = self.python.unwrap_or_default();
        let platforms = self.platforms.join(" ");
        match self.kind {
            Kind::Debian => {
                let release = os.trim_start_matches("debian ");
                format!(
                    "  - {{suite: {name}, release: \"{release}\", python: \"{python}\", glibc: \"{glibc}\", source: doc}}\n"
                )
            }
            Kind::Slim => {
                let suite = name.rsplit('-').next().unwrap_or_default();
                format!(
                    "  - {{python: \"{python}\", suite: {suite}, reference: \"{name}\", platforms: {platforms}, source: doc}}\n"
                )
            }
            Kind::Cuda => {
                let toolkit = self.toolkit.unwrap_or_default();
                let cudnn = self.cudnn.map(|cudnn| format!("cudnn: \"{cudnn}\", ")).unwrap_or_default();
                let flavour = if self.has_compilers { "devel" } else { "runtime" };
                let flavour = if self.cudnn.is_some() { format!("cudnn-{flavour}") } else { flavour.to_owned() };
                let branches: Vec<String> = self.compat.iter().map(|branch| format!("R{branch}")).collect();
                let compat =
                    if branches.is_empty() { String::new() } else { format!("compat: {}, ", branches.join(" ")) };
                format!(
                    "  - {{toolkit: \"{toolkit}\", os: {os}, glibc: \"{glibc}\", {cudnn}{compat}flavours: {flavour}, platforms: {platforms}, source: doc}}\n"
                )
            }
        }
    }
}

impl Release {
    fn to_yaml(&self) -> String {
        let mut text = format!("      - version: \"{}\"\n        source: doc\n", RELEASES[self.version]);
        if self.is_yanked {
            text += "        yanked: true\n";
        }
        if let Some(oldest) = self.oldest_python {
            text += &format!("        requires_python: \">={oldest}\"\n");
        }
        if let Some((other, versions)) = &self.companion {
            let versions: Vec<&str> = versions.iter().map(|version| RELEASES[*version]).collect();
            text += &format!("        companions: {{{other}-wheel: \"{}\"}}\n", versions.join(" "));
        }
        text += "        builds:\n";
        for build in &self.builds {
            text += &build.to_yaml();
        }
        text
    }
}

impl Build {
    fn to_yaml(&self) -> String {
        let mut text = format!("          - name: {}\n            source: doc\n", self.name);
        let mut line = |key: &str, value: String| text += &format!("            {key}: {value}\n");
        if self.is_default {
            line("default", "true".to_owned());
        }
        if self.has_own_index {
            line("index", format!("own-{}", self.name));
        }
        if self.needs_system_cuda {
            line("needs_system_cuda", "true".to_owned());
        }
        let toolkit = self.toolkit.map(str::to_owned);
        let values =
            [("toolkit", toolkit), ("cudnn", self.cudnn.map(Need::to_text)), ("rocm", self.rocm.map(str::to_owned))];
        for (key, value) in values {
            if let Some(value) = value {
                line(key, format!("\"{value}\""));
            }
        }
        for (key, values) in [("sass", &self.sass), ("ptx", &self.ptx), ("gfx", &self.gfx)] {
            if !values.is_empty() {
                line(key, format!("\"{}\"", values.join(" ")));
            }
        }
        line("platforms", String::new());
        for Wheels { platform, pythons, glibc, is_cpu } in &self.wheels {
            let cpu = if *is_cpu { ", accelerator: cpu" } else { "" };
            let pythons = pythons.join(" ");
            text += &format!("              {platform}: {{pythons: \"{pythons}\", glibc: \"{glibc}\"{cpu}}}\n");
        }
        text
    }
}

fn some_of(list: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(list, least..=list.len())
}

fn card(name: &'static str) -> impl Strategy<Value = Card> {
    let capability = prop_oneof![5 => select(&CAPABILITIES[..]).prop_map(Some), 1 => Just(None)];
    let drivers = prop_oneof![
        3 => Just((None, None)),
        1 => select(&[450_u64, 470, 530][..]).prop_map(|branch| (Some(branch), None)),
        1 => select(&DRIVERS[1..]).prop_map(|first| (None, Some(first))),
    ];
    let is_datacenter = prop_oneof![3 => Just(true), 1 => Just(false)];
    (capability, select(&["gfx90a", "gfx942"][..]), drivers, is_datacenter).prop_map(
        move |(capability, gfx, drivers, is_datacenter)| {
            let (last_branch, first_driver) = if capability.is_some() { drivers } else { (None, None) };
            Card { name, capability, gfx, last_branch, first_driver, is_datacenter }
        },
    )
}

fn toolkits() -> impl Strategy<Value = Vec<Toolkit>> {
    const KNOWN: [(&str, &str); 4] =
        [("11.8.0", "520.61"), ("12.1.0", "530.30"), ("12.4.0", "550.54"), ("13.0.0", "580.10")];
    vec(some_of(&CAPABILITIES, 1), KNOWN.len()).prop_map(|lists| {
        let known = KNOWN.into_iter().zip(lists);
        known.map(|((version, driver), capabilities)| Toolkit { version, driver, capabilities }).collect()
    })
}

fn debian(name: &'static str, os: &'static str) -> impl Strategy<Value = Base> {
    (select(&GLIBCS[1..]), select(&PYTHONS[..])).prop_map(move |(glibc, python)| Base {
        kind: Kind::Debian,
        name: name.to_owned(),
        os,
        glibc,
        python: Some(python),
        toolkit: None,
        cudnn: None,
        has_compilers: false,
        platforms: PLATFORMS.to_vec(),
        compat: Vec::new(),
    })
}

/// Slim images on the suites of `debian`, as `(python, suite, platforms)`.
type SlimChoice = (&'static str, usize, Vec<&'static str>);

fn slim(choices: Vec<SlimChoice>, debian: &[Base]) -> Vec<Base> {
    let mut images: Vec<Base> = Vec::new();
    for (python, suite, platforms) in choices {
        let suite = &debian[suite % debian.len()];
        let name = format!("python:{python}-slim-{}", suite.name);
        if images.iter().all(|known| known.name != name) {
            images.push(Base { kind: Kind::Slim, name, python: Some(python), platforms, ..suite.clone() });
        }
    }
    images
}

fn cuda_image() -> impl Strategy<Value = Base> {
    (
        select(&["11.8.0", "12.1.0", "12.4.0"][..]),
        select(&UBUNTUS[..]),
        option::of(select(&["8.9.0.5", "9.1.0.70"][..])),
        any::<bool>(),
        some_of(&PLATFORMS, 1),
        subsequence(vec![450_u64, 470], 0..=2),
    )
        .prop_map(|(toolkit, (os, glibc), cudnn, has_compilers, platforms, compat)| {
            let flavour = if has_compilers { "devel" } else { "runtime" };
            let flavour = if cudnn.is_some() { format!("cudnn-{flavour}") } else { flavour.to_owned() };
            Base {
                kind: Kind::Cuda,
                name: format!("nvidia/cuda:{toolkit}-{flavour}-{}", os.replace(' ', "")),
                os,
                glibc,
                python: None,
                toolkit: Some(toolkit),
                cudnn,
                has_compilers,
                platforms,
                compat,
            }
        })
}

fn bases() -> impl Strategy<Value = Vec<Base>> {
    let debian = (debian("old", "debian 11"), debian("new", "debian 12"));
    let slim_choices = vec((select(&PYTHONS[..]), 0_usize..2, some_of(&PLATFORMS, 1)), 0..8);
    (debian, slim_choices, vec(cuda_image(), 0..6)).prop_map(|((old, new), slim_choices, cuda)| {
        let mut bases = vec![old, new];
        bases.extend(slim(slim_choices, &bases));
        for image in cuda {
            if bases.iter().all(|known| known.name != image.name) {
                bases.push(image);
            }
        }
        bases
    })
}

/// Mostly both.
fn platforms() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![1 => some_of(&PLATFORMS, 1), 3 => Just(PLATFORMS.to_vec())]
}

fn wheels(platform: &'static str) -> impl Strategy<Value = Wheels> {
    let is_cpu = prop_oneof![9 => Just(false), 1 => Just(true)];
    (some_of(&PYTHONS, 1), select(&GLIBCS[..]), is_cpu).prop_map(move |(pythons, glibc, is_cpu)| Wheels {
        platform,
        pythons,
        glibc,
        is_cpu,
    })
}

fn need() -> impl Strategy<Value = Need> {
    let pin = select(&["8.9.0.5", "9.1.0.70", "9.1.0.60"][..]).prop_map(|version| Need { version, or_newer: false });
    let range = select(&["8.9", "9.0", "9.1.0.65"][..]).prop_map(|version| Need { version, or_newer: true });
    prop_oneof![pin, range]
}

/// Some releases of cuDNN, each for some majors of CUDA.
fn cudnn() -> impl Strategy<Value = Vec<(&'static str, Vec<u64>)>> {
    let majors = prop_oneof![2 => Just(vec![11_u64, 12, 13]), 1 => subsequence(vec![11_u64, 12, 13], 1..=3)];
    (some_of(&CUDNN, 0), vec(majors, CUDNN.len()))
        .prop_map(|(versions, majors)| versions.into_iter().zip(majors).collect())
}

/// Newer releases leave newer cards behind.
fn cudnn_floors() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => Just(vec![("9.1.0.65", "7.5")]),
        1 => Just(vec![("9.5", "8.0")]),
        1 => Just(vec![("9.0", "6.0"), ("9.5", "8.6")]),
    ]
}

fn rocm_drivers() -> impl Strategy<Value = Vec<(&'static str, Vec<&'static str>)>> {
    let releases = some_of(&["5.7", "6.0", "6.1", "6.2", "6.3"], 1);
    vec(releases, 3).prop_map(|releases| ROCM_DRIVERS.into_iter().zip(releases).collect())
}

fn build() -> BoxedStrategy<Build> {
    const BUILDS: [(&str, Option<&str>); 7] = [
        ("cu118", Some("11.8")),
        ("cu121", Some("12.1")),
        ("cu124", Some("12.4")),
        ("cu130", Some("13.0")),
        ("rocm6.0", None),
        ("rocm6.2", None),
        ("cpu", None),
    ];
    let code = (some_of(&CAPABILITIES, 1), prop_oneof![2 => Just(Vec::new()), 1 => some_of(&CAPABILITIES, 1)]);
    let needs_system_cuda = prop_oneof![7 => Just(false), 1 => Just(true)];
    let wheels = (wheels(PLATFORMS[0]), wheels(PLATFORMS[1]), platforms());
    (
        select(&BUILDS[..]),
        option::of(need()),
        code,
        some_of(&["gfx90a", "gfx942"], 0),
        any::<bool>(),
        needs_system_cuda,
        wheels,
    )
        .prop_map(|((name, toolkit), cudnn, (sass, ptx), gfx, has_own_index, needs_system_cuda, wheels)| {
            let is_cuda = toolkit.is_some();
            let (amd64, arm64, platforms) = wheels;
            let wheels = [amd64, arm64].into_iter().filter(|wheels| platforms.contains(&wheels.platform));
            let is_rocm = name.starts_with("rocm");
            Build {
                name,
                toolkit,
                cudnn: cudnn.filter(|_| is_cuda),
                rocm: name.strip_prefix("rocm"),
                sass: if is_cuda { sass } else { Vec::new() },
                ptx: if is_cuda { ptx } else { Vec::new() },
                gfx: if is_rocm { gfx } else { Vec::new() },
                is_default: false,
                has_own_index,
                needs_system_cuda: needs_system_cuda && is_cuda,
                wheels: wheels.map(|wheels| Wheels { is_cpu: wheels.is_cpu && !is_rocm, ..wheels }).collect(),
            }
        })
        .boxed()
}

fn release(family: &'static str, version: usize) -> BoxedStrategy<Release> {
    let others: Vec<&'static str> = FAMILIES.into_iter().filter(|other| *other != family).collect();
    let companion = (select(others), subsequence(vec![0_usize, 1, 2, 3], 1..=3));
    let companion = prop_oneof![4 => Just(None), 1 => companion.prop_map(Some)];
    let is_yanked = prop_oneof![8 => Just(false), 1 => Just(true)];
    (is_yanked, option::weighted(0.2, select(&PYTHONS[..])), companion, vec(build(), 1..=4))
        .prop_map(move |(is_yanked, oldest_python, companion, choices)| {
            let mut builds: Vec<Build> = Vec::new();
            for build in choices {
                if builds.iter().all(|known| known.name != build.name) {
                    builds.push(build);
                }
            }
            // A plain requirement gives one build, and it is one of the default index.
            if let Some(default) = builds.iter_mut().find(|build| !build.has_own_index) {
                default.is_default = true;
            }
            Release { version, is_yanked, oldest_python, companion, builds }
        })
        .boxed()
}

/// One to four releases. Each may be left out by itself, so that a failing case shrinks to those that matter.
fn family(name: &'static str) -> impl Strategy<Value = Family> {
    let further = |version| option::weighted(0.7, release(name, version));
    (release(name, 0), further(1), further(2), further(3)).prop_map(move |(first, second, third, fourth)| {
        let further = [second, third, fourth].into_iter().flatten();
        Family { name, releases: std::iter::once(first).chain(further).collect() }
    })
}

/// A catalog of one to three families.
pub(super) fn world() -> impl Strategy<Value = World> {
    let families = (family(FAMILIES[0]), option::weighted(0.8, family(FAMILIES[1])), option::of(family(FAMILIES[2])))
        .prop_map(|(first, second, third)| [Some(first), second, third].into_iter().flatten().collect());
    let ubuntu_pythons = vec(select(&PYTHONS[..]), UBUNTUS.len());
    let libraries = (cudnn(), cudnn_floors(), rocm_drivers());
    (CARDS.map(card), toolkits(), bases(), ubuntu_pythons, some_of(&PYTHONS, 2), families, libraries).prop_map(
        |(cards, toolkits, bases, ubuntu_pythons, pythons, families, (cudnn, cudnn_floors, rocm_drivers))| World {
            cards: cards.into(),
            toolkits,
            floors: vec![(11, "450.80"), (12, "520.61"), (13, "580.10")],
            pythons,
            bases,
            ubuntu_pythons,
            families,
            cudnn,
            cudnn_floors,
            rocm_drivers,
        },
    )
}
