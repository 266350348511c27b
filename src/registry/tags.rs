//! The tags of a repository.

use serde::Deserialize;

use super::{Error, Registries};
use crate::oci::Reference;

const READ: &str = "list the tags of";
/// What is asked for at once; registries give what they like.
const PAGE_SIZE: usize = 1000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registries {
    /// All tags of the reference's repository, sorted; from the mirrors first, as [`Registries::manifest`].
    pub fn tags(&self, repository: &Reference) -> Result<Vec<String>, Error> {
        let pages = self.first_answer(repository, |endpoint| {
            let first = endpoint.url(READ, &format!("tags/list?n={PAGE_SIZE}"))?;
            self.pages::<Page>(READ, endpoint, first, &[])
        })?;
        let mut tags: Vec<String> = pages.into_iter().filter_map(|page| page.tags).flatten().collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }
}
