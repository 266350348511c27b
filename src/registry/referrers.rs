//! What is attached to an image: manifests whose `subject` it is, such as its lock, its SBOM and its provenance.
//!
//! Registries that know the referrers API (distribution specification 1.1) keep the list; for others it is an index under the
//! tag `sha256-<hex>`, which the client writes. Two clients that attach to the same image at the same moment can lose one entry
//! of such an index: the specification accepts that.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Error, Registries};
use crate::oci::{Digest, Reference};

const READ: &str = "list what is attached to an image of";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest that is attached to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Media type of the manifest.
    pub media_type: String,
    /// Its address.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: Option<String>,
    #[serde(default)]
    manifests: Vec<Referrer>,
}

impl Registries {
    /// Manifests attached to `subject` in the reference's repository, in the registry's order.
    pub fn referrers(&self, repository: &Reference, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let endpoint = self.home(repository)?;
        let first = endpoint.url(READ, &format!("referrers/{subject}"))?;
        match self.pages::<Index>(READ, &endpoint, first, &[(ACCEPT, HeaderValue::from_static(INDEX_TYPE))]) {
            Ok(pages) => Ok(pages.into_iter().flat_map(|page| page.manifests).collect()),
            // A registry that does not know the address. One that fails is not taken for such a one: what is attached would
            // seem not to be.
            Err(Error::Answer { status, .. })
                if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS =>
            {
                self.tagged_referrers(repository, subject)
            }
            Err(Error::Denied { .. } | Error::Page { .. }) => self.tagged_referrers(repository, subject),
            Err(error) => Err(error),
        }
    }

    /// Writes a manifest that names a subject; its blobs must be there. Whether the registry has noted the subject: if not, the
    /// manifest is to be listed ([`Registries::list_referrers`]).
    pub fn push_referrer(&self, repository: &Reference, media_type: &str, bytes: &[u8]) -> Result<bool, Error> {
        let by_digest = repository.clone_with_digest(Digest::of(bytes).to_string());
        Ok(self.put_manifest(&by_digest, media_type, bytes)?.keeps_referrers)
    }

    /// Sees to it that manifests are found from their subject where the registry keeps no list.
    pub fn list_referrers(
        &self,
        repository: &Reference,
        subject: &Digest,
        referrers: Vec<Referrer>,
    ) -> Result<(), Error> {
        let mut manifests = self.tagged_referrers(repository, subject)?;
        let before = manifests.len();
        for referrer in referrers {
            if manifests.iter().all(|known| known.digest != referrer.digest) {
                manifests.push(referrer);
            }
        }
        if manifests.len() > before {
            let index = Index { schema_version: 2, media_type: Some(INDEX_TYPE.to_owned()), manifests };
            let index = serde_json::to_vec(&index).unwrap_or_default();
            self.push_manifest(&fallback(repository, subject), INDEX_TYPE, &index)?;
        }
        Ok(())
    }

    fn tagged_referrers(&self, repository: &Reference, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let tagged = fallback(repository, subject);
        let endpoint = self.home(&tagged)?;
        match self.manifest_at(&endpoint, &tagged) {
            Ok(manifest) => {
                let index: Index = serde_json::from_slice(&manifest.bytes)
                    .map_err(|cause| endpoint.protocol(READ, format!("the list cannot be read ({cause})")))?;
                Ok(index.manifests)
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn fallback(repository: &Reference, subject: &Digest) -> Reference {
    let (registry, name) = (repository.registry().to_owned(), repository.repository().to_owned());
    Reference::with_tag(registry, name, format!("sha256-{}", subject.hex()))
}
