//! An invented catalog folder with comments, an invented upstream, and the exact text that comes out.

mod reading;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::*;
use crate::diagnostic::Hint;
use crate::packaging::parse_json;

const FLOW: &str = r#"# Flow. Kept by hand.
format: "1.0.0"

sources:
  wheels: "an invented index, seen by a person"   # who looked

frameworks:
  - family: flow
    package: flow
    companions: [flowvision]
    requirements:
      "*": ["flow=={version}"]
    releases:
      # The last one for old cards: do not drop.
      - version: "1.1.0"
        requires_python: ">=3.10"
        companions: {flowvision: "0.2.0"}   # by hand
        source: wheels
        platforms:
          linux/amd64: {pythons: "3.10 3.11", glibc: "2.28"}
        builds:
          - {name: cu124, default: true, toolkit: "12.4", cudnn: "9.1.0.70", sass: "7.5 8.0", ptx: "8.0", source: wheels}

      - version: "1.0.0"
        requires_python: ">=3.9"
        source: wheels
        platforms:
          linux/amd64: {pythons: "3.10", glibc: "2.17"}
        builds:
          - {name: cu124, default: true, toolkit: "12.4", sass: "7.5", source: wheels}
"#;

/// Pages by index and project, METADATA by file name, tags and images.
#[derive(Default)]
struct World {
    pages: BTreeMap<(&'static str, &'static str), Vec<&'static str>>,
    metadata: BTreeMap<&'static str, &'static str>,
    tags: BTreeMap<&'static str, Vec<&'static str>>,
    images: BTreeMap<&'static str, ImageFacts>,
    asked: RefCell<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("no route to `{0}`")]
struct Down(String);

impl Hint for Down {}

impl Upstream for World {
    fn project(&self, index: &str, name: &str) -> Result<Option<Arc<Project>>, Failure> {
        self.asked.borrow_mut().push(format!("{index}/{name}"));
        if !self.pages.keys().any(|(known, _)| *known == index) {
            return Err(Down(index.to_owned()).into());
        }
        let Some(files) = self.pages.get(&(index, name)) else { return Ok(None) };
        let files: Vec<String> = files
            .iter()
            .map(|file| {
                let (name, more) = match file.split_once(' ') {
                    Some((name, "withdrawn")) => (name, r#", "yanked": true"#),
                    Some((name, "large")) => (name, r#", "size": 92000000"#),
                    _ => (*file, ""),
                };
                format!(r#"{{"filename": "{name}", "url": "{name}", "hashes": {{}}{more}}}"#)
            })
            .collect();
        let page = format!(r#"{{"meta": {{"api-version": "1.0"}}, "name": "{name}", "files": [{}]}}"#, files.join(","));
        let base = Url::parse("https://index.test/simple/").expect("a URL");
        Ok(Some(Arc::new(parse_json(page.as_bytes(), &base, name).expect("a page"))))
    }

    fn metadata(&self, _index: &str, file: &ProjectFile) -> Result<Arc<Metadata>, Failure> {
        let text = self.metadata.get(file.filename.as_str()).copied().unwrap_or("");
        let wheel = file.wheel().expect("a wheel");
        let text = format!("Name: {}\nVersion: {}\n{text}", wheel.name, wheel.version);
        Ok(Arc::new(Metadata::parse(text.as_bytes()).expect("METADATA")))
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        let tags = self.tags.get(repository).ok_or_else(|| Down(repository.to_owned()))?;
        Ok(tags.iter().map(|tag| (*tag).to_owned()).collect())
    }

    fn image(&self, reference: &str) -> Result<ImageFacts, Failure> {
        Ok(self.images.get(reference).cloned().ok_or_else(|| Down(reference.to_owned()))?)
    }
}

/// Flow 1.0.0 and 1.1.0 as the catalog has them.
fn world() -> World {
    let mut world = World::default();
    world.pages.insert(
        ("default", "flow"),
        vec![
            "flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl",
            "flow-1.1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
            "flow-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
            "flow-1.1.0-cp311-cp311-win_amd64.whl",
            "flow-1.1.0-cp313-cp313t-manylinux_2_28_x86_64.whl",
        ],
    );
    world.pages.insert(("default", "flowvision"), vec!["flowvision-0.2.0-py3-none-any.whl"]);
    let cuda = "Requires-Dist: nvidia-cuda-runtime-cu12==12.4.127; platform_machine == 'x86_64'\n";
    world.metadata.insert(
        "flow-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "Requires-Python: >=3.10\nRequires-Dist: nvidia-cuda-runtime-cu12==12.4.127\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70\n",
    );
    world.metadata.insert(
        "flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl",
        Box::leak(format!("Requires-Python: >=3.9\n{cuda}").into_boxed_str()),
    );
    world.metadata.insert("flowvision-0.2.0-py3-none-any.whl", "Requires-Dist: flow==1.1.0\n");
    world
}

fn add_next_release(world: &mut World) {
    let files = world.pages.get_mut(&("default", "flow")).expect("flow");
    files.extend([
        "flow-1.2.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "flow-1.2.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "flow-1.2.0-cp312-cp312-manylinux_2_34_aarch64.whl",
        "flow-1.3.0rc1-cp312-cp312-manylinux_2_28_x86_64.whl",
        "flow-1.2.1-cp312-cp312-manylinux_2_28_x86_64.whl withdrawn",
    ]);
    world.metadata.insert(
        "flow-1.2.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "Requires-Python: >=3.11\nRequires-Dist: cuda-toolkit[cudart]==12.9.1\nRequires-Dist: nvidia-cudnn-cu12==9.12.0.46\n",
    );
    world.pages.get_mut(&("default", "flowvision")).expect("flowvision").push("flowvision-0.3.0-py3-none-any.whl");
    world.metadata.insert("flowvision-0.3.0-py3-none-any.whl", "Requires-Dist: flow>=1.2\n");
}

fn files(texts: &[(&str, &str)]) -> Files {
    let files = texts.iter().map(|(path, text)| File { path: PathBuf::from(path), text: (*text).to_owned() }).collect();
    Files { folder: PathBuf::from("facts"), files, below: Vec::new() }
}

fn run(files: &Files, world: &World, names: &[&str]) -> Update {
    let texts: Vec<(PathBuf, String)> = files.files.iter().map(|file| (file.path.clone(), file.text.clone())).collect();
    let catalog = Catalog::load_with(&[], &texts).expect("a catalog");
    let selection = Selection { names: names.iter().map(|name| (*name).to_owned()).collect() };
    update(&catalog, files, &selection, world, "2030-01-02", &|_| {})
}

fn sentences(update: &Update) -> Vec<String> {
    update.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_catalog_that_agrees_is_left_alone() {
    let outcome = run(&files(&[("flow.yaml", FLOW)]), &world(), &["flow"]);
    assert_eq!((sentences(&outcome), outcome.changes, outcome.unreachable), (Vec::new(), Vec::new(), Vec::new()));
    assert_eq!(outcome.places_read, 1);
}

#[test]
fn a_new_release_is_inserted_and_nothing_else_is_touched() {
    let mut world = world();
    add_next_release(&mut world);
    let outcome = run(&files(&[("flow.yaml", FLOW)]), &world, &["flow"]);
    let [change] = outcome.changes.as_slice() else { panic!("{:?}", outcome.findings) };
    assert_eq!(
        change.diff,
        r#"--- a/facts/flow.yaml
+++ b/facts/flow.yaml
@@ -11,6 +11,15 @@
     requirements:
       "*": ["flow=={version}"]
     releases:
+      - version: "1.2.0"
+        requires_python: ">=3.11"
+        companions: {flowvision: "0.3.0"}
+        source: "flow 1.2.0: names and METADATA of the wheels on the package index, read 2030-01-02"
+        platforms:
+          linux/amd64: {pythons: "3.11 3.12", glibc: "2.28"}
+          linux/arm64: {pythons: "3.12", glibc: "2.34"}
+        builds:
+          - {name: cu129, default: true, toolkit: "12.9", cudnn: "9.12.0.46", only: linux/amd64, sass: "7.5 8.0", ptx: "8.0", source: "flow 1.2.0: names and METADATA of the wheels on the package index, read 2030-01-02; machine code carried over from 1.1.0", unverified: true}
       # The last one for old cards: do not drop.
       - version: "1.1.0"
         requires_python: ">=3.10"
"#
    );
    assert_eq!(change.added, ["framework flow 1.2.0"]);
    assert_eq!(sentences(&outcome), ["framework flow 1.2.0 cu129: machine code carried over from 1.1.0"]);
    let kept: String = change.text.split_inclusive('\n').filter(|line| FLOW.contains(*line)).collect();
    assert!(FLOW.lines().all(|line| kept.contains(line)));

    let again = run(&files(&[("flow.yaml", &change.text)]), &world, &["flow"]);
    assert_eq!((sentences(&again), again.changes), (Vec::new(), Vec::new()));
}

#[test]
fn a_family_of_a_lower_layer_gets_a_file_of_its_own() {
    let mut world = world();
    add_next_release(&mut world);
    let below = tempfile::tempdir().expect("a folder");
    std::fs::write(below.path().join("flow.yaml"), FLOW).expect("written");
    let files = Files { folder: PathBuf::from("mine"), files: Vec::new(), below: vec![below.path().to_owned()] };
    let catalog = Catalog::load(&files.below).expect("a catalog");
    let selection = Selection { names: vec!["flow".to_owned()] };
    let outcome = update(&catalog, &files, &selection, &world, "2030-01-02", &|_| {});
    let [change] = outcome.changes.as_slice() else { panic!("{:?}", outcome.findings) };
    assert_eq!(change.path, PathBuf::from("framework/flow.yaml"));
    assert!(change.text.starts_with(
        "format: \"1.0.0\"\n\nframeworks:\n  - family: flow\n    releases:\n      - version: \"1.2.0\"\n        requires"
    ));
    assert!(change.diff.starts_with("--- /dev/null\n+++ b/mine/framework/flow.yaml\n@@ -0,0 +1,14 @@\n+format"));
}

#[test]
fn what_disagrees_is_told_and_not_changed() {
    let mut world = world();
    let files_of_flow = world.pages.get_mut(&("default", "flow")).expect("flow");
    files_of_flow.push("flow-1.1.0-cp312-cp312-manylinux_2_34_x86_64.whl");
    files_of_flow.push("flow-1.0.5-cp310-cp310-manylinux2014_x86_64.whl");
    files_of_flow[0] = "flow-1.0.0-cp310-cp310-manylinux2014_x86_64.whl withdrawn";
    world.metadata.insert(
        "flow-1.1.0-cp312-cp312-manylinux_2_34_x86_64.whl",
        "Requires-Python: >=3.10,<3.15\nRequires-Dist: nvidia-cuda-runtime-cu12==12.6.77\nRequires-Dist: nvidia-cudnn-cu12>=9.5.0\n",
    );
    world.metadata.insert("flowvision-0.2.0-py3-none-any.whl", "Requires-Dist: flow==1.0.0\n");
    let outcome = run(&files(&[("flow.yaml", FLOW)]), &world, &["flow"]);
    assert_eq!(
        sentences(&outcome),
        [
            "framework flow 1.0.0: companion flowvision: curated says nothing, upstream says 0.2.0",
            "framework flow 1.0.0: yanked: curated says not withdrawn, upstream says withdrawn",
            "framework flow 1.1.0: companion flowvision: curated says 0.2.0, upstream says flowvision 0.2.0 is for ==1.0.0",
            "framework flow 1.1.0: requires_python: curated says >=3.10, upstream says >=3.10, <3.15",
            "framework flow 1.1.0 cu124: cudnn: curated says 9.1.0.70, upstream says 9.5.0 or newer",
            "framework flow 1.1.0 cu124: glibc on linux/amd64: curated says 2.28, upstream says 2.34",
            "framework flow 1.1.0 cu124: pythons on linux/amd64: curated says 3.10 3.11, upstream says 3.10 3.11 3.12",
            "framework flow 1.1.0 cu124: toolkit: curated says 12.4, upstream says 12.6.77",
            "framework flow: not in the catalog: flow 1.0.5",
        ]
    );
    assert_eq!(outcome.changes, []);
}

#[test]
fn an_index_that_does_not_answer_is_named_once_and_the_others_go_on() {
    let lost = FLOW.replace(
        "ptx: \"8.0\", source: wheels}\n",
        "ptx: \"8.0\", source: wheels}\n          - {name: cpu, index: flow-cpu}\n          - {name: cpu2, accelerator: cpu, index: flow-cpu}\n",
    );
    let mut world = world();
    add_next_release(&mut world);
    let outcome = run(&files(&[("flow.yaml", &lost)]), &world, &["flow"]);
    let place = Unreachable { place: "the index `flow-cpu`".into(), reason: "no route to `flow-cpu`".into() };
    assert_eq!((outcome.unreachable, outcome.places_read, outcome.changes.len()), (vec![place], 1, 1));
    assert_eq!(world.asked.borrow().iter().filter(|asked| asked.starts_with("flow-cpu/")).count(), 1);
}

#[test]
fn a_pure_package_is_as_wide_as_its_parts() {
    let text = FLOW.replace("[\"flow=={version}\"]", "[\"flow[gpu]=={version}\"]").replace("cudnn: \"9.1.0.70\", ", "");
    let mut world = world();
    world.pages.insert(("default", "flow"), vec!["flow-1.1.0-py3-none-any.whl", "flow-1.0.0-py3-none-any.whl"]);
    world.pages.insert(
        ("default", "flow-core"),
        vec![
            "flow_core-1.1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
            "flow_core-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
            "flow_core-1.0.9-cp310-cp310-manylinux2014_x86_64.whl",
            "flow_core-1.0.8-cp39-cp39-manylinux2014_x86_64.whl",
        ],
    );
    world.pages.insert(("default", "flow-gpu"), vec!["flow_gpu-1.1.0-py3-none-manylinux2014_x86_64.whl"]);
    world.metadata.insert(
        "flow-1.1.0-py3-none-any.whl",
        "Requires-Python: >=3.10\nRequires-Dist: flow-core<=1.1.0,>=1.1.0\nRequires-Dist: flow-gpu[all]==1.1.0; extra == 'gpu'\n",
    );
    world.metadata.insert(
        "flow-1.0.0-py3-none-any.whl",
        "Requires-Python: >=3.9\nRequires-Dist: flow-core>=1.0,<=1.0.9\nRequires-Dist: flow-gpu==1.0.0; extra == 'gpu'\n",
    );
    world.metadata.insert(
        "flow_gpu-1.1.0-py3-none-manylinux2014_x86_64.whl",
        "Requires-Dist: nvidia-cuda-runtime-cu12>=12.1.105; extra == 'all'\n",
    );
    let outcome = run(&files(&[("flow.yaml", &text)]), &world, &["flow"]);
    assert_eq!((sentences(&outcome), outcome.changes), (Vec::new(), Vec::new()));
}

const BASES: &str = r#"format: "1.0.0"

# Suites that images stand on.
debian:
  - {suite: trixie, release: "13", python: "3.13", glibc: "2.41", source: our word for it}

slim_images:
  - {python: "3.90", suite: trixie, reference: "python:3.90-slim-trixie", platforms: linux/amd64 linux/arm64, source: our word for it, unverified: true}

cuda_images:
  # The ones for old cards.
  - {toolkit: "90.1.0", os: ubuntu 22.04, glibc: "2.35", cudnn: "9.1.0.70", flavours: base cudnn-runtime, platforms: linux/amd64, source: our word for it}
  - {toolkit: "90.3.0", os: ubuntu 22.04, glibc: "2.35", flavours: base, platforms: linux/amd64, source: our word for it, unverified: true}
"#;

const CUDA: &str = r#"format: "1.0.0"
pythons:
  - {version: "3.90", status: final, source: our word for it}
  - {version: "3.91", status: final, source: our word for it}
toolkits:
  - {version: "90.1.0", driver: "900.1", compute_capabilities: "7.5", source: our word for it}
  - {version: "90.2.0", compute_capabilities: "7.5", source: our word for it}
  - {version: "90.3.0", compute_capabilities: "7.5 8.0", source: our word for it}
driver_floors:
  - {major: 90, driver: "900.1", source: our word for it}
cudnn:
  - {version: "90.1.0.1", cuda_majors: "90", source: our word for it}
  - {version: "90.2.0.1", cuda_majors: "90", source: our word for it}
"#;

fn image(variables: &[(&str, &str)], platforms: &[Platform]) -> ImageFacts {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ImageFacts { digest: Digest::of(b"an image"), platforms: platforms.to_vec(), environment }
}

#[test]
fn new_images_are_rows_with_what_they_declare() {
    let mut world = World::default();
    world.tags.insert("python", vec!["3.90-slim-trixie", "3.91-slim-trixie", "3.91-slim", "3.99-slim-trixie"]);
    world.tags.insert(
        "nvidia/cuda",
        vec![
            "90.1.0-base-ubuntu22.04",
            "90.1.0-cudnn-runtime-ubuntu22.04",
            "90.1.0-devel-ubuntu22.04",
            "90.2.0-base-ubuntu22.04",
            "90.2.0-cudnn-devel-ubuntu22.04",
            "90.2.0-cudnn-runtime-ubuntu22.04",
            "90.2.0-runtime-ubuntu22.04",
            "90.2.0-runtime-rockylinux9",
            "90.9.0-base-ubuntu22.04",
            "latest",
        ],
    );
    let both = [Platform::AMD64, Platform::ARM64];
    world.images.insert("python:3.90-slim-trixie", image(&[("PYTHON_VERSION", "3.91.1")], &both[..1]));
    world.images.insert("python:3.91-slim-trixie", image(&[("PYTHON_VERSION", "3.91.1")], &both));
    world.images.insert(
        "nvidia/cuda:90.2.0-cudnn-runtime-ubuntu22.04",
        image(&[("CUDA_VERSION", "90.2.0"), ("NV_CUDNN_VERSION", "90.2.0.1-1")], &both),
    );
    let files = files(&[("base.yaml", BASES), ("cuda.yaml", CUDA)]);
    let outcome = run(&files, &world, &["images"]);
    // Entries of the embedded catalog lie below and are not what this is about.
    let told: Vec<String> = sentences(&outcome).into_iter().filter(|text| text.contains("90")).collect();
    assert_eq!(
        told,
        [
            "cuda image 90.3.0-base-ubuntu22.04: tag: curated says listed, upstream says nothing",
            "slim image python:3.90-slim-trixie: platforms: curated says linux/amd64 linux/arm64, upstream says linux/amd64",
            "slim image python:3.90-slim-trixie: python: curated says 3.90, upstream says 3.91.1",
            "cuda images 90.1.0 ubuntu 22.04: not in the catalog: devel",
            "other system rockylinux 9: not in the catalog: 90.2.0-runtime-rockylinux9",
        ]
    );
    let [change] = outcome.changes.as_slice() else { panic!("{:?}", outcome.findings) };
    let digest = Digest::of(b"an image");
    assert_eq!(
        change.diff,
        format!(
            r#"--- a/facts/base.yaml
+++ b/facts/base.yaml
@@ -5,9 +5,11 @@
   - {{suite: trixie, release: "13", python: "3.13", glibc: "2.41", source: our word for it}}
 
 slim_images:
+  - {{python: "3.91", suite: trixie, reference: "python:3.91-slim-trixie", platforms: linux/amd64 linux/arm64, source: "registry, python:3.91-slim-trixie at {digest}, read 2030-01-02"}}
   - {{python: "3.90", suite: trixie, reference: "python:3.90-slim-trixie", platforms: linux/amd64 linux/arm64, source: our word for it, unverified: true}}
 
 cuda_images:
   # The ones for old cards.
   - {{toolkit: "90.1.0", os: ubuntu 22.04, glibc: "2.35", cudnn: "9.1.0.70", flavours: base cudnn-runtime, platforms: linux/amd64, source: our word for it}}
+  - {{toolkit: "90.2.0", os: ubuntu 22.04, glibc: "2.35", cudnn: "90.2.0.1", flavours: base runtime cudnn-runtime cudnn-devel, platforms: linux/amd64 linux/arm64, source: "registry, nvidia/cuda:90.2.0-cudnn-runtime-ubuntu22.04 at {digest}, read 2030-01-02"}}
   - {{toolkit: "90.3.0", os: ubuntu 22.04, glibc: "2.35", flavours: base, platforms: linux/amd64, source: our word for it, unverified: true}}
"#
        )
    );
    let edited = Files {
        files: vec![File { path: change.path.clone(), text: change.text.clone() }, files.files[1].clone()],
        ..files
    };
    assert_eq!(run(&edited, &world, &["images"]).changes, []);
}

#[test]
fn new_toolkits_and_cudnn_go_to_the_end_of_lists_that_grow_downwards() {
    let mut world = World::default();
    world.pages.insert(
        ("default", "cuda-toolkit"),
        vec![
            "cuda_toolkit-90.2.5-py2.py3-none-any.whl",
            "cuda_toolkit-90.4.0-py2.py3-none-any.whl",
            "cuda_toolkit-91.0.0-py2.py3-none-any.whl",
        ],
    );
    world.pages.insert(
        ("default", "nvidia-cudnn-cu90"),
        vec![
            "nvidia_cudnn_cu90-90.1.0.1-py3-none-manylinux2014_x86_64.whl",
            "nvidia_cudnn_cu90-90.3.0.7-py3-none-manylinux2014_x86_64.whl",
        ],
    );
    let only = CUDA.replace(
        "cuda_majors: \"90\", source: our word for it}\n  - {version: \"90.2",
        "cuda_majors: \"12 90\", source: our word for it}\n  - {version: \"90.2",
    );
    let outcome = run(&files(&[("cuda.yaml", &only)]), &world, &["cuda"]);
    let told: Vec<String> = sentences(&outcome).into_iter().filter(|text| text.contains('9')).collect();
    assert_eq!(
        told,
        [
            "cudnn 90.1.0.1: cuda_majors: curated says 12 90, upstream says 90",
            "toolkits: not in the catalog: 90.2.5",
            "toolkit 90.4.0: compute capabilities carried over from 90.3.0",
            "toolkit 91.0.0: not written: its major has no driver floor",
        ]
    );
    let added: Vec<&String> = outcome.changes.iter().flat_map(|change| &change.added).collect();
    assert_eq!(added, ["toolkit 90.4.0", "cudnn 90.3.0.7"]);

    world.pages.get_mut(&("default", "cuda-toolkit")).expect("a page").pop();
    let outcome = run(&files(&[("cuda.yaml", CUDA)]), &world, &["cuda"]);
    let [change] = outcome.changes.as_slice() else { panic!("{:?}", outcome.findings) };
    assert_eq!(
        change.diff,
        r#"--- a/facts/cuda.yaml
+++ b/facts/cuda.yaml
@@ -6,8 +6,10 @@
   - {version: "90.1.0", driver: "900.1", compute_capabilities: "7.5", source: our word for it}
   - {version: "90.2.0", compute_capabilities: "7.5", source: our word for it}
   - {version: "90.3.0", compute_capabilities: "7.5 8.0", source: our word for it}
+  - {version: "90.4.0", compute_capabilities: "7.5 8.0", source: "cuda-toolkit 90.4.0 on the package index, read 2030-01-02; compute capabilities carried over from 90.3.0", unverified: true}
 driver_floors:
   - {major: 90, driver: "900.1", source: our word for it}
 cudnn:
   - {version: "90.1.0.1", cuda_majors: "90", source: our word for it}
   - {version: "90.2.0.1", cuda_majors: "90", source: our word for it}
+  - {version: "90.3.0.7", cuda_majors: "90", source: "nvidia-cudnn-cu90 90.3.0.7 on the package index, read 2030-01-02"}
"#
    );
}

#[test]
fn a_list_between_braces_is_left_to_a_person() {
    let braces = CUDA.replace(
        "cudnn:\n  - {version: \"90.1.0.1\", cuda_majors: \"90\", source: our word for it}\n  - {version: \"90.2.0.1\", cuda_majors: \"90\", source: our word for it}\n",
        "cudnn: [{version: \"90.2.0.1\", cuda_majors: \"90\", source: our word for it}]\n",
    );
    let mut world = World::default();
    let wheel = "nvidia_cudnn_cu90-90.3.0.7-py3-none-manylinux2014_x86_64.whl";
    world.pages.insert(("default", "nvidia-cudnn-cu90"), vec![wheel]);
    let outcome = run(&files(&[("cuda.yaml", &braces)]), &world, &["cuda"]);
    let problem = "cudnn 90.3.0.7: not written: the list it belongs to is not written one entry below the other";
    assert!(sentences(&outcome).contains(&problem.to_owned()), "{:?}", outcome.findings);
    assert_eq!(outcome.changes, []);
}
