//! A guess at what a page will be asked for, made before the solver gets there.
//!
//! Most projects end with the newest version that their first requirement allows. Whoever fetches the page can know that
//! version at once and fetch its METADATA too, while the solver is still busy elsewhere. A wrong guess costs a small
//! request; it decides nothing.

use std::cmp::Ordering;

use pep440_rs::Version;

use crate::packaging::{Project, ProjectFile};
use crate::version::wheel_tag::{Fit, WheelEnvironment};

use super::variable::{Value, Values};

/// Says which file of a page will probably be asked about.
pub type Likely = Box<dyn Fn(&Project) -> Option<ProjectFile> + Send>;

/// What is known of a project's version before its page is.
pub(super) struct Wanted {
    environment: WheelEnvironment,
    full_python: Version,
    values: Values,
    locked: Option<Version>,
}

impl Wanted {
    pub(super) fn new(
        environment: &WheelEnvironment,
        full_python: &Version,
        values: Values,
        locked: Option<Version>,
    ) -> Self {
        Self { environment: environment.clone(), full_python: full_python.clone(), values, locked }
    }

    /// The best wheel of the locked version, else of the newest one.
    pub(super) fn likely(&self, project: &Project) -> Option<ProjectFile> {
        let locked = self.locked.as_ref().and_then(|locked| self.best(project, &|version| version == locked));
        locked.or_else(|| self.best(project, &|version| !version.any_prerelease())).cloned()
    }

    fn best<'p>(&self, project: &'p Project, accepts: &dyn Fn(&Version) -> bool) -> Option<&'p ProjectFile> {
        let mut best: Option<(&Version, Fit, &ProjectFile)> = None;
        for file in &project.files {
            let (Some(version), Some(wheel)) = (&file.version, file.wheel()) else { continue };
            // Comparing versions is the cheapest test and nearly always the last.
            let order = best.as_ref().map_or(Ordering::Greater, |(known, ..)| version.cmp(known));
            if order == Ordering::Less || file.yanked.is_some() || !accepts(version) {
                continue;
            }
            let Ok(fit) = wheel.fit(&self.environment) else { continue };
            let is_better = match &best {
                Some((_, known, _)) if order == Ordering::Equal => fit > *known,
                _ => true,
            };
            let python_suits =
                || file.requires_python.as_ref().is_none_or(|required| required.contains(&self.full_python));
            if is_better && python_suits() && self.values.contains(&Value::Release(version.clone())) {
                best = Some((version, fit, file));
            }
        }
        best.map(|(.., file)| file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packaging::parse_json;
    use crate::resolve::variable::specifier_values;
    use crate::version::PythonVersion;

    fn likely(specifiers: &str, locked: Option<&str>) -> Option<String> {
        let page = r#"{"files": [
            {"filename": "a-1.0-py3-none-any.whl", "url": "x"},
            {"filename": "a-2.0-py3-none-any.whl", "url": "x"},
            {"filename": "a-2.0-cp311-cp311-manylinux_2_17_x86_64.whl", "url": "x"},
            {"filename": "a-2.0-cp311-cp311-win_amd64.whl", "url": "x"},
            {"filename": "a-2.1-py3-none-any.whl", "url": "x", "yanked": true},
            {"filename": "a-2.2-py3-none-any.whl", "url": "x", "requires-python": ">=3.12"},
            {"filename": "a-2.3.tar.gz", "url": "x"},
            {"filename": "a-3.0rc1-py3-none-any.whl", "url": "x"}]}"#;
        let base = url::Url::parse("https://index.example/simple/a/").expect("a URL");
        let project = parse_json(page.as_bytes(), &base, "a").expect("a page");
        let environment = WheelEnvironment {
            python: PythonVersion { major: 3, minor: 11 },
            architecture: "amd64".to_owned(),
            glibc: (2, 36),
        };
        let values = specifier_values(&specifiers.parse().expect("specifiers"));
        let locked = locked.map(|version| version.parse().expect("a version"));
        let wanted = Wanted::new(&environment, &Version::new([3, 11, 2]), values, locked);
        wanted.likely(&project).map(|file| file.filename)
    }

    #[test]
    fn the_best_wheel_of_the_newest_usable_version_is_likely() {
        assert_eq!(likely(">=1", None).as_deref(), Some("a-2.0-cp311-cp311-manylinux_2_17_x86_64.whl"));
        assert_eq!(likely("<2", None).as_deref(), Some("a-1.0-py3-none-any.whl"));
        assert_eq!(likely(">=2.1", None), None);
        assert_eq!(likely(">=1", Some("1.0")).as_deref(), Some("a-1.0-py3-none-any.whl"));
        assert_eq!(likely(">=1", Some("9")).as_deref(), Some("a-2.0-cp311-cp311-manylinux_2_17_x86_64.whl"));
    }
}
