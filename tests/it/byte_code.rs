//! `compile: true`: the image's Python finds its modules compiled, whoever compiled them and for whichever platform.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::forge::{Forge, standard_output};
use crate::support::layout::Layout;
use crate::support::{files_below, output, run};

const SPEC: &str = "name: compiled\npython: \"3.13\"\npackages: [jinja2==3.1.6, six==1.17.0]\ncompile: true\n";
const SITE: &str = "opt/venv/lib/python3.13/site-packages";

/// The image's root folder.
fn unpack(forge: &Forge) -> PathBuf {
    let reference = format!("{}:latest", forge.path("generated/compiled/oci").display());
    let bundle = forge.path("bundle");
    run(Command::new("umoci").args(["unpack", "--image", &reference]).arg(&bundle));
    bundle.join("rootfs")
}

fn byte_code(root: &Path) -> BTreeSet<String> {
    let of_site = files_below(&root.join(SITE));
    of_site.into_keys().filter(|path| path.contains("__pycache__/")).collect()
}

#[test]
fn an_images_python_loads_what_is_compiled_and_writes_nothing() {
    let forge = Forge::new();
    forge.write("spec.yaml", SPEC);
    let first = standard_output(forge.imgforge().args(["build", "spec.yaml"]));
    let root = unpack(&forge);
    let before = byte_code(&root);
    assert!(before.contains("jinja2/__pycache__/environment.cpython-313.pyc"), "{before:?}");
    assert!(before.contains("__pycache__/six.cpython-313.pyc"), "{before:?}");
    let import = ["/opt/venv/bin/python", "-v", "-c", "import jinja2, markupsafe, six"];
    let run_import = || {
        let mut command = Command::new("chroot");
        output(command.arg(&root).args(import).env_remove("PYTHONDONTWRITEBYTECODE"))
    };
    let imported = run_import();
    assert!(imported.status.success(), "{imported:?}");
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    let loaded = format!("code object from '/{SITE}/jinja2/__pycache__/environment.cpython-313.pyc'");
    assert!(said.contains(&loaded), "{said}");
    let compiled_again = said.lines().find(|line| line.contains("wrote") && line.contains(SITE));
    assert_eq!(compiled_again, None);
    assert_eq!(byte_code(&root), before);
    // A file that is not compiled would be: the folder can be written to.
    fs::remove_file(root.join(SITE).join("__pycache__/six.cpython-313.pyc")).expect("a file");
    assert!(run_import().status.success());
    assert_eq!(byte_code(&root), before);

    // By an interpreter that is installed: the image's own, under its name on the path.
    let bin = forge.path("bin");
    fs::create_dir(&bin).expect("a folder");
    let script = format!(
        "#!/bin/sh\necho used >>{0}/used\nexec chroot {1} /usr/bin/python3.13 \"$@\"\n",
        bin.display(),
        root.display()
    );
    fs::write(bin.join("python3.13"), script).expect("a script");
    fs::set_permissions(bin.join("python3.13"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = std::env::var("PATH").expect("a path");
    let again = ["build", "spec.yaml", "--output", "again"];
    let mut build = forge.imgforge();
    build.args(again).env("PATH", format!("{}:{path}", bin.display()));
    assert_eq!(standard_output(&mut build), first);
    assert!(bin.join("used").exists());
}

#[test]
fn one_interpreter_compiles_for_every_platform() {
    let forge = Forge::new();
    forge.write("spec.yaml", format!("{SPEC}platforms: [linux/amd64, linux/arm64]\n"));
    let mut build = forge.imgforge();
    build.args(["build", "spec.yaml", "--format", "json"]);
    let answer: Value = serde_json::from_str(&standard_output(&mut build)).expect("JSON");
    let index = answer["images"][0]["digest"].as_str().expect("a digest").to_owned();
    let blob = |digest: &str| -> Value {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let path = forge.path("generated/compiled/oci/blobs/sha256").join(hex);
        serde_json::from_slice(&fs::read(path).expect("a blob")).expect("JSON")
    };
    let byte_code = |manifest: &Value| -> BTreeSet<(String, String)> {
        let layers = blob(manifest["digest"].as_str().expect("a digest"));
        let layers = layers["layers"].as_array().expect("layers").clone();
        let pairs = layers.iter().map(|layer| {
            let contents = layer["annotations"]["dev.imgforge.layer.contents"].as_str().expect("contents").to_owned();
            (contents, layer["digest"].as_str().expect("a digest").to_owned())
        });
        pairs.filter(|(contents, _)| contents.starts_with("byte-code of ")).collect()
    };
    let manifests = blob(&index)["manifests"].as_array().expect("manifests").clone();
    assert_eq!(manifests.len(), 2);
    let [one, other] = [&manifests[0], &manifests[1]].map(byte_code);
    // Modules are the same on both; those of markupsafe lie beside different libraries.
    let shared: Vec<&str> = one.intersection(&other).map(|(contents, _)| contents.as_str()).collect();
    assert!(shared.contains(&"byte-code of six 1.17.0"), "{one:?}\n{other:?}");
    assert_eq!(one.len(), other.len());
}

#[test]
fn another_release_of_python_does_not_do() {
    let forge = Forge::new();
    let foreign = match std::env::consts::ARCH {
        "aarch64" => "linux/amd64",
        _ => "linux/arm64",
    };
    forge.write("spec.yaml", format!("{SPEC}platforms: [{foreign}]\n"));
    forge.imgforge().args(["lock", "spec.yaml"]).assert().success();
    let lock = forge.read("imgforge.lock");
    assert!(lock.contains("\ncompile = true\n"), "{lock}");
    let build = ["build", "spec.yaml", "--platform", foreign];
    let assertion = forge.imgforge().args(build).env("PATH", "/nowhere").assert().code(2);
    let said = String::from_utf8_lossy(&assertion.get_output().stderr).into_owned();
    let release = "error: `compile: true` needs Python 3.13.";
    assert!(said.contains(release), "{said}");
    assert!(said.contains("help: put `python3.13` of that release on the `PATH`"), "{said}");
    assert!(said.contains("help: or build `linux/"), "{said}");
}

#[test]
fn the_dockerfile_compiles_as_well() {
    let forge = Forge::new();
    forge.write("spec.yaml", SPEC);
    let digest = standard_output(forge.imgforge().args(["build", "spec.yaml"]));
    assert_eq!(Layout::open(&forge.path("generated/compiled/oci")).digest, digest);
    let dockerfile = forge.read("generated/compiled/Dockerfile");
    assert!(
        dockerfile.contains("-m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/venv"),
        "{dockerfile}"
    );
    let hadolint = output(Command::new("hadolint").arg(forge.path("generated/compiled/Dockerfile")));
    assert!(hadolint.status.success(), "{}", String::from_utf8_lossy(&hadolint.stdout));
}
