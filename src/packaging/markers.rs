//! The variables that environment markers are evaluated with.

use pep440_rs::Version;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};

use crate::oci::Platform;
use crate::version::PythonVersion;
use crate::version::wheel_tag::machine_name;

/// The marker variables of CPython on glibc Linux (PEP 508). Release and version of the kernel are those of the machine
/// the image will run on, so they are empty here.
pub fn marker_environment(platform: Platform, python: PythonVersion, full: &Version) -> MarkerEnvironment {
    let full = full.to_string();
    let line = python.to_string();
    let build = |full: &str| {
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: full,
            os_name: "posix",
            platform_machine: machine_name(platform.architecture_name()),
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: full,
            python_version: &line,
            sys_platform: "linux",
        })
    };
    build(&full).unwrap_or_else(|_| unreachable!("a parsed version prints as a version"))
}
