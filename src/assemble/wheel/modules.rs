//! What compiling a wheel's modules needs of it: their sources, and a RECORD that lists what was made of them.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::{Content, Error, Installation, InstalledFile, Problem, Site, Wheel, record, relative};
use crate::assemble::record::Row;

impl<R: Read + Seek> Wheel<R> {
    /// Its file name.
    pub(in crate::assemble) fn file(&self) -> &str {
        &self.file
    }

    /// The content of one file of this wheel's installation, checked as when it is written.
    pub(in crate::assemble) fn content(&mut self, file: &InstalledFile) -> Result<Vec<u8>, Error> {
        match &file.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::Member(index) => self.read_member(*index).map_err(|problem| self.error(problem)),
        }
    }

    /// Path and text of the RECORD of this wheel's installation with further files, by their paths in the layer. They have
    /// neither hash nor size, as pip lists byte-code.
    pub(in crate::assemble) fn record_with(
        &mut self,
        installation: &Installation,
        site: &Site,
        added: &[String],
    ) -> Result<(String, Vec<u8>), Error> {
        let library = site.library();
        let path = format!("{}/{library}/{}.dist-info/RECORD", site.root(), self.dist_info);
        let Some(file) = installation.files.get(&path) else {
            return Err(self.error(Problem::Missing(path)));
        };
        let text = self.content(file)?;
        let parsed = record::parse(&String::from_utf8_lossy(&text));
        let mut rows: BTreeMap<String, Row> =
            parsed.map_err(|(line, reason)| self.error(Problem::Record { line, reason }))?;
        for path in added {
            let below = path.strip_prefix(site.root()).unwrap_or(path).trim_start_matches('/');
            rows.insert(relative(below, &library), Row::default());
        }
        Ok((path, record::render(&rows).into_bytes()))
    }

    fn error(&self, problem: Problem) -> Error {
        Error { wheel: self.file.clone(), problem }
    }
}
