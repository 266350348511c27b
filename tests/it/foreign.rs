//! An image for another processor: made without an emulator, then run by one.

use std::fs;
use std::process::Command;

use crate::support::forge::Forge;
use crate::support::run;

#[test]
fn an_image_for_another_processor_runs_there() {
    let forge = Forge::new();
    let packages = "packages: [numpy, charset-normalizer]\nsystem: [tree]\n";
    forge.write("spec.yaml", format!("name: arm\npython: \"3.13\"\nplatforms: [linux/arm64]\n{packages}"));
    // Nothing can be started while it is made, neither an emulator nor an interpreter.
    forge.imgforge().args(["build", "spec.yaml"]).env("PATH", "").assert().success();

    let bundle = forge.path("bundle");
    let reference = format!("{}:latest", forge.path("generated/arm/oci").display());
    run(Command::new("umoci").args(["unpack", "--image", &reference]).arg(&bundle));
    let root = bundle.join("rootfs");
    let emulator = run(Command::new("sh").args(["-c", "command -v qemu-aarch64-static"]));
    fs::copy(emulator, root.join("emulator")).expect("an emulator");
    let emulated = |program: &[&str]| {
        let mut command = Command::new("chroot");
        run(command
            .arg("--userspec=1000:1000")
            .arg(&root)
            .arg("/emulator")
            .args(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin"))
    };
    let script = "import os, sys, numpy, charset_normalizer\n\
                  from numpy._core import _multiarray_umath as core\n\
                  a = numpy.arange(12.).reshape(3, 4)\n\
                  print(os.uname().machine, os.getuid(), sys.prefix, (a @ a.T).trace(), core.__file__.split('-')[-3:])";
    assert_eq!(
        emulated(&["/opt/venv/bin/python", "-c", script]),
        "aarch64 1000 /opt/venv 506.0 ['aarch64', 'linux', 'gnu.so']"
    );
    let tree = emulated(&["/usr/bin/tree", "--noreport", "-L", "1", "/opt"]);
    assert_eq!(tree.lines().next_back().map(|line| line.ends_with("venv")), Some(true), "{tree}");
}
