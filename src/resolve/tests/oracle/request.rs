//! Random specs over a random catalog, as data and as the text of a `spec.yaml`.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::world::{CARDS, DRIVERS, FAMILIES, PLATFORMS, ROCM_DRIVERS, World};

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) targets: Vec<Target>,
    pub(super) platforms: Vec<&'static str>,
    /// A line, `>=` a line, or `<` a line.
    pub(super) python: Option<(Operator, &'static str)>,
    /// In the order of the file.
    pub(super) frameworks: Vec<Framework>,
    pub(super) cuda: Option<&'static str>,
    pub(super) cudnn: Option<&'static str>,
    pub(super) os: Option<&'static str>,
    pub(super) base: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    AtLeast,
    Below,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Cpu,
    Card { name: &'static str, driver: Option<String>, platform: Option<&'static str> },
}

#[derive(Debug, Clone)]
pub(super) struct Framework {
    pub(super) family: &'static str,
    pub(super) range: Option<&'static Range>,
    pub(super) build: Option<&'static str>,
}

impl Target {
    fn card(&self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Card { name, .. } => Some(name),
        }
    }
}

/// A range of versions: its text, what it takes of [`RELEASES`](super::world::RELEASES), and what it names.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) text: &'static str,
    pub(super) takes: [bool; 4],
    /// One version in full, which may then be a withdrawn one.
    pub(super) is_exact: bool,
    /// A pre-release is named, so pre-releases count.
    pub(super) names_prerelease: bool,
}

const fn range(text: &'static str, takes: [bool; 4]) -> Range {
    Range { text, takes, is_exact: false, names_prerelease: false }
}

static RANGES: [Range; 8] = [
    range(">=0.1", [true, true, true, true]),
    range(">=1.1", [false, true, true, true]),
    range("<2", [true, true, false, false]),
    range("1", [true, true, false, false]),
    range("!=2.0.0", [true, true, false, true]),
    Range { is_exact: true, ..range("1.1.0", [false, true, false, false]) },
    Range { is_exact: true, ..range("==2.0.0", [false, false, true, false]) },
    Range { names_prerelease: true, ..range(">=2.1.0rc1", [false, false, false, true]) },
];

static EXACTLY: [Range; 4] = [
    Range { is_exact: true, ..range("==1.0.0", [true, false, false, false]) },
    Range { is_exact: true, ..range("==1.1.0", [false, true, false, false]) },
    Range { is_exact: true, ..range("==2.0.0", [false, false, true, false]) },
    Range { is_exact: true, names_prerelease: true, ..range("==2.1.0rc1", [false, false, false, true]) },
];

/// One release, by its place among [`RELEASES`](super::world::RELEASES).
pub(super) fn exactly(version: usize) -> &'static Range {
    &EXACTLY[version]
}

impl Request {
    pub(super) fn to_yaml(&self) -> String {
        let mut text = "name: test\ntargets:\n".to_owned();
        for target in &self.targets {
            text += &match target {
                Target::Cpu => "  - cpu\n".to_owned(),
                Target::Card { name, driver, platform } => {
                    let driver = driver.as_ref().map(|driver| format!(", driver: \"{driver}\"")).unwrap_or_default();
                    let platform = platform.map(|platform| format!(", platform: {platform}")).unwrap_or_default();
                    format!("  - {{gpu: {name}{driver}{platform}}}\n")
                }
            };
        }
        let platforms = format!("[{}]", self.platforms.join(", "));
        let python = self.python.map(|(operator, line)| match operator {
            Operator::Equal => format!("\"{line}\""),
            Operator::AtLeast => format!("\">={line}\""),
            Operator::Below => format!("\"<{line}\""),
        });
        let quoted = |value: Option<&str>| value.map(|value| format!("\"{value}\""));
        let lines = [
            ("platforms", (!self.platforms.is_empty()).then_some(platforms)),
            ("python", python),
            ("cuda", quoted(self.cuda)),
            ("cudnn", quoted(self.cudnn)),
            ("os", quoted(self.os)),
            ("base", Some(self.base.to_owned())),
        ];
        for (key, value) in lines {
            if let Some(value) = value {
                text += &format!("{key}: {value}\n");
            }
        }
        if !self.frameworks.is_empty() {
            text += "frameworks:\n";
        }
        for Framework { family, range, build } in &self.frameworks {
            let version = range.map(|range| format!("version: \"{}\"", range.text));
            let build = build.map(|build| format!("build: {build}"));
            let parts: Vec<String> = version.into_iter().chain(build).collect();
            text += &format!("  {family}: {{{}}}\n", parts.join(", "));
        }
        text
    }

    /// The platforms an image is made for: those of `platforms:`, else those of the targets.
    pub(super) fn image_platforms(&self) -> Vec<&'static str> {
        if !self.platforms.is_empty() {
            return self.platforms.clone();
        }
        let mut platforms: Vec<&'static str> = self.targets.iter().map(|target| self.platform_of(target)).collect();
        platforms.sort_unstable();
        platforms.dedup();
        platforms
    }

    /// A machine that does not say otherwise is amd64, unless the image is for another processor only.
    pub(super) fn platform_of(&self, target: &Target) -> &'static str {
        match target {
            Target::Card { platform: Some(platform), .. } => platform,
            _ if self.platforms.is_empty() || self.platforms.contains(&PLATFORMS[0]) => PLATFORMS[0],
            _ => self.platforms[0],
        }
    }
}

fn target() -> impl Strategy<Value = Target> {
    let driver = prop_oneof![2 => Just(None), 1 => select(&DRIVERS[..]).prop_map(|driver| Some(driver.to_owned()))];
    let platform = prop_oneof![4 => Just(None), 1 => select(&PLATFORMS[..]).prop_map(Some)];
    prop_oneof![
        1 => Just(Target::Cpu),
        4 => (select(&CARDS[..]), driver, platform)
            .prop_map(|(name, driver, platform)| Target::Card { name, driver, platform }),
    ]
}

fn framework(family: &'static str) -> impl Strategy<Value = Framework> {
    let range = option::of((0..RANGES.len()).prop_map(|index| &RANGES[index]));
    let build = prop_oneof![
        5 => Just(None),
        1 => select(&["default", "cu118", "cu121", "cu124", "cpu", "rocm6.0", "rocm6.2"][..]).prop_map(Some),
    ];
    (range, build).prop_map(move |(range, build)| Framework { family, range, build })
}

/// A spec. Pins of CUDA, cuDNN, system and base are the exception, as in life.
fn request() -> impl Strategy<Value = Request> {
    let frameworks = FAMILIES.map(|family| option::weighted(0.6, framework(family)));
    let frameworks = frameworks.prop_map(|frameworks| frameworks.into_iter().flatten().collect::<Vec<_>>());
    let targets = prop_oneof![3 => vec(target(), 1..=1), 1 => vec(target(), 2..=2)];
    let platforms = prop_oneof![
        3 => Just(Vec::new()),
        1 => subsequence(PLATFORMS.to_vec(), 1..=2),
    ];
    let operator = select(&[Operator::Equal, Operator::AtLeast, Operator::Below][..]);
    let python =
        prop_oneof![2 => Just(None), 1 => (operator, select(&["3.10", "3.11", "3.12", "3.13"][..])).prop_map(Some)];
    let rare = |list: &'static [&'static str]| prop_oneof![6 => Just(None), 1 => select(list).prop_map(Some)];
    let base = prop_oneof![6 => Just("auto"), 2 => select(&["debian", "slim", "cuda", "cuda"][..])];
    (
        targets,
        platforms,
        python,
        frameworks,
        rare(&["11.8", "12.1", "12.4"]),
        rare(&["8", "9", "9.1.0.70"]),
        rare(&["debian 11", "debian 12", "ubuntu 22.04", "ubuntu 20"]),
        base,
    )
        .prop_map(|(targets, platforms, python, frameworks, cuda, cudnn, os, base)| Request {
            targets,
            platforms,
            python,
            frameworks,
            cuda,
            cudnn,
            os,
            base,
        })
}

/// A catalog and a spec over it.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) world: World,
    pub(super) request: Request,
}

/// As a person would write it down.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n--- catalog\n{}--- spec\n{}", self.world.to_yaml(), self.request.to_yaml())
    }
}

pub(super) fn question() -> impl Strategy<Value = Question> {
    (super::world::world(), request()).prop_map(|(world, mut request)| {
        request.frameworks.retain(|asked| world.families.iter().any(|known| known.name == asked.family));
        // Each maker's cards have drivers of its own.
        for target in &mut request.targets {
            if let Target::Card { name, driver: Some(driver), .. } = target
                && world.card(name).capability.is_none()
            {
                let place = DRIVERS.iter().position(|known| known == driver).unwrap_or_default();
                *driver = ROCM_DRIVERS[place % ROCM_DRIVERS.len()].to_owned();
            }
        }
        // A card that is listed twice is an error of the spec.
        let names: Vec<Option<&str>> = request.targets.iter().map(Target::card).collect();
        let mut index = 0;
        request.targets.retain(|target| {
            index += 1;
            !names[..index - 1].contains(&target.card())
        });
        Question { world, request }
    })
}
