//! What a new lock keeps of the one before: everything that `--upgrade` and `--upgrade-package` do not let go.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::diagnostic::{Failure, Hint, suggestion};
use crate::lock::{Lock, LockedBase, LockedService};
use crate::oci::{Digest, Platform};
use crate::resolve::{Preferences, StackAnswer, packages_of_families};
use crate::spec::Spec;
use crate::version::wheel_tag::normalize_name;

use super::bases::LockedSystem;

/// A name of `--upgrade-package` that nothing in the lock has.
#[derive(Debug, thiserror::Error)]
#[error("there is no `{name}` in the lock to upgrade")]
struct NotInLock {
    name: String,
    suggestion: Option<String>,
}

impl Hint for NotInLock {
    fn help(&self) -> Vec<String> {
        self.suggestion.iter().map(|found| format!("did you mean `{found}`?")).collect()
    }
}

/// The lock before, and what to let go of it.
#[derive(Default)]
pub(super) struct Kept {
    lock: Option<Lock>,
    all: bool,
    /// Normalised names of packages, families of frameworks, Debian packages and services.
    upgraded: Vec<String>,
}

impl Kept {
    /// All of a lock.
    pub(super) fn whole(lock: Option<Lock>) -> Self {
        Self { lock, ..Self::default() }
    }

    /// A lock without the packages `upgraded`, or nothing of it if `all`. A package of a framework stands for its family and
    /// the other way round: what is upgraded as `pytorch` or as `torch` is the same.
    pub(super) fn without(
        lock: Option<Lock>,
        all: bool,
        upgraded: &[String],
        catalog: &Catalog,
    ) -> Result<Self, Failure> {
        let families = packages_of_families(catalog);
        let mut names: BTreeSet<String> = BTreeSet::new();
        for name in upgraded.iter().map(|name| normalize_name(name)) {
            if let Some(lock) = &lock {
                require(lock, &name, &families)?;
            }
            let found = families.iter().find(|(package, family)| *package == name || *family == name);
            if let Some((_, family)) = found {
                let siblings = families.iter().filter(|(_, own)| own == family);
                names.extend(siblings.map(|(package, _)| package.clone()));
                names.insert(family.clone());
            }
            names.insert(name);
        }
        Ok(Self { lock, all, upgraded: names.into_iter().collect() })
    }

    /// For the image.
    pub(super) fn preferences(&self) -> Preferences {
        self.lock.as_ref().map_or_else(Preferences::default, |lock| lock.preferences(self.all, &self.upgraded))
    }

    /// For a service that is an environment of its own.
    pub(super) fn service_preferences(&self, kind: &str) -> Preferences {
        let of = |lock: &Lock| lock.service_preferences(kind, self.all, &self.upgraded);
        self.lock.as_ref().map_or_else(Preferences::default, of)
    }

    /// Digest of a service's image, where the lock has the same image and the service is not to be upgraded.
    pub(super) fn service_digest(&self, kind: &str, image: &str) -> Option<Digest> {
        let lock = self.lock.as_ref().filter(|_| !self.all && !self.upgraded.iter().any(|name| name == kind))?;
        let is_same = |service: &&LockedService| service.kind == kind && service.image.as_deref() == Some(image);
        lock.services.iter().find(is_same)?.digest
    }

    /// Base and Debian packages of a platform, where the upgrade asks for none of them and the new stack stands on the same
    /// base. A changed spec may ask for others, and then the archive's present ones are taken.
    pub(super) fn base(&self, spec: &Spec, stack: &StackAnswer, platform: Platform) -> Option<LockedSystem> {
        let lock = self.lock.as_ref().filter(|lock| !self.all && lock.is_of(spec))?;
        let locked = lock.platforms.iter().find(|locked| locked.name == platform)?;
        let base = &locked.base;
        let same = base.kind == stack.base.kind
            && base.suite == stack.base.suite
            && base.reference == stack.base.reference
            && lock.stack.python == stack.python;
        let asked = locked.debs.iter().any(|deb| self.upgraded.contains(&normalize_name(&deb.name)));
        (same && !asked).then(|| LockedSystem {
            base: LockedBase { reason: stack.base_reason.clone(), ..base.clone() },
            archives: locked.archives.clone(),
            debs: locked.debs.clone(),
        })
    }
}

/// Fails unless something in the lock has this name.
fn require(lock: &Lock, name: &str, families: &BTreeSet<(String, String)>) -> Result<(), NotInLock> {
    let wheels = lock.platforms.iter().flat_map(|platform| &platform.wheels);
    let wheels = wheels.chain(lock.services.iter().flat_map(|service| &service.wheels)).map(|wheel| wheel.name.clone());
    let debs = lock.platforms.iter().flat_map(|platform| &platform.debs).map(|deb| normalize_name(&deb.name));
    let frameworks = lock.frameworks.iter().map(|framework| framework.family.clone());
    let services = lock.services.iter().map(|service| service.kind.clone());
    let known: BTreeSet<String> = wheels.chain(debs).chain(frameworks).chain(services).collect();
    let by_family = families.iter().any(|(package, family)| package == name && known.contains(family));
    if by_family || known.contains(name) {
        return Ok(());
    }
    let suggestion = suggestion(name, known.iter().map(String::as_str)).map(str::to_owned);
    Err(NotInLock { name: name.to_owned(), suggestion })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const WORLD: &str = r#"
format: "1.0.0"
sources: {doc: "the invented manual"}
frameworks:
  - family: flow
    package: flow
    requirements: {"*": []}
    releases:
      - version: "1.0"
        source: doc
        platforms: {linux/amd64: {pythons: "3.11", glibc: "2.17"}}
        builds:
          - {name: cpu, default: true, requirements: ["flow==1.0"]}
          - {name: cu12, toolkit: "12.4", requirements: ["flow-gpu==1.0"]}
"#;

    fn lock() -> Lock {
        let digest = format!("sha256:{}", "0".repeat(64));
        let wheel = |section: &str, name: &str, version: &str| {
            format!(
                "[[{section}.wheel]]\nname = \"{name}\"\nversion = \"{version}\"\nindex = \"default\"\n\
                 file = \"{name}-{version}-py3-none-any.whl\"\nsize = 1\ndigest = \"{digest}\"\n"
            )
        };
        let text = [
            format!("format = 1\nlayer_format = 1\nname = \"test\"\n[inputs]\nspec = \"{digest}\"\ncatalog = \"{digest}\"\n"),
            "[stack]\npython = \"3.11\"\naccelerator = \"cuda\"\nos = \"debian 12\"\nglibc = \"2.36\"\n".to_owned(),
            "[[framework]]\nfamily = \"flow\"\npackage = \"flow\"\nversion = \"1.0\"\nbuild = \"cu12\"\nindex = \"default\"\n".to_owned(),
            "[image]\ntags = [\"latest\"]\nuser = \"app\"\nworkdir = \"/\"\nentrypoint = []\ncommand = []\n".to_owned(),
            "[[service]]\nkind = \"mlflow\"\nbackend = \"sqlite\"\n".to_owned(),
            wheel("service", "numpy", "1.26"),
            wheel("service", "mlflow", "3.0"),
            "[[platform]]\nname = \"linux/amd64\"\n[platform.base]\nkind = \"debian\"\nsuite = \"bookworm\"\n\
             interpreter = \"/usr/bin/python3.11\"\nreason = \"\"\n".to_owned(),
            format!(
                "[[platform.deb]]\nname = \"libc6\"\nversion = \"2.36\"\narchitecture = \"amd64\"\narchive = \"debian\"\n\
                 path = \"pool/libc6.deb\"\nsize = 1\ndigest = \"{digest}\"\n"
            ),
            wheel("platform", "flow-gpu", "1.0"),
            wheel("platform", "numpy", "2.0"),
        ];
        Lock::parse(Path::new("imgforge.lock"), &text.concat()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn kept(all: bool, upgraded: &[&str]) -> Result<Kept, Failure> {
        let catalog = Catalog::from_texts(&[("world.yaml", WORLD)]).expect("the invented catalog");
        let upgraded: Vec<String> = upgraded.iter().map(|name| (*name).to_owned()).collect();
        Kept::without(Some(lock()), all, &upgraded, &catalog)
    }

    /// `numpy 2.0`, a word per package.
    fn packages(preferences: &Preferences) -> Vec<String> {
        preferences.packages.iter().map(|(name, version)| format!("{name} {version}")).collect()
    }

    #[test]
    fn the_image_and_a_service_keep_their_own_versions() {
        let kept = kept(false, &[]).expect("names that are there");
        assert_eq!(packages(&kept.preferences()), ["flow-gpu 1.0", "numpy 2.0"]);
        assert_eq!(packages(&kept.service_preferences("mlflow")), ["mlflow 3.0", "numpy 1.26"]);
        for preferences in [kept.preferences(), kept.service_preferences("mlflow")] {
            assert_eq!(preferences.python.map(|line| line.to_string()).as_deref(), Some("3.11"));
            assert_eq!(preferences.base.as_deref(), Some("bookworm"));
        }
    }

    #[test]
    fn a_family_and_its_packages_are_let_go_together() {
        for name in ["flow", "flow-gpu", "Flow_GPU"] {
            let preferences = kept(false, &[name]).expect("a name that is there").preferences();
            assert_eq!(packages(&preferences), ["numpy 2.0"], "{name}");
            assert!(preferences.frameworks.is_empty(), "{name}");
            assert!(preferences.python.is_some(), "{name}");
        }
        let preferences = kept(false, &["numpy"]).expect("a name that is there").preferences();
        assert_eq!(packages(&preferences), ["flow-gpu 1.0"]);
        assert_eq!(preferences.frameworks.len(), 1);
        assert_eq!(packages(&kept(true, &[]).expect("no names").preferences()), [] as [&str; 0]);
    }

    #[test]
    fn a_name_that_is_not_in_the_lock_is_refused() {
        let Err(failure) = kept(false, &["nunpy"]) else { panic!("there is no such package") };
        assert_eq!(failure.0.to_string(), "there is no `nunpy` in the lock to upgrade");
        assert_eq!(failure.0.help(), ["did you mean `numpy`?"]);
        assert_eq!(failure.exit_code(), 2);
        assert!(kept(false, &["libc6", "mlflow"]).is_ok());
    }
}
