//! Why one value needs another: the edges of the problem, each with its source.
//!
//! Edges carry what a person needs to check them: a sentence, the citation of the catalog entry or the package whose
//! metadata says so, and the place in the spec that asked.

use crate::diagnostic::Origin;

use super::variable::{Values, Variable};

/// Machine-readable kind of a conflict's step; the names are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// No binary in the build for this compute capability.
    CcNotSupported,
    /// The build's toolkit no longer compiles for this compute capability.
    CcRemovedFromToolkit,
    /// The driver named in the spec is older than the build needs.
    DriverBelowFloor,
    /// The card's last driver branch is older than the build needs.
    DriverBranchEnds,
    /// No wheel was published for this Python line.
    NoWheelForPython,
    /// The release's `requires_python` excludes this Python line.
    RequiresPython,
    /// No build of this release for a platform.
    NoBuildForPlatform,
    /// The base's glibc is older than the wheel needs.
    GlibcTooOld,
    /// Nothing published has such a version.
    NoSuchVersion,
    /// No base image with these properties.
    NoSuchImage,
    /// The build's cuDNN is not the pinned one.
    CudnnMismatch,
    /// The build's CUDA is not the pinned one.
    CudaMismatch,
    /// No build for this kind of accelerator.
    NoAcceleratorBuild,
    /// Two requirements exclude each other.
    PinConflict,
    /// None of the others.
    Unsatisfiable,
}

impl Code {
    /// The name scripts see.
    pub fn name(self) -> &'static str {
        match self {
            Self::CcNotSupported => "cc_not_supported",
            Self::CcRemovedFromToolkit => "cc_removed_from_toolkit",
            Self::DriverBelowFloor => "driver_below_floor",
            Self::DriverBranchEnds => "driver_branch_ends",
            Self::NoWheelForPython => "no_wheel_for_python",
            Self::RequiresPython => "requires_python",
            Self::NoBuildForPlatform => "no_build_for_platform",
            Self::GlibcTooOld => "glibc_too_old",
            Self::NoSuchVersion => "no_such_version",
            Self::NoSuchImage => "no_such_image",
            Self::CudnnMismatch => "cudnn_mismatch",
            Self::CudaMismatch => "cuda_mismatch",
            Self::NoAcceleratorBuild => "no_accelerator_build",
            Self::PinConflict => "pin_conflict",
            Self::Unsatisfiable => "unsatisfiable",
        }
    }
}

/// The ground an edge stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Kind of conflict this edge makes when it cannot be met.
    pub code: Code,
    /// One sentence without full stop.
    pub fact: String,
    /// Citation: a document, a package's metadata, the spec.
    pub source: String,
    /// The line of the spec that asked, if the spec did.
    pub origin: Option<Origin>,
}

/// One value needs another variable to be in a set.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The variable constrained.
    pub to: Variable,
    /// The values it may have.
    pub values: Values,
    /// Why.
    pub evidence: Evidence,
}
