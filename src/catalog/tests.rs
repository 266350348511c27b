//! What the embedded catalog must answer, and how overlays change it.

use super::*;
use crate::oci::Platform;
use crate::version::{ComputeCapability, DriverBranch};

fn embedded() -> Catalog {
    Catalog::load(&[]).unwrap_or_else(|error| panic!("the embedded catalog: {error} {:?}", error.notes()))
}

fn capability(text: &str) -> ComputeCapability {
    text.parse().expect("a compute capability")
}

fn release(catalog: &Catalog, family: &str, version: &str) -> Release {
    let framework = catalog.framework(family).expect("a family");
    let version = version.parse().expect("a version");
    framework.releases.iter().find(|release| release.version == version).expect("a release").clone()
}

#[test]
fn what_is_embedded_as_json_is_what_the_files_say() {
    let files: Vec<_> = EMBEDDED.iter().map(|file| (file.name, file.text)).collect();
    let read = Catalog::from_texts(&files).unwrap_or_else(|error| panic!("{error}"));
    assert!(format!("{read:?}") == format!("{:?}", embedded()));
    assert!(
        EMBEDDED.is_sorted_by_key(|file| file.name) && EMBEDDED.iter().any(|file| file.name == "framework/jax.yaml")
    );
}

#[test]
fn a_card_answers_to_every_spelling_of_its_name() {
    let catalog = embedded();
    for (spelling, name) in [
        ("T4", "T4"),
        ("t4", "T4"),
        ("Tesla T4", "T4"),
        ("NVIDIA T4", "T4"),
        ("nvidia-tesla-t4", "T4"),
        ("RTX 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("nvidia-a100-80gb", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Radeon RX 7900 XTX", "RX 7900 XTX"),
        ("NVIDIA GB10", "GB10"),
    ] {
        assert_eq!(catalog.gpu(spelling).map(|gpu| gpu.name.as_str()), Some(name), "{spelling}");
    }
    assert_eq!(catalog.gpu("RTX 9999"), None);
    assert_eq!(catalog.gpu(""), None);
}

#[test]
fn cards_have_their_architecture_and_their_last_driver() {
    let catalog = embedded();
    let gpu = |name: &str| catalog.gpu(name).expect("a card").clone();
    assert_eq!(gpu("T4").compute_capability, Some(capability("7.5")));
    assert_eq!(gpu("T4").last_driver_branch, None);
    assert_eq!(gpu("V100").last_driver_branch, Some(DriverBranch(580)));
    assert_eq!(gpu("K80").last_driver_branch, Some(DriverBranch(470)));
    assert_eq!((gpu("MI300X").vendor, gpu("MI300X").gfx.as_deref()), (Vendor::Amd, Some("gfx942")));
    assert_eq!((gpu("T4").class, gpu("RTX 4090").class), (GpuClass::Datacenter, GpuClass::Consumer));
}

#[test]
fn machines_lead_to_cards() {
    let catalog = embedded();
    for (cloud, name, gpu, count, platform) in [
        ("aws", "g4dn.xlarge", "T4", 1, Platform::AMD64),
        ("aws", "g5g.xlarge", "T4G", 1, Platform::ARM64),
        ("aws", "p3.2xlarge", "V100", 1, Platform::AMD64),
        ("azure", "Standard_NC4as_T4_v3", "T4", 1, Platform::AMD64),
        ("azure", "standard_nc4as_t4_v3", "T4", 1, Platform::AMD64),
        ("azure", "Standard_ND96isr_MI300X_v5", "MI300X", 8, Platform::AMD64),
        ("gcp", "a2-highgpu-1g", "A100", 1, Platform::AMD64),
        ("gcp", "g2-standard-4", "L4", 1, Platform::AMD64),
        ("gcp", "n1-standard-4+nvidia-tesla-t4", "T4", 1, Platform::AMD64),
        ("gcp", "n1-highmem-8+nvidia-tesla-v100:8", "V100", 8, Platform::AMD64),
        ("gcp", "n1-custom-4-8192+nvidia-tesla-p4:2", "P4", 2, Platform::AMD64),
        ("oci", "VM.GPU.A10.1", "A10", 1, Platform::AMD64),
        ("lambda", "gpu_8x_v100", "V100", 8, Platform::AMD64),
    ] {
        let instance = catalog.instance(cloud, name).expect(name);
        let found = (instance.gpu.as_deref(), instance.gpu_count, instance.platform);
        assert_eq!(found, (Some(gpu), count, platform), "{cloud}/{name}");
    }
    let plain = catalog.instance("gcp", "n1-standard-4").expect("a machine without cards");
    assert_eq!((plain.gpu, plain.gpu_count), (None, 0));
    for (cloud, name) in [
        ("aws", "g4dn.huge"),
        ("azure", "g4dn.xlarge"),
        ("gcp", "n1-standard-"),
        ("gcp", "n1-standard-4+nvidia-h100"),
        ("gcp", "n1-standard-4+nvidia-tesla-t4:3"),
        ("gcp", "n1-standard-4+nvidia-tesla-t4:x"),
        ("gcp", "a2-highgpu-1g+nvidia-tesla-t4"),
    ] {
        assert_eq!(catalog.instance(cloud, name), None, "{cloud}/{name}");
    }
}

#[test]
fn drivers_of_cuda() {
    let catalog = embedded();
    let floor = |major| catalog.floor(major).map(|floor| floor.driver.to_string());
    assert_eq!(floor(12).as_deref(), Some("525.60.13"));
    assert_eq!(floor(13).as_deref(), Some("580.65.06"));
    assert_eq!(floor(14), None);
    let version = |text: &str| text.parse::<ToolkitVersion>().expect("a version");
    assert_eq!(catalog.toolkit(&version("12.4")).map(|toolkit| toolkit.version.to_string()).as_deref(), Some("12.4.1"));
    assert_eq!(catalog.toolkit(&version("12.7")), None);
    assert_eq!(catalog.ptx_driver(&version("12.4")).map(ToString::to_string).as_deref(), Some("550.54.14"));
    assert_eq!(catalog.ptx_driver(&version("12.4.1")).map(ToString::to_string).as_deref(), Some("550.54.15"));
    assert_eq!(catalog.ptx_driver(&version("13.5")), None);
}

#[test]
fn builds_of_torch_2_5_1() {
    let release = release(&embedded(), "pytorch", "2.5.1");
    let names: Vec<(&str, &str, bool)> =
        release.builds.iter().map(|build| (build.name.as_str(), build.index.as_str(), build.default)).collect();
    assert_eq!(
        names,
        [
            ("cu124", "default", true),
            ("cu118", "pytorch-cu118", false),
            ("cu121", "pytorch-cu121", false),
            ("cu124", "pytorch-cu124", false),
            ("rocm6.2", "pytorch-rocm6.2", false),
            ("cpu", "pytorch-cpu", false),
        ]
    );
    assert_eq!(release.companions["torchvision"], ["0.20.1".parse().expect("a version")]);
    let default = release.builds_named("default").next().expect("a default build");
    assert_eq!(default.requirements, ["torch==2.5.1"]);
    assert_eq!(default.cudnn, "9.1.0.70".parse().ok());
    assert_eq!(default.accelerator_on(Platform::AMD64), Some(Accelerator::Cuda));
    assert_eq!(default.accelerator_on(Platform::ARM64), Some(Accelerator::Cpu));
    assert_eq!(default.platforms[&Platform::AMD64].glibc, (2, 17));
    let lines: Vec<String> = default.platforms[&Platform::AMD64].pythons.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["3.9", "3.10", "3.11", "3.12", "3.13"]);
    let for_arm = release.builds_named("cu124").last().expect("a build for arm64");
    for platform in [Platform::AMD64, Platform::ARM64] {
        assert_eq!(for_arm.accelerator_on(platform), Some(Accelerator::Cuda), "{platform}");
    }
    assert_eq!(for_arm.platforms[&Platform::ARM64].unlabelled, ["torch", "torchvision", "torchaudio"]);
    assert!(for_arm.platforms[&Platform::AMD64].unlabelled.is_empty());
    for (card, support) in
        [("7.5", Support::Sass), ("8.9", Support::Sass), ("9.0", Support::Sass), ("12.0", Support::No)]
    {
        assert_eq!(default.runs_on(&capability(card)), support, "{card}");
    }
}

#[test]
fn newer_torch_drops_old_cards_and_brings_cuda_to_arm() {
    let release = release(&embedded(), "pytorch", "2.11.0");
    let default = release.builds_named("default").next().expect("a default build");
    assert_eq!((default.name.as_str(), default.accelerator_on(Platform::ARM64)), ("cu130", Some(Accelerator::Cuda)));
    assert_eq!(default.runs_on(&capability("7.0")), Support::No);
    assert_eq!(default.runs_on_platform(Platform::AMD64, &capability("7.5")), Support::Sass);
    assert_eq!(default.runs_on_platform(Platform::ARM64, &capability("7.5")), Support::No);
    assert_eq!(default.runs_on_platform(Platform::ARM64, &capability("12.1")), Support::Sass);
    let old = release.builds_named("cu126").next().expect("a build for old cards");
    assert_eq!(old.runs_on(&capability("7.0")), Support::Sass);
    assert_eq!(old.runs_on_platform(Platform::ARM64, &capability("7.0")), Support::No);
    assert_eq!(old.runs_on_platform(Platform::ARM64, &capability("9.0")), Support::Sass);
}

#[test]
fn every_release_of_torch_has_its_default_build_on_the_default_index() {
    let catalog = embedded();
    for release in &catalog.framework("pytorch").expect("a family").releases {
        for build in &release.builds {
            assert_eq!(build.default, build.index == "default", "{} {}", release.version, build.name);
        }
        assert_eq!(release.builds.iter().filter(|build| build.default).count(), 1, "{}", release.version);
    }
}

#[test]
fn other_frameworks_install_by_extra() {
    let catalog = embedded();
    let requirement = |family: &str, version: &str, build: &str| {
        let release = release(&catalog, family, version);
        let build = release.builds_named(build).next().expect("a build").clone();
        (build.requirements.join(" "), build.needs_system_cuda)
    };
    for (family, version, build, line, system) in [
        ("jax", "0.4.35", "default", "jax==0.4.35", false),
        ("jax", "0.4.35", "cu12", "jax[cuda12]==0.4.35", false),
        ("jax", "0.12.0", "cu13", "jax[cuda13]==0.12.0", false),
        ("tensorflow", "2.18.0", "cpu", "tensorflow==2.18.0", false),
        ("tensorflow", "2.18.0", "cu125", "tensorflow[and-cuda]==2.18.0", false),
        ("tensorflow", "2.13.1", "cu118", "tensorflow==2.13.1", true),
        ("onnxruntime", "1.22.0", "cu12", "onnxruntime-gpu[cuda,cudnn]==1.22.0", false),
        ("onnxruntime", "1.18.0", "cu118", "onnxruntime-gpu==1.18.0", true),
        ("cupy", "13.6.0", "cu12", "cupy-cuda12x==13.6.0", true),
        ("cupy", "14.0.1", "cu13", "cupy-cuda13x[ctk]==14.0.1", false),
        ("vllm", "0.6.6.post1", "cu124", "vllm==0.6.6.post1", false),
    ] {
        assert_eq!(requirement(family, version, build), (line.to_owned(), system), "{family} {version} {build}");
    }
}

#[test]
fn bases_and_services() {
    let catalog = embedded();
    let python = |os: &str| catalog.bases.suite(os).map(|suite| (suite.python.to_string(), suite.glibc));
    assert_eq!(python("debian 11"), Some(("3.9".to_owned(), (2, 31))));
    assert_eq!(python("debian 12"), Some(("3.11".to_owned(), (2, 36))));
    assert_eq!(python("debian trixie"), Some(("3.13".to_owned(), (2, 41))));
    assert_eq!(python("ubuntu 22.04"), Some(("3.10".to_owned(), (2, 35))));
    assert_eq!(python("fedora 40"), None);
    let image =
        catalog.bases.cuda.iter().find(|image| image.tag == "12.4.1-cudnn-runtime-ubuntu22.04").expect("an image");
    assert_eq!(
        (image.flavour, image.cudnn.as_ref().map(ToString::to_string)),
        (CudaFlavour::Runtime, Some("9.1.0.70".into()))
    );
    assert_eq!(image.platforms, [Platform::AMD64, Platform::ARM64]);
    let postgres = catalog.service("postgres").expect("a service");
    assert_eq!((postgres.data_path("16"), postgres.port), (Some("/var/lib/postgresql/data"), 5432));
    assert_eq!(
        catalog.python(PythonVersion { major: 3, minor: 15 }).map(|line| line.status),
        Some(PythonStatus::Prerelease)
    );
}

const SMALL: &str = r#"
format: "1.2.0"
gpus:
  - {name: T4, vendor: nvidia, compute_capability: "7.6", class: datacenter, source: "an invented world"}
  - {name: Z1, vendor: amd, gfx: gfx1, class: consumer, source: "an invented world"}
frameworks:
  - family: pytorch
    releases:
      - version: "2.5.1"
        source: an invented world
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}}
        builds:
          - {name: cu124, default: true, toolkit: "12.4", sass: "7.5"}
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

#[test]
fn an_overlay_replaces_by_key_and_adds() {
    let overlay = folder(&[("mine.yaml", SMALL), ("sources.yaml", "not: facts"), ("notes.txt", "neither")]);
    let plain = embedded();
    let catalog = Catalog::load(&[overlay.path().to_owned()]).expect("a catalog");
    assert_eq!(catalog.gpu("Tesla T4").and_then(|gpu| gpu.compute_capability.clone()), Some(capability("7.6")));
    assert_eq!(catalog.gpus.len(), plain.gpus.len() + 1);
    assert_eq!(release(&catalog, "pytorch", "2.5.1").builds.len(), 1);
    assert_eq!(release(&catalog, "pytorch", "2.5.1").builds[0].requirements, ["torch==2.5.1"]);
    assert_eq!(release(&catalog, "pytorch", "2.5.0"), release(&plain, "pytorch", "2.5.0"));
    assert_eq!(check(&catalog), []);
    assert_ne!(catalog.digest(), plain.digest());
    assert_eq!(plain.digest(), embedded().digest());
}

#[test]
fn a_broken_overlay_is_refused_with_its_place() {
    let missing = Catalog::load(&[PathBuf::from("no/such/folder")]).expect_err("no folder");
    assert_eq!(missing.to_string(), "cannot read the catalog overlay `no/such/folder`");

    let load = |text: &str| {
        let overlay = folder(&[("mine.yaml", text)]);
        Catalog::load(&[overlay.path().to_owned()]).expect_err("a broken overlay")
    };
    for text in ["gpus: []\n", "format: \"2.0.0\"\n", "format: one\n"] {
        let error = load(text);
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert_eq!(error.help(), ["start the file with `format: \"1.0.0\"`"]);
    }
    let error = load("format: \"1.0.0\"\ngpus:\n  - {name: A, vender: amd}\n");
    let origin = error.origin().expect("a place");
    assert_eq!((origin.line(), origin.column()), (3, 15), "{error}");

    let new_family = "format: \"1.0.0\"\nframeworks:\n  - {family: flow}\n";
    assert!(load(new_family).to_string().ends_with("framework flow: a new family needs its `package`"));

    let nested = format!("format: \"1.0.0\"\ngpus: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(load(&nested), Error::Syntax { .. }));
    let bomb = "format: \"1.0.0\"\nsources: &a {x: y}\nrules: *a\n";
    assert!(matches!(load(bomb), Error::Syntax { .. }));
}

#[test]
fn citations_come_from_the_files_own_table() {
    let text =
        "format: \"1.0.0\"\nsources: {docs: \"Some docs, page 4\"}\nrules:\n  - {name: a, fact: b, source: docs}\n";
    let catalog = Catalog::from_texts(&[("a.yaml", text)]).expect("a catalog");
    assert_eq!(catalog.rule("a").map(|rule| rule.source.as_str()), Some("Some docs, page 4"));
}

#[test]
#[ignore = "a timing to look at, not a test"]
fn loading_is_fast() {
    let start = std::time::Instant::now();
    let catalog = embedded();
    println!("{:?}, {} cards", start.elapsed(), catalog.gpus.len());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\n]{0,200}") {
        let _ = Catalog::from_texts(&[("a.yaml", &text)]);
        let _ = Catalog::from_texts(&[("a.yaml", &format!("format: \"1.0.0\"\n{text}"))]);
    }

    #[test]
    fn no_name_makes_a_look_up_panic(name in "\\PC{0,40}") {
        let catalog = Catalog::from_texts(&[("a.yaml", SMALL.replace("  - family: pytorch\n", "  - family: pytorch\n    package: torch\n").as_str())]);
        let catalog = catalog.expect("a catalog");
        let _ = (catalog.gpu(&name), catalog.instance("gcp", &name));
        let _ = view::show(&catalog, &[name.clone(), name]);
    }
}

#[test]
fn a_section_with_nothing_behind_it_is_empty() {
    let sections = [
        "sources",
        "rules",
        "gpus",
        "instances",
        "machine_families",
        "attachable_gpus",
        "toolkits",
        "driver_floors",
        "driver_branches",
        "cudnn",
        "cudnn_floors",
        "rocm_drivers",
        "pythons",
        "debian",
        "ubuntu",
        "slim_images",
        "cuda_images",
        "services",
        "frameworks",
    ];
    let python = "pythons: [{version: '3.12', status: final, source: doc}]\n";
    for section in sections.into_iter().filter(|section| *section != "pythons") {
        let text = format!("format: 1.0.0\n{section}:\n{python}");
        let catalog =
            Catalog::from_texts(&[("world.yaml", &text)]).unwrap_or_else(|error| panic!("{section}: {error}"));
        assert_eq!(catalog.pythons.len(), 1, "{section}");
    }
    let empty = sections.map(|section| format!("{section}:\n")).concat();
    assert!(Catalog::from_texts(&[("world.yaml", &format!("format: 1.0.0\n{empty}"))]).is_ok());
    let framework =
        "frameworks:\n  - {family: alpha, package: alpha, companions: , needs: , requirements: , releases: }\n";
    let catalog = Catalog::from_texts(&[("world.yaml", &format!("format: 1.0.0\n{framework}"))]).expect("a catalog");
    assert_eq!(catalog.frameworks.len(), 1);
    // What is there is read as before.
    assert!(Catalog::from_texts(&[("world.yaml", "format: 1.0.0\nslim_images: none\n")]).is_err());
}
