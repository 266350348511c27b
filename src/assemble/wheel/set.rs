//! The wheels of one layer, and of one image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use super::{Error, Installation, Problem, Site, Wheel};
use crate::assemble::layer::LayerWriter;
use crate::oci::Digest;
use crate::version::wheel_tag::normalize_name;

/// One wheel of a layer.
#[derive(Debug, Clone)]
pub struct WheelInput {
    /// The file on this machine; its bytes have been checked against `digest`.
    pub path: PathBuf,
    /// Its name, which says name and version of the distribution.
    pub filename: String,
    /// sha256 of the file.
    pub digest: Digest,
}

/// Installs wheels into one layer; see [`write_opened`].
pub fn write_wheels<W: Write>(wheels: &[WheelInput], site: &Site, layer: &mut LayerWriter<W>) -> Result<(), Error> {
    write_opened(&mut open_all(wheels, site)?, layer)
}

/// The wheels, open, in the order of their names.
pub(in crate::assemble) fn open_all(
    wheels: &[WheelInput],
    site: &Site,
) -> Result<Vec<(Wheel<File>, Installation)>, Error> {
    sorted(wheels).into_iter().map(|wheel| open(wheel, site)).collect()
}

/// Writes installations, given in the order of their names. Files are sorted by path over all of them; where two wheels
/// bring the same path, the later one wins, as when pip installs them one after another.
pub fn write_opened<R: Read + Seek, W: Write>(
    wheels: &mut [(Wheel<R>, Installation)],
    layer: &mut LayerWriter<W>,
) -> Result<(), Error> {
    let mut winners: BTreeMap<String, usize> = BTreeMap::new();
    for (index, (_, installation)) in wheels.iter().enumerate() {
        winners.extend(installation.files.keys().map(|path| (path.clone(), index)));
    }
    for (path, index) in winners {
        let Some((wheel, installation)) = wheels.get_mut(index) else { continue };
        let Some(file) = installation.files.get(&path) else { continue };
        wheel.write(&path, file, layer).map_err(|problem| Error { wheel: wheel.file.clone(), problem })?;
    }
    Ok(())
}

/// Two wheels of one image that fill paths differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `name version` of the wheels, in the order of names.
    pub wheels: (String, String),
    /// Paths in the image, sorted; at least one.
    pub paths: Vec<String>,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wheels: (first, second), paths } = self;
        write!(f, "`{first}` and `{second}` bring different files `/{}`", paths.first().map_or("", String::as_str))?;
        if paths.len() > 1 {
            write!(f, " and {} more", paths.len() - 1)?;
        }
        write!(f, "; the image has one of them")
    }
}

/// What a careful reader may want to know of an image's wheels: those that bring different contents for the same path, by
/// pairs, and the notes of each ([`Installation::notes`]). Equal contents are common (`__init__.py` of a namespace package)
/// and harmless. No error, because packages that work collide in their README or tests.
pub fn examine(wheels: &[WheelInput], site: &Site) -> Result<(Vec<Conflict>, Vec<String>), Error> {
    // An image may have more wheels than a process may have open files.
    let installations = sorted(wheels)
        .into_iter()
        .map(|wheel| open(wheel, site).map(|(_, installation)| installation))
        .collect::<Result<Vec<_>, Error>>()?;
    let label = |of: &Installation| format!("{} {}", of.name, of.version);
    let mut owners: BTreeMap<&str, (&Installation, (u32, u64))> = BTreeMap::new();
    let mut pairs: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut notes = Vec::new();
    for installation in &installations {
        notes.extend(installation.notes.iter().map(|note| format!("{}: {note}", label(installation))));
        for (path, file) in &installation.files {
            let before = owners.insert(path, (installation, file.checksum));
            if let Some((other, _)) = before.filter(|(_, checksum)| *checksum != file.checksum) {
                pairs.entry((label(other), label(installation))).or_default().push(path.clone());
            }
        }
    }
    Ok((pairs.into_iter().map(|(wheels, paths)| Conflict { wheels, paths }).collect(), notes))
}

/// In the order of their names, which does not depend on the caller. File names start with the distribution's.
fn sorted(wheels: &[WheelInput]) -> Vec<&WheelInput> {
    let mut sorted: Vec<&WheelInput> = wheels.iter().collect();
    sorted.sort_by_cached_key(|wheel| {
        let name = wheel.filename.split('-').next().unwrap_or_default();
        (normalize_name(name), wheel.filename.clone())
    });
    sorted
}

fn open(wheel: &WheelInput, site: &Site) -> Result<(Wheel<File>, Installation), Error> {
    let WheelInput { path, filename, .. } = wheel;
    let file = File::open(path)
        .map_err(|source| Error { wheel: filename.clone(), problem: Problem::Open { path: path.clone(), source } })?;
    let mut wheel = Wheel::open(file, filename)?;
    let installation = wheel.installation(site)?;
    Ok((wheel, installation))
}
