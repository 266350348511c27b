//! Stage 6a: plans as the text files below `generated/NAME/`, for an engine and Docker Compose.
//!
//! Everything comes from the lock and its plans, and from the bytes of the seed files; nothing is chosen here, and the
//! same input gives the same bytes. Templates are in `templates/`; `quote` has the filters that make foreign text safe in
//! them. Secrets are made apart, by [`ensure_secrets`], and no rendered file holds one.

mod compose;
mod dockerfile;
mod mlflow;
mod quote;
mod requirements;
mod secrets;
mod seed;
mod template;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use serde::Serialize;

pub use mlflow::{mlflow_lock, mlflow_requirements};
pub use secrets::ensure_secrets;
pub use seed::CsvError;
pub use write::check_folder;

use crate::diagnostic::Hint;
use crate::lock::Lock;
use crate::oci::mirror::mirrored;
use crate::oci::{Digest, Platform, parse_reference};
use crate::plan::Plan;
use crate::store;
use template::Templates;

/// The script that makes MLflow's database; its name sorts before those of the seeds.
const MLFLOW_DATABASE: &str = "00-mlflow.sh";
/// Where PostgreSQL's image looks for files to run when its volume is new.
const INIT_FOLDER: &str = "/docker-entrypoint-initdb.d";

/// Files to write, by path relative to `generated/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// All of them.
    pub files: BTreeMap<String, RenderedFile>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Contents.
    pub bytes: Vec<u8>,
    /// Permission bits, whatever the umask says.
    pub mode: u32,
}

/// Why a lock could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock has no platform.
    #[error("the lock has no platform to render for")]
    NoPlatform,
    /// A platform's section says not what its base is.
    #[error("the lock does not say what the image for `{platform}` starts from")]
    NoBase {
        /// The platform.
        platform: Platform,
    },
    /// A service has no image.
    #[error("the lock names no image for the service `{service}`")]
    NoServiceImage {
        /// The service.
        service: String,
    },
    /// An image and the place of copies make no reference.
    #[error("a copy of `{image}` in `{mirror}` would have no name that registries take")]
    NoCopy {
        /// The image.
        image: String,
        /// Where copies lie.
        mirror: String,
    },
    /// One service needs another.
    #[error("the service `{service}` needs the service `{needs}`, which the stack does not have")]
    MissingService {
        /// Who needs it.
        service: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// A value with a line break or another control character.
    #[error("the {what} `{name}` has a control character, which a Dockerfile cannot hold", name = name.escape_debug())]
    LineBreak {
        /// Kind of value.
        what: &'static str,
        /// Which one.
        name: String,
    },
    /// A name that a Dockerfile cannot hold.
    #[error("a Dockerfile has no {what} of the name `{name}`", name = name.escape_debug())]
    Name {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A project file that lies outside of the spec's folder.
    #[error("`{path}` lies outside the spec's folder, where `docker build` cannot reach it")]
    OutsideProject {
        /// As the spec writes it.
        path: String,
    },
    /// A seed that is neither SQL nor CSV.
    #[error("the seed `{path}` is neither an `.sql` nor a `.csv` file")]
    SeedKind {
        /// As the spec writes it.
        path: String,
    },
    /// A seed that could not be read.
    #[error("cannot read the seed `{path}`: {source}")]
    Seed {
        /// As the spec writes it.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// A file that a stack of one file cannot hold.
    #[error("`{path}` is not UTF-8, and cannot travel inside the stack")]
    NotText {
        /// The rendered file.
        path: String,
    },
    /// A CSV seed that makes no table.
    #[error("the seed `{path}` makes no table: {source}")]
    Csv {
        /// As the spec writes it.
        path: String,
        /// Cause.
        source: CsvError,
    },
    /// A template failed: a mistake in this program.
    #[error("a template failed: {0}")]
    Template(#[from] tera::Error),
    /// Files that a render would replace, and that it did not write.
    #[error("{} not written by imgforge, and would be replaced", were(paths))]
    Foreign {
        /// All of them.
        paths: Vec<PathBuf>,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        let help = match self {
            Self::NoPlatform | Self::NoBase { .. } | Self::NoServiceImage { .. } => "run `imgforge lock` again",
            Self::MissingService { .. } => "add it under `services:`, or choose `backend: sqlite`",
            Self::LineBreak { .. } => "put the text into a file under `files:`, and its path here",
            Self::NoCopy { .. } => "name another place under `image: mirror:`, or none",
            Self::Name { .. } => "use letters, digits, `_`, `-` and `.`",
            Self::OutsideProject { .. } => "move it below the spec's folder, or the spec above it",
            Self::SeedKind { .. } => "convert it to SQL or CSV",
            Self::Csv { .. } => "write UTF-8 with commas, a header line and as many values in each record",
            Self::NotText { .. } => "convert the seed to UTF-8, or push with `--no-recipe`",
            Self::Seed { .. } => "seed paths start from the spec's folder",
            Self::Template(_) => "this is a defect of imgforge: please report it with the lock",
            Self::Foreign { .. } => "name an empty folder with `--output`, or move what is there away",
            Self::Write { source, .. } => return store::help_for_output(source),
        };
        vec![help.to_owned()]
    }
}

/// Renders `lock`. `plans` are `Plan::from_lock` of each of its platforms, `lock_digest` is the address of the lock's text,
/// and `read` gives the bytes of a seed by the path the lock has for it.
pub fn render(
    lock: &Lock,
    lock_digest: &Digest,
    plans: &[Plan],
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Rendered, Error> {
    let server = mlflow_lock(lock);
    let mut files = Files { templates: Templates::load()?, lock_digest, files: BTreeMap::new() };
    files.add_image("", lock, plans)?;
    if let Some(server) = &server {
        // The server has no project files, so its plans need no folder.
        let folder = std::path::Path::new("");
        let plans: Vec<Plan> =
            server.platforms.iter().map(|platform| Plan::from_lock(server, platform, *lock_digest, folder)).collect();
        files.add_image("services/mlflow/", server, &plans)?;
    }

    let header = files.header("#");
    let stack = compose::Stack::new(&header, lock, server.as_ref())?;
    files.add("compose.yaml", "compose.yaml", &stack)?;
    if stack.needs_cpu_override(lock) {
        files.add("compose.cpu.yaml", "compose.cpu.yaml", &stack)?;
    }
    files.add(".env.example", "env.example", &stack)?;
    files.add_bytes(".gitignore", format!("{header}\n.env\noci/\n").into_bytes());
    if stack.mlflow_on_postgres() {
        files.add(&format!("services/postgres/{MLFLOW_DATABASE}"), "mlflow-database.sh", &stack)?;
    }
    if let Some(postgres) = lock.services.iter().find(|service| service.kind == "postgres") {
        files.add_seeds(&postgres.seed, read)?;
    }
    Ok(Rendered { files: files.files })
}

/// The images of a stack as a registry has them.
#[derive(Debug, Clone, Copy)]
pub struct PublishedImages<'a> {
    /// The environment's.
    pub app: PublishedImage<'a>,
    /// The MLflow server's, if the stack has one.
    pub mlflow: Option<PublishedImage<'a>>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct PublishedImage<'a> {
    /// With its digest.
    pub reference: &'a str,
    /// Number of the image's user.
    pub user_id: u32,
}

/// The Compose stack as one file that needs nothing beside it: images from registries, scripts and seeds inside, and passwords
/// that are made where it starts. `rendered` is what [`render`] made of the same lock. `None` without services.
pub fn shared_stack(
    lock: &Lock,
    lock_digest: &Digest,
    rendered: &Rendered,
    images: &PublishedImages<'_>,
) -> Result<Option<String>, Error> {
    if lock.services.is_empty() {
        return Ok(None);
    }
    let server = mlflow_lock(lock);
    let templates = Templates::load()?;
    let header = header("#", lock_digest);
    let mut stack = compose::Stack::new(&header, lock, server.as_ref())?;
    stack.share(images, rendered, &templates)?;
    Ok(Some(templates.text("compose.yaml", &stack)?))
}

/// "`a` was", "`a`, `b` were".
fn were(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    format!("{} {}", names.join(", "), if paths.len() == 1 { "was" } else { "were" })
}

/// First line of a generated file, in a comment that starts with `mark`.
fn header(mark: &str, lock_digest: &Digest) -> String {
    format!("{mark} {} from imgforge.lock {lock_digest}; edit the spec instead", store::GENERATED)
}

/// The image's name in an engine: repository, or else the environment's name, with the first tag.
fn image_name(lock: &Lock) -> String {
    let name = lock.image.repository.as_ref().unwrap_or(&lock.name);
    let tag = lock.image.tags.first().map_or("latest", String::as_str);
    format!("{name}:{tag}")
}

/// The image that stands for one of somebody else: its copy, if the lock says where copies lie.
fn copy_of(lock: &Lock, image: String) -> Result<String, Error> {
    let Some(mirror) = &lock.image.mirror else { return Ok(image) };
    let copy = parse_reference(&image).ok().and_then(|reference| mirrored(mirror, &reference));
    copy.map(|copy| copy.to_string()).ok_or_else(|| Error::NoCopy { image, mirror: mirror.clone() })
}

/// Files collected so far.
struct Files<'a> {
    templates: Templates,
    lock_digest: &'a Digest,
    files: BTreeMap<String, RenderedFile>,
}

impl Files<'_> {
    /// First line of a generated file, in a comment that starts with `mark`.
    fn header(&self, mark: &str) -> String {
        header(mark, self.lock_digest)
    }

    fn add(&mut self, path: &str, template: &str, values: &impl Serialize) -> Result<(), Error> {
        let text = self.templates.text(template, values)?;
        self.add_bytes(path, text.into_bytes());
        Ok(())
    }

    fn add_bytes(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), RenderedFile { bytes, mode: 0o644 });
    }

    /// Dockerfile and requirements of one image below `folder`, which is empty or ends in `/`.
    fn add_image(&mut self, folder: &str, lock: &Lock, plans: &[Plan]) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Page<'a> {
            header: &'a str,
            #[serde(flatten)]
            requirements: &'a requirements::Requirements,
        }
        let header = self.header("#");
        let requirements = requirements::from_plans(plans);
        let dockerfile = dockerfile::Dockerfile::new(&header, lock, plans, &requirements)?;
        self.add(&format!("{folder}Dockerfile"), "Dockerfile", &dockerfile)?;
        for requirements in &requirements {
            let page = Page { header: &header, requirements };
            self.add(&format!("{folder}{}", requirements.file), "requirements.txt", &page)?;
        }
        // Keeps `.env` and the image layout out of the engine's hands.
        let ignore = format!("{header}\n*\n!requirements*.txt\n");
        self.add_bytes(&format!("{folder}.dockerignore"), ignore.into_bytes());
        Ok(())
    }

    fn add_seeds(&mut self, seeds: &[String], read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Page<'a> {
            header: String,
            source: &'a str,
            path: String,
            table: String,
            #[serde(flatten)]
            contents: seed::Table,
        }
        let digits = seeds.len().to_string().len().max(2);
        let mut tables = BTreeSet::new();
        for (index, path) in seeds.iter().enumerate() {
            let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
            let stem = seed::file_stem(path);
            let name = format!("{:0digits$}-{stem}", index + 1);
            let load = || read(path).map_err(|source| Error::Seed { path: path.clone(), source });
            match extension.as_deref() {
                Some("sql") => self.add_bytes(&format!("services/postgres/{name}.sql"), load()?),
                Some("csv") => {
                    let bytes = load()?;
                    let contents =
                        seed::Table::infer(&bytes).map_err(|source| Error::Csv { path: path.clone(), source })?;
                    let page = Page {
                        header: self.header("--"),
                        source: path,
                        path: format!("{INIT_FOLDER}/csv/{name}.csv"),
                        table: seed::identifier(&stem, "seed", &mut tables),
                        contents,
                    };
                    self.add(&format!("services/postgres/{name}.sql"), "seed.sql", &page)?;
                    self.add_bytes(&format!("services/postgres/csv/{name}.csv"), bytes);
                }
                _ => return Err(Error::SeedKind { path: path.clone() }),
            }
        }
        Ok(())
    }
}
