//! Plans as one Dockerfile. Three stages: the base with its system packages, pip beside it, and the image, which takes
//! the finished environment from the second. It holds no `# syntax` line: BuildKit's own frontend has all it uses, and
//! the line would make every build fetch another.

use serde::Serialize;

use super::requirements::{self, Requirements};
use super::{Error, copy_of, image_name, quote};
use crate::lock::{Lock, LockedBase};
use crate::plan::{FileCopy, Plan, Step, USER_ID, VENV, folders_for};
use crate::version::PythonVersion;

/// What `templates/Dockerfile.tera` reads.
#[derive(Serialize)]
pub(super) struct Dockerfile<'a> {
    header: &'a str,
    summary: String,
    reason: &'a str,
    image: String,
    options: Vec<String>,
    bases: Vec<Base>,
    interpreter: &'a str,
    venv: &'static str,
    venv_package: Option<String>,
    bundled_setuptools: bool,
    requirement_files: Vec<&'a Requirements>,
    remove_pip: bool,
    /// Whether modules are compiled ahead.
    compile: bool,
    labels: Vec<Named<'a>>,
    env: Vec<Named<'a>>,
    create_user: bool,
    user: &'a str,
    user_id: u32,
    workdir: &'a str,
    /// The working directory and those above it, outermost first, as far as they are made.
    workdir_folders: Vec<&'a str>,
    files: Vec<[String; 2]>,
    /// Whether wheels lie in the spec's folder, so that the build needs it early.
    project_wheels: bool,
    run: Vec<&'a str>,
    entrypoint: &'a [String],
    command: &'a [String],
}

/// One platform's base image.
#[derive(Serialize)]
struct Base {
    /// Build argument that can name the same image elsewhere.
    argument: String,
    image: String,
    stage: String,
    packages: Vec<String>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Dockerfile<'a> {
    /// Collects the plans' steps; `plans` are those of `lock`, one per platform.
    pub(super) fn new(
        header: &'a str,
        lock: &'a Lock,
        plans: &'a [Plan],
        requirements: &'a [Requirements],
    ) -> Result<Self, Error> {
        let plan = plans.first().ok_or(Error::NoPlatform)?;
        let base = base_of(plan)?;
        let config = &plan.config;
        let requirement_files: Vec<&Requirements> = requirements.iter().filter(|file| !file.pins.is_empty()).collect();
        let files = files_of(plan).map(copy_operands).collect::<Result<Vec<_>, _>>()?;
        let project_wheels = requirement_files.iter().any(|file| file.project);
        one_line("working directory", &config.workdir, &config.workdir)?;
        one_line("user", &config.user, &config.user)?;
        Ok(Self {
            header,
            summary: summary(lock),
            reason: base.reason.trim_end_matches('.'),
            image: image_name(lock),
            options: options(plans, !files.is_empty() || project_wheels, &requirement_files),
            bases: base_stages(lock, plans)?,
            interpreter: &base.interpreter,
            venv: VENV,
            venv_package: venv_package(base, plan.python),
            bundled_setuptools: plan.python < PythonVersion { major: 3, minor: 12 },
            requirement_files,
            remove_pip: !requirements::contains(plans, "pip"),
            compile: plan.steps.iter().any(|step| matches!(step, Step::ByteCode(_))),
            labels: named("label", config.labels.iter())?,
            env: named("environment variable", config.env.iter())?,
            create_user: config.user != "root",
            user: &config.user,
            user_id: USER_ID,
            workdir: &config.workdir,
            workdir_folders: folders_for(&config.workdir),
            files,
            project_wheels,
            run: plan
                .steps
                .iter()
                .filter_map(|step| if let Step::Run(run) = step { Some(&**run) } else { None })
                .collect(),
            entrypoint: &config.entrypoint,
            command: &config.command,
        })
    }
}

/// `churn: Python 3.11, torch 2.5.1 (cu124), debian 12, for linux/amd64`.
fn summary(lock: &Lock) -> String {
    let mut parts = vec![format!("Python {}", lock.stack.python)];
    parts.extend(lock.frameworks.iter().map(|framework| {
        let crate::lock::LockedFramework { package, version, build, .. } = framework;
        format!("{package} {version} ({build})")
    }));
    parts.push(lock.stack.os.clone());
    let platforms: Vec<String> = lock.platforms.iter().map(|platform| platform.name.to_string()).collect();
    format!("{}: {}, for {}", lock.name, parts.join(", "), platforms.join(" and "))
}

/// Options of `docker build` beyond the tag, in the order of the comment that names them.
fn options(plans: &[Plan], has_files: bool, requirements: &[&Requirements]) -> Vec<String> {
    let platforms: Vec<String> = plans.iter().map(|plan| plan.platform.to_string()).collect();
    let mut options = vec![format!("--platform {}", platforms.join(","))];
    if has_files {
        options.push("--build-context project=SPEC_FOLDER".to_owned());
    }
    options.extend(
        requirements.iter().filter_map(|file| Some(format!("--build-arg {}=ADDRESS", file.argument.as_ref()?))),
    );
    options
}

fn base_of(plan: &Plan) -> Result<&LockedBase, Error> {
    let base = plan.steps.iter().find_map(|step| if let Step::Base(base) = step { Some(base) } else { None });
    base.ok_or(Error::NoBase { platform: plan.platform })
}

/// The stages that images start from: one if all platforms agree, else one for each, of which the engine takes that of
/// its `TARGETARCH`.
fn base_stages(lock: &Lock, plans: &[Plan]) -> Result<Vec<Base>, Error> {
    let mut bases = plans.iter().map(|plan| base_stage(lock, plan)).collect::<Result<Vec<_>, _>>()?;
    if bases.windows(2).all(|pair| (&pair[0].image, &pair[0].packages) == (&pair[1].image, &pair[1].packages)) {
        bases.truncate(1);
    }
    if let [base] = bases.as_mut_slice() {
        (base.argument, base.stage) = ("BASE".to_owned(), "base".to_owned());
    }
    Ok(bases)
}

fn base_stage(lock: &Lock, plan: &Plan) -> Result<Base, Error> {
    let base = base_of(plan)?;
    let named = match (base.kind.as_str(), &base.suite, &base.reference) {
        ("debian", Some(suite), _) => format!("debian:{suite}-slim"),
        (_, _, Some(reference)) => reference.clone(),
        _ => return Err(Error::NoBase { platform: plan.platform }),
    };
    let image = match base.digest {
        Some(digest) if base.kind != "debian" && !named.contains('@') => format!("{named}@{digest}"),
        _ => named,
    };
    // An image of Debian stands in for packages; no lock names it, so nobody copies it.
    let image = if base.reference.is_some() { copy_of(lock, image)? } else { image };
    one_line("base image", &image, &image)?;
    let architecture = plan.platform.architecture_name();
    let packages = plan.steps.iter().flat_map(|step| match step {
        Step::SystemPackages { debs, .. } => debs.as_slice(),
        _ => &[],
    });
    Ok(Base {
        argument: format!("BASE_{}", architecture.to_uppercase()),
        image,
        stage: format!("base-{architecture}"),
        packages: packages.map(|deb| deb.name.clone()).collect(),
    })
}

/// The package that has `ensurepip` where the distribution made the interpreter; others bring it themselves.
fn venv_package(base: &LockedBase, python: PythonVersion) -> Option<String> {
    base.interpreter.starts_with("/usr/bin/").then(|| format!("python{python}-venv"))
}

fn files_of(plan: &Plan) -> impl Iterator<Item = &FileCopy> {
    plan.steps.iter().flat_map(|step| match step {
        Step::Files(files) => files.as_slice(),
        _ => &[],
    })
}

/// Source and target for `COPY`. A named build context ends at its root, so a source outside cannot be said.
fn copy_operands(file: &FileCopy) -> Result<[String; 2], Error> {
    let path = std::path::Path::new(&file.from);
    if path.components().any(|part| !matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)) {
        return Err(Error::OutsideProject { path: file.from.clone() });
    }
    Ok([quote::copy_source(&file.from), quote::copy_target(&file.to)])
}

fn named<'a>(
    what: &'static str,
    pairs: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<Named<'a>>, Error> {
    pairs
        .map(|(name, value)| {
            one_line(what, name, value)?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(Error::Name { what, name: name.clone() });
            }
            Ok(Named { name, value })
        })
        .collect()
}

/// A Dockerfile has no way to write a line break inside a value.
fn one_line(what: &'static str, name: &str, value: &str) -> Result<(), Error> {
    if value.contains(|character: char| character.is_control() && character != '\t') {
        return Err(Error::LineBreak { what, name: name.to_owned() });
    }
    Ok(())
}
