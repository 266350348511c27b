//! Modules compiled ahead, for `compile: true`: what Python would otherwise do at every first import.
//!
//! Byte-code has layers of its own above those of its wheels, so that these stay what they are for everybody, and a new
//! patch release of Python moves byte-code alone. Its files are `unchecked-hash` ones (PEP 552), which neither have a time in
//! them nor depend on their source's; [`marshal`] takes out what else would differ from process to process. What does not
//! compile is left out, as pip does: wheels hold templates, and modules for other Pythons. RECORD lists the files, as pip
//! writes it.

mod compiler;
mod interpreter;
mod marshal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use super::layer::{self, LayerWriter};
use super::tar::Owner;
use super::wheel::{self, Site, WheelInput};
use crate::debian;
use crate::diagnostic::Hint;
use compiler::Module;

pub use compiler::Compiler;
pub use interpreter::{Interpreter, Release, packages};

/// Larger sources are left out: the largest generated modules have a few MB.
const SOURCE_LIMIT: u64 = 16 << 20;
/// Sources that are in memory at one time, for each layer.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_MODULES: usize = 128;

/// Why modules cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The interpreter does not start.
    #[error("cannot start the interpreter `{program}`: {source}")]
    Start {
        /// Its file.
        program: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The interpreter is another one.
    #[error("the interpreter `{program}` is `{found}`, and `{wanted}` is needed")]
    Identity {
        /// Its file.
        program: PathBuf,
        /// What it says of itself.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// The interpreter went away.
    #[error("the interpreter gave up on `{path}`: {source}")]
    Worker {
        /// The module, by its path in the image.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// The interpreter wrote something unknown.
    #[error("the byte-code of `{path}` is not understood: {source}")]
    Marshal {
        /// The module, by its path in the image.
        path: String,
        /// What is wrong.
        source: marshal::Error,
    },
    /// The packages that hold the interpreter.
    #[error(transparent)]
    Debian(Box<debian::Error>),
    /// A wheel cannot be read.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// The layer could not be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The file system failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The step that failed, as a verb phrase.
        action: &'static str,
        /// File or folder concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::Debian(error) => error.help(),
            Self::Wheel(error) => error.help(),
            Self::Io { source, .. } => crate::store::help_for_output(source),
            Self::Layer(_) => Vec::new(),
            _ => vec!["without `compile: true` nothing is compiled".to_owned()],
        }
    }
    fn notes(&self) -> Vec<String> {
        if let Self::Debian(error) = self { error.notes() } else { Vec::new() }
    }
}

/// Compiles the modules of wheels into one layer, and writes their RECORDs anew. Where two of the wheels bring the same
/// module, the one is compiled that [`wheel::write_wheels`] keeps.
pub fn write_byte_code<W: Write>(
    wheels: &[WheelInput],
    site: &Site,
    compiler: &Compiler,
    layer: &mut LayerWriter<W>,
) -> Result<(), Error> {
    let tag = compiler.release().tag();
    let mut opened = wheel::open_all(wheels, site)?;
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for (index, (_, installation)) in opened.iter().enumerate() {
        let modules = installation.files.keys().filter(|path| cached(path, &tag).is_some());
        sources.extend(modules.map(|path| (path.clone(), index)));
    }
    let mut compiled: BTreeSet<String> = BTreeSet::new();
    let mut batch = Batch::default();
    for (path, &index) in &sources {
        let Some((wheel, installation)) = opened.get_mut(index) else { continue };
        let Some(file) = installation.files.get(path) else { continue };
        let place = cached(path, &tag).filter(|place| layer::check_path(place).is_ok());
        let Some(place) = place.filter(|_| file.checksum.1 <= SOURCE_LIMIT) else {
            compiler.skip(wheel.file());
            continue;
        };
        let source = wheel.content(file)?;
        batch.bytes += source.len();
        batch.modules.push(Module { path: format!("/{path}"), source });
        batch.places.push((path.clone(), place, wheel.file().to_owned()));
        if batch.bytes >= BATCH_BYTES || batch.modules.len() >= BATCH_MODULES {
            std::mem::take(&mut batch).write(compiler, layer, &mut compiled)?;
        }
    }
    batch.write(compiler, layer, &mut compiled)?;
    for (wheel, installation) in &mut opened {
        let own = installation.files.keys().filter(|path| compiled.contains(*path));
        let added: Vec<String> = own.filter_map(|path| cached(path, &tag)).collect();
        if !added.is_empty() {
            let (path, record) = wheel.record_with(installation, site, &added)?;
            layer.file_bytes(&path, 0o644, Owner::ROOT, &record)?;
        }
    }
    Ok(())
}

/// Modules on their way through the compiler.
#[derive(Default)]
struct Batch {
    modules: Vec<Module>,
    /// Path of the source, path of its byte-code, file name of the wheel.
    places: Vec<(String, String, String)>,
    bytes: usize,
}

impl Batch {
    fn write<W: Write>(
        self,
        compiler: &Compiler,
        layer: &mut LayerWriter<W>,
        compiled: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let files = compiler.compile(self.modules)?;
        for ((source, place, wheel), file) in self.places.into_iter().zip(files) {
            match file {
                Some(bytes) => {
                    layer.file_bytes(&place, 0o644, Owner::ROOT, &bytes)?;
                    compiled.insert(source);
                }
                None => compiler.skip(&wheel),
            }
        }
        Ok(())
    }
}

/// Where Python looks for the byte-code of a module: `importlib.util.cache_from_source`.
fn cached(path: &str, tag: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let stem = name.strip_suffix(".py")?;
    let stem = if stem.is_empty() { "py" } else { stem };
    Some(format!("{folder}/__pycache__/{stem}.{tag}.pyc"))
}
