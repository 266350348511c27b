//! An invented world, listed and shown to the letter.

use super::*;
use crate::catalog::Catalog;

const WORLD: &str = r#"
format: "1.0.0"
sources: {made: an invented world}
gpus:
  - {name: Alpha, vendor: nvidia, compute_capability: "7.5", class: datacenter, last_driver_branch: R520, source: made}
  - {name: Beta Two, vendor: amd, gfx: gfx900, class: consumer, source: made, unverified: true}
instances:
  - {cloud: sky, name: one.large, gpu: Alpha, gpu_count: 2, source: made}
  - {cloud: sky, name: plain, source: made}
pythons:
  - {version: "3.11", status: final, source: made}
debian:
  - {suite: jay, release: "10", python: "3.9", glibc: "2.31", source: made}
slim_images:
  - {python: "3.11", suite: jay, reference: "python:3.11-slim-jay", platforms: linux/amd64, source: made}
toolkits:
  - {version: "12.1.0", driver: "530.1", compute_capabilities: "7.0 7.5 8.0", source: made}
ubuntu:
  - {suite: owl, release: "22.04", python: "3.10", glibc: "2.35", source: made}
cuda_images:
  - {toolkit: "12.1.0", os: ubuntu 22.04, glibc: "2.35", cudnn: "8.9", flavours: base cudnn8-runtime, platforms: linux/amd64, source: made}
other_systems:
  - os: rhino 9
    packages: rpm
    glibc: "2.34"
    end_of_life: "12.0.0"
    source: made
    images:
      - {toolkits: "12.0.0 12.1.0", flavours: base devel, platforms: linux/amd64 linux/arm64}
      - {toolkits: "12.1.0", flavours: cudnn8-devel, platforms: linux/amd64}
driver_floors:
  - {major: 12, driver: "520.1", source: made}
frameworks:
  - family: flow
    package: pyflow
    companions: [flowvision]
    requirements: {"*": ["pyflow=={version}"]}
    releases:
      - version: "1.0"
        requires_python: ">=3.11"
        companions: {flowvision: "0.2 0.1"}
        source: made
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}, linux/arm64: {pythons: "3.12", glibc: "2.28"}}
        builds:
          - {name: cu121, default: true, toolkit: "12.1", sass: "7.0 7.5", ptx: "7.5", platforms: {linux/arm64: {accelerator: cpu}}}
          - {name: cpu, index: flow-cpu, only: linux/amd64}
"#;

fn catalog() -> Catalog {
    Catalog::from_texts(&[("a.yaml", WORLD)]).expect("a catalog")
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn lists_are_aligned_and_hold_every_entry() {
    let gpus = list(&catalog(), Kind::Gpus, &Filter::default()).expect("a list");
    assert_eq!(
        gpus.text,
        "CARD      ARCHITECTURE  CLASS       DRIVERS\n\
             Alpha     7.5           datacenter  up to R520\n\
             Beta Two  gfx900        consumer                unverified\n"
    );
    assert_eq!(gpus.json[1]["name"], "Beta Two");
    let cuda = list(&catalog(), Kind::Cuda, &Filter::default()).expect("a list");
    assert_eq!(
        cuda.text,
        "TOOLKIT  DRIVER  DRIVER FOR PTX  COMPUTE CAPABILITY\n12.1.0   520.1   530.1           7.0 to 8.0\n"
    );
}

#[test]
fn a_release_is_shown_by_family_or_by_package() {
    let view = show(&catalog(), &words("pyflow 1.0")).expect("a release");
    assert_eq!(
        view.text,
        "pyflow 1.0\n\
             requires python >=3.11\n\
             with flowvision 0.2, 0.1\n\
             \n\
             BUILD            INDEX     CUDA  CUDNN  DRIVER  COMPUTE CAPABILITY  PYTHON        PLATFORMS\n\
             cu121 (default)  default   12.1         520.1   7.0 7.5 7.5+PTX     3.11 to 3.12  linux/amd64, linux/arm64 (cpu only)\n\
             cpu              flow-cpu                                           3.11          linux/amd64\n\
             \n\
             source: an invented world\n"
    );
    assert_eq!(view, show(&catalog(), &words("flow 1.0")).expect("a release"));
    assert_eq!(view.json["release"]["builds"][0]["requirements"][0], "pyflow==1.0");
    assert_eq!(view.json["release"]["builds"][0]["platforms"]["linux/arm64"]["glibc"], "2.28");
}

#[test]
fn a_machine_leads_to_its_card_and_the_card_to_what_runs_on_it() {
    let expected = "card                Alpha (nvidia, datacenter)\n\
                        compute capability  7.5\n\
                        driver              up to R520\n\
                        cuda 12             toolkit 12.1.0, driver 520.1 or newer\n\
                        instances           sky/one.large\n\
                        \n\
                        newest releases that run on it\n\
                        PACKAGE  RELEASE  BUILDS\n\
                        pyflow   1.0      cu121\n\
                        \n\
                        source: an invented world\n";
    for asked in ["alpha", "gpu Alpha", "card alpha"] {
        assert_eq!(show(&catalog(), &words(asked)).expect("a card").text, expected, "{asked}");
    }
    for asked in ["sky/one.large", "instance sky/one.large"] {
        let view = show(&catalog(), &words(asked)).expect("an instance");
        let machine =
            "instance  sky/one.large\nplatform  linux/amd64\ncards     2 x Alpha\nsource: an invented world\n\n";
        assert_eq!(view.text, format!("{machine}{expected}"), "{asked}");
        assert_eq!((&view.json["gpu_count"], &view.json["card"]["cuda"][0]["major"]), (&2.into(), &12.into()));
    }
}

#[test]
fn a_card_that_newer_drivers_forgot_has_no_newer_cuda() {
    let text = WORLD.replace("last_driver_branch: R520", "last_driver_branch: R519");
    let catalog = Catalog::from_texts(&[("a.yaml", &text)]).expect("a catalog");
    let view = show(&catalog, &words("Alpha")).expect("a card");
    assert_eq!((&view.json["cuda"], &view.json["frameworks"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn a_build_is_shown_by_platform() {
    let view = show(&catalog(), &words("pyflow 1.0 cu121")).expect("a build");
    assert_eq!(
        view.text,
        "build               cu121 (default) of pyflow 1.0\n\
             installed by        pyflow==1.0\n\
             index               default\n\
             computes on         cuda\n\
             cuda                12.1\n\
             compute capability  7.0 7.5 7.5+PTX\n\
             driver              520.1 or newer\n\
             driver for PTX      530.1 or newer\n\
             requires python     >=3.11\n\
             with                flowvision 0.2 or 0.1\n\
             \n\
             PLATFORM     PYTHON  GLIBC  COMPUTES ON  COMPUTE CAPABILITY\n\
             linux/amd64  3.11    2.17   cuda\n\
             linux/arm64  3.12    2.28   cpu\n\
             \n\
             source: an invented world\n"
    );
    assert_eq!(view, show(&catalog(), &words("flow 1.0 default")).expect("the default build"));
}

#[test]
fn a_driver_carries_majors_by_their_floor_and_toolkits_by_their_own() {
    let old = show(&catalog(), &words("driver 525.2")).expect("a driver");
    assert_eq!(
        old.text,
        "driver           525.2\n\
             cuda majors      12 (needs 520.1)\n\
             no longer knows  Alpha\n\
             \n\
             newest releases that run on it\n\
             PACKAGE  RELEASE  BUILDS\n\
             pyflow   1.0      cu121\n\
             \n\
             source: an invented world\n"
    );
    let newest = |asked: &str| show(&catalog(), &words(asked)).expect("a driver").json["newest_toolkit"].clone();
    assert_eq!((newest("driver 525.2"), newest("driver 530.1")), (Value::Null, "12.1.0".into()));
    assert_eq!((newest("driver R530"), newest("driver 530")), ("12.1.0".into(), "12.1.0".into()));
}

#[test]
fn what_stands_below_a_framework_names_who_needs_it() {
    let frameworks = |asked: &str| {
        let json = show(&catalog(), &words(asked)).expect("an entry").json;
        json["frameworks"][0]["builds"].to_string()
    };
    assert_eq!(frameworks("cuda 12.1"), r#"["cu121"]"#);
    assert_eq!(frameworks("python 3.11"), r#"["cpu","cu121"]"#);
    let base = show(&catalog(), &words("base slim 3.11")).expect("a base");
    assert_eq!(
            base.text,
            "BASE                    PYTHON  GLIBC  CUDA  PLATFORMS\npython:3.11-slim-jay    3.11    2.31         linux/amd64\n\
             \nsource: an invented world\n"
                .replace("slim-jay    ", "slim-jay  ")
                .replace("BASE                    ", "BASE                  ")
        );
    assert_eq!(show(&catalog(), &words("base jay")).expect("bases").json.as_array().map(Vec::len), Some(2));
    assert_eq!(show(&catalog(), &words("base slim 3.1")).expect_err("no base").exit_code(), 1);
}

#[test]
fn images_are_listed_by_system_and_one_that_is_no_base_says_why() {
    let images = list(&catalog(), Kind::Images, &Filter::default()).expect("a list");
    assert_eq!(
        images.text,
        "NVIDIA/CUDA ON  BASE  TOOLKITS          NUMBER  WITH CUDNN  PLATFORMS\n\
         ubuntu 22.04    yes   12.1.0            1       1           linux/amd64\n\
         rhino 9         no    12.0.0 to 12.1.0  2       1           linux/amd64 linux/arm64\n"
    );
    assert_eq!((&images.json[0]["base"], &images.json[1]["base"]), (&Value::Bool(true), &Value::Bool(false)));
    let shown = show(&catalog(), &words("rhino 9")).expect("a system");
    assert_eq!(
        shown.text,
        "system    rhino 9\n\
         base      no: rhino 9, whose packages are RPMs: images are made of Debian's and Ubuntu's packages here\n\
         instead   ubuntu 22.04\n\
         packages  rpm\n\
         glibc     2.34\n\
         tags      nvidia/cuda:TOOLKIT-FLAVOUR-rhino9\n\
         \n\
         TOOLKIT  FLAVOURS      PLATFORMS\n\
         12.1.0   base devel    linux/amd64 linux/arm64\n\
         12.1.0   cudnn8-devel  linux/amd64\n\
         12.0.0   base devel    linux/amd64 linux/arm64  end of life\n\
         \n\
         source: an invented world\n"
    );
    for asked in ["rhino9", "rhino:9", "rhino 9.4", "base rhino 9"] {
        assert_eq!(show(&catalog(), &words(asked)).expect("a system"), shown, "{asked}");
    }
    assert_eq!(shown.json["images"][1]["flavours"], serde_json::json!(["cudnn8-devel"]));
    let bases = |asked: &str| show(&catalog(), &words(asked)).expect("bases").json.as_array().map(Vec::len);
    assert_eq!((bases("ubuntu 22.04"), bases("debian10")), (Some(3), Some(1)));
    let cuda = show(&catalog(), &words("cuda 12.1")).expect("a toolkit");
    assert!(cuda.text.contains("\nno bases  rhino 9\n"), "{}", cuda.text);
    let error = show(&catalog(), &words("rhyno 9")).expect_err("no system");
    assert_eq!(error.help(), ["did you mean `rhino 9`?"]);
}

#[test]
fn instances_are_filtered_and_nothing_else_is() {
    let filtered = |cloud: Option<&str>, gpu: Option<&str>, kind| {
        let filter = Filter { cloud: cloud.map(str::to_owned), gpu: gpu.map(str::to_owned) };
        list(&catalog(), kind, &filter).map(|view| view.text.lines().count() - 1).map_err(|error| error.to_string())
    };
    assert_eq!(filtered(None, None, Kind::Instances), Ok(2));
    assert_eq!(filtered(Some("SKY"), Some("nvidia alpha"), Kind::Instances), Ok(1));
    assert_eq!(filtered(None, Some("Beta Two"), Kind::Instances), Ok(0));
    assert_eq!(filtered(None, Some("Gamma"), Kind::Instances), Err("the catalog has no card `Gamma`".to_owned()));
    assert_eq!(filtered(Some("sea"), None, Kind::Instances), Err("the catalog has no cloud `sea`".to_owned()));
    let error = "`--cloud` and `--gpu` choose among instances, not among gpus".to_owned();
    assert_eq!(filtered(Some("sky"), None, Kind::Gpus), Err(error));
}

#[test]
fn wide_tables_wrap_and_the_embedded_answers_fit() {
    let catalog = Catalog::load(&[]).expect("the embedded catalog");
    for asked in
        ["L4", "V100", "torch 2.5.1", "cupy 14.2.0", "cuda 12.4", "driver 535.104.05", "python 3.11", "base cuda"]
    {
        let view = show(&catalog, &words(asked)).expect("an answer");
        let wide = view.text.lines().find(|line| line.chars().count() > 120 && !line.starts_with("source: "));
        assert_eq!(wide, None, "{asked}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_a_close_one() {
    for (asked, message, help) in [
        ("gpu Alpho", "the catalog has no card `Alpho`", "did you mean `Alpha`?"),
        ("instance sky/one.lurge", "the catalog has no instance `sky/one.lurge`", "did you mean `sky/one.large`?"),
        ("sky/one.lurge", "the catalog has no instance `sky/one.lurge`", "did you mean `sky/one.large`?"),
        ("Alpho", "the catalog has no entry `Alpho`", "did you mean `Alpha`?"),
        ("pyflwo 1.0", "the catalog has no entry `pyflwo 1.0`", "did you mean `pyflow`?"),
        ("flow 1.0 cu122", "the catalog has no build `flow 1.0 cu122`", "did you mean `cu121`?"),
        ("flow 1.1", "the catalog has no release `flow 1.1`", "did you mean `1.0`?"),
        ("framework flom", "the catalog has no framework `flom`", "did you mean `flow`?"),
    ] {
        let error = show(&catalog(), &words(asked)).expect_err("not in the catalog");
        assert_eq!((error.to_string().as_str(), error.help().concat().as_str()), (message, help), "{asked}");
        assert_eq!(error.exit_code(), 1);
    }
    let error = "gpuss".parse::<Kind>().expect_err("no kind");
    assert_eq!(error.help().first().map(String::as_str), Some("did you mean `gpus`?"));
    assert_eq!(show(&catalog(), &[]).expect_err("nothing").exit_code(), 2);
}
