//! An invented catalog folder with comments, an invented upstream, and the exact text that comes out.

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
            .map(|file| match file.strip_suffix(" withdrawn") {
                Some(file) => format!(r#"{{"filename": "{file}", "url": "{file}", "hashes": {{}}, "yanked": true}}"#),
                None => format!(r#"{{"filename": "{file}", "url": "{file}", "hashes": {{}}}}"#),
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
