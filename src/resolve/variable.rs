//! What the solver decides: variables and their values.
//!
//! The stack (Python, base, toolkit, driver, framework builds) and the Python packages are variables of one problem, so
//! that either side may decide the other. A framework build is a rank in its family's table, worst first, which makes
//! "newest that suits, default index before others" simply "the largest".

use std::fmt;
use std::ops::Bound;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use pubgrub::Ranges;

use crate::oci::Platform;
use crate::version::Dotted;

/// Something that gets exactly one value in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// The request itself: the root of the problem.
    Spec,
    /// The card of target `n`: its compute capability. A fact, given by the spec.
    Card(usize),
    /// The platform of a target or of `platforms:`. A fact.
    Platform(Platform),
    /// The pinned system CUDA. A fact, present only if the spec pins one.
    PinnedCuda,
    /// The pinned cuDNN. A fact, present only if the spec pins one.
    PinnedCudnn,
    /// Build of a framework family: a rank.
    Build(String),
    /// CPython line.
    Python,
    /// Base image: a rank.
    Base,
    /// glibc of the base.
    Glibc,
    /// CUDA toolkit installed in the base, 0 for none.
    Toolkit,
    /// Who uses the toolkit in the base: a family, by its rank among those that may, or the spec itself.
    ToolkitUse,
    /// cuDNN installed in the base, 0 for none.
    SystemCudnn,
    /// CUDA major of the framework builds: one environment holds the libraries of one major.
    WheelCuda,
    /// cuDNN that the framework builds bring: one environment holds one release.
    WheelCudnn,
    /// Driver of target `n`.
    Driver(usize),
    /// A Python distribution, by normalised name.
    Distribution(String),
    /// An extra of a distribution: same versions, further requirements.
    Extra(String, String),
}

/// A value of a variable; each variable uses one variant only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// The root's only value.
    Only,
    /// Index into a table ordered from worst to best.
    Rank(u32),
    /// Python line, driver, capability, glibc, toolkit.
    Number(Dotted),
    /// Python package version.
    Release(Version),
}

/// A set of values.
pub type Values = Ranges<Value>;

impl Value {
    /// The rank, for variables that have ranks.
    pub fn rank(&self) -> Option<usize> {
        match self {
            Self::Rank(rank) => Some(*rank as usize),
            _ => None,
        }
    }
    /// The number, for variables that have numbers.
    pub fn number(&self) -> Option<&Dotted> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }
    /// The package version, for distributions.
    pub fn release(&self) -> Option<&Version> {
        match self {
            Self::Release(version) => Some(version),
            _ => None,
        }
    }
}

/// A set of single values.
pub fn one_of(values: impl IntoIterator<Item = Value>) -> Values {
    values.into_iter().map(|value| (Bound::Included(value.clone()), Bound::Included(value))).collect()
}

/// `specifiers` as a set of package versions.
///
/// A specifier without local label takes versions with any label (PEP 440: `==2.4.1` matches `2.4.1+cu124`), which
/// `pep440_rs` leaves out of its ranges; the smallest version above all labels of V is `V.post0.dev0`.
pub fn specifier_values(specifiers: &VersionSpecifiers) -> Values {
    specifiers.iter().fold(Ranges::full(), |set, specifier| set.intersection(&specifier_range(specifier)))
}

fn specifier_range(specifier: &VersionSpecifier) -> Values {
    let version = specifier.version();
    let with_labels = || {
        let above = above_labels(version);
        Ranges::from_range_bounds(Value::Release(version.clone())..Value::Release(above))
    };
    match specifier.operator() {
        Operator::Equal if version.local().is_empty() => with_labels(),
        Operator::NotEqual if version.local().is_empty() => with_labels().complement(),
        Operator::LessThanEqual if version.local().is_empty() => {
            Ranges::strictly_lower_than(Value::Release(above_labels(version)))
        }
        _ => {
            let range: Ranges<Version> = specifier.clone().into();
            let lift = |bound: &Bound<Version>| match bound {
                Bound::Included(version) => Bound::Included(Value::Release(version.clone())),
                Bound::Excluded(version) => Bound::Excluded(Value::Release(version.clone())),
                Bound::Unbounded => Bound::Unbounded,
            };
            range.iter().map(|(low, high)| (lift(low), lift(high))).collect()
        }
    }
}

/// The smallest version that is above `version` with any local label.
fn above_labels(version: &Version) -> Version {
    if let Some(dev) = version.dev() {
        version.clone().with_dev(Some(dev.saturating_add(1)))
    } else if let Some(post) = version.post() {
        version.clone().with_post(Some(post.saturating_add(1))).with_dev(Some(0))
    } else {
        version.clone().with_post(Some(0)).with_dev(Some(0))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => f.write_str("the spec"),
            Self::Card(index) => write!(f, "card of target {}", index + 1),
            Self::Platform(platform) => platform.fmt(f),
            Self::PinnedCuda => f.write_str("cuda"),
            Self::PinnedCudnn => f.write_str("cudnn"),
            Self::Build(family) => f.write_str(family),
            Self::Python => f.write_str("Python"),
            Self::Base => f.write_str("base"),
            Self::Glibc => f.write_str("glibc"),
            Self::Toolkit => f.write_str("system CUDA toolkit"),
            Self::ToolkitUse => f.write_str("use of the system CUDA toolkit"),
            Self::SystemCudnn => f.write_str("system cuDNN"),
            Self::WheelCuda => f.write_str("CUDA of the frameworks"),
            Self::WheelCudnn => f.write_str("cuDNN of the frameworks"),
            Self::Driver(index) => write!(f, "driver of target {}", index + 1),
            Self::Distribution(name) => f.write_str(name),
            Self::Extra(name, extra) => write!(f, "{name}[{extra}]"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("this spec"),
            Self::Rank(rank) => write!(f, "#{rank}"),
            Self::Number(number) => number.fmt(f),
            Self::Release(version) => version.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn takes(specifiers: &str, version: &str) -> bool {
        let values = specifier_values(&VersionSpecifiers::from_str(specifiers).expect("specifiers"));
        values.contains(&Value::Release(Version::from_str(version).expect("a version")))
    }

    #[test]
    fn versions_without_label_take_any_label() {
        assert!(takes("==2.4.1", "2.4.1+cu124"));
        assert!(takes("<=2.4.1", "2.4.1+cu124"));
        assert!(!takes("!=2.4.1", "2.4.1+cu124"));
        assert!(!takes("==2.4.1", "2.4.1.post1"));
        assert!(!takes("==2.4.1+cu121", "2.4.1+cu124"));
        assert!(!takes(">2.4.1", "2.4.1+cu124"));
        assert!(takes(">=2.4.1,<2.5", "2.4.1+cu124"));
        assert!(!takes("<2.4.1", "2.4.1+cu124"));
        assert!(takes("~=2.4", "2.9"));
        assert!(takes("==2.4.*", "2.4.9"));
    }

    #[test]
    fn agrees_with_the_specifiers_own_test_on_releases() {
        let versions = ["1.0", "1.0.1", "1.0.post1", "1.1a1", "1.1.dev1", "1.1", "2.0", "1!0.1", "1.0+x"];
        for text in ["==1.0", "!=1.0", ">1.0", ">=1.0", "<1.1", "<=1.1", "~=1.0", "==1.*", "!=1.0.*", ">1.0,<2"] {
            let specifiers = VersionSpecifiers::from_str(text).expect("specifiers");
            for version in versions {
                let parsed = Version::from_str(version).expect("a version");
                assert_eq!(takes(text, version), specifiers.contains(&parsed), "{version} in {text}");
            }
        }
    }
}
