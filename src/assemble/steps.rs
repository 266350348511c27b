//! The plan's steps as layers, in order, on a base: the whole of stage 6b in one pass.
//!
//! Whoever calls has brought the bytes ([`Materials`]): wheels and .deb files in the store, the base's config and account
//! files. Nothing is fetched here and nothing is executed; a step that needs an engine is refused by name before any layer
//! is made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::base::Base;
use super::environment::{Accounts, User, write_environment, write_user};
use super::files::{self, Collection};
use super::grouping;
use super::image::{self, BaseImage, compose};
use super::layer::LayerWriter;
use super::layers::{self, Job, Kind, LayerCache, LayerKey};
use super::tar::Owner;
use super::wheel::{Site, WheelInput, write_wheels};
use crate::debian::{self, AccountFiles, FilesBelow, NodeKind, Root, RootOptions, build_root};
use crate::diagnostic::Hint;
use crate::lock::{LockedDeb, LockedWheel};
use crate::oci::AssembledImage;
use crate::plan::{Plan, Step, VENV};
use crate::progress::Task;
use crate::store::Store;

/// Kind of the facts that keep a base's account files, so that a base that is known is not unpacked again.
const ACCOUNT_FACTS: &str = "base-accounts";

/// What a plan's steps are made from.
#[derive(Debug, Default)]
pub struct Materials {
    /// The base image, unless the plan's base is made of packages.
    pub base: Option<Base>,
    /// Account files and package database of that image, by path without leading slash.
    pub base_files: BTreeMap<String, Vec<u8>>,
    /// The .deb files of the plan, in its order.
    pub debs: Vec<PathBuf>,
    /// The wheels of the plan, in its order.
    pub wheels: Vec<PathBuf>,
}

/// Why a plan does not become an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step runs a command.
    #[error("`run: {command}` needs an engine: the daemonless build executes nothing")]
    NeedsEngine {
        /// The command.
        command: String,
    },
    /// The plan names a base, and the materials have none.
    #[error("the base `{0}` was not brought")]
    NoBase(String),
    /// Debian packages.
    #[error(transparent)]
    Debian(#[from] debian::Error),
    /// Layers.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// Config and manifest.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// Project files.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The file system.
    #[error("{action} `{path}`: {source}")]
    Io {
        /// The step that failed.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NeedsEngine { .. } => vec![
                "build with `--engine docker` (or `podman`, `buildah`), which runs it in the rendered Dockerfile"
                    .to_owned(),
                "or make the result a wheel or a file, and list it under `packages:` or `files:`".to_owned(),
            ],
            Self::Debian(error) => error.help(),
            Self::Layers(error) => error.help(),
            Self::Image(error) => error.help(),
            Self::Files(error) => error.help(),
            Self::NoBase(_) | Self::Io { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Debian(error) => error.notes(),
            Self::Layers(error) => error.notes(),
            _ => Vec::new(),
        }
    }
}

/// Where an image's layers go, and what is known of them.
#[derive(Debug, Clone)]
pub struct Workplace<'a> {
    /// The `blobs/sha256` of the layout that is being made.
    pub blobs: &'a Path,
    /// Those of other layouts on this machine: a layer that is there is linked, not made.
    pub others: &'a [PathBuf],
    /// What is remembered between builds.
    pub store: &'a Store,
}

/// Makes the image of a plan. `created` is the time of every entry
/// and of the image, in seconds since 1970; `folder` is the spec's, whose `.dockerignore` applies.
pub fn assemble(
    plan: &Plan,
    materials: &Materials,
    folder: &Path,
    workplace: &Workplace<'_>,
    created: u64,
    task: &Task,
) -> Result<AssembledImage, Error> {
    for step in &plan.steps {
        if let Step::Run(command) = step {
            return Err(Error::NeedsEngine { command: command.clone() });
        }
    }
    let Workplace { blobs, others, store } = *workplace;
    let cache = LayerCache::new(store, blobs).beside(others);
    let site = Site { prefix: VENV.to_owned(), python: plan.python };
    let debs: Vec<(LockedDeb, PathBuf)> = plan
        .steps
        .iter()
        .find_map(|step| match step {
            Step::SystemPackages { debs, .. } => {
                Some(debs.iter().cloned().zip(materials.debs.iter().cloned()).collect())
            }
            _ => None,
        })
        .unwrap_or_default();
    let system = SystemLayer::new(plan, materials, debs, &cache, store, created)?;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut user = None;
    for step in &plan.steps {
        match step {
            Step::Base(_) | Step::Run(_) => {}
            Step::SystemPackages { .. } => jobs.extend(system.job(created, task)),
            Step::User { name, workdir } => {
                let declared = User { name: name.clone(), workdir: workdir.clone() };
                jobs.push(user_job(&declared, &system.accounts, created));
                user = Some(declared);
            }
            Step::Environment { interpreter } => jobs.push(environment_job(interpreter, &site, created)),
            Step::Wheels(wheels) => jobs.extend(wheel_jobs(wheels, &materials.wheels, &site, created, task)),
            Step::Files(copies) => {
                let collection = Collection::collect(folder, copies)?;
                if !collection.is_empty() {
                    let owner = user.as_ref().map_or(Owner::ROOT, |user| user.account(&system.accounts).owner);
                    jobs.push(files_job(collection, owner, created)?);
                }
            }
        }
    }
    let made = cache.layers(jobs)?;
    let base = materials.base.as_ref().map(|base| BaseImage {
        reference: Some((base.reference.whole(), base.digest)),
        config: base.config.clone(),
        layers: base.layers.clone(),
    });
    Ok(compose(plan.platform, base.as_ref(), made, &plan.config, created)?)
}

/// The layer of Debian packages, and the account files that the rest of the image builds on.
struct SystemLayer {
    debs: Vec<(LockedDeb, PathBuf)>,
    key: LayerKey,
    options: RootOptions,
    root: Option<Root>,
    accounts: Accounts,
}

impl SystemLayer {
    fn new(
        plan: &Plan,
        materials: &Materials,
        debs: Vec<(LockedDeb, PathBuf)>,
        cache: &LayerCache<'_>,
        store: &Store,
        created: u64,
    ) -> Result<Self, Error> {
        let spool_folder = store.root().join("tmp");
        std::fs::create_dir_all(&spool_folder).map_err(|source| Error::Io {
            action: "create",
            path: spool_folder.clone(),
            source,
        })?;
        let base = plan.steps.iter().find_map(|step| match step {
            Step::Base(base) => Some(base),
            _ => None,
        });
        let inputs: Vec<_> = debs.iter().map(|(deb, _)| deb.digest).collect();
        if base.is_some_and(|base| base.kind != "debian") {
            let base = base.and_then(|base| base.reference.clone()).unwrap_or_default();
            let image = materials.base.as_ref().ok_or(Error::NoBase(base))?;
            let file = |path: &str| materials.base_files.get(path).cloned();
            let accounts = Accounts {
                passwd: file("etc/passwd"),
                group: file("etc/group"),
                shadow: file("etc/shadow"),
                bash: materials.base_files.keys().any(|path| path.ends_with("bin/bash")),
            };
            let digest = image.digest.to_string();
            let key = LayerKey::new(Kind::Os, created, &[("base", digest.as_str())], inputs);
            let files = AccountFiles {
                passwd: accounts.passwd.clone(),
                group: accounts.group.clone(),
                shadow: accounts.shadow.clone(),
                gshadow: file("etc/gshadow"),
            };
            let below = FilesBelow {
                status: file("var/lib/dpkg/status").unwrap_or_default(),
                accounts: files,
                loader_cache: file("etc/ld.so.cache"),
            };
            let options = RootOptions { spool_folder, below: Some(below) };
            if debs.is_empty() {
                return Ok(Self { debs, key, options, root: None, accounts });
            }
            return Self::with_root(debs, key, options, &accounts, cache, store);
        }
        let suite = base.and_then(|base| base.suite.clone()).unwrap_or_default();
        let platform = plan.platform.to_string();
        let key = LayerKey::new(Kind::Base, created, &[("suite", &suite), ("platform", &platform)], inputs);
        let options = RootOptions { spool_folder, below: None };
        Self::with_root(debs, key, options, &Accounts::default(), cache, store)
    }

    /// The layer with the account files after it: the packages' where they have any, else those below.
    fn with_root(
        debs: Vec<(LockedDeb, PathBuf)>,
        key: LayerKey,
        options: RootOptions,
        below: &Accounts,
        cache: &LayerCache<'_>,
        store: &Store,
    ) -> Result<Self, Error> {
        let known = cache.recall(&key).and_then(|_| recall_accounts(store, &key));
        if let Some(accounts) = known {
            return Ok(Self { debs, key, options, root: None, accounts });
        }
        let root = build_root(&debs, &options)?;
        let read = |path: &str, below: &Option<Vec<u8>>| {
            let failed = |source| Error::Io { action: "read from the packages", path: PathBuf::from(path), source };
            Ok::<_, Error>(root.read(path).map_err(failed)?.or_else(|| below.clone()))
        };
        let accounts = Accounts {
            passwd: read("etc/passwd", &below.passwd)?,
            group: read("etc/group", &below.group)?,
            shadow: read("etc/shadow", &below.shadow)?,
            bash: below.bash || root.get("usr/bin/bash").is_some(),
        };
        remember_accounts(store, &key, &accounts)?;
        Ok(Self { debs, key, options, root: Some(root), accounts })
    }

    fn job<'a>(&'a self, created: u64, task: &'a Task) -> Option<Job<'a>> {
        if self.debs.is_empty() {
            return None;
        }
        let names: Vec<String> = self.debs.iter().map(|(deb, _)| format!("{} {}", deb.name, deb.version)).collect();
        let weight = self.debs.iter().map(|(deb, _)| deb.size).sum();
        Some(Job {
            key: self.key.clone(),
            contents: names.join(", "),
            // Packages are compressed anew, wheels are not: by the byte they take several times as long.
            weight: weight * 4,
            modified: created,
            build: Box::new(move |layer| {
                let built;
                let root = if let Some(root) = &self.root {
                    root
                } else {
                    built =
                        build_root(&self.debs, &self.options).map_err(|error| layers::Error::Other(Box::new(error)))?;
                    &built
                };
                write_root(root, layer)?;
                task.advance(weight);
                Ok(())
            }),
        })
    }
}

/// Writes a tree. A layer has a hard link after its target, whatever their names.
fn write_root<W: std::io::Write>(root: &Root, layer: &mut LayerWriter<W>) -> Result<(), layers::Error> {
    let mut links = Vec::new();
    for (path, node) in root.nodes() {
        let owner = Owner { user: node.uid, group: node.gid };
        match &node.kind {
            NodeKind::Directory => layer.directory(path, node.mode, owner)?,
            NodeKind::File(content) => {
                layer.file(path, node.mode, owner, content.length(), &mut *root.open(content))?;
            }
            NodeKind::Symlink(target) => layer.symlink(path, target, owner)?,
            NodeKind::Hardlink(target) => links.push((path, target, node.mode, owner)),
        }
    }
    for (path, target, mode, owner) in links {
        layer.hard_link(path, target, mode, owner)?;
    }
    Ok(())
}

fn user_job<'a>(user: &User, accounts: &'a Accounts, created: u64) -> Job<'a> {
    let user = user.clone();
    Job {
        key: LayerKey::user(&user, accounts, created),
        contents: format!("user {}, {}", user.name, user.workdir),
        weight: 0,
        modified: created,
        build: Box::new(move |layer| Ok(write_user(&user, accounts, layer)?)),
    }
}

fn environment_job<'a>(interpreter: &'a str, site: &'a Site, created: u64) -> Job<'a> {
    Job {
        key: LayerKey::environment(interpreter, site, created),
        contents: format!("environment {} on {interpreter}", site.prefix),
        weight: 0,
        modified: created,
        build: Box::new(move |layer| Ok(write_environment(interpreter, site, layer)?)),
    }
}

fn wheel_jobs<'a>(
    wheels: &'a [LockedWheel],
    paths: &'a [PathBuf],
    site: &'a Site,
    created: u64,
    task: &'a Task,
) -> Vec<Job<'a>> {
    let path_of: BTreeMap<_, _> = wheels.iter().map(|wheel| &wheel.digest).zip(paths).collect();
    grouping::group(wheels)
        .into_iter()
        .map(|group| {
            let inputs: Vec<WheelInput> = group
                .wheels
                .iter()
                .filter_map(|wheel| {
                    let path = path_of.get(&wheel.digest)?;
                    Some(WheelInput { path: (*path).clone(), filename: wheel.file.clone(), digest: wheel.digest })
                })
                .collect();
            let weight = group.size();
            Job {
                key: LayerKey::wheels(&inputs, site, created),
                contents: group.contents(),
                weight,
                modified: created,
                build: Box::new(move |layer| {
                    write_wheels(&inputs, site, layer)?;
                    task.advance(weight);
                    Ok(())
                }),
            }
        })
        .collect()
}

fn files_job<'a>(collection: Collection, owner: Owner, created: u64) -> Result<Job<'a>, Error> {
    let digest = collection.digest()?;
    let owned = format!("{}:{}", owner.user, owner.group);
    Ok(Job {
        key: LayerKey::new(Kind::Files, created, &[("owner", owned.as_str())], [digest]),
        contents: "project files".to_owned(),
        weight: 0,
        modified: created,
        build: Box::new(move |layer| Ok(collection.write(owner, layer)?)),
    })
}

fn recall_accounts(store: &Store, key: &LayerKey) -> Option<Accounts> {
    let fact: Vec<Option<String>> = serde_json::from_str(&store.recall(ACCOUNT_FACTS, &key.to_string())?).ok()?;
    let [passwd, group, shadow, bash] = <[Option<String>; 4]>::try_from(fact).ok()?;
    let bytes = |text: Option<String>| text.map(String::into_bytes);
    Some(Accounts { passwd: bytes(passwd), group: bytes(group), shadow: bytes(shadow), bash: bash.is_some() })
}

fn remember_accounts(store: &Store, key: &LayerKey, accounts: &Accounts) -> Result<(), Error> {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let fact = [text(&accounts.passwd), text(&accounts.group), text(&accounts.shadow), accounts.bash.then(String::new)];
    let fact = serde_json::to_string(&fact).unwrap_or_default();
    store.remember(ACCOUNT_FACTS, &key.to_string(), &fact).map_err(|error| layers::Error::from(error).into())
}
