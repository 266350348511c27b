//! Which indexes may serve a name, in the order they are asked.
//!
//! A name has one home. What the spec names by place comes from there; a name that an index of the spec claims comes from
//! that index alone; any other comes from the first index that has such a project, the spec's open ones before the
//! machine's default. Versions of several indexes are never merged: whoever can upload `acme-core 99` to a public index
//! would win against the private one (CVE-2018-20225). Indexes of a framework's builds are not in this list, they serve
//! what `builds.rs` says and nothing else.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::spec::Spec;

/// The name that locks give to the machine's own index.
pub(super) const DEFAULT_INDEX: &str = "default";
/// The name that locks give to wheels that no index holds.
pub(super) const DIRECT: &str = "direct";

/// An index as a sentence names it; `None` for what has a place instead.
pub(in super::super) fn named_index(index: &str) -> Option<String> {
    match index {
        DIRECT => None,
        DEFAULT_INDEX => Some("the index".to_owned()),
        named => Some(format!("the index `{named}`")),
    }
}

/// The spec's indexes and what each may serve.
pub(super) struct Routes(Vec<Route>);

struct Route {
    index: String,
    claims: GlobSet,
    /// Claims nothing, so it is asked for everything.
    open: bool,
}

impl Routes {
    pub(super) fn new(spec: &Spec) -> Self {
        let route = |index: &crate::spec::ExtraIndex| {
            let mut globs = GlobSetBuilder::new();
            for glob in index.packages.iter().filter_map(|pattern| Glob::new(&pattern.to_lowercase()).ok()) {
                globs.add(glob);
            }
            let claims = globs.build().unwrap_or_else(|_| GlobSet::empty());
            Route { index: index.name.value.clone(), claims, open: index.packages.is_empty() }
        };
        Self(spec.indexes.iter().map(route).collect())
    }

    /// The index of the spec that claims a name.
    pub(super) fn claimed_by(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|route| route.claims.is_match(name)).map(|route| route.index.as_str())
    }

    /// The indexes that may hold a name, first come first served.
    pub(super) fn indexes_of(&self, name: &str) -> Vec<&str> {
        if let Some(index) = self.claimed_by(name) {
            return vec![index];
        }
        let open = self.0.iter().filter(|route| route.open).map(|route| route.index.as_str());
        open.chain([DEFAULT_INDEX]).collect()
    }

    /// Whether an index is one of a framework's builds: neither the machine's nor one of the spec.
    pub(super) fn is_of_framework(&self, index: &str) -> bool {
        index != DEFAULT_INDEX && index != DIRECT && self.0.iter().all(|route| route.index != index)
    }
}
