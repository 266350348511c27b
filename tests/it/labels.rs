//! PyTorch's indexes as they are for two platforms: wheels for x86-64 with the label of their build, those for arm64 with
//! none. The catalog is the embedded one, the wheels are invented.

use crate::support::forge::{Forge, standard_output};
use crate::support::index::{digest, serve};

const LABELLED: [&str; 2] =
    ["torch-2.5.1+cu124-cp311-cp311-linux_x86_64.whl", "torchvision-0.20.1+cu124-cp311-cp311-linux_x86_64.whl"];
const UNLABELLED: [&str; 2] =
    ["torch-2.5.1-cp311-cp311-linux_aarch64.whl", "torchvision-0.20.1-cp311-cp311-linux_aarch64.whl"];
/// What the default index has for arm64 computes on the processor.
const PLAIN: [&str; 2] =
    ["torch-2.5.1-cp311-cp311-manylinux2014_aarch64.whl", "torchvision-0.20.1-cp311-cp311-manylinux2014_aarch64.whl"];

const SPEC: &str = "name: grace\npython: \"3.11\"\nbase: debian\ntargets: [{gpu: H100}, {gpu: GH200}]\nframeworks:\n  \
                    pytorch: {version: \"2.5.1\", with: [torchvision]}\n";

fn command(forge: &Forge, index: &str, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = forge.imgforge();
    command.env("IMGFORGE_INDEX_URL", format!("{index}default/"));
    command.env("IMGFORGE_INDEX_PYTORCH_CU124_URL", format!("{index}cu124/"));
    command.args(arguments);
    command
}

#[test]
fn each_platform_is_locked_with_the_file_that_the_build_has_for_it() {
    let index = serve(
        &[
            ("default/torch", &PLAIN[..1]),
            ("default/torchvision", &PLAIN[1..]),
            ("cu124/torch", &[LABELLED[0], UNLABELLED[0]]),
            ("cu124/torchvision", &[LABELLED[1], UNLABELLED[1]]),
        ],
        "",
    );
    let forge = Forge::new();
    forge.write("spec.yaml", SPEC);
    standard_output(&mut command(&forge, &index, &["lock", "spec.yaml"]));
    let lock = forge.read("imgforge.lock");
    let (amd64, arm64) = lock.split_once("name = \"linux/arm64\"").expect("two platforms");
    for (section, files, versions) in
        [(amd64, LABELLED, ["2.5.1+cu124", "0.20.1+cu124"]), (arm64, UNLABELLED, ["2.5.1", "0.20.1"])]
    {
        for (file, version) in files.into_iter().zip(versions) {
            let digest = digest(file);
            let wheel = section.split("[[platform.wheel]]").find(|wheel| wheel.contains(&format!("file = \"{file}\"")));
            let wheel = wheel.unwrap_or_else(|| panic!("{file}:\n{lock}"));
            for line in [format!("version = \"{version}\""), format!("digest = \"{digest}\"")] {
                assert!(wheel.lines().any(|found| found == line), "{line}:\n{wheel}");
            }
            assert!(wheel.contains("index = \"pytorch-cu124\"\n"), "{wheel}");
        }
    }
    // Locked again it stays as it is, and what pip is told is what each wheel says of itself.
    standard_output(&mut command(&forge, &index, &["lock", "spec.yaml"]));
    assert_eq!(forge.read("imgforge.lock"), lock);
    standard_output(&mut command(&forge, &index, &["render", "spec.yaml"]));
    let requirements = forge.read("generated/grace/requirements-pytorch-cu124.txt");
    for line in [
        "torch==2.5.1 ; platform_machine == \"aarch64\"",
        "torch==2.5.1+cu124 ; platform_machine == \"x86_64\"",
        "torchvision==0.20.1 ; platform_machine == \"aarch64\"",
    ] {
        assert!(requirements.contains(line), "{line}:\n{requirements}");
    }
}

#[test]
fn an_index_without_a_wheel_for_the_platform_is_named_with_what_it_has() {
    let index = serve(&[("default/torch", &PLAIN[..1]), ("cu124/torch", &LABELLED[..1])], "");
    let forge = Forge::new();
    forge.write("spec.yaml", SPEC.replace(", with: [torchvision]", ""));
    let output = command(&forge, &index, &["lock", "spec.yaml"]).assert().code(1).get_output().clone();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "the index `pytorch-cu124` has no wheel of torch 2.5.1+cu124 for aarch64 Linux, only for x86_64";
    assert!(stderr.contains(expected), "{stderr}");
}
