//! Packages that the catalog knows: which builds of a family a requirement on such a package leaves.
//!
//! A build says what installs it: `torch==2.5.1`, `jax[cuda12]==0.4.35`, `onnxruntime-gpu[cuda,cudnn]==1.22.0`. So a requirement on
//! that package, by the spec or by another package's metadata, brings the family's build into the problem, and through it
//! CUDA, the drivers and the cards. The build then decides version and index, newest that suits first.
//!
//! Releases that the catalog does not have stay allowed when packages are solved, as the build [`UNKNOWN`]: nothing is known
//! of them, and the answer says so.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Operator, Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};
use pubgrub::Ranges;

use crate::catalog::{Accelerator, Build, Catalog, Release};
use crate::oci::Platform;
use crate::packaging::marker_environment;
use crate::spec::{Located, Spec};
use crate::version::wheel_tag::normalize_name;

use super::evidence::{Code, Edge, Evidence};
use super::packages::specifiers;
use super::stack::{FamilyTable, Row, StackModel};
use super::variable::{Value, Values, Variable, one_of, specifier_values};

/// The build of a release that the catalog does not have. Worse than every known one.
pub(super) const UNKNOWN: Value = Value::Only;

/// A package that installs builds of a family, at least one of them for a GPU.
#[derive(Debug)]
pub struct Distribution<'a> {
    /// `pytorch`.
    pub family: &'a str,
    /// Its builds, worst first.
    installs: Vec<Install<'a>>,
    serves: OnceCell<bool>,
}

/// One build that a distribution installs.
#[derive(Debug)]
struct Install<'a> {
    rank: u32,
    row: Row<'a>,
    /// Extras that select the build: `cuda12`.
    extras: Vec<&'a str>,
}

/// The packages behind the builds of all families, by normalised name.
pub(super) fn distributions<'a>(families: &BTreeMap<&'a str, FamilyTable<'a>>) -> BTreeMap<String, Distribution<'a>> {
    let mut found: BTreeMap<String, Distribution<'a>> = BTreeMap::new();
    for (family, table) in families {
        for (rank, row) in table.rows.iter().enumerate() {
            let Some((name, extras)) = row.build.requirements.first().map(|text| name_and_extras(text)) else {
                continue;
            };
            let entry = found.entry(normalize_name(name)).or_insert_with(|| Distribution {
                family,
                installs: Vec::new(),
                serves: OnceCell::new(),
            });
            entry.installs.push(Install { rank: rank as u32, row: *row, extras });
        }
    }
    // A package for processors only, such as `onnxruntime`, runs beside any card and is nobody's GPU build.
    found.retain(|_, known| known.installs.iter().any(|install| install.row.build.accelerator != Accelerator::Cpu));
    found
}

/// Families that a spec asks for, under `frameworks:` or by a package of theirs under `packages:`.
pub(super) fn asked_families<'a>(
    spec: &'a Spec,
    distributions: &BTreeMap<String, Distribution<'a>>,
) -> BTreeSet<&'a str> {
    let listed = spec
        .packages
        .iter()
        .filter_map(|package| Some(distributions.get(&normalize_name(package.value.name.as_ref()))?.family));
    spec.frameworks.iter().map(|framework| framework.family.value.as_str()).chain(listed).collect()
}

/// The packages that install builds of a family, each with the family: `torch` and `pytorch`.
pub fn packages_of_families(catalog: &Catalog) -> BTreeSet<(String, String)> {
    let mut packages = BTreeSet::new();
    for framework in &catalog.frameworks {
        let builds = framework.releases.iter().flat_map(|release| &release.builds);
        let installed = builds.filter_map(|build| build.requirements.first()).map(|text| name_and_extras(text).0);
        packages.extend(
            installed.chain([framework.package.as_str()]).map(|name| (normalize_name(name), framework.family.clone())),
        );
    }
    packages
}

/// `jax` and `cuda12` of `jax[cuda12]==0.4.35`; the catalog was checked when it was loaded.
fn name_and_extras(requirement: &str) -> (&str, Vec<&str>) {
    let end = requirement.find(['[', '=', '<', '>', '!', '~', ' ', ';']).unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let extras = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(extras, _)| extras);
    (name, extras.map(|extras| extras.split(',').map(str::trim).collect()).unwrap_or_default())
}

impl Distribution<'_> {
    /// The builds a requirement leaves. An extra that selects builds (`cuda12`) leaves those; without one all are left, so
    /// that the targets decide.
    fn matching(&self, requirement: &Requirement<VerbatimUrl>) -> Vec<&Install<'_>> {
        let none = VersionSpecifiers::empty();
        let specifiers = specifiers(requirement).unwrap_or(&none);
        let values = specifier_values(specifiers);
        let selecting: BTreeSet<&str> =
            self.installs.iter().flat_map(|install| install.extras.iter().copied()).collect();
        let wanted: Vec<String> = requirement
            .extras
            .iter()
            .map(ToString::to_string)
            .filter(|extra| selecting.contains(extra.as_str()))
            .collect();
        self.installs
            .iter()
            .filter(|install| wanted.iter().all(|extra| install.extras.contains(&extra.as_str())))
            .filter(|install| takes(specifiers, &values, install.row.release, install.row.build))
            .collect()
    }

    /// The extra for which a requirement takes no release, though it would take some without it: `and-cuda` with `<2.14`.
    fn missing_extra(&self, requirement: &Requirement<VerbatimUrl>) -> Option<String> {
        let without = Requirement { extras: Vec::new(), ..requirement.clone() };
        let missing = self.matching(requirement).is_empty() && !self.matching(&without).is_empty();
        requirement.extras.first().filter(|_| missing).map(ToString::to_string)
    }

    /// The versions the catalog has: those on the default index as they are, the others with the build's label.
    fn known_versions(&self) -> Values {
        one_of(self.installs.iter().flat_map(|install| {
            let version = &install.row.release.version;
            let plain = (install.row.build.index == "default").then(|| version.clone());
            plain.into_iter().chain(labelled(version, install.row.build)).map(Value::Release)
        }))
    }

    /// Whether `values` holds a version of a release that the catalog does not have.
    fn leaves_unknown(&self, values: &Values) -> bool {
        let mut left = values.clone();
        for install in &self.installs {
            let release = VersionSpecifiers::from(pep440_rs::VersionSpecifier::equals_version(
                install.row.release.version.clone(),
            ));
            left = left.intersection(&specifier_values(&release).complement());
        }
        left != Ranges::empty()
    }
}

/// Whether specifiers take a build of a release: `==2.5.1` any of 2.5.1's, `==2.5.1+cu121` the one with that label. Withdrawn
/// releases are taken if named exactly (PEP 592), pre-releases if a pre-release is named (PEP 440).
fn takes(specifiers: &VersionSpecifiers, values: &Values, release: &Release, build: &Build) -> bool {
    let any = |test: &dyn Fn(&pep440_rs::VersionSpecifier) -> bool| specifiers.iter().any(test);
    let named = || any(&|specifier| *specifier.operator() == Operator::Equal);
    let prereleases = || any(&|specifier| specifier.version().any_prerelease());
    let inside = |version: Version| values.contains(&Value::Release(version));
    let has_label = any(&|specifier| !specifier.version().local().is_empty());
    (inside(release.version.clone()) || (has_label && labelled(&release.version, build).is_some_and(inside)))
        && (!release.yanked || named())
        && (!release.version.any_prerelease() || prereleases())
}

/// `2.5.1+cu124`.
pub(super) fn labelled(version: &Version, build: &Build) -> Option<Version> {
    format!("{version}+{}", build.name).parse().ok()
}

/// A requirement of the spec on a package that the catalog knows.
pub(super) struct Listed<'m> {
    /// Normalised name.
    pub name: String,
    /// The requirement and its place.
    pub requirement: &'m Located<Requirement<VerbatimUrl>>,
    /// Whether it only bounds what something else asks for.
    pub is_constraint: bool,
}

impl<'a> StackModel<'a> {
    /// A package that decides a build here. One whose plain form computes on a processor stays plain where no build of it
    /// serves the targets, unless the spec itself asks for it: Flax on a machine for ROCm runs on the processor.
    fn deciding(&self, name: &str) -> Option<&Distribution<'a>> {
        let known = self.distributions.get(name)?;
        let serves = *known.serves.get_or_init(|| {
            let plain = |install: &Install<'_>| install.extras.is_empty() && install.row.build.default;
            let has_plain = known
                .installs
                .iter()
                .any(|install| plain(install) && install.row.build.accelerator == Accelerator::Cpu);
            !has_plain
                || self.asked.contains(known.family)
                || known.installs.iter().any(|install| !self.is_excluded(known.family, &install.row))
        });
        serves.then_some(known)
    }

    /// What a requirement on a known package leaves of its family's builds: the unknown one where the catalog has none of its
    /// versions, and with `unknown` also where its versions leave room for others than the catalog's.
    pub(super) fn build_edge(
        &self,
        requirement: &Requirement<VerbatimUrl>,
        evidence: &Evidence,
        unknown: bool,
    ) -> Option<Edge> {
        if names_url(requirement) {
            return None;
        }
        let known = self.deciding(&normalize_name(requirement.name.as_ref()))?;
        let matching = known.matching(requirement);
        let values = specifiers(requirement).map_or_else(Ranges::full, specifier_values);
        let mut builds = self.ranks_of(&matching);
        if matching.is_empty() || (unknown && known.leaves_unknown(&values)) {
            builds = builds.union(&Ranges::singleton(UNKNOWN));
        }
        Some(self.one_vendor(known.family, evidence.clone(), builds))
    }

    /// Builds for another kind of accelerator are left out as long as others remain, as with `frameworks:`.
    fn ranks_of(&self, installs: &[&Install<'_>]) -> Values {
        let suited = |install: &&&Install<'_>| self.suits_vendor(install.row.build);
        let any_suited = installs.iter().any(|install| suited(&install));
        one_of(
            installs.iter().filter(|install| !any_suited || suited(install)).map(|install| Value::Rank(install.rank)),
        )
    }

    /// The builds that a version of a known package can be.
    pub(super) fn release_edge(&self, name: &str, version: &Version, source: &str) -> Option<Edge> {
        let known = self.deciding(name)?;
        let ranks = known.installs.iter().filter(|install| is_version(install, version));
        let ranks: Vec<Value> = ranks.map(|install| Value::Rank(install.rank)).collect();
        let (fact, source) = match ranks.is_empty() {
            true => (format!("the catalog does not know {name} {version}"), "catalog"),
            false => (format!("{name} {version} is a build of {}", known.family), source),
        };
        let values = if ranks.is_empty() { Ranges::singleton(UNKNOWN) } else { one_of(ranks) };
        Some(Edge {
            to: Variable::Build(known.family.to_owned()),
            values,
            evidence: Evidence { code: Code::PinConflict, fact, source: source.to_owned(), origin: None },
        })
    }

    /// What an unknown build installs: a version that the catalog does not have, and not one from before its time unless
    /// the spec names such a version. Families with several packages are left to the packages' own edges.
    pub(super) fn unknown_build_edge(&self, family: &str) -> Option<Edge> {
        let mut of_family = self.distributions.iter().filter(|(_, known)| known.family == family);
        let (Some((name, known)), None) = (of_family.next(), of_family.next()) else { return None };
        let mut values = known.known_versions().complement();
        let named_unknown =
            self.listed().any(|listed| listed.name == *name && known.matching(&listed.requirement.value).is_empty());
        let oldest = known.installs.iter().map(|install| &install.row.release.version).min();
        if let Some(oldest) = oldest.filter(|_| !named_unknown) {
            values = values.intersection(&Ranges::strictly_higher_than(Value::Release(oldest.clone())));
        }
        Some(Edge {
            to: Variable::Distribution(name.clone()),
            values,
            evidence: Evidence {
                code: Code::Unsatisfiable,
                fact: format!("no other release of {name} is known to the catalog"),
                source: "catalog".to_owned(),
                origin: None,
            },
        })
    }

    /// Whether a package installs builds of a family.
    pub(super) fn installs(&self, name: &str, family: &str) -> bool {
        self.distributions.get(name).is_some_and(|known| known.family == family)
    }

    /// Whether a version is of a known package, but of no release that the catalog has.
    pub(super) fn is_unknown_release(&self, name: &str, version: &Version) -> bool {
        self.distributions
            .get(name)
            .is_some_and(|known| !known.installs.iter().any(|install| is_version(install, version)))
    }

    /// The spec's requirements on known packages that hold on every platform and Python, constraints after packages.
    pub(super) fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        let packages = self.spec.packages.iter().map(|requirement| (requirement, false));
        let constraints = self.spec.constraints.iter().map(|requirement| (requirement, true));
        packages.chain(constraints).filter_map(|(requirement, is_constraint)| {
            let name = normalize_name(requirement.value.name.as_ref());
            let holds = self.distributions.contains_key(&name)
                && !names_url(&requirement.value)
                && self.always_holds(&requirement.value);
            holds.then_some(Listed { name, requirement, is_constraint })
        })
    }

    /// Whether a requirement's marker holds on every platform and Python.
    pub(super) fn always_holds(&self, requirement: &Requirement<VerbatimUrl>) -> bool {
        let environment = |platform: Platform| {
            self.pythons.iter().map(move |line| {
                let patch = Version::new([u64::from(line.major), u64::from(line.minor), 0]);
                marker_environment(platform, *line, &patch)
            })
        };
        requirement.marker.is_true()
            || self
                .platforms
                .iter()
                .all(|platform| environment(*platform).all(|markers| requirement.evaluate_markers(&markers, &[])))
    }

    /// Companions of families asked for that the spec lists with a version: each goes with the releases that it was made for. A
    /// version that the catalog does not know decides nothing.
    fn companion_wishes(&self) -> impl Iterator<Item = Edge> {
        let edge = move |requirement: &Located<Requirement<VerbatimUrl>>| {
            let name = normalize_name(requirement.value.name.as_ref());
            let is_companion = |family: &&crate::catalog::Framework| {
                family.companions.contains(&name) && self.asked.contains(family.family.as_str())
            };
            let family = self.catalog.frameworks.iter().find(is_companion)?;
            let wanted = specifiers(&requirement.value).filter(|wanted| !wanted.is_empty())?;
            let is_made_for = |row: &Row<'_>| {
                row.release.companions.get(&name).is_some_and(|made| made.iter().any(|made| wanted.contains(made)))
            };
            let rows = self.families.get(family.family.as_str())?.rows.iter().enumerate();
            let rows: Vec<(usize, &Row<'_>)> = rows.filter(|(_, row)| is_made_for(row)).collect();
            let (oldest, newest) = (rows.first()?.1, rows.last()?.1);
            let span = match oldest.release.version == newest.release.version {
                true => newest.release.version.to_string(),
                false => format!("{} to {}", oldest.release.version, newest.release.version),
            };
            let fact = format!("the spec asks for `{}`, which goes with {} {span}", requirement.value, family.family);
            Some(Edge {
                to: Variable::Build(family.family.clone()),
                values: one_of(rows.iter().map(|(rank, _)| Value::Rank(*rank as u32))),
                evidence: super::wishes::spec_says(fact, requirement.origin.clone()),
            })
        };
        let is_family = move |name: &str| self.catalog.frameworks.iter().any(|family| family.package == name);
        let listed = self.spec.packages.iter().filter(move |requirement| {
            !is_family(&normalize_name(requirement.value.name.as_ref())) && self.always_holds(&requirement.value)
        });
        listed.filter_map(edge)
    }

    /// What the spec asks of the stack by its own lines and by its listed packages.
    pub(super) fn asks(&self) -> Vec<Edge> {
        let mut asks = self.edges(&Variable::Spec, &Value::Only);
        asks.extend(self.listed_edges());
        asks
    }

    /// Whether two lines of the spec about one framework exclude each other: then not all of them can be told together.
    pub(super) fn contradicts_itself(&self) -> bool {
        let asks = self.asks();
        self.families.keys().any(|family| {
            let of_family = |ask: &&Edge| matches!(&ask.to, Variable::Build(of) if of == family);
            let sets = || asks.iter().filter(of_family).map(|ask| &ask.values);
            let together = sets().fold(Values::full(), |together, set| together.intersection(set));
            together.is_empty() && !sets().any(Values::is_empty)
        })
    }

    /// The spec's listed packages as wishes of the stack, each with its line. A package whose versions the catalog has none
    /// of asks for nothing here: [`Self::unknown_listed`] tells.
    pub(super) fn listed_edges(&self) -> Vec<Edge> {
        let unknown: BTreeSet<String> = self.unknown_listed().into_iter().map(|(name, _)| name).collect();
        self.listed()
            .filter(|listed| !unknown.contains(&listed.name))
            .filter_map(|listed| {
                let known = self.distributions.get(&listed.name)?;
                if listed.is_constraint && !self.asked.contains(known.family) {
                    return None;
                }
                let says = if listed.is_constraint { "a constraint says" } else { "the spec asks for" };
                let requirement = &listed.requirement.value;
                let says = format!("{says} `{requirement}`");
                let (code, says) = match known.missing_extra(requirement) {
                    None => (Code::PinConflict, says),
                    Some(extra) => {
                        (Code::NoSuchVersion, format!("{says}, and no release of that has the extra `{extra}`"))
                    }
                };
                let says = super::wishes::spec_says(says, listed.requirement.origin.clone());
                let evidence = Evidence { code, ..says };
                let matching = known.matching(requirement);
                Some(self.one_vendor(known.family, evidence, self.ranks_of(&matching)))
            })
            .chain(self.companion_wishes())
            .collect()
    }

    /// Listed packages whose versions, all requirements on them taken together, are none of the catalog's: name and what is
    /// asked. Requirements that exclude each other, or the version under `frameworks:`, are not unknown but wrong.
    pub(super) fn unknown_listed(&self) -> Vec<(String, String)> {
        let mut asked: BTreeMap<String, Vec<Listed<'_>>> = BTreeMap::new();
        for listed in self.listed() {
            asked.entry(listed.name.clone()).or_default().push(listed);
        }
        asked
            .into_iter()
            .filter(|(_, all)| all.iter().any(|listed| !listed.is_constraint))
            .filter_map(|(name, all)| {
                let known = self.distributions.get(&name)?;
                let versions = |listed: &Listed<'_>| {
                    specifiers(&listed.requirement.value).map_or_else(Ranges::full, specifier_values)
                };
                let named = self.spec.frameworks.iter().find(|framework| framework.family.value == known.family);
                let named = named.filter(|_| {
                    self.families.get(known.family).is_some_and(|table| normalize_name(table.package) == name)
                });
                let named = named.map_or_else(Ranges::full, |framework| specifier_values(&framework.version));
                let contradictory = all.iter().fold(named, |set: Values, listed| set.intersection(&versions(listed)))
                    == Ranges::empty();
                let ranks = |listed: &Listed<'_>| -> BTreeSet<u32> {
                    known.matching(&listed.requirement.value).iter().map(|install| install.rank).collect()
                };
                let mut left = all.iter().map(ranks);
                let first = left.next().unwrap_or_default();
                let none = left.fold(first, |left, ranks| left.intersection(&ranks).copied().collect()).is_empty();
                let texts: Vec<String> = all.iter().map(|listed| format!("`{}`", listed.requirement.value)).collect();
                let wrong =
                    contradictory || all.iter().any(|listed| known.missing_extra(&listed.requirement.value).is_some());
                (none && !wrong).then(|| (name, texts.join(" with ")))
            })
            .collect()
    }

    /// Which family chooses first: those that the spec asks for by name, since the order of its keys means nothing, then
    /// the others.
    pub(super) fn order_of(&self, family: &str) -> usize {
        self.asked.iter().position(|asked| *asked == family).unwrap_or(usize::MAX)
    }

    /// ` of `torch<2.6``: what the spec's `packages:` leave of a family, for the sentence that says why; `None` if they do not name it.
    pub(super) fn listed_versions(&self, family: &str) -> Option<String> {
        let of_family = |name: &str| self.distributions.get(name).is_some_and(|known| known.family == family);
        let asked = self.listed().filter(|listed| of_family(&listed.name));
        let asked: Vec<&Requirement<VerbatimUrl>> = asked.map(|listed| &listed.requirement.value).collect();
        let narrow = |asked: &&Requirement<VerbatimUrl>| asked.version_or_url.is_some() || !asked.extras.is_empty();
        let texts: Vec<String> =
            asked.iter().copied().filter(narrow).map(|requirement| format!("`{requirement}`")).collect();
        let narrowed = if texts.is_empty() { String::new() } else { format!(" of {}", texts.join(" and ")) };
        (!asked.is_empty()).then_some(narrowed)
    }
}

fn is_version(install: &Install<'_>, version: &Version) -> bool {
    let label = version.local().iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    install.row.release.version == version.clone().without_local()
        && if label.is_empty() { install.row.build.index == "default" } else { install.row.build.name == label }
}

/// A requirement with a URL pins no version that the catalog could know.
pub(super) fn names_url(requirement: &Requirement<VerbatimUrl>) -> bool {
    matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_)))
}
