//! A source of packages that answers for a while only.
//!
//! To tell a conflict well, parts of the spec are resolved again. That is worth some seconds and no more, and each resolution asks
//! for pages and METADATA at every step: without answers it ends soon. What was found out until then is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::diagnostic::{Failure, Hint};
use crate::packaging::{Metadata, Project, ProjectFile};
use crate::spec::FilePin;

use super::{Likely, PackageSource};

/// Another source, until time is up.
pub(super) struct Hurried<'a> {
    source: &'a dyn PackageSource,
    until: Instant,
}

/// Why it does not answer any more. Nobody reads this: a resolution that ends with it counts as not made.
#[derive(Debug, thiserror::Error)]
#[error("there is no time left to ask the package index")]
struct TimeIsUp;

impl Hint for TimeIsUp {}

impl<'a> Hurried<'a> {
    pub(super) fn new(source: &'a dyn PackageSource, patience: Duration) -> Self {
        Self { source, until: Instant::now() + patience }
    }

    /// Fails when time is up.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if Instant::now() < self.until { Ok(()) } else { Err(TimeIsUp.into()) }
    }
}

impl PackageSource for Hurried<'_> {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        self.check()?;
        self.source.project(index, name)
    }
    fn wheel(&self, pin: &FilePin) -> Result<ProjectFile, Failure> {
        self.check()?;
        self.source.wheel(pin)
    }
    fn metadata(&self, index: &str, file: &ProjectFile) -> Result<Result<Arc<Metadata>, String>, Failure> {
        self.check()?;
        self.source.metadata(index, file)
    }
    fn prefetch(&self, requests: Vec<(String, String)>) {
        if self.check().is_ok() {
            self.source.prefetch(requests);
        }
    }
    fn prefetch_likely(&self, index: &str, name: &str, likely: Likely) {
        if self.check().is_ok() {
            self.source.prefetch_likely(index, name, likely);
        }
    }
}
