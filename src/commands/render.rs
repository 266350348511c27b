//! `imgforge render`: the rendered files from the lock.

use std::path::Path;

use crate::cli::RenderArgs;
use crate::diagnostic::Failure;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::render::Rendered;
use crate::spec::Spec;

use super::output::output_folder;
use super::{Context, lock, print};

pub(super) fn run(context: &Context, arguments: &RenderArgs) -> Result<u8, Failure> {
    let spec = Spec::load(&arguments.spec)?;
    let path = Lock::path_for(&arguments.spec);
    let locked = lock::current(&spec, Lock::read(&path)?, &path)?;
    let folder = output_folder(arguments.output.as_deref(), &locked.name);
    let rendered = rendered(&locked, &spec)?;
    write(context, &locked, &rendered, &folder)?;
    for file in rendered.files.keys() {
        print(&folder.join(file).display().to_string());
    }
    Ok(0)
}

/// The rendered files of a lock.
pub(super) fn rendered(lock: &Lock, spec: &Spec) -> Result<Rendered, Failure> {
    let digest = lock.digest();
    let plans: Vec<Plan> =
        lock.platforms.iter().map(|platform| Plan::from_lock(lock, platform, digest, &spec.folder)).collect();
    let read = |path: &str| std::fs::read(spec.folder.join(path));
    Ok(crate::render::render(lock, &digest, &plans, &read)?)
}

/// Writes what was rendered of a lock into `folder`; the stack's secrets are made once and kept.
pub(super) fn write(context: &Context, lock: &Lock, rendered: &Rendered, folder: &Path) -> Result<(), Failure> {
    rendered.write(folder)?;
    if !lock.services.is_empty() {
        let failed =
            |source| super::build::Error::Io { action: "write the secrets in", path: folder.to_owned(), source };
        if crate::render::ensure_secrets(folder).map_err(failed)? {
            context.progress.say(format!("wrote new secrets to `{}`", folder.join(".env").display()));
        }
    }
    context.progress.say(format!("rendered {} files into `{}`", rendered.files.len(), folder.display()));
    Ok(())
}
