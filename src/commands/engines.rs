//! Building with an engine (`--engine`): the rendered Dockerfile, for steps that only an engine can run; and the stack,
//! through `docker compose`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::assemble::files::{Collection, Project};
use crate::cli::{Engine, StackArgs};
use crate::diagnostic::{Failure, Hint};
use crate::lock::Lock;
use crate::oci::Reference;
use crate::oci::tag::is_tag;
use crate::plan::FileCopy;
use crate::spec::Spec;
use crate::version::WheelPlace;

use super::Context;
use super::build::beside;
use super::output::output_folder;
use super::outside::Outside;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{program}` could not be started: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("`{program}` failed with {status}")]
    Failed { program: String, status: std::process::ExitStatus },
    #[error("there is no stack at `{0}`")]
    NoStack(PathBuf),
    #[error("an engine would copy what imgforge wrote into {} into the image", .0.join(", "))]
    Output(Vec<String>),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Start { program, .. } => vec![format!("install `{program}`, or leave `--engine` out")],
            Self::Failed { .. } => Vec::new(),
            Self::NoStack(_) => vec!["run `imgforge build SPEC --load` first".to_owned()],
            Self::Output(folders) => vec![format!("add {} to `.dockerignore` beside the spec", folders.join(", "))],
        }
    }
}

/// Builds the image and those of its services with an engine, pushes them to `repository` if there is one, and returns
/// the main image's references: those that the Compose stack uses, then those in the repository.
pub(super) fn build(
    context: &Context,
    outside: &Outside,
    engine: Engine,
    repository: Option<&Reference>,
    spec: &Spec,
    lock: &Lock,
    folder: &Path,
) -> Result<Vec<String>, Failure> {
    let program = match engine {
        Engine::Native | Engine::Docker => "docker",
        Engine::Podman => "podman",
        Engine::Buildah => "buildah",
    };
    let mut contexts = vec![(lock.clone(), folder.to_owned())];
    if let Some(server) = crate::render::mlflow_lock(lock) {
        contexts.push((server, folder.join("services/mlflow")));
    }
    check_files(spec, lock, folder)?;
    // What an engine builds has its digest only after the push.
    let tags: Vec<&String> = lock.image.tags.iter().filter(|tag| is_tag(tag)).collect();
    let tagged = |name: &str| -> Vec<String> { tags.iter().map(|tag| format!("{name}:{tag}")).collect() };
    let mut references = Vec::new();
    for (image, folder) in &contexts {
        let name = image.image.repository.as_ref().unwrap_or(&image.name);
        let pushed = repository.map(|repository| beside(repository, &lock.name, &image.name));
        let pushed = pushed.map(|target| tagged(&format!("{}/{}", target.registry(), target.repository())));
        let pushed = pushed.unwrap_or_default();
        let mut names = tagged(name);
        names.extend(pushed.iter().filter(|reference| !names.contains(reference)).cloned().collect::<Vec<_>>());
        context.progress.say(format!("building `{name}` with {program}"));
        run(build_command(program, outside, spec, image, folder, &names))?;
        for reference in &pushed {
            run_with(program, &["push", reference])?;
        }
        if references.is_empty() {
            references = names;
        }
    }
    Ok(references)
}

/// Refuses project files that the daemonless build would refuse, and those that only it leaves out: an engine knows nothing
/// but `.dockerignore`.
fn check_files(spec: &Spec, lock: &Lock, folder: &Path) -> Result<(), Failure> {
    let project = Project { folder: &spec.folder, output: Some(folder) };
    let collection = Collection::collect(project, &FileCopy::of(lock, &spec.folder))?;
    let outputs: Vec<String> = collection.outputs().iter().map(|folder| format!("`{folder}`")).collect();
    if outputs.is_empty() { Ok(()) } else { Err(Error::Output(outputs).into()) }
}

fn build_command(
    program: &str,
    outside: &Outside,
    spec: &Spec,
    lock: &Lock,
    folder: &Path,
    names: &[String],
) -> Command {
    let mut command = Command::new(program);
    command.arg("build");
    for name in names {
        command.arg("--tag").arg(name);
    }
    let platforms: Vec<String> = lock.platforms.iter().map(|platform| platform.name.to_string()).collect();
    command.arg("--platform").arg(platforms.join(","));
    if let Some(certificates) = outside.settings.ca_files.first().cloned().or_else(system_certificates) {
        command.arg("--secret").arg(format!("id=ca,src={}", certificates.display()));
    }
    let indexes: BTreeSet<&str> =
        lock.platforms.iter().flat_map(|platform| &platform.wheels).map(|wheel| wheel.index.as_str()).collect();
    for index in indexes {
        if let Some(location) = outside.settings.index_url(index) {
            let variable = format!("INDEX_{}_URL", index.to_uppercase().replace(['-', '.'], "_"));
            // The address has no credentials: those would stay in the image's history.
            command.arg("--build-arg").arg(format!("{variable}={}", location.url));
        }
    }
    let mut wheels = lock.platforms.iter().flat_map(|platform| &platform.wheels);
    if !lock.image.files.is_empty() || wheels.any(|wheel| matches!(wheel.url, Some(WheelPlace::File(_)))) {
        command.arg("--build-context").arg(format!("project={}", spec.folder.display()));
    }
    command.arg(folder);
    command
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

fn run_with(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command)
}

/// Runs a program to its end. What it says goes to stderr: stdout is for this command's own answer.
fn run(mut command: Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdout(std::io::stderr())
        .status()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { program, status }.into()),
    }
}
