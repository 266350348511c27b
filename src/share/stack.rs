//! The Compose stack in Docker Compose's own OCI format: `docker compose -f oci://REFERENCE up` needs nothing else.
//!
//! Media types as `docker compose publish` writes them. Readers older than 2.34 join all documents of the artifact, whatever
//! they are, so there is one only. The bytes follow from the stack alone: neither the day nor a version of Compose is in them.

use crate::oci::Reference;
use crate::publish::artifact::{Artifact, Descriptor, Document};

/// What the artifact is.
pub const STACK_TYPE: &str = "application/vnd.docker.compose.project";
/// Media type of a Compose file.
const FILE_TYPE: &str = "application/vnd.docker.compose.file+yaml";
/// On the document: its file name.
const FILE_ANNOTATION: &str = "com.docker.compose.file";
/// What the stack's tag ends in.
const TAG_ENDING: &str = "-stack";

/// The stack of an image as an artifact that belongs to it.
pub fn to_artifact(file: &str, subject: Descriptor) -> Artifact {
    let mut document = Document::new(FILE_TYPE, file.as_bytes().to_vec()).titled("compose.yaml");
    document.annotations.insert(FILE_ANNOTATION.to_owned(), "compose.yaml".to_owned());
    Artifact::new(STACK_TYPE, vec![document], Some(subject))
}

/// Where the stack of a published image lies: `registry.example.com/ml/churn:latest-stack`.
pub fn reference(image: &Reference) -> Reference {
    let tag = format!("{}{TAG_ENDING}", image.tag().unwrap_or("latest"));
    Reference::with_tag(image.registry().to_owned(), image.repository().to_owned(), tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifact_is_what_compose_reads() {
        let subject = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"{}");
        let manifest: serde_json::Value =
            serde_json::from_slice(&to_artifact("services: {}\n", subject).manifest()).expect("JSON");
        assert_eq!(manifest["artifactType"], "application/vnd.docker.compose.project");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        let layers = manifest["layers"].as_array().expect("layers");
        assert_eq!(layers.len(), 1);
        assert_eq!(layers[0]["mediaType"], "application/vnd.docker.compose.file+yaml");
        assert_eq!(layers[0]["annotations"]["com.docker.compose.file"], "compose.yaml");
        let image: Reference = "registry.test/ml/churn:1.0".parse().expect("a reference");
        assert_eq!(reference(&image).to_string(), "registry.test/ml/churn:1.0-stack");
    }
}
