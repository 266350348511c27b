//! CUDA in the image: what builds bring, what they load from the base, and whether the base has a use for a toolkit at all.
//!
//! CUDA is in the image once. A base with a toolkit is for a spec that asks for one, or for a build that leaves CUDA to the
//! system; which build that is follows from the choice of builds (`ToolkitUse`), not from the versions that a spec allows.

use std::collections::BTreeSet;

use pubgrub::Ranges;

use crate::catalog::Accelerator;
use crate::spec::BaseChoice;
use crate::version::Dotted;

use super::bases::BaseRow;
use super::cudnn::{loaded_by, system_cudnn};
use super::evidence::{Code, Edge, Evidence};
use super::numbers::{number, python_allowed, starting_with, within_major, zero};
use super::stack::{Row, StackModel};
use super::variable::{Value, Values, Variable, one_of};

impl StackModel<'_> {
    /// Whether a build computes with CUDA on any platform of the image: some wheels of it are for the processor alone.
    pub(super) fn brings_cuda(&self, row: &Row<'_>) -> bool {
        let mut platforms = self.platforms.iter();
        row.build.toolkit.is_some()
            && platforms.any(|platform| row.build.accelerator_on(*platform) == Some(Accelerator::Cuda))
    }

    /// Whether a build loads the CUDA of the base.
    pub(super) fn uses_system_cuda(&self, row: &Row<'_>) -> bool {
        row.build.needs_system_cuda && self.brings_cuda(row)
    }

    /// CUDA and cuDNN: what the spec pins against what the build brings, and builds that need a toolkit in the base.
    pub(super) fn toolkit_edges(
        &self,
        row: &Row<'_>,
        label: &str,
        edge: &dyn Fn(Variable, Values, Code, String) -> Edge,
        edges: &mut Vec<Edge>,
    ) {
        let Some(toolkit) = row.build.toolkit.as_ref().filter(|_| self.brings_cuda(row)) else { return };
        edges.push(edge(
            Variable::WheelCuda,
            Ranges::singleton(number(&toolkit.major().to_string())),
            Code::CudaMismatch,
            format!(
                "{label} brings libraries of CUDA {}, and an environment holds those of one major",
                toolkit.major()
            ),
        ));
        if self.spec.cuda.is_some() {
            // Extensions are compiled across minors of one major, never across majors.
            edges.push(edge(
                Variable::PinnedCuda,
                if row.build.exact_cuda { starting_with(toolkit.dotted()) } else { within_major(toolkit.major()) },
                Code::CudaMismatch,
                format!("{label} is built with CUDA {toolkit}"),
            ));
        }
        self.cudnn_edges(row, label, edges);
        if row.build.needs_system_cuda {
            // A pinned toolkit is compared above, and is in the base by the spec's own wish.
            if self.spec.cuda.is_none() {
                let exact = row.build.exact_cuda || (self.is_alone() && self.has_tested_base(row, toolkit.dotted()));
                let (wanted, named) = match exact {
                    true => (toolkit.dotted().clone(), toolkit.to_string()),
                    false => (major_of(toolkit.dotted()), format!("{}.x", toolkit.major())),
                };
                let fact = format!("{label} needs a CUDA {named} toolkit in the base");
                if !self.has_base_for(row, &wanted, |_| true) {
                    let fact = format!("{fact}, and no base that the spec allows has it");
                    edges.push(edge(Variable::Toolkit, Ranges::empty(), Code::NoSuchImage, fact));
                    return;
                }
                edges.push(edge(Variable::Toolkit, starting_with(&wanted), Code::NoSuchImage, fact));
            }
            if let Some(cudnn) = &row.build.cudnn {
                let fact = format!("{label} needs {} in the base", system_cudnn(cudnn));
                edges.push(edge(Variable::SystemCudnn, loaded_by(cudnn), Code::CudnnMismatch, fact));
            }
        }
    }

    /// Whether a system toolkit is the matter of one framework: then it gets the minor release that it was tested with, if
    /// there is such a base; any toolkit of the major would do.
    fn is_alone(&self) -> bool {
        self.spec.frameworks.len() == 1
    }

    /// Whether there is a base with the toolkit that a build was tested with. One whose Ubuntu lacks the Python asked for does
    /// not count where one with another toolkit of the major has it: the toolkit is a preference, the Python a need.
    fn has_tested_base(&self, row: &Row<'_>, toolkit: &Dotted) -> bool {
        let has_python = |base: &BaseRow| {
            let line = base.python.or(base.archive_python);
            self.spec.python.as_ref().is_none_or(|asked| line.is_some_and(|line| python_allowed(&asked.value, line)))
        };
        self.has_base_for(row, toolkit, has_python)
            || self.has_base_for(row, toolkit, |_| true) && !self.has_base_for(row, &major_of(toolkit), has_python)
    }

    /// Whether the spec leaves a base with this toolkit, and with a cuDNN that the build loads if it needs one, that `suits`.
    fn has_base_for(&self, row: &Row<'_>, toolkit: &Dotted, suits: impl Fn(&BaseRow) -> bool) -> bool {
        self.bases.iter().any(|base| {
            base.is_choice(&self.spec.base.value)
                && self.spec.os.as_ref().is_none_or(|os| base.is_os(&os.value.distribution, &os.value.release))
                && base.toolkit.as_ref().is_some_and(|own| own.dotted().starts_with(toolkit))
                && row.build.cudnn.as_ref().is_none_or(|need| loaded_by(need).contains(&base.cudnn_value()))
                && self.platforms.iter().all(|platform| base.platforms.contains(platform))
                && suits(base)
        })
    }

    /// Who may use a toolkit in the base, the best last: families with builds that leave CUDA to the system, and the spec
    /// itself where it asks for a toolkit or for an image that has one.
    pub(super) fn toolkit_uses(&self) -> Vec<Value> {
        let families = (0..self.toolkit_users().len() as u32).rev().map(Value::Rank);
        families.chain(self.asks_for_toolkit().then_some(Value::Only)).collect()
    }

    /// Whether the spec asks for a system toolkit, for an image that has one, or for Ubuntu, which only such images are.
    fn asks_for_toolkit(&self) -> bool {
        self.spec.cuda.is_some()
            || self.spec.base.value == BaseChoice::Cuda
            || self.bases.iter().any(|base| base.kind == "reference" && base.toolkit.is_some())
            || self.spec.os.as_ref().is_some_and(|os| os.value.distribution == "ubuntu")
    }

    /// Families of the spec, and those they cannot do without, of which a build that the spec leaves uses the system's CUDA.
    fn toolkit_users(&self) -> &[String] {
        self.users_of_toolkit.get_or_init(|| self.find_toolkit_users())
    }

    fn find_toolkit_users(&self) -> Vec<String> {
        let asked = self.spec.frameworks.iter().map(|asked| self.framework_edge(asked)).chain(self.listed_edges());
        let mut left: Vec<(&str, Values)> = Vec::new();
        for edge in asked {
            let Variable::Build(family) = &edge.to else { continue };
            let Some((family, _)) = self.families.get_key_value(family.as_str()) else { continue };
            match left.iter_mut().find(|(known, _)| known == family) {
                Some((_, values)) => *values = values.intersection(&edge.values),
                None => left.push((family, edge.values)),
            }
        }
        let mut next = 0;
        while let Some((family, _)) = left.get(next) {
            let needs = self.catalog.framework(family).map(|framework| framework.needs.as_slice()).unwrap_or_default();
            let needed = self.families.iter().filter(|(_, table)| needs.iter().any(|needed| needed == table.package));
            for (needed, _) in needed {
                if left.iter().all(|(known, _)| known != needed) {
                    left.push((needed, Values::full()));
                }
            }
            next += 1;
        }
        let uses = |(family, values): &(&str, Values)| !self.ranks_with_system_cuda(family).is_disjoint(values);
        let users: BTreeSet<String> =
            left.iter().filter(|asked| uses(asked)).map(|(family, _)| (*family).to_owned()).collect();
        users.into_iter().collect()
    }

    fn ranks_with_system_cuda(&self, family: &str) -> Values {
        let rows = self.families.get(family).map(|table| table.rows.as_slice()).unwrap_or_default();
        let using = rows.iter().enumerate().filter(|(_, row)| self.uses_system_cuda(row));
        one_of(using.map(|(rank, _)| Value::Rank(rank as u32)))
    }

    /// Whether anything that the spec asks for may use a toolkit in the base.
    pub(super) fn has_use_for_toolkit(&self) -> bool {
        self.asks_for_toolkit() || !self.toolkit_users().is_empty()
    }

    /// A toolkit in the base has a use.
    pub(super) fn toolkit_value_edge(toolkit: &Value) -> Option<Edge> {
        (*toolkit != zero()).then(|| Edge {
            to: Variable::ToolkitUse,
            values: Ranges::full(),
            evidence: Evidence {
                code: Code::NoSuchImage,
                fact: format!("a base with the CUDA toolkit {toolkit} is for what uses it"),
                source: "catalog".to_owned(),
                origin: None,
            },
        })
    }

    /// What a use asks of the builds: that of a family is a build of it which leaves CUDA to the system.
    pub(super) fn toolkit_use_edge(&self, rank: usize) -> Option<Edge> {
        let family = self.toolkit_users().get(rank)?;
        Some(Edge {
            to: Variable::Build(family.clone()),
            values: self.ranks_with_system_cuda(family),
            evidence: Evidence {
                code: Code::NoSuchImage,
                fact: format!("of {family} only builds that leave CUDA to the system use a toolkit in the base"),
                source: "catalog".to_owned(),
                origin: None,
            },
        })
    }
}

/// `11` of `11.2`.
fn major_of(version: &Dotted) -> Dotted {
    version.component(0).to_string().parse().unwrap_or_else(|_| version.clone())
}
