//! Where copies of other people's images lie: below one prefix in a registry of one's own, each under the name of the registry
//! that it comes from, so that no two images meet.

use super::{Reference, parse_reference};

/// The copy of an image: `postgres:16` in `registry.example.com/mirror` is
/// `registry.example.com/mirror/docker.io/library/postgres:16`. An image that lies in that registry already is its own copy;
/// `None` if the two make no reference.
pub fn mirrored(mirror: &str, image: &Reference) -> Option<Reference> {
    let own = mirror.split('/').next().unwrap_or(mirror);
    if image.registry() == own {
        return Some(image.clone());
    }
    // A port stands behind a colon, which no repository has.
    let registry = image.registry().to_ascii_lowercase().replace(':', "_");
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    parse_reference(&format!("{}/{registry}/{}{tag}{digest}", mirror.trim_end_matches('/'), image.repository())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registry_has_a_place_of_its_own() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let copy = |mirror: &str, image: &str| {
            mirrored(mirror, &image.parse().expect("a reference")).map(|copy| copy.to_string())
        };
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(
            copy("registry.test/ml", &format!("postgres:16@{digest}")),
            Some(format!("registry.test/ml/docker.io/library/postgres:16@{digest}"))
        );
        assert_eq!(
            copy("registry.test/ml", "nvcr.io/nvidia/cuda:12"),
            expected("registry.test/ml/nvcr.io/nvidia/cuda:12")
        );
        assert_eq!(copy("127.0.0.1:5000/m", "localhost:80/a"), expected("127.0.0.1:5000/m/localhost_80/a:latest"));
        assert_eq!(copy("registry.test/ml", "registry.test/base/a:1"), expected("registry.test/base/a:1"));
        assert_eq!(copy("registry.test/Ml", "docker.io/a:1"), None);
    }
}
