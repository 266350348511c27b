//! Which builds of a framework a wish leaves, as ranges of the table.
//!
//! A family has hundreds of builds; a proof that goes through them one by one fills pages and says little. Here each wish
//! (a target, a Python, a pinned CUDA, another framework) is asked what it leaves of the whole table, and the answer is
//! told in one line: `K80 runs pytorch up to 2.7.1 (cu118)`, with the fact that excludes the rest.

mod needs;

use std::collections::BTreeSet;

use pubgrub::Ranges;

use crate::catalog::Vendor;
use crate::spec::Framework;

use super::builds::row_label;
use super::cards::describe_capabilities;
use super::conflict::Line;
use super::evidence::{Code, Edge, Evidence};
use super::stack::{FamilyTable, Row, StackModel};
use super::targets::{TargetFacts, driver_edge};
use super::variable::{Value, Values, Variable, one_of};
use super::wishes::version_allowed;

pub(super) use needs::ends;

/// At most this many groups of targets are told apart.
const GROUPS: usize = 6;
/// At most this many different facts stand in one line.
const FACTS: usize = 2;
/// Up to this many names of builds are listed.
const BUILDS: usize = 3;

/// One row of a family, with what it needs.
struct Entry<'a> {
    row: Row<'a>,
    edges: Vec<Edge>,
    /// Whether the spec's own line for the family allows it.
    asked: bool,
}

/// A family's table in the light of one spec.
pub(super) struct Served<'p, 'a> {
    model: &'p StackModel<'a>,
    family: &'p str,
    /// Newest first.
    entries: Vec<Entry<'a>>,
}

impl<'p, 'a> Served<'p, 'a> {
    /// `None` for a family that is not in the table.
    pub(super) fn new(model: &'p StackModel<'a>, family: &'p str) -> Option<Self> {
        let table: &FamilyTable<'a> = model.families.get(family)?;
        let framework = model.spec.frameworks.iter().find(|framework| framework.family.value == family);
        let any = pep440_rs::VersionSpecifiers::empty();
        // What the spec asks of the family's package counts like a line under `frameworks:`, as long as it leaves anything.
        let of_family = |edge: &Edge| matches!(&edge.to, Variable::Build(of) if of == family);
        let listed = model.listed_edges().into_iter().filter(of_family);
        let listed = listed.fold(Values::full(), |set, edge| set.intersection(&edge.values));
        let asks = |row: &Row<'_>| framework.is_none_or(|framework| is_asked(framework, row));
        let ranked = || table.rows.iter().zip((0..table.rows.len() as u32).map(Value::Rank));
        let leaves_any = ranked().any(|(row, rank)| asks(row) && listed.contains(&rank));
        let asks = |row: &Row<'_>, rank: &Value| asks(row) && (!leaves_any || listed.contains(rank));
        // As in the edge of the spec: builds for another kind of accelerator have no part where others remain.
        let suited = ranked().any(|(row, rank)| asks(row, &rank) && model.suits_vendor(row.build));
        let entries = ranked()
            .rev()
            .filter(|(row, _)| !suited || model.suits_vendor(row.build))
            .map(|(row, rank)| (row, asks(row, &rank)))
            .filter(|(row, asked)| *asked || version_allowed(&any, row.release))
            .map(|(row, asked)| Entry { row: *row, edges: model.row_edges(family, row), asked })
            .collect();
        Some(Self { model, family, entries })
    }

    /// What each target leaves, targets with the same line together. Targets that exclude nothing are left out.
    pub(super) fn target_lines(&self) -> Vec<Line> {
        let mut groups: Vec<(Vec<String>, Vec<bool>, usize)> = Vec::new();
        for (index, target) in self.model.targets.iter().enumerate() {
            let taken: Vec<bool> = self.entries.iter().map(|entry| self.runs(entry, index, target)).collect();
            if self.entries.iter().zip(&taken).all(|(entry, taken)| *taken || !entry.asked) {
                continue;
            }
            let name = describe_target(target);
            match groups.iter_mut().find(|(_, known, _)| *known == taken) {
                Some((names, ..)) if names.contains(&name) => {}
                Some((names, ..)) => names.push(name),
                None => groups.push((vec![name], taken, index)),
            }
        }
        let more = groups.len().saturating_sub(GROUPS);
        let mut lines: Vec<Line> = groups
            .into_iter()
            .take(GROUPS)
            .map(|(names, taken, index)| {
                let verb = if names.len() == 1 { "runs" } else { "run" };
                let concerns = |to: &Variable| match to {
                    Variable::Card(of) | Variable::Driver(of) => *of == index,
                    Variable::Platform(platform) => {
                        self.model.targets.get(index).is_some_and(|target| target.platform == *platform)
                    }
                    _ => false,
                };
                let excludes = |edge: &Edge| concerns(&edge.to) && self.excludes_target(edge, index);
                self.line(&listed(&names), verb, "", &taken, &excludes)
            })
            .collect();
        if more > 0 {
            lines.push(Line::plain(format!("{more} more targets have limits of their own")));
        }
        lines
    }

    /// Whether the targets together leave nothing of what was asked.
    pub(super) fn runs_nowhere(&self) -> bool {
        let mut asked = self.entries.iter().filter(|entry| entry.asked);
        asked.all(|entry| {
            let mut targets = self.model.targets.iter().enumerate();
            targets.any(|(index, target)| !self.runs(entry, index, target))
        })
    }

    /// What one wish of another kind leaves; `asked` is the set it allows. `None` where it leaves everything.
    pub(super) fn wish_line(&self, subject: &str, to: &Variable, asked: &Values) -> Option<Line> {
        let of = |edge: &Edge| edge.to == *to;
        let taken: Vec<bool> = self
            .entries
            .iter()
            .map(|entry| {
                let edges = entry.edges.iter().filter(|edge| of(edge));
                edges.fold(asked.clone(), |set, edge| set.intersection(&edge.values)) != Ranges::empty()
            })
            .collect();
        if self.entries.iter().zip(&taken).all(|(entry, taken)| *taken || !entry.asked) {
            return None;
        }
        let excludes = |edge: &Edge| of(edge) && edge.values.is_disjoint(asked);
        Some(self.line(subject, "goes", "with ", &taken, &excludes))
    }

    /// What the builds asked for need of something that no line of the spec names: `pytorch 2.9.0 to 2.15.0 bring ...`.
    pub(super) fn need_line(&self, to: &Variable) -> Option<Line> {
        let rows: Vec<&Entry<'_>> = self.entries.iter().filter(|entry| entry.asked).collect();
        let (fact, sources) = self.merged(&rows, &|edge| edge.to == *to)?;
        Some(Line { fact, sources })
    }

    fn runs(&self, entry: &Entry<'_>, index: usize, target: &TargetFacts<'_>) -> bool {
        entry.edges.iter().all(|edge| match &edge.to {
            Variable::Card(of) | Variable::Driver(of) => *of != index || !self.excludes_target(edge, index),
            Variable::Platform(platform) => *platform != target.platform || edge.values != Ranges::empty(),
            _ => true,
        })
    }

    fn excludes_target(&self, edge: &Edge, index: usize) -> bool {
        let target = self.model.targets.get(index);
        let drivers = target.and_then(|target| Some(driver_edge(index, target, target.gpu?)?.values));
        match edge.to {
            Variable::Driver(_) => drivers.is_some_and(|drivers| edge.values.is_disjoint(&drivers)),
            _ => edge.values == Ranges::empty(),
        }
    }

    /// `SUBJECT VERB PREPOSITION family RANGE: why not the others`.
    fn line(
        &self,
        subject: &str,
        verb: &str,
        preposition: &str,
        taken: &[bool],
        excludes: &dyn Fn(&Edge) -> bool,
    ) -> Line {
        let of = |wanted: &dyn Fn(&Entry<'_>, bool) -> bool| -> Vec<&Entry<'a>> {
            let entries = self.entries.iter().zip(taken);
            entries.filter(|(entry, taken)| wanted(entry, **taken)).map(|(entry, _)| entry).collect()
        };
        let left = of(&|entry, taken| taken && entry.asked);
        let elsewhere = of(&|_, taken| taken);
        let served = match (left.is_empty(), elsewhere.is_empty()) {
            (false, _) => format!("{subject} {verb} {preposition}{} {}", self.family, self.describe(&left)),
            (true, false) => {
                format!("{subject} {verb} only {preposition}{} {}", self.family, self.describe(&elsewhere))
            }
            (true, true) => format!("{subject} {verb} {preposition}no {} that is known", self.family),
        };
        let failing = of(&|entry, taken| !taken && entry.asked);
        let why = self.merged(&failing, excludes);
        match why {
            Some((fact, sources)) => Line { fact: format!("{served}: {fact}"), sources },
            None => Line::plain(served),
        }
    }

    /// The facts that exclude these rows in as few words as stay true.
    fn merged(&self, rows: &[&Entry<'_>], excludes: &dyn Fn(&Edge) -> bool) -> Option<(String, Vec<String>)> {
        let mut kinds: Vec<(Code, Vec<Member<'_, '_>>)> = Vec::new();
        for &entry in rows {
            let Some(edge) = decisive(&entry.edges, excludes) else { continue };
            let found = (entry, &edge.evidence, &edge.to);
            match kinds.iter_mut().find(|(code, _)| *code == edge.evidence.code) {
                Some((_, members)) => members.push(found),
                None => kinds.push((edge.evidence.code, vec![found])),
            }
        }
        // That a card needs a build of its own kind is told where it is all there is to tell.
        if kinds.len() > 1 {
            kinds.retain(|(code, _)| *code != Code::NoAcceleratorBuild);
        }
        let mut facts = Vec::new();
        let mut sources: Vec<String> = Vec::new();
        for (code, members) in kinds.iter().take(FACTS) {
            let entries: Vec<&Entry<'_>> = members.iter().map(|(entry, ..)| *entry).collect();
            let first = members.first()?;
            let need = if self.is_whole(&entries) { self.need(*code, first.2, &entries) } else { None };
            // A range is cited by what stands behind its ends, anything else by what is told.
            let cited = if let Some(need) = need {
                facts.push(format!("{} {need}", self.label(&entries)));
                behind_ends(members)
            } else {
                let told = nearest(*code, members).unwrap_or(first);
                facts.push(self.of_nearest(*code, told, members.len() - 1));
                vec![told.1]
            };
            for evidence in cited {
                if !sources.contains(&evidence.source) {
                    sources.push(evidence.source.clone());
                }
            }
        }
        (!facts.is_empty()).then(|| (facts.join("; "), sources))
    }

    /// The fact about one build, and how many others there is a like one of.
    fn of_nearest(&self, code: Code, (entry, evidence, to): &Member<'_, '_>, more: usize) -> String {
        let fact = self.of_card(code, to, entry).unwrap_or_else(|| evidence.fact.clone());
        match more {
            0 => fact,
            _ if code == Code::NoAcceleratorBuild => fact,
            1 => format!("{fact}; likewise 1 other build"),
            more => format!("{fact}; likewise {more} other builds"),
        }
    }

    /// Why a build does not serve a card, in a line that has named the card and what it is.
    fn of_card(&self, code: Code, to: &Variable, entry: &Entry<'_>) -> Option<String> {
        let Variable::Card(index) = to else { return None };
        let target = self.model.targets.get(*index)?;
        let vendor = target.gpu?.vendor;
        let label = row_label(self.family, &entry.row);
        Some(match code {
            Code::CcRemovedFromToolkit => {
                let toolkit = entry.row.build.toolkit.as_ref()?;
                format!("{label} is built with CUDA {toolkit}, which no longer compiles for it")
            }
            Code::CcNotSupported if vendor == Vendor::Nvidia => {
                format!("{label} holds code for {} only", describe_capabilities(entry.row.build, target.platform))
            }
            Code::NoAcceleratorBuild => {
                format!("it needs a {} build", if vendor == Vendor::Nvidia { "CUDA" } else { "ROCm" })
            }
            _ => return None,
        })
    }

    /// Whether no other build that was asked for lies between these: then a range of versions says it.
    fn is_whole(&self, entries: &[&Entry<'_>]) -> bool {
        let versions = || entries.iter().map(|entry| &entry.row.release.version);
        let (Some(low), Some(high)) = (versions().min(), versions().max()) else { return false };
        let inside = self.entries.iter().filter(|entry| entry.asked);
        let count = inside.filter(|entry| (low..=high).contains(&&entry.row.release.version)).count();
        count == entries.len()
    }

    /// `pytorch 2.1.0 (cu118, cu121)`, `pytorch 2.9.0 to 2.15.0`.
    fn label(&self, entries: &[&Entry<'_>]) -> String {
        let versions: BTreeSet<_> = entries.iter().map(|entry| &entry.row.release.version).collect();
        match (versions.first(), versions.last()) {
            (Some(low), Some(high)) if low != high => format!("{} {low} to {high}", self.family),
            (Some(only), _) => format!("{} {only} ({})", self.family, build_names(entries).join(", ")),
            _ => self.family.to_owned(),
        }
    }

    /// Rows as ranges: `up to 2.7.1 (cu118)`, `2.7.0 and newer (cu128, cu130)`. Always exactly these rows: where ranges
    /// would say too much, their number and ends are given.
    fn describe(&self, entries: &[&Entry<'_>]) -> String {
        let names = build_names(entries);
        let all_of = |name: &str| -> Vec<&Entry<'_>> {
            self.entries.iter().filter(|entry| entry.row.build.name == name).collect()
        };
        if names.len() <= BUILDS {
            let mut ranges: Vec<(String, Vec<&str>)> = Vec::new();
            for name in names {
                let own: Vec<&Entry<'_>> =
                    entries.iter().copied().filter(|entry| entry.row.build.name == name).collect();
                let range = self.range(&own, &all_of(name));
                match ranges.iter_mut().find(|(known, _)| *known == range) {
                    Some((_, names)) => names.push(name),
                    None => ranges.push((range, vec![name])),
                }
            }
            let ranges: Vec<String> =
                ranges.into_iter().map(|(range, names)| format!("{range} ({})", names.join(", "))).collect();
            return ranges.join(", ");
        }
        self.range(entries, &self.entries.iter().collect::<Vec<_>>())
    }

    fn range(&self, entries: &[&Entry<'_>], all: &[&Entry<'_>]) -> String {
        let versions = || entries.iter().map(|entry| &entry.row.release.version);
        let of_family = || self.entries.iter().map(|entry| &entry.row.release.version);
        let (Some(low), Some(high)) = (versions().min(), versions().max()) else { return "none".to_owned() };
        let range = match (Some(low) == of_family().min(), Some(high) == of_family().max()) {
            _ if low == high => low.to_string(),
            (true, true) => "of any version".to_owned(),
            (true, false) => format!("up to {high}"),
            (false, true) => format!("{low} and newer"),
            (false, false) => format!("{low} to {high}"),
        };
        if fills(entries, all) { range } else { format!("{range} ({} builds)", entries.len()) }
    }
}

/// A build, the evidence against it, and what that is about.
type Member<'e, 'a> = (&'e Entry<'a>, &'e Evidence, &'e Variable);

/// The build that comes closest to what was asked: for drivers the one that needs the least.
fn nearest<'m, 'e, 'a>(code: Code, members: &'m [Member<'e, 'a>]) -> Option<&'m Member<'e, 'a>> {
    match code {
        Code::DriverBelowFloor | Code::DriverBranchEnds => members
            .iter()
            .min_by_key(|(entry, ..)| entry.row.build.toolkit.as_ref().map(crate::version::ToolkitVersion::major)),
        _ => members.first(),
    }
}

/// The evidence for the newest and the oldest of some builds.
fn behind_ends<'e>(members: &[Member<'e, '_>]) -> Vec<&'e Evidence> {
    fn version<'m>((entry, ..): &'m Member<'_, '_>) -> &'m pep440_rs::Version {
        &entry.row.release.version
    }
    let newest = members.iter().max_by(|one, other| version(one).cmp(version(other)));
    let oldest = members.iter().min_by(|one, other| version(one).cmp(version(other)));
    [newest, oldest].into_iter().flatten().map(|(_, evidence, _)| *evidence).collect()
}

/// Whether `entries` are all of `all` between their oldest and newest version.
fn fills(entries: &[&Entry<'_>], all: &[&Entry<'_>]) -> bool {
    let versions = || entries.iter().map(|entry| &entry.row.release.version);
    let (Some(low), Some(high)) = (versions().min(), versions().max()) else { return true };
    let inside = all.iter().filter(|entry| (low..=high).contains(&&entry.row.release.version));
    inside.count() == entries.len()
}

fn is_asked(framework: &Framework, row: &Row<'_>) -> bool {
    version_allowed(&framework.version, row.release)
        && framework.build.as_ref().is_none_or(|build| match build.value.as_str() {
            "default" => row.build.default,
            name => row.build.name == name,
        })
}

/// The edge that excludes a row. Missing wheels are told before what the release claims: the claim is the looser one.
fn decisive<'e>(edges: &'e [Edge], excludes: &dyn Fn(&Edge) -> bool) -> Option<&'e Edge> {
    let found = || edges.iter().filter(|edge| excludes(edge));
    found().find(|edge| edge.evidence.code != Code::RequiresPython).or_else(|| found().next())
}

fn build_names<'e>(entries: &[&'e Entry<'_>]) -> Vec<&'e str> {
    let mut names: Vec<&str> = Vec::new();
    for entry in entries {
        if !names.contains(&entry.row.build.name.as_str()) {
            names.push(&entry.row.build.name);
        }
    }
    names
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `` `K80` (compute capability 3.7, drivers up to R470) ``.
fn describe_target(target: &TargetFacts<'_>) -> String {
    let mut facts: Vec<String> = Vec::new();
    if let Some(gpu) = target.gpu {
        if gpu.name != target.name {
            facts.push(gpu.name.clone());
        }
        match (&gpu.compute_capability, &gpu.gfx) {
            (Some(capability), _) => facts.push(format!("compute capability {capability}")),
            (None, Some(gfx)) => facts.push(gfx.clone()),
            (None, None) => {}
        }
        match (&target.driver, gpu.last_driver_branch) {
            (Some(driver), _) => facts.push(format!("driver {driver}")),
            (None, Some(branch)) => facts.push(format!("drivers up to {branch}")),
            (None, None) => {}
        }
    }
    if target.platform != crate::oci::Platform::AMD64 {
        facts.push(target.platform.to_string());
    }
    match facts.is_empty() {
        true => format!("`{}`", target.name),
        false => format!("`{}` ({})", target.name, facts.join(", ")),
    }
}

/// The set the spec allows of a variable, and the values it is fixed to while packages are solved.
pub(super) fn asked_values(model: &StackModel<'_>, fixed: Option<&Vec<Value>>, to: &Variable) -> Values {
    let spec = model.edges(&Variable::Spec, &Value::Only);
    let asked = spec.iter().filter(|edge| edge.to == *to);
    let asked = asked.fold(Values::full(), |set, edge| set.intersection(&edge.values));
    match fixed {
        Some(values) => asked.intersection(&one_of(values.iter().cloned())),
        None => asked,
    }
}
