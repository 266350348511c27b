//! Why nothing of a distribution can be had, as the sentence that a conflict quotes.

use std::ops::Bound;

use pep440_rs::Version;

use crate::oci::Platform;
use crate::version::PythonVersion;
use crate::version::wheel_tag::{Incompatible, machine_name};

use super::super::evidence::Code;
use super::super::numbers::describe_lines;
use super::super::variable::{Value, Values};
use super::PackageModel;
use super::offer::{Offer, Unusable};
use super::routes::DEFAULT_INDEX;

impl PackageModel<'_> {
    /// Why no version of `name` in `values` can be had, as a code and a sentence.
    pub fn explain_none(&self, name: &str, values: &Values) -> (Code, String) {
        let Ok(offer) = self.offer(name) else {
            return (Code::Unsatisfiable, format!("the index could not answer for {name}"));
        };
        if !offer.exists {
            let fact = match self.routes.claimed_by(name) {
                Some(index) => format!("the index `{index}`, which alone may serve `{name}`, has no such package"),
                None => format!("no index has a package `{name}`"),
            };
            return (Code::NoSuchVersion, fact);
        }
        let Some((version, reason)) = offer.unusable_in(values) else {
            if let Some(told) = self.explain_no_build(name, values) {
                return told;
            }
            let index = offer.candidates.values().next().map(|candidate| candidate.index.as_str());
            let place = match index {
                Some(index) if index != DEFAULT_INDEX => format!(" of the index `{index}`, which serves that name,"),
                _ => String::new(),
            };
            let known = nearest(&offer, values, &place).unwrap_or_default();
            return (Code::NoSuchVersion, format!("no version of {name} is in that range{known}"));
        };
        self.explain_unusable(name, version, reason)
    }

    /// The same where only an index of a framework's builds could have it: by index, and with what that has instead.
    fn explain_no_build(&self, name: &str, values: &Values) -> Option<(Code, String)> {
        let index = self.labelled_indexes(name, values).into_iter().next()?;
        let Some(project) = self.source.project(&index, name).ok()? else {
            return Some((Code::NoSuchVersion, format!("the index `{index}` has no package `{name}`")));
        };
        let offer = self.offer_of(&index, name).ok()?;
        let is_inside = |version: &Version| values.contains(&Value::Release(offer.known_as(version).clone()));
        let files = project.files.iter().filter(|file| file.version.as_ref().is_some_and(is_inside));
        let wheels: Vec<_> = files.filter_map(|file| Some((file.version.as_ref()?, file.wheel()?))).collect();
        let Some((version, _)) = wheels.first() else {
            let known = nearest(&offer, values, "").unwrap_or_default();
            return Some((Code::NoSuchVersion, format!("the index `{index}` has no such version of {name}{known}")));
        };
        let machines = [Platform::AMD64, Platform::ARM64].map(|platform| machine_name(platform.architecture_name()));
        let served: Vec<&str> =
            machines.into_iter().filter(|machine| wheels.iter().any(|(_, wheel)| wheel.is_for(machine))).collect();
        let machine = machine_name(&self.environment.architecture);
        if served.contains(&machine) {
            return offer.unusable_in(values).map(|(version, reason)| self.explain_unusable(name, version, reason));
        }
        let served =
            if served.is_empty() { "none for Linux".to_owned() } else { format!("only for {}", served.join(", ")) };
        let fact = format!("the index `{index}` has no wheel of {name} {version} for {machine} Linux, {served}");
        Some((Code::NoBuildForPlatform, fact))
    }

    /// Why a version that exists cannot be had.
    fn explain_unusable(&self, name: &str, version: &Version, reason: &Unusable) -> (Code, String) {
        let python = self.environment.python;
        match reason {
            Unusable::SdistOnly => (
                Code::NoSuchVersion,
                format!("{name} {version} has only a source distribution, and only wheels are installed"),
            ),
            Unusable::RequiresPython(required) => {
                (Code::RequiresPython, format!("{name} {version} requires Python `{required}`, and this is {python}"))
            }
            Unusable::OtherHash(file, found) => {
                let allowed = self.allowed(name).unwrap_or_default();
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                let allowed = if allowed.is_empty() { "none in common".to_owned() } else { allowed.join(" or ") };
                (Code::PinConflict, format!("`{file}` has {found}, and the spec allows {allowed}"))
            }
            Unusable::Yanked(reason) => {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                (Code::NoSuchVersion, format!("{name} {version} was yanked{reason}"))
            }
            Unusable::Wheels(reasons, lines) => {
                let machine = machine_name(&self.environment.architecture);
                let of_machine = reasons.iter().filter(|reason| **reason != Incompatible::Platform);
                match of_machine.max() {
                    Some(Incompatible::Glibc(major, minor)) => (
                        Code::GlibcTooOld,
                        format!(
                            "the wheels of {name} {version} need glibc {major}.{minor}, and the base has {}.{}",
                            self.environment.glibc.0, self.environment.glibc.1
                        ),
                    ),
                    None => (Code::NoBuildForPlatform, format!("{name} {version} has no wheel for {machine} Linux")),
                    _ => {
                        let lines: Vec<PythonVersion> = lines.clone();
                        let lines = match lines.is_empty() {
                            true => "other interpreters".to_owned(),
                            false => format!("Python {}", describe_lines(&lines)),
                        };
                        (
                            Code::NoWheelForPython,
                            format!("{name} {version} has wheels for {lines}, not for Python {python}"),
                        )
                    }
                }
            }
        }
    }
}

/// The versions next to a range that has none, and the newest.
fn nearest(offer: &Offer, values: &Values, place: &str) -> Option<String> {
    let finals = || offer.candidates.keys().filter(|version| !version.any_prerelease());
    let newest = finals().next_back().or(offer.candidates.keys().next_back()).or(offer.unusable.keys().next_back())?;
    let newest_alone = format!("; the newest{place} is {newest}");
    let Some((low, high)) = values.bounding_range() else { return Some(newest_alone) };
    let release = |version: &Version| Value::Release(version.clone());
    let is_below = |version: &&Version| match low {
        Bound::Included(low) | Bound::Excluded(low) => release(version) <= *low,
        Bound::Unbounded => false,
    };
    let is_above = |version: &&Version| match high {
        Bound::Included(high) | Bound::Excluded(high) => release(version) >= *high,
        Bound::Unbounded => false,
    };
    Some(match (finals().rfind(is_below), finals().find(is_above)) {
        (Some(below), Some(above)) if above == newest => format!("; the nearest{place} are {below} and {above}"),
        (Some(below), Some(above)) => {
            format!("; the nearest{place} are {below} and {above}, and the newest is {newest}")
        }
        (None, Some(oldest)) if oldest != newest => format!("; the oldest{place} is {oldest}"),
        _ => newest_alone,
    })
}
