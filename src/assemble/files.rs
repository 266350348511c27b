//! Project files as a layer.
//!
//! The layer must not depend on who built it: modes become 0644 or 0755, owners the image's user, times the image's one,
//! and names are sorted. Files that look like credentials are refused unless `.dockerignore` names them, because an image
//! is published and a layer is not forgotten. What imgforge itself wrote is no project file: with it, an image would hold the
//! one before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::environment::declare_standard_folders;
use super::ignore::{IgnoreRules, PatternError};
use super::layer::{self, LayerWriter};
use super::tar::Owner;
use crate::diagnostic::Hint;
use crate::hierarchy::{self, STANDARD_FOLDERS, is_of_system};
use crate::lock::LockedFile;
use crate::oci::{Digest, Hasher};
use crate::plan::{FileCopy, VENV};
use crate::store;

/// Why project files cannot become a layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The step that failed, as a verb phrase.
        action: &'static str,
        /// File concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A `.dockerignore` that cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A file that looks like a credential.
    #[error("`{0}` looks like a credential, and would be readable for everybody who can pull the image")]
    Credential(String),
    /// A link that leads out of what is copied.
    #[error("the link `{path}` leads to `{target}`, outside of what is copied")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A socket, a device or a pipe.
    #[error("`{0}` is neither a file, a folder nor a link")]
    Special(String),
    /// A name that is not UTF-8.
    #[error("the name `{0}` is not UTF-8")]
    Name(String),
    /// Two copies that put different things at one path.
    #[error("two entries of `files:` lead to `/{0}`")]
    Twice(String),
    /// A copy of what imgforge wrote.
    #[error("`{0}` is where imgforge writes, and what it writes never enters an image")]
    Output(String),
    /// The layer could not be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Credential(path) => vec![
                format!("add `{path}` to `.dockerignore` beside the spec"),
                "give secrets to the container when it starts: `docker run --env-file`, or a Compose secret".to_owned(),
            ],
            Self::LinkOutside { path, .. } | Self::Special(path) => {
                vec![format!("add `{path}` to `.dockerignore` beside the spec, or copy its content into the project")]
            }
            Self::Output(_) => {
                vec!["name a folder of the project's own under `files:`, or another `--output`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// Where project files come from.
#[derive(Debug, Clone, Copy)]
pub struct Project<'a> {
    /// The spec's folder, whose `.dockerignore` applies.
    pub folder: &'a Path,
    /// Where this build writes, if that may be in it.
    pub output: Option<&'a Path>,
}

/// What goes into the layer, by path in it.
#[derive(Debug, Default)]
pub struct Collection {
    items: BTreeMap<String, Item>,
    outputs: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Folder,
    File { source: PathBuf, executable: bool },
    Link { target: String },
}

impl Collection {
    /// Reads the folders of `copies`. Contents of project files are not read.
    pub fn collect(project: Project<'_>, copies: &[FileCopy]) -> Result<Self, Error> {
        let ignore_file = project.folder.join(".dockerignore");
        let rules = match fs::read_to_string(&ignore_file) {
            Ok(text) => IgnoreRules::parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => IgnoreRules::default(),
            Err(source) => return Err(Error::Io { action: "read", path: ignore_file, source }),
        };
        let output = Output::of(project);
        let mut collection = Self::default();
        for copy in copies {
            let from = relative(&copy.from);
            let metadata = fs::metadata(&copy.source).map_err(io_error("read", &copy.source))?;
            let depth = from.split('/').count();
            if copy.source.ancestors().take(depth).any(|folder| output.is(folder)) {
                return Err(Error::Output(copy.from.clone()));
            }
            let mut to = relative(&copy.to);
            if metadata.is_file() && (copy.to.ends_with('/') || to.is_empty()) {
                let name = from.rsplit('/').next().unwrap_or_default();
                to = if to.is_empty() { name.to_owned() } else { format!("{to}/{name}") };
            }
            let mut walk = Walk { collection: &mut collection, rules: &rules, output: &output, root: from.clone() };
            walk.item(&copy.source, &from, &to, &metadata)?;
        }
        Ok(collection)
    }

    /// Address of everything that decides the layer: paths, modes, link targets and contents. Reads every file.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut hasher = Hasher::new();
        for (path, item) in &self.items {
            let line = match item {
                Item::Folder => format!("folder {path}\0"),
                Item::Link { target } => format!("link {path}\0{target}\0"),
                Item::File { source, executable } => {
                    let (digest, size) = store::digest_file(source).map_err(io_error("read", source))?;
                    format!("file {path}\0{executable} {size} {digest}\0")
                }
            };
            hasher.update(line.as_bytes());
        }
        Ok(hasher.digest())
    }

    /// Folders that were left out because imgforge writes there, relative to the spec's folder.
    pub fn outputs(&self) -> &BTreeSet<String> {
        &self.outputs
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes the files for `owner`. Folders that the base or the environment has keep their mode and owner, and those where
    /// only the system's own things belong are root's.
    pub fn write<W: Write>(&self, owner: Owner, layer: &mut LayerWriter<W>) -> Result<(), Error> {
        declare_standard_folders(layer)?;
        let own = self.items.keys().flat_map(|path| hierarchy::above(path));
        for folder in own.filter(|folder| is_of_environment(folder) || is_of_system(folder)) {
            layer.folder_below(folder, 0o755, Owner::ROOT)?;
        }
        for (path, item) in &self.items {
            match item {
                Item::Folder if STANDARD_FOLDERS.contains(&path.as_str()) || is_of_environment(path) => {}
                Item::Folder if is_of_system(path) => layer.directory(path, 0o755, Owner::ROOT)?,
                Item::Folder => layer.directory(path, 0o755, owner)?,
                Item::Link { target } => layer.symlink(path, target, owner)?,
                Item::File { source, executable } => {
                    let mut file = File::open(source).map_err(io_error("open", source))?;
                    let size = file.metadata().map_err(io_error("read", source))?.len();
                    layer.file(path, if *executable { 0o755 } else { 0o644 }, owner, size, &mut file)?;
                }
            }
        }
        Ok(())
    }
}

/// Tells folders that imgforge writes into: this build's, by what it is, and those of other specs and settings, by the
/// Dockerfile that each holds.
struct Output {
    /// Device and number of this build's folder.
    own: Option<(u64, u64)>,
}

impl Output {
    fn of(project: Project<'_>) -> Self {
        Self { own: project.output.and_then(identity) }
    }

    fn is(&self, folder: &Path) -> bool {
        self.own.is_some() && self.own == identity(folder) || store::is_generated(&folder.join("Dockerfile"))
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

struct Walk<'a> {
    collection: &'a mut Collection,
    rules: &'a IgnoreRules,
    output: &'a Output,
    /// The copied folder or file, relative to the spec's folder.
    root: String,
}

impl Walk<'_> {
    /// `from` is the path relative to the spec's folder, `to` the path in the layer; empty for the image's root. Returns
    /// whether it is there for imgforge's output alone.
    fn item(&mut self, source: &Path, from: &str, to: &str, metadata: &Metadata) -> Result<bool, Error> {
        let excluded = self.rules.excludes(from);
        if excluded && !(metadata.is_dir() && self.rules.has_exceptions()) {
            return Ok(false);
        }
        if metadata.is_dir() {
            if self.output.is(source) {
                self.collection.outputs.extend((!excluded).then(|| from.to_owned()));
                return Ok(true);
            }
            let for_output = self.folder(source, from, to)?;
            // A folder that is only there for an exception below it appears with that. One that holds output alone was not
            // there before the first build.
            if !excluded && !for_output && !to.is_empty() {
                self.insert(to, Item::Folder)?;
            }
            return Ok(for_output);
        }
        self.leaf(source, from, to, metadata)?;
        Ok(false)
    }

    fn leaf(&mut self, source: &Path, from: &str, to: &str, metadata: &Metadata) -> Result<(), Error> {
        if looks_like_credential(from) {
            return Err(Error::Credential(from.to_owned()));
        }
        if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            self.insert(to, Item::File { source: source.to_owned(), executable })
        } else if metadata.is_symlink() {
            let target = fs::read_link(source).map_err(io_error("read the link", source))?;
            let target = utf8(&target)?;
            let inside = stays_inside(from.strip_prefix(&self.root).unwrap_or(from).trim_start_matches('/'), &target);
            if !inside {
                return Err(Error::LinkOutside { path: from.to_owned(), target });
            }
            self.insert(to, Item::Link { target })
        } else {
            Err(Error::Special(from.to_owned()))
        }
    }

    /// What is in a folder. Returns whether that is imgforge's output and nothing else.
    fn folder(&mut self, source: &Path, from: &str, to: &str) -> Result<bool, Error> {
        let (mut entries, mut outputs) = (0, 0);
        for entry in fs::read_dir(source).map_err(io_error("list", source))? {
            let path = entry.map_err(io_error("list", source))?.path();
            let name = utf8(Path::new(path.file_name().unwrap_or_default()))?;
            if store::is_unfinished(&name) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).map_err(io_error("read", &path))?;
            let join = |folder: &str| if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            entries += 1;
            outputs += usize::from(self.item(&path, &join(from), &join(to), &metadata)?);
        }
        Ok(outputs > 0 && outputs == entries)
    }

    fn insert(&mut self, to: &str, item: Item) -> Result<(), Error> {
        layer::check_path(to)?;
        match self.collection.items.get(to) {
            Some(known) if *known != item => Err(Error::Twice(to.to_owned())),
            _ => {
                self.collection.items.insert(to.to_owned(), item);
                Ok(())
            }
        }
    }
}

/// Where a path of the layer, without slash in front, lies in the project: the reverse of what [`Collection::collect`] does.
/// `None` for what no copy leads to, such as folders above one.
pub fn project_path(path: &str, files: &[LockedFile]) -> Option<String> {
    let below = |file: &LockedFile| {
        let (to, from) = (relative(&file.to), relative(&file.from));
        let rest = path.strip_prefix(to.as_str())?;
        if rest.is_empty() {
            return Some((to.len(), from));
        }
        let rest = if to.is_empty() { rest } else { rest.strip_prefix('/')? };
        Some((to.len(), if from.is_empty() { rest.to_owned() } else { format!("{from}/{rest}") }))
    };
    files.iter().filter_map(below).max_by_key(|(length, _)| *length).map(|(_, path)| path)
}

/// Without `.` and empty components; `..` stays, for [`layer::check_path`] to refuse.
fn relative(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// Whether a link at `link`, relative to the copied folder, leads to a place in that folder.
pub fn stays_inside(link: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return false;
    }
    let folders = link.split('/').count() - 1;
    let depth = target.split('/').try_fold(folders, |depth, part| match part {
        "" | "." => Some(depth),
        ".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    });
    depth.is_some()
}

/// Whether a folder is one of those that the virtual environment has: they are the environment's, not the user's.
fn is_of_environment(folder: &str) -> bool {
    let Some(below) = folder.strip_prefix(VENV.trim_matches('/')) else { return false };
    match below.split('/').collect::<Vec<_>>().as_slice() {
        [""] | ["", "bin" | "include" | "lib"] => true,
        ["", "lib", python] | ["", "lib", python, "site-packages"] => python.starts_with("python"),
        _ => false,
    }
}

/// By name alone: what tools call the files in which they keep secrets. Examples and public halves are let through.
pub fn looks_like_credential(path: &str) -> bool {
    let lower = path.to_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let parent = folder.rsplit('/').next().unwrap_or_default();
    if [".example", ".sample", ".template", ".pub"].iter().any(|suffix| name.ends_with(suffix)) {
        return false;
    }
    let names = [".env", ".netrc", "_netrc", ".pypirc", ".git-credentials", ".pgpass", ".htpasswd", ".npmrc"];
    let keys = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
    let in_folder = matches!(
        (parent, name),
        (".aws", "credentials" | "config") | (".docker", "config.json") | (".kube", "config") | (".azure" | ".ssh", _)
    );
    names.contains(&name)
        || name.starts_with(".env.")
        || keys.iter().any(|key| name.starts_with(key))
        || [".pem", ".key", ".p12", ".pfx", ".keystore"].iter().any(|suffix| name.ends_with(suffix))
        || name == "application_default_credentials.json"
        || in_folder
}

fn utf8(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Name(path.to_string_lossy().into_owned()))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::assemble::testing::{Tree, layer_tree};

    const OWNER: Owner = Owner { user: 1000, group: 1000 };

    /// A project folder with these files; a name that ends in `*` is executable.
    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            let path = folder.path().join(name.trim_end_matches('*'));
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(&path, content).expect("a file");
            let mode = if name.ends_with('*') { 0o700 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        folder
    }

    fn collect(folder: &Path, copies: &[(&str, &str)]) -> Result<Collection, Error> {
        let copy = |(from, to): &(&str, &str)| FileCopy {
            source: folder.join(from),
            from: (*from).to_owned(),
            to: (*to).to_owned(),
        };
        let project = Project { folder, output: Some(&folder.join("build")) };
        Collection::collect(project, &copies.iter().map(copy).collect::<Vec<_>>())
    }

    fn tree(folder: &Path, copies: &[(&str, &str)]) -> Tree {
        let collection = collect(folder, copies).expect("files");
        layer_tree(|layer| collection.write(OWNER, layer))
    }

    #[test]
    fn modes_owners_and_order_are_ours() {
        let folder = project(&[("src/b.py", "b"), ("src/a/run.sh*", "a"), ("setup.cfg", "c"), ("src/x.pyc", "")]);
        fs::write(folder.path().join(".dockerignore"), "**/*.pyc\n").expect("a file");
        symlink("a/run.sh", folder.path().join("src/run")).expect("a link");
        let copies = [("src", "/workspace/src"), ("setup.cfg", "/workspace/"), ("./src/b.py", "/usr/local/bin/b")];
        assert_eq!(
            tree(folder.path(), &copies).listing(),
            "d 0755 0:0 usr/\n\
             d 0755 0:0 usr/local/\n\
             d 0755 0:0 usr/local/bin/\n\
             f 0644 1000:1000 usr/local/bin/b\n\
             d 0755 1000:1000 workspace/\n\
             f 0644 1000:1000 workspace/setup.cfg\n\
             d 0755 1000:1000 workspace/src/\n\
             d 0755 1000:1000 workspace/src/a/\n\
             f 0755 1000:1000 workspace/src/a/run.sh\n\
             f 0644 1000:1000 workspace/src/b.py\n\
             l 0777 1000:1000 workspace/src/run -> a/run.sh\n"
        );
    }

    #[test]
    fn exceptions_below_an_excluded_folder_are_found() {
        let folder = project(&[("data/big.bin", ""), ("data/small.csv", "1"), ("main.py", "")]);
        fs::write(folder.path().join(".dockerignore"), "data\n!data/small.csv\n.dockerignore\n").expect("a file");
        assert_eq!(
            tree(folder.path(), &[(".", "/app")]).files().keys().copied().collect::<Vec<_>>(),
            ["app/data/small.csv", "app/main.py"]
        );
    }

    #[test]
    fn credentials_are_refused_by_name() {
        for name in ["src/.env", "src/.env.local", "src/key.PEM", "src/id_rsa", "src/.aws/credentials", "src/.netrc"] {
            let folder = project(&[(name, "secret"), ("src/a.py", "")]);
            let error = collect(folder.path(), &[("src", "/src")]).expect_err("refused");
            assert!(matches!(&error, Error::Credential(path) if path == name), "{error}");
            fs::write(folder.path().join(".dockerignore"), name).expect("a file");
            collect(folder.path(), &[("src", "/src")]).expect("ignored, so accepted");
        }
        let folder = project(&[("src/.env.example", ""), ("src/id_rsa.pub", ""), ("src/keys.py", "")]);
        collect(folder.path(), &[("src", "/src")]).expect("harmless");
    }

    #[test]
    fn links_must_stay_in_the_copied_folder() {
        for (target, inside) in
            [("../a.py", true), ("../../a.py", false), ("/etc/passwd", false), ("x/../../a.py", true)]
        {
            let folder = project(&[("src/a.py", ""), ("src/d/b.py", "")]);
            symlink(target, folder.path().join("src/d/link")).expect("a link");
            let result = collect(folder.path(), &[("src", "/src")]);
            assert_eq!(result.is_ok(), inside, "{target}");
        }
    }

    #[test]
    fn what_imgforge_wrote_is_no_project_file() {
        let marked = format!("# {}", store::GENERATED);
        let before = project(&[("main.py", ""), ("deploy/Dockerfile", "FROM scratch\n")]);
        let after = project(&[
            ("main.py", ""),
            ("deploy/Dockerfile", "FROM scratch\n"),
            ("generated/one/Dockerfile", &marked),
            ("generated/one/oci/index.json", "{}"),
            ("generated/one/.env", "PASSWORD=secret"),
            ("deploy/other/Dockerfile", &marked),
            ("build/oci/blobs/sha256/00", ""),
        ]);
        let copies = [(".", "/app")];
        let paths = ["app/deploy/Dockerfile", "app/main.py"];
        for folder in [&before, &after] {
            let tree = tree(folder.path(), &copies);
            assert_eq!(tree.files().keys().copied().collect::<Vec<_>>(), paths);
        }
        let [first, second] = [&before, &after].map(|folder| collect(folder.path(), &copies).expect("files"));
        assert_eq!(first.digest().expect("a digest"), second.digest().expect("a digest"));
        assert!(first.outputs().is_empty());
        assert!(second.outputs().iter().eq(["build", "deploy/other", "generated/one"]));

        for from in ["generated/one", "./generated/one/oci", "build/oci"] {
            let error = collect(after.path(), &[(from, "/app")]).expect_err("refused");
            assert!(matches!(&error, Error::Output(path) if path == from), "{error}");
        }
        fs::write(after.path().join(".dockerignore"), "generated\n").expect("a file");
        let collection = collect(after.path(), &copies).expect("files");
        assert!(collection.outputs().iter().eq(["build", "deploy/other"]));
    }

    #[test]
    fn the_digest_follows_content_and_mode_only() {
        let digest = |files: &[(&str, &str)]| {
            let folder = project(files);
            collect(folder.path(), &[("src", "/src")]).and_then(|collection| collection.digest()).expect("a digest")
        };
        let one = digest(&[("src/a", "1"), ("src/b", "2")]);
        assert_eq!(one, digest(&[("src/b", "2"), ("src/a", "1")]));
        assert_ne!(one, digest(&[("src/a", "1"), ("src/b", "3")]));
        assert_ne!(one, digest(&[("src/a*", "1"), ("src/b", "2")]));
    }

    #[test]
    fn the_environments_folders_keep_their_owner() {
        let folder = project(&[("a.pth", "")]);
        assert_eq!(
            tree(folder.path(), &[("a.pth", "/opt/venv/lib/python3.11/site-packages/own/a.pth")]).listing(),
            "d 0755 0:0 opt/\n\
             d 0755 0:0 opt/venv/\n\
             d 0755 0:0 opt/venv/lib/\n\
             d 0755 0:0 opt/venv/lib/python3.11/\n\
             d 0755 0:0 opt/venv/lib/python3.11/site-packages/\n\
             d 0755 1000:1000 opt/venv/lib/python3.11/site-packages/own/\n\
             f 0644 1000:1000 opt/venv/lib/python3.11/site-packages/own/a.pth\n"
        );
    }

    #[test]
    fn folders_of_the_system_keep_their_owner() {
        let folder = project(&[("etc/ssl/certs/own.conf", ""), ("tmp/a", ""), ("data/b", "")]);
        assert_eq!(
            tree(folder.path(), &[("etc", "/etc"), ("tmp", "/tmp"), ("data", "/data"), ("data", "/usr/share/own")])
                .listing(),
            "d 0755 1000:1000 data/\n\
             f 0644 1000:1000 data/b\n\
             d 0755 0:0 etc/\n\
             d 0755 0:0 etc/ssl/\n\
             d 0755 0:0 etc/ssl/certs/\n\
             f 0644 1000:1000 etc/ssl/certs/own.conf\n\
             d 1777 0:0 tmp/\n\
             f 0644 1000:1000 tmp/a\n\
             d 0755 0:0 usr/\n\
             d 0755 0:0 usr/share/\n\
             d 0755 0:0 usr/share/own/\n\
             f 0644 1000:1000 usr/share/own/b\n"
        );
    }

    #[test]
    fn a_destination_may_not_leave_the_image() {
        let folder = project(&[("a.py", "")]);
        assert!(matches!(
            collect(folder.path(), &[("a.py", "/../etc/x")]),
            Err(Error::Layer(layer::Error::Path { .. }))
        ));
    }
}
