//! An interpreter to compile an image's modules with: one of this machine, or one out of the lock's packages.

use crate::assemble::byte_code::{Compiler, Interpreter, Release, packages};
use crate::debian;
use crate::diagnostic::{Failure, Hint};
use crate::lock::{Lock, LockedPlatform};
use crate::oci::Platform;

use super::outside::Outside;
use super::{Context, archives};

/// Why modules cannot be compiled here.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`compile: true` needs Python {release} on this machine, and it is not there")]
    NoInterpreter {
        release: Release,
        /// What those say that are there.
        others: Vec<String>,
        /// The platform whose packages would have held it.
        platform: Option<Platform>,
    },
    #[error("cannot start compilers: {0}")]
    Threads(std::io::Error),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::NoInterpreter { release, others, platform } => {
                let mut help = Vec::new();
                if !others.is_empty() {
                    help.push(format!(
                        "found was {}; compilers of one line differ, and an image must not depend on the machine",
                        others.join(", ")
                    ));
                }
                help.push(format!("put `python{}` of that release on the `PATH`", release.line));
                help.push(match platform {
                    Some(platform) => format!(
                        "or build `{platform}` together with it, on `base: debian`: its packages hold an interpreter that \
                         this machine can run"
                    ),
                    None => "or build with `--engine docker`, or without `compile: true`".to_owned(),
                });
                help
            }
            Self::Threads(_) => Vec::new(),
        }
    }
}

/// A compiler of the wanted release.
pub(super) fn compiler(
    context: &Context,
    outside: &Outside,
    lock: &Lock,
    release: Option<Release>,
) -> Result<Option<Compiler>, Failure> {
    let Some(release) = release else { return Ok(None) };
    let interpreter = match Interpreter::installed(&release) {
        Ok(interpreter) => interpreter,
        Err(others) => {
            let unpacked = out_of_packages(context, outside, lock, &release)?;
            let is_missing = |own: &Platform| lock.platforms.iter().all(|locked| locked.name != *own);
            let platform = own_platform().filter(is_missing);
            unpacked.ok_or(Error::NoInterpreter { release: release.clone(), others, platform })?
        }
    };
    Ok(Some(Compiler::new(interpreter, release).map_err(Error::Threads)?))
}

/// What images this machine can run programs of.
fn own_platform() -> Option<Platform> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some(Platform::AMD64),
        ("linux", "aarch64") => Some(Platform::ARM64),
        _ => None,
    }
}

fn out_of_packages(
    context: &Context,
    outside: &Outside,
    lock: &Lock,
    release: &Release,
) -> Result<Option<Interpreter>, Failure> {
    let own = own_platform();
    let held = |locked: &&LockedPlatform| {
        Some(locked.name) == own && Release::of_packages(&locked.debs, release.line).as_ref() == Some(release)
    };
    let Some(locked) = lock.platforms.iter().find(held) else { return Ok(None) };
    let names = packages(release.line);
    let debs: Vec<_> = locked.debs.iter().filter(|deb| names.contains(&deb.name)).cloned().collect();
    if debs.len() < names.len() {
        return Ok(None);
    }
    let archives = archives::every(outside)?;
    let paths = debian::fetch(&debs, &locked.archives, &archives, &outside.http, &outside.store, &context.progress)?;
    let scratch = outside.store.root().join("tmp");
    let io = |source| crate::store::Error::Io { action: "create", path: scratch.clone(), source };
    std::fs::create_dir_all(&scratch).map_err(io)?;
    let debs: Vec<_> = debs.into_iter().zip(paths).collect();
    Ok(Some(Interpreter::unpack(&debs, release, locked.name, &scratch)?))
}
