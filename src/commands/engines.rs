//! Building with an engine (`--engine`): the rendered Dockerfile, for steps that only an engine can run; and the stack,
//! through `docker compose`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{BuildArgs, Engine, StackArgs};
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::spec::Spec;

use super::Context;
use super::build::output_folder;
use super::outside::Outside;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{program}` could not be started: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("`{program}` failed with {status}")]
    Failed { program: String, status: std::process::ExitStatus },
    #[error("there is no stack at `{0}`")]
    NoStack(PathBuf),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Start { program, .. } => vec![format!("install `{program}`, or leave `--engine` out")],
            Self::Failed { .. } => Vec::new(),
            Self::NoStack(_) => vec!["run `imgforge build SPEC --load` first".to_owned()],
        }
    }
}

/// Builds the image and those of its services with an engine.
pub(super) fn build(
    context: &Context,
    outside: &Outside,
    arguments: &BuildArgs,
    spec: &Spec,
    lock: &Lock,
    folder: &Path,
) -> Result<(), Failure> {
    let mut contexts = vec![(lock.clone(), folder.to_owned())];
    if let Some(server) = crate::render::mlflow_lock(lock) {
        contexts.push((server, folder.join("services/mlflow")));
    }
    for (lock, folder) in contexts {
        let name = lock.image.repository.as_ref().unwrap_or(&lock.name);
        let (program, subcommand): (&str, &[&str]) = match arguments.engine {
            Engine::Native | Engine::Docker => ("docker", &["build"]),
            Engine::Podman => ("podman", &["build"]),
            Engine::Buildah => ("buildah", &["build"]),
        };
        let mut command = Command::new(program);
        command.args(subcommand);
        for tag in &lock.image.tags {
            command.arg("--tag").arg(format!("{name}:{tag}"));
        }
        let platforms: Vec<String> = lock.platforms.iter().map(|platform| platform.name.to_string()).collect();
        command.arg("--platform").arg(platforms.join(","));
        if let Some(certificates) = outside.settings.ca_files.first().cloned().or_else(system_certificates) {
            command.arg("--secret").arg(format!("id=ca,src={}", certificates.display()));
        }
        let indexes: std::collections::BTreeSet<&str> =
            lock.platforms.iter().flat_map(|platform| &platform.wheels).map(|wheel| wheel.index.as_str()).collect();
        for index in indexes {
            if let Some(location) = outside.settings.index_url(index) {
                let variable = format!("INDEX_{}_URL", index.to_uppercase().replace(['-', '.'], "_"));
                command.arg("--build-arg").arg(format!("{variable}={}", location.url));
            }
        }
        if !lock.image.files.is_empty() {
            command.arg("--build-context").arg(format!("project={}", spec.folder.display()));
        }
        command.arg(&folder);
        context.progress.say(format!("building `{name}` with {program}"));
        run(command)?;
    }
    if arguments.push {
        for tag in &lock.image.tags {
            let name = lock.image.repository.as_ref().unwrap_or(&lock.name);
            let program = if arguments.engine == Engine::Podman { "podman" } else { "docker" };
            let mut command = Command::new(program);
            command.arg("push").arg(format!("{name}:{tag}"));
            run(command)?;
        }
    }
    Ok(())
}

/// The system's certificates, for a build behind a proxy that has its own authority.
fn system_certificates() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("/etc/ssl/certs/ca-certificates.crt")]).find(|path| path.is_file())
}

/// `docker compose up` or `down` in the generated folder.
pub(super) fn stack(arguments: &StackArgs, up: bool) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let folder = output_folder(arguments.output.as_deref(), &spec.name.value);
    if !folder.join("compose.yaml").is_file() {
        return Err(Error::NoStack(folder).into());
    }
    let mut command = Command::new("docker");
    command.arg("compose").arg("--project-directory").arg(&folder).arg("--file").arg(folder.join("compose.yaml"));
    command.args(if up { &["up", "--detach", "--wait"][..] } else { &["down"][..] });
    command.args(&arguments.arguments);
    run(command)?;
    Ok(0)
}

fn run(mut command: Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|source| Error::Start { program: program.clone(), source })?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { program, status }.into()),
    }
}
