//! The base image that was invented for the golden digests (`tests/cases/golden/README.md`): small, and the same for ever.

use std::process::Command;

use super::registry::RegistryServer;
use super::{repository, run};

/// Brings it into a registry, as `docker.io/library/invented:1` for whoever has the answer in `IMGFORGE_REGISTRY_MIRRORS`.
pub(crate) fn mirror(server: &RegistryServer) -> String {
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--all", "--dest-tls-verify=false"]);
    copy.arg(format!("oci:{}:1", repository().join("tests/cases/golden/base").display()));
    run(copy.arg(format!("docker://{}/library/invented:1", server.host())));
    format!("docker.io={}", server.host())
}
