//! Blobs that repositories are known to have: those that this process put there or asked for, and those that an image names
//! which the registry keeps. What is known is not asked again, since each question takes a round trip.
//!
//! Somebody may remove a blob meanwhile, and few registries forget one that an image names. A manifest that names a missing
//! one is refused, and then nothing of this is believed any more ([`Registries::forget_blobs`]).

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Endpoint, Error, Registries};
use crate::oci::{Digest, Reference};

/// By registry and repository.
#[derive(Debug, Default)]
pub(super) struct KnownBlobs(Mutex<HashSet<(String, String, Digest)>>);

impl KnownBlobs {
    pub(super) fn has(&self, endpoint: &Endpoint, digest: &Digest) -> bool {
        self.lock().contains(&key(endpoint, digest))
    }

    pub(super) fn add(&self, endpoint: &Endpoint, digest: &Digest) {
        self.lock().insert(key(endpoint, digest));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(String, String, Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(endpoint: &Endpoint, digest: &Digest) -> (String, String, Digest) {
    (endpoint.registry.clone(), endpoint.repository.clone(), *digest)
}

impl Registries {
    /// An image that was read names these blobs, so its repository has them. A mirror's word says nothing of the registry
    /// itself.
    pub fn note_blobs<'d>(
        &self,
        image: &Reference,
        digests: impl IntoIterator<Item = &'d Digest>,
    ) -> Result<(), Error> {
        if self.mirrors(image).next().is_some() {
            return Ok(());
        }
        let endpoint = self.home(image)?;
        digests.into_iter().for_each(|digest| self.shared.known.add(&endpoint, digest));
        Ok(())
    }

    /// From now on the registry is asked again what the repository has.
    pub fn forget_blobs(&self, repository: &Reference) -> Result<(), Error> {
        let endpoint = self.home(repository)?;
        let is_elsewhere = |(registry, name, _): &(String, String, Digest)| {
            *registry != endpoint.registry || *name != endpoint.repository
        };
        self.shared.known.lock().retain(is_elsewhere);
        Ok(())
    }
}
