//! The layers of a recipe, made: the whole of stage 6b in one pass.
//!
//! Whoever calls has brought the bytes ([`Materials`]) that the recipe wants: wheels and .deb files in the store, the base's
//! config and account files. Nothing is fetched here, and nothing is executed but the compiler of modules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::base::{self, Base};
use super::byte_code::{Compiler, write_byte_code};
use super::environment::{Accounts, write_environment, write_user};
use super::files;
use super::image::{self, BaseImage, compose};
use super::layer::LayerWriter;
use super::layers::{self, Build, Found, Job, KnownLayer, LayerCache};
use super::published::{KEY_ANNOTATION, OWNER_ANNOTATION};
use super::recipe::{Ingredients, Part, Recipe};
use super::tar::Owner;
use super::toc::TOC_ANNOTATION;
use super::wheel::{WheelInput, write_wheels};
use crate::debian::{self, AccountFiles, FilesBelow, NodeKind, Root, RootOptions, build_root};
use crate::diagnostic::Hint;
use crate::lock::{LockedDeb, LockedWheel};
use crate::oci::{AssembledImage, Compression, Digest, Layer};
use crate::progress::Task;
use crate::store::Store;
use crate::version::PythonVersion;

/// Kind of the facts that keep a base's account files, so that a base that is known is not unpacked again.
const ACCOUNT_FACTS: &str = "base-accounts";

/// Reads files of the base image, by path without leading slash.
pub type ReadBaseFiles<'a> = Box<dyn Fn() -> Result<BTreeMap<String, Vec<u8>>, base::Error> + Sync + 'a>;

/// What a plan's steps are made from.
#[derive(Default)]
pub struct Materials<'a> {
    /// The base image, unless the plan's base is made of packages.
    pub base: Option<&'a Base>,
    /// Gives account files and package database of that image, if they are wanted. Takes as long as inflating the image, so
    /// layers that do not need them are made meanwhile.
    pub base_files: Option<ReadBaseFiles<'a>>,
    /// The .deb files of the plan, in its order; none if they are not wanted.
    pub debs: Vec<PathBuf>,
    /// The wheels that are wanted, by digest.
    pub wheels: BTreeMap<Digest, PathBuf>,
    /// What compiles modules, if it is wanted.
    pub compiler: Option<Compiler>,
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
    /// Modules are to be compiled, and nothing says by which release.
    #[error("the base `{base}` does not say which release of Python {python} it holds")]
    UnknownRelease {
        /// The base.
        base: String,
        /// The line.
        python: PythonVersion,
    },
    /// Modules are to be compiled, and the materials have no compiler.
    #[error("no compiler was brought")]
    NoCompiler,
    /// The base image.
    #[error(transparent)]
    Base(#[from] base::Error),
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
            Self::UnknownRelease { .. } => vec![
                "choose a base whose config has `PYTHON_VERSION`, such as `base: slim`, or `base: debian`".to_owned(),
                "or leave out `compile: true`: byte-code must be of the very release that loads it".to_owned(),
            ],
            Self::Base(error) => error.help(),
            Self::Debian(error) => error.help(),
            Self::Layers(error) => error.help(),
            Self::Image(error) => error.help(),
            Self::Files(error) => error.help(),
            Self::NoBase(_) | Self::NoCompiler | Self::Io { .. } => Vec::new(),
        }
    }
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Base(error) => error.notes(),
            Self::Debian(error) => error.notes(),
            Self::Layers(error) => error.notes(),
            _ => Vec::new(),
        }
    }
}

impl Error {
    /// As the reason why a layer could not be made.
    fn in_layer(self) -> layers::Error {
        layers::Error::Other(Box::new(self))
    }
}

/// Makes the image of a recipe. `arrived` hears of every layer as soon as its bytes exist, in no order; it may be called from
/// several threads.
pub fn assemble(
    recipe: &Recipe<'_>,
    materials: &Materials<'_>,
    cache: &LayerCache<'_>,
    store: &Store,
    task: &Task,
    arrived: &(dyn Fn(&Layer) + Sync),
) -> Result<AssembledImage, Error> {
    let created = recipe.created;
    let system = System { recipe, materials, store, layer: Mutex::default() };
    let compression = recipe.plan.compression;
    let described = |part: &Part<'_>, found: &Found| describe(part, found, compression);
    let mut layers: Vec<Option<Layer>> = Vec::new();
    let mut jobs = Vec::new();
    let mut places = Vec::new();
    for part in &recipe.parts {
        let layer = part.found.as_ref().map(|found| described(part, found));
        layer.iter().for_each(arrived);
        if layer.is_none() {
            places.push(layers.len());
            jobs.push(Job {
                key: part.key.clone(),
                weight: part.weight * part.key.kind().effort() + system.waiting_for(part),
                modified: created,
                compression,
                build: build(part, &system, task),
            });
        }
        layers.push(layer);
    }
    let part_of = |position: usize| places.get(position).and_then(|&place| recipe.parts.get(place));
    let made = cache.make_all(jobs, &|position, found| {
        if let Some(part) = part_of(position) {
            arrived(&described(part, found));
        }
    })?;
    for (place, found) in places.iter().zip(&made) {
        if let (Some(layer), Some(part)) = (layers.get_mut(*place), recipe.parts.get(*place)) {
            *layer = Some(described(part, found));
        }
    }
    for (part, layer) in recipe.parts.iter().zip(&mut layers) {
        if let (Ingredients::User(_), Some(layer)) = (&part.ingredients, layer) {
            layer.annotations.insert(OWNER_ANNOTATION.to_owned(), system.owner()?.to_string());
        }
    }
    let base = materials.base.map(|base| BaseImage {
        reference: Some((base.reference.whole(), base.digest)),
        config: base.config.clone(),
        layers: base.layers.clone(),
    });
    let layers = layers.into_iter().flatten().collect();
    Ok(compose(recipe.plan.platform, base.as_ref(), layers, &recipe.plan.config, created)?)
}

/// A layer as the manifest has it, but for the owner of the user's files.
fn describe(part: &Part<'_>, found: &Found, compression: Compression) -> Layer {
    let mut annotations = BTreeMap::from([
        ("dev.imgforge.layer.kind".to_owned(), part.key.kind().to_string()),
        ("dev.imgforge.layer.contents".to_owned(), part.contents.clone()),
        (KEY_ANNOTATION.to_owned(), part.key.to_string()),
    ]);
    annotations.extend(found.known.toc.map(|toc| (TOC_ANNOTATION.to_owned(), toc.to_string())));
    let KnownLayer { digest, diff_id, size, .. } = found.known;
    let media_type = compression.media_type().to_owned();
    Layer { digest, diff_id, size, media_type, annotations, source: found.source.clone() }
}

/// What writes the entries of a part.
fn build<'a>(part: &'a Part<'_>, system: &'a System<'_>, task: &'a Task) -> Build<'a> {
    let System { recipe, materials, .. } = system;
    let site = &recipe.site;
    let weight = part.weight;
    match &part.ingredients {
        Ingredients::Debs(_) => Box::new(move |layer| {
            system.layer().map_err(Error::in_layer)?.write(layer)?;
            task.advance(weight);
            Ok(())
        }),
        Ingredients::User(user) => Box::new(move |layer| {
            let unknown = Accounts::default();
            let system = system.layer().map_err(Error::in_layer)?;
            Ok(write_user(user, system.accounts.as_ref().unwrap_or(&unknown), layer)?)
        }),
        Ingredients::Environment(interpreter) => {
            Box::new(move |layer| Ok(write_environment(interpreter, site, layer)?))
        }
        Ingredients::Wheels(wheels) => Box::new(move |layer| {
            write_wheels(&inputs(wheels.iter().copied(), materials), site, layer)?;
            task.advance(weight);
            Ok(())
        }),
        Ingredients::ByteCode(wheels) => Box::new(move |layer| {
            let compiler = materials.compiler.as_ref();
            let compiler = compiler.ok_or_else(|| Error::NoCompiler.in_layer())?;
            write_byte_code(&inputs(wheels.iter().copied(), materials), site, compiler, layer)?;
            task.advance(weight);
            Ok(())
        }),
        Ingredients::Files(collection) => Box::new(move |layer| {
            let owner = system.owner().map_err(Error::in_layer)?;
            Ok(collection.write(owner, layer)?)
        }),
    }
}

/// The wheels whose files are in the materials.
pub(super) fn inputs<'w>(wheels: impl Iterator<Item = &'w LockedWheel>, materials: &Materials<'_>) -> Vec<WheelInput> {
    wheels
        .filter_map(|wheel| {
            let path = materials.wheels.get(&wheel.digest)?.clone();
            Some(WheelInput { path, filename: wheel.file.clone(), digest: wheel.digest })
        })
        .collect()
}

/// The packages of the operating system, known as soon as some layer needs them. Other layers are made meanwhile: packages
/// have to be unpacked, or a base image has to be inflated.
struct System<'a> {
    recipe: &'a Recipe<'a>,
    materials: &'a Materials<'a>,
    store: &'a Store,
    layer: Mutex<Option<Arc<SystemLayer>>>,
}

impl System<'_> {
    /// Made by who asks first; others wait for it.
    fn layer(&self) -> Result<Arc<SystemLayer>, Error> {
        let mut known = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = &*known {
            return Ok(Arc::clone(layer));
        }
        let layer = Arc::new(SystemLayer::new(self.recipe, self.materials, self.store)?);
        Ok(Arc::clone(known.insert(layer)))
    }

    /// Who owns the user's files.
    fn owner(&self) -> Result<Owner, Error> {
        let user = self.recipe.parts.iter().find_map(|part| match &part.ingredients {
            Ingredients::User(user) => Some(user),
            _ => None,
        });
        let Some(user) = user else { return Ok(Owner::ROOT) };
        Ok(match &self.layer()?.accounts {
            Some(accounts) => user.account(accounts).owner,
            None => self.recipe.owner.unwrap_or_else(|| user.account(&Accounts::default()).owner),
        })
    }

    /// Bytes of the base image, if this layer is the one that it is read for.
    fn waiting_for(&self, part: &Part<'_>) -> u64 {
        let base = self.materials.base.filter(|_| self.materials.base_files.is_some());
        let base = base.filter(|_| matches!(part.ingredients, Ingredients::User(_)));
        base.map_or(0, |base| base.layers.iter().map(|layer| layer.size).sum())
    }
}

/// The packages of the operating system, and the account files that the rest of the image builds on.
struct SystemLayer {
    debs: Vec<(LockedDeb, PathBuf)>,
    options: RootOptions,
    root: Option<Root>,
    /// Unknown only where neither the packages nor the base's files were wanted.
    accounts: Option<Accounts>,
}

impl SystemLayer {
    fn new(recipe: &Recipe<'_>, materials: &Materials<'_>, store: &Store) -> Result<Self, Error> {
        let spool_folder = store.root().join("tmp");
        std::fs::create_dir_all(&spool_folder).map_err(|source| Error::Io {
            action: "create",
            path: spool_folder.clone(),
            source,
        })?;
        let locked = recipe.parts.iter().find_map(|part| match part.ingredients {
            Ingredients::Debs(debs) => Some(debs),
            _ => None,
        });
        let debs: Vec<_> = locked.unwrap_or_default().iter().cloned().zip(materials.debs.iter().cloned()).collect();
        let base_files = materials.base_files.as_ref().map(|read| read()).transpose()?.unwrap_or_default();
        let base = (!base_files.is_empty()).then(|| base_accounts(&base_files));
        let below = (!recipe.is_made_of_packages()).then(|| files_below(&base_files));
        let mut system = Self {
            debs,
            options: RootOptions { spool_folder, below },
            root: None,
            accounts: recall_accounts(store, &recipe.below),
        };
        if system.accounts.is_some() {
            return Ok(system);
        }
        system.accounts = base;
        if !system.debs.is_empty() {
            let root = build_root(&system.debs, &system.options)?;
            let below = system.accounts.unwrap_or_default();
            let read = |path: &str, below: Option<Vec<u8>>| {
                let failed = |source| Error::Io { action: "read from the packages", path: PathBuf::from(path), source };
                Ok::<_, Error>(root.read(path).map_err(failed)?.or(below))
            };
            system.accounts = Some(Accounts {
                passwd: read("etc/passwd", below.passwd)?,
                group: read("etc/group", below.group)?,
                shadow: read("etc/shadow", below.shadow)?,
                bash: below.bash || root.get("usr/bin/bash").is_some(),
            });
            system.root = Some(root);
        }
        if let Some(accounts) = &system.accounts {
            remember_accounts(store, &recipe.below, accounts)?;
        }
        Ok(system)
    }

    fn write<W: std::io::Write>(&self, layer: &mut LayerWriter<W>) -> Result<(), layers::Error> {
        if let Some(root) = &self.root {
            return write_root(root, layer);
        }
        let root = build_root(&self.debs, &self.options).map_err(|error| Error::from(error).in_layer())?;
        write_root(&root, layer)
    }
}

/// The account files of a base image.
fn base_accounts(files: &BTreeMap<String, Vec<u8>>) -> Accounts {
    let file = |path: &str| files.get(path).cloned();
    Accounts {
        passwd: file("etc/passwd"),
        group: file("etc/group"),
        shadow: file("etc/shadow"),
        bash: files.keys().any(|path| path.ends_with("bin/bash")),
    }
}

/// What packages on top of a base image build on.
fn files_below(files: &BTreeMap<String, Vec<u8>>) -> FilesBelow {
    let file = |path: &str| files.get(path).cloned();
    FilesBelow {
        status: file("var/lib/dpkg/status").unwrap_or_default(),
        accounts: AccountFiles {
            passwd: file("etc/passwd"),
            group: file("etc/group"),
            shadow: file("etc/shadow"),
            gshadow: file("etc/gshadow"),
        },
        loader_cache: file("etc/ld.so.cache"),
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

/// The account files of a base that was seen before.
pub(super) fn recall_accounts(store: &Store, below: &Digest) -> Option<Accounts> {
    let fact: Vec<Option<String>> = serde_json::from_str(&store.recall(ACCOUNT_FACTS, &below.to_string())?).ok()?;
    let [passwd, group, shadow, bash] = <[Option<String>; 4]>::try_from(fact).ok()?;
    let bytes = |text: Option<String>| text.map(String::into_bytes);
    Some(Accounts { passwd: bytes(passwd), group: bytes(group), shadow: bytes(shadow), bash: bash.is_some() })
}

fn remember_accounts(store: &Store, below: &Digest, accounts: &Accounts) -> Result<(), Error> {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let fact = [text(&accounts.passwd), text(&accounts.group), text(&accounts.shadow), accounts.bash.then(String::new)];
    let fact = serde_json::to_string(&fact).unwrap_or_default();
    store.remember(ACCOUNT_FACTS, &below.to_string(), &fact).map_err(|error| layers::Error::from(error).into())
}
