//! The Compose stack: the image as service `app`, and the services beside it. Secrets are read from `.env` when Compose
//! starts the stack; none is ever in these files.
//!
//! Facts about the official images (no health check of their own, data folders, the initialising server's socket) follow
//! the images' documentation in docker-library/docs.

use serde::Serialize;

use super::mlflow::{self, Store};
use super::template::Templates;
use super::{Error, INIT_FOLDER, PublishedImages, Rendered, RenderedFile, copy_of, image_name};
use crate::lock::{Lock, LockedService};
use crate::plan::USER_ID;

/// Where containers of a shared stack find their passwords.
const SECRETS_FOLDER: &str = "/run/stack";

/// What the script reads that starts PostgreSQL in a shared stack.
#[derive(Serialize)]
struct Start {
    folder: &'static str,
    readers: Vec<Reader>,
}

/// Who reads passwords from a file of its own: libpq takes none that others can read.
#[derive(Serialize)]
struct Reader {
    service: &'static str,
    user_id: u32,
}

/// What the Compose and `.env.example` templates read.
#[derive(Serialize)]
pub(super) struct Stack<'a> {
    header: &'a str,
    title: &'a str,
    /// Compose's own name for the stack.
    project: String,
    image: String,
    /// No repository was named, so no registry has the images.
    local: bool,
    /// `nvidia` or `amd`, if the image uses such a card and a target has one.
    gpu: Option<&'static str>,
    shared_memory: bool,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    mlflow: Option<Mlflow>,
    volumes: Vec<&'static str>,
    /// What Compose says if a secret is missing.
    missing: &'static str,
    user_id: u32,
    /// In a stack that stands alone, what others have in files beside it.
    shared: Option<Shared>,
}

#[derive(Serialize)]
struct Shared {
    /// Where containers find their passwords.
    folder: &'static str,
    /// How PostgreSQL starts: a script that makes the passwords first.
    start: String,
    configs: Vec<Config>,
}

/// A file of PostgreSQL's first start.
#[derive(Serialize)]
struct Config {
    name: String,
    target: String,
    content: String,
}

#[derive(Serialize)]
struct Postgres {
    image: String,
    /// Where the volume goes.
    data: &'static str,
    /// Whether there are files for the first start.
    init: bool,
}

#[derive(Serialize)]
struct Redis {
    image: String,
}

#[derive(Serialize)]
struct Mlflow {
    image: String,
    command: Vec<String>,
    folder: &'static str,
    /// Runs are kept in the stack's PostgreSQL, else in a file on the volume.
    postgres: bool,
    artifacts: String,
    store: &'static str,
    credentials: &'static [&'static str],
    volume: bool,
}

impl<'a> Stack<'a> {
    /// Collects the stack; `server` is the MLflow image's lock, if there is one.
    pub(super) fn new(header: &'a str, lock: &'a Lock, server: Option<&Lock>) -> Result<Self, Error> {
        let service = |kind: &str| lock.services.iter().find(|service| service.kind == kind);
        let mlflow = match (mlflow::service(lock), server) {
            (Some(service), Some(server)) => Some(Mlflow::new(service, server)),
            _ => None,
        };
        let on_postgres = mlflow.as_ref().is_some_and(|mlflow| mlflow.postgres);
        let postgres = service("postgres")
            .map(|service| {
                let image = service_image(lock, service)?;
                let init = on_postgres || !service.seed.is_empty();
                Ok::<_, Error>(Postgres { data: postgres_data(&image), image, init })
            })
            .transpose()?;
        if on_postgres && postgres.is_none() {
            return Err(Error::MissingService { service: "mlflow", needs: "postgres" });
        }
        let redis = service("redis")
            .map(|service| Ok::<_, Error>(Redis { image: service_image(lock, service)? }))
            .transpose()?;
        let volumes = [
            ("mlflow-data", mlflow.as_ref().is_some_and(|mlflow| mlflow.volume)),
            ("postgres-data", postgres.is_some()),
            ("redis-data", redis.is_some()),
        ];
        Ok(Self {
            header,
            title: &lock.name,
            project: project_name(&lock.name),
            image: image_name(lock),
            local: lock.image.repository.is_none(),
            gpu: gpu(lock),
            shared_memory: !lock.frameworks.is_empty(),
            postgres,
            redis,
            mlflow,
            volumes: volumes.into_iter().filter_map(|(name, used)| used.then_some(name)).collect(),
            missing: "run imgforge render, which makes .env",
            user_id: USER_ID,
            shared: None,
        })
    }

    /// Makes it a stack that stands alone: with published images, and with the rendered files of PostgreSQL inside.
    pub(super) fn share(
        &mut self,
        images: &PublishedImages<'_>,
        rendered: &Rendered,
        templates: &Templates,
    ) -> Result<(), Error> {
        let prefix = "services/postgres/";
        let files = rendered.files.iter().filter_map(|(path, file)| Some((path.strip_prefix(prefix)?, file)));
        let config = |(index, (name, file)): (usize, (&str, &RenderedFile))| {
            let content = String::from_utf8(file.bytes.clone());
            let content = content.map_err(|_| Error::NotText { path: format!("{prefix}{name}") })?;
            // Scripts and tables by number: Compose's own names allow fewer letters than files have.
            Ok::<_, Error>(Config { name: format!("init-{index}"), target: format!("{INIT_FOLDER}/{name}"), content })
        };
        let configs = files.enumerate().map(config).collect::<Result<_, _>>()?;
        let readers = [("app", Some(images.app)), ("mlflow", images.mlflow)].into_iter();
        let readers =
            readers.filter_map(|(service, image)| Some(Reader { service, user_id: image?.user_id })).collect();
        let start = templates.text("stack-start.sh", &Start { folder: SECRETS_FOLDER, readers })?;
        self.shared = Some(Shared { folder: SECRETS_FOLDER, start, configs });
        images.app.reference.clone_into(&mut self.image);
        self.local = false;
        if let (Some(mlflow), Some(image)) = (&mut self.mlflow, images.mlflow) {
            image.reference.clone_into(&mut mlflow.image);
        }
        if self.postgres.is_some() {
            self.volumes.push("postgres-secrets");
        }
        Ok(())
    }

    /// Whether some target has no card that the stack reserves, and needs the override file.
    pub(super) fn needs_cpu_override(&self, lock: &Lock) -> bool {
        self.gpu.is_some_and(|gpu| lock.targets.iter().any(|target| target.vendor.as_deref() != Some(gpu)))
    }

    /// Whether PostgreSQL needs a database for MLflow.
    pub(super) fn mlflow_on_postgres(&self) -> bool {
        self.mlflow.as_ref().is_some_and(|mlflow| mlflow.postgres)
    }
}

impl Mlflow {
    fn new(service: &LockedService, server: &Lock) -> Self {
        let postgres = service.backend.as_deref() != Some("sqlite");
        let store = service.artifacts.as_deref().map(Store::of);
        Self {
            image: image_name(server),
            command: server.image.command.clone(),
            folder: mlflow::FOLDER,
            postgres,
            artifacts: service.artifacts.clone().unwrap_or_else(|| format!("{}/artifacts", mlflow::FOLDER)),
            store: if store == Some(Store::Gcs) { "gcs" } else { "other" },
            credentials: store.map_or(&[], Store::credentials),
            volume: store.is_none() || !postgres,
        }
    }
}

/// The card that the stack reserves.
fn gpu(lock: &Lock) -> Option<&'static str> {
    let vendor = match lock.stack.accelerator.as_str() {
        "cuda" => "nvidia",
        "rocm" => "amd",
        _ => return None,
    };
    lock.targets.iter().any(|target| target.vendor.as_deref() == Some(vendor)).then_some(vendor)
}

fn service_image(lock: &Lock, service: &LockedService) -> Result<String, Error> {
    let image = service.image.as_ref().ok_or_else(|| Error::NoServiceImage { service: service.kind.clone() })?;
    let image = match service.digest {
        Some(digest) if !image.contains('@') => format!("{image}@{digest}"),
        _ => image.clone(),
    };
    copy_of(lock, image)
}

/// Folder of PostgreSQL's volume: since 18 the data lies in a folder of its own for each major version, one level down.
fn postgres_data(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split('@').next().and_then(|name| name.split_once(':')).map_or("", |(_, tag)| tag);
    let digits: String = tag.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if major < 18 => "/var/lib/postgresql/data",
        _ => "/var/lib/postgresql",
    }
}

/// Compose allows lower-case letters, digits, `-` and `_`, and neither mark in front.
fn project_name(name: &str) -> String {
    let plain = |character: char| {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' }
    };
    let project: String = name.chars().map(plain).collect();
    let project = project.trim_start_matches(['-', '_']);
    if project.is_empty() { "stack".to_owned() } else { project.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_follows_the_major_version() {
        for (image, folder) in [
            ("postgres:16", "/var/lib/postgresql/data"),
            ("localhost:5000/library/postgres:17.2-bookworm@sha256:00", "/var/lib/postgresql/data"),
            ("postgres:18.6-trixie", "/var/lib/postgresql"),
            ("localhost:5000/postgres", "/var/lib/postgresql"),
        ] {
            assert_eq!(postgres_data(image), folder, "{image}");
        }
    }

    #[test]
    fn project_names_are_what_compose_allows() {
        assert_eq!(project_name("churn.v2"), "churn-v2");
        assert_eq!(project_name("_x"), "x");
        assert_eq!(project_name("..."), "stack");
    }
}
