//! Requirements files, project files and seeds on disk.

use std::path::Path;

use super::super::{Error, Spec};
use super::{blamed, rendered};

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        Self(folder)
    }
    fn parse(&self, text: &str) -> Result<Spec, Error> {
        Spec::parse(Path::new("spec.yaml"), text, self.0.path())
    }
    fn wrong(&self, text: &str) -> String {
        rendered(self.parse(text).expect_err(text))
    }
}

const WITH_FILE: &str = "name: x\npackages: [{file: requirements.txt}]\n";

fn names(list: &[super::super::Located<pep508_rs::Requirement<pep508_rs::VerbatimUrl>>]) -> Vec<String> {
    list.iter().map(|located| located.value.to_string()).collect()
}

#[test]
fn requirements_files_are_followed() {
    let folder = Folder::with(&[
        (
            "requirements.txt",
            "\u{feff}# header \\\r\nnumpy>=1.26, \\\r\n  <3   # why\r\n\r\n-r nested/more.txt\r\n-c=nested/bounds.txt\r\n\
             --only-binary :all:\r\nrequests ; \\\r\n python_version >= \"3.9\"",
        ),
        ("nested/more.txt", "--requirement ../requirements.txt\n-r more.txt\nscipy\n-cbounds.txt\n"),
        ("nested/bounds.txt", "urllib3<2\n-r ../extra.txt\n"),
        ("extra.txt", "idna<4\n"),
    ]);
    let spec = folder.parse(WITH_FILE).expect("valid");
    assert_eq!(names(&spec.packages), ["numpy>=1.26,<3", "scipy", "requests ; python_full_version >= '3.9'"]);
    assert_eq!(names(&spec.constraints), ["urllib3<2", "idna<4"]);
    let origin = spec.packages[0].origin.clone().expect("a place");
    assert_eq!((origin.path.as_path(), origin.line(), origin.column()), (Path::new("requirements.txt"), 2, 1));
    assert_eq!(&origin.text[origin.span], "numpy>=1.26, \\\r\n  <3");
    let origin = spec.packages[1].origin.clone().expect("a place");
    assert_eq!((origin.path.as_path(), origin.line()), (Path::new("nested/more.txt"), 3));
}

#[test]
fn the_digest_follows_the_content_and_not_the_split() {
    let one = Folder::with(&[("requirements.txt", "a\nb>=1\n")]).parse(WITH_FILE).expect("valid");
    let split = Folder::with(&[("requirements.txt", "# c\na\n-r b.txt\n"), ("b.txt", "b>=1")]);
    assert_eq!(one.digest, split.parse(WITH_FILE).expect("valid").digest);
    let other = Folder::with(&[("requirements.txt", "a\nb>=2\n")]).parse(WITH_FILE).expect("valid");
    assert_ne!(one.digest, other.digest);
}

#[test]
fn wrong_requirements_files() {
    let mut report = String::new();
    for text in [
        "numpy\nscipy >= \n",
        "numpy \\\n  ===> 1\n",
        "--index-url https://user:secret@packages.example.com/simple\n",
        "numpy==2.0.0 --hash=sha256:00\n",
        "numpy==2.0.0 \\\n    --global-option=x\n",
        "--require-hashes\nnumpy==2.0.0\n",
        "--extra-index-url https://packages.example.com/whl/cu121\nnumpy\n",
        "--find-links wheels\n",
        "--no-binary numpy\n",
        "-e .\n",
        "./local.whl\n",
        "./missing-1.0-py3-none-any.whl\n",
        "acme @ file:nested/other-1.0-py3-none-any.whl\n",
        "acme @ file:../acme-1.0-py3-none-any.whl\n",
        "acme @ file:///acme-1.0-py3-none-any.whl\n",
        "acme @ file:acme-1.0-py3-none-any.whl#sha256=0000000000000000000000000000000000000000000000000000000000000000\n",
        "acme @ https://packages.example.com/acme-1.0-py3-none-any.whl#md5=00\n",
        "acme @ https://packages.example.com/acme-1.0-py3-none-any.whl?token=secret\n",
        "acme @ https://packages.example.com/acme-1.0.tar.gz\n",
        "acme @ https://user:secret@packages.example.com/acme-1.0-py3-none-any.whl\n",
        "git+https://code.example.com/acme.git\n",
        "acme @ git+ssh://token@code.example.com/acme@main ; os_name == 'posix'\n",
        "-r missing.txt\n",
        "-r\n",
        "-r nested/broken.txt\n",
        "--pre\n",
        "-é\n",
    ] {
        let files = [
            ("requirements.txt", text),
            ("nested/broken.txt", "ok\n\n  bro ken\n"),
            ("acme-1.0-py3-none-any.whl", "a wheel"),
        ];
        let folder = Folder::with(&files);
        report.push_str(&format!("{text}----\n{}\n", folder.wrong(WITH_FILE)));
    }
    insta::assert_snapshot!(report);
}

#[test]
fn wheels_are_named_by_place_and_by_hash() {
    let hex = "ab".repeat(32);
    let url = "https://packages.example.com/p/acme-2.0%2Bcu121-py3-none-any.whl";
    let folder = Folder::with(&[
        (
            "requirements.txt",
            &format!(
                "--require-hashes\nnumpy==2.0 \\\n  --hash=sha256:{hex}\n\
                 acme[fast] @ {url}#sha256={hex} ; python_version < '3.13'\n./wheels/Own.Thing-1.0-py3-none-any.whl\n"
            ),
        ),
        ("wheels/Own.Thing-1.0-py3-none-any.whl", "a wheel"),
    ]);
    let spec = folder.parse(WITH_FILE).expect("valid");
    assert_eq!(
        names(&spec.packages),
        ["numpy==2.0", "acme[fast]==2.0+cu121 ; python_full_version < '3.13'", "own-thing==1.0"]
    );
    let pins: Vec<(Option<String>, Vec<String>)> = spec
        .file_pins
        .iter()
        .map(|pin| {
            let place = pin.value.place.as_ref().map(ToString::to_string);
            (place, pin.value.digests.iter().map(crate::oci::Digest::hex).collect())
        })
        .collect();
    let own = crate::oci::Digest::of(b"a wheel").hex();
    let place = |text: &str| Some(text.to_owned());
    assert_eq!(
        pins,
        [
            (None, vec![hex.clone()]),
            (place(url), vec![hex]),
            (place("file:wheels/Own.Thing-1.0-py3-none-any.whl"), vec![own])
        ]
    );
    let changed = Folder::with(&[("a-1-py3-none-any.whl", "other bytes")]);
    let same = Folder::with(&[("a-1-py3-none-any.whl", "a wheel")]);
    let text = "name: x\npackages: ['a @ file:a-1-py3-none-any.whl']\n";
    assert_ne!(changed.parse(text).expect("valid").digest, same.parse(text).expect("valid").digest);
}

#[test]
fn wrong_paths() {
    let outer = Folder::with(&[("secret.sql", ""), ("inside/schema.sql", ""), ("inside/notes.txt", "")]);
    let inside = outer.0.path().join("inside");
    std::os::unix::fs::symlink("../secret.sql", inside.join("link.sql")).expect("a link");
    let mut report = String::new();
    for line in [
        "packages: [{file: requirements.txt}]",
        "packages: [{file: /etc/requirements.txt}]",
        "packages: [{file: .}]",
        "files: [{from: src, to: /src}]",
        "files: [{from: /etc/passwd, to: /src}]",
        "files: [{from: a/../../secret.sql, to: /src}]",
        "files: [{from: link.sql, to: /src}]",
        "files: [{from: schema.sql, to: src}]",
        "files: [{from: schema.sql, to: /a/../b}]",
        "files: [{from: ., to: /}]",
        "files: [{from: schema.sql, to: /a}, {from: notes.txt, to: /a}]",
        "files: [{to: /a}]",
        "services: {postgres: {seed: [notes.txt]}}",
        "services: {postgres: {seed: [../secret.sql]}}",
        "services: {postgres: {seed: [schema.sql, ./schema.sql]}}",
        "services: {postgres: {seed: [missing.csv]}}",
    ] {
        let text = format!("name: x\n{line}\n");
        let error = Spec::parse(Path::new("spec.yaml"), &text, &inside).expect_err(line);
        report.push_str(&rendered(error));
        report.push('\n');
    }
    insta::assert_snapshot!(report);
}

#[test]
fn specs_that_cannot_be_read() {
    let folder = Folder::with(&[]);
    let path = folder.0.path().join("spec.yaml");
    let shown = |error: Error| rendered(error).replace(&folder.0.path().display().to_string(), "FOLDER");
    assert_eq!(
        shown(Spec::load(&path).expect_err("missing")),
        "error: there is no `FOLDER/spec.yaml`\nhelp: `name: my-image` and a list of `packages:` make a first spec; `imgforge schema` knows every key\n"
    );
    std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).expect("written");
    assert_eq!(
        shown(Spec::load(&path).expect_err("too large")),
        "error: `FOLDER/spec.yaml` is larger than 1024 KiB, so it is not a spec\n"
    );
    std::fs::write(&path, b"name: x\nuser: \"\xff\"\n").expect("written");
    let error = Spec::load(&path).expect_err("not UTF-8");
    assert_eq!(blamed(&error), "\u{fffd}");
    let text = shown(error);
    assert!(text.starts_with("error: the file is not UTF-8 text\n --> FOLDER/spec.yaml:2:8\n"), "{text}");
    assert!(shown(Spec::load(folder.0.path()).expect_err("a folder")).starts_with("error: cannot read `FOLDER`: "));
    std::fs::write(&path, "name: x\n").expect("written");
    let spec = Spec::load(&path).expect("valid");
    assert_eq!((spec.path.as_path(), spec.folder.as_path()), (path.as_path(), folder.0.path()));
}
