//! Recipes that travel, recipes that are refused, and folders that are filled whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::bundle::{Bundle, RECIPE_TYPE, Role};
use super::place::{Outcome, Staging};
use super::{Error, project};
use crate::http;
use crate::lock::{Lock, LockedFile};
use crate::oci::{AssembledImage, DiffId, Digest, Layer, LayerSource, Platform};
use crate::publish::artifact::{Artifact, Descriptor, Document, MANIFEST_TYPE};
use crate::registry::{Config, Registries};
use crate::render::{Rendered, RenderedFile};
use crate::spec::Spec;

const LOCK: &str = include_str!("../../tests/cases/render/cpu/imgforge.lock");

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), files);
    folder
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
}

fn collect(spec: &Path) -> Result<Bundle, Error> {
    let spec = Spec::load(spec).expect("a spec");
    let lock = Lock::parse(Path::new("imgforge.lock"), LOCK).expect("a lock");
    let file = RenderedFile { bytes: b"FROM scratch\n".to_vec(), mode: 0o644 };
    Bundle::collect(&spec, &lock, &Rendered { files: BTreeMap::from([("Dockerfile".to_owned(), file)]) })
}

fn subject() -> Descriptor {
    Descriptor {
        media_type: MANIFEST_TYPE.to_owned(),
        digest: Digest::of(b"image"),
        size: 5,
        annotations: BTreeMap::new(),
    }
}

fn roles(bundle: &Bundle) -> Vec<(&str, &str)> {
    bundle.files.iter().map(|(path, file)| (path.as_str(), file.role.name())).collect()
}

#[test]
fn what_the_spec_names_travels_and_comes_back_the_same() {
    let spec = "name: a\npackages: [{file: requirements.txt}]\nfiles: [{from: src, to: /src}]\n\
                services: {postgres: {seed: [data/a.sql]}}\n";
    let project = folder(&[
        ("env.yaml", spec),
        ("requirements.txt", "-r more/base.txt\n"),
        ("more/base.txt", "six\n"),
        ("data/a.sql", "SELECT 'https://ann:secret@host';\n"),
        ("src/main.py", ""),
        (".dockerignore", "*.pyc\n"),
        (".env", "SECRET=1\n"),
    ]);
    let bundle = collect(&project.path().join("env.yaml")).expect("a recipe");
    assert_eq!(
        roles(&bundle),
        [
            (".dockerignore", "input"),
            ("data/a.sql", "input"),
            ("env.yaml", "spec"),
            ("generated/tabular/Dockerfile", "rendered"),
            ("imgforge.lock", "lock"),
            ("more/base.txt", "input"),
            ("requirements.txt", "input"),
        ]
    );
    let artifact = bundle.to_artifact("tabular", subject());
    assert_eq!(
        artifact.manifest(),
        collect(&project.path().join("env.yaml")).expect("again").to_artifact("tabular", subject()).manifest()
    );
    let digest = artifact.digest();
    assert_eq!(Bundle::from_artifact(artifact, digest, &subject().digest).expect("a recipe"), bundle);
}

#[test]
fn a_file_above_the_spec_keeps_its_place() {
    let project = folder(&[
        ("env/spec.yaml", "name: a\npackages: [{file: ../requirements.txt}]\n"),
        ("requirements.txt", "six\n"),
    ]);
    let bundle = collect(&project.path().join("env/spec.yaml")).expect("a recipe");
    assert_eq!(
        roles(&bundle),
        [
            ("env/generated/tabular/Dockerfile", "rendered"),
            ("env/imgforge.lock", "lock"),
            ("env/spec.yaml", "spec"),
            ("requirements.txt", "input"),
        ]
    );
}

#[test]
fn a_password_in_an_address_stays_at_home() {
    for (spec, requirements, place) in [
        ("name: a # https://ann:secret@host/simple\npackages: [{file: r.txt}]\n", "six\n", "spec.yaml:1"),
        ("name: a\npackages: [{file: r.txt}]\n", "six\n# from https://ann:secret@host/simple\n", "r.txt:2"),
    ] {
        let project = folder(&[("spec.yaml", spec), ("r.txt", requirements)]);
        let path = project.path().join("spec.yaml");
        match collect(&path) {
            Err(Error::Secret { path, .. }) => assert_eq!(path, place),
            other => panic!("{other:?}"),
        }
        super::bundle::check(&Spec::load(&path).expect("a spec")).expect_err("refused before anything is pushed");
    }
    let spec = "name: a # postgresql://app:$PASSWORD@host, https://host/@scope, mail@host\npackages: [{file: r.txt}]\n";
    let project = folder(&[("spec.yaml", spec), ("r.txt", "six\n")]);
    collect(&project.path().join("spec.yaml")).expect("no password");
}

#[test]
fn foreign_recipes_are_refused() {
    let document = |role: Role, title: &str| Document::new(role.media_type(), b"x".to_vec()).titled(title);
    let read = |documents: Vec<Document>| {
        let artifact = Artifact::new(RECIPE_TYPE, documents, Some(subject()));
        Bundle::from_artifact(artifact, Digest::of(b"recipe"), &subject().digest).map_err(|error| error.to_string())
    };
    let own = || vec![document(Role::Spec, "spec.yaml"), document(Role::Lock, "imgforge.lock")];
    read(own()).expect("a recipe");
    for (title, problem) in [
        ("../x", "leads out of the folder"),
        ("/etc/passwd", "leads out of the folder"),
        ("a/../../x", "leads out of the folder"),
        ("a//x", "leads out of the folder"),
        ("", "leads out of the folder"),
        ("a\\..\\x", "is no path that imgforge writes"),
        ("a\nb", "is no path that imgforge writes"),
        (".git/hooks/post-checkout", "is part of a repository"),
        ("x/.GIT/config", "is part of a repository"),
        ("generated/a/.env", "is one where credentials are kept"),
        (".ssh/authorized_keys", "is one where credentials are kept"),
        ("imgforge.lock", "is there twice"),
        ("spec.yaml/x", "lies below a file"),
    ] {
        let error = read([own(), vec![document(Role::Rendered, title)]].concat()).expect_err(title);
        assert!(error.ends_with(problem), "{title:?}: {error}");
    }
    let error = read([own(), vec![document(Role::Spec, "other.yaml")]].concat()).expect_err("two specs");
    assert!(error.ends_with("it has 2 specs and 1 locks, and one of each was expected"), "{error}");
    let unknown = Document::new("application/vnd.imgforge.later.v9", b"x".to_vec()).titled("../later");
    assert_eq!(read([own(), vec![unknown]].concat()).expect("ignored").files.len(), 2);

    let refused = |artifact: Artifact| {
        Bundle::from_artifact(artifact, Digest::of(b"recipe"), &subject().digest).expect_err("refused").to_string()
    };
    let other = Descriptor { digest: Digest::of(b"other"), ..subject() };
    assert!(
        refused(Artifact::new(RECIPE_TYPE, own(), Some(other.clone())))
            .ends_with(&format!("it belongs to `{}`", other.digest))
    );
    assert!(refused(Artifact::new(RECIPE_TYPE, own(), None)).ends_with("it belongs to no image"));
    assert!(
        refused(Artifact::new("application/x", own(), Some(subject()))).ends_with("it is of the type `application/x`")
    );
}

fn staging(beside: &Path, files: &[(&str, &str)]) -> Staging {
    let staging = Staging::new(beside).expect("a staging folder");
    write(staging.path(), files);
    staging
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_appears_whole() {
    let place = folder(&[]);
    let target = place.path().join("churn");
    let outcomes = staging(place.path(), &[("spec.yaml", "1"), ("src/a.py", "2")]).place(&target, false, &[]);
    let expected = ["spec.yaml", "src/a.py"].map(|path| (path.to_owned(), Outcome::Written));
    assert_eq!(outcomes.expect("placed"), BTreeMap::from(expected));
    assert_eq!(listing(place.path()), ["churn"]);
    assert_eq!(fs::metadata(target.join("src")).expect("a folder").permissions().mode() & 0o777, 0o755);
}

#[test]
fn what_differs_is_named_and_nothing_is_touched() {
    let place = folder(&[("churn/spec.yaml", "mine"), ("churn/same", "same"), ("churn/src", "a file")]);
    let target = place.path().join("churn");
    let files = [("spec.yaml", "theirs"), ("same", "same"), ("new", "new"), ("src/a.py", "2")];
    match staging(place.path(), &files).place(&target, false, &[]) {
        Err(Error::Differs { paths, .. }) => assert_eq!(paths, ["spec.yaml", "src"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(listing(&target), ["same", "spec.yaml", "src"]);
    assert_eq!(listing(place.path()), ["churn"]);

    // A file of the user's is replaced when asked, and is never in the way of a folder.
    assert!(
        matches!(staging(place.path(), &files).place(&target, true, &[]), Err(Error::Differs { paths, .. }) if paths == ["src"])
    );
    fs::remove_file(target.join("src")).expect("removed");
    let outcomes = staging(place.path(), &files).place(&target, true, &["spec.yaml"]).expect("placed");
    let found: Vec<(&str, &str)> = outcomes.iter().map(|(path, outcome)| (path.as_str(), outcome.name())).collect();
    assert_eq!(found, [("new", "written"), ("same", "unchanged"), ("spec.yaml", "replaced"), ("src/a.py", "written")]);
    assert_eq!(fs::read_to_string(target.join("spec.yaml")).expect("a file"), "theirs");
}

#[test]
fn nothing_is_written_through_a_link_of_the_target() {
    let place = folder(&[("elsewhere/x", "")]);
    let target = place.path().join("churn");
    fs::create_dir(&target).expect("a folder");
    symlink(place.path().join("elsewhere"), target.join("src")).expect("a link");
    let result = staging(place.path(), &[("src/a.py", "2")]).place(&target, true, &[]);
    assert!(matches!(result, Err(Error::Differs { paths, .. }) if paths == ["src"]));
    assert_eq!(listing(&place.path().join("elsewhere")), ["x"]);
}

/// What stands in a layer under a path.
enum Made<'a> {
    Folder,
    File(&'a str, u32),
    Link(&'a str),
    Hard(&'a str),
}

/// An image with one layer of project files.
fn image_of(folder: &Path, entries: &[(&str, Made<'_>)]) -> AssembledImage {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, made) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let (kind, mode, link, content) = match made {
            Made::Folder => (tar::EntryType::Directory, 0o755, "", ""),
            Made::File(content, mode) => (tar::EntryType::Regular, *mode, "", *content),
            Made::Link(link) => (tar::EntryType::Symlink, 0o777, *link, ""),
            Made::Hard(link) => (tar::EntryType::Link, 0o644, *link, ""),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).expect("an entry");
    }
    let plain = archive.into_inner().expect("an archive");
    let path = folder.join("layer");
    fs::write(&path, &plain).expect("a layer");
    let layer = Layer {
        digest: Digest::of(&plain),
        diff_id: DiffId::of(&plain),
        size: plain.len() as u64,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        annotations: BTreeMap::from([("dev.imgforge.layer.kind".to_owned(), "files".to_owned())]),
        source: LayerSource::File(path),
    };
    AssembledImage {
        platform: Platform::AMD64,
        layers: vec![layer],
        config: Vec::new(),
        manifest: Vec::new(),
        manifest_media_type: MANIFEST_TYPE.to_owned(),
    }
}

fn unpack(entries: &[(&str, Made<'_>)]) -> Result<(tempfile::TempDir, Vec<String>), String> {
    let file = |from: &str, to: &str| LockedFile { from: from.to_owned(), to: to.to_owned() };
    let files = [file("src", "/srv/app"), file("conf/prod.toml", "/srv/app/prod.toml"), file(".", "/all")];
    let (source, target) = (folder(&[]), folder(&[]));
    let registries =
        Registries::new(http::Client::new(&http::Options::default()).expect("a client"), Config::default());
    let left_out = project::unpack(&registries, &image_of(source.path(), entries), &files, target.path());
    left_out.map(|left_out| (target, left_out)).map_err(|error| error.to_string())
}

#[test]
fn project_files_come_back_to_where_they_were() {
    let (target, left_out) = unpack(&[
        ("srv/", Made::Folder),
        ("srv/app/", Made::Folder),
        ("srv/app/empty/", Made::Folder),
        ("srv/app/run.sh", Made::File("run", 0o755)),
        ("srv/app/prod.toml", Made::File("conf", 0o644)),
        ("srv/app/link", Made::Link("empty/../run.sh")),
        ("all/", Made::Folder),
        ("all/setup.cfg", Made::File("cfg", 0o644)),
        ("all/.git/config", Made::File("", 0o644)),
        ("stargz.index.json", Made::File("{}", 0o444)),
    ])
    .expect("unpacked");
    assert_eq!(left_out, [".git/config"]);
    assert_eq!(listing(target.path()), ["conf", "setup.cfg", "src"]);
    assert_eq!(listing(&target.path().join("src")), ["empty", "link", "run.sh"]);
    let read = |path: &str| fs::read_to_string(target.path().join(path)).expect("a file");
    assert_eq!(
        (read("src/run.sh").as_str(), read("src/link").as_str(), read("conf/prod.toml").as_str()),
        ("run", "run", "conf")
    );
    let mode = fs::metadata(target.path().join("src/run.sh")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn layers_that_lead_out_of_the_folder_are_refused() {
    for (entries, problem) in [
        (&[("srv/app/../../../x", Made::File("", 0o644))][..], "leads out of the folder"),
        (&[("srv/app/link", Made::Link("/etc"))], "leads out of the folder"),
        (&[("srv/app/link", Made::Link("../../x"))], "leads out of the folder"),
        (&[("srv/app/link", Made::Link("..")), ("srv/app/link/x", Made::File("", 0o644))], "lies below a link"),
        (&[("srv/app/hard", Made::Hard("etc/passwd"))], "is neither a file, a folder nor a link (Link)"),
        (&[("srv/app/x", Made::File("", 0o644)), ("srv/app/x/", Made::Folder)], "is a file and a folder"),
    ] {
        let error = unpack(entries).expect_err(problem);
        assert!(error.contains(problem), "{error}");
    }
}
