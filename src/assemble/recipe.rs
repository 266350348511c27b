//! A plan's layers before anything is fetched: what each is made from, and which of them exist already.
//!
//! Every key follows from the lock, the base's digest and the project's files, so that a machine without a single wheel can
//! tell which layers it need not make: those whose bytes lie in a layout here, and those that a registry holds. Only what
//! the others need has to be brought ([`Recipe::wanted`]).

use super::base::Base;
use super::byte_code::Release;
use super::environment::User;
use super::files::{Collection, Project};
use super::grouping;
use super::layers::{Found, Kind, KnownLayer, LayerCache, LayerKey};
use super::published::{OWNER_ANNOTATION, Published};
use super::steps::{Error, recall_accounts};
use super::tar::Owner;
use super::wheel::Site;
use crate::lock::{LockedDeb, LockedWheel};
use crate::oci::{Digest, LayerSource};
use crate::plan::{Plan, Step, VENV};
use crate::store::Store;

/// The layers of a plan on top of its base, in order.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The environment that wheels are installed into.
    pub(super) site: Site,
    /// Time of all entries and of the image, in seconds since 1970.
    pub(super) created: u64,
    pub(super) parts: Vec<Part<'a>>,
    /// What the account files follow from: the layer of packages, or the base image if there is none.
    pub(super) below: Digest,
    /// Owner of the user's files, where a published image tells it.
    pub(super) owner: Option<Owner>,
    /// Of the interpreter that modules are compiled by.
    release: Option<Release>,
}

/// One layer to be.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) key: LayerKey,
    /// What it holds, for people.
    pub(super) contents: String,
    /// Bytes of its inputs.
    pub(super) weight: u64,
    pub(super) ingredients: Ingredients<'a>,
    pub(super) found: Option<Found>,
}

/// What a layer is made from.
#[derive(Debug)]
pub(super) enum Ingredients<'a> {
    Debs(&'a [LockedDeb]),
    User(User),
    Environment(&'a str),
    Wheels(Vec<&'a LockedWheel>),
    ByteCode(Vec<&'a LockedWheel>),
    Files(Collection),
}

/// What must be brought before a recipe can be carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Account files and package database of the base image.
    pub base_files: bool,
    /// The plan's .deb files.
    pub debs: bool,
    /// These of its wheels.
    pub wheels: Vec<LockedWheel>,
    /// A compiler of this release.
    pub compiler: Option<Release>,
}

impl<'a> Recipe<'a> {
    /// The recipe of a plan on `base`, unless that is made of packages. `published` are layers that a registry is known to
    /// hold.
    pub fn new(
        plan: &'a Plan,
        base: Option<&Base>,
        project: Project<'_>,
        created: u64,
        cache: &LayerCache<'_>,
        published: &Published,
    ) -> Result<Self, Error> {
        let site = Site { prefix: VENV.to_owned(), python: plan.python };
        let below = base.map_or_else(|| Digest::of(b""), |base| base.digest);
        let mut recipe = Self { plan, site, created, parts: Vec::new(), below, owner: None, release: None };
        let mut user = "root";
        let mut suite = "";
        for step in &plan.steps {
            match step {
                Step::Run(command) => return Err(Error::NeedsEngine { command: command.clone() }),
                Step::Base(locked) if locked.kind == "debian" => suite = locked.suite.as_deref().unwrap_or_default(),
                Step::Base(locked) if base.is_none() => {
                    return Err(Error::NoBase(locked.reference.clone().unwrap_or_default()));
                }
                Step::Base(_) => {}
                Step::SystemPackages { debs, base: is_base } => {
                    let key = match is_base {
                        true => LayerKey::base(suite, plan.platform, debs, created),
                        false => LayerKey::system(&recipe.below, debs, created),
                    };
                    recipe.below = Digest::of(key.to_string().as_bytes());
                    let names: Vec<String> = debs.iter().map(|deb| format!("{} {}", deb.name, deb.version)).collect();
                    let weight = debs.iter().map(|deb| deb.size).sum();
                    recipe.push(key, names.join(", "), weight, Ingredients::Debs(debs));
                }
                Step::User { name, workdir } => {
                    user = name;
                    let key = LayerKey::user(name, workdir, &recipe.below, created);
                    let declared = User { name: name.clone(), workdir: workdir.clone() };
                    recipe.push(key, format!("user {name}, {workdir}"), 0, Ingredients::User(declared));
                }
                Step::Environment { interpreter } => {
                    let key = LayerKey::environment(interpreter, &recipe.site, created);
                    let contents = format!("environment {} on {interpreter}", recipe.site.prefix);
                    recipe.push(key, contents, 0, Ingredients::Environment(interpreter));
                }
                Step::Wheels(wheels) => {
                    for group in grouping::group(wheels) {
                        let key = LayerKey::wheels(group.wheels.iter().copied(), &recipe.site, created);
                        let (contents, weight) = (group.contents(), group.size());
                        recipe.push(key, contents, weight, Ingredients::Wheels(group.wheels));
                    }
                }
                Step::ByteCode(wheels) => {
                    let release = release(plan, base)?;
                    for group in grouping::group_byte_code(wheels) {
                        let key = LayerKey::byte_code(group.wheels.iter().copied(), &recipe.site, &release, created);
                        let (contents, weight) = (format!("byte-code of {}", group.contents()), group.size());
                        recipe.push(key, contents, weight, Ingredients::ByteCode(group.wheels));
                    }
                    recipe.release = Some(release);
                }
                Step::Files(copies) => {
                    let collection = Collection::collect(project, copies)?;
                    if !collection.is_empty() {
                        let key = LayerKey::files(collection.digest()?, user, &recipe.below, created);
                        recipe.push(key, "project files".to_owned(), 0, Ingredients::Files(collection));
                    }
                }
            }
        }
        for part in &mut recipe.parts {
            part.key.packed(plan.compression);
            part.found = cache.find(&part.key, published);
        }
        let user = recipe.parts.iter().find(|part| matches!(part.ingredients, Ingredients::User(_)));
        recipe.owner = user.and_then(|part| published.annotation(&part.key, OWNER_ANNOTATION)?.parse().ok());
        Ok(recipe)
    }

    /// What the layers that do not exist yet are made from. The user's owner is part of every image, and account files are
    /// the only other place that tells it.
    pub fn wanted(&self, store: &Store) -> Wanted {
        let accounts = (self.owner.is_none() || self.lacks(|part| matches!(part, Ingredients::User(_))))
            && recall_accounts(store, &self.below).is_none();
        let debs = self.lacks(|part| matches!(part, Ingredients::Debs(_)));
        let missing = self.parts.iter().filter(|part| part.found.is_none());
        let wheels = missing.filter_map(|part| match &part.ingredients {
            Ingredients::Wheels(wheels) | Ingredients::ByteCode(wheels) => Some(wheels),
            _ => None,
        });
        Wanted {
            base_files: !self.is_made_of_packages() && (accounts || debs),
            debs: debs || accounts,
            wheels: wheels.flatten().map(|wheel| (*wheel).clone()).collect(),
            compiler: self.release.clone().filter(|_| self.lacks(|part| matches!(part, Ingredients::ByteCode(_)))),
        }
    }

    /// Bytes of the inputs of layers that have to be made.
    pub fn work(&self) -> u64 {
        self.parts.iter().filter(|part| part.found.is_none()).map(|part| part.weight).sum()
    }

    /// Layers whose bytes only a registry has.
    pub fn in_registry(&self) -> usize {
        let in_registry = |found: &&Found| matches!(found.source, LayerSource::Registry(_));
        self.parts.iter().filter_map(|part| part.found.as_ref()).filter(in_registry).count()
    }

    /// Layers that were made here once and whose bytes are gone.
    pub fn remembered(&self, cache: &LayerCache<'_>) -> Vec<(LayerKey, KnownLayer)> {
        let missing = self.parts.iter().filter(|part| part.found.is_none());
        missing.filter_map(|part| Some((part.key.clone(), cache.recall(&part.key)?))).collect()
    }

    /// Looks again for layers that do not exist yet, in what a registry is known to hold by now.
    pub fn find_again(&mut self, cache: &LayerCache<'_>, published: &Published) {
        for part in self.parts.iter_mut().filter(|part| part.found.is_none()) {
            part.found = cache.find(&part.key, published);
        }
    }

    /// Whether the base is a layer of this image and not another image.
    pub(super) fn is_made_of_packages(&self) -> bool {
        self.parts.first().is_some_and(|part| part.key.kind() == Kind::Base)
    }

    fn lacks(&self, wanted: impl Fn(&Ingredients<'_>) -> bool) -> bool {
        self.parts.iter().any(|part| part.found.is_none() && wanted(&part.ingredients))
    }

    fn push(&mut self, key: LayerKey, contents: String, weight: u64, ingredients: Ingredients<'a>) {
        self.parts.push(Part { key, contents, weight, ingredients, found: None });
    }
}

/// The release of the image's interpreter: its packages tell, else the image that it is in.
fn release(plan: &Plan, base: Option<&Base>) -> Result<Release, Error> {
    let of_packages = plan.steps.iter().find_map(|step| match step {
        Step::SystemPackages { debs, .. } => Release::of_packages(debs, plan.python),
        _ => None,
    });
    let of_base = || Release::parse(&base?.variable("PYTHON_VERSION")?, plan.python);
    of_packages.or_else(of_base).ok_or_else(|| Error::UnknownRelease {
        base: base.map_or_else(|| "debian".to_owned(), |base| base.reference.to_string()),
        python: plan.python,
    })
}
